"""The mathematics of Layerwise in plain NumPy: documentation, oracle and baseline.

Read this file first. What the compiled engine does stands here once more as formulas; the tests hold this file to
finite differences and the engine to this file. Nothing else in the package imports it. Its other pages are
`reference_activations.py`, `reference_groups.py` (columns of several kinds), `reference_normalization.py` (batch
normalisation), `reference_penalties.py` (all but ``alpha``) and `reference_random.py`: the random numbers behind noise,
dropout and shuffling.

Conventions. Rows are examples. A layer computes ``z = x @ W + b`` with ``W`` of shape (n_in, n_out), then ``a = f(z)``.
A loss is the mean over rows of the *sum* over outputs, the squared error without the factor 1/2; ``alpha`` adds
``alpha / 2 * sum(W ** 2)`` over the weights, not over biases or activation parameters. The dtype follows the input.

The kernels (`matmul` to `adamw_step`) have the names and signatures of :mod:`layerwise.kernels`, which documents their
arguments. They check nothing, and accept ``n_jobs`` without using it.
"""

# ruff: noqa: ARG001  (the signatures of layerwise.kernels)

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.reference_activations import _VALUE as _VALUE
from layerwise.reference_activations import _parameter, _sigmoid
from layerwise.reference_activations import activation as activation
from layerwise.reference_activations import activation_backward as activation_backward
from layerwise.reference_activations import softmax as softmax
from layerwise.reference_groups import Groups, known_cells, mixed, mixed_cells
from layerwise.reference_normalization import Normalization as Normalization
from layerwise.reference_normalization import have_variance, move_statistics, normalize, normalize_backward
from layerwise.reference_penalties import activation_l1 as _activation_l1
from layerwise.reference_penalties import bound_norms, clip_by_norm, clip_by_value, kl_sparsity
from layerwise.reference_penalties import contraction as _contraction

Array = NDArray[Any]

# ------------------------------------------------------------------------------------------------ products, dense layer


def matmul(
    a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False, n_jobs: int | None = None
) -> Array:
    """``op(a) @ op(b)``."""
    product: Array = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    return product


def dense_forward(
    X: Array, W: Array, b: Array, activation: str = "identity", *, parameter: Any = None, n_jobs: int | None = None
) -> tuple[Array, Array]:
    """``z = X @ W + b`` and ``a = f(z)``."""
    z = X @ W + b
    return z, _VALUE[activation](z, _parameter(parameter, activation, z))


def dense_backward(
    X: Array, W: Array, z: Array, G: Array, activation: str = "identity", *, parameter: Any = None,
    n_jobs: int | None = None,
) -> tuple[Array, Array, Array, Array]:
    """From ``G = dL/da`` the gradients by ``X``, ``W``, ``b`` and the activation parameter of each unit."""
    delta, by_parameter = activation_backward(z, G, activation, parameter=parameter)
    return delta @ W.T, X.T @ delta, delta.sum(axis=0), by_parameter.sum(axis=0)


# --------------------------------------------------------------------------------------------------------------- losses


def _loss_cells(p: Array, t: Array, name: str) -> tuple[Array, Array]:
    """The loss of each output of each row, whose sum over outputs is the row's loss, and the derivative by ``p``."""
    if name == "squared_error":
        return (p - t) ** 2, 2 * (p - t)
    if name == "sigmoid_cross_entropy":  # -t log s - (1 - t) log(1 - s) with s = sigmoid(p)
        return np.maximum(p, 0) - p * t + np.log1p(np.exp(-np.abs(p))), _sigmoid(p) - t
    if name == "softmax_cross_entropy":  # -t log s with s = softmax(p)
        shifted = p - p.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return t * (log_sum - shifted), softmax(p) * t.sum(axis=-1, keepdims=True) - t
    raise ValueError(f"unknown loss {name!r}")


