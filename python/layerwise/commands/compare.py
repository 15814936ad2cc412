"""``layerwise compare``: whether pretraining helps on a table."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layerwise.commands import options, tables, targets, words
from layerwise.commands.files import check_writable, write_json

DESCRIPTION = """\
Train the same network with and without pretraining on several draws of the rows, beside methods that are not networks:
logistic regression, gradient boosting and, where labels are missing, self-training and label spreading. Ends with a
table and a sentence that says whether pretraining helped here. Nothing sees a test row in training."""

EXAMPLES = """\
people.csv --target income --labels 500
people.csv --target income --labels 500 --scoring roc_auc --layers 200,100 --json found.json"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    brief = "whether pretraining helps on a table, beside other methods"
    parser = words.command(commands, "compare", "FILE --target COL [options]", brief, DESCRIPTION, EXAMPLES)
    options.add_data(parser, target="what to predict: a column; of an .npy file its number, of .npz an array")
    options.add_columns(parser)
    options.add_network(parser, pretraining=tuple(kind for kind in options.PRETRAINING if kind != "none"))
    run = parser.add_argument_group("comparison")
    run.add_argument("--labels", type=words.number(1), metavar="N", help="keep so many labels (all)")
    run.add_argument("--seeds", type=words.number(1), default=5, metavar="K", help="draws of the rows (5)")
    run.add_argument("--test", type=words.fraction, default=0.25, metavar="SHARE", help="of the labelled rows (0.25)")
    run.add_argument("--scoring", metavar="NAME", help="a scorer of scikit-learn's (accuracy; r2 for numbers)")
    run.add_argument("--json", type=Path, metavar="FILE", help="also write everything found to this file")
    parser.set_defaults(command=run_compare)


def run_compare(given: argparse.Namespace) -> int:
    """Compare and print."""
    options.check(given)
    if given.target is None:
        given.parser.error("compare needs a --target")
    if given.test == 0:
        given.parser.error("--test must be above 0 here")
    if given.json is not None:
        check_writable(given.json, given.file)
    X, y = tables.split(given.file, tables.read(given.file), given.target, given.features)
    X = options.chosen_columns(given, X)
    target = targets.target(y, given.task, given.unlabeled, f"{given.file}: the target {given.target!r}")

    from layerwise import compare

    model = options.pipeline(given, X, target.is_classes)
    print(f"{given.file}: target {given.target!r}: {target.describe()}", flush=True)
    found = compare(
        model,
        X,
        target.values,
        seeds=given.seeds,
        test_size=given.test,
        labels=given.labels,
        scoring=given.scoring,
        verbose=1,
    )
    print(f"\n{found}")
    if given.json is not None:
        write_json(given.json, asdict(found) | {"verdict": found.verdict})
    return 0
