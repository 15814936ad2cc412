"""Model files: the safetensors layout, with everything but the arrays as JSON of a closed schema in its metadata.

A file is written beside its place and put there whole. Reading one runs no code: each name in it is looked up in a
fixed list, and anything unknown, missing or damaged is refused. `schema` says what a model's JSON holds, `checkpoint`
what that of a fit on its way holds, `files` what both kinds of file share.
"""

import json
import os
from typing import Any

from numpy.typing import NDArray

from layerwise.persistence import files
from layerwise.persistence.parts import FormatError
from layerwise.persistence.schema import decode_estimator, encode_estimator

__all__ = ["FormatError", "load", "save"]

Array = NDArray[Any]


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file.

    Parameters
    ----------
    estimator : PretrainedClassifier, PretrainedRegressor or StackedAutoencoder
    path : str or path-like

    Raises
    ------
    TypeError
        If a parameter or a label is of a kind that a file cannot hold.
    ValueError
        If everything but the arrays takes more than 64 MiB.
    OSError
        If the file cannot be written, or if something that is not a regular file stands there. An existing file is
        then left as it was.
    """
    tensors: dict[str, Array] = {}
    config = json.dumps(encode_estimator(estimator, tensors, ""), allow_nan=False, separators=(",", ":"))
    files.write(os.path.realpath(path), files.pack(files.MODEL, config, tensors))


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that `save` wrote. No code of the file is run, so that any file may be tried.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    PretrainedClassifier, PretrainedRegressor or StackedAutoencoder
        Equal to the saved one bit for bit.

    Raises
    ------
    FormatError
        If the file is damaged, is not a Layerwise file, or is of a version this release does not know.
    OSError
        If the file cannot be read.
    """
    return files.read(path, _decode)


def _decode(data: bytes) -> Any:
    config, tensors = files.unpack(files.MODEL, data)
    estimator = decode_estimator(config, tensors)
    if tensors:
        raise FormatError(f"arrays that nothing refers to: {sorted(tensors)}")
    return estimator
