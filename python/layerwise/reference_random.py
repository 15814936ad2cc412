"""The random numbers of Layerwise in plain NumPy: the definition of its noise, dropout and shuffling.

Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) makes four 32-bit
words from a counter of four words and a key of two. There is no state: each number is a function of its place, so that
neither threads nor the order of work can change it. The key is the seed; the counter is (block low, block high, step,
stream). Eight blocks make a group of 32 words, one for each column of a panel of 32 features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from layerwise.reference_groups import Groups
from layerwise.reference_groups import columns as group_columns

Array = NDArray[Any]

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

SHUFFLE, NOISE, SWAP, DROPOUT = 0, 1, 2, 16  # streams; a layer's dropout has stream DROPOUT + layer
GIBBS = 1 << 31  # the first of the streams of Boltzmann machines


def philox4x32(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint32]:
    """Ten rounds of Philox on ``counter`` (..., 4) with ``key`` (2,), both 32-bit words."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    k0, k1 = np.asarray(key, np.uint64)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _MASK, (p0 >> _HALF) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & _MASK, (k1 + np.uint64(0xBB67AE85)) & _MASK
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def group_words(seed: int, group: ArrayLike, step: int, stream: int) -> NDArray[np.uint32]:
    """The 32 words of each group, shape ``group.shape + (32,)``: word w of block b belongs to column 8 w + b."""
    block: Array = np.asarray(group, np.uint64)[..., None] * np.uint64(8) + np.arange(8, dtype=np.uint64)
    place = [block & _MASK, block >> _HALF, np.full_like(block, step), np.full_like(block, stream)]
    words = philox4x32(np.stack(place, axis=-1), [seed & 0xFFFFFFFF, seed >> 32])
    return np.swapaxes(words, -1, -2).reshape(*block.shape[:-1], 32)


