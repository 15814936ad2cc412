"""Partially supervised pretraining of the first layer (Bengio et al. 2007)."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from layerwise import (
    LBFGS,
    SGD,
    Adam,
    Autoencoder,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    Momentum,
    MomentumSwitch,
    PReLU,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    TrainingDiverged,
    _core,
    pretrain,
    supervision,
)
from layerwise.activations import Activation
from layerwise.pretraining import _start
from layerwise.supervision import Labels

rng = np.random.default_rng(0)
# Much that varies and says nothing of the label; what says it varies little.
X = rng.random((400, 30)).astype(np.float32)
hint = rng.integers(0, 2, 400)
X[:, 0] = 0.5 + 0.05 * (2 * hint - 1) + rng.normal(0, 0.01, 400)
X[:, 1:] = np.clip(X[:, 1:4] @ rng.random((3, 29)) / 3 + 0.1 * X[:, 1:], 0, 1)


def fitted(**pretraining: object) -> PretrainedClassifier:
    settings = {"epochs": 30, "batch_size": 20, "optimizer": Adam(0.01)} | pretraining
    model = PretrainedClassifier((8, 3), activation="sigmoid", pretraining=Autoencoder(**settings), random_state=0)
    return model.set_params(finetuning=FineTuning(epochs=0))


def readable(model: PretrainedClassifier, layer: int) -> float:
    """How well a linear classifier tells the label from a layer's codes."""
    codes = model.transform(X, layer=layer)
    return float(LogisticRegression(C=1e4, max_iter=2000).fit(codes, hint).score(codes, hint))


def test_the_codes_hold_what_the_labels_say() -> None:
    plain, taught = fitted().fit(X, hint), fitted(supervised_optimizer=Adam(0.003)).fit(X, hint)
    assert readable(taught, 1) > 0.85 > 0.8 > readable(plain, 1)
    assert taught.stages_[0].skill > 0.9 * plain.stages_[0].skill  # and it still rebuilds
    assert taught.stages_[0].decoder.n_out == 30
    assert len(taught.stages_[0].history) == 30


def test_turns_are_steps_of_each_in_turn() -> None:
    """The engine's two plans, by hand: 10 steps of the autoencoder, 10 on labels, with the encoder handed over."""
    network = _start(
        30, 4, Activation("prelu", 0.25, "unit"), Activation("identity"), True, "glorot_uniform", 7, np.dtype("float32")
    )
    labels = Labels(X[:60], np.eye(2, dtype=np.float32)[hint[:60]], "softmax", None)
    recipe = _core.Recipe("squared_error", _core.Optimizer("sgd"), 20, seed=1)
    rates = np.linspace(0.1, 0.05, 20)

    def engines() -> tuple[object, supervision.Plan]:
        engine = network.engine()
        own = _core.Plan_float32(engine, recipe)
        plan = supervision.Plan(
            own, engine, network, labels, SGD(0.2), batch_size=15, steps_per_epoch=20, seed=5, threads=1, bfloat16=False
        )
        return engine, plan

    engine, plan = engines()
    stats = plan.run(X, None, 0, 20, rates)
    by_hand, other = engines()
    losses = []
    for first in (0, 10):
        losses.append(other._plan.run(X, None, first, 10, rates[first : first + 10]).loss)
        other._pupil.set_weights(0, by_hand.weights(0))
        other._pupil.set_bias(0, by_hand.bias(0))
        other._pupil.set_parameter(0, by_hand.parameter(0))
        before = by_hand.weights(0)
        other._teacher.run(labels.X, labels.Y, first, 10, np.full(10, 0.2))
        by_hand.set_weights(0, other._pupil.weights(0))
        by_hand.set_bias(0, other._pupil.bias(0))
        by_hand.set_parameter(0, other._pupil.parameter(0))
        assert not np.array_equal(before, by_hand.weights(0))
    np.testing.assert_array_equal(engine.parameters(), by_hand.parameters())
    assert stats.loss == pytest.approx(np.mean(losses), rel=1e-12)
    again, plan = engines()  # the steps may be cut anywhere
    sums, first = (0.0, 0.0), 0
    for end in (3, 10, 14, 20):
        cut = plan.run(X, None, first, end - first, rates[first:end], None, None, sums)
        sums, first = cut.sums, end
    np.testing.assert_array_equal(engine.parameters(), again.parameters())
    assert cut.loss == stats.loss


