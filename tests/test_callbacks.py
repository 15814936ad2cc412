"""Callbacks on the estimators, the time limit, and what a fit that they end leaves behind."""

from __future__ import annotations

import json
import pickle
import time
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from layerwise import (
    SGD,
    Adam,
    AnomalyDetector,
    BestModel,
    DenoisingAutoencoder,
    EpochRecord,
    FineTuning,
    InvalidParameterError,
    JSONLines,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    SupervisedPretraining,
    TimeLimitWarning,
    TrainingDiverged,
    load,
)

ALL = [StackedAutoencoder, AnomalyDetector, PretrainedClassifier, PretrainedRegressor]
REBUILDING = (StackedAutoencoder, AnomalyDetector)
N = 150


def data(kind: Any) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True) if kind is PretrainedRegressor else load_digits(return_X_y=True)
    return X[:N] / np.abs(X).max(), y[:N]


def make(kind: Any, **changes: Any) -> Any:
    options = {
        "hidden_layer_sizes": (12, 7),
        "pretraining": DenoisingAutoencoder(epochs=2),
        "finetuning": FineTuning(epochs=3),
        "random_state": 0,
    }
    return kind(**(options | changes))


def outputs(model: Any, X: np.ndarray) -> np.ndarray:
    if isinstance(model, AnomalyDetector):
        return np.asarray(model.decision_function(X))  # which depends on the threshold, too
    return np.asarray(model.reconstruct(X) if isinstance(model, StackedAutoencoder) else model.predict(X))


# ---- callbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_each_callback_sees_each_epoch(kind: Any) -> None:
    X, y = data(kind)
    first: list[EpochRecord] = []
    second: list[EpochRecord] = []
    model = make(kind, callbacks=[first.append, second.append]).fit(X, y)
    assert first == second == model.history_
    np.testing.assert_array_equal(outputs(model, X), outputs(make(kind).fit(X, y), X))
    assert clone(model).get_params()["callbacks"] is not None
    if kind not in REBUILDING:
        make(kind, pretraining=SupervisedPretraining(epochs=1), callbacks=(first.append,)).fit(X, y)
        assert [record.stage for record in first[7:]] == ["pretraining"] * 2 + ["finetuning"] * 3


@pytest.mark.parametrize("kind", ALL)
def test_a_callback_that_returns_true_ends_its_stage(kind: Any) -> None:
    X, y = data(kind)
    model = make(kind, callbacks=lambda record: record.epoch == 1).fit(X, y)
    assert [(record.stage, record.layer) for record in model.history_] == [
        ("pretraining", 1),
        ("pretraining", 2),
        ("finetuning", None),
    ]


class TroubleError(RuntimeError):
    pass


@pytest.mark.parametrize("kind", ALL)
def test_a_callback_that_raises_leaves_what_was_reached(kind: Any) -> None:
    X, y = data(kind)

    def raises(stage: str, number: int) -> Any:
        def call(record: EpochRecord) -> None:
            if record.stage == stage and number in (record.layer, record.epoch if record.layer is None else None):
                raise TroubleError(stage)

        return call

    model = make(kind, callbacks=raises("finetuning", 2))
    with pytest.raises(TroubleError) as info:
        model.fit(X, y)
    assert "the estimator keeps the weights reached" in "".join(info.value.__notes__)
    two_epochs = make(kind, finetuning=FineTuning(epochs=2)).fit(X, y)
    np.testing.assert_array_equal(outputs(model, X), outputs(two_epochs, X))
    np.testing.assert_array_equal(
        outputs(pickle.loads(pickle.dumps(model.set_params(callbacks=None))), X), outputs(model, X)
    )

    model = make(kind, callbacks=raises("pretraining", 2))
    with pytest.raises(TroubleError) as info:
        model.fit(X, y)
    assert "the 1 finished stages are kept in stages_. The estimator is not fitted." in "".join(info.value.__notes__)
    assert [stage.layer for stage in model.stages_] == [1]
    with pytest.raises(NotFittedError):
        model.transform(X)
    model.set_params(warm_start=True, callbacks=None).fit(X, y)
    np.testing.assert_array_equal(outputs(model, X), outputs(make(kind).fit(X, y), X))

    before = make(kind).fit(X, y)
    expected = outputs(before, X)
    with pytest.raises(TroubleError):
        before.set_params(callbacks=raises("pretraining", 1)).fit(X, y)
    np.testing.assert_array_equal(outputs(before, X), expected)  # nothing was reached
    assert not [name for name in vars(before) if "watch" in name]


def test_other_errors_leave_the_estimator_as_it_was() -> None:
    X, y = data(PretrainedRegressor)
    epochs: list[EpochRecord] = []
    finetuning = FineTuning(epochs=30, optimizer=SGD(1e9))
    model = make(PretrainedRegressor, activation="relu", callbacks=epochs.append, finetuning=finetuning)
    with pytest.raises(TrainingDiverged):
        model.fit(X, y)
    assert len(epochs) >= 4
    assert not hasattr(model, "stages_")


