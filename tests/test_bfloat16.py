"""Products in bfloat16: exact where the numbers are, else those of rounded operands; the same bits however cut."""

import os
import subprocess
import sys

import numpy as np
import pytest
from networks import NETWORKS, Randomness, assert_close, losses_of, make_data, make_layers, make_network, make_plan

from layerwise import _core

needs_bfloat16 = pytest.mark.skipif(not _core.has_bfloat16(), reason="the instruction set in use has no bfloat16")


def rounded(x):
    """To 8 significant bits, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32)


def gradients(layers, X, Y, weights=None, loss="squared_error", threads=1, batch_size=16):
    """Loss and gradient in float32 and in bfloat16."""
    found = []
    for bfloat16 in (False, True):
        network = _core.Network_float32(layers[0])
        network.set_parameters(layers[1])
        recipe = _core.Recipe(loss, _core.Optimizer("sgd"), batch_size, threads=threads, bfloat16=bfloat16)
        found.append(_core.Plan_float32(network, recipe).gradient(X, Y, weights))
    return found


SIZES = [1, 2, 15, 16, 17, 31, 32, 33, 64, 70]


@needs_bfloat16
@pytest.mark.parametrize("rows", [2, 3, 16, 63, 64])
@pytest.mark.parametrize("n_in", SIZES)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_products_of_small_integers_are_exact(n_in, rows, tied):
    # Every operand has at most 8 significant bits and every sum is exact in float32: float32 is right to the bit.
    rng = np.random.default_rng(n_in + rows)
    for n_hidden in SIZES:
        n_out = n_in if tied else SIZES[(SIZES.index(n_hidden) + 3) % len(SIZES)]
        W = np.zeros((n_in, n_hidden), np.float32)
        W[rng.permutation(n_in)[: min(n_in, n_hidden)], np.arange(min(n_in, n_hidden))] = rng.choice([-1, 1])
        V = np.zeros((n_hidden, n_out), np.float32)
        V[np.arange(n_hidden), rng.integers(0, n_out, n_hidden)] = 1
        V[:, np.abs(V).sum(axis=0) > 3] = 0
        parts = (
            [W.ravel(), np.zeros(n_hidden), np.zeros(n_out)]
            if tied
            else [W.ravel(), np.zeros(n_hidden), V.ravel(), np.zeros(n_out)]
        )
        specs = [
            _core.Layer(n_in, n_hidden, "identity"),
            _core.Layer(n_hidden, n_out, "identity", tied_to=0 if tied else -1),
        ]
        X = rng.integers(-4, 5, (rows, n_in)).astype(np.float32)
        Y = rng.integers(-4, 5, (rows, n_out)).astype(np.float32)
        weights = np.ones(rows, np.float32)
        weights[0] += 2.0 ** np.ceil(np.log2(rows)) - rows  # their sum is a power of two
        (loss, expected), (value, gradient) = gradients(
            (specs, np.concatenate(parts).astype(np.float32)), X, Y, weights
        )
        assert value == loss
        np.testing.assert_array_equal(gradient, expected)


@needs_bfloat16
@pytest.mark.parametrize("shape", [(50, 37), (784, 33), (300, 100)])
def test_operands_are_rounded_and_sums_are_not(shape):
    rng = np.random.default_rng(0)
    n_in, n_out = shape
    X, Y = rng.normal(size=(40, n_in)).astype(np.float32), rng.normal(size=(40, n_out)).astype(np.float32)
    W, b = rng.normal(size=shape).astype(np.float32), rng.normal(size=n_out).astype(np.float32)
    layers = [_core.Layer(n_in, n_out, "identity")]
    _, (value, gradient) = gradients((layers, np.concatenate([W.ravel(), b])), X, Y)
    z = rounded(X).astype(np.float64) @ rounded(W).astype(np.float64) + b
    assert value == pytest.approx(np.mean(np.sum((z - Y) ** 2, axis=1)), rel=1e-6)
    delta = 2 * (z - Y) / 40
    # A delta of the engine may be rounded to the neighbour: 2^-8 of a few of them.
    by_W = rounded(X).astype(np.float64).T @ rounded(delta.astype(np.float32)).astype(np.float64)
    assert_close(gradient[: W.size].reshape(shape), by_W, 3e-5)
    assert_close(gradient[W.size :], delta.sum(axis=0), 1e-5)


def trained(name, threads, pieces=((0, 6),), rows=150, batch_size=33, optimizer="adam", **more):
    layers = make_layers(name, np.float32)
    loss = losses_of(layers)[-1]
    X, Y = make_data(layers, rows, loss)
    random = Randomness(3, layers, "masking", 0.2, (0.25,) * (len(layers) - 1) + (0.0,))
    network = make_network(layers)
    plan = make_plan(network, loss, optimizer, batch_size, threads=threads, bfloat16=True, **random.settings(), **more)
    for first, n in pieces:
        plan.run(X, Y, first, n, np.full(n, 0.01), None, np.linspace(0.5, 2, rows).astype(np.float32))
    return [array.tobytes() for array in (network.parameters(), *plan.moments())]


@needs_bfloat16
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_for_threads_pieces_and_both_ways_to_update(name):
    one = trained(name, 1)
    assert all(trained(name, threads, pieces=((0, 1), (1, 5))) == one for threads in (2, 3))
    # With these terms and a bound that no gradient reaches, the gradient is stored first, and then the optimiser runs.
    inside, after = (_core.Penalties(l1=0.01, clip_norm=bound) for bound in (0.0, 1e30))
    assert trained(name, 2, alpha=0.1, penalties=inside) == trained(name, 2, alpha=0.1, penalties=after)


@needs_bfloat16
@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_every_optimiser_gives_the_same_bits_inside_the_product_and_after_it(optimizer):
    kind = _core.Optimizer(optimizer, weight_decay=0.1 if optimizer == "adamw" else 0.0)
    after = _core.Penalties(clip_norm=1e30)
    for name in ("whole panels", "unrolled"):
        for batch_size in (5, 30, 70):
            more = {"batch_size": batch_size, "optimizer": kind, "alpha": 0.1}
            assert trained(name, 2, **more) == trained(name, 2, penalties=after, **more)


@needs_bfloat16
def test_the_same_bits_in_several_row_blocks():
    one = trained("unrolled", 1, rows=2101, batch_size=1501, pieces=((0, 2),))
    assert trained("unrolled", 3, rows=2101, batch_size=1501, pieces=((0, 2),)) == one


@needs_bfloat16
def test_it_is_another_arithmetic_and_learns_as_well():
    layers = make_layers("three layers", np.float32)
    X, Y = make_data(layers, 200, "softmax_cross_entropy")
    losses = []
    for bfloat16 in (False, True):
        network = make_network(layers)
        plan = make_plan(network, "softmax_cross_entropy", "adam", 20, bfloat16=bfloat16)
        plan.run(X, Y, 0, 300, np.full(300, 0.01))
        losses.append(plan.evaluate(X, Y))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_what_cannot_be_in_bfloat16_is_refused():
    double = _core.Network_float64([_core.Layer(4, 3, "sigmoid")])
    recipe = _core.Recipe("squared_error", _core.Optimizer("sgd"), 4, bfloat16=True)
    with pytest.raises(ValueError, match="float32 network"):
        _core.Plan_float64(double, recipe)
    machine = _core.Network_float32([_core.Layer(4, 3, "sigmoid"), _core.Layer(3, 4, "sigmoid", tied_to=0)])
    recipe = _core.Recipe("sigmoid_cross_entropy", _core.Optimizer("sgd"), 4, bfloat16=True)
    with pytest.raises(ValueError, match="not trained in bfloat16"):
        _core.RbmPlan_float32(machine, recipe)


def test_a_processor_without_it_is_told_so():
    isa = next((name for name in ("x86-64-v3", "x86-64-v2", "neon") if name in _core.supported_isas()), None)
    code = (
        "from layerwise import _core\n"
        "network = _core.Network_float32([_core.Layer(4, 3, 'sigmoid')])\n"
        "_core.Plan_float32(network, _core.Recipe('squared_error', _core.Optimizer('sgd'), 4, bfloat16=True))\n"
    )
    environment = {**os.environ, "LAYERWISE_ISA": isa}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "need a processor with AVX512-BF16" in done.stderr
