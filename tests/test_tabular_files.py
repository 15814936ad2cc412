"""Model files of table pipelines: the same bits back with any columns, and nothing but such files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from test_tabular import QUICK, ROWS, Y
from test_tabular import frame as a_frame

from layerwise import (
    AnomalyDetector,
    FormatError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    load,
    tabular_pipeline,
)
from layerwise.column_groups import groups_of
from layerwise.persistence import files


def frame() -> pd.DataFrame:
    return a_frame().assign(empty=np.nan)


def other_rows() -> pd.DataFrame:
    rows = frame().iloc[:5].copy()
    rows["job"] = ["pilot", "cook", None, "x", "smith"]
    rows["age"] = [np.nan, 200, 30, -5, 40.0]
    return rows[rows.columns[::-1]]


def array(dtype: type, hole: bool) -> Any:
    X = np.random.default_rng(1).normal(size=(ROWS, 4)) * 9
    X[:, 2] = np.arange(ROWS) % 3
    if hole:
        X[3, 1] = X[4, 2] = np.nan
    return X.astype(dtype)


def with_words() -> Any:
    X = array(np.float64, True).astype(object)
    X[:, 3] = ["a", "b", None] * (ROWS // 3)
    return X


CASES: list[tuple[Any, dict[str, Any]]] = [
    (frame(), {}),
    (frame(), {"min_frequency": 16}),
    (frame(), {"min_frequency": 1000}),
    (frame(), {"min_frequency": 0.26, "numbers": "range"}),
    (frame(), {"categorical": ["zip", "job", "owner", "size"], "numbers": "standard"}),
    (frame()[["age", "empty"]], {}),
    (frame()[["job", "size"]], {"min_frequency": 16}),
    (array(np.float32, False), {}),
    (array(np.float32, True), {"categorical": [2]}),
    (array(np.float64, True), {"categorical": [2], "min_frequency": 20}),
    (array(np.int64, False), {"categorical": (2,), "numbers": "range"}),
    (with_words(), {"min_frequency": 20}),
    (np.array([["é", "bb"], ["a", "bb"]] * (ROWS // 2)), {}),
    (pl.DataFrame({"age": np.arange(ROWS), "job": ["a", "b", None] * (ROWS // 3)}), {}),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_same_bits_come_back(number: int, tmp_path: Path) -> None:
    X, settings = CASES[number]
    model = tabular_pipeline(PretrainedClassifier((5,), **QUICK), **settings).fit(X, Y)
    model.save(tmp_path / "a")
    again = load(tmp_path / "a")
    assert type(again) is type(model)
    for rows in (X, other_rows()) if isinstance(X, pd.DataFrame) else (X, X[:3]):
        before, after = model[:-1].transform(rows), again[:-1].transform(rows)
        assert before.dtype == after.dtype
        assert groups_of(before) == groups_of(after) is not None
        np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(model.predict_proba(rows), again.predict_proba(rows))
    assert list(model[:-1].get_feature_names_out()) == list(again[:-1].get_feature_names_out())
    assert again.n_features_in_ == model.n_features_in_
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    predicted = model.predict_proba(X)
    np.testing.assert_array_equal(again.fit(X, Y).predict_proba(X), predicted)


@pytest.mark.parametrize("kind", [PretrainedRegressor, AnomalyDetector, StackedAutoencoder])
def test_other_estimators(kind: Any, tmp_path: Path) -> None:
    model = tabular_pipeline(kind((5,), **QUICK)).fit(frame(), Y * 1.5)
    model.save(tmp_path / "model")
    method = {PretrainedRegressor: "predict", AnomalyDetector: "score_samples"}.get(kind, "transform")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(getattr(again, method)(frame()), getattr(model, method)(frame()))


def test_numpys_numbers_of_a_search_can_be_saved(tmp_path: Path) -> None:
    model = tabular_pipeline(PretrainedClassifier((5,), **QUICK), min_frequency=0.1)
    model.set_params(columns__categories__min_frequency=np.float64(0.26)).fit(frame(), Y)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m").predict(frame()), model.predict(frame()))


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(NotFittedError):
        tabular_pipeline(PretrainedClassifier()).save(path)
    with pytest.raises(TypeError, match="can be saved"):
        tabular_pipeline(RandomForestClassifier()).fit(frame(), Y).save(path)
    changed = tabular_pipeline(PretrainedClassifier((5,), **QUICK))
    changed.set_params(columns__numbers__rank__n_quantiles=5).fit(frame(), Y)
    said = r"as tabular_pipeline makes them .* Got columns__numbers__rank__n_quantiles=5, where \w+ has 1000\."
    with pytest.raises(TypeError, match=said):
        changed.save(path)
    changed[-1].save(path)  # what the message says
    path.unlink()
    changed = tabular_pipeline(PretrainedClassifier((5,), **QUICK))
    changed.set_params(columns__numbers__rank="passthrough").fit(frame(), Y)
    with pytest.raises(TypeError, match=r"Got columns__numbers__rank\w+=absent, where tabular_pipeline has"):
        changed.save(path)
    with pytest.raises(TypeError, match=r"Got the steps \[\] .* tabular_pipeline has \['columns', 'float32'\]"):
        tabular_pipeline(PretrainedClassifier((5,), **QUICK)).fit(frame(), Y)[2:].save(path)
    strange = frame().assign(job=b"cook")
    with pytest.raises(TypeError, match=r"Column 'job' has levels of .*make them strings"):
        tabular_pipeline(PretrainedClassifier((5,), **QUICK)).fit(strange, Y).save(path)
    assert not path.exists()


def test_too_many_levels_are_refused_when_saving_and_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise import tabular_files

    model = tabular_pipeline(PretrainedClassifier((5,), **QUICK), min_frequency=10).fit(frame(), Y)
    model.save(tmp_path / "model")
    monkeypatch.setattr(tabular_files, "LARGEST", 20)
    with pytest.raises(ValueError, match="Raise min_frequency"):
        model.save(tmp_path / "other")
    with pytest.raises(FormatError, match="too many levels"):
        load(tmp_path / "model")


# ---- damaged or hostile files ----------------------------------------------------------------------------------------


def content_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from layerwise import tabular_files

    tensors: dict[str, Any] = {}
    return json.loads(json.dumps(tabular_files.encode(model, tensors))), tensors


def write(content: Any, tensors: Any, path: Path, name: str = "tabular") -> None:
    """Write a file that is whole, but not what `save` would write."""
    config = json.dumps({"pipeline": name, "content": content})
    path.write_bytes(files.pack(files.MODEL, config, tensors))


@pytest.fixture(scope="module")
def saved() -> tuple[dict[str, Any], dict[str, Any]]:
    return content_of(tabular_pipeline(PretrainedClassifier((5,), **QUICK), min_frequency=16).fit(frame(), Y))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("settings",), []),
        (("settings", "numbers"), "log"),
        (("settings", "numbers"), "range"),
        (("settings", "numbers"), "standard"),
        (("settings", "categorical"), 3),
        (("settings", "min_frequency"), None),
        (("settings", "extra"), 3),
        (("estimator",), {}),
        (("columns",), 3),
        (("columns", "extra"), 3),
        (("columns", "n_columns"), 0),
        (("columns", "n_columns"), 7),
        (("columns", "n_columns"), 2**40),
        (("columns", "n_columns"), True),
        (("columns", "names"), ["a"]),
        (("columns", "names", 0), 3),
        (("columns", "numbers"), [0, 0, 1, 2, 6]),
        (("columns", "numbers"), [0]),
        (("columns", "numbers"), 3),
        (("columns", "numbers", 0), -1),
        (("columns", "learned"), []),
        (("columns", "learned", 0), "columns.1"),
        (("columns", "learned", 0), 7),
        (("columns", "learned", 6), "more"),
        (("columns", "holes"), [0, 9]),
        (("columns", "holes"), []),
        (("columns", "categories"), [3]),
        (("columns", "levels"), []),
        (("columns", "levels", 0, "dtype"), "U99999"),
        (("columns", "levels", 0, "dtype"), "V8"),
        (("columns", "levels", 0, "dtype"), "O8"),
        (("columns", "levels", 0, "values"), ["clerk", "clerk", "smith"]),
        (("columns", "levels", 0, "values"), [["clerk"], "cook", "smith"]),
        (("columns", "levels", 0, "values"), []),
        (("columns", "levels", 0, "hole"), False),
        (("columns", "levels", 0, "hole"), 1),
        (("columns", "levels", 0, "rare"), [9]),
        (("columns", "levels", 0, "rare"), "all"),
        (("columns", "levels", 0), {}),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(
    place: tuple[Any, ...], value: Any, saved: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    content, tensors = copy.deepcopy(saved[0]), dict(saved[1])
    write(content, tensors, tmp_path / "whole")
    load(tmp_path / "whole")
    inner = content
    for step in place[:-1]:
        inner = inner[step]
    if isinstance(inner, list) and place[-1] >= len(inner):
        inner.append(value)
    else:
        inner[place[-1]] = value
    write(content, tensors, tmp_path / "changed")
    with pytest.raises(FormatError):
        load(tmp_path / "changed")


def test_arrays_that_do_not_fit_are_refused(saved: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    content, tensors = saved
    for name in [name for name in tensors if name.startswith("columns.")]:
        array = tensors[name]
        broken = [array[:-1], array.astype(np.uint32), np.zeros((1, 1)), array[..., None]]
        if name != "columns.0":  # a column without a value has no median
            broken.append(np.full_like(array, np.nan))
        for other in broken:
            write(content, tensors | {name: np.ascontiguousarray(other)}, tmp_path / "changed")
            with pytest.raises(FormatError):
                load(tmp_path / "changed")
    write(content, tensors, tmp_path / "changed", name="another")
    with pytest.raises(FormatError, match="unknown pipeline 'another'"):
        load(tmp_path / "changed")
    write(content, tensors | {"more": np.zeros(3)}, tmp_path / "changed")
    with pytest.raises(FormatError, match="more"):
        load(tmp_path / "changed")
