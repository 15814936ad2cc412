"""Files that a command writes, whole or not at all, and the model files that it reads."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def check_writable(file: Path, *inputs: Path) -> None:
    """Fail before the work, not after it; and rather than write over a file that the command reads."""
    for read in inputs:
        if file.resolve() == read.resolve():
            raise ValueError(f"cannot write {file}: the command reads it; choose another name")
    if file.is_dir():
        raise IsADirectoryError(f"cannot write {file}: it is a folder")
    if file.exists() and not file.is_file():
        raise OSError(f"cannot write {file}: it is not a regular file")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"cannot write {file}: its folder does not exist")
    try:
        with tempfile.TemporaryFile(dir=file.parent):
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
