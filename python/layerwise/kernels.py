"""The engine's kernels as functions of NumPy arrays: products, a dense layer, activations, losses, optimiser steps.

Each function has a twin of the same name and signature in :mod:`layerwise.reference`, written in plain NumPy. Arrays
are float32 or float64, all of one call alike, and so is the result; nothing is converted silently. Each element of a
product is one chain of fused multiply-adds in the order of the depth, so that the number of threads changes no bit.

Errors of all functions: TypeError for an array that is not float32 or float64, or has not the dtype of the others;
ValueError for a wrong shape, an unknown name or a setting outside its range. The message names the argument.

The optimisers' functions make one step in place, as published: w are the parameters, g is the gradient, m and v are the
first and second moment, which start at 0. All are C-contiguous arrays of one shape that do not overlap. learning_rate
and alpha are 0 or more; alpha adds ``alpha * w`` to g, as the penalty ``alpha / 2 * sum(w ** 2)`` does. Epsilon is
positive and stands outside the root, or inside it with epsilon_inside_sqrt.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from layerwise import _core, checks, column_groups
from layerwise.checks import Parameter

__all__ = [
    "activation", "activation_backward", "adagrad_step", "adam_step", "adamw_step", "dense_backward", "dense_forward",
    "loss", "matmul", "momentum_step", "nesterov_step", "rmsprop_step", "sgd_step", "softmax",
]

Array = NDArray[Any]

_DEFAULT_PARAMETER = {"leaky_relu": 0.01, "prelu": 0.25, "elu": 1.0, "swish": 1.0}


def _arrays(owner: str, **arrays: Any) -> list[Array]:
    """Return the arrays C-contiguous, if all are float32 or all are float64."""
    first = wanted = None
    for name, array in arrays.items():
        if type(array) is not np.ndarray or array.dtype not in checks.ENGINE_DTYPES:
            checks.refuse_odd_dtypes(array, name)
        dtype = np.asarray(array).dtype
        if dtype not in checks.ENGINE_DTYPES:
            raise TypeError(f"{owner}: {name} must be a float32 or float64 array. Got dtype {dtype}.")
        if wanted is None:
            first, wanted = name, dtype
        if dtype != wanted:
            raise TypeError(f"{owner}: {name} must have the dtype of {first}, {wanted}. Got {dtype}.")
    return [np.ascontiguousarray(array) for array in arrays.values()]


def _rows(owner: str, name: str, array: Array) -> Array:
    """Return a vector as one row, a matrix as it is."""
    if array.ndim not in (1, 2) or array.shape[-1] == 0:
        raise ValueError(f"{owner}: {name} must have shape (rows, columns) or (columns,). Got {array.shape}.")
    return array.reshape(-1, array.shape[-1])


def _parameter(owner: str, name: str, parameter: Any, columns: int, dtype: np.dtype[Any]) -> Array:
    """Return alpha or beta of each column."""
    values = np.asarray(_DEFAULT_PARAMETER.get(name, 0.0) if parameter is None else parameter)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{owner}: parameter must be a number or an array of them. Got dtype {values.dtype}.")
    if values.shape not in ((), (1,), (columns,)):
        raise ValueError(f"{owner}: parameter must be one number or have shape ({columns},). Got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{owner}: parameter must be finite. Got {parameter!r}.")
    if (name == "leaky_relu" and (values < 0).any()) or (name == "elu" and (values <= 0).any()):
        sign = "positive" if name == "elu" else "0 or more (prelu's may be less)"
        raise ValueError(f"{owner}: parameter of {name} must be {sign}. Got {parameter!r}.")
    return np.ascontiguousarray(np.broadcast_to(values, (columns,)), dtype=dtype)


def matmul(
    a: ArrayLike, b: ArrayLike, *, transpose_a: bool = False, transpose_b: bool = False, n_jobs: int | None = None
) -> Array:
    """Return the product of two matrices, ``op(a) @ op(b)``.

    Parameters
    ----------
    a : ndarray of shape (m, k), or (k, m) with ``transpose_a``
    b : ndarray of shape (k, n), or (n, k) with ``transpose_b``
    transpose_a, transpose_b : bool, default=False
        Use the transpose of that matrix.
    n_jobs : int or None, default=None
        Threads; None lets a cost model choose, -1 takes all cores.

    Returns
    -------
    ndarray of shape (m, n)
        Element (i, j) is ``fma(a[i, k-1], b[k-1, j], ... fma(a[i, 0], b[0, j], 0))``.
    """
    left, right = _arrays("matmul", a=a, b=b)
    checks.shape("matmul", "a", left, "m", "k")
    checks.shape("matmul", "b", right, "k", "n")
    ta = checks.boolean(Parameter("matmul", "transpose_a"), transpose_a)
    tb = checks.boolean(Parameter("matmul", "transpose_b"), transpose_b)
    depth_a, depth_b = left.shape[0 if ta else 1], right.shape[1 if tb else 0]
    if depth_a != depth_b:
        raise ValueError(f"matmul: the inner sizes of a and b must be equal. Got {depth_a} and {depth_b}.")
    return _core.matmul(left, right, ta, tb, checks.threads(Parameter("matmul", "n_jobs"), n_jobs))


def dense_forward(
    X: ArrayLike, W: ArrayLike, b: ArrayLike, activation: str = "identity", *, parameter: Any = None,
    n_jobs: int | None = None,
) -> tuple[Array, Array]:
    """Return the sums and outputs of a dense layer: ``z = X @ W + b``, ``a = f(z)``.

    Parameters
    ----------
    X : ndarray of shape (rows, n_in)
    W : ndarray of shape (n_in, n_out)
    b : ndarray of shape (n_out,)
    activation : str, default="identity"
        One of ``_core.ACTIVATIONS``; `activation` has the formulas.
    parameter : float, ndarray of shape (n_out,) or None, default=None
        Alpha or beta of the activation; None takes its default (see `activation`).
    n_jobs : int or None, default=None
        Threads; None lets a cost model choose, -1 takes all cores.

    Returns
    -------
    z, a : ndarray of shape (rows, n_out)
    """
    owner = "dense_forward"
    x, w, bias = _arrays(owner, X=X, W=W, b=b)
    checks.shape(owner, "X", x, "rows", "n_in")
    checks.shape(owner, "W", w, x.shape[1], "n_out")
    checks.shape(owner, "b", bias, w.shape[1])
    name = checks.choice(Parameter(owner, "activation"), activation, _core.ACTIVATIONS)
    p = _parameter(owner, name, parameter, w.shape[1], x.dtype)
    return _core.dense_forward(x, w, bias, name, p, checks.threads(Parameter(owner, "n_jobs"), n_jobs))


def dense_backward(
    X: ArrayLike, W: ArrayLike, z: ArrayLike, G: ArrayLike, activation: str = "identity", *, parameter: Any = None,
    n_jobs: int | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of a dense layer by backpropagation (Rumelhart, Hinton and Williams 1986).

    With ``D = G * f'(z)`` (for softmax the product with its Jacobian): ``dX = D @ W.T``, ``dW = X.T @ D``,
    ``db = D.sum(axis=0)``, ``dparameter = (G * df/dparameter).sum(axis=0)``.

    Parameters
    ----------
    X : ndarray of shape (rows, n_in)
    W : ndarray of shape (n_in, n_out)
    z : ndarray of shape (rows, n_out)
        The sums that `dense_forward` returned.
    G : ndarray of shape (rows, n_out)
        Derivative of the loss by the outputs ``a = f(z)``.
    activation : str, default="identity"
    parameter : float, ndarray of shape (n_out,) or None, default=None
    n_jobs : int or None, default=None
        As of `dense_forward`.

    Returns
    -------
    dX : ndarray of shape (rows, n_in)
    dW : ndarray of shape (n_in, n_out)
    db : ndarray of shape (n_out,)
    dparameter : ndarray of shape (n_out,)
        0 for activations whose parameter cannot be learned (all but prelu and swish).
    """
    owner = "dense_backward"
    x, w, sums, g = _arrays(owner, X=X, W=W, z=z, G=G)
    checks.shape(owner, "X", x, "rows", "n_in")
    checks.shape(owner, "W", w, x.shape[1], "n_out")
    checks.shape(owner, "z", sums, x.shape[0], w.shape[1])
    checks.shape(owner, "G", g, x.shape[0], w.shape[1])
    name = checks.choice(Parameter(owner, "activation"), activation, _core.ACTIVATIONS)
    p = _parameter(owner, name, parameter, w.shape[1], x.dtype)
    return _core.dense_backward(x, w, sums, g, name, p, checks.threads(Parameter(owner, "n_jobs"), n_jobs))


