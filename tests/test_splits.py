"""Cross-validation that tests on labelled rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)

from layerwise import (
    Autoencoder,
    FineTuning,
    InvalidParameterError,
    LabeledSplit,
    PretrainedClassifier,
    PretrainedRegressor,
    _core,
)

X, DIGITS = load_digits(return_X_y=True)
X, DIGITS = X[:200] / 16, DIGITS[:200]
UNKNOWN = _core.random_uniform(2, 0, 200) < 0.6
LABELLED = np.flatnonzero(~UNKNOWN)


def classes(kind: str) -> Any:
    return {
        "-1": np.where(UNKNOWN, -1, DIGITS),
        "NaN": np.where(UNKNOWN, np.nan, DIGITS),
        "None": [None if unknown else str(digit) for unknown, digit in zip(UNKNOWN, DIGITS, strict=True)],
        "pandas": pd.Series(np.where(UNKNOWN, -1, DIGITS), index=np.arange(200)[::-1]),
    }[kind]


@pytest.mark.parametrize("kind", ["-1", "NaN", "None", "pandas"])
def test_unknown_rows_are_trained_on_and_never_tested(kind: str) -> None:
    parts = list(LabeledSplit(4).split(X, classes(kind)))
    assert len(parts) == LabeledSplit(4).get_n_splits() == LabeledSplit(4).get_n_splits(X, classes(kind)) == 4
    expected = list(StratifiedKFold(4).split(X[LABELLED], DIGITS[LABELLED]))
    for (train, test), (_, inner) in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(test, LABELLED[inner])
        np.testing.assert_array_equal(train, np.setdiff1d(np.arange(200), test))


def test_numbers_and_indicator_matrices_are_not_stratified() -> None:
    expected = [LABELLED[test] for _, test in KFold(3).split(LABELLED)]
    whole_numbers = np.where(UNKNOWN, np.nan, np.arange(200.0))
    cells = np.stack([DIGITS > 4, DIGITS % 2], axis=1).astype(float)
    cells[UNKNOWN] = np.nan
    outputs = np.stack([np.sqrt(DIGITS)] * 2, axis=1)
    outputs[UNKNOWN] = np.nan
    for y in (whole_numbers, np.sqrt(whole_numbers), cells, outputs):
        for (_, test), rows in zip(LabeledSplit(3).split(X, y), expected, strict=True):
            np.testing.assert_array_equal(test, rows)
    outputs[LABELLED[0], 1] = np.nan  # a row with a known cell is labelled
    assert LABELLED[0] in next(LabeledSplit(3).split(X, outputs))[1]


def test_any_splitter_and_groups() -> None:
    y = classes("-1")
    groups = np.arange(200) // 20
    for train, test in LabeledSplit(GroupKFold(3)).split(X, y, groups):
        known = np.intersect1d(train, LABELLED)
        assert not set(groups[known]) & set(groups[test])
    assert LabeledSplit(ShuffleSplit(7, random_state=0)).get_n_splits(X, y) == 7
    (given,) = LabeledSplit([(np.array([0, 1, 2]), np.array([3, 4]))]).split(X, y)
    np.testing.assert_array_equal(given[1], LABELLED[[3, 4]])
    np.testing.assert_array_equal(given[0], np.sort(np.append(LABELLED[:3], np.flatnonzero(UNKNOWN))))
    with config_context(enable_metadata_routing=True):
        model = PretrainedClassifier(5, pretraining=None, finetuning=FineTuning(epochs=1))
        scores = cross_validate(model, X, y, cv=LabeledSplit(GroupKFold(3)), params={"groups": groups})
        assert len(scores["test_score"]) == 3


def test_estimators_score_on_the_labelled_rows() -> None:
    model = PretrainedClassifier(20, pretraining=Autoencoder(epochs=2), random_state=0)
    y = classes("-1")
    scores = cross_val_score(model, X, y, cv=LabeledSplit(3), error_score="raise")
    for score, (train, test) in zip(scores, LabeledSplit(3).split(X, y), strict=True):
        fitted = clone(model).fit(X[train], y[train])
        assert fitted.n_labeled_ == len(train) - UNKNOWN.sum()
        assert score == (fitted.predict(X[test]) == DIGITS[test]).mean()
    search = GridSearchCV(model, {"finetuning__epochs": [1, 40]}, cv=LabeledSplit(3)).set_params(
        estimator__finetuning=FineTuning()
    )
    assert search.fit(X, y).best_params_ == {"finetuning__epochs": 40}
    features, target = load_diabetes(return_X_y=True)
    target[::2] = np.nan
    regressor = PretrainedRegressor(10, pretraining=None, random_state=0)
    assert np.isfinite(cross_val_score(regressor, features, target, cv=LabeledSplit(3), error_score="raise")).all()


def test_unlabeled_means_what_it_means_for_the_estimators() -> None:
    y = np.where(UNKNOWN, -1, 3)  # two classes
    assert sum(len(test) for _, test in LabeledSplit(3).split(X, y)) == 200
    assert sum(len(test) for _, test in LabeledSplit(3, unlabeled=-1).split(X, y)) == len(LABELLED)
    assert sum(len(test) for _, test in LabeledSplit(3, unlabeled=None).split(X, classes("-1"))) == 200


def test_refusals() -> None:
    with pytest.raises(ValueError, match="LabeledSplit needs y"):
        next(LabeledSplit().split(X))
    with pytest.raises(ValueError, match="y holds no label"):
        next(LabeledSplit().split(X, np.full(200, np.nan)))
    with pytest.raises(InvalidParameterError, match="'unlabeled' parameter of LabeledSplit must be"):
        next(LabeledSplit(unlabeled=0).split(X, DIGITS))
    with pytest.raises(ValueError, match="as an integer"):
        next(LabeledSplit("five").split(X, DIGITS))
    with pytest.raises(ValueError, match="inconsistent"):
        next(LabeledSplit().split(X, DIGITS[:-1]))
