"""Batch normalisation in the engine: gradients, runs, running statistics, what is read, refusals.

tests/test_gradients.py has every combination of it with other options for a small network.
"""

import numpy as np
import pytest
from gradient_cases import make_layer
from networks import (
    NETS,
    Randomness,
    as_float64,
    assert_close,
    losses_of,
    make_data,
    make_layers,
    make_network,
    make_plan,
    normalized,
)
from test_gradients import check_gradient

from layerwise import _core, reference, reference_random

TOLERANCE = {np.float32: 5e-6, np.float64: 5e-14}
NAMES = ["ragged", "tied", "tied and narrow", "unrolled", "shared prelu", "hidden softmax", "elu, leaky, silu"]
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
every_network = pytest.mark.parametrize("name", NAMES)


def make(name, dtype=np.float64):
    return normalized(make_layers(name, dtype))


def one_row_that_counts(rows, dtype):
    weights = np.zeros(rows, dtype)
    weights[rows // 2] = 2
    return weights


# Gradients.


@both_dtypes
@every_network
def test_gradients(name, dtype):
    layers = make(name, dtype)
    dropout = (0.3,) * (len(layers) - 1) + (0.0,)
    for loss in losses_of(layers):
        for rows, weighted in ((1, None), (2, None), (37, None), (37, "some"), (37, "one"), (1500, "some")):
            X, Y = make_data(layers, rows, loss)
            weights = {
                None: lambda n: None,
                "some": lambda n: np.random.default_rng(2).integers(0, 4, n).astype(dtype),
                "one": lambda n: one_row_that_counts(n, dtype),
            }[weighted](rows)
            random = Randomness((5 << 34) + 3, layers, "masking", 0.3, dropout)
            plan = make_plan(make_network(layers), loss, batch_size=1500, alpha=0.1, **random.settings())
            value, gradient = plan.gradient(X, Y, weights, 7)
            ids = np.arange(rows)
            _, objective, expected = reference.loss_and_gradients(
                random.noise(X, ids, 7).astype(np.float64), Y.astype(np.float64), as_float64(layers), loss, alpha=0.1,
                row_weights=weights, dropout=random.scales(ids, 7),
            )  # fmt: skip
            message = f"{loss}, {rows} rows, weights {weighted}"
            assert abs(value - objective) <= TOLERANCE[dtype] * max(1, abs(objective)), message
            assert_close(gradient, reference.flatten(expected), 8 * TOLERANCE[dtype], message)


@pytest.mark.parametrize("frozen", [(), (True, False, False)], ids=["", "frozen"])
@pytest.mark.parametrize("rows", [1, 6])
def test_the_reference_is_the_finite_difference_where_the_statistics_are_the_running_ones(rows, frozen):
    rng = np.random.default_rng(0)
    layers = normalized(
        [make_layer(rng, 3, 4, "tanh"), make_layer(rng, 4, 3, "gelu"), make_layer(rng, 3, 2, "softmax")]
    )
    X, Y = make_data(layers, rows, "softmax_cross_entropy")
    weights = None if frozen and rows > 1 else one_row_that_counts(rows, np.float64)
    check_gradient(X, Y, layers, "softmax_cross_entropy", rows, h=2e-4, row_weights=weights, frozen=frozen)


def test_a_weight_is_a_repetition():
    layers = make("three layers")
    X, Y = make_data(layers, 20, "softmax_cross_entropy")
    weights = np.random.default_rng(3).integers(0, 4, 20)
    again = np.repeat(np.arange(20), weights)
    ends = []
    for rows, of_rows in ((np.arange(20), weights.astype(float)), (again, None)):
        network = make_network(layers)
        plan = make_plan(network, "softmax_cross_entropy", batch_size=len(rows), shuffle=False)
        plan.run(X[rows], Y[rows], 0, 5, np.full(5, 0.1), None, of_rows)
        ends.append(network.parameters())
    assert_close(ends[0], ends[1], 1e-13)


@pytest.mark.skipif(not _core.has_bfloat16(), reason="the instruction set in use has no bfloat16")
def test_bfloat16_products_are_normalised_in_float32():
    layers = make("three layers", np.float32)
    X, Y = make_data(layers, 33, "softmax_cross_entropy")
    found = [
        make_plan(make_network(layers), "softmax_cross_entropy", batch_size=33, bfloat16=on).gradient(X, Y)[1]
        for on in (False, True)
    ]
    assert 0 < np.linalg.norm(found[1] - found[0]) < 0.02 * np.linalg.norm(found[0])


# Runs.


OWN = {
    "adamw": {"weight_decay": 0.0},
    "rmsprop": {"decay": 0.999},
}  # where the engine's defaults are not the reference's


def run_both(name, optimizer, *, dtype=np.float64, rows=25, batch_size=8, steps=12, rate=0.02, frozen=(), **bounds):
    """The network and the reference after the same run; the last batch of each epoch has one row."""
    layers = make(name, dtype)
    loss = losses_of(layers)[-1]
    X, Y = make_data(layers, rows, loss)
    weights = np.random.default_rng(2).integers(1, 4, rows).astype(dtype)
    network, exact = make_network(layers), as_float64(layers)
    random = Randomness(11, layers, "gaussian", 0.1, (0.25,) * (len(layers) - 1) + (0.0,))
    plan = make_plan(
        network, loss, optimizer, batch_size, alpha=0.01, frozen=list(frozen), penalties=_core.Penalties(**bounds),
        **random.settings(),
    )  # fmt: skip
    rates = np.full(steps, rate)
    stats = plan.run(X, Y, 0, steps, rates, None, weights)
    assert (stats.steps, stats.finite) == (steps, True)
    batches = [b for epoch in range(steps) for b in reference_random.batches(11, rows, batch_size, epoch)]
    reference.train(
        X.astype(np.float64), Y.astype(np.float64), exact, loss, batches[:steps], optimizer,
        [{"learning_rate": rate, **OWN.get(optimizer, {})} for rate in rates],
        row_weights=weights.astype(np.float64), noise=random.noise, dropout=random.scales, alpha=0.01, frozen=frozen,
        **bounds,
    )  # fmt: skip
    return network.parameters(), reference.flatten(exact)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
@every_network
def test_runs_are_the_references(name, optimizer):
    got, expected = run_both(name, optimizer)
    assert_close(got, expected, 1e-11, optimizer)


@pytest.mark.parametrize("bounds", [{"clip_norm": 0.05}, {"clip_value": 0.005}, {"max_norm": 0.5}, {"l1": 0.01}])
def test_runs_within_bounds_are_the_references(bounds):
    assert_close(*run_both("unrolled", "momentum", **bounds), 1e-11)


def test_float32_runs_stay_near_the_reference():
    assert_close(*run_both("tied", "adam", dtype=np.float32), 2e-5)


@both_dtypes
def test_running_statistics_are_those_of_the_batches(dtype):
    layers = make("three layers", dtype)
    X, Y = make_data(layers, 50, "softmax_cross_entropy")
    network = make_network(layers)
    plan = make_plan(network, "softmax_cross_entropy", "adam", 50, shuffle=False)
    before = network.normalization(0)
    plan.run(X, Y, 0, 1, np.zeros(1))
    h = X.astype(np.float64) @ layers[0].W
    for row, statistic in ((1, h.mean(axis=0)), (2, h.var(axis=0))):
        expected = 0.75 * before[row] + 0.25 * statistic
        np.testing.assert_allclose(network.normalization(0)[row], expected, rtol=1e-4 if dtype == np.float32 else 1e-12)
    plan.run(X, Y, 1, 200, np.zeros(200))  # by then of nothing else; and the next layer's are of what the first makes
    z = layers[0].norm.scale * (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + layers[0].norm.epsilon) + layers[0].b
    for layer, sums in ((0, h), (1, np.tanh(z) @ layers[1].W)):
        scale, mean, variance = network.normalization(layer)
        np.testing.assert_allclose(mean, sums.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(variance, sums.var(axis=0), rtol=1e-4)
        np.testing.assert_array_equal(scale, layers[layer].norm.scale)  # the rates were 0


def test_a_momentum_of_one_takes_the_last_batch():
    layers = normalized(make_layers("tied"), momentum=1.0)
    X, _ = make_data(layers, 30, "squared_error")
    network = make_network(layers)
    make_plan(network, batch_size=30, shuffle=False).run(X, None, 0, 1, np.zeros(1))
    np.testing.assert_allclose(network.normalization(0)[1:], [(X @ layers[0].W).mean(0), (X @ layers[0].W).var(0)])


@both_dtypes
@pytest.mark.parametrize("weights", [None, "one"])
def test_a_batch_of_one_row_takes_the_running_statistics_and_leaves_them(weights, dtype):
    layers = make("three layers", dtype)
    rows = 1 if weights is None else 5
    X, Y = make_data(layers, rows, "softmax_cross_entropy")
    of_rows = None if weights is None else one_row_that_counts(rows, dtype)
    network = make_network(layers)
    before, bias = network.normalization(0), network.bias(0)
    stats = make_plan(network, "softmax_cross_entropy", batch_size=5).run(X, Y, 0, 1, np.full(1, 0.1), None, of_rows)
    z = reference.forward(X.astype(np.float64), as_float64(layers))[-1][1][rows // 2]
    expected = reference.loss(z[None], Y[rows // 2 : rows // 2 + 1].astype(np.float64), "softmax_cross_entropy")[0][0]
    assert stats.loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(network.normalization(0)[1:], before[1:])
    assert (network.normalization(0)[0] != before[0]).any()
    assert (network.bias(0) != bias).any()


@pytest.mark.parametrize("frozen", [[True, False, False], [False, True, False]])
def test_runs_with_frozen_layers_are_the_references(frozen):
    assert_close(*run_both("hidden softmax", "adam", frozen=frozen), 1e-11)


# Reading.


@both_dtypes
@every_network
def test_what_is_read_takes_the_running_statistics(name, dtype):
    layers = make(name, dtype)
    network, loss = make_network(layers), losses_of(layers)[-1]
    X, Y = make_data(layers, 300, loss)
    trace = reference.forward(X.astype(np.float64), as_float64(layers))
    for last in range(1, len(layers) + 1):
        assert_close(network.apply(X, 0, last), trace[last - 1][2], 10 * TOLERANCE[dtype])
    together = network.apply(X, threads=1)
    for rows in (slice(0, 1), slice(3, 10), slice(40, 300)):
        np.testing.assert_array_equal(network.apply(X[rows], threads=2), together[rows])
    plan = make_plan(network, loss, dropout=[0.5] * (len(layers) - 1) + [0.0])
    p = trace[-1][2 if loss == "squared_error" else 1]
    expected = reference.loss(p, Y.astype(np.float64), loss)[0].mean()
    assert plan.evaluate(X, Y) == pytest.approx(expected, rel=1e-5 if dtype == np.float32 else 1e-12)


def test_numbers_come_and_go():
    layers = make("three layers")
    network = make_network(layers)
    assert network.n_parameters == reference.flatten(layers).size
    np.testing.assert_array_equal(network.parameters(), reference.flatten(layers))
    for i in (0, 1):
        norm = layers[i].norm
        np.testing.assert_array_equal(network.normalization(i), [norm.scale, norm.mean, norm.variance])
        network.set_normalization(i, network.normalization(i) + 1)
        np.testing.assert_array_equal(network.normalization(i)[1], norm.mean + 1)
    assert network.layers[0].batch_norm == (0.25, 1e-3)
    assert network.layers[2].batch_norm is None
    fresh = NETS[np.float64]([_core.Layer(3, 40, "tanh", batch_norm=(0.1, 1e-5)), _core.Layer(40, 2, "identity")])
    np.testing.assert_array_equal(fresh.normalization(0), np.repeat([[1.0], [0.0], [1.0]], 40, axis=1))


# What is refused.


def test_what_cannot_be_is_refused():
    layer, net = _core.Layer, _core.Network_float64
    after = layer(3, 2, "identity")
    for wrong, message in (
        (lambda: net([layer(3, 2, "tanh", batch_norm=(0.1, 1e-5))]), "layer 0: the last layer cannot be normalised"),
        (lambda: net([layer(4, 3, "tanh", batch_norm=(0.0, 1e-5)), after]), r"momentum of batch_norm .* in \(0, 1\]"),
        (lambda: net([layer(4, 3, "tanh", batch_norm=(1.5, 1e-5)), after]), r"momentum of batch_norm .* in \(0, 1\]"),
        (lambda: net([layer(4, 3, "tanh", batch_norm=(0.1, 0.0)), after]), "epsilon of batch_norm must be positive"),
        (lambda: net([layer(4, 3, "tanh", batch_norm=(0.1, np.inf)), after]), "epsilon of batch_norm must be positive"),
        (lambda: net([layer(4, 3, "tanh", batch_norm=(np.nan, 1e-5)), after]), "momentum of batch_norm"),
        (
            lambda: _core.Network_float32([layer(4, 3, "tanh", batch_norm=(0.1, 1e-50)), after]),
            "epsilon of batch_norm must be positive and finite, also when rounded",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
    network = make_network(make("tied"))
    with pytest.raises(ValueError, match="contraction needs a layer that is not normalised"):
        make_plan(network, penalties=_core.Penalties(contraction=[0.1, 0.0]))
    X, _ = make_data(make_layers("tied"), 20, "squared_error")
    with pytest.raises(ValueError, match="gradient of a network with batch_norm needs a batch_size of at least the"):
        make_plan(network, batch_size=19).gradient(X, None)
    recipe = _core.Recipe("sigmoid_cross_entropy", _core.Optimizer("sgd"), 10)
    with pytest.raises(ValueError, match="a Boltzmann machine has no batch_norm"):
        _core.RbmPlan_float64(network, recipe)
    with pytest.raises(ValueError, match="layer 1 has no batch_norm"):
        network.normalization(1)
    with pytest.raises(ValueError, match="layer 1 has no batch_norm"):
        network.set_normalization(1, np.ones((3, 40)))
    with pytest.raises(ValueError, match=r"values must have shape \(3, 17\)"):
        network.set_normalization(0, np.ones((2, 17)))
    with pytest.raises(ValueError, match=r"values must have shape \(rows, 17\)"):
        network.set_normalization(0, np.ones((3, 16)))
    with pytest.raises(IndexError):
        network.normalization(2)
