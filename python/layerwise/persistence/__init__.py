"""Model files: the safetensors layout, with everything but the arrays as JSON of a closed schema in its metadata.

A file is written beside its place and put there whole. Reading one runs no code: each name in it is looked up in a
fixed list, and anything unknown, missing or damaged is refused. `schema` says what a model's JSON holds, `checkpoint`
what that of a fit on its way holds, `files` what both kinds of file share.
"""

import json
import os
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from layerwise.persistence import files
from layerwise.persistence.parts import FormatError
from layerwise.persistence.schema import decode_estimator, encode_estimator

__all__ = ["FormatError", "load", "register_pipeline", "save"]

Array = NDArray[Any]

# Pipelines that a file may hold: the name in the file, and the class with what encodes and decodes it.
PIPELINES: dict[str, tuple[type, Callable[..., Any], Callable[..., Any]]] = {}


def register_pipeline(name: str, kind: type, encode: Callable[..., Any], decode: Callable[..., Any]) -> None:
    """Let files hold pipelines of the class `kind`.

    Parameters
    ----------
    name : str
        In the file.
    kind : type
    encode : callable on (pipeline, tensors) that returns JSON
    decode : callable on (JSON, tensors) that returns the pipeline
    """
    PIPELINES[name] = (kind, encode, decode)


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file.

    Parameters
    ----------
    estimator : estimator of this package, or a pipeline that tabular_pipeline made
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
    content: Any = None
    for name, (kind, encode, _) in PIPELINES.items():
        if type(estimator) is kind:
            content = {"pipeline": name, "content": encode(estimator, tensors)}
    if content is None:
        content = encode_estimator(estimator, tensors, "")
    config = json.dumps(content, allow_nan=False, separators=(",", ":"))
    files.write(path, files.pack(files.MODEL, config, tensors))


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that `save` wrote. No code of the file is run, so that any file may be tried.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    estimator or TabularPipeline
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
    estimator = _decode_content(config, tensors)
    if tensors:
        raise FormatError(f"arrays that nothing refers to: {sorted(tensors)}")
    return estimator


def _decode_content(data: Any, tensors: dict[str, Array]) -> Any:
    if not isinstance(data, dict) or "pipeline" not in data:
        return decode_estimator(data, tensors)
    if set(data) != {"pipeline", "content"} or data["pipeline"] not in PIPELINES:
        raise FormatError(f"unknown pipeline {data['pipeline']!r}")
    return PIPELINES[data["pipeline"]][2](data["content"], tensors)
