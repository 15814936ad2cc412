"""MNIST with all labels: a stacked denoising autoencoder, fine-tuned, beside the unpretrained network.

    python benchmarks/mnist_sda.py --data FOLDER [--seeds 3]

The papers' protocol: the first 50,000 training rows in file order train, the last 10,000 validate, 10,000 test; three
hidden layers of 1,000 sigmoid units, masking noise. How many epochs, and at which rate, was chosen by the error on the
validation rows, which are never trained on; test rows choose nothing. Every finished run is one line in
``benchmarks/results/mnist_sda.jsonl``, so that a restart does only what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import _experiment
from layerwise import SGD, Adam, DenoisingAutoencoder, FineTuning, Masking, Momentum, PretrainedClassifier
from layerwise.datasets import Dataset, load_mnist

NAME = "mnist_sda"
TRAIN, VALIDATION = slice(0, 50_000), slice(50_000, 60_000)
OPTIMIZERS = {"adam": Adam, "momentum": Momentum, "sgd": SGD}


def plans(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings to run: the pretrained network and the same from its random starts."""
    shared = {
        "hidden": options.hidden,
        "activation": options.activation,
        "finetuning_epochs": options.finetuning_epochs,
        "batch_size": options.batch_size,
        "optimizer": options.optimizer,
        "rate": options.rate,
        "dropout": options.dropout,
        "alpha": options.alpha,
        "early_stopping": options.early_stopping,
    }
    if not options.only_random:
        yield {
            "name": options.name,
            **shared,
            "pretraining": {
                "epochs": options.epochs,
                "batch_size": options.pretraining_batch_size,
                "rate": options.pretraining_rate,
                "masking": options.masking,
            },
        }
    if not options.only_pretrained:
        for start in options.starts:
            yield {"name": f"random start, {start}", **shared, "start": start}


def work(data: Dataset, plan: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Train one network and measure it."""
    pretraining = plan.get("pretraining")
    model = PretrainedClassifier(
        hidden_layer_sizes=tuple(plan["hidden"]),
        activation=plan["activation"],
        initializer=plan.get("start", "auto"),
        pretraining=pretraining
        and DenoisingAutoencoder(
            corruption=[Masking(rate) for rate in pretraining["masking"]],
            epochs=pretraining["epochs"],
            batch_size=pretraining["batch_size"],
            optimizer=Adam(pretraining["rate"]),
        ),
        finetuning=FineTuning(
            epochs=plan["finetuning_epochs"],
            batch_size=plan["batch_size"],
            optimizer=OPTIMIZERS[plan["optimizer"]](plan["rate"]),
            dropout=plan["dropout"],
            alpha=plan["alpha"],
            early_stopping=plan["early_stopping"],
        ),
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    ).fit(data.X_train[TRAIN], data.y_train[TRAIN])

    def error(X: np.ndarray, wanted: np.ndarray) -> float:
        return round(100 * float(np.mean(model.predict(X) != wanted)), 3)

    return {
        "validation_error": error(data.X_train[VALIDATION], data.y_train[VALIDATION]),
        "test_error": error(data.X_test, data.y_test),
        "skills": [round(stage.skill, 4) for stage in getattr(model, "stages_", [])],
        "epochs": len([r for r in model.history_ if r.stage == "finetuning"]),
        "pretraining_seconds": round(sum(r.seconds for r in model.history_ if r.stage == "pretraining"), 1),
        "finetuning_seconds": round(sum(r.seconds for r in model.history_ if r.stage == "finetuning"), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's files; default: the folder LAYERWISE_DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--hidden", type=int, nargs="+", default=[1000, 1000, 1000])
    parser.add_argument("--activation", default="sigmoid")
    parser.add_argument("--name", default="pretrained", help="of the pretrained network's settings, in the table")
    parser.add_argument("--epochs", type=int, default=15, help="of pretraining, a layer")
    parser.add_argument("--pretraining-batch-size", type=int, default=100)
    parser.add_argument("--pretraining-rate", type=float, default=1e-3)
    parser.add_argument("--masking", type=float, nargs="+", default=[0.25, 0.25, 0.25], help="one a layer")
    parser.add_argument("--finetuning-epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=100, help="of fine-tuning")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="momentum", help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=0.1, help="of fine-tuning")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--alpha", type=float, default=0.0)
    parser.add_argument("--early-stopping", action="store_true", help="on a tenth of the 50,000 rows")
    parser.add_argument("--starts", nargs="+", default=["glorot_uniform_sigmoid"], metavar="INITIALIZER")
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
        print(f"\nPretraining lowers the test error by {gain:.2f} ± {spread:.2f} points (paired over the seeds).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
