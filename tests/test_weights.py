"""Weights of rows and classes: what they mean, exactly where that can be, in distribution where there is noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from layerwise import (
    SGD,
    Adam,
    Autoencoder,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    Masking,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    SupervisedPretraining,
    _core,
    load,
    pretrain,
)

ALL = [StackedAutoencoder, PretrainedClassifier, PretrainedRegressor]
N = 120


def data(kind: Any, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, targets, and weights of which some are 0."""
    if kind is PretrainedRegressor:
        X, y = load_diabetes(return_X_y=True)
    else:
        X, y = load_digits(return_X_y=True)
        X = X / 16
    weights = np.floor(4 * _core.random_uniform(3, 0, N))
    assert set(weights) == {0, 1, 2, 3}
    return X[:N].astype(dtype), y[:N], weights


def make(kind: Any, **changes: Any) -> Any:
    options = {
        "hidden_layer_sizes": (12, 7),
        "pretraining": DenoisingAutoencoder(epochs=2, validation_fraction=0.1),
        "finetuning": FineTuning(epochs=3, dropout=0.1, early_stopping=True),
        "random_state": 0,
    }
    return kind(**(options | changes))


def assert_same(a: Any, b: Any) -> None:
    for one, other in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True):
        np.testing.assert_array_equal(one, other)
    assert [stage.skill for stage in a.stages_] == [stage.skill for stage in b.stages_]
    assert [(r.loss, r.validation_loss) for r in a.history_] == [(r.loss, r.validation_loss) for r in b.history_]


# ---- what a weight means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_of_weight_0_is_as_if_it_were_not_there(kind: Any, dtype: type) -> None:
    X, y, weights = data(kind, dtype)
    model = make(kind).fit(X, y, sample_weight=weights)
    there = weights > 0
    assert_same(model, make(kind).fit(X[there], y[there], sample_weight=weights[there]))
    assert_same(make(kind).fit(X, y, sample_weight=there), make(kind).fit(X[there], y[there]))
    changed = X.copy()
    changed[~there] = 100  # would make another decoder, other means, warnings
    assert_same(make(kind).fit(changed, y, sample_weight=weights), model)
    if kind is not StackedAutoencoder:
        assert model.n_labeled_ == there.sum()


