"""The anomaly detector: scores, threshold, explanations, files, and what it finds beside an isolation forest."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from layerwise import (
    Adam,
    AnomalyDetector,
    Autoencoder,
    DenoisingAutoencoder,
    FineTuning,
    FormatError,
    InvalidParameterError,
    PretrainedClassifier,
    StackedAutoencoder,
    load,
)
from layerwise import persistence as files
from layerwise.estimators import anomaly_defaults, column_errors
from layerwise.explanation import Explanation

QUICK = {"pretraining": DenoisingAutoencoder(epochs=2), "finetuning": FineTuning(epochs=3), "random_state": 0}


def sensors(n: int = 400, dtype: Any = np.float32) -> np.ndarray:
    """Six sensors in their own units that follow two causes."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(n, 2))
    X = causes @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(n, 6))
    return (X * [1, 10, 100, 1e3, 0.1, 1] + [0, 5, 1e3, -50, 7, 1e-3]).astype(dtype)


CONFIGURATIONS = [
    AnomalyDetector(),
    AnomalyDetector(5, contamination=0.05, standardize=False, pretraining=Autoencoder(epochs=3), finetuning=None),
    AnomalyDetector((8, 3), activation="relu", finetuning=FineTuning(epochs=5, early_stopping=True)),
]


EXACT = AnomalyDetector(  # without noise and in full batches: a weight is a repetition
    (6, 4), pretraining=Autoencoder(epochs=5, batch_size=10**6), finetuning=FineTuning(epochs=5, batch_size=10**6)
)
REPETITION = "check_sample_weight_equivalence_on_dense_data"


@pytest.mark.parametrize("estimator", [*CONFIGURATIONS, EXACT], ids=str)
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings of scikit-learn's own
def test_scikit_learn_has_nothing_to_say(estimator: Any) -> None:
    expected = {} if estimator is EXACT else {REPETITION: "noise, or batches: a repetition in distribution alone"}
    results = check_estimator(estimator, on_skip=None, on_fail=None, expected_failed_checks=expected)
    assert [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"] == []
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {"check_array_api_input", *expected}


# ---- what it finds ---------------------------------------------------------------------------------------------------


def areas(X: np.ndarray, normal: np.ndarray, **settings: Any) -> tuple[list[float], list[float]]:
    """ROC AUC of the detector and of an isolation forest, trained on 70 % of the normal rows, for three seeds."""
    ours, forest = [], []
    for seed in range(3):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(normal))
        train, test = rows[: int(0.7 * len(rows))], rows[int(0.7 * len(rows)) :]
        test = np.concatenate([test, np.flatnonzero(~normal)])
        for found, model in (
            (ours, AnomalyDetector(random_state=seed, **settings)),
            (forest, IsolationForest(random_state=seed)),
        ):
            scores = model.fit(X[train]).score_samples(X[test])
            found.append(float(roc_auc_score(normal[test], scores)))
    return ours, forest


def test_breast_cancer_beside_an_isolation_forest() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    ours, forest = areas(X.astype(np.float32), y == 1)
    assert np.mean(ours) > 0.93
    assert np.mean(ours) > np.mean(forest) - 0.02


@pytest.mark.parametrize("digit", [0, 8])
def test_digits_one_class_normal_beside_an_isolation_forest(digit: int) -> None:
    X, y = load_digits(return_X_y=True)
    ours, forest = areas(X.astype(np.float32), y == digit)
    assert np.mean(ours) > 0.93
    assert np.mean(ours) > np.mean(forest) - 0.02


def test_it_names_the_broken_sensor() -> None:
    X = sensors()
    detector = AnomalyDetector((12, 2), random_state=0, finetuning=FineTuning(epochs=100)).fit(X)
    broken = X[:100].copy()
    broken[:, 3] = X[100:200, 3]  # plausible by itself, but not beside the others
    changed = abs(broken[:, 3] - X[:100, 3]) > 1.5 * X[:, 3].std()
    named = [detector.explain(row, top=1)[0].column for row in broken[changed]]
    assert named.count(3) > 0.8 * len(named)
    scores = np.concatenate([detector.score_samples(broken[changed]), detector.score_samples(X[100:])])
    assert roc_auc_score(np.arange(len(scores)) >= changed.sum(), scores) > 0.9
    assert detector.predict(broken[changed]).mean() < 0.5
    assert (detector.predict(X) == -1).mean() < 0.1


