"""``layerwise train``: a model file from a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.callbacks import JSONLines
from layerwise.commands import options, tables, targets, words
from layerwise.commands.display import TrainingProgress
from layerwise.commands.files import check_writable
from layerwise.commands.targets import Target
from layerwise.training import EpochRecord

DESCRIPTION = """\
Pretrain a network on all rows of a table, one layer at a time and without labels, then fine-tune it on the rows that
have one. An empty cell in the target column is an unknown label; so most of that column may be empty. Without
--target, an autoencoder is trained, whose codes `layerwise transform` gives.

Columns of text become categories and may have holes, as may those of numbers; all that is done to the columns is kept
in the model file, which can be read without running code of it. A part of the labelled rows is kept apart and tested
at the end. Each epoch is written to a file of JSON lines."""

EXAMPLES = """\
people.csv --target income
people.csv --target income --drop id --layers 200,100 --noise 0.3 --epochs 30
sensors.parquet --target quality --task regression --early-stopping
digits.npz --target y --labels 200 --pretraining rbm
readings.csv --layers 50,5 -o codes.layerwise
people.csv --target income --checkpoint people.checkpoint --max-seconds 600"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = words.command(
        commands,
        "train",
        "FILE [--target COL] [options]",
        "pretrain and fine-tune a network on a table, and save it",
        DESCRIPTION,
        EXAMPLES,
    )
    options.add_data(
        parser,
        target="what to predict: a column; of .npy its number, of .npz an array; none: train an autoencoder",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="MODEL", help="the model file (FILE's name + .layerwise)")
    parser.add_argument("--history", type=Path, metavar="JSONL", help="file of the epochs (MODEL's name + .jsonl)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but warnings and errors")
    options.add_columns(parser)
    options.add_network(parser)
    run = parser.add_argument_group("run")
    run.add_argument("--labels", type=words.number(1), metavar="N", help="keep so many labels, to see what few can do")
    run.add_argument(
        "--test",
        type=words.fraction,
        metavar="SHARE",
        help="of the labelled rows, kept apart for a test (0.2; 0: none)",
    )
    run.add_argument(
        "--seed", type=words.number(0, 2**32 - 1), default=0, metavar="N", help="the same gives the same model (0)"
    )
    run.add_argument("--max-seconds", type=words.positive, metavar="S", help="end training after so long")
    run.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="write here, every minute and on Ctrl-C, where training stands; the same command goes on from it, to the "
        "same model",
    )
    parser.set_defaults(command=run_train)


def run_train(given: argparse.Namespace) -> int:
    """Train, test, save."""
    _check(given)
    model_file = given.output or Path(given.file.name).with_suffix(".layerwise")
    history = given.history or model_file.with_suffix(".jsonl")
    for file in (model_file, *([] if given.checkpoint is None else [given.checkpoint])):
        check_writable(file, given.file)
    check_writable(history, given.file, appends=True)
    if model_file.resolve() == history.resolve():
        raise ValueError(f"{history} cannot hold both the model and the epochs: choose another name with --history")
    if given.checkpoint is not None and given.checkpoint.resolve() in (model_file.resolve(), history.resolve()):
        raise ValueError(f"{given.checkpoint} is another file of this run: choose another name with --checkpoint")

    X, y = tables.split(given.file, tables.read(given.file), given.target, given.features)
    X = options.chosen_columns(given, X)
    target = None if y is None else targets.target(y, given.task, given.unlabeled, _name(given))
    say: Callable[[str], None] = _nothing if given.quiet else print
    say(_describe(given, X, target))
    train, test = _divide(given, len(X), target)

    epochs = _Epochs(history)
    model = options.pipeline(
        given,
        X,
        None if target is None else target.is_classes,
        random_state=given.seed,
        max_seconds=given.max_seconds,
        checkpoint=given.checkpoint,
        callbacks=epochs,
    )
    network = model.steps[-1][1]
    rows = tables.rows(X, train)
    labels = None if target is None else _shown(given, target, train)
    progress = _progress(given, model, rows, labels)
    if progress is not None:
        network._progress = lambda: progress  # instead of the estimator's own
    try:
        model.fit(rows, labels)
    except KeyboardInterrupt as stopped:
        _clear(progress)
        if hasattr(network, "network_"):
            epochs.begin()
            model.save(model_file)
            told = f"interrupted; {model_file} holds the model as it was in fine-tuning"
        elif network.finetuning is None:  # an autoencoder that there is nothing to tune for
            told = "interrupted before the last layer was trained: no model is written"
        else:
            told = "interrupted before fine-tuning: no model is written"
        of_checkpoint = getattr(stopped, "of_checkpoint", "")
        stopped.args = (f"{told}. {of_checkpoint}" if of_checkpoint else told,)
        raise
    finally:
        _clear(progress)
        vars(network).pop("_progress", None)
    epochs.begin()
    if target is not None and len(test):
        say(_score(model, tables.rows(X, test), target.values[test], target.is_classes))
    model.save(model_file)
    say(f"model: {model_file} ({model_file.stat().st_size / 1000:,.0f} kB); epochs: {history}")
    if given.checkpoint is not None:
        say(f"checkpoint: {given.checkpoint} (delete it to train anew)")
    return 0


class _Epochs(JSONLines):
    """Writes this run's epochs alone; what an earlier run wrote stays until this one has done an epoch.

    Of a run that goes on from a checkpoint the epochs before it are this run's, too.
    """

    _begun = False

    def begin(self) -> None:
        """Empty the file, once."""
        if not self._begun:
            Path(self.path).write_text("")
        self._begun = True

    def take_up(self, records: Sequence[EpochRecord]) -> None:
        """Begin with the epochs before the checkpoint; those after it are done again."""
        self.begin()
        for record in records:
            super().__call__(record)

    def __call__(self, record: EpochRecord) -> None:
        self.begin()
        super().__call__(record)


