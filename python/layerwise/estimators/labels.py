"""Which elements of y are labels, and which say that the label is unknown."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets

from layerwise.checks import Parameter, is_number

Array = NDArray[Any]


def check_unlabeled(where: Parameter, value: Any) -> str | int | None:
    """Return `value` if it is "auto", -1 or None."""
    if value is None or (isinstance(value, str) and value == "auto"):
        return value
    if is_number(value, Integral) and value == -1:
        return -1
    raise where.error('"auto", -1 or None', value)


def known_classes(
    y: Any, unlabeled: str | int | None, classes: Array | None = None, *, required: bool = True
) -> tuple[Array, Array]:
    """Find the labelled rows of a classifier's target.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    unlabeled : "auto", -1 or None
        NaN and None are unknown labels, unless this is None: then every element is a label. -1 is one under -1, and
        under "auto" if it is an integer, unless exactly one other label occurs.
    classes : ndarray or None
        The classes known from `fit`: then -1 is unknown exactly if it is not one of them.
    required : bool, default=True
        Whether there must be a label.

    Returns
    -------
    labelled : ndarray of bool, shape (n_rows,)
    labels : ndarray of shape (n_labelled,)

    Raises
    ------
    ValueError
        If there is no label, if a label is infinite, or if the labels are not classes.
    TypeError
        If the labels are neither all numbers nor all strings.
    """
    y = _as_vector(y)
    missing = unknown_labels(y, unlabeled, classes)
    if unlabeled is None and missing.any():
        raise ValueError("Input y contains NaN or None, and unlabeled=None says that every element is a label.")

    labels = natural(y[~missing])
    if len(labels) == 0 and not required:
        return ~missing, labels
    if len(labels) == 0:
        raise ValueError(
            "y holds no label: every element is unknown (NaN, None or -1). At least one row needs a label."
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"Input y contains infinity or a value too large for {labels.dtype!r}.")
    if labels.dtype.kind == "O" and not all(isinstance(label, str) for label in labels):
        kinds = sorted({type(label).__name__ for label in labels})
        raise TypeError(f"y must hold labels of one kind that can be sorted. Got {kinds}.")
    check_classification_targets(labels)
    return ~missing, labels


def unknown_labels(y: Array, unlabeled: str | int | None, classes: Array | None = None) -> Array:
    """Return where a vector of labels says that the label is unknown, by the rules of `known_classes`."""
    missing = _missing(y)
    if unlabeled is None:
        return missing
    minus_one = _minus_one(y, any_number=unlabeled == -1)
    if classes is not None:
        is_class = any(isinstance(c, Real) and c == -1 for c in classes)
    else:
        is_class = unlabeled == "auto" and len(set(y[~missing & ~minus_one].tolist())) == 1
    return missing | (minus_one & (not is_class))


def is_matrix(y: Any) -> bool:
    """Return whether y has two dimensions and more than one column: an indicator matrix, for a classifier."""
    shape = np.shape(as_array(_refuse_odd(y)))
    return len(shape) == 2 and shape[1] > 1


def known_indicators(y: Any, unlabeled: str | int | None, *, required: bool = True) -> Array:
    """Return a multilabel classifier's target, a matrix of 0 and 1, as float64 with NaN for unknown cells.

    Parameters
    ----------
    y : array-like of shape (n_rows, n_labels)
    unlabeled : "auto", -1 or None
        NaN and None are unknown cells, and so is -1, unless this is None.
    required : bool, default=True
        Whether there must be a known cell.

    Raises
    ------
    ValueError
        If a known cell is neither 0 nor 1.
    """
    values = as_array(y)
    missing = _missing(values)
    numbers = np.full(values.shape, np.nan)
    for place in zip(*np.nonzero(~missing), strict=True) if values.dtype.kind == "O" else ():
        if not isinstance(values[place], (Real, np.bool_)):
            numbers[place] = np.inf
    numeric = ~missing & ~np.isinf(numbers)
    numbers[numeric] = values[numeric].astype(np.float64) if values.dtype.kind in "biufO" else np.inf
    if unlabeled is None and missing.any():
        raise ValueError("Input y contains NaN or None, and unlabeled=None says that every element is a label.")
    if unlabeled is not None:
        missing |= numbers == -1
    known = numbers[~missing]
    odd = values[~missing][~np.isin(known, (0, 1))]
    if len(known) == 0 and required:
        raise ValueError(
            "y holds no label: every element is unknown (NaN, None or -1). At least one row needs a label."
        )
    if len(odd):
        first = odd[0].item() if isinstance(odd[0], np.generic) else odd[0]
        raise ValueError(
            "A y of several columns must be an indicator matrix: 1 where the row has the column's label, 0 where not, "
            f"NaN, None or -1 where that is unknown. Got {first!r}; several "
            "outputs of more than two classes each (multiclass-multioutput) are not supported."
        )
    numbers[missing] = np.nan
    return numbers


def known_numbers(y: Any, unlabeled: str | int | None, *, required: bool = True) -> tuple[Array, bool]:
    """Return a regressor's target as a float64 matrix with NaN for unknown cells.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
    unlabeled : "auto", -1 or None
        NaN and None are unknown, unless this is None; -1 is unknown only if this is -1.
    required : bool, default=True
        Whether each output must have a known value.

    Returns
    -------
    numbers : ndarray of shape (n_rows, n_outputs)
    is_vector : bool
        Whether y had one dimension.

    Raises
    ------
    ValueError
        If a number is infinite, if an output has no known value, or if y does not hold numbers.
    """
    y = _refuse_odd(y)
    values = as_array(y)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"y should be a 1d or 2d array of targets. Got shape {values.shape}.")
    if values.dtype.kind == "O":
        values = np.where(_missing(values), np.nan, values)
    elif values.dtype.kind not in "biuf":
        raise ValueError(f"y must hold numbers. Got an array of dtype {values.dtype}.")
    try:
        numbers: Array = values.astype(np.float64).reshape(len(values), -1)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"y must hold numbers: {error}") from None
    if unlabeled is None and np.isnan(numbers).any():
        raise ValueError("Input y contains NaN or None, and unlabeled=None says that every element is a label.")
    if unlabeled == -1:
        numbers[numbers == -1] = np.nan
    if np.isinf(numbers).any():
        raise ValueError("Input y contains infinity or a value too large for dtype('float64').")
    empty = np.flatnonzero(np.isnan(numbers).all(axis=0))
    if len(empty) and required:
        which = "y" if numbers.shape[1] == 1 else f"column {empty[0]} of y"
        unknown = "NaN, None or -1" if unlabeled == -1 else "NaN or None"
        raise ValueError(
            f"{which} holds no label: every element is unknown ({unknown}). At least one row needs a label."
        )
    return numbers, values.ndim == 1


def as_array(y: Any) -> Array:
    """Return y as an array in which NaN and None stay what they are."""
    if isinstance(y, (list, tuple)) and _lists_missing(y):
        return np.array(y, dtype=object)  # NumPy would turn ["a", nan] into strings
    return np.asarray(y)


def _lists_missing(y: Any) -> bool:
    """Return whether None or NaN stands in a list or tuple, or in those inside."""
    if isinstance(y, (list, tuple)):
        return any(_lists_missing(value) for value in y)
    return y is None or (isinstance(y, (float, np.floating)) and bool(y != y))


def _as_vector(y: Any) -> Array:
    values = as_array(_refuse_odd(y))
    if values.ndim == 2 and values.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), "
            "for example using ravel().",
            DataConversionWarning,
            stacklevel=5,
        )
        return values.ravel()
    if values.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {values.shape} instead.")
    return values


def _refuse_odd(y: Any) -> Any:
    """Return y unless NumPy would not see its labels as they are meant."""
    if issparse(y):
        raise TypeError("y is a sparse matrix, and labels are taken dense alone. Use y.toarray().")
    if isinstance(y, np.ma.MaskedArray):
        raise TypeError("y is a masked array, whose mask would be ignored. Use y.filled(numpy.nan) for unknown labels.")
    return y


def _missing(y: Array) -> Array:
    """Return where y is None, NaN, or another value that does not equal itself (pandas' NA and NaT)."""
    if y.dtype.kind == "f":
        return np.isnan(y)
    if y.dtype.kind != "O":
        return np.zeros(y.shape, bool)
    return np.array([_is_missing(value) for value in y.ravel()], bool).reshape(y.shape)


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA will not say
        return True


def _minus_one(y: Array, any_number: bool) -> Array:
    if y.dtype.kind == "i" or (any_number and y.dtype.kind == "f"):
        return np.asarray(y == -1)
    if y.dtype.kind != "O":
        return np.zeros(y.shape, bool)
    kind = Real if any_number else Integral
    return np.array([is_number(v, kind) and v == -1 for v in y], bool)


def natural(labels: Array) -> Array:
    """Give numbers that came in an object array, because of None among them, their own dtype back."""
    if labels.dtype.kind == "O" and len(labels):
        for kind, dtype in ((bool, bool), (Integral, np.int64), (Real, np.float64)):
            if all(isinstance(v, kind) for v in labels):
                try:
                    return labels.astype(dtype)
                except OverflowError:
                    raise ValueError(
                        f"y holds a label that does not fit {np.dtype(dtype).name}: labels that are numbers must lie "
                        "in its range; strings may stand for others."
                    ) from None
    return labels
