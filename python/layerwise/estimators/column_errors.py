"""How far each value of a row is from what an autoencoder rebuilds: what an `AnomalyDetector` adds up and explains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.column_groups import ColumnGroups

Array = NDArray[Any]
Exact = NDArray[np.float64]

BLOCK = 512  # rows that are worked on at a time, so that no float64 copy of all rows is needed
SUMMED = 4096  # rows of a partial sum: another number would be other last bits
UNKNOWN = "unknown"  # the level of a category in a row that has none


def blocks(n_rows: int, size: int | None = None) -> Iterator[slice]:
    """Yield the rows, `size` (None: BLOCK) at a time."""
    size = BLOCK if size is None else size
    for first in range(0, n_rows, size):
        yield slice(first, first + size)


def moments(X: Array, weights: Array | None, groups: ColumnGroups | None) -> tuple[Exact, Exact]:
    """Return the mean and standard deviation of each column; 0 and 1 of flags and of the levels of categories.

    Two passes in float64, as of Chan, Golub & LeVeque 1983.
    """
    shares = np.ones(len(X)) if weights is None else np.asarray(weights, np.float64)
    total, first = shares.sum(), X[0].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = first + _sums(X, shares, first)[0] / total  # exact for a constant column
        rest, squares = _sums(X, shares, mean)
        variance = np.maximum(squares / total - (rest / total) ** 2, 0)  # without what rounding left of the mean
        scale = np.sqrt(variance)
        rounding = len(X) * np.finfo(np.float64).eps  # what a constant column's variance may come to by it, as there
        constant = variance <= rounding * variance + (rounding * mean) ** 2
    if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
        raise ValueError("Input X contains values whose variance is too large for float64. Scale X down.")
    scale[constant] = 1
    if groups is not None:
        others = ~groups.of_kind("number")
        mean[others], scale[others] = 0, 1
    return mean, scale


def _sums(X: Array, shares: Exact, point: Exact) -> tuple[Exact, Exact]:
    """Return each column's sums of the distances from a point and of their squares, times the rows' shares."""
    sums, squares = np.zeros(len(point)), np.zeros(len(point))
    for rows in blocks(len(X), SUMMED):
        distances = X[rows] - point
        weighted = shares[rows, np.newaxis] * distances
        sums += weighted.sum(axis=0)
        squares += (weighted * distances).sum(axis=0)
    return sums, squares


def standardized(X: Array, mean: Array, scale: Array) -> Array:
    """Return (X - mean) / scale in X's dtype; bounded, so that a row far out of range cannot overflow the network."""
    limit = np.sqrt(np.finfo(X.dtype).max)
    Z = np.empty(X.shape, X.dtype)
    for rows in blocks(len(X)):
        with np.errstate(over="ignore"):
            Z[rows] = np.clip((X[rows] - mean) / scale, -limit, limit)
    return Z


def errors(run: Callable[..., Array], Z: Array, groups: ColumnGroups | None) -> Exact:
    """Return each value's error: the square of what is missing to it, or, with groups, its part of the row's loss.

    `run` applies the network.

    A level that training did not have is one that the network has no probability for: its category counts as the least
    likely level would, in equal parts for its columns.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        t = Z.astype(np.float64)
        z = run(Z, logits=groups is not None).astype(np.float64)
        found: Exact = np.square(t - z)
        if groups is None:
            return found
        flags = groups.of_kind("flag")
        found[:, flags] = np.logaddexp(0, z[:, flags]) - z[:, flags] * t[:, flags]
        for own in groups.categories():
            surprise = np.logaddexp.reduce(z[:, own], axis=1, keepdims=True) - z[:, own]
            unknown = ~t[:, own].any(axis=1, keepdims=True)
            least_likely = surprise.max(axis=1, keepdims=True) / surprise.shape[1]
            found[:, own] = np.where(unknown, least_likely, t[:, own] * surprise)
    return found


def by_variable(
    groups: ColumnGroups, columns: Sequence[Any], observed: Array, expected: Array, found: Exact
) -> tuple[list[Any], list[Any], list[Any], Exact]:
    """Return the names of a row's numbers, flags and categories, what was seen, what was expected, and the errors.

    Of a category, what was seen is the name of its level, and what was expected the most likely one. `columns` are the
    names (or numbers) of the columns, for what the groups have no names for.
    """
    names: list[Any] = []
    seen: list[Any] = []
    rebuilt: list[Any] = []
    sums: list[float] = []
    for kind, own, name, levels in groups.variables():
        labels = list(columns[own]) if levels is None else list(levels)
        if kind != "category":
            names.append(columns[own.start] if name is None else name)
            seen.append(float(observed[own.start]))
            rebuilt.append(float(expected[own.start]))
        else:
            names.append(f"{labels[0]} to {labels[-1]}" if name is None else name)
            seen.append(str(labels[int(observed[own].argmax())]) if observed[own].any() else UNKNOWN)
            rebuilt.append(str(labels[int(expected[own].argmax())]))
        sums.append(float(found[own].sum()))
    return names, seen, rebuilt, np.array(sums)
