"""Which elements of y are labels: NaN, None, -1, and the two ways to overrule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score, r2_score

from layerwise import Autoencoder, FineTuning, PretrainedClassifier, PretrainedRegressor, _core
from layerwise.estimators.labels import known_classes, known_numbers

NAN = float("nan")
X = _core.random_uniform(0, 0, 60).reshape(12, 5)


def classifier(**changes: Any) -> PretrainedClassifier:
    return PretrainedClassifier(
        (4,), pretraining=Autoencoder(epochs=1), finetuning=FineTuning(epochs=2), random_state=0, **changes
    )


def regressor(**changes: Any) -> PretrainedRegressor:
    return PretrainedRegressor(
        (4,), pretraining=Autoencoder(epochs=1), finetuning=FineTuning(epochs=2), random_state=0, **changes
    )


@pytest.mark.parametrize(
    ("y", "unlabeled", "labels"),
    [
        ([0, 1, -1, 1], "auto", [0, 1, 1]),
        (np.array([0, 1, -1, 1], np.int8), "auto", [0, 1, 1]),
        ([-1, 1, -1, 1], "auto", [-1, 1, -1, 1]),  # an ordinary two-class problem
        ([-1, 1, -1, 1], -1, [1, 1]),
        ([-1, 1, 2, -1], None, [-1, 1, 2, -1]),
        ([0.0, 1.0, -1.0], "auto", [0.0, 1.0, -1.0]),  # only integers can be the sign
        ([0.0, 1.0, -1.0], -1, [0.0, 1.0]),
        ([0.0, NAN, 1.0], "auto", [0.0, 1.0]),
        ([NAN, -1, 1], "auto", [-1, 1]),  # -1 and one other label, beside an unknown one
        ([None, 1, 0, None], "auto", [1, 0]),
        (["a", None, "b"], "auto", ["a", "b"]),
        (["a", NAN, "b"], "auto", ["a", "b"]),
        (["a", -1, "b", None], "auto", ["a", "b"]),
        (["-1", "a", "b"], "auto", ["-1", "a", "b"]),  # a string is a label
        ([True, False, None], "auto", [True, False]),
        (pd.Series([1, None, 0], dtype="Int64"), "auto", [1, 0]),
        (pd.Series(["a", None, "b"]), "auto", ["a", "b"]),
        (pd.Series(["a", None, "b"], dtype="string"), "auto", ["a", "b"]),
        (pd.Series(["a", None, "b"], dtype="category"), "auto", ["a", "b"]),
        (pl.Series([1, None, 0]), "auto", [1, 0]),
        (pl.Series(["a", None, "b"]), "auto", ["a", "b"]),
        (np.array([0, 255, 1], np.uint8), "auto", [0, 255, 1]),
    ],
    ids=str,
)
def test_known_classes(y: Any, unlabeled: Any, labels: list) -> None:
    y = np.array(y, dtype=object) if isinstance(y, list) and any(isinstance(v, str) for v in y) else y
    mask, known = known_classes(y, unlabeled)
    assert known.tolist() == labels
    assert mask.sum() == len(labels)
    assert len(mask) == len(y)


def test_a_list_of_strings_with_none_keeps_its_nan() -> None:
    for nan in (NAN, np.float32("nan"), np.float64("nan"), None):
        assert known_classes(["a", nan, "b"], "auto")[0].tolist() == [True, False, True]
        with pytest.warns(DataConversionWarning):
            assert known_classes([["a"], (nan,), ["b"]], "auto")[0].tolist() == [True, False, True]


def test_in_score_the_classes_of_fit_decide() -> None:
    mask, _ = known_classes([-1, 1, 1], "auto", np.array([0, 1]))
    assert mask.tolist() == [False, True, True]
    mask, _ = known_classes([-1, 1, 1], "auto", np.array([-1, 1]))
    assert mask.all()


@pytest.mark.parametrize(
    ("y", "unlabeled", "message"),
    [
        ([NAN, NAN], "auto", "y holds no label"),
        ([None, None], "auto", "y holds no label"),
        ([-1, -1], -1, "y holds no label"),
        ([-1, -1], "auto", "y holds no label"),
        ([NAN, -1], "auto", "y holds no label"),
        (np.array([2**70, 1], dtype=object), "auto", "does not fit int64"),
        ([10**400, None, 1.5], "auto", "does not fit float64"),
        ([0.0, NAN], None, "unlabeled=None says"),
        ([0.0, np.inf], "auto", "contains infinity"),
        ([0.5, 1.7, 2.2], "auto", "Unknown label type"),
        ([[0, 1], [1, 0]], "auto", "1d array"),
        (3, "auto", "1d array"),
    ],
)
def test_bad_classes(y: Any, unlabeled: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        known_classes(y, unlabeled)


@pytest.mark.parametrize(
    ("labels", "unknown"),
    [([0, 1, 2], -1), ([3.0, 5.0], NAN), (["b", "a"], None), (["b", "a", "c"], NAN), ([True, False], None)],
)
def test_classifier_with_unknown_labels(labels: list, unknown: Any) -> None:
    y = np.array([*labels * 2, *[unknown] * (12 - 2 * len(labels))], dtype=object)
    y = y if isinstance(labels[0], (str, bool)) else np.array(y.tolist())
    known = np.arange(12) < 2 * len(labels)
    model = classifier().fit(X, y)
    assert model.n_labeled_ == 2 * len(labels)
    assert model.classes_.tolist() == sorted(labels)
    assert model.score(X, y) == accuracy_score(y[known].tolist(), model.predict(X)[known].tolist())
    # All rows take part in pretraining, the labelled ones alone in fine-tuning.
    alone = classifier().fit(X[known], y[known])
    assert not np.array_equal(alone.stages_[0].weights, model.stages_[0].weights)


def test_fine_tuning_sees_the_labelled_rows_alone() -> None:
    y = np.array([0, 1, 2] * 2 + [-1] * 6)
    settings = {"pretraining": None, "finetuning": FineTuning(epochs=5), "random_state": 0}
    some = PretrainedClassifier((4,), **settings).fit(X, y)
    alone = PretrainedClassifier((4,), **settings).fit(X[:6], y[:6])
    np.testing.assert_array_equal(some.coefs_[1], alone.coefs_[1])


def test_two_classes_with_minus_one() -> None:
    y = np.array([-1, 1] * 6)
    assert classifier().fit(X, y).classes_.tolist() == [-1, 1]
    assert classifier(unlabeled=-1).fit(X, y).classes_.tolist() == [1]
    assert classifier(unlabeled=-1).fit(X, y).n_labeled_ == 6


def test_object_labels_stay_objects() -> None:
    y = np.array(["one", "two"] * 6, dtype=object)
    assert classifier().fit(X, y).classes_.dtype == object
    assert classifier().fit(X, [1, None] * 3 + [0] * 6).classes_.dtype.kind == "i"
    with pytest.raises(TypeError, match=r"y must hold labels of one kind .* \['int', 'str'\]"):
        classifier().fit(X, np.array([1, "a"] * 6, dtype=object))


def test_column_vectors_are_flattened_with_a_warning() -> None:
    with pytest.warns(DataConversionWarning, match="column-vector"):
        classifier().fit(X, np.array([[0], [1]] * 6))


def test_regressor_masks_unknown_cells() -> None:
    y = X[:, 0].copy()
    y[::3] = NAN
    model = regressor().fit(X, y)
    assert model.n_labeled_ == 8
    assert model.score(X, y) == pytest.approx(r2_score(y[~np.isnan(y)], model.predict(X)[~np.isnan(y)]))
    Y = np.stack([y, X[:, 1]], axis=1)
    Y[:6, 1] = NAN
    both = regressor().fit(X, Y)
    assert both.n_labeled_ == 10  # two rows have neither
    np.testing.assert_allclose(both.y_mean_, np.nanmean(Y, axis=0))
    np.testing.assert_allclose(both.y_scale_, np.nanstd(Y, axis=0))
    expected = [r2_score(Y[k, i], both.predict(X)[k, i]) for i, k in enumerate(~np.isnan(Y).T)]
    assert both.score(X, Y) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    "y",
    [
        [1.0, None, 3.0],
        [1, NAN, 3],
        np.array([1, None, 3], dtype=object),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.DataFrame({"y": [1.0, None, 3.0]}),
        pl.Series([1, None, 3]),
    ],
    ids=lambda y: type(y).__name__,
)
def test_known_numbers(y: Any) -> None:
    numbers, is_vector = known_numbers(y, "auto")
    np.testing.assert_array_equal(numbers, [[1.0], [NAN], [3.0]])
    assert is_vector == (np.ndim(y) == 1)
    with pytest.raises(ValueError, match="unlabeled=None says"):
        known_numbers(y, None)


def test_minus_one_is_a_number_unless_asked_for() -> None:
    assert not np.isnan(known_numbers([-1, 2, 3], "auto")[0]).any()
    assert np.isnan(known_numbers([-1, 2, 3], -1)[0]).sum() == 1


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([NAN, None], "y holds no label"),
        ([[1, NAN], [2, NAN]], "column 1 of y holds no label"),
        ([1.0, np.inf], "contains infinity"),
        (["a", "b"], "must hold numbers"),
        ([10**400, 1], "must hold numbers"),
        (np.array(["a", 1.0], dtype=object), "must hold numbers"),
        (np.array(["2020"], "M8[Y]"), "must hold numbers"),
        (np.array([1j]), "must hold numbers"),
        (np.zeros((2, 2, 2)), "1d or 2d"),
        ([], "1d or 2d"),
        (5.0, "1d or 2d"),
    ],
)
def test_bad_numbers(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        known_numbers(y, "auto")


@pytest.mark.parametrize("unlabeled", ["auto", -1])
def test_what_counts_as_unknown_is_said(unlabeled: Any) -> None:
    also = ", None or -1" if unlabeled == -1 else " or None"
    with pytest.raises(ValueError, match=rf"^y holds no label: every element is unknown \(NaN{also}\)"):
        known_numbers([NAN, -1 if unlabeled == -1 else None], unlabeled)


def test_targets_too_large_to_standardise() -> None:
    with pytest.raises(ValueError, match="too large for float64"):
        regressor().fit(X, np.where(np.arange(12) % 2, 1e200, -1e200))


@pytest.mark.parametrize("make", [classifier, regressor])
def test_bad_targets(make: Any) -> None:
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        make().fit(X, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(X, [0, 1])
    with pytest.raises(TypeError, match="y is a masked array"):
        make().fit(X, np.ma.masked_equal(np.arange(12), 3))
    for sparse in (scipy.sparse.csr_array([[0, 1, 2] * 4]), scipy.sparse.csc_matrix(np.eye(12, 3))):
        with pytest.raises(TypeError, match=r"^y is a sparse matrix, .* Use y\.toarray\(\)\.$"):
            make().fit(X, sparse)
    model = make().fit(X, [0, 1, 2] * 4)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(X, [0, 1])
    with pytest.raises(ValueError, match="requires y"):
        model.score(X, None)
