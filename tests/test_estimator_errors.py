"""What cannot be: bad parameters, bad data, divergence, Ctrl-C. Each is named, and the estimator stays whole."""

# ruff: noqa: NPY002  (NumPy's global generator is what one test is about)

from __future__ import annotations

import os
import signal
import threading
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from bad_values import BAD, is_among
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from layerwise import (
    SGD,
    Autoencoder,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    Masking,
    PretrainedClassifier,
    PretrainedRegressor,
    ScaleWarning,
    StackedAutoencoder,
    TrainingDiverged,
    _core,
)
from layerwise.estimators import base

ALL = [StackedAutoencoder, PretrainedClassifier, PretrainedRegressor]
QUICK = DenoisingAutoencoder(epochs=1)
X = _core.random_uniform(0, 0, 200).reshape(40, 5)
Y = np.array([0, 1] * 20)


def make(kind: Any, **changes: Any) -> Any:
    options = {"hidden_layer_sizes": (4, 3), "pretraining": QUICK, "random_state": 0} | changes
    if kind is not StackedAutoencoder:
        options = {"finetuning": FineTuning(epochs=2)} | options
    return kind(**options)


# ---- parameters ------------------------------------------------------------------------------------------------------

GOOD = {  # those of BAD that a parameter allows
    "hidden_layer_sizes": [(1, 2, 3, 4, 5)],
    "n_jobs": [-1],
    "checkpoint": ["bogus"],
    "memory": ["bogus"],
    "verbose": [True],
    "batch_norm": [True],
    "warm_start": [True],
    "random_state": [True],
    "class_weight": [{}],
    "unlabeled": [-1],
    "pretraining__tied": [True],
    "pretraining__simultaneous": [True],
    "pretraining__corruption__exact": [True],
    "finetuning__early_stopping": [True],
    "finetuning__untie": [True],  # of an autoencoder
    "pretraining__optimizer__bias_correction": [True],
    "pretraining__optimizer__epsilon_inside_sqrt": [True],
    "finetuning__optimizer__bias_correction": [True],
    "finetuning__optimizer__epsilon_inside_sqrt": [True],
    "finetuning__frozen_layers": [(), []],
}
NAMES = [
    "hidden_layer_sizes", "pretraining", "finetuning", "activation", "batch_norm", "initializer", "class_weight",
    "unlabeled", "precision", "n_jobs", "random_state", "warm_start", "max_seconds", "callbacks", "checkpoint",
    "memory", "verbose",
    *(f"pretraining__{name}" for name in DenoisingAutoencoder().get_params()),
    *(f"finetuning__{name}" for name in FineTuning().get_params()),
]  # fmt: skip


def test_every_parameter_is_tried() -> None:
    assert len(BAD) >= 25
    full = PretrainedClassifier(pretraining=DenoisingAutoencoder(), finetuning=FineTuning())
    assert set(NAMES) == set(full.get_params())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", NAMES)
def test_bad_values_are_named(kind: Any, name: str) -> None:
    if name not in kind().get_params() and "__" not in name:
        return  # a setting of the classifier alone, or of the two that learn from labels
    for bad in BAD:
        if is_among(bad, GOOD.get(name, [])):
            continue
        if name == "callbacks" and (callable(bad) or (isinstance(bad, (list, tuple)) and not bad)):
            continue
        model = make(kind, pretraining=DenoisingAutoencoder(), finetuning=FineTuning())
        model.set_params(**{name: bad})  # nothing is checked before fit
        before = dict(vars(model))
        pattern = rf"^The '{name}' parameter of {kind.__name__} must be (.|\n)*Got "
        with pytest.raises(InvalidParameterError, match=pattern):
            model.fit(X, Y)
        assert vars(model).keys() == before.keys()


def test_shorthands() -> None:
    settings = DenoisingAutoencoder(corruption="gaussian", optimizer="momentum", epochs=1)
    model = make(PretrainedClassifier, pretraining=settings, finetuning=FineTuning(optimizer="sgd", epochs=1))
    assert model.fit(X, Y).stages_[0].settings.optimizer.learning_rate == 0.01
    assert make(PretrainedClassifier, pretraining="autoencoder").fit(X, Y).stages_[0].settings.epochs == 15
    with pytest.raises(
        InvalidParameterError, match="'activation' parameter of PretrainedClassifier must be called 'sigmoid'"
    ):
        make(PretrainedClassifier, activation="logistic").fit(X, Y)