def activation(z: ArrayLike, name: str, *, parameter: Any = None) -> Array:
    """Return ``f(z)``.

    =========== ===================================== ==================================================
    name        f(z)                                  source
    =========== ===================================== ==================================================
    identity    z
    sigmoid     1 / (1 + exp(-z))
    tanh        tanh(z)
    relu        max(z, 0); slope 0 at 0               Nair and Hinton 2010
    leaky_relu  z if z > 0 else alpha z, alpha = 0.01 Maas, Hannun and Ng 2013
    prelu       the same, alpha = 0.25, learnable     He, Zhang, Ren and Sun 2015
    elu         z if z > 0 else alpha (exp(z) - 1)    Clevert, Unterthiner and Hochreiter 2016; alpha = 1
    softplus    log(1 + exp(z))                       Dugas et al. 2001
    gelu        z Phi(z), exact                       Hendrycks and Gimpel 2016
    gelu_tanh   z sigmoid(2 u), the tanh form         the same; u = sqrt(2 / pi) (z + 0.044715 z^3)
    silu        z sigmoid(z)                          Elfwing, Uchibe and Doya 2017
    swish       z sigmoid(beta z), beta = 1           Ramachandran, Zoph and Le 2017; beta learnable
    softmax     exp(z_j) / sum_k exp(z_k), by row     Bridle 1990
    =========== ===================================== ==================================================

    Parameters
    ----------
    z : ndarray of shape (rows, columns) or (columns,)
    name : str
    parameter : float, ndarray of shape (columns,) or None, default=None
        Alpha (of elu above 0, of leaky_relu at least 0) or beta; None takes the value in the table.

    Returns
    -------
    ndarray of the shape of `z`
    """
    (array,) = _arrays("activation", z=z)
    rows = _rows("activation", "z", array)
    checks.choice(Parameter("activation", "name"), name, _core.ACTIVATIONS)
    p = _parameter("activation", name, parameter, rows.shape[1], rows.dtype)
    return _core.activation(rows, name, p).reshape(array.shape)


