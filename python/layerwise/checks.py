"""Checks of what users pass in: each complaint names the parameter, what is allowed, and what came.

Nothing here imports scikit-learn, so the engine's Python side runs where only NumPy is installed.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar

import numpy as np

from layerwise import _core

T = TypeVar("T")


class InvalidParameterError(ValueError, TypeError):
    """A parameter's value is not one of those allowed. Both a ValueError and a TypeError, as in scikit-learn."""


class ScaleWarning(UserWarning):
    """The data's scale cannot work with the settings, for example values outside [0, 1] under a sigmoid decoder."""


class ColumnWarning(UserWarning):
    """A column of a table is probably not what `tabular_pipeline` takes it for, or not of use as it is."""


class TimeLimitWarning(UserWarning):
    """`max_seconds` was over before the fit was."""


MOST_THREADS = 2**15

ENGINE_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

# Of the decoders whose outputs are bounded.
DECODER_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, np.inf), "softplus": (0.0, np.inf)}


class SeenRowsWarning(UserWarning):
    """Frozen layers given as `pretraining` have seen more rows than the fit has: perhaps those of a validation part."""


class Parameter(NamedTuple):
    """Whose setting is being checked: ``Parameter("PretrainedClassifier", "pretraining__corruption__rate")``."""

    owner: str
    name: str = ""

    def child(self, name: str) -> "Parameter":
        """Return the parameter `name` of this one, in scikit-learn's double-underscore notation."""
        return Parameter(self.owner, f"{self.name}__{name}" if self.name else name)

    def error(self, allowed: str, value: object) -> InvalidParameterError:
        """Return the exception to raise for `value`."""
        return InvalidParameterError(
            f"The {self.name!r} parameter of {self.owner} must be {allowed}. Got {value!r} instead."
        )


def is_number(value: Any, kind: type) -> bool:
    """Return whether `value` is of the kind Real or Integral; True, False and time differences are not numbers."""
    if type(value) is int or (type(value) is float and kind is Real):  # the most, without asking the abstract classes
        return True
    return isinstance(value, kind) and not isinstance(value, (bool, np.bool_, np.timedelta64))


def is_auto(value: Any) -> bool:
    """Return whether `value` is the string "auto"."""
    return isinstance(value, str) and value == "auto"


