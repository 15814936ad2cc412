"""MNIST experiments that can be stopped and taken up again: each finished (settings, seed) is one line of JSON."""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import _timing
from layerwise import SGD, Adam, DenoisingAutoencoder, Masking, Momentum, PretrainedClassifier, StackedAutoencoder, load
from layerwise.datasets import Dataset
from layerwise.schedules import BY_NAME as SCHEDULES
from layerwise.schedules import Schedule
from layerwise.training import EpochRecord

Settings = Mapping[str, Any]
OPTIMIZERS = {"adam": Adam, "momentum": Momentum, "sgd": SGD}


def key(settings: Settings, seed: int) -> str:
    """What makes a run: its settings and its seed."""
    return json.dumps({"settings": settings, "seed": seed}, sort_keys=True)


def run(
    name: str,
    plans: Iterable[Settings],
    seeds: Sequence[int],
    work: Callable[[Settings, int], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Do the runs that ``results/<name>.jsonl`` does not have yet, seed by seed, and return those asked for.

    `work` returns what a run found; it is stored with the machine, the commit, the command and the seconds it took.
    """
    plans = [dict(plan) for plan in plans]
    done = {key(line["settings"], line["seed"]): line for line in _timing.records(name)}
    asked = [(plan, seed) for seed in seeds for plan in plans]
    missing = [(plan, seed) for plan, seed in asked if key(plan, seed) not in done]
    if len(missing) < len(asked):
        print(f"{len(asked) - len(missing)} of {len(asked)} runs are there already", flush=True)
    machine = _timing.machine() if missing else {}
    for number, (plan, seed) in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {plan['name']}, seed {seed}", flush=True)
        start = time.perf_counter()
        found = work(plan, seed)
        seconds = round(time.perf_counter() - start, 1)
        done[key(plan, seed)] = _timing.record(
            name, settings=plan, seed=seed, seconds=seconds, **found, machine=machine
        )
        print("    " + ", ".join(f"{what} {value}" for what, value in found.items() if not isinstance(value, list)))
    return [done[key(plan, seed)] for plan, seed in asked]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options that every MNIST experiment has."""
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's files; default: the folder LAYERWISE_DATA")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep pretrained layers here, for other runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--threads", type=int, help="default: chosen by the size of the work; changes no result")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that the experiments on denoising autoencoders share."""
    add_run_options(parser)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1000, 1000, 1000])
    parser.add_argument("--activation", default="sigmoid")
    parser.add_argument("--name", default="pretrained", help="of the pretrained network's settings, in the table")
    parser.add_argument("--epochs", type=int, default=15, help="of pretraining, a layer")
    parser.add_argument("--pretraining-batch-size", type=int, default=100)
    parser.add_argument("--pretraining-rate", type=float, default=1e-3)
    parser.add_argument("--pretraining-optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument("--finetuning-epochs", type=int, default=40)
    parser.add_argument("--schedule", choices=SCHEDULES, default="constant", help="of fine-tuning's rate")
    parser.add_argument("--warm-up", type=float, default=0.0, metavar="EPOCHS", help="of that schedule")
    parser.add_argument("--pretraining-schedule", choices=SCHEDULES, default="constant")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--alpha", type=float, default=0.0)
    parser.add_argument("--only-pretrained", action="store_true")
    parser.add_argument("--only-random", action="store_true")


def finetuning_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the pretrained and the random starts share. A constant rate is not named, as in lines older than that."""
    found = {
        "hidden": options.hidden,
        "activation": options.activation,
        "finetuning_epochs": options.finetuning_epochs,
        "batch_size": options.batch_size,
        "dropout": options.dropout,
        "alpha": options.alpha,
    }
    if options.schedule != "constant" or options.warm_up:
        found |= {"schedule": options.schedule, "warm_up": options.warm_up}
    return found


def pretraining_settings(options: argparse.Namespace) -> dict[str, Any]:
    """How the hidden layers are pretrained."""
    found = {
        "epochs": options.epochs,
        "batch_size": options.pretraining_batch_size,
        "rate": options.pretraining_rate,
        "masking": options.masking,
    }
    if options.pretraining_schedule != "constant":
        found["schedule"] = options.pretraining_schedule
    if options.pretraining_optimizer != "adam":
        found["optimizer"] = options.pretraining_optimizer
    return found


def schedule(settings: Settings) -> Schedule:
    """The schedule that a run's settings name."""
    return SCHEDULES[settings.get("schedule", "constant")](warm_up=settings.get("warm_up", 0.0))


def pretrain(
    X: NDArray[np.float32], plan: Settings, seed: int, options: argparse.Namespace
) -> StackedAutoencoder | None:
    """Pretrain as ``plan["pretraining"]`` says, or take what an earlier run left in the cache; None without it."""
    if "pretraining" not in plan:
        return None
    settings = plan["pretraining"]
    words = {"hidden": plan["hidden"], "activation": plan["activation"], **settings, "rows": len(X)}
    model = StackedAutoencoder(
        hidden_layer_sizes=tuple(plan["hidden"]),
        activation=plan["activation"],
        pretraining=DenoisingAutoencoder(
            corruption=[Masking(rate) for rate in settings["masking"]],
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            optimizer=OPTIMIZERS[settings.get("optimizer", "adam")](settings["rate"]),
            schedule=schedule(settings),
        ),
        n_jobs=options.threads,
        random_state=seed,
        verbose=1 if sys.stderr.isatty() else 0,
    )
    return cached(model, X, key(words, seed), options)


def cached(
    model: StackedAutoencoder, X: NDArray[np.float32], words: str, options: argparse.Namespace
) -> StackedAutoencoder:
    """Fit the model, or take what an earlier run of the same `words` left in the cache."""
    if not options.cache:
        return model.fit(X)
    file: Path = options.cache / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.layerwise"
    if file.exists():
        return load(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    model.fit(X).save(file)
    return model


def results(
    model: PretrainedClassifier, before: StackedAutoencoder | None, data: Dataset, validation: slice
) -> dict[str, Any]:
    """What a run is worth: errors in percent on validation and test rows, skills and times."""
    return {
        "validation_error": error(model, data.X_train[validation], data.y_train[validation]),
        "test_error": error(model, data.X_test, data.y_test),
        "skills": [round(stage.skill, 4) for stage in before.stages_] if before else [],
        "epochs": model.n_iter_,
        "pretraining_seconds": round(sum(record.seconds for record in before.history_), 1) if before else 0.0,
        "finetuning_seconds": round(sum(record.seconds for record in model.history_), 1),
    }


class EpochErrors:
    """Callback that measures each epoch of fine-tuning on validation and test rows, and knows the best of them."""

    def __init__(self, data: Dataset, validation: slice) -> None:
        self.data, self.validation, self.epochs = data, validation, list[dict[str, float]]()
        self._model: Callable[[], Any] | None = None

    def attach(self, current: Callable[[], Any] | None) -> None:
        """Take what returns the estimator as it stands."""
        self._model = current

    def __call__(self, record: EpochRecord) -> None:
        """Measure an epoch; nothing in pretraining."""
        model = self._model() if self._model and record.stage == "finetuning" else None
        if model is not None:
            X, y = self.data.X_train[self.validation], self.data.y_train[self.validation]
            self.epochs.append(
                {
                    "validation_error": error(model, X, y),
                    "test_error": error(model, self.data.X_test, self.data.y_test),
                }
            )

    def best(self) -> dict[str, float]:
        """The first epoch of least validation error: its number and errors."""
        number = min(range(len(self.epochs)), key=lambda i: self.epochs[i]["validation_error"])
        return {**self.epochs[number], "best_epoch": number + 1}


def error(model: PretrainedClassifier, X: NDArray[np.float32], wanted: NDArray[np.int64]) -> float:
    """Share of wrong predictions, in percent."""
    return round(100 * float(np.mean(model.predict(X) != wanted)), 3)


def report(lines: Sequence[Mapping[str, Any]], pretrained: str) -> None:
    """Print the table and what pretraining gave against the best random start."""
    print(f"\n{table(lines, {'validation_error': 'validation error %', 'test_error': 'test error %'})}")
    random = [line for line in lines if "pretraining" not in line["settings"]]
    if random and len(random) < len(lines):
        chosen = best(random, "validation_error")
        gain, spread = paired(lines, pretrained, chosen, "test_error")
        print(f"\nBest random start by validation error: {chosen}.")
        print(
            f"Its test error minus the pretrained network's: {gain:+.2f} ± {spread:.2f} points (paired over the seeds)."
        )


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over the seeds."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def shown(values: Sequence[float]) -> str:
    """Mean ± standard deviation as text; the mean alone of one value."""
    mean, spread = mean_and_spread(values)
    return f"{mean:.2f} ± {spread:.2f}" if len(values) > 1 else f"{mean:.2f}"


def table(lines: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Mean ± standard deviation of each column (key in the lines: heading), one row for each settings' name."""
    names = list(dict.fromkeys(line["settings"]["name"] for line in lines))
    rows = [["", "seeds", *columns.values(), "minutes"]]
    for name in names:
        own = [line for line in lines if line["settings"]["name"] == name]
        cells = [shown([line[column] for line in own]) for column in columns]
        minutes = statistics.fmean(line["pretraining_seconds"] + line["finetuning_seconds"] for line in own) / 60
        rows.append([name, str(len(own)), *cells, f"{minutes:.1f}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines_out = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines_out)


def paired(lines: Sequence[Mapping[str, Any]], better: str, worse: str, column: str) -> tuple[float, float]:
    """Mean and standard deviation over the seeds of `worse` minus `better`."""
    by_seed = {(line["settings"]["name"], line["seed"]): line[column] for line in lines}
    seeds = sorted({line["seed"] for line in lines})
    return mean_and_spread([by_seed[worse, seed] - by_seed[better, seed] for seed in seeds])


def best(lines: Sequence[Mapping[str, Any]], column: str) -> str:
    """The name of the settings with the least mean of the column."""
    by_name: dict[str, list[float]] = {}
    for line in lines:
        by_name.setdefault(line["settings"]["name"], []).append(line[column])
    return min(by_name, key=lambda name: statistics.fmean(by_name[name]))
