"""Batch normalisation (Ioffe and Szegedy 2015), for `layerwise.reference`.

Each unit's product ``h = x @ W`` is brought to mean 0 and variance 1, then scaled and shifted by numbers that are
learned: ``z = scale * (h - mean) / sqrt(variance + epsilon) + b``. In training, mean and variance are those of the
batch's rows, and the running statistics follow them; else they are the running ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Normalization:
    """What a normalised layer has beside its weights and its bias, which is the shift; each of shape (n_out,)."""

    scale: Array
    mean: Array  # running, as the next one; not learned
    variance: Array
    momentum: float = 0.1  # of a batch's statistics in the running ones
    epsilon: float = 1e-5


def have_variance(share: Array) -> bool:
    """Whether a batch has statistics of its own: at least two of its rows weigh something."""
    return bool(np.count_nonzero(share) > 1)


def moments(h: Array, share: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance over the rows, each row counting by its share of the weights."""
    mean = share @ h
    return mean, share @ (h - mean) ** 2


def normalize(h: Array, norm: Normalization, b: Array, share: Array | None) -> tuple[Array, Array]:
    """``z`` and the normalised ``h`` it is made of; ``share`` None: by the running statistics."""
    mean, variance = (norm.mean, norm.variance) if share is None else moments(h, share)
    normal = (h - mean) / np.sqrt(variance + norm.epsilon)
    return norm.scale * normal + b, normal


def normalize_backward(
    h: Array, norm: Normalization, b: Array, share: Array | None, G: Array
) -> tuple[Array, Array, Array]:
    """From ``G = dL/dz`` the gradients by ``h``, the scale and the shift ``b``.

    Each product moves the batch's mean and variance too; running statistics are fixed numbers.
    """
    _, normal = normalize(h, norm, b, share)
    by_scale, by_shift = (G * normal).sum(axis=0), G.sum(axis=0)
    variance = norm.variance if share is None else moments(h, share)[1]
    through = 0 if share is None else share[:, None] * (by_shift + normal * by_scale)
    return norm.scale / np.sqrt(variance + norm.epsilon) * (G - through), by_scale, by_shift


def move_statistics(h: Array, norm: Normalization, share: Array) -> None:
    """Let the running statistics follow those of a batch, in place."""
    for running, own in zip((norm.mean, norm.variance), moments(h, share), strict=True):
        running[...] = (1 - norm.momentum) * running + norm.momentum * own
