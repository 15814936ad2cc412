"""How much a row counts: `sample_weight`, and `class_weight` on top of it for labelled rows."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from layerwise.checks import Parameter, is_number

Array = NDArray[Any]


def check_sample_weight(sample_weight: Any, X: Array) -> Array | None:
    """Return the weights of the rows of X as float64, divided by the greatest (only their ratios matter), or None.

    Raises
    ------
    ValueError
        If there is not one finite number a row, if one is negative, or if all are zero.
    """
    if sample_weight is None:
        return None
    weights: Array = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")  # as in scikit-learn >= 1.9
    return _relative(weights)


def counting(weights: Array | None, *arrays: Array) -> tuple[Any, ...]:
    """Return the weights and the arrays without the rows of weight 0, which are then as if they had never been.

    Weights that are all the same are none. Nothing is copied where no weight is 0.
    """
    if weights is None:
        return None, *arrays
    if not weights.all():
        rows = weights > 0
        weights, arrays = weights[rows], tuple(array[rows] for array in arrays)
    return None if (weights == weights[:1]).all() else weights, *arrays


def class_weights(where: Parameter, class_weight: Any, classes: Array, codes: Array, weights: Array | None) -> Any:
    """Return the factor of each labelled row's weight that `class_weight` asks for; None stays None.

    Parameters
    ----------
    where : Parameter
    class_weight : None, "balanced" or a dict from classes to weights
        "balanced": sum of all weights / (number of classes * sum of the weights of the row's class).
    classes : ndarray of shape (n_classes,)
    codes : ndarray of int, shape (n_labelled,)
        Each row's place in `classes`.
    weights : ndarray of shape (n_labelled,) or None
        The rows' own weights.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        sums = np.bincount(codes, weights, len(classes))
        return (sums.sum() / (len(classes) * sums))[codes]
    # scikit-learn's compute_class_weight takes strings such as "1" in an object array for numbers.
    given = [class_weight.get(label) for label in classes.tolist()]
    named = len(given) - given.count(None)
    if named < min(len(given), len(class_weight)):
        allowed = f'None, "balanced" or a dict whose keys are classes ({classes.tolist()})'
        raise where.error(allowed, class_weight)
    return np.array([1.0 if weight is None else float(weight) for weight in given])[codes]


def log_shares(codes: Array, weights: Array | None, factors: Array | None, n_classes: int) -> Array | None:
    """Return the logarithm of each class's share in the labelled rows' weights, less the greatest, at least -16.

    A softmax of it, before anything is learned from the rows, is the weighted base rates. None without class weights.
    """
    if factors is None:
        return None
    sums = np.bincount(codes, label_weights(weights, factors), n_classes)
    logarithms: Array = np.log(np.maximum(sums / sums.max(), np.exp(-16.0)))
    return logarithms


def balanced_cells(cells: Array, weights: Array | None, labelled: Array) -> Array:
    """Return the labelled rows' "balanced" factors for an indicator matrix: the product of those of each column.

    Parameters
    ----------
    cells : ndarray of shape (n_labelled, n_labels)
        0, 1, or NaN for unknown, whose factor is 1.
    weights : ndarray of shape (n_rows,) or None
    labelled : ndarray of bool, shape (n_rows,)
    """
    factors = np.ones(len(cells))
    own = None if weights is None else weights[labelled]
    for column in cells.T:
        known = ~np.isnan(column)
        classes, codes = np.unique(column[known], return_inverse=True)
        where = Parameter("", "class_weight")
        factors[known] *= class_weights(where, "balanced", classes, codes, None if own is None else own[known])
    return factors


def check_class_weight(where: Parameter, value: Any) -> None:
    """Raise InvalidParameterError if `value` is not None, "balanced" or a dict of weights."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return
    good = isinstance(value, Mapping) and all(
        is_number(weight, Real) and 0 <= weight < np.inf for weight in value.values()
    )
    if not good or (value and not any(value.values())):
        raise where.error(
            'None, "balanced" or a dict from classes to finite weights, none negative and not all 0', value
        )


def label_weights(weights: Array | None, factors: Array | None) -> Array | None:
    """Return the product of the labelled rows' own weights and their classes' factors; None if both are None.

    Raises
    ------
    ValueError
        If it is zero for every row.
    """
    if weights is None and factors is None:
        return None
    product = np.asarray((1.0 if weights is None else weights) * (1.0 if factors is None else factors))
    if not product.any():
        raise ValueError("The weight of every labelled row is zero: sample_weight times class_weight.")
    return _relative(product)


def _relative(weights: Array) -> Array:
    with np.errstate(under="ignore"):
        relative: Array = weights / weights.max()
    return relative
