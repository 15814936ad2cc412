"""MNIST's deep autoencoder of Hinton & Salakhutdinov 2006, 784-1000-500-250-30, with and without pretraining.

    python benchmarks/mnist_deep_autoencoder.py --data FOLDER [--seeds 3] [--rows machines none ...]

All 60,000 training rows train, as in the paper; the error is the paper's: squared error summed over the pixels of an
image (in [0, 1]), averaged over the 10,000 test images. The rows of the table:

- components: 30 principal components of the training rows. logistic: a linear code of 30 numbers with logistic outputs
  and cross-entropy, trained by Adam without hidden layers.
- machines: four Boltzmann machines by the rules of the paper's code (weights from N(0, 0.1^2), CD-1, batches of 100,
  rate 0.1, 0.001 for the linear code, momentum 0.5 and then 0.9, weight cost 0.0002), unrolled, untied, fine-tuned.
- none: the same network from the same random start, fine-tuned in the same way. The paper's never got beyond the mean
  image by conjugate gradients; how far it comes depends on the optimiser, so that ``--optimizer`` belongs to the row.
- modern: sparse random start (Martens 2010) and Nesterov's momentum rising to 0.99 (Sutskever et al. 2013), no
  pretraining; as many epochs as the pretraining of a layer and the fine-tuning have together.

``--optimizer conjugate_gradient --batch-size 1000`` is the paper's own fine-tuning, 3 line searches for each batch.
No setting is chosen by the test rows: ``--train-rows 50000`` leaves the last 10,000 training rows out and reports the
error on them, for choosing. Every finished run is one line in ``benchmarks/results/mnist_deep_autoencoder.jsonl``, so
that a restart does only what is missing; with ``--cache`` it does not repeat a finished pretraining either.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

import _experiment
from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    ConjugateGradient,
    FineTuning,
    Momentum,
    MomentumRamp,
    Nesterov,
    Normal,
    RestrictedBoltzmannMachine,
    Sparse,
    StackedAutoencoder,
)
from layerwise.datasets import Dataset, load_mnist

NAME = "mnist_deep_autoencoder"
ROWS = ("components", "logistic", "machines", "none", "modern")
OPTIMIZERS = {"adam": Adam, "nesterov": Nesterov, "momentum": Momentum}
SEARCHING = {"conjugate_gradient": ConjugateGradient, "lbfgs": LBFGS}


def plans(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings to run, one for each row of the table."""
    rows = {"train_rows": options.train_rows, "hidden": options.hidden}
    tuning = {
        "epochs": options.finetuning_epochs,
        "batch_size": options.batch_size,
        "optimizer": options.optimizer,
        "rate": None if options.optimizer in SEARCHING else options.rate,
        "schedule": "constant" if options.optimizer in SEARCHING else options.schedule,
    }
    every = {
        "components": {"name": "components", **rows},
        "logistic": {"name": "logistic", **rows, "logistic_epochs": options.logistic_epochs},
        "machines": {"name": "machines", **rows, "sigma": options.sigma, "epochs": options.epochs, "tuning": tuning},
        "none": {"name": "none", **rows, "sigma": options.sigma, "epochs": 0, "tuning": tuning},
        "modern": {
            "name": "modern",
            **rows,
            "connections": options.connections,
            "tuning": {
                "epochs": options.finetuning_epochs + options.epochs,
                "batch_size": options.modern_batch_size,
                "optimizer": "nesterov, rising",
                "rate": options.modern_rate,
                "schedule": options.schedule,
            },
        },
    }
    for name in options.rows:
        yield every[name]


