"""What a table pipeline says of a table's columns: numbers as text, too many levels, dates, cells that do not fit."""

from __future__ import annotations

import re
import warnings
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from layerwise import AnomalyDetector, ColumnWarning, DenoisingAutoencoder, StackedAutoencoder, load, tabular_pipeline

ROWS = 1000
NUMBERS = np.random.default_rng(0).normal(size=ROWS).astype(str).astype(object)
DAYS = pd.date_range("2020", periods=ROWS)


def fitted(X: Any, **settings: Any) -> Any:
    return tabular_pipeline(StackedAutoencoder(), **settings)[:-1].fit(X)


def with_cells(cells: dict[int, Any]) -> Any:
    """The numbers as text, with other cells in the places given."""
    values = NUMBERS.copy()
    values[list(cells)] = list(cells.values())
    return values


# ---- numbers as text -------------------------------------------------------------------------------------------------

BAD = with_cells({501: "Bad Input", 700: "?", 3: None})


@pytest.mark.parametrize(
    ("X", "name"),
    [
        (pd.DataFrame({"a": BAD}), "'a'"),
        (pd.DataFrame({"a": pd.Series(BAD, dtype="str")}).set_index(np.arange(ROWS) + 7), "'a'"),
        (pd.DataFrame({"a": pd.Series(BAD, dtype="string")}), "'a'"),
        (pl.DataFrame({"b": np.arange(ROWS), "a": list(BAD)}), "'a'"),
        (np.column_stack([np.arange(ROWS).astype(object), BAD]), "1"),
    ],
    ids=["pandas", "str", "string", "polars", "array"],
)
def test_a_text_cell_among_numbers_is_warned_of(X: Any, name: str) -> None:
    said = (
        f"column {name} is taken as categories: 997 of 999 cells are numbers, but row 501 (counted from 0) has "
        "'Bad Input'. Make it a column of numbers"
    )
    with pytest.warns(ColumnWarning, match=re.escape(said)) as warned:
        fitted(X)
    assert len(warned) == 1
    with pytest.warns(ColumnWarning, match=re.escape(said)):
        fitted(X, min_frequency=5)  # all levels would be one


def test_decimal_commas_and_numbers_that_are_all_text_are_warned_of() -> None:
    commas = pd.DataFrame({"a": [number.replace(".", ",") for number in NUMBERS]})
    said = (
        r"1,000 of 1,000 cells are numbers \(1,000 with a decimal comma\), such as '0,12\d+' in row 0 .*decimal=\",\""
    )
    with pytest.warns(ColumnWarning, match=said):
        fitted(commas)
    with pytest.warns(ColumnWarning, match=r"750 of 1,000 .* \(500 with a decimal comma\), but row 3 .* has 'none'\."):
        fitted(pd.DataFrame({"a": [(f"{n},5", f"{n},5", str(n), "none")[n % 4] for n in range(ROWS)]}))
    with pytest.warns(
        ColumnWarning, match="1,000 of 1,000 cells are numbers, of 1,000 different values, though as text"
    ):
        fitted(pd.DataFrame({"a": NUMBERS}))
    with pytest.warns(ColumnWarning, match="of 600 different values"):
        fitted(pd.DataFrame({"a": [str(n % 600) for n in range(ROWS)]}))


