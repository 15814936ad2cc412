"""The estimators at home in scikit-learn: its own checks, searches, pipelines, containers, dtypes."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from layerwise import (
    Adam,
    Autoencoder,
    DenoisingAutoencoder,
    FineTuning,
    Gaussian,
    LeakyReLU,
    Masking,
    Momentum,
    PReLU,
    PretrainedClassifier,
    PretrainedRegressor,
    SaltAndPepper,
    SeenRowsWarning,
    Sparse,
    StackedAutoencoder,
    Swish,
    _core,
)

QUICK = DenoisingAutoencoder(epochs=2)
BRIEF = FineTuning(epochs=3)


def digits(n: int = 300, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return (X[:n] / 16).astype(dtype), y[:n]


def numbers(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return X[:n], y[:n]


def small(kind: Any, **changes: Any) -> Any:
    options = {"hidden_layer_sizes": (12, 7), "pretraining": QUICK, "random_state": 0} | changes
    if kind is not StackedAutoencoder:
        options = {"finetuning": BRIEF} | options
    return kind(**options)


def fitted(kind: Any, dtype: Any = np.float32, **changes: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    X, y = numbers() if kind is PretrainedRegressor else digits(dtype=dtype)
    X = X.astype(dtype)
    return small(kind, **changes).fit(X, y), X, y


ALL = [StackedAutoencoder, PretrainedClassifier, PretrainedRegressor]
SUPERVISED = ALL[1:]

# ---- scikit-learn's own checks ---------------------------------------------------------------------------------------

CONFIGURATIONS = [
    *(kind() for kind in ALL),
    StackedAutoencoder(5, pretraining=Autoencoder(epochs=3, tied=False), finetuning=FineTuning(epochs=2)),
    StackedAutoencoder((6, 4), activation="tanh", pretraining=DenoisingAutoencoder(corruption=Gaussian(0.2), epochs=2)),
    StackedAutoencoder((6, 4), activation=["relu", PReLU()], initializer=Sparse(3)),
    PretrainedClassifier(30, pretraining=None, activation="relu"),
    PretrainedClassifier(
        (20, 20), activation=[LeakyReLU(0.1), Swish()], finetuning=FineTuning(dropout=0.1, alpha=1e-4)
    ),
    PretrainedClassifier((20,), pretraining="autoencoder", finetuning=FineTuning(epochs=100, early_stopping=True)),
    PretrainedClassifier((20,), unlabeled=None, finetuning=FineTuning(optimizer=Momentum(0.05), frozen_layers=1)),
    PretrainedRegressor(30, pretraining=None, activation="relu"),
    PretrainedRegressor((20, 20), activation="gelu", pretraining=DenoisingAutoencoder(corruption=SaltAndPepper(0.1))),
    PretrainedRegressor((20,), activation="tanh", finetuning=FineTuning(early_stopping=True, dropout=0.05)),
]


FULL_BATCH = Autoencoder(batch_size=10**6, epochs=5)
EXACT = [  # without noise and in full batches: a weight is a repetition
    StackedAutoencoder((6, 4), pretraining=FULL_BATCH, finetuning=FineTuning(batch_size=10**6, epochs=5)),
    PretrainedClassifier((20,), pretraining=FULL_BATCH, finetuning=FineTuning(batch_size=10**6, optimizer=Adam(0.01))),
    PretrainedClassifier(
        (20, 10),
        pretraining=None,
        class_weight="balanced",
        finetuning=FineTuning(batch_size=10**6, optimizer=Adam(0.05), alpha=1e-3),
    ),
    PretrainedRegressor((20,), pretraining=FULL_BATCH, finetuning=FineTuning(batch_size=10**6, optimizer=Adam(0.01))),
]
REPETITION = "check_sample_weight_equivalence_on_dense_data"


@pytest.mark.parametrize("estimator", [*CONFIGURATIONS, *EXACT], ids=str)
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings of scikit-learn's own
def test_scikit_learn_has_nothing_to_say(estimator: Any) -> None:
    exact = any(estimator is one for one in EXACT)
    expected = {} if exact else {REPETITION: "noise, or batches: a weight is a repetition in distribution alone"}
    results = check_estimator(estimator, on_skip=None, on_fail=None, expected_failed_checks=expected)
    failed = [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"]
    assert failed == []
    # It needs an environment variable that scipy reads when it is first imported.
    others = {r["check_name"] for r in results if r["status"] != "passed"}
    assert others <= {"check_array_api_input", *expected}
    assert REPETITION in {r["check_name"] for r in results}


# ---- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classifier_learns_digits_from_few_labels(dtype: type) -> None:
    X, y = digits(1797, dtype)
    order = _core.random_permutation(0, 0, len(y))
    X, y = X[order], y[order]
    known = y[:1500].copy()
    known[200:] = -1
    model = PretrainedClassifier((100, 100), random_state=0).fit(X[:1500], known)
    assert model.score(X[1500:], y[1500:]) > 0.85
    assert model.n_labeled_ == 200
    assert model.network_.dtype == model.predict_proba(X).dtype == dtype
    assert [record.stage for record in model.history_] == ["pretraining"] * 30 + ["finetuning"] * model.n_iter_
    assert [stage.layer for stage in model.stages_] == [1, 2]
    assert [w.shape for w in model.coefs_] == [(64, 100), (100, 100), (100, 10)]
    assert [b.shape for b in model.intercepts_] == [(100,), (100,), (10,)]


def test_probabilities_agree() -> None:
    model, X, _ = fitted(PretrainedClassifier, np.float64)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), proba, rtol=1e-9)
    scores = np.exp(model.decision_function(X))
    np.testing.assert_allclose(scores / scores.sum(axis=1, keepdims=True), proba, rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])
    assert model.score(X, model.predict(X)) == 1.0


def test_regressor_keeps_the_shape_of_y() -> None:
    X, y = numbers()
    X = X / X.std(axis=0)
    model = PretrainedRegressor((30,), random_state=0).fit(X, y)
    assert model.score(X, y) > 0.4
    assert model.predict(X).shape == y.shape
    Y = np.stack([y, -y, 1e6 + y], axis=1)
    several = PretrainedRegressor((30,), random_state=0).fit(X, Y)
    assert several.predict(X).shape == Y.shape
    assert several.score(X, Y) > 0.4
    assert small(PretrainedRegressor).fit(X, y[:, None]).predict(X).shape == (len(X), 1)
    constant = small(PretrainedRegressor).fit(X, np.full(len(X), 7.0))
    np.testing.assert_allclose(constant.predict(X), 7.0, atol=3.0)


def test_autoencoder_encodes_and_decodes() -> None:
    model, X, _ = fitted(StackedAutoencoder, np.float64)
    codes = model.transform(X)
    assert codes.shape == (len(X), 7)
    np.testing.assert_array_equal(model.transform(X, layer=0), X)
    np.testing.assert_array_equal(model.transform(X, layer=1), model.stages_[0].encode(X))
    np.testing.assert_array_equal(model.inverse_transform(codes), model.reconstruct(X))
    first = model.transform(X, layer=1)
    np.testing.assert_array_equal(model.inverse_transform(first, layer=1), model.stages_[0].decode(first))
    np.testing.assert_array_equal(model.reconstruct(X, layer=1), model.stages_[0].decode(first))
    np.testing.assert_array_equal(model.reconstruct(X, layer=0), X)
    assert model.transform(X, layer=0) is not X
    errors = ((X - model.reconstruct(X)) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    assert model.score(X) == pytest.approx(1 - errors, rel=1e-12)


def test_unrolled_fine_tuning_rebuilds_better() -> None:
    X, _ = digits(600)
    greedy = StackedAutoencoder((50, 20), random_state=0).fit(X)
    tuned = StackedAutoencoder((50, 20), random_state=0, finetuning="auto").fit(X)
    assert tuned.score(X) > greedy.score(X) + 0.1
    np.testing.assert_array_equal(tuned.stages_[0].weights, greedy.stages_[0].weights)
    np.testing.assert_array_equal(tuned.coefs_[-1], tuned.coefs_[0].T)  # tied stays tied


@pytest.mark.parametrize("kind", SUPERVISED)
def test_a_fitted_autoencoder_gives_its_layers(kind: Any) -> None:
    X, y = digits()
    before = StackedAutoencoder((12, 7), pretraining=QUICK, random_state=0).fit(X)
    model = kind(pretraining=before, finetuning=FineTuning(epochs=0), random_state=1).fit(X, y)
    np.testing.assert_array_equal(model.transform(X), before.transform(X))
    assert model.history_ == []
    assert model.stages_ == before.stages_
    same = kind((12, 7), pretraining=FrozenEstimator(before), activation="tanh", finetuning=BRIEF, random_state=0)
    assert clone(same).fit(X.astype(np.float64), y).network_.dtype == np.float32  # the autoencoder's dtype
    with pytest.warns(SeenRowsWarning, match="pretrained on 300 rows, this fit has 150"):
        cross_val_score(same, X, y, cv=2, error_score="raise")
    with pytest.raises(ValueError, match=r"'hidden_layer_sizes' .* must be \"auto\" or that of .*\(12, 7\)"):
        kind((12, 8), pretraining=before).fit(X, y)
    with pytest.raises(ValueError, match="'activation'"):
        kind(activation="relu", pretraining=before).fit(X, y)
    with pytest.raises(ValueError, match="'initializer'"):
        kind(initializer="he_normal", pretraining=before).fit(X, y)
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        kind(pretraining=clone(before)).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features, but the StackedAutoencoder .* 64 features"):
        kind(pretraining=before).fit(X[:, :3], y)


def test_without_pretraining_it_is_a_plain_network() -> None:
    model, _, _ = fitted(PretrainedClassifier, pretraining=None)
    assert model.stages_ == []
    assert {record.stage for record in model.history_} == {"finetuning"}


# ---- at home ---------------------------------------------------------------------------------------------------------


def test_grid_search_reaches_nested_settings() -> None:
    X, y = digits(150)
    pipe = make_pipeline(MinMaxScaler(), small(PretrainedClassifier))
    grid = {
        "pretrainedclassifier__pretraining__corruption__rate": [0.1, 0.4],
        "pretrainedclassifier__finetuning__optimizer__learning_rate": [1e-3, 1e-2],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, y)
    best = search.best_estimator_[-1]
    assert best.pretraining.corruption == Masking(
        search.best_params_["pretrainedclassifier__pretraining__corruption__rate"]
    )
    assert best.finetuning.optimizer.learning_rate == 1e-2
    assert pipe[-1].pretraining == QUICK  # nothing was changed in place


def test_set_params_replaces_nested_settings() -> None:
    model = small(PretrainedClassifier)
    assert model.get_params()["pretraining__corruption__rate"] == 0.25
    assert model.set_params(pretraining__corruption__rate=0.5, verbose=1, pretraining=DenoisingAutoencoder()) is model
    assert model.pretraining == DenoisingAutoencoder(corruption=Masking(0.5))
    model.set_params(finetuning=FineTuning(), finetuning__optimizer=Adam(0.1), finetuning__optimizer__beta_1=0.5)
    assert model.finetuning.optimizer == Adam(0.1, beta_1=0.5)
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        model.set_params(pretraining__depth=1)
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        model.set_params(nothing__rate=1)
    with pytest.raises(ValueError, match="pretraining is 'auto', which has no settings"):
        PretrainedClassifier().set_params(pretraining__epochs=1)
    before = StackedAutoencoder()
    PretrainedClassifier(pretraining=before).set_params(pretraining__verbose=2)
    assert before.verbose == 2


@pytest.mark.parametrize("kind", ALL)
def test_clone_copy_and_pickle(kind: Any) -> None:
    model, X, y = fitted(kind)
    assert clone(model).get_params() == model.get_params()
    method = "transform" if kind is StackedAutoencoder else "predict"
    expected = getattr(model, method)(X)
    for other in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model)), clone(model).fit(X, y)):
        np.testing.assert_array_equal(getattr(other, method)(X), expected)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_containers_and_names(kind: Any, container: str, layer: int | None) -> None:
    model, X, y = fitted(kind)
    make = pd.DataFrame if container == "pandas" else pl.DataFrame
    names = [f"pixel {i}" for i in range(X.shape[1])]
    frame = make(dict(zip(names, X.T, strict=True)))
    model.fit(frame, y).set_output(transform=container)
    out = model.transform(frame, layer=layer)
    assert isinstance(out, make)
    prefix = kind.__name__.lower()
    width = {None: 7, 0: X.shape[1], 1: 12, 2: 7}[layer]
    assert list(out.columns) == [f"{prefix}{i}" for i in range(width)]
    names_are_read = hasattr(MinMaxScaler().fit(frame), "feature_names_in_")  # not of polars 2 by scikit-learn 1.6
    if layer is None:
        assert list(model.get_feature_names_out()) == list(out.columns)
        assert hasattr(model, "feature_names_in_") == names_are_read
        assert not names_are_read or list(model.feature_names_in_) == names
        assert list(model.fit_transform(frame, y).columns) == list(out.columns)
    np.testing.assert_array_equal(out.to_numpy(), model.set_output(transform="default").transform(frame, layer=layer))
    with config_context(transform_output=container):
        assert isinstance(small(kind).fit(X, y).transform(X, layer=layer), make)
    with pytest.raises(ValueError, match="feature names") if names_are_read else nullcontext():
        model.transform(
            frame.rename(columns={"pixel 0": "other"}) if container == "pandas" else frame.rename({"pixel 0": "other"})
        )


@pytest.mark.parametrize(
    ("given", "engine"),
    [
        *((name, np.float32) for name in ("float32", "float16", "bool", "int8", "uint8", "int16", "uint16", ">f4")),
        *((name, np.float64) for name in ("float64", "int32", "uint32", "int64", "longdouble", ">f8", "object")),
    ],
)
def test_dtypes_at_the_border(given: str, engine: type) -> None:
    X, _ = digits(80)
    X = np.round(X * 16).astype(given)
    model = small(StackedAutoencoder).fit(X)
    assert model.transform(X).dtype == model.network_.dtype == engine
    np.testing.assert_array_equal(model.transform(X.astype(np.float64)), model.transform(X))  # cast to the fitted dtype
    same = small(StackedAutoencoder).fit(X.astype(engine))
    np.testing.assert_array_equal(same.transform(X), model.transform(X))


@pytest.mark.parametrize("kind", ALL)
def test_layouts_give_the_same_bits_and_stay_as_they_are(kind: Any) -> None:
    model, X, y = fitted(kind, np.float64)
    expected = model.transform(X)
    wide = np.zeros((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    offset = np.zeros(X.size * 8 + 1, np.uint8)[1:].view(np.float64).reshape(X.shape)
    offset[...] = X
    layouts = [np.asfortranarray(X), wide[::2, ::2], X[::-1][::-1], X.astype(">f8"), offset, X.tolist()]
    for layout in layouts:
        array = np.asarray(layout)
        before, writeable = array.tobytes(), array.flags.writeable
        array.flags.writeable = False
        np.testing.assert_array_equal(model.transform(array), expected)
        np.testing.assert_array_equal(small(kind).fit(array, y).transform(X), expected)
        array.flags.writeable = writeable
        assert array.tobytes() == before


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_does_not_depend_on_its_neighbours(kind: Any, dtype: type) -> None:
    model, X, _ = fitted(kind, dtype)
    methods = ["transform", *(["reconstruct"] if kind is StackedAutoencoder else ["predict"])]
    if kind is PretrainedClassifier:
        methods += ["predict_proba", "predict_log_proba", "decision_function"]
    for method in methods:
        call = getattr(model, method)
        together = call(X)
        np.testing.assert_array_equal(np.concatenate([call(X[i : i + 1]) for i in range(40)]), together[:40])
        for size in (2, 3, 31, 32, 33, 64, 65, 150):
            np.testing.assert_array_equal(call(X[:size]), together[:size])
        np.testing.assert_array_equal(call(X[::-1]), together[::-1])


@pytest.mark.parametrize("kind", ALL)
def test_threads_and_seeds(kind: Any) -> None:
    models = [fitted(kind, n_jobs=n_jobs)[0] for n_jobs in (None, 1, 2, 3, -1)]
    for other in models[1:]:
        for a, b in zip(models[0].coefs_, other.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
    changed = fitted(kind, random_state=1)[0]
    assert not np.array_equal(changed.coefs_[0], models[0].coefs_[0])
    state = fitted(kind, random_state=np.random.RandomState(0))[0]
    np.testing.assert_array_equal(state.coefs_[0], models[0].coefs_[0])


def test_grid_search_is_the_same_in_parallel() -> None:
    X, y = digits(120)
    grid = {"pretraining__corruption__rate": [0.1, 0.4]}
    scores = []
    for n_jobs in (1, 2):
        with parallel_config("threading", n_jobs=n_jobs):
            search = GridSearchCV(small(PretrainedClassifier), grid, cv=2).fit(X, y)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)