def real(
    where: Parameter,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` as a float if it is a finite number between `low` and `high`, which are included unless open."""
    try:
        number = float(value) if is_number(value, Real) else np.nan
    except OverflowError:  # an integer beyond all floats
        number = np.inf
    within = (low < number if open_low else low <= number) and (number < high if open_high else number <= high)
    if not (within and math.isfinite(number)):
        left, right = "(" if open_low or low == -np.inf else "[", ")" if open_high or high == np.inf else "]"
        raise where.error(f"a finite number in {left}{low:g}, {high:g}{right}", value)
    return number


def share(where: Parameter, value: Any, others: str = "") -> float:
    """Return the part of an average that is its past, a number in [0, 1); `others`: what else is allowed."""
    try:
        number = real(where, value, 0, 1, open_high=True)
    except InvalidParameterError:
        raise where.error(f"a finite number in [0, 1){others}", value) from None
    if np.float32(number) == 1:  # as the engine rounds it
        raise where.error(f"a number in [0, 1) that float32 can tell from 1, at most 0.99999997{others}", value)
    return number


def integer(where: Parameter, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """Return `value` as an int if it is a whole number between `low` and `high`, both included."""
    if not is_number(value, Integral) or not low <= int(value) <= high:
        raise where.error(f"an integer in [{low}, {high}]", value)
    return int(value)


def boolean(where: Parameter, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise where.error("True or False", value)
    return bool(value)


def choice(where: Parameter, value: Any, options: Sequence[str]) -> str:
    """Return `value` if it is one of the strings in `options`."""
    if not isinstance(value, str) or value not in options:
        raise where.error(f"one of {list(options)}", value)
    return value


def row_weights(where: Parameter, value: Any, n_rows: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    """Return weights of the rows in `dtype`, divided by the greatest (only their ratios matter); None stays None."""
    if value is None:
        return None
    try:
        weights = np.asarray(value).astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        weights = np.empty(0)
    if weights.shape != (n_rows,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise where.error(f"None or {n_rows} finite numbers, none negative", value)
    if not weights.any():
        raise where.error("None or weights of which at least one is not zero", value)
    return np.ascontiguousarray(weights / weights.max(), dtype=dtype)


def is_sequence(value: Any) -> bool:
    """Return whether `value` is a list, a tuple, a range or a NumPy vector."""
    return isinstance(value, (list, tuple, range)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def per_layer(where: Parameter, value: Any, n_layers: int, check: Callable[[Parameter, Any], T]) -> list[T]:
    """Check one value for all layers, or a list or tuple with one value a layer; return one value a layer."""
    if is_sequence(value):
        if len(value) != n_layers:
            raise where.error(f"one value, or a list of {n_layers} values (one a layer)", value)
        return [check(where, one) for one in value]
    return [check(where, value)] * n_layers


def layer_sizes(where: Parameter, value: Any) -> tuple[int, ...]:
    """Return the sizes of the hidden layers as a tuple of positive integers; one integer means one layer."""
    if is_sequence(value):
        if len(value) == 0:
            raise where.error("a positive integer or a non-empty sequence of them", value)
        sizes = list(value)
    else:
        sizes = [value]
    for size in sizes:
        if not is_number(size, Integral) or not 1 <= int(size) <= 2**24:
            raise where.error(f"a positive integer or a sequence of them, each at most {2**24}", value)
    return tuple(int(size) for size in sizes)


def bfloat16(where: Parameter, value: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether a precision is bfloat16; refuse what is not known, does not fit the dtype or this processor."""
    choice(where, value, ["auto", "bfloat16"])
    return value == "bfloat16" and _bfloat16(where, value, dtype, '"auto"')


def bfloat16_flag(where: Parameter, value: Any, dtype: np.dtype[Any]) -> bool:
    """Return `value` if it is True or False; refuse True where `bfloat16` refuses the precision."""
    return boolean(where, value) and _bfloat16(where, value, dtype, "False")


def predicts_in_bfloat16(where: Parameter, value: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether predictions are in bfloat16; where only the processor has none, they are more exact without it."""
    if is_auto(value):
        return False
    choice(where, value, ["auto", "bfloat16"])
    if dtype != np.float32:
        raise where.error('"auto" in predictions of a model that was fitted on float64 data', value)
    return _core.has_bfloat16()


def _bfloat16(where: Parameter, value: Any, dtype: np.dtype[Any], without: str) -> bool:
    if dtype != np.float32:
        with_it = f"{value!r}".replace("'", '"')
        raise where.error(
            f"{without} for float64 data, or {with_it} with float32 data (X.astype(numpy.float32))", value
        )
    if not _core.has_bfloat16():
        allowed = f"{without} here: bfloat16 needs a processor with AVX512-BF16 and LAYERWISE_ISA unset or x86-64-v4"
        raise where.error(allowed, value)
    return True


def threads(where: Parameter, value: Any) -> int:
    """Return the thread count for `n_jobs`: 0 (the engine chooses) for None; negatives count from all cores."""
    if value is None:
        return 0
    if not is_number(value, Integral) or value == 0 or abs(int(value)) > MOST_THREADS:
        negative = f"a negative one from -{MOST_THREADS} on (-1: all cores, -2: all but one, ...)"
        raise where.error(f"None, an integer from 1 to {MOST_THREADS}, or {negative}", value)
    count = int(value)
    return count if count > 0 else max(1, _core.default_threads() + 1 + count)


def engine_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype the engine computes in for data of `dtype`.

    float32 and float64 stay; bool, 8- and 16-bit integers and float16 become float32, which holds them exactly; all
    other numbers become float64.
    """
    if dtype.kind == "f" and dtype.itemsize == 4:
        return np.dtype(np.float32)
    if dtype.kind == "b" or (dtype.kind in "iuf" and dtype.itemsize <= 2):
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def dtype_of(X: Any, converted: np.ndarray[Any, Any]) -> np.dtype[Any]:
    """Return the dtype of data of which NumPy has made the array `converted`.

    It is that array's, but for frames with columns that can miss values (pandas' "Float32" and "boolean", pyarrow's),
    which become float64 or objects whatever they held: then the one that NumPy's columns of these kinds would share.
    """
    kinds = X.dtypes if hasattr(X, "dtypes") and getattr(X, "ndim", 0) == 2 else ()
    bare = [getattr(kind, "numpy_dtype", kind) for kind in kinds]
    dtype: np.dtype[Any] = converted.dtype
    if any(hasattr(kind, "numpy_dtype") for kind in kinds) and all(
        isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in bare
    ):
        dtype = np.result_type(*bare)
    return dtype


def ready(X: Any, dtype: np.dtype[Any], estimator: Any) -> np.ndarray[Any, Any] | None:
    """Return X in that dtype if it is a finite matrix about which a fitted estimator has no questions.

    So are aligned matrices of the dtype in C order, which are not copied, and all of the engine's other dtype. None is
    no refusal: the full checks then say what is wrong, if anything is.
    """
    if type(X) is not np.ndarray or X.ndim != 2 or not len(X) or X.dtype not in ENGINE_DTYPES:
        return None
    if X.shape[1] != estimator.n_features_in_ or hasattr(estimator, "feature_names_in_"):
        return None
    if X.dtype != dtype:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then goes the long way
            X = X.astype(dtype, order="C")
    flags = X.flags
    if not (flags.c_contiguous and flags.aligned):
        return None
    return X if _core.squares_are_finite(X) else None  # a sum that overflows only sends X the long way


def as_engine(X: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str = "X") -> np.ndarray[Any, Any]:
    """Return numeric `X` C-contiguous and aligned in the engine's `dtype`, without a copy if it is so already.

    Raises
    ------
    ValueError
        If a value is not finite after the cast; the message names the first such column.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is reported below, with its column
        out = np.require(X, dtype.newbyteorder("="), ["C", "A"])  # in C order and aligned
        total = out.sum()
    if not np.isfinite(total) and not np.isfinite(out).all():  # the sum is a quick first look
        column = int(np.flatnonzero(~np.isfinite(out).all(axis=0))[0])
        raise ValueError(f"Input {name} contains NaN, infinity or a value too large for {dtype} in column {column}.")
    return out


def as_matrix(X: Any, name: str = "X") -> np.ndarray[Any, Any]:
    """Return `X` as a finite, non-empty, C-contiguous matrix of the engine's dtype (see `engine_dtype`)."""
    refuse_odd_dtypes(X, name)
    given, X = X, np.asarray(X)
    refuse_odd_dtypes(X, name)
    if X.ndim != 2:
        raise ValueError(f"{name} must be a matrix (2 dimensions). Got {X.ndim} dimensions, shape {X.shape}.")
    if 0 in X.shape:
        raise ValueError(f"{name} must have at least one row and one column. Got shape {X.shape}.")
    return as_engine(X, engine_dtype(dtype_of(given, X)), name)


def refuse_odd_dtypes(X: Any, name: str = "X") -> None:
    """Raise TypeError if `X` is a masked array or holds anything but numbers, ValueError if these are complex."""
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be ignored. Fill it first: {name}.filled(value).")
    kind = getattr(getattr(X, "dtype", None), "kind", "f")
    if kind == "c":
        raise ValueError(f"Complex data not supported. Got {name} of dtype {X.dtype}.")
    if isinstance(kind, str) and kind in "mMVSU":
        raise TypeError(f"{name} must hold real numbers. Got an array of dtype {X.dtype}.")


def shape(owner: str, name: str, array: np.ndarray[Any, Any], *sizes: int | str) -> None:
    """Refuse `array` unless it has these sizes; a word stands for any size."""
    fits = len(array.shape) == len(sizes)
    for wanted, size in zip(sizes, array.shape, strict=False):
        fits = fits and (wanted == size or isinstance(wanted, str))
    if not fits:
        text = "(" + ", ".join(map(str, sizes)) + ("," if len(sizes) == 1 else "") + ")"
        raise ValueError(f"{owner}: {name} must have shape {text}. Got {array.shape}.")


def seed_key(seed: Any, where: Parameter | None = None) -> int:
    """Return `seed`, checked to be an integer of at most 64 bits."""
    return integer(where or Parameter("this function", "seed"), seed, 0, 2**64 - 1)


def subkey(seed: int, *path: int) -> int:
    """Return an independent 64-bit key for each path of small integers, derived from `seed` by Philox.

    Every consumer of randomness (a layer's start, a stage's noise, the validation split) has its own path, so that
    adding one never shifts another.
    """
    for index in path:
        low, high = (int(word) for word in _core.random_words(seed, index, 2))
        seed = low | high << 32
    return seed


def warn_of_scale(layer: int, decoder: str, low: float, high: float) -> None:
    """Warn if a layer's targets, from `low` to `high`, are not all in its decoder's range."""
    least, greatest = DECODER_RANGES.get(decoder, (-np.inf, np.inf))
    if low >= least and high <= greatest:
        return
    span = "values from 0 up" if greatest == np.inf else f"values in ({least:g}, {greatest:g})"
    warnings.warn(
        f"layer {layer}: a {decoder} decoder yields {span}, but its targets lie in [{low:.4g}, {high:.4g}]. "
        'Scale them to [0, 1] (scikit-learn\'s MinMaxScaler), or use decoder="identity".',
        ScaleWarning,
        stacklevel=4,
    )
