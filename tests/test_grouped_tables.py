"""Tables that know their column groups: arrays, frames, and what a pipeline tells its estimator."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from column_tables import GROUPS, QUICK, frame, table
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from layerwise import (
    ColumnGroups,
    DenoisingAutoencoder,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    tabular_pipeline,
)
from layerwise.column_groups import groups_of, with_groups


def test_arrays_keep_their_groups_with_their_columns() -> None:
    X = table().astype(np.float32)
    known = with_groups(X, GROUPS)
    assert np.shares_memory(known, X)
    assert groups_of(X) is None
    for same in (
        known, known[3:9], known[[1, 5]], known[known[:, 0] > 0], known.astype(np.float64), known.copy(), 2 * known,
        pickle.loads(pickle.dumps(known)), copy.deepcopy(known),
    ):  # fmt: skip
        assert groups_of(same) == GROUPS
    for other in (known[:, ::-1], known[:, :4], known[0], known.T, np.asarray(known), known.sum(axis=0), known[:, [0]]):
        assert groups_of(other) is None
        assert type(np.asarray(other)) is np.ndarray
    assert with_groups(X, None) is X


def test_frames_keep_them_where_they_can(tmp_path: Path) -> None:
    X = pd.DataFrame(table())
    assert groups_of(X) is None
    known = with_groups(X, GROUPS)
    assert groups_of(known) == groups_of(known.iloc[:3]) == groups_of(known.astype(np.float32)) == GROUPS
    assert groups_of(known.iloc[:, :3]) is None
    pickle.dumps(known)
    known.to_json(tmp_path / "x.json")
    assert groups_of(with_groups(pl.DataFrame(table()), GROUPS)) == GROUPS


@pytest.mark.parametrize("container", ["default", "pandas", "polars"])
def test_a_pipeline_tells_its_estimator(container: str) -> None:
    if container == "polars" and not hasattr(
        StandardScaler().fit(pl.DataFrame({"a": [1.0, 2.0]})), "feature_names_in_"
    ):
        pytest.skip("scikit-learn 1.6 does not know the frames of polars 2")
    model = tabular_pipeline(StackedAutoencoder((4,), pretraining=QUICK, random_state=0))
    model = clone(model).set_output(transform=container).fit(frame())
    (stage,) = model[-1].stages_
    assert stage.loss == "mixed"
    assert stage.settings.loss == ColumnGroups(
        (("number", 2), ("flag", 1), ("category", 3), ("category", 2)),
        ("width", "height", "height missing", "kind", "sold"),
        (("high", "low", "middle"), ("False", "True")),
    )
    before = tabular_pipeline(StackedAutoencoder((4,), pretraining=QUICK, random_state=0)).fit(frame())
    np.testing.assert_array_equal(model[-1].network_.layers[0].weights, before[-1].network_.layers[0].weights)


def test_a_pipeline_s_groups_are_those_of_the_rows_it_is_fitted_on() -> None:
    rows = frame()
    rows.loc[:2, "kind"] = ["rare", "rarer", "rarest"]
    before = tabular_pipeline(StackedAutoencoder())[:-1]
    assert groups_of(before.fit_transform(rows)).groups == (
        ("number", 2),
        ("flag", 1),
        ("category", 6),
        ("category", 2),
    )
    assert groups_of(before.fit_transform(rows[3:])).groups == GROUPS.groups
    assert groups_of(before.transform(rows)).groups == GROUPS.groups  # levels it has not seen are no columns
    few = tabular_pipeline(StackedAutoencoder(), min_frequency=5)[:-1].fit_transform(rows)
    assert groups_of(few).levels[0] == ("high", "low", "middle", "infrequent")
    whole = rows.assign(height=1.0).drop(columns=["kind", "sold"])
    assert groups_of(before.fit_transform(whole)).groups == (("number", 2),)
    assert groups_of(before.fit_transform(rows[["sold"]])).groups == (("category", 2),)
    assert groups_of(before.fit_transform(table())).names == tuple("01234567")
    holes = rows[["kind"]].where(rows["kind"] != "low")
    assert groups_of(before.fit_transform(holes)).levels[0][-1] == "missing"


def test_settings_that_are_fixed_stay() -> None:
    for settings, loss in (
        (QUICK.replace(loss="squared_error"), "squared_error"),
        (QUICK.replace(decoder="identity"), "squared_error"),
        (RestrictedBoltzmannMachine(epochs=1, visible="gaussian"), "squared_error"),
    ):
        activation = "sigmoid" if isinstance(settings, RestrictedBoltzmannMachine) else "tanh"
        model = tabular_pipeline(StackedAutoencoder((4,), pretraining=settings, activation=activation)).fit(frame())
        assert model[-1].stages_[0].loss == loss


def test_searches_and_caches_keep_the_groups(tmp_path: Path) -> None:
    model = tabular_pipeline(StackedAutoencoder((4,), pretraining=DenoisingAutoencoder(epochs=1), random_state=0))
    model.set_params(memory=str(tmp_path))
    grid = {"stackedautoencoder__pretraining__corruption__rate": [0.1, 0.5]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(frame())
    assert search.best_estimator_[-1].stages_[0].loss == "mixed"
    again = clone(model).fit(frame())  # from the cache
    assert again[-1].stages_[0].loss == "mixed"
