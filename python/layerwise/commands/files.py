"""Files that a command writes, whole or not at all, and the model files that it reads."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def check_writable(file: Path, *inputs: Path, appends: bool = False) -> None:
    """Fail before the work, not after it; and rather than write over a file that the command reads.

    With `appends` the file is not replaced, so that it may be a pipe.
    """
    folder = Path(os.path.realpath(file)).parent  # a link stays, and what it leads to is written
    for read in inputs:
        if file.resolve() == read.resolve():
            raise ValueError(f"cannot write {file}: the command reads it; choose another name")
    if file.is_dir():
        raise IsADirectoryError(f"cannot write {file}: it is a folder")
    if file.exists() and not file.is_file() and not appends:
        raise OSError(f"cannot write {file}: it is not a regular file")
    if not folder.is_dir():
        raise FileNotFoundError(f"cannot write {file}: its folder does not exist")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"cannot write {file}: {error.strerror}") from error


def load_model(file: Path) -> Any:
    """Return the model that a file holds."""
    from layerwise import load

    try:
        return load(file)
    except OSError as error:
        raise OSError(f"cannot read {file}: {error.strerror}") from error


def write(file: Path, content: bytes) -> None:
    """Write the file whole or not at all, as model files are: modes and links stay."""
    from layerwise.persistence import files

    try:
        files.write(os.path.realpath(file), content)
    except OSError as error:
        raise OSError(f"cannot write {file}: {error.strerror}") from error


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON object."""
    write(file, (json.dumps(content, indent=1) + "\n").encode())
