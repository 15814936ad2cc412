"""Pictures of what was learned; they need matplotlib, which is imported on use (``pip install "layerwise[plots]"``).

Every function draws on the axes it is given, or on new ones, and returns them, so that titles, sizes and files are the
caller's: ``plots.filters(model).figure.savefig("filters.png")``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import checks, measurements
from layerwise.checks import Parameter
from layerwise.estimators.labels import as_array, natural, unknown_labels
from layerwise.stage import Stage

Array = NDArray[Any]

MOST_LEVELS = 20  # more different floats are no labels

__all__ = ["activation_histograms", "codes", "column_errors", "filters", "learning_curves", "reconstructions"]


def filters(estimator: Any, *, pretrained: bool = False, n: int = 100, shape: Any = None, ax: Any = None) -> Any:
    """Show what the units of the first hidden layer look for: their weights as images.

    Each image is divided by its greatest absolute weight; white is positive, black negative, grey 0.

    Parameters
    ----------
    estimator : fitted estimator, Pipeline that ends in one, or Stage
    pretrained : bool, default=False
        True: as pretraining left them; False: as they are now, fine-tuned or not.
    n : int, default=100
        At most so many units, the first ones.
    shape : (int, int), default=None
        Rows and columns of an input image; None if it is square.
    ax : matplotlib axes, default=None

    Returns
    -------
    matplotlib axes
        With one image: the units' images side by side in a grid, a pixel apart.
    """
    where = Parameter("filters")
    checks.boolean(where.child("pretrained"), pretrained)
    if isinstance(estimator, Stage):
        weights = estimator.weights
    else:
        fitted, _ = measurements.network_and_columns(where, estimator, None)
        if pretrained and not fitted.stages_:
            raise where.child("pretrained").error("False for a network without pretraining", pretrained)
        weights = fitted.stages_[0].weights if pretrained else fitted.network_.layers[0].weights
    size = _image_shape(where, shape, weights.shape[0])
    chosen = weights[:, : checks.integer(where.child("n"), n, 1)].T.astype(np.float64)
    greatest = abs(chosen).max(axis=1, keepdims=True)
    tiles = (chosen / np.where(greatest > 0, greatest, 1)).reshape(-1, *size)
    ax = _one(ax)
    _show(ax, _grid(tiles, math.ceil(math.sqrt(len(tiles))), fill=-1.0), -1, 1)
    ax.set_title(f"{len(tiles)} of {weights.shape[1]} units of layer 1")
    return ax


def learning_curves(estimator: Any, *, axes: Any = None) -> NDArray[Any]:
    """Show the loss of each epoch, one picture for each stage: their losses do not compare.

    Parameters
    ----------
    estimator : fitted estimator, Pipeline that ends in one, or Stage
    axes : sequence of matplotlib axes, default=None
        One for each stage.

    Returns
    -------
    ndarray of matplotlib axes
        Each with a line "training", and a line "validation" if there were validation rows.
    """
    where = Parameter("learning_curves")
    history: Sequence[Any]
    if isinstance(estimator, Stage):
        history = estimator.history
    else:
        history = measurements.network_and_columns(where, estimator, None)[0].history_
    runs = [list(run) for _, run in groupby(history, key=lambda record: (record.stage, record.layer))]
    if not runs:
        raise where.child("estimator").error("an estimator that was trained for one epoch at least", estimator)
    drawn = _several(where, axes, len(runs))
    for ax, run in zip(drawn, runs, strict=True):
        epochs = range(1, len(run) + 1)  # records count each fit or pass of their own
        ax.plot(epochs, [record.loss for record in run], label="training")
        if run[0].validation_loss is not None:
            ax.plot(epochs, [record.validation_loss for record in run], label="validation")
            ax.legend()
        ax.set_title("fine-tuning" if run[0].layer is None else f"pretraining of layer {run[0].layer}")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
    return drawn


def reconstructions(estimator: Any, X: Any, *, n: int = 10, shape: Any = None, ax: Any = None) -> Any:
    """Show images above what an autoencoder makes of them.

    Parameters
    ----------
    estimator : fitted StackedAutoencoder or AnomalyDetector, or a Pipeline that ends in one
    X : array-like of shape (n_samples, n_features)
    n : int, default=10
        At most so many rows, the first ones.
    shape : (int, int), default=None
        Rows and columns of an image; None if it is square.
    ax : matplotlib axes, default=None

    Returns
    -------
    matplotlib axes
        With one image: the rows of X above, their reconstructions below; grey values from the least to the greatest
        value of the rows of X.
    """
    where = Parameter("reconstructions")
    estimator, X = measurements.network_and_columns(where, estimator, X)
    _require(where, estimator, "reconstruct")
    data = estimator._checked(X)[: checks.integer(where.child("n"), n, 1)]
    size = _image_shape(where, shape, data.shape[1])
    rebuilt = estimator.reconstruct(X)[: len(data)]  # all of X, which may have names of its columns
    tiles = np.concatenate([data, rebuilt]).reshape(-1, *size)
    ax = _one(ax)
    low, high = float(data.min()), float(data.max())
    _show(ax, _grid(tiles, len(data), fill=low), low, high)
    ax.set_title("rows above, reconstructions below")
    return ax


def codes(estimator: Any, X: Any, y: Any = None, *, layer: int | None = None, ax: Any = None) -> Any:
    """Show the rows in the plane of a hidden layer's outputs.

    Parameters
    ----------
    estimator : fitted estimator, or a Pipeline that ends in one
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,), default=None
        Labels, each with a colour and a line of the legend; those that are unknown to the estimator (NaN, None, and -1
        where its `unlabeled` says so) are grey, under the others. For a regressor, and where there are more than 20
        different floats that are not all whole, numbers with a colour bar.
    layer : int, default=None
        Counted from 1, 0 the input; None is the last hidden layer. If it does not have two units, the first two
        principal components of its outputs are shown (a layer of one unit against zeros).
    ax : matplotlib axes, default=None

    Returns
    -------
    matplotlib axes
        With one scatter for each label (or for all numbers), and a last one for unknown rows if there are any.
    """
    from sklearn.base import is_regressor
    from sklearn.decomposition import PCA

    estimator, X = measurements.network_and_columns(Parameter("codes"), estimator, X)
    points = np.asarray(estimator.transform(X, layer=layer), np.float64)
    names = ["unit 1", "unit 2"]
    if points.shape[1] == 1:
        points, names[1] = np.column_stack([points, np.zeros(len(points))]), ""
    elif points.shape[1] > 2:
        points = PCA(2, svd_solver="full").fit_transform(points)
        names = ["component 1", "component 2"]
    ax = _one(ax)
    if y is None:
        ax.scatter(*points.T, s=8)
    else:
        _scatter_labels(ax, points, *_labels_and_unknown(estimator, points, y), is_regressor(estimator))
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    return ax


def activation_histograms(estimator: Any, X: Any, *, bins: int = 50, axes: Any = None) -> NDArray[Any]:
    """Show how the outputs of each hidden layer are distributed over rows and units.

    Peaks at the ends of sigmoid or tanh are saturation; one at the 0 of a ReLU is what makes it sparse.

    Parameters
    ----------
    estimator : fitted estimator, or a Pipeline that ends in one
    X : array-like of shape (n_samples, n_features)
    bins : int, default=50
    axes : sequence of matplotlib axes, default=None
        One for each hidden layer.

    Returns
    -------
    ndarray of matplotlib axes
        Each with the bars of a histogram whose area is 1.
    """
    where = Parameter("activation_histograms")
    bins = checks.integer(where.child("bins"), bins, 1)
    estimator, X = measurements.network_and_columns(where, estimator, X)
    depth = estimator._n_hidden()
    data = estimator._checked(X)
    drawn = _several(where, axes, depth)
    for layer, ax in enumerate(drawn, 1):
        kind = estimator.network_.layers[layer - 1].activation.name
        ax.hist(estimator._apply(data, 0, layer).ravel(), bins=bins, density=True)
        ax.set_title(f"layer {layer}: {kind}")
        ax.set_xlabel("output")
        ax.set_ylabel("density")
    return drawn


def column_errors(estimator: Any, X: Any, *, top: int = 20, ax: Any = None) -> Any:
    """Show which columns an autoencoder rebuilds worst.

    Parameters
    ----------
    estimator : fitted StackedAutoencoder or AnomalyDetector, or a Pipeline that ends in one
    X : array-like of shape (n_samples, n_features)
    top : int, default=20
        At most so many columns, those with the greatest errors.
    ax : matplotlib axes, default=None

    Returns
    -------
    matplotlib axes
        With one bar a column, the greatest error on top: the mean error of an AnomalyDetector's columns, as its
        `score_features` has them; of other estimators the mean squared error divided by the column's variance in X (by
        1 for a constant). With `ColumnGroups` a category is one column: the sum of its levels' errors (divided by the
        sum of their variances).
    """
    where = Parameter("column_errors")
    top = checks.integer(where.child("top"), top, 1)
    estimator, X = measurements.network_and_columns(where, estimator, X)
    _require(where, estimator, "reconstruct")
    groups = measurements.groups_of_stage(estimator.stages_[0])
    detects = hasattr(estimator, "score_features")
    if detects:
        errors, spread = -estimator.score_features(X).mean(axis=0), None
        units = "squared error, in variances of the training rows" if estimator.standardize else "squared error"
        units = units if groups is None else f"{units}\n(flags and categories: cross-entropy)"
    else:
        data, units = estimator._checked(X), "squared error / variance of the column"
        spread = data.var(axis=0, dtype=np.float64)
        errors = np.square(data.astype(np.float64) - estimator.reconstruct(X)).mean(axis=0)
    names = [str(name) for name in getattr(estimator, "feature_names_in_", range(len(errors)))]
    if groups is not None:
        variables = list(groups.variables())
        names = [
            own.name or " to ".join(dict.fromkeys((names[own.columns][0], names[own.columns][-1]))) for own in variables
        ]
        errors = np.array([errors[own.columns].sum() for own in variables])
        spread = None if spread is None else np.array([spread[own.columns].sum() for own in variables])
    if spread is not None:
        errors = errors / np.where(spread > 0, spread, 1)
    worst = np.argsort(-errors, kind="stable")[:top]
    ax = _one(ax)
    ax.barh(np.arange(len(worst)), errors[worst], tick_label=[names[i] for i in worst])
    ax.invert_yaxis()
    ax.set_xlabel(f"mean {units}")
    ax.set_ylabel("column")
    return ax


# ------------------------------------------------------------------------------------------------------------- details


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as missing:
        raise ImportError('plots need matplotlib: pip install "layerwise[plots]"') from missing
    return pyplot


def _one(ax: Any) -> Any:
    return _pyplot().subplots(layout="constrained")[1] if ax is None else ax


def _several(where: Parameter, axes: Any, count: int) -> NDArray[Any]:
    if axes is None:
        size = (3.6 * count, 3.2)
        return np.ravel(_pyplot().subplots(1, count, figsize=size, layout="constrained", squeeze=False)[1])
    given = np.ravel(np.array(axes, dtype=object))
    if len(given) != count:
        raise where.child("axes").error(f"None or {count} axes", axes)
    return given


def _labels_and_unknown(estimator: Any, points: Array, y: Any) -> tuple[Array, Array]:
    """Return y as a vector, and where the estimator takes it as unknown."""
    from sklearn.base import is_classifier
    from sklearn.utils.validation import check_consistent_length

    values = as_array(y)
    values = values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1:
        raise ValueError(f"y must have one label a row. Got an array of shape {values.shape}; choose a column.")
    check_consistent_length(points, values)
    unlabeled = getattr(estimator, "unlabeled", None)
    if is_classifier(estimator):
        return values, unknown_labels(values, unlabeled, estimator.classes_)
    return values, unknown_labels(values, None if checks.is_auto(unlabeled) else unlabeled)  # -1 may be a number


def _scatter_labels(ax: Any, points: Array, labels: Array, unknown: Array, measured: bool) -> None:
    """Draw rows by their labels, or by a scale of numbers if they are `measured`; unknown ones in grey."""
    known, labels = points[~unknown], natural(labels[~unknown])
    mixed = labels.dtype.kind == "O"  # strings, or labels of several kinds, which have no order
    found = sorted(set(labels.tolist()), key=str) if mixed else np.unique(labels)
    if labels.dtype.kind == "f" and len(found) > MOST_LEVELS:
        measured = measured or bool((found[np.isfinite(found)] % 1 != 0).any())
    if measured and labels.dtype.kind in "biuf":
        drawn = ax.scatter(*known.T, s=8, c=labels.astype(np.float64))
        ax.figure.colorbar(drawn, ax=ax, label="y")
    else:
        for label, color in zip(found, _colors(len(found), beside_grey=bool(unknown.any())), strict=True):
            ax.scatter(*known[labels == label].T, s=8, color=color, label=str(label))
    if unknown.any():
        ax.scatter(*points[unknown].T, s=8, color="lightgrey", label="unknown", zorder=0)
    lines = len(ax.get_legend_handles_labels()[1])
    if lines:
        ax.legend(markerscale=2, ncols=-(-lines // 12))


def _colors(count: int, *, beside_grey: bool) -> list[Any]:
    """Return colours that differ, those of matplotlib's own cycle first; where grey means something, others."""
    maps = import_module("matplotlib").colormaps
    pairs = maps["tab20"].colors
    ordered = (*pairs[::2], *pairs[3::2], pairs[1])  # strong ones, pale ones, and last the one nearest to a light grey
    colors = [color for color in ordered if not beside_grey or len(set(color)) > 1]
    return colors[:count] if count <= len(colors) else list(maps["turbo"](np.linspace(0, 1, count)))


