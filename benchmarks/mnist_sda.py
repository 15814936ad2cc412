"""MNIST with all labels: a stacked denoising autoencoder, fine-tuned, beside the unpretrained network.

    python benchmarks/mnist_sda.py --data FOLDER [--seeds 3]

The papers' protocol: the first 50,000 training rows in file order train, the last 10,000 validate, 10,000 test; three
hidden layers of 1,000 sigmoid units, masking noise. Settings are to be compared by the error on the validation rows,
which are never trained on; ``benchmarks/README.md`` says how the recorded ones were. Every option can be given, so that
other protocols, such as the Theano tutorials' (in README.md), are a command. Every finished run is one line in
``benchmarks/results/mnist_sda.jsonl``, so that a restart does only what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import _experiment
from layerwise import FineTuning, PretrainedClassifier
from layerwise.datasets import Dataset, load_mnist

NAME = "mnist_sda"
TRAIN, VALIDATION = slice(0, 50_000), slice(50_000, 60_000)


def plans(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings to run: the pretrained network and the same from its random starts."""
    shared = {
        **_experiment.finetuning_settings(options),
        "optimizer": options.optimizer,
        "rate": options.rate,
        "early_stopping": options.early_stopping,
    }
    if options.best_epoch:  # older lines of the table do not name it
        shared["best_epoch"] = True
    if not options.only_random:
        yield {"name": options.name, **shared, "pretraining": _experiment.pretraining_settings(options)}
    if not options.only_pretrained:
        for start in options.starts:
            yield {"name": f"random start, {start}", **shared, "start": start}


def work(data: Dataset, plan: Mapping[str, Any], seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network and measure it."""
    X, y = data.X_train[TRAIN], data.y_train[TRAIN]
    before = _experiment.pretrain(X, plan, seed, options)
    watch = _experiment.EpochErrors(data, VALIDATION) if "best_epoch" in plan else None
    model = PretrainedClassifier(
        hidden_layer_sizes=tuple(plan["hidden"]),
        activation=plan["activation"],
        initializer=plan.get("start", "auto"),
        pretraining=before,
        finetuning=FineTuning(
            epochs=plan["finetuning_epochs"],
            batch_size=plan["batch_size"],
            optimizer=_experiment.OPTIMIZERS[plan["optimizer"]](plan["rate"]),
            schedule=_experiment.schedule(plan),
            dropout=plan["dropout"],
            alpha=plan["alpha"],
            early_stopping=plan["early_stopping"],
        ),
        callbacks=watch,
        n_jobs=options.threads,
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    ).fit(X, y)
    return _experiment.results(model, before, data, VALIDATION) | (watch.best() if watch else {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _experiment.add_options(parser)
    parser.add_argument("--masking", type=float, nargs="+", default=[0.25, 0.25, 0.25], help="one a layer")
    parser.add_argument("--batch-size", type=int, default=100, help="of fine-tuning")
    parser.add_argument("--optimizer", choices=_experiment.OPTIMIZERS, default="adam", help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=3e-4, help="of fine-tuning")
    parser.add_argument("--early-stopping", action="store_true", help="on a tenth of the 50,000 rows")
    parser.add_argument("--best-epoch", action="store_true", help="measure the epoch of least validation error")
    parser.add_argument("--starts", nargs="+", default=["glorot_uniform_sigmoid"], metavar="INITIALIZER")
    options = parser.parse_args()
    data = load_mnist(options.data)
    lines = _experiment.run(NAME, plans(options), options.seeds, lambda plan, seed: work(data, plan, seed, options))
    _experiment.report(lines, options.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