@pytest.mark.parametrize(
    "column",
    [
        ["1", "2", "3", None] * 250,
        ["2", "3", "4", "5more"] * 250,
        ["0.5", "1.0", "1.5"] * 300,
        [f"0{1000 + n % 150}" for n in range(ROWS)],  # codes with zeros before them
        [str(1900 + n % 98) for n in range(500)],  # years
        [f"{n % 10}E{n % 7}" for n in range(ROWS)],  # grades
        [f"{1 + n % 2}.{n % 6}" for n in range(ROWS)],  # versions
        [f"0{n % 60}" for n in range(ROWS)],
        [f"{n % 5},5" for n in range(ROWS)],
        ["cook", "clerk", "7"] * 300,
        [f"{n}" if n % 3 == 0 else "cook" for n in range(ROWS)],
        ["nan", "inf", "1_0", "x"] * 5,
        [str(n) for n in range(40)],
    ],
)
def test_categories_that_are_meant_so(column: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(pd.DataFrame({"a": column}))


def test_a_zero_before_other_digits_makes_a_code_of_a_number() -> None:
    with pytest.warns(ColumnWarning, match="1,000 different values in 1,000 rows"):
        fitted(pd.DataFrame({"a": [f"0{1000 + n}" for n in range(ROWS)]}))


def test_holes_of_pandas_among_objects_are_holes() -> None:
    X = pd.DataFrame({"a": np.linspace(0, 1, 40), "b": ["x", "y"] * 20})
    model = fitted(X)
    expected = model.transform(pd.DataFrame({"a": [0.5, np.nan], "b": ["x", "y"]}))
    for cells in (pd.Series([0.5, pd.NA], dtype=object), pd.array(["0.5", pd.NA], dtype="string")):
        np.testing.assert_array_equal(model.transform(pd.DataFrame({"a": cells, "b": ["x", "y"]})), expected)
    with pytest.raises(ValueError, match=r"column 'a' .* row 0 "):
        model.transform(pd.DataFrame({"a": pd.Series([10**400, 1], dtype=object), "b": ["x", "y"]}))


def test_categories_that_the_user_has_listed_are_his_own() -> None:
    column = [f"{n % 300}.5" for n in range(ROWS)]
    column[7] = "bad"
    X = pd.DataFrame({"a": column})
    fitted(X, categorical=["a"])
    fitted(X.astype("category"))
    with pytest.warns(ColumnWarning):
        fitted(X)


# ---- levels that nearly all differ -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_levels_that_nearly_all_differ_are_warned_of(kind: Any) -> None:
    X = kind({"time": list(DAYS.astype(str)), "x": np.arange(ROWS)})
    said = (
        "column 'time' holds 1,000 different values in 1,000 rows: each value becomes an input .* or set min_frequency"
    )
    with pytest.warns(ColumnWarning, match=said):
        fitted(X)
    with pytest.warns(ColumnWarning, match=said):
        fitted(X, min_frequency=1)
    for few in (2, 0.01):
        with pytest.warns(ColumnWarning, match=r"all come in fewer rows than min_frequency .* or lower min_frequency"):
            fitted(X, min_frequency=few)
    with pytest.warns(ColumnWarning, match="column 'x' holds 1,000 different"):
        fitted(X[["x"]], categorical=["x"])


def test_small_tables_and_levels_that_come_again_are_not_warned_of() -> None:
    fitted(pd.DataFrame({"id": [f"a{n}" for n in range(49)]}))
    often = [f"a{n // 2}" for n in range(ROWS)]
    fitted(pd.DataFrame({"id": often}))
    half = ["known"] * 600 + [f"a{n}" for n in range(400)]
    fitted(pd.DataFrame({"id": half}))
    mostly = ["known"] * 400 + [f"a{n}" for n in range(600)]
    fitted(pd.DataFrame({"id": mostly}), min_frequency=5)
    with pytest.warns(ColumnWarning, match="601 different values in 1,000 rows"):
        fitted(pd.DataFrame({"id": mostly}))


# ---- dates, times, complex numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(DAYS),
        pd.Series(DAYS.tz_localize("UTC")),
        pd.Series(DAYS.to_period()),
        pd.Series(DAYS - DAYS[0]),
        pd.Series(DAYS).astype(object),
        pd.Series(DAYS).astype("category"),
        pd.Series([None, date(2020, 1, 2)] * 5, dtype=object),
        pl.Series(DAYS.to_pydatetime().tolist()),
        pl.Series([timedelta(1), None]),
        np.arange("2020", "2030", dtype="M8[Y]"),
        np.arange(10).astype("m8[s]").astype(object),
    ],
    ids=lambda column: f"{type(column).__module__.split('.')[0]}-{column.dtype}",
)
def test_dates_and_times_are_refused(column: Any) -> None:
    X = column[:, None] if isinstance(column, np.ndarray) else type(column.to_frame())({"when": column})
    name = "column 0" if isinstance(X, np.ndarray) else "column 'when'"
    with pytest.raises(TypeError, match=rf"^{name} holds dates or times\. Make numbers of them \(for example seconds"):
        fitted(X)
    with pytest.raises(TypeError, match=rf"^{name} holds dates or times"):
        fitted(X, categorical=[name.split()[1].strip("'") if "'" in name else 0])


