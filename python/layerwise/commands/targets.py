"""What a column of labels means: classes or numbers, and which rows have none."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MOST_CLASSES = 20  # whole numbers with more values than that are a quantity
SHOWN = 6


@dataclass(frozen=True)
class Target:
    """The target of a table.

    Attributes
    ----------
    values : ndarray of shape (n_rows,)
        As the estimators take it: float64 with NaN for numbers; for classes with None where the label is unknown.
    known : ndarray of bool, shape (n_rows,)
    is_classes : bool
    stray : str
        Where text stands among numbers and makes classes of them: the first such cell, with its row; otherwise empty.
    """

    values: Array
    known: Array
    is_classes: bool
    stray: str = ""

    def hidden(self, rows: Array) -> Array:
        """Return the values with the labels of some rows, given by number, taken away."""
        values = self.values.copy() if not self.is_classes else self.values.astype(object)
        values[rows] = None if self.is_classes else np.nan
        return values

    def describe(self) -> str:
        """Return what kind of target it is, in words."""
        labels = self.values[self.known]
        if not self.is_classes:
            return f"numbers from {labels.min():g} to {labels.max():g}"
        classes = sorted(set(labels.tolist()))
        shown = ", ".join(text(label) for label in classes[:SHOWN]) + (", …" if len(classes) > SHOWN else "")
        return f"{len(classes)} classes ({shown})"


def target(column: Any, task: str = "auto", unlabeled: str | None = None, name: str = "the target") -> Target:
    """Decide what a column is.

    Parameters
    ----------
    column : Series or ndarray of shape (n_rows,)
    task : {"auto", "classification", "regression"}
        "auto": classes if the labels are text or bool, or whole numbers of at most 20 different values.
    unlabeled : str or None
        A value that means an unknown label, as an empty cell does.
    name : str
        Of the column, for messages.

    Returns
    -------
    Target

    Raises
    ------
    ValueError
        If no row has a label, if there is but one class, or if numbers are wanted of a column of text.
    """
    values = np.asarray(column, dtype=object)
    unknown = np.array([value is None or not _equals_itself(value) for value in values], bool)
    if unlabeled is not None:
        unknown |= np.array([_means(value, unlabeled) for value in values], bool)
    known = ~unknown
    labels = [value.item() if isinstance(value, np.generic) else value for value in values[known]]
    if not labels:
        raise ValueError(f"{name} has no label: each of its {len(values)} cells is empty or means unknown")
    said: list[Any] = [_number(label) for label in labels]
    if None not in said and (unlabeled is not None or task == "regression"):
        labels = said  # it was the value that means unknown that had made text of them
    numeric = all(isinstance(label, (int, float)) and not isinstance(label, bool) for label in labels)
    stray = "" if numeric else _stray(labels, said, np.flatnonzero(known))
    if task == "regression" and not numeric:
        strange = stray or repr(labels[said.index(None)])
        raise ValueError(f"{name} must hold numbers for a regression, got {strange}")
    whole = numeric and all(np.isfinite(label) and label == int(label) for label in labels)
    is_classes = task == "classification" or (
        task == "auto" and (not numeric or (whole and len(set(labels)) <= MOST_CLASSES))
    )
    if not is_classes:
        numbers = np.full(len(values), np.nan)
        numbers[known] = labels
        return Target(numbers, known, False)
    if whole:  # an integer -1 would mean unknown
        number = float if -1 in labels else int
        labels = [number(label) for label in labels]
    elif len({type(label) for label in labels}) > 1:
        labels = [str(label) for label in labels]
    if len(set(labels)) < 2:
        raise ValueError(f"{name} has one class only, {text(labels[0])}: there is nothing to tell apart")
    classes = np.empty(len(values), dtype=object)
    classes[known] = labels
    return Target(np.array(labels) if known.all() else classes, known, True, stray)


def text(label: Any) -> str:
    """Return a label as text; whole numbers without a point."""
    if isinstance(label, (float, np.floating)) and label == np.trunc(label):
        return str(int(label))
    return str(label)


def _number(label: Any) -> float | None:
    """Return the number that a label is, or says as text; None if it is none."""
    if isinstance(label, (int, float)) and not isinstance(label, bool):
        return label
    try:
        number = float(label) if isinstance(label, str) and "_" not in label else np.nan
    except ValueError:
        return None
    return None if np.isnan(number) else number


def _stray(labels: list[Any], said: list[Any], rows: Array) -> str:
    """Return the first label that is no number and its row, if most labels say numbers."""
    strange = [place for place, number in enumerate(said) if number is None]
    if not strange or 2 * len(strange) >= len(labels):
        return ""
    label = labels[strange[0]]
    return (
        f"{label!r} in row {rows[strange[0]] + 1} of the data; if such cells mean that the label is unknown: "
        f"--unlabeled {shlex.quote(str(label))}"
    )


def _equals_itself(value: Any) -> bool:
    try:
        return bool(value == value)
    except TypeError:  # pandas.NA will not say
        return False


def _means(value: Any, unlabeled: str) -> bool:
    if str(value) == unlabeled:
        return True
    try:
        return float(value) == float(unlabeled)
    except (TypeError, ValueError):
        return False
