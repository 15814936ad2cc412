"""The anomaly detector goes on from a fit before, or is ended early: its standardisation and its threshold."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from layerwise import (
    AnomalyDetector,
    BestModel,
    ColumnGroups,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    StackedAutoencoder,
    TimeLimitWarning,
    load,
)
from layerwise.column_groups import with_groups

QUICK = {"pretraining": DenoisingAutoencoder(epochs=2), "finetuning": FineTuning(epochs=3), "random_state": 0}


def sensors(n: int = 400, shift: float = 0.0) -> np.ndarray:
    """Six sensors in their own units that follow two causes."""
    rng = np.random.default_rng(0)
    X = (shift + rng.normal(size=(n, 2))) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(n, 6))
    return (X * [1, 10, 100, 1e3, 0.1, 1]).astype(np.float32)


def is_threshold_of(detector: AnomalyDetector, X: np.ndarray) -> bool:
    """Whether the threshold cuts off just the share of these rows that `contamination` says."""
    return bool((detector.predict(X) == -1).mean() == detector.contamination)


@pytest.mark.parametrize("again", ["fit", "partial_fit"])
def test_means_and_deviations_stay_and_the_threshold_is_set_anew(again: str) -> None:
    X, other = sensors(), sensors(shift=1.5)
    detector = AnomalyDetector((4, 2), contamination=0.1, warm_start=True, **QUICK)
    getattr(detector, again)(X)
    assert is_threshold_of(detector, X)
    before = copy.deepcopy(detector)
    getattr(detector, again)(other)
    np.testing.assert_allclose(detector.mean_, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(detector.scale_, before.scale_)
    assert is_threshold_of(detector, other)
    assert not is_threshold_of(before, other)
    assert not np.array_equal(detector.coefs_[0], before.coefs_[0])


def test_stages_that_ctrl_c_left_go_on_with_their_own_standardisation(monkeypatch: pytest.MonkeyPatch) -> None:
    X, other = sensors(), sensors(shift=1.5)

    def interrupt(_: Any, text: str) -> None:
        if text.startswith("layer 2"):
            raise KeyboardInterrupt

    detector = AnomalyDetector((4, 2), warm_start=True, **QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("layerwise.progress.Progress.report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            detector.fit(X)
    first = detector.stages_[0]
    detector.fit(other)
    assert detector.stages_[0] is first
    np.testing.assert_allclose(detector.mean_, X.mean(axis=0, dtype=np.float64), rtol=1e-12)


def test_automatic_sizes_go_on() -> None:
    X = sensors()
    detector = AnomalyDetector(warm_start=True, **QUICK).fit(X)
    sizes = [layer.n_out for layer in detector.network_.layers]
    assert len(detector.fit(X).history_) == 2 + 3 + 3
    assert [layer.n_out for layer in detector.network_.layers] == sizes
    with pytest.raises(ValueError, match="X has 5 features"):
        detector.fit(X[:, :5])
    narrow = detector.set_params(warm_start=False).fit(X[:, :2])
    assert narrow.n_features_in_ == 2
    assert narrow.network_.layers[0].n_in == 2


def test_groups_go_on() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(5, 3, size=(200, 2)), np.eye(3)[rng.integers(0, 3, 200)]])
    X = with_groups(X, ColumnGroups([("number", 2), ("category", 3)]))  # as tabular_pipeline gives them
    detector = AnomalyDetector((4, 2), warm_start=True, **QUICK).fit(X)
    again = copy.deepcopy(detector).set_params(finetuning=FineTuning(epochs=0)).fit(X)
    np.testing.assert_array_equal(again.score_features(X), detector.score_features(X))
    np.testing.assert_array_equal(again.scale_[2:], 1)
    assert again.offset_ == detector.offset_  # the same errors, those of each kind


def test_what_the_best_model_is_saved_with(tmp_path: Any) -> None:
    X = sensors()
    path = tmp_path / "best"
    seen: list[float] = []

    def look(record: Any) -> None:
        if record.stage == "finetuning":
            model = load(path)
            assert is_threshold_of(model, X)
            seen.append(model.offset_)

    AnomalyDetector((4, 2), contamination=0.1, callbacks=[BestModel(path), look], **QUICK).fit(X)
    assert len(set(seen)) == 3  # each epoch's own


def test_the_time_is_over_before_the_first_epoch() -> None:
    X = sensors()
    with pytest.warns(TimeLimitWarning, match="layer 1 0 of 2 epochs, layer 2 0 of 2 epochs, fine-tuning 0 of 3"):
        detector = AnomalyDetector((4, 2), contamination=0.1, max_seconds=1e-9, **QUICK).fit(X)
    assert detector.history_ == []
    assert is_threshold_of(detector, X)


@pytest.mark.parametrize(
    ("name", "bad"), [("callbacks", 3), ("callbacks", ["print"]), ("max_seconds", 0), ("warm_start", "yes")]
)
def test_bad_values(name: str, bad: Any) -> None:
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of AnomalyDetector must be"):
        AnomalyDetector(**{name: bad}).fit(sensors())


def test_it_has_all_that_an_autoencoder_is_told_of_a_fit() -> None:
    assert set(StackedAutoencoder().get_params(deep=False)) <= set(AnomalyDetector().get_params(deep=False))