def test_complex_numbers_are_refused() -> None:
    for X in (np.ones((5, 1)) * 1j, pd.DataFrame({0: np.ones(5) * 1j}), pd.DataFrame({0: [1.5, 2j]}, dtype=object)):
        with pytest.raises(TypeError, match=r"^column 0 holds complex numbers\. Make columns of their parts"):
            fitted(X)


# ---- cells that do not fit -------------------------------------------------------------------------------------------

FOUR = pd.DataFrame({"a": [1.0, 2, 3, 4], "job": ["cook", "clerk", "cook", None]}, index=list("wxyz"))


def test_a_cell_that_is_no_number_is_named() -> None:
    before = fitted(FOUR)
    said = r"^column 'a' is taken as numbers, but row 2 \(counted from 0\) has 'bad'\. Give a number there, or "
    wrong = FOUR.assign(a=["1", None, "bad", "4"])
    other = wrong.assign(more="x")[["more", "job", "a"]]
    for table in (wrong, other, wrong.astype({"a": "string"})):
        with pytest.raises(ValueError, match=said):
            before.transform(table)
    np.testing.assert_array_equal(before.transform(FOUR.assign(a=list("1234"))), before.transform(FOUR))
    from_polars = fitted(pl.DataFrame({"x": [1, 2, 3], "a": [1.0, 2, 3]}))
    with pytest.raises(ValueError, match=said):
        from_polars.transform(pl.DataFrame({"a": ["1", None, "bad"], "x": [1, 2, 3]}))
    from_array = fitted(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"column 1 is taken as numbers, but row 0 .* has '\?'"):
        from_array.transform(np.array([[1, "?"]], dtype=object))
    with pytest.raises(ValueError, match=r"column 'job' .* row 0 .* has 'cook'.* or name the column in 'categorical'"):
        fitted(FOUR.assign(b=[0, 1, 0, 1]), categorical=["b"])
    with pytest.raises(TypeError, match="column 'a' holds dates or times"):
        before.transform(FOUR.assign(a=DAYS[:4]))
    with pytest.raises(ValueError, match="columns are missing"):
        before.transform(FOUR[["job"]])


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (FOUR.assign(a=[1, np.nan, -np.inf, np.inf]), "column 'a' has -inf in row 2 "),
        (FOUR.assign(a=pd.array([1, None, np.inf, 2], dtype="Float64")), "column 'a' has inf in row 2 "),
        (FOUR.assign(a=[1, None, 2, np.inf]).astype(object), "column 'a' has inf in row 3 "),
        (
            pl.DataFrame({"a": [1, None, np.inf], "job": ["cook", "clerk", None]}, strict=False),
            "column 'a' has inf in row 2 ",
        ),
        (np.array([[1, 2, 3], [3, -np.inf, 0]]), "column 1 has -inf in row 1 "),
        (FOUR.set_axis([3, 5], axis=1).replace({3: {2.0: np.inf}}), "column 3 has inf in row 1 "),
    ],
    ids=["pandas", "Float64", "object", "polars", "array", "numbered"],
)
def test_infinity_is_named(X: Any, said: str) -> None:
    said = f"^{re.escape(said + '(counted from 0).')} Numbers must be finite: give NaN for a hole"
    with pytest.raises(ValueError, match=said):
        fitted(X)
    if isinstance(X, pd.DataFrame) and "a" in X:
        with pytest.raises(ValueError, match=said):
            fitted(FOUR).transform(X)


def test_cells_of_several_kinds_are_named() -> None:
    said = r"^column 'a' holds cells of several kinds: row 0 has 1 \(number; such cells: 2\) and row 1 has 'b' \(text; "
    with pytest.raises(TypeError, match=said):
        fitted(pd.DataFrame({"a": [1, "b", 2.5, None]}))
    with pytest.raises(TypeError, match=r"column 1 holds .* row 0 has True \(bool; .* and row 2 has 'b'"):
        fitted(np.array([[1, True], [1, None], [1, "b"]], dtype=object))
    with pytest.raises(TypeError, match=r"column 'a' has \[1\] in row 1 \(counted from 0\)\. Categories are strings"):
        fitted(pd.DataFrame({"a": [None, [1], [2]]}))
    fitted([[1, "a"], [2, "b"]])  # columns of one kind each
    fitted(pd.DataFrame({"a": [True, 0, 2.5, None]}))