def loss(p: Array, t: Array, name: str, *, groups: Groups = ()) -> tuple[NDArray[np.float64], Array]:
    """The loss of each row, and its derivative by ``p`` (the output, or the logits of a cross-entropy or of mixed)."""
    cells, delta = mixed_cells(p, t, groups) if name == "mixed" else _loss_cells(p, t, name)
    return cells.sum(axis=-1, dtype=np.float64), delta


# ----------------------------------------------------------------------------------------------------------- optimisers
# One step in place: w the parameters, g the gradient, m and v the first and second moment. As published, with epsilon
# outside the root.


def sgd_step(w: Array, g: Array, *, learning_rate: float, alpha: float = 0.0) -> None:
    """Gradient descent: ``w -= rate * g``."""
    w -= learning_rate * (g + alpha * w)


def momentum_step(
    w: Array, m: Array, g: Array, *, learning_rate: float, momentum: float = 0.9, alpha: float = 0.0
) -> None:
    """Classical momentum (Polyak 1964), the rate inside the velocity: ``m = momentum * m + rate * g``, ``w -= m``."""
    m[...] = momentum * m + learning_rate * (g + alpha * w)
    w -= m


def nesterov_step(
    w: Array, m: Array, g: Array, *, learning_rate: float, momentum: float = 0.9, alpha: float = 0.0
) -> None:
    """Nesterov's momentum in Bengio's form: ``w`` is the point looked ahead to, where the gradient is taken."""
    step = learning_rate * (g + alpha * w)
    m[...] = momentum * m + step
    w -= momentum * m + step


def _root(v: Array, epsilon: float, inside: bool) -> Array:
    return np.sqrt(v + epsilon) if inside else np.sqrt(v) + epsilon


def adagrad_step(
    w: Array, v: Array, g: Array, *, learning_rate: float, epsilon: float = 1e-8, alpha: float = 0.0,
    epsilon_inside_sqrt: bool = False,
) -> None:
    """Adagrad (Duchi 2011): ``v += g ** 2``, ``w -= rate * g / (sqrt(v) + epsilon)``."""
    g = g + alpha * w
    v += g * g
    w -= learning_rate * g / _root(v, epsilon, epsilon_inside_sqrt)


def rmsprop_step(
    w: Array, v: Array, g: Array, *, learning_rate: float, decay: float = 0.9, epsilon: float = 1e-8,
    alpha: float = 0.0, epsilon_inside_sqrt: bool = False,
) -> None:
    """RMSProp (Hinton 2012): as Adagrad, with ``v = decay * v + (1 - decay) * g ** 2``."""
    g = g + alpha * w
    v[...] = decay * v + (1 - decay) * (g * g)
    w -= learning_rate * g / _root(v, epsilon, epsilon_inside_sqrt)


def adam_step(
    w: Array, m: Array, v: Array, g: Array, *, learning_rate: float, step: int, beta_1: float = 0.9,
    beta_2: float = 0.999, epsilon: float = 1e-8, alpha: float = 0.0, bias_correction: bool = True,
    epsilon_inside_sqrt: bool = False,
) -> None:
    """Adam (Kingma and Ba 2015): ``w -= rate * m_hat / (sqrt(v_hat) + epsilon)``; ``step`` counts from 1."""
    g = g + alpha * w
    m[...] = beta_1 * m + (1 - beta_1) * g
    v[...] = beta_2 * v + (1 - beta_2) * (g * g)
    m_hat = m / (1 - beta_1**step) if bias_correction else m
    v_hat = v / (1 - beta_2**step) if bias_correction else v
    w -= learning_rate * m_hat / _root(v_hat, epsilon, epsilon_inside_sqrt)


def adamw_step(
    w: Array, m: Array, v: Array, g: Array, *, learning_rate: float, step: int, weight_decay: float = 0.01,
    beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, alpha: float = 0.0, bias_correction: bool = True,
    epsilon_inside_sqrt: bool = False,
) -> None:
    """Adam with decoupled decay (Loshchilov and Hutter 2019): first ``w -= rate * weight_decay * w``, then Adam."""
    g = g + alpha * w
    w -= learning_rate * weight_decay * w
    adam_step(w, m, v, g, learning_rate=learning_rate, step=step, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
              bias_correction=bias_correction, epsilon_inside_sqrt=epsilon_inside_sqrt)


