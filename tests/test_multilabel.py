"""Rows with several labels: an indicator matrix as target, with unknown cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

from layerwise import (
    SGD,
    Adam,
    Autoencoder,
    FineTuning,
    InvalidParameterError,
    PretrainedClassifier,
    _core,
    load,
)

N = 300


def data() -> tuple[np.ndarray, np.ndarray]:
    """Digits, and four things that may be true of each: it is even, above 4, a prime, and below 3."""
    X, digit = load_digits(return_X_y=True)
    labels = [digit % 2 == 0, digit > 4, np.isin(digit, (2, 3, 5, 7)), digit < 3]
    return X[:N] / 16, np.stack(labels, axis=1)[:N].astype(int)


def make(**changes: Any) -> PretrainedClassifier:
    options: dict[str, Any] = {
        "hidden_layer_sizes": (20,),
        "pretraining": Autoencoder(epochs=2),
        "finetuning": FineTuning(epochs=30, optimizer=Adam(0.01)),
        "random_state": 0,
    }
    return PretrainedClassifier(**(options | changes))


def test_it_learns_and_answers_as_mlp_classifier_does() -> None:
    X, Y = data()
    model = make().fit(X[:200], Y[:200])
    peer = MLPClassifier((20,), random_state=0, max_iter=3000).fit(X[:200], Y[:200])
    assert model.score(X[200:], Y[200:]) > 0.6
    for method in ("predict", "predict_proba"):
        ours, theirs = getattr(model, method)(X), getattr(peer, method)(X)
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(model.classes_, peer.classes_)
    proba = model.predict_proba(X)
    np.testing.assert_array_equal(model.predict(X), proba > 0.5)
    np.testing.assert_allclose(np.log(proba), model.predict_log_proba(X), rtol=1e-9)
    np.testing.assert_allclose(1 / (1 + np.exp(-model.decision_function(X))), proba, rtol=1e-12)
    assert model.score(X, Y) == accuracy_score(Y, model.predict(X))
    assert (cross_val_score(model, X, Y, cv=2, error_score="raise") > 0.5).all()


def test_an_epoch_of_full_batch_is_a_step_down_the_cross_entropy_of_the_known_cells() -> None:
    X, Y = data()
    target = Y.astype(float)
    target[_core.random_uniform(1, 0, Y.size).reshape(Y.shape) < 0.5] = np.nan
    target[3] = np.nan
    options: dict[str, Any] = {"pretraining": None, "hidden_layer_sizes": 5}
    start = make(**options, finetuning=FineTuning(epochs=0)).fit(X, target)
    step = make(**options, finetuning=FineTuning(epochs=1, batch_size=10**6, optimizer=SGD(0.5))).fit(X, target)
    assert start.n_labeled_ == (~np.isnan(target).all(axis=1)).sum() < N
    known = ~np.isnan(target)
    proba, rows = start.predict_proba(X), start.n_labeled_
    delta = np.where(known, proba - np.nan_to_num(target), 0) / rows
    expected = start.coefs_[1] - 0.5 * start.transform(X).T @ delta
    np.testing.assert_allclose(step.coefs_[1], expected, rtol=1e-9, atol=1e-12)
    losses = -np.where(known, np.where(target == 1, np.log(proba), np.log(1 - proba)), 0).sum()
    assert step.history_[0].loss == pytest.approx(losses / rows, rel=1e-10)


def test_ways_to_say_unknown() -> None:
    X, Y = data()
    unknown = _core.random_uniform(1, 0, Y.size).reshape(Y.shape) < 0.3
    target = np.where(unknown, np.nan, Y)
    expected = make().fit(X, target).predict_proba(X)
    objects = Y.astype(object)
    objects[unknown] = None
    others = [np.where(unknown, -1, Y), np.where(unknown, -1.0, Y), objects, objects.tolist(), pd.DataFrame(target)]
    for other in others:
        np.testing.assert_array_equal(make().fit(X, other).predict_proba(X), expected)
    np.testing.assert_array_equal(make(unlabeled=-1).fit(X, others[0]).predict_proba(X), expected)
    for bad in (target, objects):
        with pytest.raises(ValueError, match="unlabeled=None says that every element is a label"):
            make(unlabeled=None).fit(X, bad)
    with pytest.raises(ValueError, match="indicator matrix"):
        make(unlabeled=None).fit(X, others[0])


def test_unknown_cells_do_not_count_in_the_score() -> None:
    X, Y = data()
    model = make().fit(X, Y)
    right = (model.predict(X) == Y).all(axis=1)
    target = Y.astype(float)
    target[:50] = np.nan  # unknown rows
    assert model.score(X, target) == pytest.approx(right[50:].mean())
    weights = np.arange(N) % 3
    assert model.score(X, target, weights) == pytest.approx(np.average(right[50:], weights=weights[50:]))
    wrong = 1 - model.predict(X)
    assert model.score(X, wrong) == 0
    wrong[:, 1:] = -1
    wrong[:, 0] = 1 - wrong[:, 0]
    assert model.score(X, wrong) == 1
    for bad in (Y[:, :2], Y[:, 0], Y[:-1]):
        with pytest.raises(ValueError, match=r"but an indicator matrix of \(300, 4\) is expected"):
            model.score(X, bad)


def test_weights_early_stopping_and_files(tmp_path: Any) -> None:
    X, Y = data()
    weights = (np.arange(N) % 4).astype(float)
    early = FineTuning(epochs=20, early_stopping=True)
    model = make(finetuning=early).fit(X, Y, sample_weight=weights)
    there = weights > 0
    same = make(finetuning=early).fit(X[there], Y[there], sample_weight=weights[there])
    np.testing.assert_array_equal(model.predict_proba(X), same.predict_proba(X))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.score(X, Y) == model.score(X, Y)


def test_balanced_is_the_product_over_the_columns() -> None:
    X, Y = data()
    own = 1.0 + np.arange(N) % 2
    balanced = make(class_weight="balanced", pretraining=None).fit(X, Y)
    factors = compute_sample_weight("balanced", Y)
    by_hand = make(pretraining=None).fit(X, Y, sample_weight=factors)
    np.testing.assert_allclose(balanced.predict_proba(X), by_hand.predict_proba(X), rtol=1e-5, atol=1e-8)
    assert not np.allclose(make(pretraining=None).fit(X, Y).coefs_[0], balanced.coefs_[0], rtol=1e-3)
    target = Y.astype(float)
    target[::3, 1] = np.nan
    factors = np.ones(N)
    for column in target.T:
        for label in (0, 1):
            factors[column == label] *= own[column >= 0].sum() / (2 * own[column == label].sum())
    weighted = make(class_weight="balanced", pretraining=None).fit(X, target, sample_weight=own)
    by_hand = make(pretraining=None).fit(X, target, sample_weight=own * factors)
    np.testing.assert_allclose(weighted.predict_proba(X), by_hand.predict_proba(X), rtol=1e-5, atol=1e-8)


def test_refusals() -> None:
    X, Y = data()
    with pytest.raises(InvalidParameterError, match=r"'class_weight' .* must be None or \"balanced\" where y is an"):
        make(class_weight={0: 1, 1: 2}).fit(X, Y)
    for bad in (Y + 1, Y * 0.5, np.where(Y == 1, np.inf, 0), Y.astype(str), np.where(Y == 1, "a", "b")):
        with pytest.raises(
            ValueError, match=r"must be an indicator matrix: .* Got ([\d.]+|inf|'\w'); .*multiclass-multioutput"
        ):
            make().fit(X, bad)
    for column in (np.nan, -1):
        empty = Y.astype(float)
        empty[:, 2] = column
        with pytest.raises(ValueError, match="column 2 of y holds no label"):
            make().fit(X, empty)
    with pytest.raises(ValueError, match="y holds no label"):
        make().fit(X, np.full(Y.shape, np.nan))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(X, Y[:-1])
    with pytest.raises(TypeError, match="masked"):
        make().fit(X, np.ma.masked_array(Y))
