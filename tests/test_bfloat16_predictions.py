"""Predictions in bfloat16: products of rounded operands, the same bits for a row however it comes."""

import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import NETWORKS, assert_close, make_data, make_layers, make_network, normalized
from test_bfloat16 import needs_bfloat16, rounded

from layerwise import _core, reference
from layerwise.activations import Activation
from layerwise.network import Network, start_layer

ROWS = [1, 2, 3, 16, 255, 256, 257]


def make(name):
    """Layers by a network's name; "normalised" has batch normalisation."""
    return normalized(make_layers("unrolled", np.float32)) if name == "normalised" else make_layers(name, np.float32)


def with_rounded_weights(layers):
    for layer in layers:
        if layer.W is not None:
            layer.W = rounded(layer.W)
    return layers


@needs_bfloat16
@pytest.mark.parametrize("name", [*NETWORKS, "normalised"])
def test_each_layer_multiplies_rounded_inputs_by_rounded_weights(name):
    layers = make(name)
    network, half = make_network(layers), make_network(with_rounded_weights(make(name)))
    weights = _core.RoundedWeights(network)
    hidden, _ = make_data(layers, 40, "squared_error")
    for index in range(len(layers)):
        found = network.apply(hidden, index, index + 1, rounded=weights)
        assert_close(found, half.apply(rounded(hidden), index, index + 1), 3e-6)
        hidden = found
    np.testing.assert_array_equal(network.apply(make_data(layers, 40, "squared_error")[0], rounded=weights), hidden)


@needs_bfloat16
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("n_in", [1, 2, 31, 32, 33, 70, 300, 784])
def test_products_of_small_integers_are_exact(n_in, tied):
    rng = np.random.default_rng(n_in)
    for n_hidden in (1, 15, 32, 33, 130, 200):
        n_out = n_in if tied else 37
        specs = [
            _core.Layer(n_in, n_hidden, "identity"),
            _core.Layer(n_hidden, n_out, "identity", tied_to=0 if tied else -1),
        ]
        network = _core.Network_float32(specs)
        # Hidden sums of at most 8 significant bits: each unit has at most 20 weights of 1 or -1, and inputs up to 4.
        W = np.zeros((n_in, n_hidden), np.float32)
        for column in W.T:
            column[rng.permutation(n_in)[:20]] = rng.choice([-1, 1])
        network.set_weights(0, W)
        if not tied:
            network.set_weights(1, rng.integers(-8, 9, (n_hidden, n_out)).astype(np.float32))
        network.set_bias(0, rng.integers(-8, 9, n_hidden).astype(np.float32))
        weights = _core.RoundedWeights(network)
        for rows in ROWS:
            X = rng.integers(-4, 5, (rows, n_in)).astype(np.float32)
            np.testing.assert_array_equal(network.apply(X, rounded=weights), network.apply(X))


@needs_bfloat16
@pytest.mark.parametrize("name", [*NETWORKS, "normalised", "wide"])
def test_a_rows_result_depends_on_neither_its_company_nor_the_threads(name):
    if name == "wide":  # too large for threads to keep to rows of their own
        rng = np.random.default_rng(0)
        network = _core.Network_float32([_core.Layer(300, 500, "relu"), _core.Layer(500, 70, "tanh")])
        network.set_parameters(rng.normal(0, 0.1, network.n_parameters).astype(np.float32))
        X = rng.normal(size=(600, 300)).astype(np.float32)
    else:
        layers = make(name)
        network, X = make_network(layers), make_data(layers, 600, "squared_error")[0]
    weights = _core.RoundedWeights(network)
    together = network.apply(X, threads=1, rounded=weights)
    assert (together != network.apply(X)).any()
    for size in (1, 2, 7, 100, 257, 599):
        for start in (0, 1, 255, 600 - size):
            end = min(600, start + size)
            for threads in (1, 2, 3):
                found = network.apply(X[start:end], threads=threads, rounded=weights)
                assert found.tobytes() == together[start:end].tobytes()


@needs_bfloat16
@pytest.mark.parametrize("n_in", [1, 2, 15, 32, 33, 70, 200])
@pytest.mark.parametrize("bias", [1e-39, -1e-39, -0.0])
def test_zeros_change_no_bit(n_in, bias):
    # A single row could leave them out; but adding a pair takes a subnormal bias as 0, and changes the sign of a 0.
    rng = np.random.default_rng(n_in)
    network = _core.Network_float32([_core.Layer(n_in, 140, "identity")])
    network.set_weights(0, rng.normal(size=(n_in, 140)).astype(np.float32))
    network.set_bias(0, np.full(140, bias, np.float32))
    X = rng.normal(size=(12, n_in)).astype(np.float32)
    X[0], X[1], X[2, ::2], X[3, 1::2], X[4, :32], X[5, 2:], X[6, :-1] = 0, -0.0, 0, 0, 0, 0, 0
    X[7:][rng.uniform(size=(5, n_in)) < 0.7] = 0
    weights = _core.RoundedWeights(network)
    together = network.apply(X, rounded=weights)
    for row in range(len(X)):
        assert network.apply(X[row : row + 1], rounded=weights)[0].tobytes() == together[row].tobytes()


