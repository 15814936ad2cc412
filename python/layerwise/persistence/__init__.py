"""Model files: the safetensors layout, with everything but the arrays as JSON of a closed schema in its metadata.

A file is written beside its place and put there whole. Reading one runs no code: each name in it is looked up in a
fixed list, and anything unknown, missing or damaged is refused. `schema` says what the JSON holds.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from layerwise.persistence.schema import FormatError, decode_estimator, encode_estimator

__all__ = ["FormatError", "load", "register_pipeline", "save"]

Array = NDArray[Any]

# Pipelines that a file may hold: the name in the file, and the class with what encodes and decodes it.
PIPELINES: dict[str, tuple[type, Callable[..., Any], Callable[..., Any]]] = {}

# The one entry of the metadata, so that a model has one file: key FORMAT; value: version, checksum, JSON, in lines.
FORMAT = "layerwise"
VERSION = "1"  # of the schema; raised when a file of the new kind would not load in an older release
LONGEST_HEADER = 64 * 2**20
DTYPES = {"F32", "F64", "U32"}


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
    _write(os.path.realpath(path), _encode(config, tensors))


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
    with open(path, "rb") as file:
        data = file.read()
    try:
        return _decode(data)
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise FormatError(
            f"{os.fspath(path)}: not a Layerwise file, or damaged ({type(error).__name__}: {error})"
        ) from error


def _encode(config: str, tensors: dict[str, Array]) -> bytes:
    from safetensors.numpy import save as pack

    header, body = _parts(pack(tensors))
    data: bytes = pack(tensors, {FORMAT: f"{VERSION}\n{_checksum(config, header, body)}\n{config}"})
    length = int.from_bytes(data[:8], "little")
    if length > LONGEST_HEADER:  # load would refuse it
        raise ValueError(
            f"The model's settings, labels and history take {length} bytes; a file holds at most {LONGEST_HEADER}."
        )
    return data


def _decode(data: bytes) -> Any:
    from safetensors import SafetensorError
    from safetensors.numpy import load as unpack

    header, body = _parts(data)
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or set(metadata) != {FORMAT}:
        raise FormatError("not a Layerwise file")
    version, checksum, config = metadata[FORMAT].split("\n", 2)
    if version != VERSION:
        raise FormatError(f"format version {version!r}; this release reads version {VERSION!r}")
    if checksum != _checksum(config, header, body):
        raise FormatError("damaged: the checksum does not fit the content")
    if any(entry["dtype"] not in DTYPES for name, entry in header.items() if name != "__metadata__"):
        raise FormatError("an array has a dtype that no Layerwise file holds")
    try:
        tensors = unpack(data)
    except SafetensorError as error:
        raise FormatError(f"not in the safetensors layout ({error})") from None
    estimator = _decode_content(_json(config), tensors)
    if tensors:
        raise FormatError(f"arrays that nothing refers to: {sorted(tensors)}")
    return estimator


def _decode_content(data: Any, tensors: dict[str, Array]) -> Any:
    if not isinstance(data, dict) or "pipeline" not in data:
        return decode_estimator(data, tensors)
    if set(data) != {"pipeline", "content"} or data["pipeline"] not in PIPELINES:
        raise FormatError(f"unknown pipeline {data['pipeline']!r}")
    return PIPELINES[data["pipeline"]][2](data["content"], tensors)


def _parts(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Split a safetensors file into its header (8 bytes of length, then JSON) and its body."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, LONGEST_HEADER):
        raise FormatError("not a Layerwise file, or cut short")
    header = _json(data[8 : 8 + length].decode("utf-8"))
    if not isinstance(header, dict):
        raise FormatError("not a Layerwise file")
    return header, memoryview(data)[8 + length :]


def _checksum(config: str, header: dict[str, Any], body: memoryview) -> str:
    """Return the SHA-256 of the settings, of the arrays' names, shapes and places, and of their bytes."""
    table = {name: entry for name, entry in header.items() if name != "__metadata__"}
    digest = hashlib.sha256(json.dumps([config, table], sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise FormatError("a name occurs twice in the header")
    return result


def _refuse_constant(text: str) -> Any:
    raise FormatError(f"{text} in the header")


def _write(path: str, data: bytes) -> None:
    """Put `data` at `path` whole or not at all: a temporary file in the same folder, synced, renamed."""
    mode = os.stat(path).st_mode if os.path.exists(path) else None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if mode is not None and not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".layerwise-{secrets.token_hex(8)}.tmp")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # the new file stands; not every file system can sync a folder
        _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the renaming itself survive a loss of power."""
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
