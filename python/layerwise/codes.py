"""Where pretraining keeps the codes that the next layer learns from, in a bounded part of the memory.

The codes of one layer for all rows are often larger than the data. They can lie in memory, in memory as float16 or
bfloat16, in a file that the system pages in and out, or nowhere: then they are computed again from the data, a few
batches at a time. The engine gives each row the random numbers of its position in the data set, and each output the
same bits whatever rows are beside it, so all of these train to the same bits, except float16 and bfloat16, which round
the codes.
"""

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks, corruption
from layerwise.checks import Parameter
from layerwise.keeping import memory_of, set_memory
from layerwise.network import DenseLayer, Network
from layerwise.optimizers import LineSearches

Array = NDArray[Any]

CACHES = ("auto", "memory", "float16", "bfloat16", "file", "recompute")
ROUNDED = ("float16", "bfloat16")  # the caches that do not give back the bits of the codes
BLOCK = 1024  # rows that are looked at or made at a time
PART = 8_000_000  # bytes of the rows that the engine is given at a time, about


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes that are made when they are asked for: ``codes[rows]`` is an array, for a slice or row numbers.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        Of what they are given as.
    make : callable
        On a slice or an array of row numbers.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    make: Callable[[Any], Array]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        """Return the codes of some rows."""
        return self.make(rows)


def check(where: Parameter, settings: Any, layers: Sequence[Any]) -> None:
    """Raise InvalidParameterError if the cache's settings are not allowed, or not with those of the layers."""
    cache = checks.choice(where.child("code_cache"), settings.code_cache, CACHES)
    checks.real(where.child("code_cache_limit"), settings.code_cache_limit, 0)
    for layer in layers[1:]:  # the first one learns from the data
        obstacle = needs_all_rows(layer)
        if obstacle and cache in (*ROUNDED, "recompute"):
            raise where.child("code_cache").error(f'"auto", "memory" or "file" with {obstacle}', cache)


def needs_all_rows(settings: Any) -> str:
    """Return what in a layer's settings needs codes that lie somewhere as they are; "" if nothing does."""
    if getattr(settings, "simultaneous", False):
        return "simultaneous=True"
    if isinstance(getattr(settings, "corruption", None), corruption.Swap):
        return "Swap noise"
    return "line searches" if isinstance(settings.optimizer, LineSearches) else ""


def choose(cache: str, limit: float, n_bytes: int, obstacle: str) -> str:
    """Return the kind of cache: the one asked for, or for "auto" the first that fits of those with the same bits.

    Parameters
    ----------
    cache : str
        One of `CACHES`.
    limit : float
        Megabytes that may be kept in memory.
    n_bytes : int
        Size of the codes.
    obstacle : str
        What needs them to lie somewhere as they are; "": nothing.
    """
    if cache != "auto":
        return cache
    if n_bytes <= limit * 1e6:
        return "memory"
    roomy = shutil.disk_usage(tempfile.gettempdir()).free >= 2 * n_bytes
    return "file" if roomy or obstacle else "recompute"


def keep(
    kind: str,
    encode: Callable[[Array], Array],
    X: Any,
    n_columns: int,
    below: Sequence[DenseLayer],
    data: Array,
    threads: int,
) -> Any:
    """Return a layer's codes as an array or as `Codes`.

    Parameters
    ----------
    kind : str
        As `choose` returns it.
    encode : callable
        Returns the codes of rows of X.
    X : array or Codes of shape (n_rows, n_inputs)
        What the layer learned from.
    n_columns : int
        Units of the layer.
    below : sequence of DenseLayer
        The layer and all that are below it.
    data : ndarray of shape (n_rows, n_features)
        What the lowest of them learned from.
    threads : int
        Of what is computed again; 0: a cost model chooses.

    Raises
    ------
    ValueError
        If the codes are too large for float16 or bfloat16.
    OSError
        If there is no room for the file.
    """
    shape, dtype = (len(X), n_columns), X.dtype
    if kind == "memory":
        return encode(X) if isinstance(X, np.ndarray) else np.concatenate([encode(rows) for rows in blocks(X)])
    if kind == "file":
        # Written and only then mapped: a full disk is an OSError here, where in a mapped page it would be a crash.
        with tempfile.TemporaryFile() as file:
            for rows in blocks(X):
                file.write(encode(rows).tobytes())
            file.flush()
            return np.memmap(file, dtype, "r+", shape=shape)  # the file is gone when the array is
    if kind in ROUNDED:
        return _halves(kind, encode, X, shape)
    network = Network(below)
    return Codes(shape, dtype, lambda rows: network.apply(np.ascontiguousarray(data[rows]), threads=threads))


