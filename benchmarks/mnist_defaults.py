"""MNIST by the default settings: how long until the Theano tutorials' error, and what bfloat16 changes.

    python benchmarks/mnist_defaults.py --data FOLDER [--seeds 3] [--precisions auto bfloat16]
        [--schedule linear] [--dropout 0.2]

`PretrainedClassifier` with three hidden layers of 1,000 units and everything else as it comes (but for the schedule of
fine-tuning's rate and its dropout, where they are given), on the first 50,000 training rows; validation and test rows
are measured after each epoch of fine-tuning. A line of ``benchmarks/results/mnist_defaults.jsonl`` has the last epoch's
errors (nothing is chosen by them), and the seconds of training, without those of measuring, until the test error was
first no more than `--target`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import _experiment
from layerwise import FineTuning, PretrainedClassifier
from layerwise.datasets import Dataset, load_mnist

NAME = "mnist_defaults"
TRAIN, VALIDATION = slice(0, 50_000), slice(50_000, 60_000)
FINETUNING = ("schedule", "dropout")  # its settings that options change


def plans(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings to run: one for each precision."""
    for precision in options.precisions:
        name = "float32" if precision == "auto" else precision
        plan = {"name": name, "hidden": options.hidden, "precision": precision, "target": options.target}
        changes = {word: vars(options)[word] for word in FINETUNING if vars(options)[word] is not None}
        yield plan | changes | {"name": ", ".join([name, *(f"{word} {value}" for word, value in changes.items())])}


def work(data: Dataset, plan: Mapping[str, Any], seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network and measure it after each epoch."""
    watch = _experiment.EpochErrors(data, VALIDATION)
    model = PretrainedClassifier(
        tuple(plan["hidden"]),
        precision=plan["precision"],
        finetuning=FineTuning(**{word: plan[word] for word in FINETUNING if word in plan}),
        callbacks=watch,
        n_jobs=options.threads,
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    ).fit(data.X_train[TRAIN], data.y_train[TRAIN])
    before = sum(record.seconds for record in model.history_ if record.stage == "pretraining")
    tuning = [record.seconds for record in model.history_ if record.stage == "finetuning"]
    passed = itertools.accumulate(tuning, initial=before)
    next(passed)
    reached = next(
        (now for now, epoch in zip(passed, watch.epochs, strict=True) if epoch["test_error"] <= plan["target"]), None
    )
    return {
        **watch.epochs[-1],
        "test_errors": [epoch["test_error"] for epoch in watch.epochs],
        "seconds_to_target": None if reached is None else round(reached, 1),
        "pretraining_seconds": round(before, 1),
        "finetuning_seconds": round(sum(tuning), 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _experiment.add_run_options(parser)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1000, 1000, 1000])
    parser.add_argument("--precisions", nargs="+", choices=("auto", "bfloat16"), default=["auto", "bfloat16"])
    parser.add_argument("--schedule", help="of fine-tuning's rate, by its name; default: the default")
    parser.add_argument("--dropout", type=float, help="of hidden units in fine-tuning; default: none")
    parser.add_argument("--target", type=float, default=1.4, help="test error in percent")
    options = parser.parse_args(arguments)
    data = load_mnist(options.data)
    lines = _experiment.run(NAME, plans(options), options.seeds, lambda plan, seed: work(data, plan, seed, options))
    print(f"\n{_experiment.table(lines, {'validation_error': 'validation error %', 'test_error': 'test error %'})}")
    for line in lines:
        reached = line["seconds_to_target"]
        when = "not reached" if reached is None else f"reached after {reached:.0f} s"
        print(f"{line['settings']['name']}, seed {line['seed']}: {options.target} % {when}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
