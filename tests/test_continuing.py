"""Going on from a fit before: warm starts, passes over more rows, and what an interrupted fit left."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_diabetes, load_digits

from layerwise import (
    Adam,
    AnomalyDetector,
    Autoencoder,
    ColumnGroups,
    CosineDecay,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    Momentum,
    MomentumSwitch,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    TimeLimitWarning,
    load,
    pretrain,
)
from layerwise.column_groups import with_groups

REBUILDING = (StackedAutoencoder, AnomalyDetector)
SUPERVISED = [PretrainedClassifier, PretrainedRegressor]
ALL = [*REBUILDING, *SUPERVISED]
N = 160


def data(kind: Any) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True) if kind is PretrainedRegressor else load_digits(return_X_y=True)
    return X[:N] / np.abs(X).max(), y[:N]


def make(kind: Any, **changes: Any) -> Any:
    options = {
        "hidden_layer_sizes": (12, 7),
        "pretraining": DenoisingAutoencoder(epochs=2),
        "finetuning": FineTuning(epochs=3, dropout=0.1),
        "random_state": 0,
    }
    return kind(**(options | changes))


def first_call(kind: Any, y: np.ndarray) -> dict[str, Any]:
    return {"classes": np.unique(y)} if kind is PretrainedClassifier else {}


def assert_same(a: Any, b: Any) -> None:
    for one, other in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True):
        np.testing.assert_array_equal(one, other)


# ---- warm_start ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_a_warm_fit_goes_on_fine_tuning(kind: Any) -> None:
    X, y = data(kind)
    model = make(kind, warm_start=True).fit(X, y)
    assert_same(model, make(kind).fit(X, y))  # the first fit is as any
    before = copy.deepcopy(model)
    model.set_params(finetuning=FineTuning(epochs=0)).fit(X, y)
    assert_same(model, before)
    assert len(model.history_) == len(before.history_)
    model.set_params(finetuning=FineTuning(epochs=2)).fit(X, y)
    assert [r.stage for r in model.history_] == ["pretraining"] * 4 + ["finetuning"] * 5
    assert model.n_iter_ == (9 if kind in REBUILDING else 5)
    np.testing.assert_array_equal(model.stages_[1].weights, before.stages_[1].weights)
    assert not np.array_equal(model.coefs_[0], before.coefs_[0])
    assert model.history_[-1].loss < before.history_[4].loss
    assert_same(pickle.loads(pickle.dumps(before)).set_params(finetuning=FineTuning(epochs=2)).fit(X, y), model)
    assert_same(model.set_params(warm_start=False, finetuning=FineTuning(epochs=3, dropout=0.1)).fit(X, y), before)


@pytest.mark.parametrize("kind", ALL)
def test_a_warm_fit_keeps_the_stages_below_new_layers(kind: Any) -> None:
    X, y = data(kind)
    model = make(kind, hidden_layer_sizes=(12,), warm_start=True).fit(X, y)
    lowest = model.stages_[0]
    model.set_params(hidden_layer_sizes=(12, 7)).fit(X, y)
    assert model.stages_[0] is lowest
    assert_same(model, make(kind).fit(X, y))  # as if both had been pretrained at once


@pytest.mark.parametrize("kind", SUPERVISED)
def test_a_warm_fit_needs_the_same_shape(kind: Any) -> None:
    X, y = data(kind)
    model = make(kind, warm_start=True, hidden_layer_sizes=(12,)).fit(X, y)
    for name, value in (("hidden_layer_sizes", (11,)), ("activation", "relu"), ("hidden_layer_sizes", (7, 12))):
        changed = copy.deepcopy(model).set_params(**{name: value})
        with pytest.raises(InvalidParameterError, match=rf"'{name}' .* that of the fit before \(12 tanh\)"):
            changed.fit(X, y)
        assert_same(changed, model)
        with pytest.raises(InvalidParameterError, match=name):
            changed.set_params(warm_start=False).partial_fit(X, y)
    with pytest.raises(ValueError, match="X has 5 features"):
        model.fit(X[:, :5], y)
    with pytest.raises(ValueError, match=r"classes of the fit before|y has 2 outputs, but the fit before had 1"):
        model.fit(X, np.stack([y, y], axis=1) if kind is PretrainedRegressor else np.minimum(y, 4))
    with pytest.raises(InvalidParameterError, match="warm_start"):
        make(kind, warm_start=1).fit(X, y)


def test_a_warm_regressor_keeps_the_units_of_its_targets() -> None:
    X, y = data(PretrainedRegressor)
    model = make(PretrainedRegressor, warm_start=True).fit(X, y)
    mean, predicted = model.y_mean_, model.predict(X)
    model.set_params(finetuning=FineTuning(epochs=0)).fit(X, 10 * y)
    np.testing.assert_array_equal(model.y_mean_, mean)
    np.testing.assert_array_equal(model.predict(X), predicted)


@pytest.mark.parametrize("kind", ALL)
def test_after_ctrl_c_a_warm_fit_pretrains_what_is_missing(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(kind)
    model = make(kind, hidden_layer_sizes=(12, 9, 7), warm_start=True)
    whole = make(kind, hidden_layer_sizes=(12, 9, 7)).fit(X, y)
    report = "layerwise.progress.Progress.report"

    def interrupt(_: Any, text: str) -> None:
        if text.startswith("layer 3"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(report, interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    assert [stage.layer for stage in model.stages_] == [1, 2]
    kept = model.stages_[0]
    model.fit(X, y)
    assert model.stages_[0] is kept
    assert_same(model, whole)
    assert [(r.stage, r.layer, r.loss) for r in model.history_] == [(r.stage, r.layer, r.loss) for r in whole.history_]


@pytest.mark.parametrize("finetuning", [None, FineTuning(epochs=3)], ids=str)
@pytest.mark.parametrize("kind", ALL)
def test_a_warm_fit_pretrains_what_the_time_did_not_allow(kind: Any, finetuning: Any) -> None:
    X, y = data(kind)
    finetuning = finetuning or (None if kind in REBUILDING else "auto")
    model = make(kind, finetuning=finetuning, warm_start=True, max_seconds=1e-9)
    with pytest.warns(TimeLimitWarning):
        model.fit(X, y)
    whole = make(kind, finetuning=finetuning).fit(X, y)
    assert_same(model.set_params(max_seconds=None).fit(X, y), whole)
    assert [len(stage.history) for stage in model.stages_] == [2, 2]
    kept = list(model.stages_)
    model.fit(X, y)
    assert all(a is b for a, b in zip(model.stages_, kept, strict=True))  # now there is nothing to pretrain


def test_pretraining_goes_on_above_the_stages_done() -> None:
    X, _ = data(StackedAutoencoder)
    settings = DenoisingAutoencoder(epochs=2, validation_fraction=0.2)
    whole = list(pretrain(X, (9, 8, 7), settings, seed=3))
    rest = list(pretrain(X, (9, 8, 7), settings, seed=3, done=whole[:1]))
    assert [stage.layer for stage in rest] == [2, 3]
    for a, b in zip(whole[1:], rest, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        assert a.history[-1].validation_loss == b.history[-1].validation_loss
    for sizes, rows, activation in (
        ((8, 8), X, "sigmoid"),
        ((9, 8), X[:, 1:], "sigmoid"),
        ((9, 8), X, "relu"),
        ((9,), X, "sigmoid"),
    ):
        with pytest.raises(ValueError, match="are not the lowest layers of a network"):
            pretrain(rows, sizes, settings, done=whole[:2], activation=activation)


# ---- partial_fit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_the_first_call_pretrains_and_each_does_one_pass(kind: Any) -> None:
    X, y = data(kind)
    model = make(kind).partial_fit(X, y, **first_call(kind, y))
    assert [r.stage for r in model.history_] == ["pretraining"] * 4 + ["finetuning"]
    whole = make(kind).fit(X, y)
    np.testing.assert_array_equal(model.stages_[1].weights, whole.stages_[1].weights)
    before = model.stages_
    for _ in range(3):
        model.partial_fit(X[:80], y[:80])
    assert model.stages_ == before
    assert [r.stage for r in model.history_[4:]] == ["finetuning"] * 4
    assert model.n_iter_ >= 4
    if kind not in REBUILDING:
        assert model.n_labeled_ == N + 3 * 80


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("optimizer", [Adam(0.02), Momentum(0.05)], ids=str)
def test_passes_in_full_batches_are_epochs_of_one_fit(kind: Any, optimizer: Any) -> None:
    X, y = data(kind)
    options = {
        "pretraining": Autoencoder(epochs=2),
        "finetuning": FineTuning(epochs=4, batch_size=10**6, optimizer=optimizer),
    }
    whole = make(kind, **options).fit(X, y)
    model = make(kind, **options)
    for call in range(4):  # only if the optimiser's memory and its count of steps are carried on
        model = pickle.loads(pickle.dumps(model))
        model.partial_fit(X, y, **(first_call(kind, y) if call == 0 else {}))
    for a, b in zip(model.coefs_, whole.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    fresh = make(kind, **options)
    for call in range(4):
        fresh.__dict__.pop("_memory", None)
        fresh.partial_fit(X, y, **(first_call(kind, y) if call == 0 else {}))
    assert not np.allclose(fresh.coefs_[0], whole.coefs_[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", SUPERVISED)
def test_passes_over_parts_learn(kind: Any) -> None:
    X, y = data(kind)
    finetuning = FineTuning(optimizer=Adam(0.01), batch_size=10, dropout=0.05)
    model = make(kind, hidden_layer_sizes=(30,), finetuning=finetuning)
    for _ in range(30):
        for first in range(0, N, 40):
            part = slice(first, first + 40)
            model.partial_fit(X[part], y[part], **first_call(kind, y))
    assert model.score(X, y) > (0.9 if kind is PretrainedClassifier else 0.5)
    losses = [r.loss for r in model.history_ if r.stage == "finetuning"]
    assert len(losses) == 120
    assert np.mean(losses[-4:]) < (0.5 if kind is PretrainedClassifier else 0.8) * np.mean(losses[:4])


@pytest.mark.parametrize("kind", ALL)
def test_passes_go_on_from_a_fit_and_a_file(kind: Any, tmp_path: Any) -> None:
    X, y = data(kind)
    model = make(kind).fit(X, y)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model").partial_fit(X, y)
    assert_same(again, model.partial_fit(X, y))
    assert len(model.history_) == 8
    model.partial_fit(X, y)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert_same(loaded, model)
    model.fit(X, y)
    assert_same(model, make(kind).fit(X, y))
    assert "_memory" not in vars(model)


@pytest.mark.parametrize("kind", ALL)
def test_another_optimiser_starts_without_memory(kind: Any) -> None:
    X, y = data(kind)
    model = make(kind).partial_fit(X, y, **first_call(kind, y))
    fresh = copy.deepcopy(model)
    del fresh._memory
    changed = FineTuning(optimizer=Momentum(0.01))
    assert_same(*(m.set_params(finetuning=changed).partial_fit(X, y) for m in (model, fresh)))


def test_classes_of_all_calls() -> None:
    X, y = data(PretrainedClassifier)
    model = make(PretrainedClassifier)
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        model.partial_fit(X, y)
    assert not hasattr(model, "network_")
    few = y < 3
    model.partial_fit(X[few], y[few], classes=range(10))
    np.testing.assert_array_equal(model.classes_, np.arange(10))
    assert model.predict_proba(X).shape == (N, 10)
    model.partial_fit(X, y, classes=np.arange(10)[::-1])
    with pytest.raises(ValueError, match="is not the same as before"):
        model.partial_fit(X, y, classes=[1, 2])
    with pytest.raises(ValueError, match=r"y holds labels \[0, .*99\] that are not all in classes"):
        model.partial_fit(X, np.where(y == 1, 99, y))
    letters = np.array(list("abcdefghij"))
    named = make(PretrainedClassifier).partial_fit(X[few], letters[y[few]], classes=letters).partial_fit(X, letters[y])
    numbered = make(PretrainedClassifier).partial_fit(X[few], y[few], classes=range(10)).partial_fit(X, y)
    assert_same(named, numbered)


@pytest.mark.parametrize("kind", SUPERVISED)
def test_calls_without_labels(kind: Any) -> None:
    X, y = data(kind)
    unknown = np.full(N, np.nan)
    model = make(kind)
    if kind is PretrainedRegressor:
        with pytest.raises(ValueError, match="y holds no label"):
            model.partial_fit(X, unknown)
        model.partial_fit(X, y)
    else:
        model.partial_fit(X, np.full(N, -1), classes=np.unique(y))
        assert model.n_labeled_ == 0
        assert {r.stage for r in model.history_} == {"pretraining"}
        model.partial_fit(X, y)
        np.testing.assert_array_equal(model.stages_[0].weights, make(kind).fit(X, y).stages_[0].weights)
    before = copy.deepcopy(model)
    assert_same(model.partial_fit(X, unknown), before)
    partly = y.astype(float)
    partly[10:] = np.nan
    assert model.partial_fit(X, partly).n_labeled_ == N + 10


def test_partial_fit_of_indicator_matrices() -> None:
    X, y = data(PretrainedClassifier)
    Y = np.stack([y > 4, y % 2 == 0, y == 3], axis=1).astype(float)
    model = make(PretrainedClassifier).partial_fit(X, Y)
    Y[:, 2] = np.nan
    model.partial_fit(X, Y)
    assert model.predict(X).shape == (N, 3)
    for bad in (Y[:, :2], y):
        with pytest.raises(ValueError, match="classes"):
            model.partial_fit(X, bad)


@pytest.mark.parametrize("kind", ALL)
def test_partial_fit_is_there_only_where_it_means_something(kind: Any) -> None:
    X, y = data(kind)
    rising = Momentum(0.1, momentum=MomentumSwitch())
    whole: list[tuple[str, Any]] = [("early_stopping", True), ("schedule", CosineDecay()), ("optimizer", rising)]
    for name, value in [*whole, ("thaw_after", 1)]:
        model = make(kind, finetuning=FineTuning(frozen_layers=1).replace(**{name: value}))
        assert not hasattr(model, "partial_fit")
        with pytest.raises(AttributeError, match="partial_fit") as info:
            model.partial_fit(X, y)
        assert f"finetuning__{name}" in str(info.value.__cause__)
    for name, value in (("schedule", "constant"), ("early_stopping", False)):
        make(kind, finetuning=FineTuning(**{name: value})).partial_fit(X, y, **first_call(kind, y))
    if kind is PretrainedClassifier:
        assert not hasattr(make(kind, class_weight="balanced"), "partial_fit")
        weighted = make(kind, class_weight={0: 5.0}, pretraining=None)
        weighted.partial_fit(X, y, **first_call(kind, y))
        by_hand = make(kind, pretraining=None)
        by_hand.partial_fit(X, y, **first_call(kind, y), sample_weight=np.where(y == 0, 5.0, 1.0))
        assert_same(weighted, by_hand)


@pytest.mark.parametrize("kind", ALL)
def test_weights_in_passes_and_their_routing(kind: Any) -> None:
    X, y = data(kind)
    weights = (np.arange(N) % 3).astype(float)
    there = weights > 0
    model = make(kind).partial_fit(X, y, **first_call(kind, y), sample_weight=weights)
    same = make(kind).partial_fit(X[there], y[there], **first_call(kind, y), sample_weight=weights[there])
    assert_same(model, same)
    with config_context(enable_metadata_routing=True):
        routing = make(kind).set_partial_fit_request(sample_weight=True).get_metadata_routing()
        assert routing.consumes("partial_fit", ["sample_weight"]) == {"sample_weight"}


def test_ctrl_c_in_a_pass_keeps_what_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(PretrainedClassifier)
    model = make(PretrainedClassifier).partial_fit(X, y, classes=range(10))
    before = copy.deepcopy(model)

    def interrupt(_: Any, record: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("layerwise.progress.Progress.__call__", interrupt)
        with pytest.raises(KeyboardInterrupt) as info:
            model.partial_fit(X, y)
    assert "the estimator keeps the weights reached" in "".join(info.value.__notes__)
    assert_same(model, before.partial_fit(X, y))  # it came after the pass's last step


def test_a_warm_fit_says_what_kind_of_labels_it_goes_on_with() -> None:
    X, y = data(PretrainedClassifier)
    cells = np.column_stack([X[:, 20] > 0.5, X[:, 21] > 0.5])
    model = make(PretrainedClassifier, warm_start=True).fit(X, y % 2)
    with pytest.raises(ValueError, match="must be as in the fit before: one label a row"):
        model.fit(X, cells)
    model = make(PretrainedClassifier, warm_start=True).fit(X, cells)
    with pytest.raises(ValueError, match="must be as in the fit before: an indicator matrix"):
        model.fit(X, y % 2)


@pytest.mark.parametrize("kind", [StackedAutoencoder, PretrainedClassifier])
def test_a_fit_that_goes_on_knows_the_tables_columns(kind: Any) -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(5, 3, size=(60, 2)), np.eye(3)[rng.integers(0, 3, 60)]]).astype(np.float32)
    X = with_groups(X, ColumnGroups([("number", 2), ("category", 3)]))  # as tabular_pipeline gives them
    y = (None,) if kind is StackedAutoencoder else (np.arange(60) % 2,)
    settings = {"pretraining": DenoisingAutoencoder(epochs=2), "finetuning": FineTuning(epochs=1), "random_state": 0}
    model = kind((4, 3), warm_start=True, max_seconds=1e-9, **settings)
    with pytest.warns(TimeLimitWarning):
        model.fit(X, *y)
    model.set_params(max_seconds=None).fit(X, *y)
    assert [stage.loss for stage in model.stages_] == [
        stage.loss for stage in kind((4, 3), **settings).fit(X, *y).stages_
    ]
    assert model.stages_[0].loss == "mixed"