# -------------------------------------------------------------------------------------------------- a network of layers


@dataclass
class Layer:
    """A dense layer. A tied one uses the transposed weights of an earlier layer and a bias of its own."""

    W: Any  # (n_in, n_out); None when tied
    b: Array
    activation: str = "identity"
    parameter: Any = None  # alpha or beta: one number or one per unit; None: the activation's default
    learn: str = "fixed"  # "fixed", "shared" (the parameter is an array of one number) or "unit" (one number per unit)
    tied_to: int = -1
    groups: Groups = ()  # of the last layer, with activation "identity": its outputs are columns of several kinds
    norm: Normalization | None = None  # of any layer but the last


def weights(layers: Sequence[Layer], i: int) -> Array:
    """The matrix that layer ``i`` multiplies its input by."""
    owner = layers[i].tied_to
    return np.asarray(layers[i].W if owner < 0 else layers[owner].W.T)


def arrays(layers: Sequence[Layer]) -> list[tuple[int, str, Array]]:
    """(layer, name, array) of all numbers of a network, in the engine's flat order."""
    found = []
    for i, layer in enumerate(layers):
        found += [(i, "W", layer.W)] if layer.tied_to < 0 else []
        found += [(i, "b", layer.b)]
        found += [(i, "parameter", layer.parameter)] if layer.learn != "fixed" else []
        if layer.norm is not None:
            found += [(i, name, getattr(layer.norm, name)) for name in ("scale", "mean", "variance")]
    return found


def learned_arrays(layers: Sequence[Layer]) -> list[tuple[int, str, Array]]:
    """Those of `arrays` that are learned: "W", "b", "parameter" and "scale", but no running statistics."""
    return [entry for entry in arrays(layers) if entry[1] not in ("mean", "variance")]


def flatten(layers: Sequence[Layer]) -> Array:
    """All numbers of a network, or its gradient, as one vector."""
    return np.concatenate([np.ravel(array) for _, _, array in arrays(layers)])


def _own_share(share: Array | None, frozen: Sequence[bool], i: int) -> Array | None:
    """The rows' shares where layer i takes its statistics from them; None where it takes the running ones."""
    return None if share is None or (frozen and frozen[i]) or not have_variance(share) else share


def forward(
    X: Array, layers: Sequence[Layer], dropout: Sequence[Any] = (), share: Array | None = None,
    frozen: Sequence[bool] = (),
) -> list[tuple[Array, Array, Array]]:
    """Input, sums z and output a of each layer; ``dropout`` gives the factors of each layer's outputs, or None.

    With ``share``, each row's part of the weights, normalised layers that are not frozen take the rows' statistics.
    """
    trace = []
    for i, layer in enumerate(layers):
        z, a = dense_forward(X, weights(layers, i), layer.b, layer.activation, parameter=layer.parameter)
        if layer.norm is not None:
            z, _ = normalize(X @ weights(layers, i), layer.norm, layer.b, _own_share(share, frozen, i))
            a = activation(z, layer.activation, parameter=layer.parameter)
        a = mixed(z, layer.groups) if layer.groups else a
        trace.append((X, z, a))
        X = a if not dropout or dropout[i] is None else a * dropout[i]
    return trace


