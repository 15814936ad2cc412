"""The table of gradient cases: activation x loss x tie x noise x regulariser x batch norm, each a small autoencoder.

tests/test_gradients.py holds the reference to finite differences and the engine to the reference on each of them. An
option that changes a gradient needs a row in `NOISES`, `REGULARIZERS` or `LAYER_OPTIONS`; a test there fails until it
has one.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from layerwise import _core, reference, reference_normalization, reference_random
from layerwise.reference import Layer, Normalization

# name, parameter, learn: a row for each activation, and for each way its parameter can be learned
ACTIVATIONS = [
    ("identity", None, "fixed"),
    ("sigmoid", None, "fixed"),
    ("tanh", None, "fixed"),
    ("relu", None, "fixed"),
    ("leaky_relu", 0.2, "fixed"),
    ("prelu", 0.25, "fixed"),
    ("prelu", 0.25, "shared"),
    ("prelu", -0.5, "unit"),
    ("elu", 1.0, "fixed"),
    ("elu", 0.7, "fixed"),
    ("softplus", None, "fixed"),
    ("gelu", None, "fixed"),
    ("gelu_tanh", None, "fixed"),
    ("silu", None, "fixed"),
    ("swish", 1.5, "fixed"),
    ("swish", 1.0, "shared"),
    ("swish", -0.8, "unit"),
    ("softmax", None, "fixed"),
]
KINKED = {"relu", "leaky_relu", "prelu", "elu"}
# loss: the output activation it prescribes, or None when every activation may stand there
LOSSES = {
    "squared_error": None, "sigmoid_cross_entropy": "sigmoid", "softmax_cross_entropy": "softmax", "mixed": "identity",
}  # fmt: skip
GROUPS = (("flag", 1), ("category", 2), ("number", 1))  # of the inputs, where the loss is mixed

ROWS, UNITS, SEED, STEP = 5, 2, (7 << 33) + 1, 3

# What _core.Noise is called with; of levels as many as there are inputs.
NOISES = {
    "no noise": {},
    "masking": {"kind": "masking", "level": 0.3},
    "masking by column": {"kind": "masking", "levels": [0.1, 0.9, 0.5, 0.3]},
    "exact masking": {"kind": "masking", "level": 0.3, "exact": True},
    "emphasised masking": {"kind": "masking", "level": 0.4, "corrupted_weight": 1.5, "clean_weight": 0.5},
    "salt and pepper": {"kind": "salt_and_pepper", "level": 0.5, "low": -1.0, "high": 2.0},
    "gaussian": {"kind": "gaussian", "level": 0.3},
    "gaussian by column": {"kind": "gaussian", "levels": [0.0, 0.5, 1.0, 0.2]},
    "swap": {"kind": "swap", "level": 0.5},
    "emphasised swap of categories": {"kind": "swap", "level": 0.5, "groups": GROUPS, "clean_weight": 0.3},
    "input dropout": {"kind": "dropout", "level": 0.4},
    "fully emphasised swap": {"kind": "swap", "level": 0.5, "clean_weight": 0.0},
}
# What is added to the objective or to the network's training: settings that _core.Recipe and the reference share.
REGULARIZERS = {
    "nothing more": {},
    "l2": {"alpha": 0.1},
    "l1": {"l1": 0.1},
    "dropout": {"dropout": [0.3, 0.0]},
    "sparse": {"sparsity": [1.5, 0.0], "sparsity_target": 0.1},
    "sparse by l1": {"activation_l1": [0.3, 0.0]},
    "contractive": {"contraction": [0.5, 0.0]},
    "all at once": {
        "alpha": 0.1, "l1": 0.1, "dropout": [0.3, 0.0], "activation_l1": [0.3, 0.0], "contraction": [0.5, 0.0],
    },
}  # fmt: skip
PENALTIES = {"l1", "activation_l1", "sparsity", "sparsity_target", "contraction"}  # settings of _core.Penalties
# Settings of _core.Layer beside those that the other axes stand for, as a normalised case's hidden layer has them.
LAYER_OPTIONS = {"batch_norm": (0.2, 0.01)}
NO_NOISE, NO_REGULARIZER = next(iter(NOISES)), next(iter(REGULARIZERS))


@dataclass(frozen=True)
class Case:
    activation: tuple
    loss: str
    tied: bool
    noise: str
    regularizer: str
    weighted: bool = False
    missing: bool = False
    normalized: bool = False

    def fits(self):
        """Whether these may stand together."""
        code, options = self.activation[0], REGULARIZERS[self.regularizer]
        return not (
            ("emphasised" in self.noise and self.loss == "softmax_cross_entropy")
            or ("sparsity" in options and code not in ("sigmoid", "tanh", "softmax"))
            or ("contraction" in options and (code == "softmax" or self.normalized))
        )

    @property
    def inputs(self):
        return 4 if self.loss == "mixed" else 3

    def noise_settings(self):
        fitted, settings = {}, NOISES[self.noise]
        if "levels" in settings:
            fitted["levels"] = settings["levels"][: self.inputs]
        if "groups" in settings:
            fitted["groups"] = GROUPS[-2:] if self.inputs == 3 else GROUPS
        return settings | fitted

    def engine_noise(self):
        return _core.Noise(**self.noise_settings())

    @cached_property
    def data(self):
        """Inputs, targets and layers, the first drawn with no sum near the kink of an activation."""
        for seed in itertools.count():
            rng = np.random.default_rng(seed)
            output = self.activation if LOSSES[self.loss] is None else (LOSSES[self.loss], None, "fixed")
            layers = [
                make_layer(rng, self.inputs, UNITS, *self.activation),
                make_layer(rng, UNITS, self.inputs, *output, tied_to=0 if self.tied else -1),
            ]
            if self.loss == "mixed":
                layers[-1].groups = GROUPS
            if self.normalized:
                layers[0].norm = make_normalization(rng, UNITS)
            X, T = rng.normal(size=(ROWS, self.inputs)), make_targets(rng, self.loss, ROWS, self.inputs)
            if self.missing:
                T[1, 2] = T[3, 0] = np.nan
            if self.is_smooth(self.corrupted(X), layers):
                return X, T, layers
        raise AssertionError

    def is_smooth(self, X, layers):
        margin = 0.1 if self.normalized else 0.02  # a weight moves a normalised sum by more
        share = np.ones(ROWS) if self.row_weights() is None else self.row_weights()
        share = share / share.sum()
        if self.normalized and reference_normalization.moments(X @ layers[0].W, share)[1].min() < 0.3:
            return False  # the sums' higher derivatives would be too large for a finite difference
        trace = zip(reference.forward(X, layers, self.dropout(layers), share), layers, strict=True)
        kinked = KINKED | (set(self.activation[:1]) if "activation_l1" in REGULARIZERS[self.regularizer] else set())
        return all(np.abs(z).min() > margin for (_, z, _), layer in trace if layer.activation in kinked)

    def corrupted(self, X):
        noise = {"kind": "none", "level": 0.0} | self.noise_settings()
        level = np.array(noise.pop("levels")) if "levels" in noise else noise.pop("level")
        noise = {key: value for key, value in noise.items() if not key.endswith("_weight") and key != "level"}
        return reference_random.corrupt(X, level=level, seed=SEED, rows=np.arange(len(X)), step=STEP, **noise)

    def dropout(self, layers):
        rates = REGULARIZERS[self.regularizer].get("dropout", [])
        scales = [
            reference_random.dropout_scale(SEED, np.arange(ROWS), len(layer.b), STEP, i, rate) if rate else None
            for i, (layer, rate) in enumerate(zip(layers, rates, strict=False))
        ]
        return scales if any(rates) else []

    def row_weights(self):
        return np.array([1.0, 0.5, 0.0, 3.0, 2.0]) if self.weighted else None

    def reference_options(self, layers):
        """The keyword arguments of reference.loss_and_gradients."""
        options = {key: value for key, value in REGULARIZERS[self.regularizer].items() if key != "dropout"}
        noise = self.noise_settings()
        if "corrupted_weight" in noise or "clean_weight" in noise:
            chosen = reference_random.chosen(
                self.inputs, noise["level"], seed=SEED, rows=np.arange(ROWS), step=STEP,
                exact=noise.get("exact", False), groups=noise.get("groups", ()),
            )  # fmt: skip
            weights = noise.get("corrupted_weight", 1.0), noise.get("clean_weight", 1.0)
            options["cell_weights"] = np.where(chosen, *weights)
        options |= {"dropout": self.dropout(layers), "row_weights": self.row_weights(), "missing_targets": self.missing}
        return options

    def recipe_options(self):
        """The keyword arguments of _core.Recipe."""
        options = REGULARIZERS[self.regularizer]
        return {key: value for key, value in options.items() if key not in PENALTIES} | {
            "penalties": _core.Penalties(**{key: options[key] for key in PENALTIES & options.keys()}),
            "noise": self.engine_noise(), "seed": SEED, "missing_targets": self.missing,
        }  # fmt: skip


def make_layer(rng, n_in, n_out, name="identity", parameter=None, learn="fixed", tied_to=-1):
    if learn == "shared":
        parameter = np.array([parameter])
    elif learn == "unit":
        parameter = parameter + rng.uniform(-0.2, 0.2, n_out)
    W = None if tied_to >= 0 else rng.normal(0, 0.7, (n_in, n_out))
    return Layer(W, rng.normal(0, 0.3, n_out), name, parameter, learn, tied_to)


def make_normalization(rng, n_out):
    """Numbers of a normalised layer, with running statistics that are not a batch's."""
    scale, variance = rng.uniform(0.5, 1.5, (2, n_out))
    return Normalization(scale, rng.normal(0, 0.3, n_out), variance, *LAYER_OPTIONS["batch_norm"])