def test_only_the_first_layer_sees_labels() -> None:
    taught = fitted(supervised_optimizer="sgd").fit(X, hint)
    codes = taught.transform(X, layer=1)
    (alone,) = pretrain(
        X,
        (8, 3),
        taught.stages_[1].settings.replace(supervised_optimizer=None),
        done=[taught.stages_[0]],
        seed=_pretraining_seed(taught),
    )
    np.testing.assert_array_equal(alone.weights, taught.stages_[1].weights)
    assert codes.shape == (400, 8)


def _pretraining_seed(model: PretrainedClassifier) -> int:
    from layerwise import checks
    from layerwise.estimators.base import PRETRAINING_KEY

    return checks.subkey(model._seed(), PRETRAINING_KEY)


@pytest.mark.parametrize(
    "settings",
    [
        DenoisingAutoencoder(epochs=2, supervised_optimizer=Momentum(0.05, MomentumSwitch(epochs=1))),
        DenoisingAutoencoder(epochs=2, supervised_optimizer="adam", simultaneous=True, validation_fraction=0.1),
        DenoisingAutoencoder(epochs=2, optimizer=LBFGS(searches=2), batch_size=100, supervised_optimizer="sgd"),
        RestrictedBoltzmannMachine(epochs=2, supervised_optimizer=SGD(0.05), monitor=True),
    ],
    ids=["momentum", "simultaneous", "line searches", "machine"],
)
def test_with_every_kind_of_pretraining(settings: object) -> None:
    y = np.where(np.arange(400) < 100, hint, -1)
    weights = np.arange(400) % 3
    found = []
    for threads in (1, 2):
        model = PretrainedClassifier((5, 4), activation="sigmoid", pretraining=settings, random_state=1, n_jobs=threads)
        found.append(model.set_params(finetuning=FineTuning(epochs=1)).fit(X, y, sample_weight=weights))
    np.testing.assert_array_equal(found[0].coefs_[0], found[1].coefs_[0])
    unlabelled = PretrainedClassifier((5, 4), activation="sigmoid", random_state=1)
    unlabelled.set_params(finetuning=FineTuning(epochs=1), pretraining=settings.replace(supervised_optimizer=None))
    assert not np.array_equal(unlabelled.fit(X, y, sample_weight=weights).coefs_[0], found[0].coefs_[0])


def test_several_outputs_and_learned_activations() -> None:
    Y = np.column_stack([X[:, 0], X[:, 5]]).astype(float)
    Y[::7, 1] = np.nan
    model = PretrainedRegressor((6,), activation=PReLU(), random_state=0)
    model.set_params(
        pretraining=Autoencoder(epochs=3, supervised_optimizer=Adam(0.01)), finetuning=FineTuning(epochs=2)
    )
    assert model.fit(X, Y).stages_[0].encoder.parameter is not None
    assert np.isfinite(model.predict(X)).all()
    several = PretrainedClassifier((6,), pretraining=Autoencoder(epochs=1, supervised_optimizer="adam"))
    several.fit(X, np.column_stack([hint, 1 - hint]))


def test_what_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"pretraining__supervised_optimizer.* None where there are no"):
        StackedAutoencoder((4,), pretraining=Autoencoder(supervised_optimizer="adam")).fit(X)
    with pytest.raises(InvalidParameterError, match=r"supervised_optimizer.* None where there are no labels"):
        list(pretrain(X, (4,), RestrictedBoltzmannMachine(supervised_optimizer="adam")))
    for kind in (Autoencoder, RestrictedBoltzmannMachine):
        for value in ("lbfgs", LBFGS()):
            with pytest.raises(InvalidParameterError, match=r"supervised_optimizer.* with a learning rate"):
                PretrainedClassifier((4,), pretraining=kind(supervised_optimizer=value)).fit(X, hint)
        with pytest.raises(InvalidParameterError, match="pretraining__supervised_optimizer"):
            PretrainedClassifier((4,), pretraining=kind(supervised_optimizer=0.1)).fit(X, hint)
    model = PretrainedClassifier((4,), pretraining=Autoencoder(supervised_optimizer="adam"))
    with pytest.raises(ValueError, match="needs labelled rows"):
        model.partial_fit(X, np.full(400, -1), classes=[0, 1])
    model.set_params(pretraining__supervised_optimizer=SGD(1e30), activation="identity")
    with pytest.raises(TrainingDiverged, match="layer 1 diverged"):
        model.fit(X, hint)
