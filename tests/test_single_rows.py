"""Batches of one row, whose kernels read the weights once for several ends and leave out those that meet a 0.

Each way through them is held against another, to the bit: against the gradient that is stored first (a bound of its
norm asks for that), against runs of single steps (which begin no next row), and against rows among others. The
reference is test_engine.py's.
"""

import numpy as np
import pytest
from networks import NETWORKS, Randomness, digests, losses_of, make_data, make_layers, make_network, make_plan

from layerwise import _core

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
STORED = _core.Penalties(clip_norm=1e30)
ROWS = 9
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
# All optimisers share the loops; these networks have every path through them.
THOROUGH, BRIEF = ("sgd", "adam"), ("ragged", "tied", "tied twice")
CASES = [(name, kind) for name in NETWORKS for kind in OPTIMIZERS if kind in THOROUGH or name in BRIEF]
every_case = pytest.mark.parametrize(("name", "optimizer"), CASES)
every_network = pytest.mark.parametrize("name", NETWORKS)


def sparse_data(layers, loss):
    """Rows with zeros here and there, in whole panels of inputs, and everywhere."""
    X, Y = make_data(layers, ROWS, loss)
    X[np.random.default_rng(4).uniform(size=X.shape) < 0.5] = 0
    X[2, :32] = X[3, -1] = X[4] = 0
    X[5] = np.maximum(X[5], X.dtype.type(0.1))
    return X, Y


def end(name, dtype, optimizer="sgd", pieces=((0, 2 * ROWS),), threads=1, noise="none", dropout=0.0, **settings):
    """What a run leaves: the network's numbers and the optimiser's, as bytes."""
    layers = make_layers(name, dtype)
    loss = losses_of(layers)[-1]
    X, Y = sparse_data(layers, loss)
    random = Randomness(3, layers, noise, 0.3, (dropout,) * (len(layers) - 1) + (0.0,))
    network = make_network(layers)
    optimizer = _core.Optimizer(optimizer, weight_decay=0.1) if optimizer == "adamw" else optimizer
    plan = make_plan(network, loss, optimizer, batch_size=1, threads=threads, **random.settings(), **settings)
    rates = 0.005 * 0.9 ** np.arange(2 * ROWS)
    for first, n in pieces:
        assert np.isfinite(plan.run(X, Y, first, n, rates[first : first + n].copy()).loss)
    return [array.tobytes() for array in (network.parameters(), *plan.moments())]


SINGLE_STEPS = tuple((step, 1) for step in range(2 * ROWS))
SETTINGS = {
    "plain": {},
    "noise": {"noise": "masking"},
    "dropout": {"noise": "gaussian", "dropout": 0.25},
    "not shuffled": {"shuffle": False},
}


@both_dtypes
@every_case
def test_same_bits_as_by_a_stored_gradient(name, dtype, optimizer):
    for settings in SETTINGS.values():
        stored = end(name, dtype, optimizer, penalties=STORED, **settings)
        for threads in (1, 2, 3):
            assert end(name, dtype, optimizer, threads=threads, **settings) == stored


@both_dtypes
@every_case
def test_same_bits_whether_or_not_the_next_row_is_begun(name, dtype, optimizer):
    for settings in ({}, {"alpha": 0.1, **SETTINGS["dropout"]}):
        steps = end(name, dtype, optimizer, SINGLE_STEPS, **settings)
        for threads in (1, 2, 3):
            assert end(name, dtype, optimizer, threads=threads, **settings) == steps
            assert end(name, dtype, optimizer, ((0, 5), (5, 1), (6, 12)), threads, **settings) == steps


@both_dtypes
@every_network
@pytest.mark.parametrize("optimizer", THOROUGH)
def test_decay(name, dtype, optimizer):
    # A stored gradient has alpha's term in it, which rounds otherwise.
    one, stored = (
        np.frombuffer(end(name, dtype, optimizer, ((0, 3),), alpha=0.5, **more)[0], dtype)
        for more in ({}, {"penalties": STORED})
    )
    without = np.frombuffer(end(name, dtype, optimizer, ((0, 3),))[0], dtype)
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(one, stored, rtol=0, atol=tolerance * np.abs(stored).max())
    assert np.abs(one - without).max() > 10 * tolerance * np.abs(stored).max()


@both_dtypes
@every_network
def test_bounded_norms(name, dtype):
    for settings in ({}, {"alpha": 0.1}):
        bound = _core.Penalties(max_norm=0.5)
        steps = end(name, dtype, "adam", SINGLE_STEPS, penalties=bound, **settings)
        assert all(end(name, dtype, "adam", threads=t, penalties=bound, **settings) == steps for t in (1, 2, 3))
        if not settings:
            assert end(name, dtype, "adam", penalties=_core.Penalties(max_norm=0.5, clip_norm=1e30)) == steps


@both_dtypes
@every_network
def test_frozen_layers(name, dtype):
    depth = len(NETWORKS[name][1])
    for frozen in ([i == j for i in range(depth)] for j in range(-1, depth)):
        for some in (frozen, [not value for value in frozen]):
            stored = end(name, dtype, "adam", frozen=some, penalties=STORED)
            assert end(name, dtype, "adam", SINGLE_STEPS, frozen=some) == stored
            assert all(end(name, dtype, "adam", threads=t, frozen=some) == stored for t in (1, 2, 3))


@both_dtypes
@every_network
def test_a_row_of_zeros_is_what_it_is_among_others(name, dtype):
    network = make_network(make_layers(name, dtype))
    X, _ = sparse_data(make_layers(name, dtype), "squared_error")
    together = network.apply(X)
    for row in range(ROWS):
        assert network.apply(X[row : row + 1])[0].tobytes() == together[row].tobytes()


@both_dtypes
@pytest.mark.parametrize("batch_size", [1, 4, ROWS])  # rows among others have kernels of their own
def test_padding_stays_zero(dtype, batch_size):
    # A code's padding is sigmoid(0) = 0.5: what it would teach the weights there, a wider code would read.
    layers = make_layers("tied", dtype)
    X, _ = sparse_data(layers, "sigmoid_cross_entropy")
    network = make_network(layers)
    steps = -(-ROWS // batch_size)
    make_plan(network, "sigmoid_cross_entropy", batch_size=batch_size).run(X, None, 0, steps, np.full(steps, 0.1))
    again = make_network(layers)  # the same numbers, with padding of its own
    again.set_weights(0, network.weights(0))
    for layer in range(2):
        again.set_bias(layer, network.bias(layer))
    for each in (network, again):  # a single row reads whole panels
        make_plan(each, "sigmoid_cross_entropy", batch_size=1).run(X, None, 0, ROWS, np.full(ROWS, 0.1))
    assert network.parameters().tobytes() == again.parameters().tobytes()


def digest():
    return [
        [part.hex() for part in end(name, dtype, optimizer, threads=2, **SETTINGS["dropout"])]
        for name in NETWORKS for dtype in (np.float32, np.float64) for optimizer in ("sgd", "adam")
    ]  # fmt: skip


def test_same_bits_for_every_instruction_set():
    one, *others = digests("test_single_rows")
    assert all(other == one for other in others)
