"""MNIST with few labels: a pretrained network beside the same network from the best random start.

    python benchmarks/mnist_few_labels.py --data FOLDER [--seeds 3] [--labels 1000]

Each seed labels other rows (stratified) among the first 50,000 training rows; the inputs of all 60,000 pretrain. The
last 10,000 training rows never lend a label to training: the error on them, the validation error, chooses among
settings; test rows choose nothing. Every finished run is one line in ``benchmarks/results/mnist_few_labels.jsonl``, so
that a restart does only what is missing. Of the random starts (``--starts``, ``--random-rates``) the one with the least
mean validation error is the one compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import _experiment
from layerwise import Adam, FineTuning, PretrainedClassifier
from layerwise.datasets import Dataset, few_labels, load_mnist

NAME = "mnist_few_labels"
VALIDATION = slice(50_000, 60_000)
STARTS = ("glorot_uniform_sigmoid", "glorot_uniform", "fan_in_uniform", "larochelle_uniform")


def plans(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings to run: one pretrained network, and every random start at every rate."""
    shared = {"labels": options.labels, **_experiment.finetuning_settings(options)}
    if options.input_dropout:  # not named without it, as in lines older than that
        shared["input_dropout"] = options.input_dropout
    if not options.only_random:
        yield {
            "name": options.name + noise(options),
            **shared,
            "rate": options.rate,
            "pretraining": _experiment.pretraining_settings(options),
        }
    if not options.only_pretrained:
        for start in options.starts:
            for rate in options.random_rates:
                name = f"random start, {start}, rate {rate:g}{noise(options)}"
                yield {"name": name, **shared, "rate": rate, "start": start}


def noise(options: argparse.Namespace) -> str:
    """What a name says of the inputs that fine-tuning leaves out."""
    return f", input dropout {options.input_dropout:g}" if options.input_dropout else ""


def work(data: Dataset, plan: Mapping[str, Any], seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network and measure it."""
    y = np.full(len(data.y_train), -1)
    y[: VALIDATION.start] = few_labels(data.y_train[: VALIDATION.start], plan["labels"], random_state=seed)
    before = _experiment.pretrain(data.X_train, plan, seed, options)
    model = PretrainedClassifier(
        hidden_layer_sizes=tuple(plan["hidden"]),
        activation=plan["activation"],
        initializer=plan.get("start", "auto"),
        pretraining=before,
        finetuning=FineTuning(
            epochs=plan["finetuning_epochs"],
            batch_size=plan["batch_size"],
            optimizer=Adam(plan["rate"]),
            schedule=_experiment.schedule(plan),
            dropout=plan["dropout"],
            input_dropout=plan.get("input_dropout", 0.0),
            alpha=plan["alpha"],
        ),
        n_jobs=options.threads,
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    ).fit(data.X_train, y)
    return _experiment.results(model, before, data, VALIDATION)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _experiment.add_options(parser)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--masking", type=float, nargs="+", default=[0.5, 0.5, 0.5], help="one a layer")
    parser.add_argument("--batch-size", type=int, default=20, help="of fine-tuning")
    parser.add_argument("--input-dropout", type=float, default=0.0, help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=1e-3, help="of fine-tuning the pretrained network")
    parser.add_argument("--random-rates", type=float, nargs="+", default=[1e-3], help="of fine-tuning random starts")
    parser.add_argument("--starts", nargs="+", default=list(STARTS), metavar="INITIALIZER")
    options = parser.parse_args()
    data = load_mnist(options.data)
    lines = _experiment.run(NAME, plans(options), options.seeds, lambda plan, seed: work(data, plan, seed, options))
    _experiment.report(lines, options.name + noise(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