@needs_bfloat16
def test_parts_of_a_network_and_logits():
    layers = make_layers("hidden softmax", np.float32)
    network, X = make_network(layers), make_data(layers, 50, "squared_error")[0]
    weights = _core.RoundedWeights(network)
    whole = network.apply(X, rounded=weights)
    hidden = network.apply(X, 0, 2, rounded=weights)
    np.testing.assert_array_equal(network.apply(hidden, 2, 3, rounded=weights), whole)
    logits = network.apply(X, logits=True, rounded=weights)
    assert_close(reference.softmax(logits.astype(np.float64)), whole, 1e-5)
    assert network.apply(X[:0], rounded=weights).shape == (0, 33)


@needs_bfloat16
def test_the_weights_are_those_of_their_network_when_they_were_made():
    layers = make_layers("three layers", np.float32)
    network, X = make_network(layers), make_data(layers, 20, "squared_error")[0]
    weights = _core.RoundedWeights(network)
    before = network.apply(X, rounded=weights)
    network.set_weights(0, np.zeros((10, 33), np.float32))
    np.testing.assert_array_equal(network.apply(X, rounded=weights), before)
    assert (network.apply(X, rounded=_core.RoundedWeights(network)) != before).any()
    with pytest.raises(ValueError, match="rounded must be None or the RoundedWeights of this network"):
        make_network(layers).apply(X, rounded=weights)
    with pytest.raises(TypeError):
        _core.RoundedWeights(make_network(make_layers("three layers", np.float64)))
    # They keep their network alive, so that none that comes later can have its place.
    del network
    gc.collect()
    with pytest.raises(ValueError, match="this network"):
        make_network(layers).apply(X, rounded=weights)


@needs_bfloat16
def test_a_network_keeps_its_rounded_weights_and_is_copied_without():
    rng = np.random.default_rng(0)
    net = Network([start_layer(rng.normal(size=(20, 40)), Activation("tanh"), np.dtype(np.float32))])
    X = rng.normal(size=(30, 20)).astype(np.float32)
    found = net.apply(X, bfloat16=True)
    assert (found != net.apply(X)).any()
    kept = net._rounded
    np.testing.assert_array_equal(net.apply(X, bfloat16=True, threads=2), found)
    assert net._rounded is kept
    assert net.__getstate__() == {"layers": net.layers, "_engine": None, "_rounded": None}


@needs_bfloat16
@pytest.mark.parametrize("width", [5, 6, 31, 32, 33])
def test_what_rounds_to_infinity_spoils_no_more_than_it_does_in_float32(width):
    # An odd last unit is paired with padding: tanh(infinity * 0) there, which is no number.
    network = _core.Network_float32([_core.Layer(4, width, "tanh"), _core.Layer(width, 3, "softmax")])
    rng = np.random.default_rng(width)
    network.set_parameters(rng.normal(size=network.n_parameters).astype(np.float32))
    X = rng.normal(size=(5, 4)).astype(np.float32)
    X[2, 1] = 3.4e38
    for rows in (X, X[2:3]):
        assert_close(network.apply(rows, rounded=_core.RoundedWeights(network)), network.apply(rows), 0.05)


@needs_bfloat16
def test_first_predictions_of_several_threads():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 200)).astype(np.float32)
    for _ in range(5):
        net = Network([start_layer(rng.normal(size=(200, 400)), Activation("tanh"), np.dtype(np.float32))])
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _, net=net: net.apply(X, bfloat16=True), range(6)))
        assert all(one.tobytes() == found[0].tobytes() for one in found)
        assert net._engine is net._rounded[0]


def test_a_processor_without_it_is_told_so():
    isa = next((name for name in ("x86-64-v3", "x86-64-v2", "neon") if name in _core.supported_isas()), None)
    code = "from layerwise import _core\n_core.RoundedWeights(_core.Network_float32([_core.Layer(4, 3, 'sigmoid')]))\n"
    environment = {**os.environ, "LAYERWISE_ISA": isa}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "need a processor with AVX512-BF16" in done.stderr
