"""The same bits for any number of threads, any cut of a run, any company of a row, and any instruction set with FMA."""

import hashlib

import numpy as np
import pytest
from networks import NETWORKS, Randomness, digests, losses_of, make_data, make_layers, make_network, make_plan

from layerwise import _core

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
every_network = pytest.mark.parametrize("name", NETWORKS)


def bits(name, dtype, threads, rows=150, batch_size=33, pieces=((0, 12),), optimizer="adam", **more):
    """Everything the engine computes, as bytes: weights and moments after a run, its loss, and what is read from it."""
    layers = make_layers(name, dtype)
    loss = losses_of(layers)[-1]
    X, Y = make_data(layers, rows, loss)
    weights = np.linspace(0.5, 2, rows).astype(dtype)
    random = Randomness(3, layers, "masking", 0.2, (0.25,) * (len(layers) - 1) + (0.0,))
    network = make_network(layers)
    plan = make_plan(network, loss, optimizer, batch_size, alpha=0.01, threads=threads, **random.settings(), **more)
    rates = 0.01 * 0.9 ** np.arange(12)
    losses = [plan.run(X, Y, first, n, rates[first : first + n].copy(), None, weights).loss for first, n in pieces]
    value, gradient = plan.gradient(X, Y, weights, 5)
    arrays = [network.parameters(), *plan.moments(), gradient, network.apply(X, threads=threads)]
    scalars = [value, plan.evaluate(X, Y, weights)] + (losses if len(pieces) == 1 else [])
    return [array.tobytes() for array in arrays] + scalars


@both_dtypes
@every_network
def test_same_bits_for_any_number_of_threads(name, dtype):
    one = bits(name, dtype, 1)
    assert all(bits(name, dtype, threads) == one for threads in (2, 3, 4, 8))


@both_dtypes
@every_network
def test_same_bits_where_threads_keep_to_rows_of_their_own(name, dtype):
    # They do from 40 rows a thread on: in the first batch, not in the second.
    one = bits(name, dtype, 1, batch_size=130, pieces=((0, 6),))
    assert all(bits(name, dtype, threads, batch_size=130, pieces=((0, 6),)) == one for threads in (2, 3))


@both_dtypes
def test_same_bits_for_any_number_of_threads_in_several_row_blocks(dtype):
    one = bits("unrolled", dtype, 1, rows=2100, batch_size=1500, pieces=((0, 2),))
    assert all(bits("unrolled", dtype, t, rows=2100, batch_size=1500, pieces=((0, 2),)) == one for t in (2, 3))


def test_same_bits_while_the_engine_tries_how_many_threads_pay():
    # Long enough (over half a second) for the first trials of the other number of threads.
    random = np.random.default_rng(0)
    X = random.random((2000, 100), dtype=np.float32)
    ends = []
    for threads in (0, 1):
        layers = [_core.Layer(100, 300, "tanh"), _core.Layer(300, 100, "identity")]
        network = _core.Network_float32(layers)
        network.set_parameters(_core.random_normal(1, 2, network.n_parameters).astype(np.float32) * np.float32(0.1))
        recipe = _core.Recipe("squared_error", _core.Optimizer("adam"), 64, threads=threads)
        plan = _core.Plan_float32(network, recipe)
        steps = 32 * 100
        plan.run(X, None, 0, steps, np.full(steps, 1e-3))
        ends.append(network.parameters().tobytes())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
def test_a_run_in_pieces_is_the_run_at_once(optimizer):
    whole = bits("tied", np.float32, 1, optimizer=optimizer)[:-1]
    assert bits("tied", np.float32, 2, pieces=((0, 1), (1, 6), (7, 5)), optimizer=optimizer) == whole


def test_a_run_goes_on_from_parameters_and_moments():
    layers = make_layers("three layers")
    X, Y = make_data(layers, 50, "softmax_cross_entropy")
    rates, ends = np.full(6, 0.01), []
    for cut in (False, True):
        network = make_network(layers)
        plan = make_plan(network, "softmax_cross_entropy", "adam", seed=4)
        plan.run(X, Y, 0, 6, rates)
        if cut:
            numbers, moments = network.parameters(), plan.moments()
            network = make_network(make_layers("three layers", seed=9))
            network.set_parameters(numbers)
            plan = make_plan(network, "softmax_cross_entropy", "adam", seed=4)
            plan.set_moments(*moments)
        plan.run(X, Y, 6, 6, rates)
        ends.append(network.parameters().tobytes())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("batch_size", [1, 8, 23])
