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
from layerwise.reference import Layer

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
        "dropout": {"kind": "dropout", "level": 0.3},
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
    assert {noise["kind"] for noise in noises(1).values()} == set(_core.NOISES) - {"none"}
    assert set(AUTOENCODERS) <= set(NETWORKS)


# Penalties of activations and weights.

SPARSE = {"hidden softmax": 0, "tied": 0, "three layers": 1, "tied and narrow": 0}  # a layer whose outputs have bounds


def penalties_of(name):
    """What each network is trained with here, as keyword arguments of the reference; zeros for the last layer."""
    depth = len(NETWORKS[name][1])
    one = lambda i, value: [value if j == i else 0.0 for j in range(depth)]  # noqa: E731
    found = {
        "l1": {"l1": 0.02},
        "activation_l1": {"activation_l1": [0.1 + 0.1 * i for i in range(depth - 1)] + [0.0]},
    }
    contracted = [0.3 if layer[1] != "softmax" and len(layer) < 5 else 0.0 for layer in NETWORKS[name][1][:-1]]
    found["contraction"] = {"contraction": [*contracted, 0.0]}
    if name in SPARSE:
        found["sparsity"] = {"sparsity": one(SPARSE[name], 1.5), "sparsity_target": 0.2}
    found["all"] = {"alpha": 0.1} | {key: value for options in found.values() for key, value in options.items()}
    return found


def engine_options(options):
    """The same for a Recipe."""
    alpha = {key: value for key, value in options.items() if key == "alpha"}
    return alpha | {"penalties": _core.Penalties(**{k: v for k, v in options.items() if k != "alpha"})}


@both_dtypes
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_under_every_penalty(name, dtype):
    layers = make_layers(name, dtype)
    if len(layers) == 1:
        return
    for kind, options in penalties_of(name).items():
        for loss in losses_of(layers)[-1:]:
            for rows in (1, 37, 1030):  # the last in two row blocks
                X, Y = make_data(layers, rows, loss)
                weights = np.random.default_rng(2).integers(0, 4, rows).astype(dtype) + dtype(rows == 1)
                dropout = (0.3,) * (len(layers) - 1) + (0.0,)
                random = Randomness(11, layers, "masking", 0.2, dropout)
                plan = make_plan(make_network(layers), loss, **random.settings(), **engine_options(options))
                value, gradient = plan.gradient(X, Y, weights, 3)
                ids = np.arange(rows)
                _, objective, expected = reference.loss_and_gradients(
                    random.noise(X, ids, 3).astype(np.float64), Y.astype(np.float64), as_float64(layers), loss,
                    row_weights=weights.astype(np.float64), dropout=random.scales(ids, 3), **options,
                )  # fmt: skip
                message = f"{kind}, {loss}, {rows} rows"
                assert abs(value - objective) <= 10 * TOLERANCE[dtype] * max(1, abs(objective)), message
                assert_close(gradient, reference.flatten(expected), 20 * TOLERANCE[dtype], message)


BOUNDS = {
    "clip_value": {"clip_value": 0.005},
    "clip_norm": {"clip_norm": 0.05},
    "clip_norm that is not reached": {"clip_norm": 1e6},
    "max_norm": {"max_norm": 0.7},
    "all bounds": {"clip_norm": 0.05, "max_norm": 0.7, "alpha": 0.1, "l1": 0.01},
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["tied", "unrolled", "shared prelu", "three layers"])
def test_runs_under_every_penalty_and_bound(name, optimizer):
    layers = make_layers(name)
    loss = losses_of(layers)[-1]
    for kind, options in (penalties_of(name) | BOUNDS).items():
        for rows, batch_size, steps in ((60, 16, 12), (9, 1, 9), (1300, 1100, 4)):
            X, Y = make_data(layers, rows, loss)
            network, exact, rates = make_network(layers), as_float64(layers), np.full(steps, 0.01)
            make_plan(network, loss, optimizer, batch_size, seed=11, **engine_options(options)).run(
                X, Y, 0, steps, rates
            )
            batches = [b for epoch in range(5) for b in reference_random.batches(11, rows, batch_size, epoch)]
            settings = [{"learning_rate": rate} for rate in rates]
            reference.train(X, Y, exact, loss, batches, optimizer, settings, **options)
            assert_close(network.parameters(), reference.flatten(exact), 1e-11, f"{kind}, {rows} rows")


