"""Data that are mostly 0, whose zeros the first layer's products leave out: the reference's numbers, and the same bits.

tests/test_instruction_sets.py runs this file once more under each instruction set the processor supports, and
tests/test_cross.py holds the kernels.
"""

import hashlib

import machines
import numpy as np
import pytest
from machines import make_machine
from networks import (
    NETWORKS,
    Randomness,
    as_float64,
    assert_close,
    digests,
    losses_of,
    make_data,
    make_layers,
    make_network,
    make_plan,
)
from test_engine import OPTIMIZERS, TOLERANCE, check_gradient, run_both
from test_rbm import CASES, GIBBS, both

from layerwise import _core, reference

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
# Those whose first layer has a panel that is wide enough.
WIDE = [name for name, (n_in, layers) in NETWORKS.items() if layers[0][0] > 16 and n_in > 3]


def make_few(layers, rows, loss, seed=1):
    """`make_data` with inputs of which a tenth is not 0, in patches as in pictures; some columns are 0 in all rows."""
    X, Y = make_data(layers, rows, loss, seed)
    patches = np.random.default_rng(seed).random((-(-rows // 4), -(-X.shape[1] // 3))) < 0.15
    patches[:, 1::4] = False
    X *= np.repeat(np.repeat(patches, 4, axis=0), 3, axis=1)[:rows, : X.shape[1]]
    return X, Y


@both_dtypes
@pytest.mark.parametrize("name", WIDE)
def test_gradient(name, dtype):
    layers = make_layers(name, dtype)
    dropout = (0.3,) * (len(layers) - 1) + (0.0,)
    for loss in losses_of(layers):
        for rows in (1, 2, 13, 33, 65, 130):  # 65: the second block is a single row
            check_gradient(layers, rows, loss, batch_size=64, make=make_few)
        check_gradient(layers, 29, loss, missing=True, weighted=True, make=make_few)
        for kind in ("masking", "swap", "dropout", "gaussian", "salt_and_pepper"):
            check_gradient(layers, 37, loss, kind=kind, level=0.3, step=7, dropout=dropout, alpha=0.1, make=make_few)


@both_dtypes
@pytest.mark.parametrize("name", ["tied", "five panels"])
def test_gradient_of_several_row_blocks(name, dtype):
    layers = make_layers(name, dtype)
    for loss in losses_of(layers):
        check_gradient(layers, 1025, loss, batch_size=1025, make=make_few)
        check_gradient(layers, 2060, loss, batch_size=2060, weighted=True, kind="masking", level=0.2, make=make_few)


@both_dtypes
def test_more_inputs_than_a_product_takes_at_a_time(dtype):
    rng = np.random.default_rng(0)
    W, b = (rng.normal(0, 0.1, shape).astype(dtype) for shape in ((777, 40), 40))
    layers = [reference.Layer(W, b, "tanh", 0.0), reference.Layer(W[:40, :3].copy(), b[:3].copy(), "identity", 0.0)]
    for rows in (5, 37):
        check_gradient(layers, rows, "squared_error", make=make_few)
    X, _ = make_few(layers, 90, "squared_error")
    expected = reference.forward(X.astype(np.float64), as_float64(layers))[-1][2]
    assert_close(make_network(layers).apply(X), expected, 10 * TOLERANCE[dtype])


@both_dtypes
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["whole panels", "tied", "five panels", "three layers", "elu, leaky, silu"])
def test_runs(name, optimizer, dtype):
    layers, (rate, options) = make_layers(name, dtype), OPTIMIZERS[optimizer]
    network, exact, *_ = run_both(
        layers, 90, losses_of(layers)[-1], optimizer, steps=25, batch_size=19, rates=np.full(25, rate / 10),
        options=options, alpha=0.01, kind="masking", level=0.1, weighted=True, make=make_few,
    )  # fmt: skip
    assert_close(network.parameters(), reference.flatten(exact), 1e-11 if dtype == np.float64 else 1e-4, optimizer)


@both_dtypes
@pytest.mark.parametrize("name", WIDE)
def test_reading(name, dtype):
    layers = make_layers(name, dtype)
    network, exact = make_network(layers), as_float64(layers)
    loss = losses_of(layers)[-1]
    X, Y = make_few(layers, 300, loss)
    expected = reference.forward(X.astype(np.float64), exact)[-1][2]
    for rows in (1, 2, 7, 300):
        assert_close(network.apply(X[:rows]), expected[:rows], 10 * TOLERANCE[dtype])
    value, _, _ = reference.loss_and_gradients(X.astype(np.float64), Y.astype(np.float64), exact, loss)
    assert abs(make_plan(network, loss).evaluate(X, Y) - value) < 10 * TOLERANCE[dtype] * max(1, value)


@both_dtypes
def test_reading_codes(dtype):
    layers = make_layers("tied, five panels", dtype)  # more units than inputs
    codes, _ = make_few([reference.Layer(layers[0].W.T, layers[1].b)], 300, "squared_error")
    z = codes.astype(np.float64) @ layers[0].W.T.astype(np.float64) + layers[1].b
    assert_close(make_network(layers).apply(codes, 1, 2, logits=True), z, 10 * TOLERANCE[dtype])
    layers = make_layers("five panels", dtype)
    codes, _ = make_few(layers[1:], 300, "squared_error")
    expected = reference.forward(codes.astype(np.float64), as_float64(layers[1:]))[-1][2]
    assert_close(make_network(layers).apply(codes, 1, 3), expected, 10 * TOLERANCE[dtype])


def bits(name, dtype, threads=1, optimizer="adam", batch_size=33, dense_rows=0, **penalties):
    """Parameters and moments after steps on the same few numbers; beside enough `dense_rows` no zero is left out."""
    layers = make_layers(name, dtype)
    loss = losses_of(layers)[-1]
    X, Y = make_few(layers, 150, loss)
    more = make_data(layers, dense_rows, loss)
    X, Y = np.concatenate([X, more[0]]), np.concatenate([Y, more[1]])
    random = Randomness(3, layers, "masking", 0.2, (0.25,) * (len(layers) - 1) + (0.0,))
    network = make_network(layers)
    plan = make_plan(
        network, loss, optimizer, batch_size, alpha=0.01, threads=threads, shuffle=False, **random.settings(),
        penalties=_core.Penalties(**penalties),
    )  # fmt: skip
    plan.run(X, Y, 0, 4, np.full(4, 0.01))
    return [array.tobytes() for array in (network.parameters(), *plan.moments())]


@both_dtypes
@pytest.mark.parametrize("name", WIDE)
def test_leaving_zeros_out_changes_no_bit(name, dtype):
    # Single rows learn in another way, but for what the penalties ask of a gradient.
    for settings in ({}, {"optimizer": "sgd"}, {"clip_norm": 0.1}, {"clip_value": 0.01}, {"l1": 0.001}):
        for batch_size in (33, 1):
            run = {"batch_size": batch_size, **settings}
            assert bits(name, dtype, **run) == bits(name, dtype, dense_rows=3000, **run)


@both_dtypes
@pytest.mark.parametrize("name", WIDE)
def test_same_bits_for_any_number_of_threads(name, dtype):
    one = bits(name, dtype)
    assert all(bits(name, dtype, threads) == one for threads in (2, 3, 8))


@both_dtypes
@pytest.mark.parametrize("name", ["tied", "five panels"])
def test_the_gradient_as_a_whole_gives_the_bits_of_the_fused_step(name, dtype):
    layers = make_layers(name, dtype)
    loss = losses_of(layers)[-1]
    X, Y = make_few(layers, 64, loss)
    norm = np.linalg.norm(make_plan(make_network(layers), loss, batch_size=64).gradient(X, Y)[1])
    ends = []
    for penalties in ({}, {"penalties": _core.Penalties(clip_norm=1.01 * norm)}):  # not clipped, but only just
        network = make_network(layers)
        make_plan(network, loss, "adam", 64, **penalties).run(X, Y, 0, 1, np.full(1, 0.01))
        ends.append(network.parameters().tobytes())
    assert ends[0] == ends[1]


def digest():
    """One hash a network and dtype: what test_same_bits_for_every_instruction_set compares."""
    return {
        f"{name} {dtype.__name__}": hashlib.sha256(b"".join(bits(name, dtype, 2))).hexdigest()
        for name in WIDE
        for dtype in (np.float32, np.float64)
    }


def test_same_bits_for_every_instruction_set():
    found = digests("test_zeros")
    assert all(one == found[0] for one in found)


# What is left out can be seen: an infinite weight makes a NaN of a 0 that it is multiplied by.


@both_dtypes
def test_weights_of_an_input_that_is_0_are_not_read(dtype):
    layers = make_layers("whole panels", dtype)
    X, Y = make_few(layers, 64, "squared_error")
    unused = np.flatnonzero((X == 0).all(axis=0))[0]
    layers[0].W[unused] = np.inf
    network = make_network(layers)
    dense, numbers = np.concatenate([X, np.ones_like(X) * (np.arange(64) != unused)]), network.parameters()
    assert np.isfinite(network.apply(X)).all()
    assert np.isnan(network.apply(dense)).any()
    for kind, batch_size in (("none", 16), ("masking", 16), ("none", 64)):
        plan = make_plan(network, batch_size=batch_size, noise=_core.Noise(kind, 0.1))
        assert np.isfinite(plan.evaluate(X, Y))
        gradient = plan.gradient(X, Y)[1]
        assert np.isfinite(gradient).sum() == gradient.size - 32  # all but alpha times the infinite weights
        for rows, targets in ((X, Y), (dense, np.tile(Y, (2, 1))), (X, Y)):  # decided anew in each run
            network.set_parameters(numbers)
            assert plan.run(rows, targets, 0, 2, np.zeros(2)).finite == (rows is X)
    network.set_parameters(numbers)
    filled = make_plan(network, noise=_core.Noise("gaussian", 0.1))
    assert not filled.run(X, Y, 0, 1, np.zeros(1)).finite


# Boltzmann machines: zeros of the data, and of the binary states that they sample.


def rare(n_visible, n_hidden, kind, rows):
    """A machine whose units are rarely on, and data for it that are mostly 0."""
    m = make_machine(n_visible, n_hidden, kind, scale=0.1)
    m.b -= 2.0 * (kind[0] == "binary")
    m.c -= 2.0 * (kind[1] == "binary")
    X = machines.make_data(rows, m)
    return m, X * (np.random.default_rng(5).random(X.shape) < 0.1)


@both_dtypes
@pytest.mark.parametrize(("kind", "settings"), CASES, ids=str)
def test_boltzmann_machines(settings, kind, dtype):
    m, X = rare(70, 45, kind, 90)
    found, losses, expected, expected_losses = both(m, X, dtype, 37, 6, GIBBS[settings])
    tolerance = 2e-5 if dtype == np.float32 else 1e-11
    assert machines.difference(found, expected) < tolerance
    np.testing.assert_allclose(losses, expected_losses, rtol=tolerance)


@both_dtypes
@pytest.mark.parametrize("settings", GIBBS)
def test_boltzmann_machines_have_the_same_bits_for_any_number_of_threads_and_beside_any_data(settings, dtype):
    m, X = rare(70, 45, ("binary", "binary"), 120)
    ends = []
    for threads, data in ((1, X), (2, X), (3, X), (1, np.concatenate([X, np.ones((3000, 70))]))):
        network = machines.engine_of(m, dtype)
        plan = machines.make_plan(network, m, 30, threads=threads, shuffle=False, **GIBBS[settings])
        plan.run(data.astype(dtype), 0, 4, np.full(4, 0.1))
        ends.append(network.parameters().tobytes())
    assert all(end == ends[0] for end in ends)


def test_chains_that_are_put_back_go_on_with_their_states():
    m, X = rare(70, 45, ("binary", "binary"), 60)
    network = machines.engine_of(m)
    plan = machines.make_plan(network, m, 30, persistent=True)
    plan.run(X, 0, 2, np.full(2, 0.1))
    parameters, memory = network.parameters(), plan.memory()
    plan.run(X, 2, 2, np.full(2, 0.1))
    other = machines.engine_of(m)
    other.set_parameters(parameters)
    again = machines.make_plan(other, m, 30, persistent=True)
    again.set_memory(memory)
    again.run(X, 2, 2, np.full(2, 0.1))
    assert other.parameters().tobytes() == network.parameters().tobytes()
