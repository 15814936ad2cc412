"""What can be measured of a fitted network and its layers: dead and saturated units, gradients, skill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, kernels
from layerwise.checks import Parameter
from layerwise.column_groups import ColumnGroups
from layerwise.network import DenseLayer, Network
from layerwise.stage import Stage

if TYPE_CHECKING:
    from layerwise.estimators.base import LayerwiseEstimator

Array = NDArray[Any]

SEED = 0  # of the shuffled columns and the random directions: the same network gives the same numbers
CONSTANT = 1e-6  # a unit is dead if its outputs range over less than this part of the layer's widest range
FLAT, FLAT_ROWS = 0.1, 0.9  # a unit is saturated if its slope is below FLAT of the greatest on FLAT_ROWS of the rows


def network_and_columns(where: Parameter, estimator: Any, X: Any) -> tuple[LayerwiseEstimator, Any]:
    """Return the fitted estimator that is given or that a Pipeline ends in, and X as it gets to that estimator."""
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    from layerwise.estimators.base import LayerwiseEstimator

    is_pipeline = isinstance(estimator, Pipeline)
    final = estimator.steps[-1][1] if is_pipeline else estimator
    if not isinstance(final, LayerwiseEstimator):
        allowed = "an estimator of this package, or a Pipeline to one"
        raise where.child("estimator").error(allowed, estimator)
    check_is_fitted(final)
    if is_pipeline and len(estimator.steps) > 1 and X is not None:
        X = estimator[:-1].transform(X)
    return final, X


def dead_units(H: Array) -> int:
    """Return how many units' outputs do not vary: range over less than a millionth of the widest range."""
    ranges = np.ptp(H.astype(np.float64), axis=0)
    return int((ranges <= CONSTANT * ranges.max()).sum())


def saturated_units(H: Array, activation: str) -> int | None:
    """Return how many units have hardly any slope on nearly all rows; None for activations that do not saturate so.

    The slope relative to its greatest value is 4 a (1 - a) of a sigmoid and 1 - a^2 of a tanh.
    """
    a = H.astype(np.float64)
    if activation == "sigmoid":
        slopes = 4 * a * (1 - a)
    elif activation == "tanh":
        slopes = 1 - a * a
    else:
        return None
    return int(((slopes < FLAT).mean(axis=0) >= FLAT_ROWS).sum())


def gradient_norms(network: Network, X: Array) -> list[float]:
    """Return, for each layer, the size of the gradient that reaches it from the output.

    A random direction of signs, one a row, is propagated backward from the output layer's sums; what is returned is the
    root mean square over the rows of its norm at each layer's sums, relative to that at the output's. 1 means that
    a layer's weights learn from as much as the output's do (Glorot & Bengio 2010, section 4.2).
    """
    inputs, sums = [np.ascontiguousarray(X)], []
    for layer in network.layers:
        name = "identity" if layer.activation.groups else layer.activation.name  # of a last layer only z counts
        z, a = kernels.dense_forward(inputs[-1], *_affine(layer), name, parameter=_parameter(layer))
        sums.append(z)
        inputs.append(a)
    signs = np.where(_core.random_uniform(SEED, 0, sums[-1].size) < 0.5, -1, 1)
    delta = signs.reshape(sums[-1].shape).astype(network.dtype)
    sizes = [1.0] * len(sums)
    whole = _norm(delta)
    for i in reversed(range(len(sums) - 1)):
        above, below = network.layers[i + 1], network.layers[i]
        back = kernels.matmul(delta, _affine(above)[0], transpose_b=True)
        delta, _ = kernels.activation_backward(sums[i], back, below.activation.name, parameter=_parameter(below))
        sizes[i] = _norm(delta) / whole
    return sizes


def _affine(layer: DenseLayer) -> tuple[Array, Array]:
    weights, bias = layer.affine()
    return np.ascontiguousarray(weights), bias


def _parameter(layer: DenseLayer) -> Any:
    return layer.activation.parameter if layer.parameter is None else layer.parameter


def _norm(delta: Array) -> float:
    return float(np.sqrt(np.square(delta.astype(np.float64)).sum(axis=1).mean()))


def skills(X: Array, width: int, rebuild: Callable[[Array], Array]) -> tuple[float, float | None]:
    """Return how well `rebuild` rebuilds every other row, and how well `width` principal components of the rest do.

    Both as 1 - squared error / that of the column means. The second is None if there are not fewer components than
    columns and fitted rows.
    """
    from sklearn.decomposition import PCA

    fit, held_out = X[::2].astype(np.float64), np.ascontiguousarray(X[1::2])
    beside = None
    if width < min(fit.shape):
        components = PCA(width, random_state=SEED).fit(fit)
        beside = skill(held_out, components.inverse_transform(components.transform(held_out.astype(np.float64))))
    return skill(held_out, rebuild(held_out)), beside


def groups_of_stage(stage: Stage) -> ColumnGroups | None:
    """Return the column groups whose losses a stage was pretrained with; None for those of one loss."""
    loss = getattr(stage.settings, "loss", None)
    return loss if isinstance(loss, ColumnGroups) else None


def copying(X: Array, rebuild: Callable[[Array], Array], groups: ColumnGroups | None = None) -> float:
    """Return the skill on rows whose columns were shuffled independently: nothing but copying can rebuild these.

    The columns of a category stay together: rows with no level or with several are none that a softmax could copy.
    """
    together: Sequence[Any] = (
        range(X.shape[1]) if groups is None else [variable.columns for variable in groups.variables()]
    )
    columns = [X[:, own][_core.random_permutation(SEED, i, len(X))] for i, own in enumerate(together)]
    shuffled = np.ascontiguousarray(np.column_stack(columns))
    return skill(shuffled, rebuild(shuffled))


def skill(X: Array, rebuilt: Array) -> float:
    """Return 1 - squared error / squared error of the column means; 0 if X does not vary."""
    X = X.astype(np.float64)
    blind = float(np.square(X - X.mean(axis=0)).sum())
    return 1 - float(np.square(X - rebuilt).sum()) / blind if blind > 0 else 0.0