# ---- the arithmetic --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("standardize", [True, False])
def test_scores_are_squared_standardised_errors(dtype: Any, standardize: bool) -> None:
    X = sensors(dtype=dtype) / np.array([1, 10, 100, 1e3, 0.1, 1], dtype)
    detector = AnomalyDetector((4, 2), standardize=standardize, **QUICK).fit(X)
    if standardize:
        np.testing.assert_allclose(detector.mean_, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(detector.scale_, X.std(axis=0, dtype=np.float64), rtol=1e-12)
    else:
        assert detector.mean_.tolist() == [0.0] * 6
        assert detector.scale_.tolist() == [1.0] * 6
    Z = ((X - detector.mean_) / detector.scale_).astype(dtype)
    errors = (Z.astype(np.float64) - detector.network_.apply(Z)) ** 2
    np.testing.assert_allclose(detector.score_features(X), -errors, rtol=1e-12)
    np.testing.assert_allclose(detector.score_samples(X), -errors.mean(axis=1), rtol=1e-12)
    rebuilt = detector.reconstruct(X)
    assert rebuilt.dtype == dtype
    np.testing.assert_allclose(rebuilt, detector.network_.apply(Z) * detector.scale_ + detector.mean_, rtol=1e-6)
    np.testing.assert_array_equal(detector.transform(X, layer=0), X)
    np.testing.assert_array_equal(detector.transform(X), detector.network_.apply(Z, 0, 2))
    inner = StackedAutoencoder((4, 2), **QUICK).fit(Z)
    np.testing.assert_array_equal(detector.coefs_[0], inner.coefs_[0])


def test_standardisation_makes_units_immaterial() -> None:
    X = sensors(dtype=np.float64)
    scores = AnomalyDetector((4, 2), **QUICK).fit(X).score_samples(X)
    other = AnomalyDetector((4, 2), **QUICK).fit(X * 2.0**10).score_samples(X * 2.0**10)
    np.testing.assert_allclose(other, scores, rtol=1e-9)


def test_rows_are_scored_alike_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    X = sensors()
    detector = AnomalyDetector((4, 2), **QUICK).fit(X)
    whole = detector.score_samples(X)
    assert detector.score_samples(X[17:18]) == whole[17]
    moments = np.array(column_errors.moments(X / 3, None, None))
    monkeypatch.setattr(column_errors, "BLOCK", 7)
    np.testing.assert_array_equal(column_errors.moments(X / 3, None, None), moments)
    again = AnomalyDetector((4, 2), **QUICK).fit(X)
    assert again.offset_ == detector.offset_
    np.testing.assert_array_equal(again.score_samples(X), whole)
    np.testing.assert_array_equal(again.score_features(X), detector.score_features(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_absurd_readings_are_anomalies_and_constant_columns_do_no_harm(dtype: Any) -> None:
    X = sensors(dtype=dtype)
    X[:, 5] = 3
    detector = AnomalyDetector((4, 2), **QUICK).fit(X)
    assert detector.scale_[5] == 1
    absurd = X[:2].copy()
    absurd[0, 2] = np.finfo(dtype).max
    absurd[1, 5] = -1e30
    assert detector.predict(absurd).tolist() == [-1, -1]
    assert not np.isnan(detector.score_samples(absurd)).any()
    first = detector.explain(absurd[1], top=1)[0]
    assert (first.column, first.share) == (5, pytest.approx(1))


@pytest.mark.parametrize(("columns", "units"), [(1, 32), (128, 32), (129, 33), (512, 128), (900, 128)])
def test_automatic_sizes(columns: int, units: int) -> None:
    assert anomaly_defaults.usual_sizes(columns) == (units,)
    if columns == 129:
        X = np.random.default_rng(0).normal(size=(20, columns))
        detector = AnomalyDetector(pretraining=Autoencoder(epochs=0), finetuning=None).fit(X)
        assert [layer.n_out for layer in detector.network_.layers] == [units, columns]


@pytest.mark.parametrize(("n", "rows"), [(12, 20), (400, 20), (960, 30)])
def test_what_automatic_settings_mean(n: int, rows: int) -> None:
    X = sensors(n)
    pretraining = DenoisingAutoencoder(epochs=5, optimizer=Adam(0.004), batch_size=rows)
    tuning = FineTuning(epochs=30, optimizer=Adam(0.004), input_dropout=0.2, untie=True, batch_size=rows)
    detector = AnomalyDetector(random_state=0).fit(X)
    same = AnomalyDetector((32,), pretraining=pretraining, finetuning=tuning, random_state=0).fit(X)
    np.testing.assert_array_equal(detector.score_samples(X), same.score_samples(X))
    once = AnomalyDetector((4,), pretraining=pretraining, finetuning=None, random_state=0)
    assert once.fit(X).network_.layers[1].tied_to == 0  # as pretraining left it
    passes = [clone(once).set_params(finetuning=given).partial_fit(X) for given in (None, tuning)]
    np.testing.assert_array_equal(*(model.score_samples(X) for model in passes))


# ---- explanations ----------------------------------------------------------------------------------------------------


def test_explain() -> None:
    X = sensors()
    names = [f"pump {i}" for i in range(6)]
    frame = pd.DataFrame(X, columns=names)
    detector = AnomalyDetector((4, 2), contamination=0.1, **QUICK).fit(frame)
    worst = int(detector.score_samples(frame).argmin())
    explanation = detector.explain(frame.iloc[worst])
    assert explanation == detector.explain(frame.iloc[[worst]])
    scores = detector.score_features(frame)[worst]
    expected = detector.reconstruct(frame)[worst]
    assert sorted(line.column for line in explanation) == names
    assert [line.share for line in explanation] == sorted((line.share for line in explanation), reverse=True)
    assert sum(line.share for line in explanation) == pytest.approx(1)
    for line in explanation:
        i = names.index(line.column)
        assert line.observed == X[worst, i]
        assert line.expected == expected[i]
        assert line.share == pytest.approx(scores[i] / scores.sum(), rel=1e-12)
    assert explanation.score == detector.score_samples(frame)[worst]
    assert explanation.offset == detector.offset_
    assert detector.explain(frame.iloc[worst], top=2) == explanation[:2]
    lines = repr(detector.explain(frame.iloc[worst], top=5)).splitlines()
    assert len(lines) == 7
    assert "an anomaly" in lines[0]
    assert explanation[0].column in lines[2]
    normal = int(detector.score_samples(frame).argmax())
    assert "not an anomaly" in repr(detector.explain(frame.iloc[normal]))
    assert list(pd.DataFrame(explanation).columns) == ["column", "observed", "expected", "share"]
    copied = pickle.loads(pickle.dumps(explanation))
    assert copied == explanation
    assert copied.score == explanation.score


def test_explain_takes_arrays_and_lists_and_refuses_tables() -> None:
    X = sensors()
    detector = AnomalyDetector((4, 2), **QUICK).fit(X)
    assert detector.explain(X[3]) == detector.explain(X[3:4]) == detector.explain(X[3].tolist())
    assert {line.column for line in detector.explain(X[3])} == set(range(6))
    with pytest.raises(ValueError, match=r"explain takes one row\. Got 2 rows"):
        detector.explain(X[:2])
    with pytest.raises(ValueError, match="6 features"):
        detector.explain(X[0, :4])
    for bad in (0, -1, 2.5, "all", True):
        with pytest.raises(InvalidParameterError, match="The 'top' parameter of explain must be an integer"):
            detector.explain(X[0], top=bad)


def test_shares_of_impossible_and_of_perfect_rows() -> None:
    def shares(errors: list[float]) -> list[float]:
        return [line.share for line in Explanation.of(range(3), np.zeros(3), np.zeros(3), np.array(errors), -1.0, None)]

    assert shares([0, 0, 0]) == [0, 0, 0]
    assert shares([1, np.inf, 2]) == [1, 0, 0]
    assert shares([1e308, 1e308, 0]) == [0.5, 0.5, 0]


# ---- at home ---------------------------------------------------------------------------------------------------------


def test_files_clones_and_pipelines(tmp_path: Path) -> None:
    X = sensors()
    detector = AnomalyDetector((4, 2), contamination=0.02, **QUICK).fit(pd.DataFrame(X, columns=list("abcdef")))
    path = tmp_path / "pump.layerwise"
    detector.save(path)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    for other in (load(path), pickle.loads(pickle.dumps(detector)), clone(detector).fit(frame)):
        assert other.offset_ == detector.offset_
        assert other.get_params() == detector.get_params()
        np.testing.assert_array_equal(other.score_features(frame), detector.score_features(frame))
        assert other.explain(frame.iloc[0]) == detector.explain(frame.iloc[0])
    pipe = make_pipeline(MinMaxScaler(), AnomalyDetector((4, 2), **QUICK)).fit(X)
    assert set(pipe.predict(X)) <= {-1, 1}
    assert detector.set_output(transform="pandas").transform(frame).columns.tolist() == [
        "anomalydetector0",
        "anomalydetector1",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean_", np.zeros(3)),
        ("scale_", np.zeros(6)),
        ("scale_", np.full(6, np.inf)),
        ("mean_", np.full(6, np.nan)),
        ("scale_", np.ones(7)),
    ],
)
def test_files_whose_moments_do_not_fit_are_refused(name: str, value: np.ndarray, tmp_path: Path) -> None:
    detector = AnomalyDetector((4, 2), **QUICK).fit(sensors())
    setattr(detector, name, value)
    detector.save(tmp_path / "bad")
    with pytest.raises(FormatError, match="mean"):
        load(tmp_path / "bad")


def test_a_threshold_that_is_no_number_is_refused() -> None:
    for bad in (1, True, "x", None):
        with pytest.raises(FormatError, match="where a number is expected"):
            files.schema._decode_fitted(bad, "number", files.parts.Store({}))
    assert files.schema._decode_fitted(-0.5, "number", files.parts.Store({})) == -0.5


@pytest.mark.parametrize("bad", [0, 0.0, -0.1, 0.51, 1, float("nan"), "some", None, True, [0.1]])
def test_bad_contamination_is_named(bad: Any) -> None:
    with pytest.raises(
        InvalidParameterError, match=r'^The \'contamination\' parameter of AnomalyDetector must be "auto" or a number'
    ):
        AnomalyDetector(contamination=bad).fit(sensors())


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("standardize", 1),
        ("standardize", "yes"),
        ("hidden_layer_sizes", (3, 0)),
        ("pretraining", None),
        ("pretraining", "supervised"),
        ("finetuning", 3),
        ("activation", "none"),
        ("initializer", "none"),
        ("n_jobs", 0),
        ("random_state", "seed"),
        ("verbose", -1),
    ],
)
def test_bad_values_are_named(name: str, bad: Any) -> None:
    detector = AnomalyDetector().set_params(**{name: bad})
    before = dict(vars(detector))
    with pytest.raises(InvalidParameterError, match=rf"^The '{name}' parameter of AnomalyDetector must be (.|\n)*Got "):
        detector.fit(sensors())
    assert vars(detector).keys() == before.keys()