def activation_backward(z: ArrayLike, g: ArrayLike, name: str, *, parameter: Any = None) -> tuple[Array, Array]:
    """Return the derivatives by ``z`` and by the activation's parameter, from ``g``, that by ``a = f(z)``.

    ``gz = g * f'(z)``, for softmax ``a * (g - sum_j g_j a_j)``, and ``gparameter = g * df/dparameter``, where
    df/dparameter is min(z, 0) for prelu, z^2 s (1 - s) with s = sigmoid(beta z) for swish, and 0 for all others.

    Parameters
    ----------
    z, g : ndarray of shape (rows, columns) or (columns,)
    name : str
    parameter : float, ndarray of shape (columns,) or None, default=None
        As of `activation`.

    Returns
    -------
    gz, gparameter : ndarray of the shape of `z`
    """
    owner = "activation_backward"
    array, gradient = _arrays(owner, z=z, g=g)
    rows = _rows(owner, "z", array)
    checks.shape(owner, "g", gradient, *array.shape)
    checks.choice(Parameter(owner, "name"), name, _core.ACTIVATIONS)
    p = _parameter(owner, name, parameter, rows.shape[1], rows.dtype)
    gz, gparameter = _core.activation_backward(rows, gradient.reshape(rows.shape), name, p)
    return gz.reshape(array.shape), gparameter.reshape(array.shape)


def softmax(z: ArrayLike) -> Array:
    """Return the softmax of each row: ``activation(z, "softmax")``, whose arguments and errors it shares."""
    return activation(z, "softmax")


