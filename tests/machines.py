"""The engine's Boltzmann machines and their twins in layerwise.reference_rbm."""

from dataclasses import replace

import numpy as np
from networks import NETS

from layerwise import _core
from layerwise.reference_rbm import Machine

PLANS = {np.float32: _core.RbmPlan_float32, np.float64: _core.RbmPlan_float64}
KINDS = [("binary", "binary"), ("gaussian", "binary"), ("binary", "gaussian")]
ACTIVATION = {"binary": "sigmoid", "gaussian": "identity"}


def make_machine(n_visible, n_hidden, kind=("binary", "binary"), scale=0.5, seed=0):
    rng = np.random.default_rng(seed)
    W = rng.normal(0, scale, (n_visible, n_hidden))
    return Machine(W, rng.normal(0, 0.5, n_visible), rng.normal(0, 0.5, n_hidden), *kind)


def make_data(rows, m, seed=1):
    rng = np.random.default_rng(seed)
    shape = (rows, len(m.b))
    return rng.integers(0, 2, shape).astype(float) if m.visible == "binary" else rng.normal(0.5, 1, shape)


def engine_of(m, dtype=np.float64):
    n_visible, n_hidden = m.W.shape
    up = _core.Layer(n_visible, n_hidden, ACTIVATION[m.hidden])
    network = NETS[dtype]([up, _core.Layer(n_hidden, n_visible, ACTIVATION[m.visible], tied_to=0)])
    network.set_weights(0, m.W.astype(dtype))
    network.set_bias(0, m.c.astype(dtype))
    network.set_bias(1, m.b.astype(dtype))
    return network


def machine_of(network, like):
    W, c, b = (a.astype(np.float64) for a in (network.weights(0), network.bias(0), network.bias(1)))
    return replace(like, W=W, b=b, c=c)


def make_plan(
    network, m, batch_size, optimizer="sgd", momentum=0.9, threads=0, seed=3, alpha=0.0, shuffle=True, **gibbs
):
    loss = "sigmoid_cross_entropy" if m.visible == "binary" else "squared_error"
    recipe = _core.Recipe(
        loss, _core.Optimizer(optimizer, momentum), batch_size, seed=seed, alpha=alpha, threads=threads, shuffle=shuffle
    )
    return PLANS[network.bias(0).dtype.type](network, recipe, **gibbs)


def difference(a, b):
    """The largest relative distance of the two machines' arrays."""
    pairs = ((a.W, b.W), (a.b, b.b), (a.c, b.c))
    return max(np.linalg.norm(x - y) / max(np.linalg.norm(y), 1e-3) for x, y in pairs)
