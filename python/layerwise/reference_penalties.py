"""Penalties and bounds in plain NumPy: a page of `reference.py`, which says what its conventions are.

``share`` is each row's weight divided by the sum of weights (1 / rows without weights), so that a sum over rows of
``share * x`` is a mean.
"""

# ruff: noqa: ARG005  (one signature for all)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.reference_activations import (
    _gated,
    _gelu_gate,
    _normal_density,
    _parameter,
    _sigmoid,
    activation_backward,
)

Array = NDArray[Any]

# ---------------------------------------------------------------------------------------- sparsity of a layer's outputs


def kl_sparsity(a: Array, share: Array, target: float, name: str = "sigmoid") -> tuple[float, Array]:
    """``sum_j KL(target || mean_j)`` over a layer's units, and its derivative by ``a``, shape (rows, units).

    ``mean_j`` is the batch's mean output of unit j, for tanh units, which are inactive at -1, of ``(1 + a) / 2``; KL is
    that of two coins (Ng 2011, after Lee, Ekanadham and Ng 2008). A mean counts as at least 1e-12 from 0 and 1.
    """
    slope = 0.5 if name == "tanh" else 1.0
    mean = np.clip(share @ a if name != "tanh" else 0.5 * (1 + share @ a), 1e-12, 1 - 1e-12)
    value = target * np.log(target / mean) + (1 - target) * np.log((1 - target) / (1 - mean))
    return float(value.sum()), share[:, None] * slope * ((1 - target) / (1 - mean) - target / mean)


def activation_l1(a: Array, share: Array) -> tuple[float, Array]:
    """The mean over rows of ``sum_j |a_j|``, and its derivative by ``a`` (0 where a = 0)."""
    return float(share @ np.abs(a).sum(axis=1)), share[:, None] * np.sign(a)


# ---------------------------------------------------------------------------------------------------------- contraction


def _gelu_tanh_curvature(z: Array) -> Array:
    first = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)  # of v = 2 u, the sigmoid's argument
    second = 2 * math.sqrt(2 / math.pi) * 6 * 0.044715 * z
    gate = _gelu_gate(z)
    slope: Array = gate * _gelu_gate(-z)
    return np.asarray(slope * (2 * first + z * second + z * first**2 * (1 - 2 * gate)))


def _swish_bend(u: Array) -> Array:
    return _gated(2 + u * (1 - 2 * _sigmoid(u)), _sigmoid(u) * _sigmoid(-u))


def _flat(z: Array) -> Array:
    return np.zeros_like(z)


# d2f/dz2, and of those that can be learned the derivative of df/dz by the parameter
_CURVATURE: dict[str, Callable[[Array, Array], Array]] = {
    "identity": lambda z, p: _flat(z),
    "sigmoid": lambda z, p: _sigmoid(z) * _sigmoid(-z) * (1 - 2 * _sigmoid(z)),
    "tanh": lambda z, p: -2 * np.tanh(z) * (1 - np.tanh(z) ** 2),
    "relu": lambda z, p: _flat(z),
    "leaky_relu": lambda z, p: _flat(z),
    "prelu": lambda z, p: _flat(z),
    "elu": lambda z, p: np.where(z > 0, 0, p * np.exp(np.minimum(z, 0))),
    "softplus": lambda z, p: _sigmoid(z) * _sigmoid(-z),
    "gelu": lambda z, p: _normal_density(z) * (2 - z**2),
    "gelu_tanh": lambda z, p: _gelu_tanh_curvature(z),
    "silu": lambda z, p: _swish_bend(z),
    "swish": lambda z, p: p * _swish_bend(p * z),
}
_SLOPE_BY_PARAMETER_OF_SLOPE: dict[str, Callable[[Array, Array], Array]] = {
    "prelu": lambda z, p: np.where(z > 0, 0.0, 1.0),
    "swish": lambda z, p: z * _swish_bend(p * z),
}


def contraction(
    W: Array, z: Array, share: Array, name: str, parameter: Any = None
) -> tuple[float, Array, Array, Array]:
    """The mean over rows of ``||J||^2``, J the Jacobian of a layer's outputs by its inputs (Rifai et al. 2011).

    An activation that works on each unit alone has ``J_ji = f'(z_j) W_ij``, so that
    ``||J||^2 = sum_j f'(z_j)^2 sum_i W_ij^2``; for a sigmoid ``f' = a (1 - a)``, the paper's own case.

    Returns the value and its derivatives by ``z`` (with W held), by ``W`` (with z held) and by the activation's
    parameter in each row and unit (0 where it cannot be learned).
    """
    p = _parameter(parameter, name, z)
    slope = activation_backward(z, np.ones_like(z), name, parameter=parameter)[0]
    incoming = (W**2).sum(axis=0)
    by_parameter = _SLOPE_BY_PARAMETER_OF_SLOPE[name](z, p) if name in _SLOPE_BY_PARAMETER_OF_SLOPE else _flat(z)
    weight = 2 * share[:, None] * slope * incoming
    value = float(share @ (slope**2 * incoming).sum(axis=1))
    return value, weight * _CURVATURE[name](z, p), 2 * W * (share @ slope**2), weight * by_parameter


# ----------------------------------------------------------------------------------------------- bounds, one step after


def clip_by_value(gradient: Sequence[Array], limit: float) -> None:
    """Each number of the gradient to the nearest one in [-limit, limit], in place."""
    for g in gradient:
        np.clip(g, -limit, limit, out=g)


def clip_by_norm(gradient: Sequence[Array], limit: float) -> None:
    """The gradient of all that is learned to a norm of at most ``limit``, in place (Pascanu et al. 2013)."""
    norm = math.sqrt(sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradient))
    for g in gradient if norm > limit else ():
        g *= limit / norm


def bound_norms(W: Array, limit: float) -> None:
    """Each unit's incoming weights (a column of ``W``) to a norm of at most ``limit``, in place (Srivastava 2014)."""
    norm = np.sqrt((W**2).sum(axis=0))
    W *= np.where(norm > limit, limit / np.maximum(norm, 1e-300), 1)