def loss(p: ArrayLike, t: ArrayLike, name: str, *, groups: Any = ()) -> tuple[NDArray[np.float64], Array]:
    """Return the loss of each row (the sum over its outputs) and its derivative by ``p``.

    ===================== ================================================== ====================
    name                  loss of a row                                      derivative
    ===================== ================================================== ====================
    squared_error         sum_j (p_j - t_j)^2, p being outputs               2 (p - t)
    sigmoid_cross_entropy sum_j max(p_j, 0) - p_j t_j + log(1 + exp(-|p_j|)) sigmoid(p) - t
    softmax_cross_entropy sum_j t_j (log sum_k exp(p_k) - p_j)               softmax(p) sum(t) - t
    mixed                 the sum of these for numbers, flags and categories each by its group
    ===================== ================================================== ====================

    The cross-entropies and mixed take logits (z before the sigmoid or softmax) in forms that do not overflow.

    Parameters
    ----------
    p, t : ndarray of shape (rows, columns)
        Predictions and targets.
    name : str
    groups : sequence of (kind, count) pairs, default=()
        For "mixed": what the columns are, as in `layerwise.ColumnGroups`.

    Returns
    -------
    losses : float64 ndarray of shape (rows,)
    delta : ndarray of shape (rows, columns)
        Not divided by the number of rows.
    """
    predictions, targets = _arrays("loss", p=p, t=t)
    checks.shape("loss", "p", predictions, "rows", "columns")
    checks.shape("loss", "t", targets, *predictions.shape)
    checks.choice(Parameter("loss", "name"), name, _core.LOSSES)
    found = column_groups.covering(Parameter("loss", "groups"), groups, predictions.shape[1] if name == "mixed" else 0)
    return _core.loss(predictions, targets, name, found)


# The engine's name of an optimiser's setting, and the upper end of its range (0 <= value < end).
_SETTINGS = {
    "momentum": ("momentum", 1.0), "beta_1": ("momentum", 1.0), "decay": ("decay", 1.0), "beta_2": ("decay", 1.0),
    "epsilon": ("epsilon", np.inf), "weight_decay": ("weight_decay", np.inf),
}


def _step(
    kind: str, arrays: dict[str, Array], learning_rate: float, alpha: float, step: int = 1, **settings: float | bool
) -> None:
    owner, w = f"{kind}_step", arrays["w"]
    _arrays(owner, **arrays)
    for name, array in arrays.items():
        if not (isinstance(array, np.ndarray) and array.flags.c_contiguous and (array.flags.writeable or name == "g")):
            raise ValueError(f"{owner}: {name} must be a C-contiguous{'' if name == 'g' else ', writeable'} array.")
        checks.shape(owner, name, array, *w.shape)
        if any(key != name and np.may_share_memory(other, array) for key, other in arrays.items()):
            raise ValueError(f"{owner}: {name} must not overlap with another argument.")

    chosen: dict[str, Any] = {}
    for name, value in settings.items():
        where = Parameter(owner, name)
        if name in _SETTINGS:
            key, high = _SETTINGS[name]
            chosen[key] = checks.real(where, value, 0, high, open_low=name == "epsilon", open_high=True)
        else:
            chosen[name] = checks.boolean(where, value)
    rate = checks.real(Parameter(owner, "learning_rate"), learning_rate, 0)
    l2 = checks.real(Parameter(owner, "alpha"), alpha, 0)
    t = checks.integer(Parameter(owner, "step"), step, 1)
    # A moment that the optimiser does not have is neither read nor written; w stands in its place.
    flat_w, m, v, g = (arrays.get(name, w).reshape(-1) for name in ("w", "m", "v", "g"))
    _core.optimizer_step(_core.Optimizer(kind, **chosen), flat_w, m, v, g, rate, t, l2)


def sgd_step(w: Array, g: Array, *, learning_rate: float, alpha: float = 0.0) -> None:
    """Gradient descent: ``w -= learning_rate * g``."""
    _step("sgd", {"w": w, "g": g}, learning_rate, alpha)


def momentum_step(
    w: Array, m: Array, g: Array, *, learning_rate: float, momentum: float = 0.9, alpha: float = 0.0
) -> None:
    """Classical momentum: ``m = momentum * m + learning_rate * g``, ``w -= m``.

    Polyak 1964, with the rate inside the velocity as in Hinton and Salakhutdinov 2006; PyTorch keeps it outside, which
    differs while the rate changes. ``momentum`` is in [0, 1).
    """
    _step("momentum", {"w": w, "m": m, "g": g}, learning_rate, alpha, momentum=momentum)