@both_dtypes
def test_bounds_hold(dtype):
    layers = make_layers("unrolled", dtype)
    X, Y = make_data(layers, 60, "squared_error")
    before = make_network(layers).parameters().astype(np.float64)
    for bound, norm in (("clip_value", lambda x: np.abs(x).max()), ("clip_norm", np.linalg.norm)):
        network = make_network(layers)
        penalties = _core.Penalties(**{bound: 0.003})
        make_plan(network, batch_size=60, penalties=penalties, alpha=0.1).run(X, Y, 0, 1, np.ones(1))
        step = network.parameters().astype(np.float64) - before
        assert norm(step) == pytest.approx(0.003, rel=1e-3)
    network = make_network(layers)
    make_plan(network, penalties=_core.Penalties(max_norm=0.5), batch_size=10).run(X, Y, 0, 5, np.full(5, 0.01))
    norms = np.concatenate([np.linalg.norm(network.weights(i), axis=0) for i in (0, 1)])
    assert norms.max() == pytest.approx(0.5, rel=1e-5)


@both_dtypes
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_whether_the_gradient_is_stored_or_not(name, dtype):
    loss = losses_of(make_layers(name))[-1]
    X, Y = make_data(make_layers(name), 100, loss)

    def end(batch_size, **options):
        network = make_network(make_layers(name, dtype))
        make_plan(network, loss, "adam", batch_size, **engine_options(options)).run(X, Y, 0, 6, np.full(6, 0.01))
        return network.parameters().tobytes()

    X, Y = X.astype(dtype), Y.astype(dtype)
    for batch_size in (1, 33):
        terms = {"alpha": 0.1, "l1": 0.02}
        assert end(batch_size, **terms) == end(batch_size, **terms, clip_norm=1e30)
        assert end(batch_size) == end(batch_size, clip_norm=1e30) == end(batch_size, clip_value=1e30)
        terms |= {"contraction": penalties_of(name)["contraction"]["contraction"]}
        assert end(batch_size, **terms) == end(batch_size, **terms, clip_value=1e30)


@both_dtypes
@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
@pytest.mark.parametrize("name", ["whole panels", "tied twice", "unrolled", "few outputs"])
def test_every_optimiser_gives_the_same_bits_inside_the_product_and_after_it(name, optimizer, dtype):
    loss = losses_of(make_layers(name))[-1]
    X, Y = (array.astype(dtype) for array in make_data(make_layers(name), 70, loss))
    kind = _core.Optimizer(optimizer, weight_decay=0.1 if optimizer == "adamw" else 0.0)

    def end(batch_size, clip_norm):
        network = make_network(make_layers(name, dtype))
        plan = make_plan(network, loss, kind, batch_size, alpha=0.1, penalties=_core.Penalties(clip_norm=clip_norm))
        plan.run(X, Y, 0, 6, np.full(6, 0.01))
        return [array.tobytes() for array in (network.parameters(), *plan.moments())]

    for batch_size in (5, 15, 33):  # fewer rows than a tile has, a turn and a half, and several
        assert end(batch_size, 0) == end(batch_size, 1e30)


@pytest.mark.parametrize("name", ["ragged", "whole panels", "tied", "shared prelu"])
def test_clip_norm_misses_no_gradient_that_is_too_long(name):
    layers = make_layers(name)
    loss = losses_of(layers)[-1]
    # Equal rows, so that their gradients add up without cancelling, and small, so that biases and decoders count.
    X, Y = (np.repeat(array[:1], 40, axis=0) for array in make_data(layers, 1, loss))

    def step(limit):
        network = make_network(layers)
        plan = make_plan(network, loss, batch_size=40, penalties=_core.Penalties(clip_norm=limit))
        plan.run(0.1 * X, Y, 0, 1, np.ones(1))
        return network.parameters() - make_network(layers).parameters()

    whole = step(0.0)
    norm = np.linalg.norm(whole)
    for part in (0.5, 0.9, 0.99, 0.999):
        assert np.linalg.norm(step(part * norm)) == pytest.approx(part * norm, rel=1e-9)
    for part in (1.001, 1.1, 2.0, 20.0):
        np.testing.assert_array_equal(step(part * norm), whole)


@both_dtypes
def test_clip_norm_sees_deltas_whose_squares_are_no_normal_numbers(dtype):
    small = np.sqrt(np.finfo(dtype).tiny) / 100
    network = make_network([Layer(np.zeros((40, 3), dtype), np.zeros(3, dtype), "identity", 0.0)])
    X, Y = np.full((8, 40), 1e4, dtype), np.full((8, 3), small, dtype)
    limit = 10 * small  # far below 1e4 * small, which is what the gradient is made of
    make_plan(network, batch_size=8, penalties=_core.Penalties(clip_norm=limit)).run(X, Y, 0, 1, np.ones(1))
    step = network.parameters().astype(np.float64) / small
    assert np.linalg.norm(step) == pytest.approx(10, rel=1e-3)


