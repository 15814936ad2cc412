"""Files of the safetensors layout, checked to the bit and written whole: what model files and checkpoints share."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import NDArray

from layerwise.persistence.parts import FormatError

Array = NDArray[Any]
T = TypeVar("T")

# The one entry of the metadata, so that a file's content has one form. Key: the kind of file; value: version, checksum,
# JSON, in lines.
MODEL, CHECKPOINT = "layerwise", "layerwise-checkpoint"
WHAT = {MODEL: "model file", CHECKPOINT: "checkpoint"}
VERSIONS = {MODEL: "1", CHECKPOINT: "1"}  # of the schema; raised when a new file would not load in an older release
LONGEST_HEADER = 64 * 2**20
DTYPES = {"F32", "F64", "U32"}


def read(path: str | os.PathLike[str], decode: Callable[[bytes], T]) -> T:
    """Return what `decode` makes of a file's content; whatever it stumbles over becomes a FormatError.

    Raises
    ------
    FormatError
        If the content is not what it should be.
    OSError
        If the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        return decode(data)
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise FormatError(
            f"{os.fspath(path)}: not a Layerwise file, or damaged ({type(error).__name__}: {error})"
        ) from error


def pack(kind: str, config: str, tensors: dict[str, Array]) -> bytes:
    """Return the content of a file of that kind: JSON and arrays."""
    from safetensors.numpy import save as layout

    header, body = _parts(layout(tensors))
    data: bytes = layout(tensors, {kind: f"{VERSIONS[kind]}\n{_checksum(config, header, body)}\n{config}"})
    length = int.from_bytes(data[:8], "little")
    if length > LONGEST_HEADER:  # load would refuse it
        raise ValueError(
            f"Its settings, labels and history take {length} bytes; a {WHAT[kind]} holds at most {LONGEST_HEADER}."
        )
    return data


def unpack(kind: str, data: bytes) -> tuple[Any, dict[str, Array]]:
    """Return the JSON and the arrays of a file's content; raise FormatError for anything but that kind of file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as arrays_of

    header, body = _parts(data)
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or len(metadata) != 1 or not set(metadata) <= set(WHAT):
        raise FormatError("not a Layerwise file")
    if set(metadata) != {kind}:
        raise FormatError(f"a {WHAT[next(iter(metadata))]}, not a {WHAT[kind]}")
    version, checksum, config = metadata[kind].split("\n", 2)
    if version != VERSIONS[kind]:
        raise FormatError(f"format version {version!r}; this release reads version {VERSIONS[kind]!r}")
    if checksum != _checksum(config, header, body):
        raise FormatError("damaged: the checksum does not fit the content")
    if any(entry["dtype"] not in DTYPES for name, entry in header.items() if name != "__metadata__"):
        raise FormatError("an array has a dtype that no Layerwise file holds")
    try:
        tensors = arrays_of(data)
    except SafetensorError as error:
        raise FormatError(f"not in the safetensors layout ({error})") from None
    return _json(config), tensors


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


def check_place(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return what is known of the file at `path`, None where there is none yet.

    Raises
    ------
    OSError
        If no file can be put there: something else stands there, or its folder does not exist.
    """
    given, place = os.fspath(path), os.path.realpath(path)
    if os.path.exists(place):
        found = os.stat(place)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", given)
        return found
    try:
        folder = os.stat(os.path.dirname(place))
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "its folder does not exist", given) from None
    if not stat.S_ISDIR(folder.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "what should be its folder is a file", given)
    return None


def write(path: str | os.PathLike[str], data: bytes, prefix: str = ".layerwise-") -> None:
    """Put `data` at `path` whole or not at all: a temporary file in the same folder, synced, renamed.

    Links are followed. `prefix` begins the temporary file's name, which no error names: nobody has written it.
    """
    found, given, path = check_place(path), os.fspath(path), os.path.realpath(path)
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f"{prefix}{secrets.token_hex(8)}.tmp")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, given) from error
    try:
        with open(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if found is not None:
            os.chmod(temporary, stat.S_IMODE(found.st_mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # interrupted just after it had been renamed
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
