"""Explanations of a table's rows: the table's own columns, cells and units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from layerwise import AnomalyDetector, InvalidParameterError, PretrainedClassifier, load, tabular_pipeline
from layerwise.tabular import SCALES


def table() -> pd.DataFrame:
    """Two numbers, of which one has holes and follows the other, a constant, and a category."""
    draw = np.random.default_rng(0)
    heat = draw.normal(150, 20, 400)
    found = pd.DataFrame({"heat": heat, "kind": draw.choice(["x", "y", "z"], 400), "flow": 3 * heat, "set": 7.0})
    found["flow"] += draw.normal(size=400)
    found.loc[3:30, "heat"] = np.nan
    return found


def fitted(X: Any, **settings: Any) -> Any:
    return tabular_pipeline(AnomalyDetector(random_state=0), **settings).fit(X)


def of_polars(X: pd.DataFrame) -> pl.DataFrame:
    """The table as one of polars, NaN being null."""
    return pl.DataFrame({name: X[name].astype(object).where(X[name].notna(), None).tolist() for name in X.columns})


def odd_row() -> pd.DataFrame:
    row = table().iloc[[0]].copy()
    row["flow"], row["kind"] = 60.0, "new"
    return row


@pytest.mark.parametrize("numbers", SCALES)
def test_cells_and_expected_values_are_in_the_units_of_the_table(numbers: str) -> None:
    model, row = fitted(table(), numbers=numbers), odd_row()
    told = {line.column: line for line in model.explain(row)}
    assert set(told) == {"heat", "kind", "flow", "set", "heat missing"}
    assert {name: told[name].observed for name in row.columns} == row.iloc[0].to_dict()
    assert told["heat missing"].observed == 0
    assert told["set"].expected == pytest.approx(7, rel=0.02)
    scaled = model[-1].explain(model[:-1].transform(row))
    assert [line.share for line in model.explain(row)] == [line.share for line in scaled]
    assert (model.explain(row).score, model.explain(row).offset) == (scaled.score, scaled.offset)
    rebuilt = {line.column: line.expected for line in scaled}
    scale = model.named_steps["columns"].named_transformers_["numbers"][1:]
    back = scale.inverse_transform([[rebuilt["heat"], rebuilt["flow"], rebuilt["set"]]])[0]
    assert [told[name].expected for name in ("heat", "flow", "set")] == pytest.approx(back)
    assert told["kind"].expected == rebuilt["kind"]


def test_ordinary_rows_are_expected_to_be_what_they_are() -> None:
    X = table()
    told = {line.column: line for line in fitted(X).explain(X.iloc[[100]])}
    assert told["flow"].expected == pytest.approx(X.flow[100], rel=0.05)
    assert told["heat"].expected == pytest.approx(X.heat[100], rel=0.05)


@pytest.mark.parametrize("hole", [np.nan, None])
def test_holes_are_called_missing(hole: Any) -> None:
    X = table()
    X.loc[5:9, "kind"] = hole
    told = {line.column: line for line in fitted(X).explain(X.iloc[[5]])}
    assert (told["heat"].observed, told["kind"].observed, told["heat missing"].observed) == ("missing", "missing", 1)
    assert isinstance(told["heat"].expected, float)
    nullable = X.astype({"heat": "Float64", "kind": "string"})
    assert [tuple(line) for line in fitted(X).explain(nullable.iloc[[5]])] == [
        tuple(line) for line in fitted(X).explain(X.iloc[[5]])
    ]
    nulls = of_polars(X)
    told = {line.column: line.observed for line in fitted(nulls).explain(nulls[5:6])}
    assert (told["heat"], told["kind"]) == ("missing", "missing")


def test_rows_of_every_kind_of_table(tmp_path: Path) -> None:
    X, row = table(), odd_row()
    model = fitted(X)
    told = model.explain(row)
    assert list(model.explain(row.iloc[0])) == list(told)  # a Series
    assert list(model.explain(row[["set", "flow", "kind", "heat"]])) == list(told)
    assert list(model.explain(row, top=2)) == list(told)[:2]
    model.save(tmp_path / "model")
    assert repr(load(tmp_path / "model").explain(row)) == repr(told)
    polars = fitted(of_polars(X)).explain(of_polars(row))
    assert [line.column for line in polars] == [line.column for line in told]
    for bare in (row.to_numpy(), row.iloc[0].tolist()):  # in the order of the table, of which scikit-learn warns
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            assert list(model.explain(bare)) == list(told)
    numbers = X[["heat", "flow"]].to_numpy()
    of_array = fitted(numbers).explain(numbers[0])
    assert {line.column for line in of_array} == {0, 1, "0 missing"}
    assert {line.observed for line in of_array} == {*numbers[0], 0.0}
    assert list(fitted(numbers).explain(numbers[:1])) == list(of_array)
    named = pd.DataFrame(numbers[:1], columns=["heat", "flow"])
    with pytest.warns(UserWarning, match="X has feature names"):
        assert list(fitted(numbers).explain(named)) == list(of_array)


def test_a_column_that_is_called_like_a_flag() -> None:
    X = table()
    X["heat missing"] = np.linspace(990, 1010, 400)
    told = {line.column: line for line in fitted(X).explain(X.iloc[[7]])}
    assert told["heat missing"].observed == X["heat missing"][7]
    assert told["heat missing (flag)"].observed == 1
    assert told["heat"].observed == "missing"


def test_rows_of_lists_keep_what_each_cell_is() -> None:
    draw = np.random.default_rng(0)
    rows = np.array([[draw.normal(), draw.choice(["a", "b"])] for _ in range(200)], dtype=object)
    rows[:20, 1] = np.nan
    model = fitted(rows)
    for hole in (np.nan, None):
        assert {line.column: line.observed for line in model.explain([0.1, hole])} == {0: 0.1, 1: "missing"}
    assert {line.column: line.observed for line in model.explain([np.nan, "a"])} == {0: "missing", 1: "a"}
    np.testing.assert_array_equal(model.score_samples([[0.1, None]]), model.score_samples([[0.1, np.nan]]))


def test_tables_of_one_kind_of_column() -> None:
    X = table()
    (line,) = fitted(X[["kind"]]).explain(odd_row()[["kind"]])
    assert (line.column, line.observed) == ("kind", "new")
    (line,) = fitted(X[["flow"]]).explain(odd_row()[["flow"]])
    assert (line.column, line.observed) == ("flow", 60)


def test_what_it_refuses() -> None:
    assert not hasattr(tabular_pipeline(PretrainedClassifier()), "explain")
    model = fitted(table())
    with pytest.raises(ValueError, match=r"explain takes one row\. Got 2 rows\."):
        model.explain(table().iloc[:2])
    with pytest.raises(InvalidParameterError, match="'top'"):
        model.explain(odd_row(), top=0)