def nesterov_step(
    w: Array, m: Array, g: Array, *, learning_rate: float, momentum: float = 0.9, alpha: float = 0.0
) -> None:
    """Nesterov's momentum: ``m = momentum * m + learning_rate * g``, ``w -= momentum * m + learning_rate * g``.

    Nesterov 1983 in the variables of Bengio, Boulanger-Lewandowski and Pascanu 2013: w is the point that Sutskever et
    al. 2013 look ahead to. ``momentum`` is in [0, 1).
    """
    _step("nesterov", {"w": w, "m": m, "g": g}, learning_rate, alpha, momentum=momentum)


def adagrad_step(
    w: Array, v: Array, g: Array, *, learning_rate: float, epsilon: float = 1e-8, alpha: float = 0.0,
    epsilon_inside_sqrt: bool = False,
) -> None:
    """Adagrad: ``v += g ** 2``, ``w -= learning_rate * g / (sqrt(v) + epsilon)``.

    Duchi, Hazan and Singer 2011. ``epsilon`` is positive.
    """
    _step("adagrad", {"w": w, "v": v, "g": g}, learning_rate, alpha, epsilon=epsilon,
          epsilon_inside_sqrt=epsilon_inside_sqrt)


def rmsprop_step(
    w: Array, v: Array, g: Array, *, learning_rate: float, decay: float = 0.9, epsilon: float = 1e-8,
    alpha: float = 0.0, epsilon_inside_sqrt: bool = False,
) -> None:
    """RMSProp: ``v = decay * v + (1 - decay) * g ** 2``, ``w -= learning_rate * g / (sqrt(v) + epsilon)``.

    Tieleman and Hinton 2012 (lecture 6.5). ``decay`` is in [0, 1), ``epsilon`` positive.
    """
    _step("rmsprop", {"w": w, "v": v, "g": g}, learning_rate, alpha, decay=decay, epsilon=epsilon,
          epsilon_inside_sqrt=epsilon_inside_sqrt)


def adam_step(
    w: Array, m: Array, v: Array, g: Array, *, learning_rate: float, step: int, beta_1: float = 0.9,
    beta_2: float = 0.999, epsilon: float = 1e-8, alpha: float = 0.0, bias_correction: bool = True,
    epsilon_inside_sqrt: bool = False,
) -> None:
    """Adam: ``w -= learning_rate * m_hat / (sqrt(v_hat) + epsilon)``.

    ``m = beta_1 * m + (1 - beta_1) * g``, ``v = beta_2 * v + (1 - beta_2) * g ** 2``, and with ``bias_correction``
    ``m_hat = m / (1 - beta_1 ** step)``, ``v_hat = v / (1 - beta_2 ** step)``, else m and v themselves. Kingma and Ba
    2015. ``step`` counts from 1; ``beta_1`` and ``beta_2`` are in [0, 1), ``epsilon`` is positive.
    """
    _step("adam", {"w": w, "m": m, "v": v, "g": g}, learning_rate, alpha, step, beta_1=beta_1, beta_2=beta_2,
          epsilon=epsilon, bias_correction=bias_correction, epsilon_inside_sqrt=epsilon_inside_sqrt)


def adamw_step(
    w: Array, m: Array, v: Array, g: Array, *, learning_rate: float, step: int, weight_decay: float = 0.01,
    beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, alpha: float = 0.0, bias_correction: bool = True,
    epsilon_inside_sqrt: bool = False,
) -> None:
    """Adam with decoupled decay: first ``w -= learning_rate * weight_decay * w``, then the step of `adam_step`.

    Loshchilov and Hutter 2019; the rate multiplies the decay, as in PyTorch. ``weight_decay`` is 0 or more, the other
    settings are Adam's.
    """
    _step("adamw", {"w": w, "m": m, "v": v, "g": g}, learning_rate, alpha, step, weight_decay=weight_decay,
          beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, bias_correction=bias_correction,
          epsilon_inside_sqrt=epsilon_inside_sqrt)