def test_bounds_leave_frozen_layers_alone():
    layers = make_layers("three layers")
    X, Y = make_data(layers, 60, "squared_error")
    for options in (*BOUNDS.values(), *penalties_of("three layers").values()):
        network = make_network(layers)
        plan = make_plan(network, frozen=[True, False, True], **engine_options(options))
        plan.run(X, Y, 0, 8, np.full(8, 0.01))
        for i in (0, 2):
            assert network.weights(i).tobytes() == layers[i].W.tobytes()
            assert network.bias(i).tobytes() == layers[i].b.tobytes()
        assert (network.weights(1) != layers[1].W).all()
        gradient = plan.gradient(X, Y)[1]
        assert not gradient[: layers[0].W.size + layers[0].b.size].any()
    steps = []
    for frozen in ([], [True, False, True]):  # what is frozen is no part of the norm
        network = make_network(layers)
        plan = make_plan(network, batch_size=60, frozen=frozen, penalties=_core.Penalties(clip_norm=0.01))
        plan.run(X, Y, 0, 1, np.ones(1))
        steps.append(np.linalg.norm(network.parameters() - make_network(layers).parameters()))
    assert steps == pytest.approx([0.01, 0.01], rel=1e-9)


@both_dtypes
@pytest.mark.parametrize("name", ["tied", "unrolled", "three layers"])
def test_same_bits_for_any_number_of_threads_under_every_penalty(name, dtype):
    loss = losses_of(make_layers(name))[-1]
    for options in (penalties_of(name) | BOUNDS).values():
        for rows, batch_size in ((150, 33), (1300, 1100)):
            ends = []
            for threads in (1, 2, 3, 8) if rows == 150 else (1, 3):
                layers = make_layers(name, dtype)
                X, Y = make_data(layers, rows, loss)
                network = make_network(layers)
                plan = make_plan(network, loss, "adam", batch_size, seed=3, threads=threads, **engine_options(options))
                losses = [plan.run(X, Y, first, 2, np.full(2, 0.01)).loss for first in (0, 2)]
                value, gradient = plan.gradient(X, Y, None, 5)
                ends.append((losses, value, network.parameters().tobytes(), gradient.tobytes()))
            assert all(end == ends[0] for end in ends), options


def test_penalties_are_no_part_of_the_reported_losses():
    layers = make_layers("tied")
    X, Y = make_data(layers, 50, "squared_error")
    plain = make_plan(make_network(layers))
    for options in penalties_of("tied").values():
        plan = make_plan(make_network(layers), **engine_options(options))
        assert plan.evaluate(X, Y) == plain.evaluate(X, Y)
        assert plan.run(X, Y, 0, 1, np.zeros(1)).loss == plain.run(X, Y, 0, 1, np.zeros(1)).loss
        assert plan.gradient(X, Y)[0] > plain.gradient(X, Y)[0]


def test_penalties_that_do_not_fit_are_refused():
    tied, softmax, relu = (make_network(make_layers(name)) for name in ("tied", "hidden softmax", "whole panels"))
    for network, options in (
        (tied, {"l1": -1.0}),
        (tied, {"l1": float("nan")}),
        (tied, {"clip_value": -1.0}),
        (tied, {"clip_norm": float("inf")}),
        (tied, {"max_norm": -1.0}),
        (tied, {"clip_value": 1.0, "clip_norm": 1.0}),
        (tied, {"sparsity": [1.0]}),
        (tied, {"sparsity": [1.0, 1.0]}),
        (tied, {"activation_l1": [0.0, 1.0]}),
        (tied, {"contraction": [0.0, 1.0]}),
        (tied, {"contraction": [-1.0, 0.0]}),
        (tied, {"sparsity": [1.0, 0.0], "sparsity_target": 0.0}),
        (tied, {"sparsity": [1.0, 0.0], "sparsity_target": 1.0}),
        (relu, {"sparsity": [1.0, 0.0]}),
        (softmax, {"contraction": [1.0, 0.0, 0.0]}),
    ):
        with pytest.raises(ValueError, match=r"l1|clip|max_norm|sparsity|contraction"):
            make_plan(network, penalties=_core.Penalties(**options))


@pytest.mark.parametrize("bound", ["clip_value", "clip_norm", "max_norm"])
def test_bounds_that_float32_rounds_to_0_are_refused(bound):
    recipe = _core.Recipe("squared_error", _core.Optimizer("sgd"), 5, penalties=_core.Penalties(**{bound: 1e-50}))
    layers = [_core.Layer(3, 3, "identity")]
    _core.Plan_float64(_core.Network_float64(layers), recipe)
    with pytest.raises(ValueError, match=rf"{bound} must be 0 \(none\) or positive"):
        _core.Plan_float32(_core.Network_float32(layers), recipe)
