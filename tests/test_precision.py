"""precision="bfloat16" of the estimators."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import layerwise
from layerwise import (
    AnomalyDetector,
    DenoisingAutoencoder,
    FineTuning,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    SupervisedPretraining,
    _core,
)

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
needs_bfloat16 = pytest.mark.skipif(not _core.has_bfloat16(), reason="the instruction set in use has no bfloat16")


def make(kind, **options):
    if kind is not StackedAutoencoder:
        options = {"finetuning": FineTuning(epochs=3)} | options
    options = {"pretraining": DenoisingAutoencoder(epochs=2), "precision": "bfloat16"} | options
    return kind((40, 30), random_state=0, **options)


def weights(model):
    return np.concatenate([layer.weights.ravel() for layer in model.network_.layers])


@needs_bfloat16
@pytest.mark.parametrize("kind", [StackedAutoencoder, PretrainedClassifier, PretrainedRegressor, AnomalyDetector])
def test_it_is_another_arithmetic_with_the_same_bits_for_any_threads(kind):
    models = [make(kind, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2, 3)]
    plain = make(kind, precision="auto").fit(X, y)
    assert all(weights(model).tobytes() == weights(models[0]).tobytes() for model in models)
    assert models[0].network_.dtype == np.float32
    difference = np.abs(weights(models[0]) - weights(plain)).max()
    assert 1e-6 < difference < 0.1


@needs_bfloat16
def test_every_stage_is_trained_so():
    plain, half = (make(PretrainedClassifier, precision=precision).fit(X, y) for precision in ("auto", "bfloat16"))
    for one, other in zip(plain.history_, half.history_, strict=True):
        assert one.loss != other.loss
        assert one.loss == pytest.approx(other.loss, rel=0.05)


@needs_bfloat16
def test_supervised_pretraining_is_and_boltzmann_machines_are_not():
    for settings, same in ((SupervisedPretraining(epochs=2), False), (RestrictedBoltzmannMachine(epochs=2), True)):
        more = {"pretraining": settings, "activation": "sigmoid"}
        plain, half = (make(PretrainedClassifier, precision=p, **more).fit(X, y) for p in ("auto", "bfloat16"))
        assert (plain.stages_[0].weights.tobytes() == half.stages_[0].weights.tobytes()) is same
        assert weights(plain).tobytes() != weights(half).tobytes()


@needs_bfloat16
def test_it_is_learned_as_well_and_saved(tmp_path):
    options = {"finetuning": FineTuning(epochs=30), "pretraining": None}
    scores = [make(PretrainedClassifier, precision=p, **options).fit(X[:1200], y[:1200]).score(X[1200:], y[1200:])
              for p in ("auto", "bfloat16")]  # fmt: skip
    assert scores[1] == pytest.approx(scores[0], abs=0.02)
    model = make(PretrainedClassifier).fit(X, y)
    model.save(tmp_path / "model.layerwise")
    loaded = layerwise.load(tmp_path / "model.layerwise")
    assert loaded.precision == "bfloat16"
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


METHODS = {
    StackedAutoencoder: ("transform", "reconstruct"),
    PretrainedClassifier: ("predict_proba", "predict_log_proba", "transform"),
    PretrainedRegressor: ("predict", "transform"),
    AnomalyDetector: ("score_samples", "decision_function", "score_features", "reconstruct", "transform"),
}


@needs_bfloat16
@pytest.mark.parametrize("kind", METHODS)
def test_what_is_predicted_is_in_the_precision_of_now(kind):
    model = make(kind, precision="auto").fit(X, y)
    for method in METHODS[kind]:
        plain = getattr(model.set_params(precision="auto"), method)(X)
        half = getattr(model.set_params(precision="bfloat16"), method)(X)
        assert plain.dtype == half.dtype
        assert (plain != half).mean() > 0.5
        np.testing.assert_allclose(half, plain, rtol=0.05, atol=0.05 * np.abs(plain).max())
        for n_jobs in (1, 2):
            for rows in (slice(0, 1), slice(0, 3), slice(500, 1797)):
                found = getattr(model.set_params(n_jobs=n_jobs), method)(X[rows])
                assert found.tobytes() == half[rows].tobytes()


@needs_bfloat16
def test_a_detectors_threshold_is_that_of_its_own_scores():
    detector = make(AnomalyDetector, contamination=0.1).fit(X)
    assert np.mean(detector.predict(X) == -1) == pytest.approx(0.1, abs=1 / len(X))
    assert detector.offset_ in detector.score_samples(X)


@needs_bfloat16
def test_a_model_predicts_in_float32_where_the_processor_has_no_bfloat16(tmp_path):
    model = make(PretrainedClassifier).fit(X, y)
    model.save(tmp_path / "model.layerwise")
    code = (
        "import sys, numpy as np, layerwise\n"
        f"model = layerwise.load({str(tmp_path / 'model.layerwise')!r})\n"
        f"X = np.load({str(tmp_path / 'X.npy')!r})\n"
        "sys.stdout.buffer.write(model.predict_proba(X).tobytes())\n"
    )
    np.save(tmp_path / "X.npy", X)
    environment = {**os.environ, "LAYERWISE_ISA": "x86-64-v3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout == model.set_params(precision="auto").predict_proba(X).tobytes()


@pytest.mark.parametrize("kind", METHODS)
def test_a_model_of_float64_data_predicts_in_no_bfloat16(kind):
    model = make(kind, precision="auto").fit(X.astype(np.float64), y).set_params(precision="bfloat16")
    with pytest.raises(ValueError, match=r"'precision' .* must be \"auto\" in predictions of a model .* float64 data"):
        model.transform(X)
    with pytest.raises(ValueError, match=r"'precision' parameter of .* one of .*Got 'half'"):
        model.set_params(precision="half").transform(X)


@pytest.mark.parametrize("kind", [StackedAutoencoder, PretrainedClassifier, PretrainedRegressor, AnomalyDetector])
def test_data_in_float64_are_refused(kind):
    with pytest.raises(ValueError, match=r"'precision' parameter of .* float32 data .*astype.* Got 'bfloat16'"):
        make(kind).fit(X.astype(np.float64), y)


def test_a_processor_without_it_is_told_so_before_any_work():
    isa = next((name for name in ("x86-64-v3", "neon") if name in _core.supported_isas()), None)
    code = (
        "import numpy as np, layerwise\n"
        "layerwise.PretrainedClassifier(precision='bfloat16').fit(np.zeros((4, 3), np.float32), [0, 1, 0, 1])\n"
    )
    environment = {**os.environ, "LAYERWISE_ISA": isa}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs a processor with AVX512-BF16" in done.stderr