@pytest.mark.parametrize("bad", [3, "print", [print, 1], {print}, b"", 1.5])
def test_bad_callbacks(bad: Any) -> None:
    X, y = data(PretrainedClassifier)
    with pytest.raises(
        InvalidParameterError, match=r"'callbacks' parameter of PretrainedClassifier must be None, a call"
    ):
        make(PretrainedClassifier, callbacks=bad).fit(X, y)


# ---- those that come with the package --------------------------------------------------------------------------------


def test_json_lines(tmp_path: Any) -> None:
    X, y = data(PretrainedClassifier)
    path = tmp_path / "epochs.jsonl"
    model = make(PretrainedClassifier, callbacks=JSONLines(path), finetuning=FineTuning(epochs=4, early_stopping=True))
    model.fit(X, y)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [EpochRecord(**line) for line in lines] == model.history_
    model.fit(X, y)
    assert len(path.read_text().splitlines()) == 16
    assert repr(JSONLines("a.jsonl")) == "JSONLines('a.jsonl')"
    scores = cross_val_score(make(PretrainedClassifier, callbacks=JSONLines(path)), X, y, cv=2)
    assert len(scores) == 2
    assert len(path.read_text().splitlines()) == 16 + 14


@pytest.mark.parametrize("callback", [JSONLines, BestModel])
def test_a_folder_that_is_missing_is_told_before_any_epoch(callback: Any, tmp_path: Any) -> None:
    X, y = data(PretrainedClassifier)
    seen: list[EpochRecord] = []
    path = str(tmp_path / "no" / "file")
    model = make(PretrainedClassifier, callbacks=[seen.append, callback(path)])
    with pytest.raises(FileNotFoundError, match="its folder does not exist") as info:
        model.fit(X, y)
    assert info.value.filename == path
    assert seen == []
    with pytest.raises(IsADirectoryError):
        model.set_params(callbacks=[seen.append, callback(tmp_path)]).fit(X, y)
    assert seen == []


@pytest.mark.parametrize("kind", ALL)
def test_the_best_model_is_saved(kind: Any, tmp_path: Any) -> None:
    X, y = data(kind)
    path = tmp_path / "best.layerwise"
    best = BestModel(path)
    seen: list[float] = []

    def look(record: EpochRecord) -> None:
        if record.stage == "pretraining":
            assert not path.exists()
        else:
            seen.append(record.loss)
            assert outputs(load(path), X).shape[0] == N

    finetuning = FineTuning(epochs=5, optimizer=Adam(0.05), batch_size=10)
    model = make(kind, callbacks=[best, look], finetuning=finetuning).fit(X, y)
    assert best.best_loss == min(seen)
    epoch = int(np.argmin(seen)) + 1
    same = make(kind, finetuning=finetuning.replace(epochs=epoch)).fit(X, y)
    saved = load(path)
    np.testing.assert_array_equal(outputs(saved, X), outputs(same, X))
    assert len(saved.history_) == 4 + epoch
    assert saved.callbacks is None
    assert model.callbacks is not None
    copied = pickle.loads(pickle.dumps(clone(model).callbacks[0]))  # it holds nothing of the fit
    assert repr(copied) == f"BestModel({str(path)!r})"


def test_the_best_model_by_validation_loss_is_what_early_stopping_restores(tmp_path: Any) -> None:
    X, y = data(PretrainedClassifier)
    path = tmp_path / "best"
    finetuning = FineTuning(epochs=60, optimizer=Adam(0.05), early_stopping=True)
    model = make(PretrainedClassifier, callbacks=BestModel(path), finetuning=finetuning).fit(X, y)
    assert model.n_iter_ < 60
    np.testing.assert_array_equal(load(path).predict_proba(X), model.predict_proba(X))