def loss_and_gradients(
    X: Array, T: Array, layers: Sequence[Layer], loss_name: str, *, alpha: float = 0.0,
    row_weights: Array | None = None, missing_targets: bool = False, dropout: Sequence[Any] = (),
    cell_weights: Array | None = None, l1: float = 0.0, activation_l1: Sequence[float] = (),
    sparsity: Sequence[float] = (), sparsity_target: float = 0.05, contraction: Sequence[float] = (),
    frozen: Sequence[bool] = (),
) -> tuple[float, float, list[Layer]]:
    """Backpropagation (Rumelhart, Hinton and Williams 1986).

    Returns the loss, the objective (loss and penalties) and the objective's gradient in the shape of the layers.
    A cross-entropy needs the activation it is named after in the last layer. With ``missing_targets`` a NaN target
    counts nothing (with softmax, nor does the rest of its row), and the mean is still over all rows. ``cell_weights``
    multiply the loss of each output of each row: a denoising autoencoder's emphasis (Vincent et al. 2010, 3.4).

    Normalised layers take the statistics of these rows, but for ``frozen`` ones, and where fewer than two rows weigh
    something. ``l1`` adds ``l1 * sum(|W|)``. ``activation_l1``, ``sparsity`` and ``contraction`` have one value a
    layer, 0 for the last: the factors of the penalties of that name in `reference_penalties.py`.
    """
    share = np.ones(len(X), X.dtype) if row_weights is None else row_weights
    share = share / share.sum()
    trace, last = forward(X, layers, dropout, share, frozen), len(layers) - 1
    in_logits = loss_name != "squared_error"  # the derivative is by z, past the activation
    groups = layers[last].groups
    fits = bool(groups) if loss_name == "mixed" else layers[last].activation == loss_name.removesuffix("_cross_entropy")
    if in_logits and not fits:
        raise ValueError(f"{loss_name} does not fit the activation {layers[last].activation!r}")

    _, z, a = trace[last]
    if loss_name == "mixed":
        cells, G = mixed_cells(z, T, groups, cell_weights)
    else:
        factors = 1 if cell_weights is None else cell_weights
        cells, G = (factors * part for part in _loss_cells(z if in_logits else a, T, loss_name))
    if missing_targets:
        known = known_cells(T, groups)
        if loss_name == "softmax_cross_entropy":
            known &= known.all(axis=1, keepdims=True)
        cells, G = np.where(known, cells, 0), np.where(known, G, 0)
    value = float(share @ cells.sum(axis=1))
    own = [layer.W for layer in layers if layer.tied_to < 0]
    penalty = sum(0.5 * alpha * float(np.sum(W**2)) + l1 * float(np.abs(W).sum()) for W in own)

    gradient = [
        replace(layer, W=None if layer.tied_to >= 0 else alpha * layer.W + l1 * np.sign(layer.W)) for layer in layers
    ]
    G = G * share[:, None]
    for i in range(last, -1, -1):
        x, z, a = trace[i]
        if activation_l1 and activation_l1[i]:
            term, by_a = _activation_l1(a, share)
            penalty, G = penalty + activation_l1[i] * term, G + activation_l1[i] * by_a
        if sparsity and sparsity[i]:
            term, by_a = kl_sparsity(a, share, sparsity_target, layers[i].activation)
            penalty, G = penalty + sparsity[i] * term, G + sparsity[i] * by_a
        if not (in_logits and i == last):
            G, by_parameter = activation_backward(z, G, layers[i].activation, parameter=layers[i].parameter)
            if contraction and contraction[i]:
                term, by_z, by_W, by_p = _contraction(layers[i].W, z, share, layers[i].activation, layers[i].parameter)
                penalty, G = penalty + contraction[i] * term, G + contraction[i] * by_z
                gradient[i].W += contraction[i] * by_W
                by_parameter = by_parameter + contraction[i] * by_p
            by_unit = by_parameter.sum(axis=0)
            gradient[i].parameter = by_unit.sum(keepdims=True) if layers[i].learn == "shared" else by_unit
        norm, gradient[i].b = layers[i].norm, G.sum(axis=0)
        if norm is not None:
            of_layer = _own_share(share, frozen, i)
            G, by_scale, _ = normalize_backward(x @ weights(layers, i), norm, layers[i].b, of_layer, G)
            gradient[i].norm = Normalization(by_scale, np.zeros_like(by_scale), np.zeros_like(by_scale))
        if layers[i].tied_to < 0:
            gradient[i].W += x.T @ G
        else:  # the owner's weights work twice: their gradient is the sum of both
            gradient[layers[i].tied_to].W += G.T @ x
        if i > 0:
            G = G @ weights(layers, i).T
            if dropout and dropout[i - 1] is not None:
                G = G * dropout[i - 1]
    return value, value + penalty, gradient