@pytest.mark.parametrize("bad", [-1, 3, 1.5, "top", True])
def test_bad_layers(bad: Any) -> None:
    model = make(StackedAutoencoder).fit(X)
    for method in (model.transform, model.reconstruct, model.inverse_transform):
        with pytest.raises(
            InvalidParameterError, match=r"'layer' parameter of \w+ must be None or an integer in \[0, 2\]"
        ):
            method(X, layer=bad)
    with pytest.raises(ValueError, match="X has 5 columns, but layer 2 has 3 units"):
        model.inverse_transform(X)


def test_a_fitted_autoencoder_of_another_depth_and_the_same_activation() -> None:
    for sizes, kinds in (((4,), ["tanh"]), ((5, 4, 3), ["tanh", "relu", "tanh"])):
        before = make(StackedAutoencoder, hidden_layer_sizes=sizes, activation=kinds).fit(X)
        same = [kinds, tuple(kinds), "auto"] + (["tanh"] if len(kinds) == 1 else [])
        for activation in same:
            model = make(PretrainedClassifier, hidden_layer_sizes="auto", activation=activation, pretraining=before)
            assert len(model.fit(X, Y).coefs_) == len(sizes) + 1
        model.set_params(activation=["relu"] * len(kinds))
        with pytest.raises(InvalidParameterError, match="that of the StackedAutoencoder given as pretraining"):
            model.fit(X, Y)


def test_the_columns_of_a_fitted_autoencoder_keep_their_order() -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = make(PretrainedClassifier, hidden_layer_sizes="auto", pretraining=make(StackedAutoencoder).fit(frame))
    for pretraining in (model.pretraining, FrozenEstimator(model.pretraining)):
        model.set_params(pretraining=pretraining).fit(frame, Y)
        with pytest.raises(ValueError, match="Feature names must be in the same order"):
            model.fit(frame[list("edcba")], Y)


def test_only_a_frozen_estimator_is_looked_into() -> None:
    class Holder:
        estimator = make(StackedAutoencoder).fit(X)

    with pytest.raises(InvalidParameterError, match="'pretraining' parameter"):
        make(PretrainedClassifier, hidden_layer_sizes="auto", pretraining=Holder()).fit(X, Y)


# ---- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("unfitted", [False, True])
def test_bad_data(kind: Any, unfitted: bool) -> None:
    model = make(kind) if unfitted else make(kind).fit(X, Y)
    call = (lambda data: model.fit(data, Y)) if unfitted else model.transform
    before = dict(vars(model))
    for position in [(0, 0), (39, 4), (17, 2)]:
        for value in (np.nan, np.inf, -np.inf):
            bad = X.copy()
            bad[position] = value
            with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
                call(bad)
    cases = [
        (X[0], ValueError, "2D array|1D array"),
        (X[None], ValueError, "dim 3"),
        (X[:0], ValueError, "minimum of 1 is required"),
        (X[:, :0], ValueError, "minimum of 1 is required"),
        (X + 1j, ValueError, "Complex data not supported"),
        (np.array([["a"] * 5] * 40), (ValueError, TypeError), "numbers|numeric"),
        (np.ma.masked_array(X, X > 0.5), TypeError, "masked array"),
        (X.view("M8[s]"), TypeError, "dtype datetime64"),
        (scipy.sparse.csr_array(X), TypeError, "[Ss]parse"),
        ([["x"] * 5] * 40, (ValueError, TypeError), "could not convert|numbers|numeric"),
        (None, ValueError, "array"),
    ]
    for data, error, message in cases:
        with pytest.raises(error, match=message):
            call(data)
    assert vars(model) == before


def test_values_too_large_for_the_engine_are_named_by_column() -> None:
    model = make(StackedAutoencoder).fit(X.astype(np.float32))
    large = X.copy()
    large[3, 2] = 1e39
    with pytest.raises(ValueError, match="value too large for float32 in column 2"):
        model.transform(large)


