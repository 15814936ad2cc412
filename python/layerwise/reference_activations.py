"""The activations in plain NumPy: a page of `reference.py`, which says what its conventions are."""

# ruff: noqa: ARG005  (one signature for all)

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(z: Array) -> Array:
    small = np.exp(-np.abs(z))  # never overflows
    value: Array = np.where(z >= 0, 1, small) / (1 + small)
    return value


def _gated(z: Array, gate: Array) -> Array:
    """``z * gate``; a gate of 0 closes for an infinite ``z`` too, which is the limit of those used here."""
    return np.asarray(np.where(gate == 0, np.copysign(0, z), z) * gate, z.dtype)


def _silu_slope(z: Array) -> Array:
    return _sigmoid(z) + _gated(z, _sigmoid(z) * _sigmoid(-z))


def _normal_cdf(z: Array) -> Array:
    return np.asarray(0.5 * _erfc(-z / math.sqrt(2)), z.dtype)


def _normal_density(z: Array) -> Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _gelu_gate(z: Array) -> Array:
    # (1 + tanh u) / 2 = sigmoid(2 u), which keeps its digits in the lower tail
    return _sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))


def _gelu_gate_slope(z: Array) -> Array:
    return _gated(2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2), _gelu_gate(z) * _gelu_gate(-z))


def _above_zero(z: Array, above: Array | float, otherwise: Array | float) -> Array:
    """Choose by ``z > 0``; NaN stays NaN."""
    return np.where(z > 0, above, np.where(np.isnan(z), z, otherwise)).astype(z.dtype)


# f(z, p) and df/dz, where p is alpha of leaky_relu, prelu and elu and beta of swish. At 0 the slope of relu is 0, of
# leaky_relu and prelu alpha. Softmax mixes the columns of a row and has its own function below.
_VALUE: dict[str, Callable[[Array, Array], Array]] = {
    "identity": lambda z, p: z.copy(),
    "sigmoid": lambda z, p: _sigmoid(z),
    "tanh": lambda z, p: np.tanh(z),
    "relu": lambda z, p: np.maximum(z, 0),
    "leaky_relu": lambda z, p: _above_zero(z, z, p * z),
    "prelu": lambda z, p: _above_zero(z, z, p * z),  # not max(p z, z), which is wrong for p > 1
    "elu": lambda z, p: _above_zero(z, z, p * np.expm1(np.minimum(z, 0))),
    "softplus": lambda z, p: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "gelu": lambda z, p: _gated(z, _normal_cdf(z)),
    "gelu_tanh": lambda z, p: _gated(z, _gelu_gate(z)),
    "silu": lambda z, p: _gated(z, _sigmoid(z)),
    "swish": lambda z, p: _gated(z, _sigmoid(_gated(z, p))),
    "softmax": lambda z, p: softmax(z),
}
_SLOPE: dict[str, Callable[[Array, Array], Array]] = {
    "identity": lambda z, p: np.ones_like(z),
    "sigmoid": lambda z, p: _sigmoid(z) * _sigmoid(-z),
    "tanh": lambda z, p: 1 - np.tanh(z) ** 2,
    "relu": lambda z, p: _above_zero(z, 1, 0),
    "leaky_relu": lambda z, p: _above_zero(z, 1, p),
    "prelu": lambda z, p: _above_zero(z, 1, p),
    "elu": lambda z, p: _above_zero(z, 1, p * np.exp(np.minimum(z, 0))),
    "softplus": lambda z, p: _sigmoid(z),
    "gelu": lambda z, p: _normal_cdf(z) + _gated(z, _normal_density(z)),
    "gelu_tanh": lambda z, p: _gelu_gate(z) + _gated(z, _gelu_gate_slope(z)),
    "silu": lambda z, p: _silu_slope(z),
    "swish": lambda z, p: _silu_slope(_gated(z, p)),
}
_SLOPE_BY_PARAMETER: dict[str, Callable[[Array, Array], Array]] = {  # of those whose parameter can be learned
    "prelu": lambda z, p: _above_zero(z, 0, z),
    "swish": lambda z, p: _gated(z, _gated(z, _sigmoid(_gated(z, p)) * _sigmoid(-_gated(z, p)))),
}
_DEFAULT_PARAMETER = {"leaky_relu": 0.01, "prelu": 0.25, "elu": 1.0, "swish": 1.0}


def _parameter(parameter: Any, name: str, z: Array) -> Array:
    return np.asarray(_DEFAULT_PARAMETER.get(name, 0.0) if parameter is None else parameter, z.dtype)


def activation(z: Array, name: str, *, parameter: Any = None) -> Array:
    """``f(z)``."""
    return _VALUE[name](z, _parameter(parameter, name, z))


def activation_backward(z: Array, g: Array, name: str, *, parameter: Any = None) -> tuple[Array, Array]:
    """``g`` times the Jacobian of f, and ``g * df/dparameter`` of each element (0 where it cannot be learned)."""
    if name == "softmax":  # J = diag(a) - a a^T, row by row
        a = softmax(z)
        return a * (g - np.sum(g * a, axis=-1, keepdims=True)), np.zeros_like(z)
    p = _parameter(parameter, name, z)
    by_parameter = _SLOPE_BY_PARAMETER.get(name)
    return g * _SLOPE[name](z, p), np.zeros_like(z) if by_parameter is None else g * by_parameter(z, p)


def softmax(z: Array) -> Array:
    """``exp(z_j) / sum_k exp(z_k)`` of each row, shifted by the row's maximum so that nothing overflows."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    share: Array = e / e.sum(axis=-1, keepdims=True)
    return share