def test_tables_that_are_none_are_refused() -> None:
    twice = pd.concat([FOUR, FOUR[["a"]]], axis=1)
    before = fitted(FOUR)
    for call in (fitted, before.transform):
        with pytest.raises(
            ValueError, match=r"X has 2 columns named 'a' \(numbers 0, 2, from 0\).* rename or leave out"
        ):
            call(twice)
        for table in (FOUR[:0], pl.DataFrame({"a": [], "job": []}), np.zeros((0, 2))):
            with pytest.raises(ValueError, match=r"X has no rows \(its shape is \(0, 2\)\)"):
                call(table)
        with pytest.raises(ValueError, match=r"X has no columns"):
            call(FOUR[[]])
        with pytest.raises(ValueError, match=r"X must be a table with rows and columns\. Got one of shape \(4,\)"):
            call(np.ones(4))
        with pytest.raises(TypeError, match=r"X is sparse\. Tables must be dense"):
            call(sparse.eye(2).tocsr())


# ---- levels of another kind than at fit ------------------------------------------------------------------------------


def levels_of(made: Any) -> list[int | None]:
    """The place of each row's level; None: no level."""
    return [int(row.argmax()) if row.any() else None for row in np.asarray(made)]


@pytest.mark.parametrize(
    ("levels", "cells", "expected"),
    [
        ([1, 2, 3], ["1", " 2", "3.0", "4", "x"], [0, 1, 2, None, None]),
        ([1.5, 2.0, 3.0], ["1.5", "2", "3.00", "nan", "1_5"], [0, 1, 2, None, None]),
        ([2**60, 2**60 + 1], [str(2**60 + 1), str(2**60), "7"], [1, 0, None]),
        ([True, False], ["True", "False", "yes"], [1, 0, None]),
        (["1", "2", "3"], [1, 2, 4], [0, 1, None]),
        (["1", "2", "x"], [1.0, np.nan, 2.5], [0, None, None]),
        (["01", "02"], [1, 2, 3], [0, 1, None]),
        (["01", "02", "1"], [1, 2, 3], [2, 1, None]),
        (["001", "01", "2"], [1, 2], [None, 2]),
        (["1.0", "2.0"], [1, 2, 3], [0, 1, None]),
        (["False", "True"], [True, False], [1, 0]),
        (["1", "2"], ["2", 1, None], [1, 0, None]),
    ],
)
def test_levels_of_another_kind_are_read(levels: list[Any], cells: list[Any], expected: list[int | None]) -> None:
    before = fitted(pd.DataFrame({"zip": levels * 2}), categorical=["zip"])
    rows = pd.DataFrame({"more": 1, "zip": cells})
    kept = rows.copy()
    assert levels_of(before.transform(rows)) == expected
    pd.testing.assert_frame_equal(rows, kept)
    assert levels_of(before.transform(rows.assign(zip=pd.Series(cells, dtype="category")))) == expected
    before = fitted(np.array(levels * 2)[:, None], categorical=[0])
    assert levels_of(before.transform(np.array(cells, dtype=object)[:, None])) == expected
    if len({type(cell) for cell in cells}) == 1:
        before = fitted(pl.DataFrame({"zip": levels * 2}), categorical=["zip"])
        assert levels_of(before.transform(pl.DataFrame({"zip": cells, "more": 1}))) == expected


def test_holes_stay_holes_where_levels_are_read() -> None:
    for levels, cells in (([1, 2, None], ["2", None, "1"]), (["1", "2", None], [2, None, 1])):
        for kind in (pd.DataFrame, pl.DataFrame):
            before = fitted(kind({"zip": levels}), categorical=["zip"])
            assert levels_of(before.transform(kind({"zip": cells}))) == [1, 2, 0]
        before = fitted(np.array(levels, dtype=object)[:, None], categorical=[0])
        assert levels_of(before.transform(np.array(cells, dtype=object)[:, None])) == [1, 2, 0]


