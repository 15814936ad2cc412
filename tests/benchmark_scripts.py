"""The modules of benchmarks/, which is no package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = str(Path(__file__).resolve().parents[1] / "benchmarks")


def script(name: str) -> Any:
    """A module of benchmarks/, whose imports find one another there."""
    sys.path.insert(0, BENCHMARKS)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)