def _halves(kind: str, encode: Callable[[Array], Array], X: Any, shape: tuple[int, int]) -> Codes:
    """Return codes that are kept in 16 bits a number, made and given back a few rows at a time."""
    pack, unpack, largest, said = _PACKING[kind]
    halves, first = np.empty(shape, np.uint16), 0
    for rows in blocks(X):
        block = encode(rows)
        if not (np.abs(block) < largest).all():
            greatest = np.abs(block).max()
            wider = '"bfloat16", ' if kind == "float16" and greatest < _PACKING["bfloat16"][2] else ""
            raise ValueError(
                f'code_cache="{kind}" holds numbers up to {said}. Got a code of size {greatest:.6g}: '
                f'use {wider}"file" or "memory".'
            )
        halves[first : first + len(rows)] = pack(block)
        first += len(rows)
    return Codes(shape, X.dtype, lambda rows: unpack(halves[rows]).astype(X.dtype, copy=False))


def _to_bfloat16(block: Array) -> NDArray[np.uint16]:
    """Return the upper half of the bits as float32, rounded to nearest with ties to even: 8 significant bits."""
    numbers = block.astype(np.float32)
    bits = numbers.view(np.uint32)
    if block.dtype != np.float32:
        # Two roundings are one if the first goes towards 0 and sets the last bit where it has lost anything.
        bits -= np.abs(numbers) > np.abs(block)
        bits |= numbers != block
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)


def _from_bfloat16(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    bits = halves.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


#: How numbers become 16 bits and numbers again; the least number that is too large, and the largest, as it is said.
_PACKING: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], float, str]] = {
    "float16": (
        lambda x: x.astype(np.float16).view(np.uint16),
        lambda halves: halves.view(np.float16),
        65520.0,
        "65,504",
    ),
    "bfloat16": (_to_bfloat16, _from_bfloat16, 2.0**128 - 2.0**119, "3.39e38"),
}


def blocks(X: Any) -> Iterator[Array]:
    """Yield the rows, some at a time."""
    for first in range(0, len(X), BLOCK):
        yield X[first : first + BLOCK]


def extremes(X: Any) -> tuple[float, float]:
    """Return the least and the greatest number."""
    if isinstance(X, np.ndarray):
        return float(X.min()), float(X.max())
    found = [(float(rows.min()), float(rows.max())) for rows in blocks(X)]
    return min(low for low, _ in found), max(high for _, high in found)


def column_means(X: Any, row_weights: Array | None) -> NDArray[np.float64]:
    """Return each column's (weighted) mean, summed in the same order however the rows are kept."""
    shares = np.ones(len(X)) if row_weights is None else row_weights.astype(np.float64)
    total, first = np.zeros(X.shape[1]), 0
    for rows in blocks(X):
        total += (shares[first : first + len(rows), None] * rows).sum(axis=0)
        first += len(rows)
    means: NDArray[np.float64] = total / shares.sum()
    return means


class Plan:
    """A plan that is given the rows of a few steps at a time, with the bits of one that has them all.

    Parameters
    ----------
    plan : object with the engine's `run`, `evaluate` and the like
    recipe : Recipe of the engine
    """

    def __init__(self, plan: Any, recipe: _core.Recipe) -> None:
        self._plan, self._recipe = plan, recipe
        self._order: tuple[int, Array] | None = None  # of the rows, in the epoch of that number

    def run(
        self,
        X: Codes,
        Y: None,
        first_step: int,
        steps: int,
        rates: Array,
        momenta: Array | None = None,
        row_weights: Array | None = None,
        so_far: tuple[float, float] = (0.0, 0.0),
    ) -> _core.RunStats:
        """Do the steps `first_step` to `first_step` + `steps` - 1."""
        size = min(self._recipe.batch_size, len(X))
        per_epoch = math.ceil(len(X) / size)
        per_part = max(1, PART // (size * X.shape[1] * X.dtype.itemsize))
        step, end = first_step, first_step + steps
        while True:
            epoch, place = divmod(step, per_epoch)
            count = min(per_part, per_epoch - place, end - step)
            ids = self._ids(epoch, len(X))[place * size : (place + count) * size]
            own = slice(step - first_step, step - first_step + count)
            weights = None if row_weights is None else row_weights[ids]
            of_step = rates[own], None if momenta is None else momenta[own]
            stats: _core.RunStats = self._plan.run(X[ids], Y, step, count, *of_step, weights, so_far, ids)
            step, so_far = step + count, stats.sums
            if step == end or not stats.finite:
                return stats

    def evaluate(self, X: Array, Y: Array | None = None, row_weights: Array | None = None) -> float:
        """Return the loss without noise."""
        return float(self._plan.evaluate(X, Y, row_weights))

    @property
    def standing(self) -> Any:
        """Where the last run ended, as the engine's plan says it."""
        return self._plan.standing

    def memory_arrays(self) -> dict[str, Array]:
        """Return what the plan inside remembers."""
        return memory_of(self._plan)

    def set_memory_arrays(self, arrays: dict[str, Array]) -> None:
        """Give the plan inside what another remembered."""
        set_memory(self._plan, arrays)

    def _ids(self, epoch: int, n_rows: int) -> Array:
        if self._order is None or self._order[0] != epoch:  # the order in which the engine itself would take them
            self._order = epoch, _core.random_permutation(self._recipe.seed, 0, n_rows, epoch)
        return self._order[1]