@pytest.mark.parametrize("bfloat16", [False, True] if _core.has_bfloat16() else [False])
@every_network
def test_a_run_that_diverged_leaves_nothing_behind(name, bfloat16, batch_size):
    layers = make_layers(name, np.float32)
    loss = losses_of(layers)[-1]
    X, Y = make_data(layers, 24, loss)
    ends = []
    for by_layer, diverges in ((False, False), (False, True), (True, True)):
        network = make_network(layers)
        plan = make_plan(network, loss, "adam", batch_size, bfloat16=bfloat16)
        start, moments = network.parameters(), plan.moments()
        if diverges:
            plan.run(X * np.float32(1e30), Y, 0, 3, np.full(3, 1e30))
            assert network.parameters().tobytes() != start.tobytes()
            plan.set_moments(*moments)
        if by_layer:
            fresh = make_network(layers)
            for i, layer in enumerate(layers):
                network.set_weights(i, fresh.weights(i))
                network.set_bias(i, layer.b)
                network.set_parameter(i, fresh.parameter(i))
        else:
            network.set_parameters(start)
        plan.run(X, Y, 0, 3, np.full(3, 0.01))
        ends.append([plan.evaluate(X, Y), *(array.tobytes() for array in (network.parameters(), *plan.moments()))])
    assert ends[1] == ends[0]
    assert ends[2] == ends[0]


@pytest.mark.parametrize("bfloat16", [False, True] if _core.has_bfloat16() else [False])
@every_network
def test_a_gradient_that_is_not_finite_leaves_nothing_behind(name, bfloat16):
    layers = make_layers(name, np.float32)
    loss = losses_of(layers)[-1]
    X, Y = make_data(layers, 24, loss)
    found = []
    for spoiled in (False, True):
        network = make_network(layers)
        plan = make_plan(network, loss, bfloat16=bfloat16)
        start = network.parameters()
        for rows in (1, 2, 24) if spoiled else ():
            network.set_parameters(np.full_like(start, 1e38))
            plan.gradient(X[:rows], Y[:rows])
            network.set_parameters(start)
        found.append([plan.gradient(X[:rows], Y[:rows]) for rows in (1, 3, 24)])
    for (value, gradient), (expected, of_a_new_plan) in zip(found[1], found[0], strict=True):
        assert value == expected
        np.testing.assert_array_equal(gradient, of_a_new_plan)


def test_seeds_and_steps_differ():
    layers = make_layers("tied")
    X, _ = make_data(layers, 40, "squared_error")
    noise = _core.Noise("masking", 0.5)
    plans = [make_plan(make_network(layers), noise=noise, seed=seed) for seed in (0, 1, 1 << 32)]
    values = {plan.gradient(X, None, step=step)[0] for plan in plans for step in (0, 1, 2)}
    assert len(values) == 9


@both_dtypes
@every_network
def test_a_rows_result_does_not_depend_on_its_company(name, dtype):
    layers = make_layers(name, dtype)
    network = make_network(layers)
    X, _ = make_data(layers, 600, "squared_error")
    together = network.apply(X)
    for size in (1, 2, 7, 100, 257, 599):
        for start in (0, 1, 255, 600 - size):
            end = min(600, start + size)
            np.testing.assert_array_equal(network.apply(X[start:end], threads=1 + size % 2), together[start:end])
    shuffled = np.random.default_rng(0).permutation(600)
    np.testing.assert_array_equal(network.apply(X[shuffled]), together[shuffled])


def test_a_gradient_does_not_depend_on_the_blocks_it_is_computed_in():
    layers = make_layers("three layers")
    X, Y = make_data(layers, 300, "squared_error")
    plans = [make_plan(make_network(layers), batch_size=size) for size in (7, 32, 300, 2000)]
    gradients = [plan.gradient(X, Y)[1] for plan in plans]
    for other in gradients[1:]:
        np.testing.assert_array_equal(other, gradients[0])


PENALTIES = [
    {"l1": 0.01, "activation_l1": [0.1, 0.0]},
    {"sparsity": [1.0, 0.0], "sparsity_target": 0.2},
    {"contraction": [0.3, 0.0]},
]


def digest():
    """One hash a network and dtype: what test_same_bits_for_every_instruction_set compares."""
    penalties = [_core.Penalties(**options, clip_norm=0.05, max_norm=0.7) for options in PENALTIES]
    found = {}
    for name in NETWORKS:
        for dtype in (np.float32, np.float64):
            for i, more in enumerate([{}, *({"penalties": one} for one in penalties if name == "tied")]):
                numbers = bits(name, dtype, 2, **more)
                text = b"".join(b if isinstance(b, bytes) else np.float64(b).tobytes() for b in numbers)
                found[f"{name} {dtype.__name__} {i}"] = hashlib.sha256(text).hexdigest()
    return found


def test_same_bits_for_every_instruction_set():
    found = digests("test_determinism")
    assert all(one == found[0] for one in found)