def test_before_fit_and_after_an_error() -> None:
    X = sensors()
    for call in ("score_samples", "score_features", "decision_function", "predict", "reconstruct", "explain"):
        with pytest.raises(NotFittedError):
            getattr(AnomalyDetector(), call)(X)
    with pytest.raises(ValueError, match="variance is too large for float64"):
        AnomalyDetector().fit(sensors(dtype=np.float64) * 1e300)
    detector = AnomalyDetector((4, 2), **QUICK).fit(X)
    scores = detector.score_samples(X)
    with pytest.raises(ValueError, match="NaN"):
        detector.fit(np.full_like(X, np.nan))
    np.testing.assert_array_equal(detector.score_samples(X), scores)
    with pytest.raises(InvalidParameterError, match="'pretraining'"):  # it is not a StackedAutoencoder
        PretrainedClassifier(pretraining=detector).fit(X, np.arange(len(X)) % 2)


def test_interrupted_before_anything_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("layerwise.progress.Progress.__call__", stop)
    detector = AnomalyDetector((4, 2), **QUICK)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(sensors())
    assert not hasattr(detector, "stages_")


@pytest.mark.parametrize("stage", ["pretraining", "finetuning"])
def test_interrupted(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop:
        def __call__(self, record: Any) -> None:
            if (record.stage, record.layer) in {("pretraining", 2), ("finetuning", None)} and record.stage == stage:
                raise KeyboardInterrupt

        def report(self, text: str) -> None:
            pass

        def close(self) -> None:
            pass

    monkeypatch.setattr(AnomalyDetector, "_progress", lambda self: Stop())
    detector = AnomalyDetector((4, 2), **QUICK)
    with pytest.raises(KeyboardInterrupt) as stopped:
        detector.fit(sensors())
    assert len(stopped.value.__notes__) == 1
    assert len(detector.stages_) == (1 if stage == "pretraining" else 2)
    if stage == "finetuning":  # usable with what was reached
        assert np.isfinite(detector.decision_function(sensors())).all()
    else:
        assert not hasattr(detector, "offset_")
        with pytest.raises(NotFittedError):
            detector.predict(sensors())
