"""What the commands make of columns: numbers that come as decimals or as text, holes, categories."""

from __future__ import annotations

import subprocess
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_lines import ROWS, complaint_of, people, run, table_of, train, write_tables

import layerwise
from layerwise import load, tabular
from layerwise.commands import tables


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)


def save_plain(columns: str = "abcd") -> pd.DataFrame:
    """Save a detector that was trained without a pipeline, and return its rows."""
    frame = pd.DataFrame(np.load("some.npz")["X"], columns=list(columns)).astype(np.float64)
    detector = layerwise.AnomalyDetector((5,), finetuning=layerwise.FineTuning(epochs=1), random_state=0)
    detector.fit(frame).save("plain.layerwise")
    return frame


def test_decimals_are_numbers() -> None:
    pytest.importorskip("pyarrow")
    decimals = [None, *(Decimal(number) / 7 for number in range(ROWS - 1))]
    frame = pd.DataFrame({"d": decimals, "x": range(ROWS), "y": [Decimal(number) / 4 for number in range(ROWS)]})
    frame.to_parquet("decimals.parquet")
    train("decimals.parquet", "--target", "y", "-q")
    model = load("decimals.layerwise")
    assert isinstance(model[-1], layerwise.PretrainedRegressor)
    assert run("predict", "decimals.layerwise", "decimals.parquet", "--target", "y", "-o", "out.npy") == 0
    np.testing.assert_array_equal(np.load("out.npy"), model.predict(frame[["d", "x"]].astype(float)))
    assert run("transform", "decimals.layerwise", "decimals.parquet", "-o", "out.npy") == 0
    assert np.load("out.npy").shape == (ROWS, 4)


def test_the_first_cell_that_is_no_number_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "-q")
    rows = people().astype({"age": object})
    rows.loc[50, "age"] = "Bad Input"
    rows.to_csv("bad.csv", index=False)
    said = complaint_of(capsys, "predict", "people.layerwise", "bad.csv")
    assert said == (
        "layerwise: bad.csv: column 'age' must hold numbers, as in training, got 'Bad Input' in row 51 of the data: "
        "make a number of it, or leave it empty\n"
    )
    rows.loc[70, "age"] = "-"
    rows.to_csv("bad.csv", index=False)
    said = complaint_of(capsys, "predict", "people.layerwise", "bad.csv")
    assert "got 'Bad Input' in row 51 of the data (2 of 80 cells are none)" in said
    save_plain().assign(b=["1.5", *["x"] * 59]).to_csv("bad.csv", index=False)
    said = complaint_of(capsys, "predict", "plain.layerwise", "bad.csv")
    assert "column 'b' must hold numbers, as in training, got 'x' in row 2 of the data (59 of 60 cells" in said


def test_text_that_says_numbers_is_numbers() -> None:
    pytest.importorskip("pyarrow")
    train("people.csv", "--target", "income", "-q")
    frame = tables.read(Path("people.csv"), ["code"])
    text = [None if age != age else str(age) for age in frame["age"]]
    frame.assign(age=text).to_parquet("text.parquet")
    for name in ("people.csv", "text.parquet"):
        assert run("predict", "people.layerwise", name, "--probabilities", "-o", f"{name}.csv") == 0
    assert table_of("text.parquet.csv") == table_of("people.csv.csv")


def test_a_value_that_means_unknown_makes_no_text_of_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    age = [str(age) if row % 3 else "n.d." for row, age in enumerate(people()["age"].fillna(30) + 0.5)]
    people().assign(age=age).to_csv("mixed.csv", index=False)
    train("mixed.csv", "--target", "age", "--unlabeled", "n.d.", "--drop", "id,income")
    assert "target 'age': numbers from 18.5 to 79.5; 53 of the rows are labelled" in capsys.readouterr().out
    assert isinstance(load("mixed.layerwise")[-1], layerwise.PretrainedRegressor)
    assert (
        run("predict", "mixed.layerwise", "mixed.csv", "--target", "age", "--unlabeled", "n.d.", "-o", "out.npy") == 0
    )
    assert "on 53 rows" in capsys.readouterr().err
    hint = "'n.d.' in row 1 of the data; if such cells mean that the label is unknown: --unlabeled n.d.\n"
    said = complaint_of(capsys, "train", "mixed.csv", "--target", "age", "--task", "regression")
    assert said == f"layerwise: mixed.csv: the target 'age' must hold numbers for a regression, got {hint}"
    train("mixed.csv", "--target", "age", "--test", "0")
    assert "(text among numbers makes classes of all: " + hint.strip() + ")" in capsys.readouterr().out


