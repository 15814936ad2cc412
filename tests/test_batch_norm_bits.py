"""The bits of batch normalisation: frozen layers, threads, cuts, instruction sets, and after a run that diverged."""

import hashlib

import numpy as np
import pytest
from networks import Randomness, digests, losses_of, make_data, make_network, make_plan
from test_batch_norm import NAMES, both_dtypes, every_network, make

from layerwise import _core

PENALTIES = [
    {},
    {"l1": 0.1},
    {"activation_l1": [0.1, 0.1, 0.0]},
    {"sparsity": [1.0, 1.0, 0.0]},
    {"clip_norm": 0.1},
    {"clip_value": 0.01},
    {"max_norm": 0.1},
]


@both_dtypes
@pytest.mark.parametrize("penalties", PENALTIES, ids=str)
@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_frozen_bytes_do_not_move(optimizer, penalties, dtype):
    layers = make("three layers", dtype)
    X, Y = make_data(layers, 20, "softmax_cross_entropy")
    for frozen in ([True, False, False], [False, True, False]):
        network = make_network(layers)
        plan = make_plan(
            network, "softmax_cross_entropy", _core.Optimizer(optimizer, weight_decay=0.1), 6, alpha=0.1, frozen=frozen,
            penalties=_core.Penalties(**penalties),
        )  # fmt: skip
        parts = [(network.weights(i), network.bias(i), network.normalization(i)) for i in (0, 1)]
        plan.run(X, Y, 0, 8, np.full(8, 0.01))
        for i, (weights, bias, norm) in enumerate(parts):
            if frozen[i]:
                assert network.weights(i).tobytes() == weights.tobytes()
                assert network.bias(i).tobytes() == bias.tobytes()
                assert network.normalization(i).tobytes() == norm.tobytes()
            else:
                assert (network.weights(i) != weights).all()
                assert (network.bias(i) != bias).all()
                assert (network.normalization(i) != norm).all()


def bits(name, dtype, threads, *, pieces=((0, 8),), batch_size=33, bfloat16=False):
    layers = make(name, dtype)
    loss = losses_of(layers)[-1]
    X, Y = make_data(layers, 67, loss)
    weights = np.linspace(0.5, 2, 67).astype(dtype)
    random = Randomness(3, layers, "masking", 0.2, (0.25,) * (len(layers) - 1) + (0.0,))
    network = make_network(layers)
    plan = make_plan(network, loss, "adam", batch_size, threads=threads, bfloat16=bfloat16, **random.settings())
    for first, n in pieces:
        plan.run(X, Y, first, n, np.full(n, 0.01), None, weights)
    value, gradient = plan.gradient(X[:33], Y[:33], None, 5)
    arrays = [network.parameters(), *plan.moments(), gradient, network.apply(X, threads=threads)]
    return [array.tobytes() for array in arrays] + [value, plan.evaluate(X, Y)]


@both_dtypes
@every_network
def test_same_bits_for_any_number_of_threads_and_however_a_run_is_cut(name, dtype):
    one = bits(name, dtype, 1)
    assert all(bits(name, dtype, threads) == one for threads in (2, 3, 5))
    assert bits(name, dtype, 2, pieces=((0, 1), (1, 3), (4, 4))) == one


@pytest.mark.skipif(not _core.has_bfloat16(), reason="the instruction set in use has no bfloat16")
def test_same_bits_in_bfloat16():
    one = bits("ragged", np.float32, 1, bfloat16=True)
    assert all(bits("ragged", np.float32, threads, bfloat16=True) == one for threads in (2, 3))


def test_same_bits_for_any_number_of_threads_in_a_large_batch():
    layers = make("unrolled", np.float32)
    X, Y = make_data(layers, 1500, "squared_error")
    gradients = [
        make_plan(make_network(layers), batch_size=1500, threads=threads).gradient(X, Y)[1].tobytes()
        for threads in (1, 2, 3)
    ]
    assert len(set(gradients)) == 1


def digest():
    """One hash a network and dtype: what test_same_bits_for_every_instruction_set compares."""
    found = {}
    for name in NAMES:
        for dtype in (np.float32, np.float64):
            parts = [b if isinstance(b, bytes) else np.float64(b).tobytes() for b in bits(name, dtype, 2)]
            found[f"{name} {dtype.__name__}"] = hashlib.sha256(b"".join(parts)).hexdigest()
    return found


def test_same_bits_for_every_instruction_set():
    found = digests("test_batch_norm_bits")
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("batch_size", [1, 8, 23])
@every_network
def test_a_run_that_diverged_leaves_nothing_behind(name, batch_size):
    layers = make(name, np.float32)
    loss = losses_of(layers)[-1]
    X, Y = make_data(layers, 24, loss)
    ends = []
    for by_layer, diverges in ((False, False), (False, True), (True, True)):
        network = make_network(layers)
        plan = make_plan(network, loss, "adam", batch_size)
        start, moments = network.parameters(), plan.moments()
        if diverges:
            plan.run(X * np.float32(1e38), Y, 0, 3, np.full(3, 1e38))
            assert network.parameters().tobytes() != start.tobytes()
            plan.set_moments(*moments)
        if by_layer:
            fresh = make_network(layers)
            for i, layer in enumerate(layers):
                network.set_weights(i, fresh.weights(i))
                network.set_bias(i, layer.b)
                network.set_parameter(i, fresh.parameter(i))
                if layer.norm is not None:
                    network.set_normalization(i, fresh.normalization(i))
        else:
            network.set_parameters(start)
        plan.run(X, Y, 0, 3, np.full(3, 0.01))
        ends.append([plan.evaluate(X, Y), *(array.tobytes() for array in (network.parameters(), *plan.moments()))])
    assert ends[1] == ends[0]
    assert ends[2] == ends[0]
