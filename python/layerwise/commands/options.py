"""The flags that describe a network and how it is trained, and the pipeline they make."""

from __future__ import annotations

import argparse
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.commands import words
from layerwise.commands.tables import check_names

PRETRAINING = ("denoising", "autoencoder", "sparse", "contractive", "rbm", "supervised", "none")
NOISES = ("masking", "gaussian", "salt_and_pepper", "swap")
SCHEDULES = ("auto", "constant", "linear", "cosine")
#: What batch normalisation does not go with, and why not.
UNNORMALISED = {
    "rbm": "whose units have a probability of their own for each row",
    "contractive": "whose penalty takes a code to depend on its own row alone",
}
SCALES = ("rank_gauss", "range", "standard")


def add_data(parser: argparse.ArgumentParser, *, target: str, unlabeled: bool = True) -> None:
    """Add the words that say where the rows are."""
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV or TSV with a header, Parquet, .npy or .npz")
    data = parser.add_argument_group("data")
    data.add_argument("--target", metavar="COL", help=target)
    data.add_argument("--features", metavar="NAME", help="of an .npz file: the array with the columns (X)")
    if unlabeled:
        data.add_argument(
            "--unlabeled",
            metavar="VALUE",
            help="this value of the target means that the label is unknown, as an empty cell does",
        )


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say what the columns are."""
    columns = parser.add_argument_group("columns")
    columns.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="auto: classification if the target is text, or whole numbers of at most 20 values",
    )
    columns.add_argument("--drop", type=words.names, metavar="COL,…", help="columns to leave out, such as an ID")
    columns.add_argument(
        "--categorical", type=words.names, metavar="COL,…", help="the columns that are categories (those of text)"
    )
    columns.add_argument(
        "--scale",
        choices=SCALES,
        help="of the columns of numbers (rank_gauss for tables, range for .npy and .npz)",
    )
    columns.add_argument(
        "--min-frequency",
        type=words.number(1),
        metavar="N",
        help="levels of a category with fewer rows count as one (1 %% of the rows, but from 2 to 10)",
    )


def add_network(parser: argparse.ArgumentParser, *, pretraining: tuple[str, ...] = PRETRAINING) -> None:
    """Add the flags that describe the network and its training."""
    network = parser.add_argument_group("network and training")
    network.add_argument("--layers", type=words.sizes, metavar="A,B,…", help="units of the hidden layers (100,100)")
    network.add_argument("--activation", metavar="NAME", help="of the hidden layers (tanh; sigmoid with rbm)")
    network.add_argument(
        "--batch-norm",
        action="store_true",
        help="batch normalisation of the hidden layers, in pretraining and fine-tuning; not with rbm or contractive",
    )
    network.add_argument(
        "--pretraining", choices=pretraining, default="denoising", help="how the layers are pretrained (denoising)"
    )
    network.add_argument("--noise", type=words.positive, metavar="RATE", help="of denoising: how much (masking: 0.25)")
    network.add_argument("--noise-kind", choices=NOISES, help="of denoising: which (masking)")
    network.add_argument("--epochs", type=words.number(0), metavar="E", help="of pretraining, a layer (15)")
    network.add_argument("--finetuning-epochs", type=words.number(0), metavar="E", help="on the labelled rows (50)")
    network.add_argument(
        "--learning-rate", type=words.positive, metavar="R", help="of Adam (0.001); an rbm has its own"
    )
    network.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help="of fine-tuning's rate (auto: constant for 2,000 steps, then in a straight line to 0)",
    )
    network.add_argument("--dropout", type=words.fraction, metavar="P", help="of hidden units in fine-tuning (0)")
    network.add_argument("--input-dropout", type=words.fraction, metavar="P", help="of the inputs in fine-tuning (0)")
    network.add_argument(
        "--early-stopping", action="store_true", help="end fine-tuning when a tenth of the labelled rows says so"
    )
    network.add_argument("--threads", type=words.threads, metavar="N", help="the result does not depend on it")


# What the package calls the settings that a flag sets.
FLAGS = {
    "activation": "--activation",
    "batch_norm": "--batch-norm",
    "checkpoint": "--checkpoint",
    "pretraining__corruption__rate": "--noise",
    "pretraining__corruption__scale": "--noise",
    "labels": "--labels",
    "scoring": "--scoring",
    "test_size": "--test",
    "seeds": "--seeds",
    "layer": "--layer",
}


def in_flags(message: str) -> str:
    """Return the message of a refused parameter with the name of the flag that set it, and in words of a command."""

    def flag(found: re.Match[str]) -> str:
        return FLAGS.get(found[1], found[0])

    message = re.sub(r"The '(\w+)' parameter of \w+", flag, message)
    message = re.sub(r"^(--\S+ must be) None or ", r"\1 ", message)  # which a flag is by being left out
    return re.sub(r"^(--\S+ must be) an integer in \[(-?\d+), (-?\d+)\]", r"\1 a whole number from \2 to \3", message)


def check(given: argparse.Namespace) -> None:
    """End with a usage error where flags do not go together."""
    if given.pretraining != "denoising" and (given.noise is not None or given.noise_kind is not None):
        given.parser.error(f"--noise and --noise-kind are for --pretraining denoising, not {given.pretraining}")
    if given.batch_norm and given.pretraining in UNNORMALISED:
        why = UNNORMALISED[given.pretraining]
        given.parser.error(f"--batch-norm is not for --pretraining {given.pretraining}, {why}: leave one of them out")
    if given.pretraining == "none" and given.epochs is not None:
        given.parser.error("--epochs are those of pretraining: use --finetuning-epochs with --pretraining none")


def chosen_columns(given: argparse.Namespace, X: Any) -> Any:
    """Return X without the columns to drop."""
    names = [name for flag in (given.drop, given.categorical) for name in flag or []]
    if names and isinstance(X, np.ndarray):
        raise ValueError(f"--drop and --categorical take names of columns, and {given.file} has none")
    if names:
        check_names(given.file, names, list(X.columns), "column")
    X = X.drop(columns=given.drop) if given.drop else X
    if X.shape[1] == 0:
        raise ValueError(f"{given.file} has no columns beside the target and those left out")
    return X


def categories(given: argparse.Namespace, X: Any) -> list[int]:
    """Return the numbers of the columns that are categories."""
    from layerwise.tabular import Columns

    return Columns(given.categorical or "auto", chosen=True)(X)


def _tell_of_columns(given: argparse.Namespace, X: Any, min_frequency: int) -> None:
    """Warn once of columns that make bad categories, by the rows of the file; a fit sees a part of them."""
    from layerwise import table_checks
    from layerwise.checks import ColumnWarning

    table_checks.check_columns(X, categories(given, X), min_frequency, listed=bool(given.categorical))
    warnings.simplefilter("ignore", ColumnWarning)  # until the command ends


def pipeline(given: argparse.Namespace, X: Any, is_classes: bool | None, **settings: Any) -> Any:
    """Return what the words ask for, not yet trained.

    Parameters
    ----------
    given : Namespace
    X : DataFrame or ndarray
    is_classes : bool or None
        None: there is no target.
    **settings : dict
        More parameters of the estimator.
    """
    from layerwise import PretrainedClassifier, PretrainedRegressor, StackedAutoencoder, tabular_pipeline

    kind = {True: PretrainedClassifier, False: PretrainedRegressor, None: StackedAutoencoder}[is_classes]
    network = kind(
        given.layers or "auto",
        pretraining=_pretraining(given),
        activation=given.activation or "auto",
        batch_norm=given.batch_norm or "auto",
        n_jobs=given.threads,
        **settings,
    )
    if is_classes is not None or given.finetuning_epochs:
        network.set_params(finetuning=_finetuning(given))
    is_array = isinstance(X, np.ndarray)
    min_frequency = given.min_frequency or min(10, max(2, len(X) // 100))
    _tell_of_columns(given, X, min_frequency)
    return tabular_pipeline(
        network,
        categorical=given.categorical or "auto",
        min_frequency=min_frequency,
        numbers=given.scale or ("range" if is_array else "rank_gauss"),
    )


def _pretraining(given: argparse.Namespace) -> Any:
    import layerwise as lw

    if given.pretraining == "none":
        return None
    kind: Any = {
        "denoising": lw.DenoisingAutoencoder,
        "autoencoder": lw.Autoencoder,
        "sparse": lw.SparseAutoencoder,
        "contractive": lw.ContractiveAutoencoder,
        "rbm": lw.RestrictedBoltzmannMachine,
        "supervised": lw.SupervisedPretraining,
    }[given.pretraining]
    settings: dict[str, Any] = {} if given.epochs is None else {"epochs": given.epochs}
    if given.learning_rate is not None and given.pretraining != "rbm":
        settings["optimizer"] = lw.Adam(learning_rate=given.learning_rate)
    if given.noise is not None or given.noise_kind is not None:
        name = given.noise_kind or "masking"
        noise: Any = {
            "masking": lw.Masking, "gaussian": lw.Gaussian, "salt_and_pepper": lw.SaltAndPepper, "swap": lw.Swap
        }[name]  # fmt: skip
        settings["corruption"] = noise() if given.noise is None else noise(given.noise)
    return kind(**settings)


def _finetuning(given: argparse.Namespace) -> Any:
    from layerwise import Adam, FineTuning

    settings: dict[str, Any] = {"early_stopping": given.early_stopping}
    if given.finetuning_epochs is not None:
        settings["epochs"] = given.finetuning_epochs
    if given.learning_rate is not None:
        settings["optimizer"] = Adam(learning_rate=given.learning_rate)
    if given.schedule is not None:
        settings["schedule"] = given.schedule
    if given.dropout is not None:
        settings["dropout"] = given.dropout
    if given.input_dropout is not None:
        settings["input_dropout"] = given.input_dropout
    return FineTuning(**settings)
