"""scikit-learn's own callbacks on the estimators, where it has them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from layerwise import (
    AnomalyDetector,
    DenoisingAutoencoder,
    FineTuning,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    load,
)

callback = pytest.importorskip("sklearn.callback")

ALL = [StackedAutoencoder, AnomalyDetector, PretrainedClassifier, PretrainedRegressor]
N = 120


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


class Recorder:
    """Callback that writes down what it is told, and may stop a task or raise."""

    def __init__(self, stop: str = "", trouble: str = "") -> None:
        self.told: list[str] = []
        self.models: list[Any] = []
        self.stop, self.trouble = stop, trouble

    def setup(self, estimator: Any, context: Any) -> None:
        self.told.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any, *, X: Any = None, y: Any = None) -> None:
        assert len(X) == N
        self.told.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None, metadata: Any = None
    ) -> bool:
        self.told.append(f"end {context.task_name}")
        self.models.append((context.task_name, fitted_estimator, metadata))
        if self.trouble and context.parent is not None and context.parent.task_name == self.trouble:
            raise RuntimeError(self.trouble)
        return context.parent is not None and context.parent.task_name == self.stop


def stage(name: str, epochs: int) -> list[str]:
    return [f"begin {name}", *["begin epoch", "end epoch"] * epochs, f"end {name}"]


@pytest.mark.parametrize("kind", ALL)
def test_stages_and_epochs_are_told(kind: Any) -> None:
    X, y = data(kind)
    recorder = Recorder()
    model = make(kind).set_callbacks(recorder).fit(X, y, sample_weight=np.ones(N))
    layers = [line for layer in (1, 2) for line in stage(f"pretraining of layer {layer}", 2)]
    expected = ["setup", "begin fit", *layers, *stage("finetuning", 3), "end fit", "teardown"]
    assert recorder.told == expected
    models = [(name, fitted) for name, fitted, _ in recorder.models if name in ("epoch", "fit")]
    assert [fitted is not None for _, fitted in models] == [False] * 4 + [True] * 4
    np.testing.assert_array_equal(models[-1][1].transform(X), model.transform(X))
    one_epoch = make(kind, finetuning=FineTuning(epochs=1)).fit(X, y)
    np.testing.assert_array_equal(models[4][1].transform(X), one_epoch.transform(X))
    np.testing.assert_array_equal(recorder.models[0][2]["sample_weight"], np.ones(N))
    np.testing.assert_array_equal(model.transform(X), make(kind).fit(X, y).transform(X))


@pytest.mark.parametrize("kind", ALL)
def test_the_callbacks_of_scikit_learn(kind: Any, tmp_path: Any) -> None:
    X, y = data(kind)

    def score(model: Any, X: np.ndarray, y: np.ndarray) -> float:
        return float(model.decision_function(X).mean() if kind is AnomalyDetector else model.score(X, y))

    monitor = callback.ScoringMonitor(scoring={"score": score})
    others = [callback.ProgressBar()] if find_spec("rich") else []
    model = make(kind).set_callbacks(monitor, *others).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 3  # there is nothing to score while layers are pretrained
    assert rows[-1]["score"] == pytest.approx(score(model, X, y), rel=1e-12)
    model.save(tmp_path / "model")
    assert not hasattr(load(tmp_path / "model"), "_skl_callbacks")


def test_stopping_and_raising() -> None:
    X, y = data(PretrainedClassifier)
    model = make(PretrainedClassifier).set_callbacks(Recorder(stop="pretraining of layer 2")).fit(X, y)
    assert [len(s.history) for s in model.stages_] == [2, 1]
    assert model.n_iter_ == 3
    recorder = Recorder(trouble="finetuning")
    model = make(PretrainedClassifier).set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="finetuning") as info:
        model.fit(X, y)
    assert recorder.told[-1] == "teardown"
    assert "the estimator keeps the weights reached" in "".join(info.value.__notes__)
    one_epoch = make(PretrainedClassifier, finetuning=FineTuning(epochs=1)).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), one_epoch.predict_proba(X))
    assert not [name for name in vars(model) if name.startswith("_callback") or "teardown" in name]


def test_in_a_pipeline() -> None:
    X, y = data(PretrainedClassifier)
    recorder = Recorder()
    pipe = make_pipeline(MinMaxScaler(), make(PretrainedClassifier).set_callbacks(recorder)).fit(X, y)
    assert recorder.told.count("end epoch") == 7
    assert pipe.predict(X).shape == (N,)
