"""The command line: ``layerwise demo`` and ``layerwise info``.

Exit codes: 0 done; 1 something failed (one line on standard error says what); 2 the command line was wrong;
130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from layerwise import _core, demo

_DESCRIPTION = """\
Train a network of three hidden layers on many rows of which few are labelled: pretrained on all rows and fine-tuned on
the labelled ones, beside the same network from a random start, one with ReLU units, logistic regression and an RBF
support vector machine. The labelled rows change with the seed. Ends with a table of test errors and a sentence that
says what it shows.

Uses MNIST if --data or the environment variable LAYERWISE_DATA names a folder that has its four IDX files, else
scikit-learn's small digits."""


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
    options = _parser().parse_args(argv)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone; what Python would still flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, MemoryError, ImportError) as error:
        _complain(str(error) or type(error).__name__)
        return 1


def _parser() -> argparse.ArgumentParser:
    from layerwise import __version__

    parser = argparse.ArgumentParser(
        prog="layerwise", description="Greedy layer-wise pretraining and fine-tuning of deep networks."
    )
    parser.add_argument("--version", action="version", version=f"layerwise {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    shown = commands.add_parser(
        "demo",
        help="pretraining against a random start, with few labels",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole, size, rate = _number(1), _sizes, _fraction
    shown.add_argument("--data", metavar="PATH", help="folder with MNIST's IDX files (gzip-compressed or not)")
    shown.add_argument("--labels", type=whole, metavar="N", help="labelled rows (MNIST: 1000, digits: 60)")
    shown.add_argument("--seeds", type=whole, metavar="K", help="how many seeds (MNIST: 3, digits: 5)")
    shown.add_argument("--full", action="store_true", help="with MNIST: hidden layers of 1000 units and more epochs")
    shown.add_argument("--hidden", type=size, metavar="A,B,C", help="units of the hidden layers (MNIST: 500,500,500)")
    shown.add_argument("--epochs", type=whole, metavar="E", help="pretraining epochs of each layer")
    shown.add_argument("--finetuning-epochs", type=whole, metavar="E", help="epochs on the labelled rows")
    shown.add_argument("--activation", metavar="NAME", help="of the hidden layers (sigmoid)")
    shown.add_argument(
        "--corruption", type=rate, metavar="RATE", help="masked share of the inputs (MNIST: 0.5, digits: 0.25)"
    )
    shown.add_argument("--threads", type=whole, metavar="N", help="threads (all cores allowed)")
    shown.add_argument("--json", type=Path, metavar="FILE", help="also write everything found to this file")
    shown.set_defaults(command=_demo)

    told = commands.add_parser("info", help="version, instruction set, threads, versions of the dependencies")
    told.set_defaults(command=_info)
    return parser


def _number(least: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    number.__name__ = "whole number"  # argparse names the type in its message
    return number


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"must be positive whole numbers with commas between, got {text!r}")
    return sizes


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to below 1, got {text!r}")
    return value


def _demo(given: argparse.Namespace) -> int:
    if given.json is not None:
        _check_writable(given.json)
    name, data = demo.load(given.data, fallback=given.data is None and not given.full)
    options = demo.DIGITS if name != "MNIST" else demo.MNIST_FULL if given.full else demo.MNIST
    chosen = {
        "labels": given.labels,
        "seeds": given.seeds,
        "hidden_layer_sizes": given.hidden,
        "pretraining_epochs": given.epochs,
        "finetuning_epochs": given.finetuning_epochs,
        "activation": given.activation,
        "corruption": given.corruption,
        "threads": given.threads,
    }
    options = replace(options, **{key: value for key, value in chosen.items() if value is not None})

    n_rows, classes = len(data.y_train), set(data.y_train.tolist())
    if not len(classes) <= options.labels <= n_rows:
        raise ValueError(f"--labels must be from {len(classes)} (one a class) to {n_rows} (all), got {options.labels}")

    sizes = (data.X_train.shape[1], *options.hidden_layer_sizes, len(classes))
    print(f"{name}: {len(data.X_train):,} training rows, {options.labels:,} labelled; {len(data.X_test):,} test rows")
    seeds = f"{options.seeds} seed{'s' if options.seeds > 1 else ''}"
    print(f"Network {'-'.join(map(str, sizes))}, {options.activation}, {seeds}; epochs:", end=" ")
    print(f"{options.pretraining_epochs} a layer in pretraining (masking {options.corruption:g}),", end=" ")
    print(f"{options.finetuning_epochs} in fine-tuning\n", flush=True)
    progress, outcome = demo.Progress(options, data, sys.stdout), demo.Outcome()
    interrupted = False
    try:
        demo.run(data, options, progress, outcome)
    except KeyboardInterrupt:
        interrupted = True
        progress.clear()
        _complain(f"interrupted: {len(outcome.seeds)} of {seeds} finished")
    finally:
        progress.clear()
    if outcome.seeds:
        print(f"\n{demo.table(outcome)}\n\n{demo.verdict(outcome, options, n_rows)}", flush=True)
        if given.json is not None:
            _write_json(given.json, demo.as_json(name, data, options, outcome))
    return 130 if interrupted else 0


def _info(given: argparse.Namespace) -> int:  # noqa: ARG001 (every command takes the parsed words)
    from layerwise import __version__

    supported = ", ".join(_core.supported_isas())
    chosen = " (by LAYERWISE_ISA)" if os.environ.get("LAYERWISE_ISA") else ""
    print(f"layerwise        {__version__}")
    print(f"instruction set  {_core.isa()}{chosen}; this processor can run {supported}")
    print(f"threads          {_core.default_threads()} of {os.cpu_count()} cores")
    print(f"python           {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("numpy", "scikit-learn", "safetensors", "tqdm"):
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = "not installed"
        print(f"{package:16} {version}")
    return 0


def _check_writable(file: Path) -> None:
    """Fail before the work, not after it."""
    if file.is_dir():
        raise IsADirectoryError(f"cannot write {file}: it is a folder")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"cannot write {file}: its folder does not exist")
    try:
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise OSError(f"cannot write {file}: {error.strerror}") from error


def _write_json(file: Path, content: dict[str, Any]) -> None:
    """Write to a file beside it and rename: the file is whole or untouched."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as stream:
            unfinished = Path(stream.name)
            try:
                json.dump(content, stream, indent=1)
                stream.write("\n")
                stream.close()
                unfinished.chmod(0o644)
                unfinished.replace(file)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OSError(f"cannot write {file}: {error.strerror}") from error


def _complain(message: str) -> None:
    print(f"layerwise: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
