"""Corruptions and penalties in the engine's wide networks: gradients, trajectories and bits.

tests/test_gradients.py has every combination of them for a small network.
"""

import numpy as np
import pytest
from networks import (
    NETWORKS,
    Randomness,
    as_float64,
    assert_close,
    losses_of,
    make_data,
    make_layers,
    make_network,
    make_plan,
)

from layerwise import _core, reference, reference_random

TOLERANCE = {np.float32: 3e-6, np.float64: 2e-14}
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
AUTOENCODERS = ["tied", "tied and narrow", "unrolled"]


def noises(n_in):
    """Keyword arguments of Randomness."""
    levels = tuple(np.linspace(0, 1, n_in))
    return {
        "exact masking": {"kind": "masking", "level": 0.25, "exact": True},
        "masking by column": {"kind": "masking", "level": levels},
        "salt and pepper by column": {"kind": "salt_and_pepper", "level": levels},
        "gaussian by column": {"kind": "gaussian", "level": levels},
        "swap": {"kind": "swap", "level": 0.3},
        "emphasised swap by column": {"kind": "swap", "level": levels, "emphasis": (1.5, 0.25)},
        "emphasised exact masking": {"kind": "masking", "level": 0.4, "exact": True, "emphasis": (1.0, 0.0)},
    }


def both(name, dtype, loss, rows, random, *, batch_size=16, weighted=False, **options):
    """The engine's objective and gradient and the reference's."""
    layers = make_layers(name, dtype)
    X, Y = make_data(layers, rows, loss)
    weights = np.random.default_rng(2).integers(0, 4, rows).astype(dtype) if weighted else None
    random = Randomness(11, layers, **random, data=X)
    plan = make_plan(make_network(layers), loss, batch_size=batch_size, **random.settings(), **options)
    got = plan.gradient(X, Y, weights, 3)

    ids, exact = np.arange(rows), as_float64(layers)
    emphasis = {"cell_weights": random.cell_weights(ids, 3)} if random.emphasis else {}
    _, objective, gradient = reference.loss_and_gradients(
        random.noise(X, ids, 3).astype(np.float64), Y.astype(np.float64), exact, loss, row_weights=weights, **emphasis,
        **options,
    )  # fmt: skip
    return got, (objective, reference.flatten(gradient))


@both_dtypes
@pytest.mark.parametrize("kind", noises(1))
@pytest.mark.parametrize("name", AUTOENCODERS)
def test_gradients_under_every_noise(name, kind, dtype):
    layers = make_layers(name, dtype)
    noise = noises(layers[0].W.shape[0])[kind]
    for loss in losses_of(layers):
        for rows, weighted in ((1, False), (37, True), (1030, True)):
            (value, gradient), (objective, expected) = both(name, dtype, loss, rows, noise, weighted=weighted)
            assert abs(value - objective) <= TOLERANCE[dtype] * max(1, abs(objective))
            assert_close(gradient, expected, 8 * TOLERANCE[dtype], f"{loss}, {rows} rows")


@pytest.mark.parametrize("kind", noises(1))
def test_runs_under_every_noise(kind):
    layers = make_layers("tied")
    X, Y = make_data(layers, 60, "sigmoid_cross_entropy")
    random = Randomness(11, layers, **noises(40)[kind], data=X)
    network, exact, rates = make_network(layers), as_float64(layers), np.full(20, 0.1)
    stats = make_plan(network, "sigmoid_cross_entropy", "momentum", 16, **random.settings()).run(X, Y, 0, 20, rates)
    batches = [rows for epoch in range(5) for rows in reference_random.batches(11, 60, 16, epoch)]
    losses = reference.train(
        X, Y, exact, "sigmoid_cross_entropy", batches, "momentum", [{"learning_rate": rate} for rate in rates],
        noise=random.noise, cell_weights=random.cell_weights if random.emphasis else None,
    )  # fmt: skip
    assert_close(network.parameters(), reference.flatten(exact), 1e-12, kind)
    assert abs(stats.loss - np.average(losses, weights=[len(rows) for rows in batches])) < 1e-12 * stats.loss


@both_dtypes
@pytest.mark.parametrize("kind", noises(1))
def test_same_bits_for_any_number_of_threads(kind, dtype):
    ends = []
    for threads in (1, 2, 3, 8):
        layers = make_layers("tied", dtype)
        X, _ = make_data(layers, 150, "squared_error")
        random = Randomness(3, layers, **noises(40)[kind])
        network = make_network(layers)
        plan = make_plan(network, "squared_error", "adam", 33, threads=threads, **random.settings())
        losses = [plan.run(X, None, first, 5, np.full(5, 0.01)).loss for first in (0, 5)]
        ends.append((losses, network.parameters().tobytes()))
    assert all(end == ends[0] for end in ends)


def test_emphasis_counts_in_training_alone():
    layers = make_layers("tied")
    X, _ = make_data(layers, 50, "squared_error")
    losses = []
    for emphasis in ((), (1.0, 0.0)):
        random = Randomness(3, layers, "masking", 0.3, emphasis=emphasis)
        plan = make_plan(make_network(layers), "squared_error", **random.settings())
        losses.append((plan.evaluate(X, None), plan.gradient(X, None)[0]))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] > losses[1][1]


def test_every_noise_of_the_engine_is_here_or_in_test_engine():
    assert {noise["kind"] for noise in noises(1).values()} | {"none"} == set(_core.NOISES)
    assert set(AUTOENCODERS) <= set(NETWORKS)