@pytest.mark.parametrize("kind", ALL)
def test_only_the_ratios_of_weights_matter(kind: Any) -> None:
    X, y, weights = data(kind)
    plain = make(kind).fit(X, y)
    for same in (np.ones(N), np.full(N, 7), 0.3, np.full(N, 1e300), np.full(N, 1e-300), [True] * N):
        assert_same(make(kind).fit(X, y, sample_weight=same), plain)
    weighted = make(kind).fit(X, y, sample_weight=weights + 1)
    assert_same(make(kind).fit(X, y, sample_weight=pd.Series(1024 * (weights + 1))), weighted)
    assert not np.array_equal(weighted.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("kind", ALL)
def test_without_noise_and_in_full_batches_a_weight_is_a_repetition(kind: Any) -> None:
    X, y, weights = data(kind)
    times = weights.astype(int)
    options = {
        "pretraining": Autoencoder(epochs=5, batch_size=10**6),
        "finetuning": FineTuning(epochs=5, batch_size=10**6, optimizer=Adam(0.01)),
    }
    weighted = make(kind, **options).fit(X, y, sample_weight=weights)
    repeated = make(kind, **options).fit(X.repeat(times, axis=0), y.repeat(times))
    for a, b in zip(weighted.coefs_, repeated.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    for a, b in zip(weighted.history_, repeated.history_, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-10)
    for a, b in zip(weighted.stages_, repeated.stages_, strict=True):
        assert a.skill == pytest.approx(b.skill, rel=1e-9, abs=1e-12)
    if kind is PretrainedRegressor:
        np.testing.assert_allclose(weighted.y_mean_, y.repeat(times).mean())
        np.testing.assert_allclose(weighted.y_scale_, y.repeat(times).std())
    score = weighted.score(X, y, sample_weight=weights)
    assert score == pytest.approx(repeated.score(X.repeat(times, axis=0), y.repeat(times)), rel=1e-8)


def test_under_noise_a_weight_is_a_repetition_in_distribution() -> None:
    X, _, _ = data(StackedAutoencoder)
    X = X[np.argsort(X.sum(axis=1))][::4]
    weights = np.arange(len(X)) // 4  # from 0 for the dark rows to 7 for the bright ones
    settings = DenoisingAutoencoder(
        epochs=1, batch_size=10**6, corruption=Masking(0.4), optimizer=SGD(0.1), loss="squared_error"
    )

    def outcomes(rows: np.ndarray, row_weights: np.ndarray | None) -> np.ndarray:
        """The noisy loss, and the decoder's bias after one step, for 300 seeds."""
        runs = [next(pretrain(rows, [5], settings, row_weights=row_weights, seed=seed)) for seed in range(300)]
        return np.array([[run.history[0].loss, run.decoder.bias.sum()] for run in runs])

    weighted, repeated = outcomes(X, weights), outcomes(X.repeat(weights.astype(int), axis=0), None)
    difference = weighted - repeated  # of runs from the same start
    error = difference.std(axis=0) / np.sqrt(len(difference))
    assert (error > 0).all()  # the noise differs
    assert (np.abs(difference.mean(axis=0)) < 4 * error).all()
    unweighted = (outcomes(X, None) - repeated).mean(axis=0)
    assert (np.abs(unweighted) > 6 * error).all()  # so the test would notice


@pytest.mark.parametrize("kind", [PretrainedClassifier, PretrainedRegressor])
def test_unlabelled_rows_have_weights_too(kind: Any) -> None:
    X, y, _ = data(kind)
    target = y.astype(float)
    target[60:] = np.nan
    weights = np.ones(N)
    weights[90:] = 0
    assert_same(make(kind).fit(X, target, sample_weight=weights), make(kind).fit(X[:90], target[:90]))
    weights[60:90] = 5
    heavier = make(kind).fit(X, target, sample_weight=weights)
    assert not np.array_equal(heavier.stages_[0].weights, make(kind).fit(X[:90], target[:90]).stages_[0].weights)


def test_the_validation_loss_is_weighted() -> None:
    X, y, _ = data(PretrainedClassifier)
    # All rows but one of each class are the validation part: the tolerance is what the few left out can change.
    finetuning = FineTuning(epochs=1, early_stopping=True, validation_fraction=0.999)
    first = make(PretrainedClassifier, pretraining=None, finetuning=finetuning).fit(X, y)
    weights = np.where(-first.predict_log_proba(X)[np.arange(N), y] > 2.5, 20.0, 1.0)  # the rows it gets wrong
    model = make(PretrainedClassifier, pretraining=None, finetuning=finetuning).fit(X, y, sample_weight=weights)
    losses = -model.predict_log_proba(X)[np.arange(N), y]
    assert model.history_[0].validation_loss == pytest.approx(np.average(losses, weights=weights), rel=0.05)
    assert model.history_[0].validation_loss != pytest.approx(losses.mean(), rel=0.1)

    settings = Autoencoder(epochs=1, validation_fraction=0.99, loss="squared_error")

    def errors_of(stage: Any) -> np.ndarray:
        return np.asarray(((stage.decode(stage.encode(X)) - X) ** 2).sum(axis=1))

    weights = np.where(errors_of(next(pretrain(X, [5], settings))) > 45, 100.0, 1.0)
    (stage,) = pretrain(X, [5], settings, row_weights=weights)
    errors = errors_of(stage)
    assert stage.history[0].validation_loss == pytest.approx(np.average(errors, weights=weights), rel=0.05)
    assert stage.history[0].validation_loss != pytest.approx(errors.mean(), rel=0.1)


@pytest.mark.parametrize("kind", [PretrainedClassifier, PretrainedRegressor])
def test_supervised_pretraining_is_weighted(kind: Any) -> None:
    X, y, weights = data(kind)
    times = weights.astype(int)
    options: dict[str, Any] = {
        "pretraining": SupervisedPretraining(epochs=5, batch_size=10**6),
        "finetuning": FineTuning(epochs=0),
    }
    weighted = make(kind, **options).fit(X, y, sample_weight=weights)
    repeated = make(kind, **options).fit(X.repeat(times, axis=0), y.repeat(times))
    for a, b in zip(weighted.stages_, repeated.stages_, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-8, atol=1e-10)
        assert a.skill == pytest.approx(b.skill, rel=1e-9, abs=1e-12)
    there = weights > 0
    plain = make(kind, **options).fit(X[there], y[there])
    assert not np.allclose(plain.stages_[0].weights, weighted.stages_[0].weights, rtol=1e-6)


# ---- classes ---------------------------------------------------------------------------------------------------------


def test_class_weights_are_factors_of_the_labelled_rows_weights() -> None:
    X, y, weights = data(PretrainedClassifier)
    weights += 1
    y = np.minimum(y, 2)
    counts = np.bincount(y, weights)
    options: dict[str, Any] = {"pretraining": None}
    balanced = make(PretrainedClassifier, class_weight="balanced", **options).fit(X, y, sample_weight=weights)
    factors = counts.sum() / (3 * counts)
    by_hand = make(PretrainedClassifier, **options).fit(X, y, sample_weight=weights * factors[y])
    by_dict = make(PretrainedClassifier, class_weight=dict(enumerate(factors)), **options)
    for other in (by_hand, by_dict.fit(X, y, sample_weight=weights)):
        for a, b in zip(balanced.coefs_, other.coefs_, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    plain = make(PretrainedClassifier, **options).fit(X, y, sample_weight=weights)
    assert not np.allclose(plain.coefs_[0], balanced.coefs_[0], rtol=1e-3)


def test_output_biases_start_at_the_classes_shares_in_the_weights() -> None:
    X, y, weights = data(PretrainedClassifier)
    letters = np.array(list("abc"))[np.minimum(y, 2)]
    start = make(PretrainedClassifier, class_weight={"b": 3.0}, finetuning=FineTuning(epochs=0))
    start.fit(X, letters, sample_weight=weights)
    sums = [weights[letters == "a"].sum(), 3 * weights[letters == "b"].sum(), weights[letters == "c"].sum()]
    shares = np.exp(start.intercepts_[-1]) / np.exp(start.intercepts_[-1]).sum()
    np.testing.assert_allclose(shares, sums / np.sum(sums), rtol=1e-12)
    none = make(PretrainedClassifier, finetuning=FineTuning(epochs=0)).fit(X, letters)
    np.testing.assert_array_equal(none.intercepts_[-1], 0)
    np.testing.assert_array_equal(none.coefs_[-1], start.coefs_[-1])


def test_class_weights_leave_pretraining_alone() -> None:
    X, y, _ = data(PretrainedClassifier)
    plain, weighted = (make(PretrainedClassifier, class_weight=w).fit(X, y) for w in (None, {0: 50.0}))
    np.testing.assert_array_equal(plain.stages_[1].weights, weighted.stages_[1].weights)
    assert not np.array_equal(plain.coefs_[2], weighted.coefs_[2])


def test_class_weight_zero_and_classes_out_of_sight(tmp_path: Any) -> None:
    X, y, _ = data(PretrainedClassifier)
    y = np.minimum(y, 2)
    model = make(PretrainedClassifier, class_weight={0: 0, 1: 2, 2: np.float32(1)}, pretraining=None).fit(X, y)
    assert model.predict_proba(X)[:, 0].max() < 1 / 3
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").class_weight == {0: 0, 1: 2, 2: 1}
    make(PretrainedClassifier, class_weight={0: 1, 1: 2, 2: 1, 9: 1}).fit(X, y)  # as scikit-learn: all seen are named
    with pytest.raises(
        InvalidParameterError, match=r"'class_weight' .* keys are classes \(\[0, 1, 2\]\). Got {7: 1.0}"
    ):
        make(PretrainedClassifier, class_weight={7: 1.0}).fit(X, y)
    for bad in ({0: -1}, {0: np.nan}, {0: "1"}, {0: 0}, {0: np.inf}, [1, 2, 3]):
        with pytest.raises(
            InvalidParameterError, match="'class_weight' parameter of PretrainedClassifier must be None"
        ):
            make(PretrainedClassifier, class_weight=bad).fit(X, y)
    with pytest.raises(ValueError, match="weight of every labelled row is zero"):
        make(PretrainedClassifier, class_weight={0: 0, 1: 0, 2: 0, 3: 1}).fit(X, y)


def test_balanced_weights_find_the_rare_class() -> None:
    X = _core.random_normal(0, 0, 2000).reshape(1000, 2)
    y = (_core.random_uniform(0, 1, 1000) < 0.05).astype(int)
    X[y == 1] += 1.5
    recalls = []
    for weight in (None, "balanced"):
        model = PretrainedClassifier(10, pretraining=None, class_weight=weight, random_state=0).fit(X, y)
        recalls.append((model.predict(X)[y == 1] == 1).mean())
    assert recalls[1] > 0.8 > recalls[0] + 0.2


# ---- scores and routing ----------------------------------------------------------------------------------------------


def test_scores_are_weighted() -> None:
    for kind in ALL:
        X, y, weights = data(kind)
        model = make(kind).fit(X, y)
        if kind is StackedAutoencoder:
            mean = np.average(X, axis=0, weights=weights)
            errors, spread = (((X - other) ** 2).sum(axis=1) @ weights for other in (model.reconstruct(X), mean))
            expected = 1 - errors / spread
        else:
            measure = accuracy_score if kind is PretrainedClassifier else r2_score
            expected = measure(y, model.predict(X), sample_weight=weights)
            unknown = y.astype(float)
            unknown[weights == 0] = np.nan
            assert model.score(X, unknown, sample_weight=weights) == pytest.approx(expected, rel=1e-12)
        assert model.score(X, y, sample_weight=weights) == pytest.approx(expected, rel=1e-12)
        assert model.score(X, y, sample_weight=np.ones(N)) == pytest.approx(model.score(X, y), rel=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_metadata_is_routed(kind: Any) -> None:
    X, y, weights = data(kind)
    with config_context(enable_metadata_routing=True):
        model = make(kind).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipe = make_pipeline(MinMaxScaler(), model)
        assert_same(
            pipe.fit(X, y, sample_weight=weights)[-1],
            make(kind).fit(MinMaxScaler().fit_transform(X), y, sample_weight=weights),
        )
        given = cross_validate(model, X, y, cv=2, params={"sample_weight": weights}, return_estimator=True)
        if kind is not PretrainedClassifier:  # whose folds are stratified
            assert_same(given["estimator"][1], make(kind).fit(X[:60], y[:60], sample_weight=weights[:60]))
        search = GridSearchCV(model, {"verbose": [0]}, cv=2).fit(X, y, sample_weight=weights)
        assert_same(search.best_estimator_, make(kind).fit(X, y, sample_weight=weights))
        np.testing.assert_allclose(search.cv_results_["mean_test_score"], [given["test_score"].mean()])
        with pytest.raises(ValueError, match="sample_weight"):  # neither requested nor refused
            cross_validate(make(kind), X, y, cv=2, params={"sample_weight": weights}, error_score="raise")


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_bad_sample_weights_are_refused(kind: Any) -> None:
    X, y, weights = data(kind)
    model = make(kind)
    for bad, message in [
        (-weights, "egative"),
        (np.zeros(N), "Sample weights must contain at least one non-zero number"),
        (np.full(N, np.nan), "NaN"),
        (np.full(N, np.inf), "inf"),
        (weights[:-1], r"sample_weight.shape == \(119,\)"),
        (weights[:, None], "1D array"),
        (["a"] * N, "could not convert|dtype|numeric"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, sample_weight=bad)
        assert not [name for name in vars(model) if name.endswith("_")]
    model.fit(X, y)
    with pytest.raises(ValueError, match="egative"):
        model.score(X, y, sample_weight=-weights)
    if kind is StackedAutoencoder:
        return
    target = np.where(weights == 0, y, np.nan)
    with pytest.raises(ValueError, match=r"sample_weight of every (labelled row|known value of y) is zero"):
        model.fit(X, target, sample_weight=weights)


def test_bad_row_weights_are_refused_at_the_call() -> None:
    X, _, weights = data(StackedAutoencoder)
    for bad in (-weights, weights[:-1], weights[:, None], np.full(N, np.nan), "x", {}, [None] * N, 1.0, np.zeros(N)):
        with pytest.raises(InvalidParameterError, match="'row_weights' parameter of pretrain must be None or"):
            pretrain(X, [4], row_weights=bad)


def test_class_weights_of_labels_that_look_like_numbers() -> None:
    X, y = np.random.default_rng(0).random((30, 4)), np.arange(30) % 3
    words = np.where(np.arange(30) < 20, y.astype(str), None)
    numbers = np.where(np.arange(30) < 20, y, -1)
    options = {"hidden_layer_sizes": 5, "pretraining": None, "finetuning": FineTuning(epochs=2), "random_state": 0}
    of_words = PretrainedClassifier(class_weight={"1": 3.0}, **options).fit(X, words)
    of_numbers = PretrainedClassifier(class_weight={1: 3.0}, **options).fit(X, numbers)
    np.testing.assert_array_equal(of_words.predict_proba(X), of_numbers.predict_proba(X))


@pytest.mark.parametrize("settings", ["denoising_autoencoder", RestrictedBoltzmannMachine(monitor=True, k=2)], ids=str)
def test_pretraining_leaves_out_rows_of_weight_0(settings: Any) -> None:
    X, _, weights = data(StackedAutoencoder)
    options = {"validation_fraction": 0.2, "epochs": 2}
    settings = DenoisingAutoencoder(**options) if isinstance(settings, str) else settings.replace(**options)
    kept = weights > 0
    assert 0 < kept.sum() < len(X)
    (some,) = pretrain(X, 5, settings, row_weights=weights, seed=1)
    (all_of_them,) = pretrain(X[kept], 5, settings, row_weights=weights[kept], seed=1)
    np.testing.assert_array_equal(some.weights, all_of_them.weights)
    np.testing.assert_array_equal(some.decoder.bias, all_of_them.decoder.bias)
    assert some.skill == all_of_them.skill


def test_a_boltzmann_machine_starts_from_the_rows_that_weigh_something() -> None:
    # Without that, the validation part could take all rows of some weight, and the visible biases start at 0 / 0.
    X, weights = np.zeros((3, 1)), np.array([2.0, 1.0, 0.0])
    for seed in range(20):
        settings = RestrictedBoltzmannMachine(epochs=0, validation_fraction=0.9)
        (stage,) = pretrain(X, 2, settings, row_weights=weights, seed=seed)
        assert np.isfinite(stage.decoder.bias).all()
