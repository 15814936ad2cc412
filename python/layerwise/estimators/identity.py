"""What makes two fits the same: their settings by name, and checksums of their data."""

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator

from layerwise import __version__, _core, codes
from layerwise.network import DenseLayer
from layerwise.persistence.schema import encode_value
from layerwise.settings import Settings

Array = NDArray[Any]

# An estimator's parameters that change no bit of a training that is not ended early; random_state counts by its key.
IRRELEVANT = {"n_jobs", "random_state", "verbose", "callbacks", "max_seconds", "checkpoint", "memory", "warm_start"}
IRRELEVANT |= {"contamination"}  # it counts afterwards


def arithmetic() -> dict[str, str]:
    """Return what decides on the bits beside settings and data: the version, and the kind of processor."""
    fused = "without" if _core.isa() == "x86-64-v2" else "with"
    return {"version": __version__, "processor": f"{fused} fused multiply-add"}


EXACT_CACHES = set(codes.CACHES) - set(codes.ROUNDED)  # the same bits wherever the codes are kept


def of_parameters(params: dict[str, Any], irrelevant: Collection[str] = IRRELEVANT) -> dict[str, str]:
    """Return an estimator's parameters in words, those inside settings by their own names; without the irrelevant ones.

    Names inside settings are others': the memory of `LBFGS` counts.

    Raises
    ------
    TypeError
        If a value is of a kind that no file can hold.
    """
    told: dict[str, str] = {}
    for name, value in params.items():
        if name in irrelevant or name == "code_cache_limit" or (name == "code_cache" and value in EXACT_CACHES):
            continue
        if isinstance(value, Settings):
            encode_value(value, {}, "", name)  # what no file can hold is refused here
            told[name] = type(value).__name__
            inner = value.get_params(deep=False)
            told |= {f"{name}__{key}": text for key, text in of_parameters(inner, ()).items()}
        else:
            told[name] = in_words(value, name)
    return told


def in_words(value: Any, name: str = "") -> str:
    """Return the value of the parameter `name`, or an array, in words."""
    if isinstance(value, np.ndarray) and not name:
        return of_array(value)
    inner = value.estimator if isinstance(value, FrozenEstimator) else value
    if hasattr(inner, "network_"):
        return f"a fitted {type(inner).__name__} with checksum {of_layers(inner.network_.layers)}"
    if isinstance(value, (tuple, range)):
        value = list(value)
    return json.dumps(encode_value(value, {}, "", name))


def of_layers(layers: Sequence[DenseLayer]) -> str:
    """Return a checksum of layers: their weights, and which activations they have."""
    arrays = [array for one in layers for array in (one.weights, one.bias, one.parameter, one.normalization)]
    parts = [of_array(array) for array in arrays if array is not None]
    return checksum([*parts, *(f"{one.activation} {one.tied_to}" for one in layers)])


def of_array(array: Any) -> str:
    """Return shape, dtype and checksum of an array in words; of None, that it is None."""
    if array is None:
        return "None"
    array = np.asarray(array)
    content = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    digest = hashlib.sha256(content.data if content.size else b"")  # X is read in place
    return f"{' x '.join(map(str, array.shape))} {array.dtype}, checksum {digest.hexdigest()[:16]}"


def checksum(texts: Sequence[str]) -> str:
    """Return a checksum of texts in their order."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]