# ---- time ------------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that goes on by a second with each epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("layerwise.estimators.watching.perf_counter", lambda: self.now)

    def __call__(self, record: EpochRecord) -> None:
        self.now += 1


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seconds", [0.5, 1, 3, 3.5, 6.5, 7, 100])
def test_no_epoch_begins_after_the_time(kind: Any, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(kind)
    clock = Clock(monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = make(kind, max_seconds=seconds, callbacks=clock).fit(X, y)
    epochs = min(7, int(np.ceil(seconds)))
    assert len(model.history_) == epochs
    counts = [len(stage.history) for stage in model.stages_]
    assert counts == [min(2, epochs), min(2, max(0, epochs - 2))]
    assert outputs(model, X).shape[0] == N  # fitted, whatever was reached
    assert model.transform(X).shape == (N, 7)
    said = [str(warning.message) for warning in caught if warning.category is TimeLimitWarning]
    if epochs == 7:
        assert said == []
        np.testing.assert_array_equal(outputs(model, X), outputs(make(kind).fit(X, y), X))
    else:
        fine = max(0, epochs - 4)
        reached = f"layer 1 {counts[0]} of 2 epochs, layer 2 {counts[1]} of 2 epochs, fine-tuning {fine} of 3 epochs"
        assert len(said) == 1
        assert f"max_seconds={seconds} ended the fit" in said[0]
        assert reached in said[0]
        assert "To go on to the end of that fit next time, give a checkpoint and run the same again;" in said[0]
        assert said[0].endswith("to begin other epochs from there, their schedules anew, set warm_start=True.")


def test_the_time_ends_a_real_fit() -> None:
    X, y = data(PretrainedClassifier)
    model = make(PretrainedClassifier, pretraining=None, finetuning=FineTuning(epochs=10**6), max_seconds=0.3)
    start = time.perf_counter()
    with pytest.warns(TimeLimitWarning, match="fine-tuning"):
        model.fit(X, y)
    assert 0.3 <= time.perf_counter() - start < 5
    assert 1 < model.n_iter_ < 10**6


def test_early_stopping_keeps_its_best_weights_when_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(PretrainedClassifier)
    finetuning = FineTuning(epochs=30, optimizer=Adam(0.1), early_stopping=True, n_iter_no_change=30)
    options = {"pretraining": None, "finetuning": finetuning}
    with pytest.warns(TimeLimitWarning):
        model = make(PretrainedClassifier, max_seconds=20, callbacks=Clock(monkeypatch), **options).fit(X, y)
    assert len(model.history_) == 20
    best = int(np.argmin([record.validation_loss for record in model.history_])) + 1
    assert best < 20
    options["finetuning"] = finetuning.replace(epochs=best)
    np.testing.assert_array_equal(
        model.predict_proba(X), make(PretrainedClassifier, **options).fit(X, y).predict_proba(X)
    )


def test_the_time_in_supervised_pretraining_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(PretrainedClassifier)
    clock = Clock(monkeypatch)
    model = make(PretrainedClassifier, pretraining=SupervisedPretraining(epochs=2), max_seconds=3, callbacks=clock)
    with pytest.warns(TimeLimitWarning, match="layer 1 2 of 2 epochs, layer 2 1 of 2 epochs, fine-tuning 0 of 3"):
        model.fit(X, y)
    model = make(PretrainedClassifier, max_seconds=4.5, callbacks=clock)
    model.partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
    assert model.n_iter_ == 2


@pytest.mark.parametrize("bad", [0, -1, "1", np.nan, np.inf, True, [1]])
def test_bad_times(bad: Any) -> None:
    X, y = data(PretrainedClassifier)
    with pytest.raises(InvalidParameterError, match="'max_seconds' parameter of PretrainedClassifier must be"):
        make(PretrainedClassifier, max_seconds=bad).fit(X, y)


@pytest.mark.parametrize("kind", ALL)
def test_a_first_pass_that_ctrl_c_ended_in_pretraining_begins_anew(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(kind)
    classes = {"classes": np.unique(y)} if kind is PretrainedClassifier else {}
    model, whole = make(kind), make(kind).partial_fit(X, y, **classes)

    def interrupt(_: Any, text: str) -> None:
        if text.startswith("layer 2"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("layerwise.progress.Progress.report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X, y, **classes)
    assert [stage.layer for stage in model.stages_] == [1]
    assert not hasattr(model, "network_")
    np.testing.assert_array_equal(outputs(model.partial_fit(X, y, **classes), X), outputs(whole, X))
    assert len(model.history_) == len(whole.history_)
    assert getattr(model, "n_samples_seen_", N) == N


@pytest.mark.parametrize("kind", ALL)
def test_an_interrupted_fit_counts_its_epochs(kind: Any, tmp_path: Any) -> None:
    X, y = data(kind)
    path = tmp_path / "best"

    def interrupt(record: Any) -> None:
        if (record.stage, record.epoch) == ("finetuning", 2):
            raise KeyboardInterrupt

    model = make(kind, callbacks=[BestModel(path), interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    for one in (model, load(path)):
        tuned = sum(record.stage == "finetuning" for record in one.history_)
        assert one.n_iter_ == (len(one.history_) if kind in REBUILDING else tuned)


@pytest.mark.parametrize("kind", ALL)
def test_a_later_pass_that_ctrl_c_ended_before_its_first_step_changes_nothing(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data(kind)
    classes = {"classes": np.unique(y)} if kind is PretrainedClassifier else {}
    model, whole = (make(kind).partial_fit(X, y, **classes) for _ in range(2))

    def interrupt(_: Any, text: str) -> None:
        if text.startswith("fine-tuning"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("layerwise.progress.Progress.report", interrupt)
        with pytest.raises(KeyboardInterrupt) as info:
            model.partial_fit(X, y)
    assert "the estimator keeps the weights reached" in "".join(info.value.__notes__)
    for one in (model, whole):  # with what the optimiser remembers
        one.partial_fit(X, y)
    np.testing.assert_array_equal(outputs(model, X), outputs(whole, X))
    assert len(model.history_) == len(whole.history_) == model.n_iter_ + 4 * (kind not in REBUILDING)