def _require(where: Parameter, estimator: Any, method: str) -> None:
    if not hasattr(estimator, method):
        raise where.child("estimator").error(
            "a StackedAutoencoder or an AnomalyDetector, or a Pipeline to one", estimator
        )


def _image_shape(where: Parameter, shape: Any, n_inputs: int) -> tuple[int, int]:
    if shape is None and math.isqrt(n_inputs) ** 2 != n_inputs:
        allowed = f"two numbers (rows, columns) with the product {n_inputs}, of which no square image can be made"
        raise where.child("shape").error(allowed, shape)
    if shape is None:
        shape = (math.isqrt(n_inputs),) * 2
    valid = checks.is_sequence(shape) and len(shape) == 2 and all(checks.is_number(size, Integral) for size in shape)
    if not valid or min(shape) < 1 or shape[0] * shape[1] != n_inputs:
        raise where.child("shape").error(f"two numbers (rows, columns) with the product {n_inputs}", shape)
    return int(shape[0]), int(shape[1])


def _grid(tiles: Array, columns: int, *, fill: float) -> Array:
    """Return images put side by side, so many in a row, with a pixel of `fill` between them."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), fill)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        grid[top : top + height, left : left + width] = tile
    return grid


def _show(ax: Any, image: Array, low: float, high: float) -> None:
    ax.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_axis_off()
