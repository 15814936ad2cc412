"""The mathematics of columns of several kinds, in plain NumPy: a page of `reference.py`.

A table's columns are cut into groups, one after another: ``("number", n)`` are n columns of numbers, ``("flag", n)`` n
columns that are each 0 or 1, ``("category", n)`` the n levels of one category, of which one is 1 (none, if the level is
not known). Each kind has the likelihood that fits it, given the logits z of a linear layer (Nazábal et al. 2020,
"Handling incomplete heterogeneous data using VAEs"):

- numbers: normal with mean z and a fixed variance; the squared error, as elsewhere without the factor 1/2;
- flags: Bernoulli with probability sigmoid(z); the sigmoid cross-entropy;
- a category: one of its levels with probabilities softmax(z); the softmax cross-entropy.

The loss of a row is the sum. A row whose level is not known has targets of 0 only, which add nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.reference_activations import _sigmoid, softmax

Array = NDArray[Any]
Groups = Sequence[tuple[str, int]]


def columns(groups: Groups) -> Iterator[tuple[str, slice]]:
    """Each group's kind and columns."""
    first = 0
    for kind, count in groups:
        yield kind, slice(first, first + count)
        first += count


def mixed(z: Array, groups: Groups) -> Array:
    """What the logits mean: numbers as they are, a probability for each flag and for each level of a category."""
    a = z.copy()
    for kind, own in columns(groups):
        if kind == "flag":
            a[:, own] = _sigmoid(z[:, own])
        elif kind == "category":
            a[:, own] = softmax(z[:, own])
    return a


def mixed_cells(z: Array, t: Array, groups: Groups, weights: Array | None = None) -> tuple[Array, Array]:
    """The loss of each column of each row, whose sum is the row's loss, and the derivative by the logits ``z``.

    A weight multiplies its cell's loss; of a category, its cell's target. So the level that is 1 decides how much its
    category counts: masking noise, from which a denoising autoencoder's emphasis comes, changes a category only there.
    """
    cells, delta = np.empty_like(z), np.empty_like(z)
    weights = np.ones_like(z) if weights is None else weights
    for kind, own in columns(groups):
        p, target, weight = z[:, own], t[:, own], weights[:, own]
        if kind == "number":
            cells[:, own], delta[:, own] = weight * (p - target) ** 2, weight * 2 * (p - target)
        elif kind == "flag":  # -t log s - (1 - t) log(1 - s) with s = sigmoid(p)
            cells[:, own] = weight * (np.maximum(p, 0) - p * target + np.log1p(np.exp(-np.abs(p))))
            delta[:, own] = weight * (_sigmoid(p) - target)
        else:  # -t log s with s = softmax(p)
            target = weight * target
            shifted = p - p.max(axis=1, keepdims=True)
            cells[:, own] = target * (np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted)
            delta[:, own] = softmax(p) * target.sum(axis=1, keepdims=True) - target
    return cells, delta


def known_cells(t: Array, groups: Groups) -> NDArray[np.bool_]:
    """Which targets count, where NaN says that one is unknown: of a category all or none."""
    known = ~np.isnan(t)
    for kind, own in columns(groups):
        if kind == "category":
            known[:, own] &= known[:, own].all(axis=1, keepdims=True)
    return known
