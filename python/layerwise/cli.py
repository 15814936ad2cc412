"""The command line: ``layerwise train``, ``predict``, ``transform``, ``compare``, ``info`` and ``demo``.

Exit codes: 0 done; 1 something failed (one line on standard error says what); 2 the command line was wrong;
130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from layerwise.commands import compare, demonstrate, info, options, predict, train

EXAMPLES = """\
examples:
  layerwise demo
  layerwise train people.csv --target income
  layerwise predict people.layerwise new.csv -o predicted.csv
  layerwise compare people.csv --target income --labels 500

layerwise COMMAND --help has more of them. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        The words after the program's name; None takes those of the process.

    Returns
    -------
    int
        The exit code.
    """
    given = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _Warnings()
            return int(given.command(given))
    except KeyboardInterrupt as stopped:
        _complain(str(stopped) or "interrupted")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone; what Python would still flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, TypeError, OSError, MemoryError, ImportError) as error:
        _complain(options.in_flags(str(error)) or type(error).__name__)
        return 1


def _parser() -> argparse.ArgumentParser:
    from layerwise import __version__

    parser = argparse.ArgumentParser(
        prog="layerwise",
        description="Greedy layer-wise pretraining and fine-tuning of deep networks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"layerwise {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (train, predict, compare, info, demonstrate):
        module.add(commands)
    return parser


class _Warnings:
    """Shows this package's warnings, each once and in one line; those of other packages are not for the command line.

    This package's are those of its own categories, and others that its own code gives.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = str(message).replace("'categorical'", "--categorical").replace("min_frequency", "--min-frequency")
        if text not in self._told and (_is_own(category.__module__) or _is_own(_giver())):
            self._told.add(text)
            _complain(f"warning: {text}")


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "layerwise"


def _giver() -> str:
    """Return the name of the module that gives the warning which is being shown."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals["__name__"] in (__name__, "warnings", "_py_warnings"):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals["__name__"])


def _complain(message: str) -> None:
    print(f"layerwise: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
