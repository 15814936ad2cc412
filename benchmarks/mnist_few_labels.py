"""MNIST with few labels: a pretrained network beside the same network from the best random start.

    python benchmarks/mnist_few_labels.py --data FOLDER [--seeds 3] [--labels 1000]

Each seed labels other rows (stratified) among the first 50,000 training rows; the inputs of all 60,000 pretrain. The
last 10,000 training rows never lend a label to training: the error on them, the validation error, chooses among
settings; test rows choose nothing. Every finished run is one line in ``benchmarks/results/mnist_few_labels.jsonl``, so
that a restart does only what is missing. Repeated options (``--starts``, ``--finetuning-rates``) make the grid of
random starts, of which the one with the least mean validation error is the one compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import _experiment
from layerwise import Adam, DenoisingAutoencoder, FineTuning, Masking, PretrainedClassifier
from layerwise.datasets import Dataset, few_labels, load_mnist

NAME = "mnist_few_labels"
VALIDATION = slice(50_000, 60_000)
STARTS = ("glorot_uniform_sigmoid", "glorot_uniform", "fan_in_uniform", "larochelle_uniform")


def plans(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings to run: one pretrained network, and every random start at every rate."""
    shared = {
        "labels": options.labels,
        "hidden": options.hidden,
        "activation": options.activation,
        "finetuning_epochs": options.finetuning_epochs,
        "batch_size": options.batch_size,
        "dropout": options.dropout,
        "alpha": options.alpha,
    }
    if not options.only_random:
        yield {
            "name": options.name,
            **shared,
            "rate": options.rate,
            "pretraining": {
                "epochs": options.epochs,
                "batch_size": options.pretraining_batch_size,
                "rate": options.pretraining_rate,
                "masking": options.masking,
            },
        }
    if not options.only_pretrained:
        for start in options.starts:
            for rate in options.random_rates:
                yield {"name": f"random start, {start}, rate {rate:g}", **shared, "rate": rate, "start": start}


def work(data: Dataset, plan: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Train one network and measure it."""
    y = np.full(len(data.y_train), -1)
    y[: VALIDATION.start] = few_labels(data.y_train[: VALIDATION.start], plan["labels"], random_state=seed)
    pretraining = plan.get("pretraining")
    model = PretrainedClassifier(
        hidden_layer_sizes=tuple(plan["hidden"]),
        activation=plan["activation"],
        initializer=plan.get("start", "auto"),
        pretraining=pretraining
        and DenoisingAutoencoder(
            corruption=Masking(pretraining["masking"]),
            epochs=pretraining["epochs"],
            batch_size=pretraining["batch_size"],
            optimizer=Adam(pretraining["rate"]),
        ),
        finetuning=FineTuning(
            epochs=plan["finetuning_epochs"],
            batch_size=plan["batch_size"],
            optimizer=Adam(plan["rate"]),
            dropout=plan["dropout"],
            alpha=plan["alpha"],
        ),
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    ).fit(data.X_train, y)

    def error(X: np.ndarray, wanted: np.ndarray) -> float:
        return round(100 * float(np.mean(model.predict(X) != wanted)), 3)

    return {
        "validation_error": error(data.X_train[VALIDATION], data.y_train[VALIDATION]),
        "test_error": error(data.X_test, data.y_test),
        "skills": [round(stage.skill, 4) for stage in getattr(model, "stages_", [])],
        "pretraining_seconds": round(sum(r.seconds for r in model.history_ if r.stage == "pretraining"), 1),
        "finetuning_seconds": round(sum(r.seconds for r in model.history_ if r.stage == "finetuning"), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's files; default: the folder LAYERWISE_DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1000, 1000, 1000])
    parser.add_argument("--activation", default="sigmoid")
    parser.add_argument("--name", default="pretrained", help="of the pretrained network's settings, in the table")
    parser.add_argument("--epochs", type=int, default=15, help="of pretraining, a layer")
    parser.add_argument("--pretraining-batch-size", type=int, default=100)
    parser.add_argument("--pretraining-rate", type=float, default=1e-3)
    parser.add_argument("--masking", type=float, default=0.25)
    parser.add_argument("--finetuning-epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=20, help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=1e-3, help="of fine-tuning the pretrained network")
    parser.add_argument("--random-rates", type=float, nargs="+", default=[1e-3], help="of fine-tuning random starts")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--alpha", type=float, default=0.0)
    parser.add_argument("--starts", nargs="+", default=list(STARTS), metavar="INITIALIZER")
    parser.add_argument("--only-pretrained", action="store_true")
    parser.add_argument("--only-random", action="store_true")
    options = parser.parse_args()

    data = load_mnist(options.data)
    lines = _experiment.run(NAME, plans(options), options.seeds, lambda plan, seed: work(data, plan, seed))
    print(f"\n{_experiment.table(lines, {'validation_error': 'validation error %', 'test_error': 'test error %'})}")
    random = [line for line in lines if "pretraining" not in line["settings"]]
    if random and not options.only_random:
        best = _experiment.best(random, "validation_error")
        gain, spread = _experiment.paired(lines, options.name, best, "test_error")
        print(f"\nBest random start by validation error: {best}.")
        print(f"Pretraining lowers the test error by {gain:.2f} ± {spread:.2f} points (paired over the seeds).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
