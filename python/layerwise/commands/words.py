"""Kinds of words on the command line, each with a message that says what is allowed."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def number(least: int) -> Callable[[str], int]:
    """Return the kind of whole numbers from `least` on."""

    def kind(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    kind.__name__ = "whole number"  # argparse names the type in its message
    return kind


def sizes(text: str) -> tuple[int, ...]:
    """Return sizes of layers."""
    try:
        found = tuple(int(size) for size in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"must be positive whole numbers with commas between, got {text!r}")
    return found


def fraction(text: str) -> float:
    """Return a share from 0 to below 1."""
    value = _real(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to below 1, got {text!r}")
    return value


def positive(text: str) -> float:
    """Return a number above 0."""
    value = _real(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def names(text: str) -> list[str]:
    """Return names of columns."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"must be names of columns with commas between, got {text!r}")
    return found


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