@pytest.mark.parametrize("kind", ALL)
def test_nothing_works_before_fit(kind: Any) -> None:
    model = make(kind)
    methods = [model.transform, model.get_feature_names_out, lambda _: model.save("nowhere/at/all")]
    methods += (
        [model.predict] if kind is not StackedAutoencoder else [model.inverse_transform, model.reconstruct, model.score]
    )
    if kind is PretrainedClassifier:
        methods += [model.predict_proba, model.predict_log_proba, model.decision_function]
    for method in methods:
        with pytest.raises(NotFittedError):
            method(X)


def test_the_wrong_number_of_features_is_refused() -> None:
    model = make(PretrainedClassifier).fit(X, Y)
    with pytest.raises(ValueError, match="X has 4 features, but PretrainedClassifier is expecting 5 features"):
        model.predict(X[:, :4])


def test_tiny_data_work() -> None:
    for n_rows, n_features in ((1, 1), (1, 5), (2, 1), (3, 2)):
        part = np.ascontiguousarray(X[:n_rows, :n_features])
        assert np.isfinite(make(StackedAutoencoder).fit(part).reconstruct(part)).all()
        assert np.isfinite(make(PretrainedRegressor).fit(part, Y[:n_rows]).predict(part)).all()
        assert make(PretrainedClassifier).fit(part, Y[:n_rows]).predict(part).shape == (n_rows,)
    constant = np.full((10, 3), 0.5)
    assert np.isfinite(make(PretrainedClassifier).fit(constant, Y[:10]).predict_proba(constant)).all()


def test_a_scale_that_cannot_work_is_a_warning() -> None:
    settings = Autoencoder(epochs=1, decoder="sigmoid", loss="squared_error")
    with pytest.warns(ScaleWarning, match=r"targets lie in \[.*MinMaxScaler"):
        make(PretrainedClassifier, pretraining=settings).fit(10 * X, Y)


def test_no_random_state_is_a_seed_from_numpys_global_generator() -> None:
    kept, coefs = np.random.get_state(), []
    try:
        for seed in (1, 1, 2):
            np.random.seed(seed)
            coefs.append(make(PretrainedClassifier, random_state=None).fit(X, Y).coefs_[0])
        np.random.seed(5)
        make(PretrainedClassifier, random_state=0).fit(X, Y)
        drawn = np.random.uniform()
        np.random.seed(5)
        assert drawn == np.random.uniform()
    finally:
        np.random.set_state(kept)
    assert np.array_equal(coefs[0], coefs[1])
    assert not np.array_equal(coefs[0], coefs[2])


