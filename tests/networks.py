"""The engine's networks and their twins in layerwise.reference, for the tests of the engine."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from layerwise import _core, reference, reference_random
from layerwise.reference import Layer, Normalization

# Each layer: outputs, activation, parameter, learn, tied_to. The last activation decides which losses fit.
NETWORKS = {
    "one unit": (1, [(1, "sigmoid")]),
    "ragged": (7, [(33, "tanh"), (31, "relu"), (5, "identity")]),
    "whole panels": (64, [(32, "relu"), (64, "sigmoid")]),
    "tied": (40, [(17, "sigmoid"), (40, "sigmoid", 0.0, "fixed", 0)]),
    "tied and narrow": (3, [(70, "tanh"), (3, "identity", 0.0, "fixed", 0)]),
    # A single row's products take four panels together.
    "five panels": (40, [(33, "tanh"), (150, "sigmoid"), (5, "identity")]),
    "tied, five panels": (40, [(130, "sigmoid"), (40, "sigmoid", 0.0, "fixed", 0)]),
    # The sums of a single row are made 256 at a time.
    "many inputs": (290, [(9, "sigmoid"), (290, "sigmoid", 0.0, "fixed", 0), (5, "identity")]),
    "unrolled": (
        65,
        [
            (33, "prelu", 0.25, "unit"),
            (9, "swish", 1.0, "shared"),
            (33, "softplus", 0.0, "fixed", 1),
            (65, "swish", 1.5, "unit", 0),
        ],
    ),
    # Its first layers' sums lie where their values do.
    "tied twice": (
        20,
        [(33, "sigmoid"), (9, "tanh"), (33, "sigmoid", 0.0, "fixed", 1), (20, "sigmoid", 0.0, "fixed", 0)],
    ),
    "shared prelu": (12, [(35, "prelu", -0.5, "shared"), (2, "softmax")]),
    "hidden softmax": (12, [(35, "softmax"), (4, "gelu_tanh"), (33, "softmax")]),
    "three layers": (10, [(33, "tanh"), (20, "sigmoid"), (4, "softmax")]),
    # Panels of 8 and of 12 units over whole blocks of inputs.
    "few outputs": (65, [(40, "tanh"), (12, "softmax")]),
    "mixed": (45, [(20, "tanh"), (45, "identity", 0.0, "fixed", 0)]),
    "elu, leaky, silu": (20, [(16, "elu", 0.75), (8, "leaky_relu", 0.25), (9, "silu"), (6, "gelu")]),
}
# Columns of several kinds: of one column, across a panel's end, and across a vector's.
KINDS = ("number", "category", "flag", "category", "category", "number", "category")
GROUPS = {"mixed": tuple(zip(KINDS, (3, 2, 2, 1, 29, 1, 7), strict=True))}
LOSS_OF = {"sigmoid": "sigmoid_cross_entropy", "softmax": "softmax_cross_entropy"}
PLANS = {np.float32: _core.Plan_float32, np.float64: _core.Plan_float64}
NETS = {np.float32: _core.Network_float32, np.float64: _core.Network_float64}


def make_layers(name, dtype=np.float64, seed=0):
    """Reference layers with random numbers, every parameter given."""
    rng = np.random.default_rng(seed)
    n_in, specs = NETWORKS[name]
    layers = []
    for spec in specs:
        n_out, activation, parameter, learn, tied_to = (*spec, *(0.0, "fixed", -1)[len(spec) - 2 :])
        if learn != "fixed":
            parameter = (parameter + rng.uniform(0, 0.2, n_out if learn == "unit" else 1)).astype(dtype)
        W = None if tied_to >= 0 else (rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)).astype(dtype)
        b = rng.normal(0, 0.3, n_out).astype(dtype)
        layers.append(Layer(W, b, activation, parameter, learn, tied_to))
        n_in = n_out
    layers[-1].groups = GROUPS.get(name, ())
    return layers


def make_network(layers):
    """The engine's network with the same numbers."""
    dtype = layers[0].b.dtype.type
    specs = []
    for i, layer in enumerate(layers):
        start = float(np.ravel(layer.parameter)[0])
        shape = reference.weights(layers, i).shape
        norm = None if layer.norm is None else (layer.norm.momentum, layer.norm.epsilon)
        specs.append(_core.Layer(*shape, layer.activation, start, layer.learn, layer.tied_to, layer.groups, norm))
    network = NETS[dtype](specs)
    network.set_parameters(reference.flatten(layers))
    return network


