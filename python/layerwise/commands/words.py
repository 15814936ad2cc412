"""What the commands take: a parser for each, and kinds of words whose messages say what is allowed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from layerwise.checks import MOST_THREADS


class _Format(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, max_help_position=28, **settings)


def command(commands: Any, name: str, usage: str, brief: str, description: str, examples: str = "") -> Any:
    """Add a command to the parser of `commands` and return its own.

    Parameters
    ----------
    commands : what argparse's add_subparsers returned
    name : str
    usage : str
        The words that matter, without the program's and the command's name.
    brief, description : str
        For the list of commands and for the command's own help.
    examples : str
        Lines of it, without the program's name.
    """
    lines = [f"  layerwise {name} {line}" for line in examples.splitlines()]
    parser = commands.add_parser(
        name,
        usage=f"layerwise {name} {usage}",
        help=brief,
        description=description,
        epilog="\n".join(["examples:", *lines]) if lines else None,
        formatter_class=_Format,
    )
    parser.set_defaults(parser=parser)
    return parser


def number(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """Return the kind of whole numbers from `least` to `most`."""

    def kind(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        if value > most:
            raise argparse.ArgumentTypeError(f"must be at most {most}, got {value}")
        return value

    kind.__name__ = "whole number"  # argparse names the type in its message
    return kind


threads = number(1, MOST_THREADS)


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


def a(name: str) -> str:
    """Return a name with its article."""
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


def listed(names: Iterable[Any], most: int = 6, longest: int = 40) -> str:
    """Return names with commas between: the first few, each cut where it is long."""
    every = [str(name) for name in names]
    shown = [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in every[:most]]
    return ", ".join(shown) + (f", … {len(every) - most} more" if len(every) > most else "")


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