def make_targets(rng, loss, rows, outputs):
    if loss == "squared_error":
        return rng.normal(size=(rows, outputs))
    if loss == "sigmoid_cross_entropy":
        return rng.uniform(size=(rows, outputs))
    if loss == "mixed":
        T = rng.normal(size=(rows, outputs))
        T[:, :3] = rng.uniform(size=(rows, 3))  # the flag, and levels that do not sum to 1
        T[2, 1:3] = 0  # a level that is not known
        return T
    return rng.dirichlet(np.ones(outputs), rows)


def cases_of(activation, loss, tied):
    """Every noise and every regulariser once alone; each regulariser once with some noise; half of these normalised."""
    noises, regularizers = list(NOISES), list(REGULARIZERS)
    found = [Case(activation, loss, tied, noise, NO_REGULARIZER) for noise in noises]
    found += [Case(activation, loss, tied, NO_NOISE, regularizer) for regularizer in regularizers[1:]]
    shift = ACTIVATIONS.index(activation) + 5 * tied + 7 * list(LOSSES).index(loss)
    for i, regularizer in enumerate(regularizers):
        noise = noises[1 + (shift + i) % (len(noises) - 1)]
        weighted, missing = (shift + i) % 3 < 2, (shift + i) % 5 < 2
        found.append(Case(activation, loss, tied, noise, regularizer, weighted, missing))
        found.append(Case(activation, loss, tied, noise, regularizer, weighted, missing, normalized=True))
    found.append(Case(activation, loss, tied, NO_NOISE, NO_REGULARIZER, normalized=True))
    return [case for case in found if case.fits()]


def all_cases():
    return [case for kind in itertools.product(ACTIVATIONS, LOSSES, (False, True)) for case in cases_of(*kind)]