def as_float64(layers):
    """The same numbers in float64: what a float32 engine is compared with."""
    return [
        Layer(
            None if a.W is None else a.W.astype(np.float64),
            a.b.astype(np.float64),
            a.activation,
            a.parameter.astype(np.float64) if isinstance(a.parameter, np.ndarray) else a.parameter,
            a.learn,
            a.tied_to,
            a.groups,
            None if a.norm is None else _normalization_as(a.norm, np.float64),
        )
        for a in layers
    ]


def _normalization_as(norm, dtype):
    arrays = (array.astype(dtype) for array in (norm.scale, norm.mean, norm.variance))
    return Normalization(*arrays, norm.momentum, norm.epsilon)


def normalized(layers, momentum=0.25, epsilon=1e-3, seed=5):
    """The layers with batch normalisation before all activations but the last, as if they had been trained."""
    rng = np.random.default_rng(seed)
    for layer in layers[:-1]:
        scale, variance = rng.uniform(0.5, 1.5, (2, len(layer.b)))
        norm = Normalization(scale, rng.normal(0, 0.3, len(layer.b)), variance, momentum, epsilon)
        layer.norm = _normalization_as(norm, layer.b.dtype)
    return layers


def make_data(layers, rows, loss, seed=1):
    rng = np.random.default_rng(seed)
    n_in, n_out, dtype = layers[0].W.shape[0], len(layers[-1].b), layers[0].b.dtype
    X, Y = rng.uniform(size=(rows, n_in)), rng.uniform(size=(rows, n_out))
    if loss == "softmax_cross_entropy":
        Y /= Y.sum(axis=1, keepdims=True)
    return X.astype(dtype), Y.astype(dtype)


def losses_of(layers):
    """The losses that fit the last activation."""
    if layers[-1].groups:
        return ["mixed"]
    special = LOSS_OF.get(layers[-1].activation)
    return ["squared_error"] + ([special] if special else [])


def make_plan(network, loss="squared_error", optimizer="sgd", batch_size=16, **settings):
    dtype = network.bias(0).dtype.type
    if isinstance(optimizer, str):
        optimizer = _core.Optimizer(optimizer)
    return PLANS[dtype](network, _core.Recipe(loss, optimizer, batch_size, **settings))


@dataclass
class Randomness:
    """Noise and dropout as the reference wants them."""

    seed: int
    layers: list
    kind: str = "none"
    level: float | tuple = 0.0  # a tuple has one a column
    dropout: tuple = ()
    exact: bool = False
    emphasis: tuple = ()  # weights of corrupted and clean cells
    data: np.ndarray | None = None  # for swap noise

    def noise(self, x, rows, t):
        level = np.array(self.level) if isinstance(self.level, tuple) else self.level
        return reference_random.corrupt(
            x, self.kind, level, -1.0, 1.0, seed=self.seed, rows=rows, step=t, exact=self.exact, data=self.data
        )

    def cell_weights(self, rows, t):
        level = np.array(self.level) if isinstance(self.level, tuple) else self.level
        n_in = self.layers[0].W.shape[0]
        hit = reference_random.chosen(n_in, level, seed=self.seed, rows=rows, step=t, exact=self.exact)
        return np.where(hit, *self.emphasis)

    def scales(self, rows, t):
        found = []
        for i, (layer, rate) in enumerate(zip(self.layers, self.dropout, strict=True)):
            scale = reference_random.dropout_scale(self.seed, rows, len(layer.b), t, i, rate)
            found.append(scale.astype(layer.b.dtype) if rate else None)
        return found

    def settings(self):
        """The same for a Recipe."""
        by_column = isinstance(self.level, tuple)
        weights = dict(zip(("corrupted_weight", "clean_weight"), self.emphasis, strict=False))
        noise = _core.Noise(
            self.kind,
            0.0 if by_column else self.level,
            -1.0,
            1.0,
            self.level if by_column else (),
            self.exact,
            **weights,
        )
        return {"seed": self.seed, "noise": noise, "dropout": list(self.dropout)}


def assert_close(got, expected, tolerance, message=""):
    """Within `tolerance` of the norm of `expected`."""
    assert got.shape == expected.shape
    error = np.linalg.norm(got.astype(np.float64) - expected) / max(np.linalg.norm(expected), 1e-3)
    assert error <= tolerance, f"{message}: relative error {error:.2e}"


def digests(module):
    """What `digest` of a module of tests returns under each instruction set that has fused multiply-adds."""
    found = []
    for isa in set(_core.supported_isas()) - {"x86-64-v2"}:
        done = subprocess.run(
            [sys.executable, "-c", f"import json, {module} as tests; print(json.dumps(tests.digest()))"],
            cwd=os.path.dirname(__file__), env={**os.environ, "LAYERWISE_ISA": isa},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    return found
