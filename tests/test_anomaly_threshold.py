"""The anomaly detector's threshold: shares, the fence, and rows that count more than others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from layerwise import AnomalyDetector, Autoencoder, DenoisingAutoencoder, FineTuning
from layerwise.estimators import thresholds

QUICK = {"pretraining": DenoisingAutoencoder(epochs=2), "finetuning": FineTuning(epochs=3), "random_state": 0}


def sensors(n: int = 400, dtype: Any = np.float32) -> np.ndarray:
    """Six sensors in their own units that follow two causes."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(n, 2))
    X = causes @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(n, 6))
    return (X * [1, 10, 100, 1e3, 0.1, 1] + [0, 5, 1e3, -50, 7, 1e-3]).astype(dtype)


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_contamination_is_the_share_of_training_rows_below_the_threshold(contamination: float) -> None:
    X = sensors()
    detector = AnomalyDetector((4, 2), contamination=contamination, **QUICK)
    assert (detector.fit_predict(X) == -1).mean() == contamination
    np.testing.assert_array_equal(
        detector.decision_function(X), detector.score_samples(X) - np.float64(detector.offset_)
    )


def test_the_automatic_threshold_is_the_fence() -> None:
    X = sensors()
    detector = AnomalyDetector((4, 2), **QUICK).fit(X)
    roots = np.sqrt(-detector.score_samples(X))
    lower, upper = np.percentile(roots, [25, 75], method="averaged_inverted_cdf")
    np.testing.assert_array_equal(detector.predict(X) == -1, roots > upper + 1.5 * (upper - lower))
    assert detector.offset_ == pytest.approx(-((upper + 1.5 * (upper - lower)) ** 2), rel=1e-12)


@pytest.mark.parametrize("error", np.random.default_rng(0).random(20))
def test_rows_that_are_all_alike_are_no_anomalies(error: float) -> None:
    assert -thresholds.fence(np.full(9, error), None) >= error


@pytest.mark.parametrize("share", [0.001, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.999])
def test_quantiles(share: float) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 10, 37):
        values, counts = np.round(rng.normal(size=n), 1), rng.integers(1, 5, n)
        plain = np.quantile(values, share, method="averaged_inverted_cdf")
        assert thresholds.weighted_quantile(values, None, share) == pytest.approx(plain, rel=1e-12)
        repeated = np.quantile(np.repeat(values, counts), share, method="averaged_inverted_cdf")
        for unit in (1, 0.1, 1e-3 / 7):
            assert thresholds.weighted_quantile(values, unit * counts, share) == pytest.approx(repeated, rel=1e-12)


FULL = {
    "pretraining": Autoencoder(epochs=5, batch_size=10**6),
    "finetuning": FineTuning(epochs=5, batch_size=10**6),
    "random_state": 0,
}


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_a_weight_is_a_repetition(contamination: Any) -> None:
    X = sensors(200, np.float64)
    counts = np.random.default_rng(0).integers(0, 4, 200)
    detector = AnomalyDetector((4, 2), contamination=contamination, **FULL)
    weighted = clone(detector).fit(X, sample_weight=3.0 * counts)
    repeated = clone(detector).fit(np.repeat(X, counts, axis=0))
    assert weighted.offset_ == pytest.approx(repeated.offset_, rel=1e-6)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_, rtol=1e-12)
    np.testing.assert_allclose(weighted.score_features(X), repeated.score_features(X), rtol=1e-4, atol=1e-9)
    plain = clone(detector).fit(X)
    assert abs(plain.offset_ - weighted.offset_) > 1e-4 * abs(plain.offset_)
    without = clone(detector).fit(X, sample_weight=counts > 0)
    assert without.offset_ == clone(detector).fit(X[counts > 0]).offset_  # a row of weight 0 is not there


def test_bad_weights() -> None:
    for bad in (np.zeros(400), -np.ones(400), np.full(400, np.nan), np.ones(3)):
        with pytest.raises(ValueError, match=r"[Ww]eight"):
            AnomalyDetector((4, 2), **QUICK).fit(sensors(), sample_weight=bad)
