"""MNIST, 784-500-500-2000-10 sigmoid: four ways to start fine-tuning (Larochelle et al. 2009, table 1).

    python benchmarks/mnist_500_500_2000.py --data FOLDER [--seeds 3] [--rows machines autoencoders ...]

The table of that paper has test errors of 1.20 % (Boltzmann machines), 1.41 % (autoencoders), 2.04 % (supervised greedy
pretraining) and 2.40 % (no pretraining). The protocol here: the first 50,000 training rows in file order train, the
last 10,000 validate, 10,000 test; weights start uniformly in +-1 / sqrt(max(fan_in, fan_out)) and biases at 0, the
machines' by Hinton's rules (2010); tied decoders and cross-entropy; every network is fine-tuned alike, and the epoch
with the least validation error gives the row's test error, as in the paper. There rates, their decrease and the number
of pretraining updates were searched for by validation error, with one row an update; here they are options, batches
have ``--batch-size`` rows, and every row's validation error is recorded beside its test error, for choosing.

Every finished run is one line in ``benchmarks/results/mnist_500_500_2000.jsonl``, so that a restart does only what is
missing; with ``--cache`` it does not repeat a finished pretraining without labels either.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import _experiment
from layerwise import (
    SGD,
    Adam,
    Autoencoder,
    FineTuning,
    InverseTimeDecay,
    Momentum,
    MomentumSwitch,
    PretrainedClassifier,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    SupervisedPretraining,
)
from layerwise.datasets import Dataset, load_mnist

NAME = "mnist_500_500_2000"
ROWS = ("machines", "autoencoders", "supervised", "none")
TRAIN, VALIDATION = slice(0, 50_000), slice(50_000, 60_000)
OPTIMIZERS = {"adam": Adam, "momentum": Momentum, "sgd": SGD}


def plans(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings to run, one for each row of the table."""
    tuning = {
        "epochs": options.finetuning_epochs,
        "batch_size": options.batch_size,
        "optimizer": options.optimizer,
        "rate": options.rate,
        "decay": options.decay,
    }
    before = {"epochs": options.epochs, "batch_size": options.pretraining_batch_size}
    rates = {
        "machines": options.machine_rate,
        "autoencoders": options.autoencoder_rate,
        "supervised": options.supervised_rate,
    }
    for name in options.rows:
        plan = {"name": name, "hidden": options.hidden, "tuning": tuning}
        if name != "none":
            plan["pretraining"] = {**before, "rate": rates[name]}
        # Older lines of the table do not name Adam.
        if name == "autoencoders" and options.autoencoder_optimizer != "adam":
            plan["pretraining"]["optimizer"] = options.autoencoder_optimizer
        yield plan


def pretraining(plan: Mapping[str, Any], seed: int, options: argparse.Namespace, data: Dataset) -> Any:
    """What the classifier takes as its pretraining: settings, or layers that are pretrained already, or None."""
    if plan["name"] == "none":
        return None
    epochs, batch_size, rate = (plan["pretraining"][name] for name in ("epochs", "batch_size", "rate"))
    shared = {"epochs": epochs, "batch_size": batch_size}
    if plan["name"] == "supervised":
        return SupervisedPretraining(**shared, optimizer=Adam(rate))
    optimizer = OPTIMIZERS[plan["pretraining"].get("optimizer", "adam")](rate)
    start, settings = "larochelle_uniform", Autoencoder(**shared, optimizer=optimizer, loss="cross_entropy")
    if plan["name"] == "machines":
        start, settings = "auto", RestrictedBoltzmannMachine(**shared, optimizer=Momentum(rate, MomentumSwitch()))
    stack = StackedAutoencoder(
        plan["hidden"],
        activation="sigmoid",
        pretraining=settings,
        initializer=start,
        n_jobs=options.threads,
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    )
    words = _experiment.key({name: value for name, value in plan.items() if name != "tuning"}, seed)
    return _experiment.cached(stack, data.X_train[TRAIN], words, options)


def work(data: Dataset, plan: Mapping[str, Any], seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Make one row of the table."""
    before, tuning, watch = (
        pretraining(plan, seed, options, data),
        plan["tuning"],
        _experiment.EpochErrors(data, VALIDATION),
    )
    stacked = isinstance(before, StackedAutoencoder)
    model = PretrainedClassifier(
        plan["hidden"],
        activation="sigmoid",
        initializer="auto" if stacked else "larochelle_uniform",
        pretraining=before,
        finetuning=FineTuning(
            epochs=tuning["epochs"],
            batch_size=tuning["batch_size"],
            optimizer=OPTIMIZERS[tuning["optimizer"]](tuning["rate"]),
            schedule=InverseTimeDecay(tuning["decay"]),
        ),
        callbacks=watch,
        n_jobs=options.threads,
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    ).fit(data.X_train[TRAIN], data.y_train[TRAIN])
    history = [*(before.history_ if stacked else []), *model.history_]
    return {
        **watch.best(),
        "training_loss": float(f"{model.history_[-1].loss:.4g}"),
        "skills": [round(stage.skill, 4) for stage in model.stages_],
        **{
            f"{stage}_seconds": round(sum(record.seconds for record in history if record.stage == stage), 1)
            for stage in ("pretraining", "finetuning")
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _experiment.add_run_options(parser)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="of the table")
    parser.add_argument("--hidden", type=int, nargs="+", default=[500, 500, 2000])
    parser.add_argument("--epochs", type=int, default=50, help="of pretraining, a layer")
    parser.add_argument("--pretraining-batch-size", type=int, default=100)
    parser.add_argument("--machine-rate", type=float, default=0.1)
    parser.add_argument("--autoencoder-optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument("--autoencoder-rate", type=float, default=1e-3, help="of that optimiser")
    parser.add_argument("--supervised-rate", type=float, default=1e-3, help="of Adam")
    parser.add_argument("--finetuning-epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=10, help="of fine-tuning")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=0.1, help="of fine-tuning")
    parser.add_argument("--decay", type=float, default=0.0, help="of that rate: 1 / (1 + decay * step)")
    options = parser.parse_args(arguments)
    data = load_mnist(options.data)
    lines = _experiment.run(NAME, plans(options), options.seeds, lambda plan, seed: work(data, plan, seed, options))
    print(f"\n{_experiment.table(lines, {'validation_error': 'validation error %', 'test_error': 'test error %'})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
