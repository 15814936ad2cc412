"""``layerwise predict`` and ``layerwise transform``: what a model makes of the rows of a table."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.commands import options, tables, targets, words
from layerwise.commands.files import check_writable, load_model, write

Array = NDArray[Any]

PREDICT_EXAMPLES = """\
people.layerwise new.csv
people.layerwise new.csv --probabilities -o predicted.csv
people.layerwise test.csv --target income -o predicted.npy
detector.layerwise new.csv --scores -o scores.csv"""

TRANSFORM_EXAMPLES = """\
people.layerwise new.csv -o codes.csv
people.layerwise new.csv --layer 1 -o codes.npy"""


def add(commands: Any) -> None:
    """Add both commands to the parser."""
    parser = words.command(
        commands,
        "predict",
        "MODEL FILE [options]",
        "predictions of a model, as CSV or .npy",
        "Write a prediction for each row, in the order of the file. Columns are found by name; others are ignored.",
        PREDICT_EXAMPLES,
    )
    _add_files(parser, "the target's column, if FILE has it: how well it is predicted is said on standard error", True)
    parser.add_argument(
        "--probabilities", action="store_true", help="of a classifier: also a column for each class (.npy: only these)"
    )
    parser.add_argument(
        "--scores",
        action="store_true",
        help="of an anomaly detector: also the score of each row, lower if less normal (.npy: only the scores); "
        "`layerwise info MODEL` has the threshold",
    )
    parser.set_defaults(command=run_predict)
    parser = words.command(
        commands,
        "transform",
        "MODEL FILE [options]",
        "codes of a hidden layer, as CSV or .npy",
        "Write what a hidden layer makes of each row, in the order of the file.",
        TRANSFORM_EXAMPLES,
    )
    _add_files(parser, "the target's column, if FILE has it: it is left out", False)
    parser.add_argument(
        "--layer", type=words.number(0), metavar="L", help="1 is the lowest, 0 the network's input (the last one)"
    )
    parser.set_defaults(command=run_transform)


def _add_files(parser: argparse.ArgumentParser, target: str, unlabeled: bool) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file")
    options.add_data(parser, target=target, unlabeled=unlabeled)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help=".csv or .npy file (otherwise CSV on standard output)"
    )


def run_predict(given: argparse.Namespace) -> int:
    """Write predictions."""
    if given.unlabeled is not None and given.target is None:
        given.parser.error("--unlabeled needs a --target")
    model, X, y = _ready(given)
    final = _final(model)
    kind = words.a(type(final).__name__)
    if not hasattr(final, "predict"):
        raise ValueError(f"{given.model} holds {kind}, which has no target: use transform")
    if given.probabilities and not hasattr(final, "predict_proba"):
        instead = ": use --scores" if hasattr(final, "score_samples") else ""
        raise ValueError(f"--probabilities are for classifiers, and {given.model} holds {kind}{instead}")
    if given.scores and not hasattr(final, "score_samples"):
        instead = ": use --probabilities" if hasattr(final, "predict_proba") else ""
        raise ValueError(f"--scores are for anomaly detectors, and {given.model} holds {kind}{instead}")
    predicted = model.predict(X)
    if y is not None and predicted.ndim > 1 and predicted.shape[1] > 1:
        raise ValueError(
            f"{given.model} has {predicted.shape[1]} outputs, which one target cannot be compared with: "
            "predict without --target, from a file without that column"
        )
    outputs = [predicted] if predicted.ndim == 1 else predicted.T
    header = ["prediction"] if predicted.ndim == 1 else [f"prediction{number}" for number in range(1, len(outputs) + 1)]
    columns = [[targets.text(value) for value in output] for output in outputs]
    array = predicted
    if given.probabilities:
        array = model.predict_proba(X)
        header += [f"probability_{targets.text(label)}" for label in final.classes_]
        columns += [[str(p) for p in column] for column in array.T]
    if given.scores:
        array = model.score_samples(X)
        header.append("score")
        columns.append([str(score) for score in array])
    _deliver(given, array, header, zip(*columns, strict=True))
    if y is not None:
        print(_score(given, model, X, y), file=sys.stderr)
    return 0


def run_transform(given: argparse.Namespace) -> int:
    """Write codes."""
    model, X, _ = _ready(given)
    final = _final(model)
    if not hasattr(final, "transform"):
        raise ValueError(f"{given.model} holds {words.a(type(final).__name__)}, which has no codes to show")
    codes = final.transform(X if final is model else model[:-1].transform(X), layer=given.layer)
    header = [f"unit{number}" for number in range(1, codes.shape[1] + 1)]
    _deliver(given, codes, header, ([str(value) for value in row] for row in codes))
    return 0


def _ready(given: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return the model, the columns that it takes, and the target."""
    if given.output is not None:
        if given.output.suffix.lower() not in (".csv", ".npy"):
            given.parser.error(f"--output must end in .csv or .npy, got {given.output}")
        check_writable(given.output, given.model, given.file)
    model = load_model(given.model)
    table = tables.read(given.file, _columns_of_text(model))
    X, y = tables.split(given.file, table, given.target, given.features)
    return model, _columns_for(given, model, X), y