def test_an_array_of_strings_is_read_as_numbers_and_levels() -> None:
    X = np.array([[1.5, 1], [2.5, 2], [0, 1]])
    before = fitted(X, categorical=[1])
    np.testing.assert_array_equal(before.transform(X.astype(str)), before.transform(X))
    again = fitted(X.astype(str), categorical=[1])
    np.testing.assert_array_equal(again.transform(X), before.transform(X))


def test_models_from_files_read_levels_too(tmp_path: Path) -> None:
    X = pd.DataFrame({"x": np.arange(60.0), "zip": [10, 20, 30] * 20, "code": ["1", "2", None] * 20})
    settings = DenoisingAutoencoder(epochs=1)
    model = tabular_pipeline(
        StackedAutoencoder((4,), pretraining=settings, random_state=0), categorical=["zip", "code"]
    )
    model.fit(X).save(tmp_path / "model")
    other = X.assign(x=X["x"].astype(str), zip=X["zip"].astype(str), code=X["code"].astype(float))
    for one in (model, load(tmp_path / "model")):
        np.testing.assert_array_equal(one.transform(other), model.transform(X))
    with pytest.raises(ValueError, match="column 'x' is taken as numbers, but row 3 "):
        load(tmp_path / "model").transform(X.astype({"x": object}).replace({"x": {3.0: "?"}}))


def test_levels_that_cannot_be_read_are_warned_of() -> None:
    before = fitted(pd.DataFrame({"x": np.arange(8), "zip": [10, 20, 30, 40] * 2}), categorical=["zip"])
    said = (
        "column 'zip' had numbers or bool as levels at fit (10, 20, 30, …), but row 1 (counted from 0) has 'ten' as "
        "text, and no row has one of the levels."
    )
    with pytest.warns(ColumnWarning, match=re.escape(said)):
        before.transform(pd.DataFrame({"x": [1, 2, 3], "zip": [None, "ten", "11"]}))
    before.transform(pd.DataFrame({"x": [1, 2], "zip": [None, None]}))
    before.transform(pd.DataFrame({"x": [1, 2], "zip": [11, 12]}))  # new levels, of the same kind
    before = fitted(pd.DataFrame({"word": ["a", "b"]}))
    for cells, kind in (([1, 2], "number"), (DAYS[:2], "date"), ([True, False], "bool")):
        with pytest.warns(ColumnWarning, match=rf"had strings as levels at fit \('a', 'b'\), but .* as {kind},"):
            before.transform(pd.DataFrame({"word": cells}))
    before.transform(pd.DataFrame({"word": ["c", 1]}))


# ---- what the docstring says of anomalies ----------------------------------------------------------------------------


def test_values_beyond_the_greatest_are_told_apart_unless_by_ranks() -> None:
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), columns=list("abc"))
    beyond = pd.concat([X[:1].assign(a=X["a"].max() * factor) for factor in (1, 1.01, 1e6)])
    for scale, told_apart in (("rank_gauss", False), ("standard", True), ("range", True)):
        detector = AnomalyDetector((8,), pretraining=DenoisingAutoencoder(epochs=5), random_state=0)
        scores = tabular_pipeline(detector, numbers=scale).fit(X).score_samples(beyond)
        assert (len(set(scores)) == 3) is told_apart
        assert bool(scores[2] < 100 * scores[1]) is told_apart  # by ranks they are the same


def test_rare_levels_as_one_let_new_ids_pass() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"id": [f"a{n}" for n in range(400)], "x": rng.normal(size=400), "job": ["cook", "clerk"] * 200})
    shares = []
    for few in (None, 2):
        detector = AnomalyDetector((16,), pretraining=DenoisingAutoencoder(epochs=20), random_state=0)
        with pytest.warns(ColumnWarning, match="column 'id'"):
            model = tabular_pipeline(detector, min_frequency=few).fit(X[:300])
        shares.append((model.predict(X[300:]) == -1).mean())
    assert shares[0] > 0.9
    assert shares[1] < 0.2