# ---- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divergence_leaves_the_estimator_as_it_was(kind: Any, dtype: type) -> None:
    data = X.astype(dtype)
    model = make(kind).fit(data, Y)
    expected = model.transform(data)
    bad = Autoencoder(epochs=20, optimizer=SGD(1e30), loss="squared_error")
    model.set_params(pretraining=bad, activation="relu", hidden_layer_sizes=(9,))
    before = dict(vars(model))
    with pytest.raises(TrainingDiverged, match=r"pretraining of layer 1 diverged in epoch \d+.* smaller than 1e\+30"):
        model.fit(data[:, :3], Y)
    assert vars(model) == before
    np.testing.assert_array_equal(model.transform(data), expected)
    fresh = make(kind, pretraining=bad, activation="relu")
    with pytest.raises(TrainingDiverged):
        fresh.fit(data, Y)
    assert not [name for name in vars(fresh) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        fresh.transform(data)


@pytest.mark.parametrize("rate", [1e3, 1e10, 1e38])
@pytest.mark.parametrize("scale", [1.0, 1e15, 1e30, 3e38])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_no_fitted_model_holds_a_number_that_is_not_finite(rate: float, scale: float, activation: str) -> None:
    data = (scale * X).astype(np.float32)
    model = make(PretrainedRegressor, activation=activation, finetuning=FineTuning(epochs=3, optimizer=SGD(rate)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(data, 1e30 * Y)
        except TrainingDiverged:
            assert not hasattr(model, "network_")
            return
    assert all(np.isfinite(array).all() for array in [*model.coefs_, *model.intercepts_])


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def interrupt_at(monkeypatch: pytest.MonkeyPatch, stage: str, layer: int | None, epoch: int) -> None:
    """Press Ctrl-C, as it were, after an epoch."""

    def show(_: object, record: Any) -> None:
        if (record.stage, record.layer, record.epoch) == (stage, layer, epoch):
            raise KeyboardInterrupt

    monkeypatch.setattr(base.Progress, "__call__", show)


@pytest.mark.parametrize("kind", ALL)
def test_ctrl_c_in_pretraining_keeps_finished_stages(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = make(kind).fit(X, Y)
    model = make(kind)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "pretraining", 2, 1)
        with pytest.raises(KeyboardInterrupt) as info:
            model.fit(X, Y)
    assert info.value.__notes__ == [
        "Pretraining was interrupted; the 1 finished stages are kept in stages_. The estimator is not fitted."
    ]
    np.testing.assert_array_equal(model.stages_[0].weights, complete.stages_[0].weights)
    assert len(model.stages_) == 1
    with pytest.raises(NotFittedError):
        model.transform(X)
    np.testing.assert_array_equal(model.fit(X, Y).transform(X), complete.transform(X))  # a second fit is as good as new


@pytest.mark.parametrize("kind", ALL)
def test_ctrl_c_before_the_first_stage_changes_nothing(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(kind).fit(X, Y)
    before = dict(vars(model))
    interrupt_at(monkeypatch, "pretraining", 1, 1)
    with pytest.raises(KeyboardInterrupt) as info:
        model.fit(X[:, :2], Y)
    assert vars(model) == before
    assert info.value.__notes__ == [
        "The fit was interrupted before a layer was pretrained to its end: nothing of it is kept, and the estimator is "
        "as it was before. With checkpoint=... a fit that is called again goes on from its last step."
    ]


@pytest.mark.parametrize("kind", ALL)
def test_ctrl_c_in_fine_tuning_keeps_the_network(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(kind, finetuning=FineTuning(epochs=9)).fit(X[:, :2], Y)
    interrupt_at(monkeypatch, "finetuning", None, 4)
    with pytest.raises(KeyboardInterrupt) as info:
        model.fit(X, Y)
    assert "Fine-tuning was interrupted after 3 epochs" in info.value.__notes__[0]
    assert model.n_features_in_ == 5
    assert len(model.stages_) == 2
    assert [record.epoch for record in model.history_ if record.stage == "finetuning"] == [1, 2, 3]
    assert np.isfinite(model.transform(X)).all()
    if kind is not StackedAutoencoder:
        assert np.isfinite(model.predict(X)).all()


def test_ctrl_c_in_the_first_epoch_counts_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(monkeypatch, "finetuning", None, 1)
    model = make(PretrainedClassifier)
    with pytest.raises(KeyboardInterrupt) as info:
        model.fit(X, Y)
    assert "Fine-tuning was interrupted after 0 epochs" in info.value.__notes__[0]
    assert model.n_iter_ == 1


def test_a_real_signal_ends_a_long_fit() -> None:
    model = make(PretrainedClassifier, pretraining=DenoisingAutoencoder(corruption=Masking(), epochs=10**6))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    timer.join()
    assert not hasattr(model, "network_")


# ---- talking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_verbose(kind: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make(kind, finetuning=FineTuning(epochs=2)).fit(X, Y)
    assert capsys.readouterr() == ("", "")
    make(kind, finetuning=FineTuning(epochs=2), verbose=1).fit(X, Y)
    out = capsys.readouterr().out
    assert "layer 1: 5 -> 4 tanh, tied, decoder sigmoid, cross_entropy" in out
    assert "skill" in out
    assert "fine-tuning" in out
    make(kind, finetuning=FineTuning(epochs=2), verbose=2).fit(X, Y)
    assert "finetuning: epoch 2/2, loss " in capsys.readouterr().out


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    make(PretrainedClassifier, verbose=1).fit(X, Y)
    assert "pretraining of layer 2" in capsys.readouterr().err