def random_words(seed: int, stream: int, n: int, step: int = 0) -> NDArray[np.uint32]:
    """The first n words of a stream: group after group, in column order."""
    return group_words(seed, np.arange(-(-n // 32)), step, stream).ravel()[:n]


def _words64(seed: int, stream: int, n: int, step: int) -> NDArray[np.uint64]:
    words = random_words(seed, stream, 2 * n, step).astype(np.uint64)
    return np.asarray(words[1::2] << _HALF | words[::2])


def random_uniform(seed: int, stream: int, n: int, step: int = 0) -> NDArray[np.float64]:
    """In [0, 1) with 53 bits, from two words each, the second on top."""
    return np.asarray((_words64(seed, stream, n, step) >> np.uint64(11)) * 2.0**-53)


def random_normal(seed: int, stream: int, n: int, step: int = 0) -> NDArray[np.float64]:
    """Box and Muller (1958) on pairs of uniforms: first the cosine, then the sine."""
    u = random_uniform(seed, stream, n + n % 2, step).reshape(-1, 2)
    radius, angle = np.sqrt(-2 * np.log(1 - u[:, 0])), 2 * np.pi * u[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:n]


def random_permutation(seed: int, stream: int, n: int, step: int = 0) -> NDArray[np.int64]:
    """Fisher and Yates from the end: the next 64 bits of the stream, as a fraction of i + 1, are the partner of i."""
    order = np.arange(n)
    for i, word in zip(range(n - 1, 0, -1), _words64(seed, stream, max(n - 1, 0), step), strict=True):
        j = int(word) * (i + 1) >> 64
        order[[i, j]] = order[[j, i]]
    return order


def batches(seed: int, n: int, batch_size: int, epoch: int, shuffle: bool = True) -> list[NDArray[np.int64]]:
    """The rows of each step of an epoch."""
    order = random_permutation(seed, SHUFFLE, n, epoch) if shuffle else np.arange(n)
    return [order[first : first + batch_size] for first in range(0, n, batch_size)]


def row_words(seed: int, rows: Array, columns: int, step: int, stream: int) -> NDArray[np.uint32]:
    """A word for each column of each row (given by its position in the data set), shape (len(rows), columns)."""
    n_panels = -(-columns // 32)
    group = np.asarray(rows)[:, None] * n_panels + np.arange(n_panels)
    return group_words(seed, group, step, stream).reshape(len(rows), -1)[:, :columns]


def dropout_scale(seed: int, rows: Array, columns: int, step: int, layer: int, rate: float) -> NDArray[np.float64]:
    """Inverted dropout (Srivastava et al. 2014): 0 with probability ``rate``, else 1 / (1 - rate)."""
    dropped = row_words(seed, rows, columns, step, DROPOUT + layer) < np.uint64(rate * 2.0**32)
    return np.where(dropped, 0.0, 1 / (1 - rate))


def corrupt(
    X: Array,
    kind: str,
    level: Any,
    low: float = 0.0,
    high: float = 1.0,
    *,
    seed: int,
    rows: Array,
    step: int,
    exact: bool = False,
    data: Array | None = None,
    groups: Groups = (),
) -> Array:
    """Corrupt X, whose rows have the positions ``rows`` in the data set (Vincent et al. 2010, section 3.3).

    Masking sets an element to 0 with probability ``level``; salt-and-pepper noise sets it to ``low`` or ``high``, each
    with half that probability; Gaussian noise adds ``level`` times a standard normal number; swap noise takes the same
    column's value in another row of ``data`` (by default X), any of the others alike; dropout masks, and divides the
    rest by ``1 - level`` (Srivastava et al. 2014). ``level`` is one number or one a column. With ``exact``, masking
    hits the same number of elements in each row (see `chosen`). With ``groups`` (see `reference_groups.py`), swap noise
    replaces the columns of a category together, from one row: they share the random words of the first.
    """
    columns = X.shape[1]
    if kind == "none":
        return X.copy()
    if kind == "gaussian":
        return np.asarray(X + level * normal_numbers(seed, rows, columns, step), X.dtype)
    hit = chosen(columns, level, seed=seed, rows=rows, step=step, exact=exact, groups=groups)
    if kind == "masking":
        return np.where(hit, 0, X).astype(X.dtype)
    if kind == "dropout":
        return np.where(hit, 0, X * X.dtype.type(1 / (1 - level))).astype(X.dtype)
    if kind == "salt_and_pepper":
        pepper = row_words(seed, rows, columns, step, NOISE) < _threshold(level) // 2
        return np.where(hit, np.where(pepper, low, high), X).astype(X.dtype)
    data = X if data is None else data
    if len(data) < 2:
        return X.copy()
    words = row_words(seed, rows, columns, step, SWAP)[:, leaders(columns, groups)]
    other = (words * np.uint64(len(data) - 1) >> _HALF).astype(np.int64)
    other += other >= np.asarray(rows)[:, None]  # all rows but the one itself
    return np.where(hit, data[other, np.arange(columns)], X).astype(X.dtype)


def leaders(columns: int, groups: Groups) -> NDArray[np.int64]:
    """For each column the one whose random words it has: its category's first, or itself."""
    found = np.arange(columns)
    for kind, own in group_columns(groups):
        if kind == "category":
            found[own] = own.start
    return found


def chosen(
    columns: int, level: Any, *, seed: int, rows: Array, step: int, exact: bool = False, groups: Groups = ()
) -> NDArray[np.bool_]:
    """Where noise other than Gaussian falls, shape (len(rows), columns).

    An element is chosen if its word is below ``level`` as a 32-bit threshold. With ``exact``, ``level * columns``
    elements of each row are (rounded, halves up), by selection sampling: where m of the n columns left are still
    wanted, the next is taken with probability m / n (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
    """
    first = leaders(columns, groups)
    words = row_words(seed, rows, columns, step, NOISE).astype(np.uint64)[:, first]
    if not exact:
        return np.asarray(words < np.broadcast_to(_threshold(level), columns)[first])
    hit = np.zeros(words.shape, bool)
    wanted = np.full(len(words), int(np.floor(level * columns + 0.5)), np.uint64)
    for column in range(columns):
        hit[:, column] = words[:, column] * np.uint64(columns - column) >> _HALF < wanted
        wanted -= hit[:, column]
    return hit


def _threshold(level: Any) -> NDArray[np.uint64]:
    return (np.asarray(level, np.float64) * 2.0**32).astype(np.uint64)


def normal_numbers(seed: int, rows: Array, columns: int, step: int, stream: int = NOISE) -> NDArray[np.float64]:
    """Box and Muller: words 0 and 1 of a block give the numbers of their two columns, words 2 and 3 theirs."""
    whole = -(-columns // 32) * 32
    words = row_words(seed, rows, whole, step, stream).reshape(len(rows), -1, 2, 2, 8)  # panel, pair, word, block
    u = (words + 0.5) / 2.0**32
    radius, angle = np.sqrt(-2 * np.log(u[..., 0, :])), 2 * np.pi * u[..., 1, :]
    numbers = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-2)
    return np.asarray(numbers.reshape(len(rows), whole)[:, :columns])