def test_many_categories_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["x" * 50, *"abcdefg"]
    pd.DataFrame({name: ["p", "q"] * 10 for name in names} | {"n": range(20)}).to_csv("many.csv", index=False)
    train("many.csv")
    shown = f"columns: 1 of numbers, 8 of categories ({'x' * 39}…, a, b, c, d, e, … 2 more); no target"
    assert shown in capsys.readouterr().out
    assert run("info", "many.layerwise") == 0
    assert f"categories   8: {'x' * 39}…, a, b, c, d, e, f, g\n" in capsys.readouterr().out
    train("some.npy")
    assert "columns: 5 of numbers, 0 of categories; no target" in capsys.readouterr().out
    assert run("info", "some.layerwise") == 0
    assert "categories" not in capsys.readouterr().out


class StrangeColumnWarning(UserWarning):
    """Of this package, as far as its module says."""


StrangeColumnWarning.__module__ = "layerwise.tabular"


def test_own_warnings_are_a_line_each(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fit = tabular.TableColumns.fit_transform

    def warns(self: Any, X: Any, y: Any = None, **params: Any) -> Any:
        for _ in range(2):  # as of a column that is looked at more than once
            warnings.warn("column 'a'\nis strange", StrangeColumnWarning, stacklevel=2)
            warnings.warn("other packages' business", UserWarning, stacklevel=2)
            exec(
                "warnings.warn('our own business', UserWarning, stacklevel=3)", {**vars(tabular), "warnings": warnings}
            )
        return fit(self, X, y, **params)

    monkeypatch.setattr(tabular.TableColumns, "fit_transform", warns)
    train("people.csv", "--target", "income")
    said = capsys.readouterr().err
    assert said == "layerwise: warning: column 'a' is strange\nlayerwise: warning: our own business\n"


def test_a_sensor_with_one_cell_of_text_is_told() -> None:
    frame = pd.DataFrame({"a": np.linspace(0, 1, 60), "b": np.linspace(3, 2, 60)}).astype({"a": object})
    frame["y"] = frame.b * 2
    frame.loc[41, "a"] = "Bad Input"
    frame.to_csv("bad.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-m", "layerwise", "train", "bad.csv", "--target", "y", "--epochs", "1", "-q"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == (
        "layerwise: warning: column 'a' is taken as categories: 59 of 60 cells are numbers, but row 41 (counted from "
        "0) has 'Bad Input'. Make it a column of numbers, with NaN for such cells; or, if it is meant so, list all "
        "columns of categories in --categorical, this one too.\n"
    )


def test_holes_that_a_plain_estimator_does_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    frame = save_plain()
    frame.loc[4, "c"] = np.nan
    frame.to_csv("holes.csv", index=False)
    for command in ("predict", "transform"):
        said = complaint_of(capsys, command, "plain.layerwise", "holes.csv")
        assert said == (
            "layerwise: holes.csv: column 'c' is empty in row 5 of the data, and plain.layerwise holds an "
            "AnomalyDetector that takes no holes: fill them, or train one that does, in Python with tabular_pipeline\n"
        )
    layerwise.StackedAutoencoder((5,), random_state=0).fit(np.load("some.npy")).save("plain.layerwise")
    X = np.load("some.npy")
    X[7, 1] = np.nan
    np.save("holes.npy", X)
    said = complaint_of(capsys, "transform", "plain.layerwise", "holes.npy")
    assert "holes.npy: column 1 is empty in row 8 of the data, and plain.layerwise holds a StackedAutoencoder" in said
    assert said.endswith("in Python with tabular_pipeline or by `layerwise train`\n")
    train("some.npy")
    assert run("transform", "some.layerwise", "holes.npy", "-o", "out.npy") == 0
