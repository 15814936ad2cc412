"""Controls of what pretraining is worth: layers that start at random, or from their weights' distribution alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator

from layerwise import (
    Autoencoder,
    FineTuning,
    InvalidParameterError,
    Normal,
    PReLU,
    PretrainedClassifier,
    StackedAutoencoder,
    Swish,
    _core,
    pretrain,
)
from layerwise.restarts import restarted

X = _core.random_uniform(3, 0, 4000).reshape(400, 10)
y = (X[:, 0] > X[:, 1]).astype(int)
QUICK = Autoencoder(epochs=2)


def model(**changes: object) -> PretrainedClassifier:
    options: dict = {"pretraining": QUICK, "finetuning": FineTuning(epochs=0), "random_state": 5} | changes
    return PretrainedClassifier((40, 30), **options)


def weights(fitted: PretrainedClassifier) -> list[bytes]:
    return [array.tobytes() for array in [*fitted.coefs_, *fitted.intercepts_]]


def test_a_random_start_is_that_without_pretraining() -> None:
    alone = model(pretraining=None, initializer=Normal(0.3)).fit(X, y)
    pretrained = model(initializer=Normal(0.3)).fit(X, y)
    again = model(initializer=Normal(0.3), finetuning=FineTuning(epochs=0, start="random")).fit(X, y)
    assert weights(again) == weights(alone)
    assert weights(again) != weights(pretrained)
    assert [stage.weights.tobytes() for stage in again.stages_] == weights(pretrained)[:2]  # stages stay as learned
    upper = model(initializer=Normal(0.3), finetuning=FineTuning(epochs=0, start=["pretrained", "random"])).fit(X, y)
    assert weights(upper)[0] == weights(pretrained)[0]
    assert weights(upper)[1] == weights(alone)[1]


def test_a_fitted_autoencoder_gives_its_initializer_too() -> None:
    before = StackedAutoencoder((40, 30), pretraining=QUICK, initializer=Normal(0.3), random_state=1).fit(X)
    settings = FineTuning(epochs=0, start="random")
    alone = model(pretraining=None, initializer=Normal(0.3)).fit(X, y)
    assert weights(model(pretraining=before, finetuning=settings).fit(X, y)) == weights(alone)


def test_a_histogram_start_has_the_same_distribution_and_another_order() -> None:
    pretrained = model(finetuning=FineTuning(epochs=0)).fit(X, y)
    drawn = model(finetuning=FineTuning(epochs=0, start="histogram")).fit(X, y)
    for layer in (0, 1):
        for old, new in ((pretrained.coefs_, drawn.coefs_), (pretrained.intercepts_, drawn.intercepts_)):
            values, redrawn = old[layer].ravel(), new[layer].ravel()
            assert np.isin(redrawn, values).all()
            assert redrawn.tobytes() != values.tobytes()
            share = len(np.unique(redrawn)) / len(values)
            assert share == pytest.approx(1 - np.exp(-1), abs=4 / np.sqrt(len(values)))  # draws with replacement
        values, redrawn = pretrained.coefs_[layer].ravel(), drawn.coefs_[layer].ravel()
        assert redrawn.mean() == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(len(values)))
        assert abs(np.corrcoef(values, redrawn)[0, 1]) < 4 / np.sqrt(len(values))
    np.testing.assert_array_equal(pretrained.coefs_[2], drawn.coefs_[2])  # the output layer is as ever


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_learned_parameters_are_redrawn_too(dtype: type) -> None:
    kinds = [PReLU(), Swish(shared=True)]
    stages = list(pretrain(X.astype(dtype), (20, 9), QUICK, activation=kinds))
    layers = [stage.encoder for stage in stages]
    drawn = restarted(layers, ["histogram", "histogram"], ["auto", "auto"], 7)
    assert np.isin(drawn[0].parameter, layers[0].parameter).all()
    assert not np.array_equal(drawn[0].parameter, layers[0].parameter)
    assert len(np.unique(drawn[1].parameter)) == 1
    assert all(layer.weights.dtype == layer.bias.dtype == layer.parameter.dtype == dtype for layer in drawn)
    fresh = restarted(layers, ["random", "pretrained"], ["auto", "auto"], 7)
    assert (fresh[0].parameter == 0.25).all()
    assert fresh[1] is layers[1]


def test_bad_starts_are_named() -> None:
    for bad in ("fresh", None, ["random"], ["random"] * 3, 0):
        with pytest.raises(InvalidParameterError, match="'finetuning__start' parameter of PretrainedClassifier"):
            model(finetuning=FineTuning(start=bad)).fit(X, y)
    for start in ("random", ["pretrained", "histogram"]):
        with pytest.raises(InvalidParameterError, match=r"'finetuning__start' .* with pretraining=None"):
            model(pretraining=None, finetuning=FineTuning(start=start)).fit(X, y)
        with pytest.raises(InvalidParameterError, match=r"'finetuning__start' .* for an autoencoder"):
            StackedAutoencoder((5, 4), finetuning=FineTuning(start=start)).fit(X)


def test_layers_may_be_left_without_pretraining() -> None:
    told: list[str] = []
    stages = list(pretrain(X, (8, 6, 4), QUICK.replace(epochs=[1, 0, 2]), seed=3, report=told.append))
    assert [len(stage.history) for stage in stages] == [1, 0, 2]
    start = list(pretrain(X, (8, 6, 4), QUICK.replace(epochs=0), seed=3))
    assert stages[1].weights.tobytes() == start[1].weights.tobytes()
    assert stages[0].weights.tobytes() != start[0].weights.tobytes()
    assert any("layer 2: left at its random start, skill" in line for line in told)
    fitted = model(pretraining=Autoencoder(epochs=[2, 0])).fit(X, y)
    assert fitted.coefs_[1].tobytes() == fitted.stages_[1].weights.tobytes()


def test_an_ensemble_of_several_fine_tunings_of_one_pretraining() -> None:
    before = FrozenEstimator(StackedAutoencoder((40, 30), pretraining=QUICK, random_state=1).fit(X))
    members = [
        (f"seed {seed}", PretrainedClassifier(pretraining=before, finetuning=FineTuning(epochs=20), random_state=seed))
        for seed in range(3)
    ]
    ensemble = VotingClassifier(members, voting="soft").fit(X, y)
    assert {fitted.stages_[0].weights.tobytes() for fitted in ensemble.estimators_} == {
        before.estimator.stages_[0].weights.tobytes()
    }
    assert len({fitted.coefs_[0].tobytes() for fitted in ensemble.estimators_}) == 3
    mean = np.mean([fitted.predict_proba(X) for fitted in ensemble.estimators_], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(X), mean, rtol=1e-12)