def _final(model: Any) -> Any:
    return model.steps[-1][1] if hasattr(model, "steps") else model


def _columns_of_text(model: Any) -> list[str]:
    """Return the categories whose levels are strings: in a new file they may look like numbers."""
    names = getattr(model, "feature_names_in_", None)
    if names is None or not hasattr(model, "steps"):
        return []
    found: list[str] = []
    for name, transformer, places in model.steps[0][1].transformers_:
        if name == "categories" and len(places):
            levels = zip(places, transformer.categories_, strict=True)
            found += [str(names[place]) for place, own in levels if any(isinstance(level, str) for level in own)]
    return found


def _columns_for(given: argparse.Namespace, model: Any, X: Any) -> Any:
    """Return the columns that the model takes, with numbers where it learned from numbers."""
    names = getattr(model, "feature_names_in_", None)
    is_array = isinstance(X, np.ndarray)
    if names is not None:
        if is_array:
            raise ValueError(f"{given.model} knows its columns by name, and {given.file} has none: give CSV or Parquet")
        tables.check_names(given.file, [str(name) for name in names], list(X.columns), "column")
        X = X[list(names)]
    elif X.shape[1] != model.n_features_in_:
        own = "" if given.target is not None else "; --target leaves a target out"
        raise ValueError(f"{given.file} has {X.shape[1]} columns, but {given.model} takes {model.n_features_in_}{own}")
    if not _is_table(model):
        _refuse_holes(given, model, X)
    if not is_array:
        remedy = "make a number of it" + (", or leave it empty" if _is_table(model) else "")
        X = tables.as_numbers(given.file, X, _places_of_numbers(model), remedy)
    return X if is_array or names is not None else X.to_numpy()


def _refuse_holes(given: argparse.Namespace, model: Any, X: Any) -> None:
    """Raise ValueError with the first hole: an estimator that was trained without a pipeline takes none."""
    holes = np.asarray(X.isna()) if hasattr(X, "isna") else X != X
    if not holes.any():
        return
    row, column = (int(place) for place in np.argwhere(holes)[0])
    name = repr(X.columns[column]) if hasattr(X, "columns") else column
    command = "" if hasattr(model, "score_samples") else " or by `layerwise train`"  # which trains no detectors
    raise ValueError(
        f"{given.file}: column {name} is empty in row {row + 1} of the data, and {given.model} holds "
        f"{words.a(type(model).__name__)} that takes no holes: fill them, or train one that does, in Python with "
        f"tabular_pipeline{command}"
    )


def _places_of_numbers(model: Any) -> list[int]:
    """Return which columns held numbers in training: of a plain estimator all."""
    if not _is_table(model):
        return list(range(model.n_features_in_))
    return [int(place) for name, _, places in model.steps[0][1].transformers_ if name == "numbers" for place in places]


def _is_table(model: Any) -> bool:
    from layerwise.tabular import TabularPipeline

    return isinstance(model, TabularPipeline)


def _deliver(given: argparse.Namespace, array: Array, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    if given.output is not None and given.output.suffix.lower() == ".npy":
        content = io.BytesIO()
        np.save(content, array if array.dtype.kind != "O" else array.astype(str), allow_pickle=False)
        write(given.output, content.getvalue())
        return
    if given.output is None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
        sys.stdout.flush()
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    write(given.output, text.getvalue().encode())


def _score(given: argparse.Namespace, model: Any, X: Any, y: Any) -> str:
    final = _final(model)
    classes = getattr(final, "classes_", None)
    task = "regression" if classes is None else "classification"
    target = targets.target(y, task, given.unlabeled, f"{given.file}: the target {given.target!r}")
    own = target.values[target.known]
    if classes is not None and isinstance(classes[0], str):
        own = np.array([targets.text(label) for label in own], dtype=object)
    predicted = model.predict(X)[target.known]
    predicted = predicted.reshape(len(predicted))  # a regressor's of one column
    if classes is None:
        error = np.sqrt(np.mean((predicted - own) ** 2))
        return f"root mean squared error {error:.4g} on {len(own):,} rows; their mean alone: {own.std():.4g}"
    right = np.mean([a == b for a, b in zip(predicted, own, strict=True)])
    return f"accuracy {right:.3f} on {len(own):,} rows"