def _check(given: argparse.Namespace) -> None:
    options.check(given)
    if given.target is not None:
        return
    for flag in ("labels", "test", "dropout", "input_dropout", "early_stopping", "unlabeled"):
        value = getattr(given, flag)
        if value is not None and value is not False:  # 0 would be equal to False
            given.parser.error(f"--{flag.replace('_', '-')} needs a --target")
    if given.schedule is not None and not given.finetuning_epochs:
        given.parser.error("--schedule needs a --target, or --finetuning-epochs")
    if given.pretraining in ("none", "supervised"):
        given.parser.error(f"--pretraining {given.pretraining} needs a --target")
    if given.task != "auto":
        given.parser.error("--task needs a --target")


def _nothing(_: str) -> None:
    """Say nothing."""


def _name(given: argparse.Namespace) -> str:
    return f"{given.file}: the target {given.target!r}"


def _describe(given: argparse.Namespace, X: Any, target: Target | None) -> str:
    categories = options.categories(given, X)
    columns = f"{X.shape[1] - len(categories)} of numbers, {len(categories)} of categories"
    if categories:  # by name: a number column with a cell of text is among them
        columns += f" ({words.listed(X.columns[categories] if hasattr(X, 'columns') else categories)})"
    lines = [f"{given.file}: {len(X):,} rows; columns: {columns}"]
    if target is None:
        return f"{lines[0]}; no target: an autoencoder"
    lines.append(f"target {given.target!r}: {target.describe()}; {target.known.sum():,} of the rows are labelled")
    if target.is_classes and -1 in target.values[target.known].tolist():
        lines.append("(-1 is taken as a class; --unlabeled -1 makes it an unknown label)")
    if target.stray:
        lines.append(f"(text among numbers makes classes of all: {target.stray})")
    return "\n".join(lines)


def _divide(given: argparse.Namespace, n_rows: int, target: Target | None) -> tuple[Any, Any]:
    """Return the numbers of the rows to train on and to test on."""
    share = 0.2 if given.test is None else given.test
    if target is None or share == 0:
        return np.arange(n_rows), np.arange(0)
    from sklearn.model_selection import train_test_split

    known = np.flatnonzero(target.known)
    groups = [str(label) for label in target.values[known]] if target.is_classes else None
    if groups is not None:
        classes, counts = np.unique(groups, return_counts=True)
        if counts.min() < 2:
            rare = str(classes[counts.argmin()])
            raise ValueError(f"class {rare!r} has one labelled row: no test row can be kept apart; use --test 0")
    try:
        _, test = train_test_split(known, test_size=share, stratify=groups, random_state=given.seed)
    except ValueError:
        raise ValueError(
            f"--test {share:g} of {len(known)} labelled rows are too few to test on; use --test 0"
        ) from None
    return np.setdiff1d(np.arange(n_rows), test), np.sort(test)


def _shown(given: argparse.Namespace, target: Target, train: Any) -> Any:
    """Return the labels of the training rows, of which as many are shown as --labels says."""
    labels, known = target.values[train], np.flatnonzero(target.known[train])
    if given.labels is None:
        return labels
    from layerwise import datasets

    own = [str(label) for label in labels[known]] if target.is_classes else ["number"] * len(known)
    least = len(set(own))
    if not least <= given.labels <= len(known):
        one_each = " (one a class)" if target.is_classes else ""
        allowed = f"from {least}{one_each} to {len(known)} (those of the training rows)"
        raise ValueError(f"--labels must be {allowed}, got {given.labels}")
    kept = datasets.few_labels(own, given.labels, random_state=given.seed)
    hidden = train[known[[label is None for label in kept]]]
    return target.hidden(hidden)[train]


def _progress(given: argparse.Namespace, model: Any, rows: Any, labels: Any) -> TrainingProgress | None:
    if given.quiet:
        return None
    network = model.steps[-1][1]
    hidden = given.layers or (100, 100)
    pretraining = 0 if network.pretraining is None else network.pretraining.epochs
    finetuning = 0 if network.finetuning is None else network.finetuning.epochs
    labelled = len(rows) if labels is None else sum(not (v is None or v != v) for v in labels)
    columns = model.steps[0][1]
    return TrainingProgress(
        sys.stdout,
        lambda: max(part.stop for part in columns.output_indices_.values()),
        hidden,
        [pretraining] * len(hidden),
        finetuning,
        len(rows),
        labelled,
    )


def _clear(progress: TrainingProgress | None) -> None:
    if progress is not None:
        progress.line.clear()


def _score(model: Any, X: Any, y: Any, is_classes: bool) -> str:
    """Return how well the test rows were predicted, beside a guess that does not look at them."""
    if is_classes:
        right = model.score(X, y)
        _, counts = np.unique([str(label) for label in y], return_counts=True)
        return (
            f"test: accuracy {right:.3f} on {len(y):,} rows; their commonest label alone: {counts.max() / len(y):.3f}"
        )
    y = y.astype(np.float64)
    error = np.sqrt(np.mean((model.predict(X) - y) ** 2))
    return (
        f"test: R² {model.score(X, y):.3f}, root mean squared error {error:.4g} on {len(y):,} rows; "
        f"their mean alone: {y.std():.4g}"
    )
