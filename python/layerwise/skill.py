"""The skill of a layer's autoencoder: how much better it rebuilds its inputs than their mean would."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, training
from layerwise.column_groups import ColumnGroups

Array = NDArray[Any]
Exact = NDArray[np.float64]

ROWS = 10_000  # the skill is measured on at most so many rows, evenly spaced


def measure(engine: Any, recipe: _core.Recipe, X: Array, row_weights: Array | None, loss: str | ColumnGroups) -> float:
    """Return 1 - (loss - least) / (loss of predicting the column means - least), each a weighted mean over rows.

    Parameters
    ----------
    engine : Network of the engine
    recipe : Recipe of the engine
    X : ndarray of shape (n_rows, n_inputs)
    row_weights : ndarray of shape (n_rows,) or None
    loss : {"squared_error", "cross_entropy"} or ColumnGroups
        The least squared error is 0; the least cross-entropy is the entropy of the targets themselves. With groups the
        column means are, of a category, the frequencies of its levels.

    Returns
    -------
    float
        0 where no row that counts differs from the mean.
    """
    step = -(-len(X) // ROWS)
    rows = np.ascontiguousarray(X[::step])
    weights = None if row_weights is None else np.ascontiguousarray(row_weights[::step])
    if weights is not None and not weights.any():
        return 0.0
    reached = float(training.plan_for(engine, recipe).evaluate(rows, None, weights))
    least, room = _least_and_room(rows, weights, loss)
    return 1 - (reached - least) / room if room > 0 else 0.0


def _least_and_room(X: Array, row_weights: Array | None, loss: str | ColumnGroups) -> tuple[float, float]:
    """Return the least possible loss, and by how much the loss of predicting each column's mean is above it.

    What does not vary has room 0 exactly, because equal numbers are subtracted before anything is summed.
    """
    if isinstance(loss, ColumnGroups):
        kinds = [(X[:, loss.of_kind("number")], "squared_error"), (X[:, loss.of_kind("flag")], "cross_entropy")]
        kinds += [(X[:, own], "softmax") for own in loss.categories()]
        parts = [_least_and_room(columns, row_weights, kind) for columns, kind in kinds if columns.shape[1] > 0]
        return sum(least for least, _ in parts), sum(room for _, room in parts)
    shares = np.ones(len(X)) if row_weights is None else row_weights.astype(np.float64)
    shares /= shares.sum()
    first = X[0].astype(np.float64)
    means = first + sum(
        ((part * (block - first)).sum(axis=0) for block, part in _blocks(X, shares)), np.zeros(len(first))
    )
    if loss == "squared_error":
        return 0.0, sum(float((part * (block - means) ** 2).sum()) for block, part in _blocks(X, shares))
    if loss == "softmax":
        least = sum(float((part * _surprise(block, block)).sum()) for block, part in _blocks(X, shares))
        return least, sum(
            float((part * (_surprise(block, means) - _surprise(block, block))).sum())
            for block, part in _blocks(X, shares)
        )
    most = _entropy(means)
    room = sum(float((part * (most - _entropy(block))).sum()) for block, part in _blocks(X, shares))
    return float(most.sum()) - room, room


def _surprise(t: Exact, p: Exact) -> Exact:
    """Return -t log(p / sum(p)) of each cell, 0 where t is 0."""
    total = np.clip(p.sum(axis=-1, keepdims=True), 1e-300, None)
    result: Exact = -t * np.log(np.clip(p / total, 1e-300, 1))
    return np.where(t == 0, 0.0, result)


def _blocks(X: Array, shares: Exact) -> Iterator[tuple[Exact, Exact]]:
    """Yield float64 copies of 128 rows at a time, and their shares as a column."""
    for first in range(0, len(X), 128):
        yield X[first : first + 128].astype(np.float64), shares[first : first + 128, None]


def _entropy(p: Exact) -> Exact:
    p = np.clip(p, 1e-300, 1)
    q = np.clip(1 - p, 1e-300, 1)
    result: Exact = -(p * np.log(p) + q * np.log(q))
    return result
