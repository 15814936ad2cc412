"""``layerwise demo``: pretraining against a random start, with few labels."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerwise import demo
from layerwise.commands import words
from layerwise.commands.files import check_writable, write_json

DESCRIPTION = """\
Train a network of three hidden layers on many rows of which few are labelled: pretrained on all rows and fine-tuned on
the labelled ones, beside the same network from a random start, one with ReLU units, logistic regression and an RBF
support vector machine. The labelled rows change with the seed. Ends with a table of test errors and a sentence that
says what it shows.

Uses MNIST if --data or the environment variable LAYERWISE_DATA names a folder that has its four IDX files, else
scikit-learn's small digits."""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    shown = words.command(
        commands, "demo", "[options]", "pretraining against a random start, with few labels", DESCRIPTION
    )
    whole = words.number(1)
    shown.add_argument("--data", metavar="PATH", help="folder with MNIST's IDX files (gzip-compressed or not)")
    shown.add_argument("--labels", type=whole, metavar="N", help="labelled rows (MNIST: 1000, digits: 60)")
    shown.add_argument("--seeds", type=whole, metavar="K", help="how many seeds (MNIST: 3, digits: 5)")
    shown.add_argument("--full", action="store_true", help="with MNIST: hidden layers of 1000 units and more epochs")
    shown.add_argument(
        "--hidden", type=words.sizes, metavar="A,B,C", help="units of the hidden layers (MNIST: 500,500,500)"
    )
    shown.add_argument("--epochs", type=whole, metavar="E", help="pretraining epochs of each layer")
    shown.add_argument("--finetuning-epochs", type=whole, metavar="E", help="epochs on the labelled rows")
    shown.add_argument("--activation", metavar="NAME", help="of the hidden layers (sigmoid)")
    shown.add_argument(
        "--batch-norm", action="store_true", help="batch normalisation of the hidden layers of every network"
    )
    shown.add_argument(
        "--corruption",
        type=words.fraction,
        metavar="RATE",
        help="masked share of the inputs (MNIST: 0.5, digits: 0.25)",
    )
    shown.add_argument(
        "--input-dropout",
        type=words.fraction,
        metavar="P",
        help="share of the inputs that fine-tuning leaves out, its rate falling at last (MNIST: 0.3, digits: 0)",
    )
    shown.add_argument("--threads", type=words.threads, metavar="N", help="threads (all cores allowed)")
    shown.add_argument("--json", type=Path, metavar="FILE", help="also write everything found to this file")
    shown.set_defaults(command=run_demo)


def run_demo(given: argparse.Namespace) -> int:
    """Run all seeds and print what they show."""
    if given.json is not None:
        check_writable(given.json)
    name, data = demo.load(given.data, fallback=given.data is None and not given.full)
    options = demo.DIGITS if name != "MNIST" else demo.MNIST_FULL if given.full else demo.MNIST
    chosen = {
        "labels": given.labels,
        "seeds": given.seeds,
        "hidden_layer_sizes": given.hidden,
        "pretraining_epochs": given.epochs,
        "finetuning_epochs": given.finetuning_epochs,
        "activation": given.activation,
        "batch_norm": given.batch_norm,
        "corruption": given.corruption,
        "input_dropout": given.input_dropout,
        "threads": given.threads,
    }
    options = replace(options, **{key: value for key, value in chosen.items() if value is not None})

    n_rows, classes = len(data.y_train), set(data.y_train.tolist())
    if not len(classes) <= options.labels <= n_rows:
        raise ValueError(f"--labels must be from {len(classes)} (one a class) to {n_rows} (all), got {options.labels}")

    sizes = (data.X_train.shape[1], *options.hidden_layer_sizes, len(classes))
    print(f"{name}: {len(data.X_train):,} training rows, {options.labels:,} labelled; {len(data.X_test):,} test rows")
    seeds = f"{options.seeds} seed{'s' if options.seeds > 1 else ''}"
    units = f"{options.activation} with batch normalisation" if options.batch_norm else options.activation
    print(f"Network {'-'.join(map(str, sizes))}, {units}, {seeds}; epochs:", end=" ")
    print(f"{options.pretraining_epochs} a layer in pretraining (masking {options.corruption:g}),", end=" ")
    left_out = f" (input dropout {options.input_dropout:g}, rate falling at last)" if options.input_dropout else ""
    print(f"{options.finetuning_epochs} in fine-tuning{left_out}\n", flush=True)
    progress, outcome = demo.Progress(options, data, sys.stdout), demo.Outcome()
    interruption: KeyboardInterrupt | None = None
    try:
        demo.run(data, options, progress, outcome)
    except KeyboardInterrupt as stopped:
        stopped.args = (f"interrupted: {len(outcome.seeds)} of {seeds} finished",)
        interruption = stopped
    finally:
        progress.clear()
    if outcome.seeds:
        print(f"\n{demo.table(outcome)}\n\n{demo.verdict(outcome, options, n_rows)}", flush=True)
        if given.json is not None:
            write_json(given.json, demo.as_json(name, data, options, outcome))
    if interruption is not None:
        raise interruption
    return 0