_STEPS: dict[str, tuple[Callable[..., None], int]] = {  # the function and how many moments it keeps
    "sgd": (sgd_step, 0),
    "momentum": (momentum_step, 1),
    "nesterov": (nesterov_step, 1),
    "adagrad": (adagrad_step, 1),
    "rmsprop": (rmsprop_step, 1),
    "adam": (adam_step, 2),
    "adamw": (adamw_step, 2),
}


def train(
    X: Array, T: Array, layers: Sequence[Layer], loss_name: str, batches: Iterable[Array], optimizer: str,
    settings: Iterable[dict[str, Any]], *, alpha: float = 0.0, row_weights: Array | None = None,
    missing_targets: bool = False, noise: Callable[[Array, Array, int], Array] | None = None,
    dropout: Callable[[Array, int], Sequence[Any]] | None = None, frozen: Sequence[bool] = (),
    rate_scale: Sequence[float] = (), cell_weights: Callable[[Array, int], Array] | None = None,
    clip_value: float = 0.0, clip_norm: float = 0.0, max_norm: float = 0.0, **penalties: Any,
) -> list[float]:
    """One optimiser step on each batch of row numbers, in place; returns each batch's loss before its step.

    ``settings`` gives the keyword arguments of the optimiser's step for each batch; ``noise(x, rows, t)`` corrupts the
    input of step t (the targets stay clean); ``dropout(rows, t)`` gives the factors of the layers' outputs and
    ``cell_weights(rows, t)`` those of the loss's cells. ``frozen`` and ``rate_scale`` (a factor of the learning rate)
    have one value a layer. ``penalties`` are those of `loss_and_gradients`. The gradient of the whole objective is
    clipped, and after the step the norms of each unit's incoming weights are bounded, where a bound is not 0. The
    running statistics of normalised layers follow those of the batch.
    """
    update, n_moments = _STEPS[optimizer]
    moments = [[np.zeros_like(array) for _ in range(n_moments)] for _, _, array in learned_arrays(layers)]
    losses = []
    for t, (rows, chosen) in enumerate(zip(batches, settings, strict=False)):
        x, share = X[rows] if noise is None else noise(X[rows], rows, t), np.ones(len(rows), X.dtype)
        share = share if row_weights is None else row_weights[rows]
        dropped = () if dropout is None else dropout(rows, t)
        value, _, gradient = loss_and_gradients(
            x, T[rows], layers, loss_name, alpha=alpha, row_weights=share, missing_targets=missing_targets,
            dropout=dropped, cell_weights=None if cell_weights is None else cell_weights(rows, t), frozen=frozen,
            **penalties,
        )
        for i, (inputs, _, _) in enumerate(forward(x, layers, dropped, share / share.sum(), frozen)):
            norm, of_layer = layers[i].norm, _own_share(share / share.sum(), frozen, i)
            if norm is not None and of_layer is not None:
                move_statistics(inputs @ weights(layers, i), norm, of_layer)
        losses.append(value)
        learned = [array for i, _, array in learned_arrays(gradient) if not (frozen and frozen[i])]
        if clip_value:
            clip_by_value(learned, clip_value)
        if clip_norm:
            clip_by_norm(learned, clip_norm)
        counter = {"step": t + 1} if optimizer in ("adam", "adamw") else {}
        for (i, name, w), mv, (_, _, g) in zip(learned_arrays(layers), moments, learned_arrays(gradient), strict=True):
            if frozen and frozen[i]:
                continue
            own = {"learning_rate": chosen["learning_rate"] * rate_scale[i]} if rate_scale else {}
            if optimizer == "adamw" and name != "W":
                own["weight_decay"] = 0.0
            update(w, *mv, g, **{**chosen, **counter, **own})
            if max_norm and name == "W":
                bound_norms(w, max_norm)
    return losses