def work(data: Dataset, plan: Mapping[str, Any], seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Make one row of the table."""
    X = data.X_train[: plan["train_rows"]]
    if plan["name"] == "components":
        components = PCA(plan["hidden"][-1]).fit(X)
        return measured(lambda rows: components.inverse_transform(components.transform(rows)), data, plan)
    shared = {"n_jobs": options.threads, "random_state": seed, "verbose": 1 if sys.stderr.isatty() else 0}
    if plan["name"] == "logistic":
        settings = Autoencoder(epochs=plan["logistic_epochs"], tied=False, decoder="sigmoid", loss="cross_entropy")
        model = StackedAutoencoder(plan["hidden"][-1:], activation="identity", pretraining=settings, **shared).fit(X)
        return measured(model.reconstruct, data, plan) | seconds(model)
    kinds = ["sigmoid"] * (len(plan["hidden"]) - 1) + ["identity"]
    if "sigma" in plan:
        before = RestrictedBoltzmannMachine(epochs=plan["epochs"], batch_size=100)
        start = Normal(plan["sigma"])
    else:
        before = Autoencoder(epochs=0, tied=False)
        start = [Sparse(plan["connections"])] * len(kinds)
    model = StackedAutoencoder(
        plan["hidden"], activation=kinds, pretraining=before, initializer=start, warm_start=True, **shared
    )
    words = _experiment.key({name: value for name, value in plan.items() if name not in ("name", "tuning")}, seed)
    model = _experiment.cached(model, X, words, options).set_params(n_jobs=options.threads)
    pretrained = errors(model.reconstruct, data, plan)["test_error"]
    model.set_params(finetuning=finetuning(plan["tuning"])).fit(X)
    tuned = [record for record in model.history_ if record.stage == "finetuning"]
    return {
        **measured(model.reconstruct, data, plan),
        "pretrained_test_error": pretrained,
        "losses": [round(record.loss, 3) for record in tuned[:: max(1, len(tuned) // 20)]],
        **seconds(model),
    }


def finetuning(tuning: Mapping[str, Any]) -> FineTuning:
    """How the unrolled network is trained; the decoders have weights of their own from the start of it."""
    name = tuning["optimizer"]
    if name in SEARCHING:
        optimizer: Any = SEARCHING[name]()
    elif name in OPTIMIZERS:
        optimizer = OPTIMIZERS[name](tuning["rate"])
    else:
        optimizer = Nesterov(tuning["rate"], MomentumRamp(0.99))
    return FineTuning(
        epochs=tuning["epochs"],
        batch_size=tuning["batch_size"],
        optimizer=optimizer,
        schedule=_experiment.schedule(tuning),
        untie=True,
    )


def errors(rebuild: Any, data: Dataset, plan: Mapping[str, Any]) -> dict[str, float]:
    """The squared error of an image, averaged over test rows, training rows and those that were left out."""

    def error(rows: NDArray[np.float32]) -> float:
        return round(float(((rebuild(rows).astype(np.float64) - rows) ** 2).sum(axis=1).mean()), 4)

    apart = data.X_train[plan["train_rows"] :]
    found = {"test_error": error(data.X_test), "training_error": error(data.X_train[: min(10_000, plan["train_rows"])])}
    return found | ({"validation_error": error(apart)} if len(apart) else {})


def measured(rebuild: Any, data: Dataset, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The errors, and no time yet."""
    return {**errors(rebuild, data, plan), "pretraining_seconds": 0.0, "finetuning_seconds": 0.0}


def seconds(model: StackedAutoencoder) -> dict[str, float]:
    """The time of each of the two stages."""
    return {
        f"{stage}_seconds": round(sum(record.seconds for record in model.history_ if record.stage == stage), 1)
        for stage in ("pretraining", "finetuning")
    }


def mean_image(data: Dataset, rows: int) -> float:
    """The error of rebuilding every test image as the mean training image."""
    return float(((data.X_test - data.X_train[:rows].mean(axis=0, dtype=np.float64)) ** 2).sum(axis=1).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _experiment.add_run_options(parser)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="of the table")
    parser.add_argument("--train-rows", type=int, default=60_000)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1000, 500, 250, 30])
    parser.add_argument("--sigma", type=float, default=0.1, help="of the machines' start, and of that without them")
    parser.add_argument("--epochs", type=int, default=50, help="of each machine")
    parser.add_argument("--finetuning-epochs", type=int, default=100)
    parser.add_argument("--optimizer", choices=[*OPTIMIZERS, *SEARCHING], default="adam", help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=1e-3, help="of fine-tuning; line searches have none")
    parser.add_argument("--batch-size", type=int, default=100, help="of fine-tuning; with line searches 1000 is usual")
    parser.add_argument("--schedule", choices=("constant", "linear", "cosine"), default="linear", help="of the rates")
    parser.add_argument("--logistic-epochs", type=int, default=50)
    parser.add_argument("--connections", type=int, default=15, help="of a unit in the modern start")
    parser.add_argument("--modern-rate", type=float, default=0.01)
    parser.add_argument("--modern-batch-size", type=int, default=200)
    options = parser.parse_args(arguments)
    data = load_mnist(options.data)
    lines = _experiment.run(NAME, plans(options), options.seeds, lambda plan, seed: work(data, plan, seed, options))
    columns = {"test_error": "test error", "training_error": "training error"}
    if options.train_rows < len(data.X_train):
        columns["validation_error"] = "validation error"
    print(f"\n{_experiment.table(lines, columns)}")
    print(f"\nThe mean image: {mean_image(data, options.train_rows):.2f}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
