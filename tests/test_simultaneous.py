"""Pretraining of all layers at the same time: an epoch each in turn, on the codes of the moment."""

from __future__ import annotations

import numpy as np
import pytest

from layerwise import (
    SGD,
    Adam,
    Autoencoder,
    DenoisingAutoencoder,
    InvalidParameterError,
    LinearDecay,
    PretrainedClassifier,
    StackedAutoencoder,
    _core,
    checks,
    pretrain,
    training,
)

X = _core.random_uniform(3, 0, 1200).reshape(200, 6)
SETTINGS = DenoisingAutoencoder(
    epochs=[3, 4, 2], batch_size=20, optimizer=[Adam(0.02), SGD(0.1), Adam(0.01)], corruption="masking",
    schedule=["constant", LinearDecay(), "constant"], tied=[True, False, True], loss="cross_entropy", simultaneous=True,
)  # fmt: skip


def by_hand(epochs: tuple[int, ...]) -> list:
    """The engine's networks, trained an epoch each in turn."""
    start = list(pretrain(X, (5, 4, 3), SETTINGS.replace(epochs=0, schedule="constant"), seed=7))
    engines = [stage.network().engine() for stage in start]
    plans = []
    for depth, (engine, optimizer) in enumerate(zip(engines, SETTINGS.optimizer, strict=True)):
        key = checks.subkey(checks.subkey(7, depth + 1), 2)
        noise = _core.Noise("masking", 0.25)
        recipe = _core.Recipe("sigmoid_cross_entropy", optimizer.engine(), 20, seed=key, noise=noise)
        plans.append(training.plan_for(engine, recipe))
    rates = [np.full(30, 0.02), 0.1 * LinearDecay().factors(0, 40, steps_per_epoch=10, epochs=4), np.full(20, 0.01)]
    for epoch in range(max(epochs)):
        codes = X
        for depth in range(3):
            if epoch < epochs[depth]:
                plans[depth].run(codes, None, 10 * epoch, 10, rates[depth][10 * epoch :][:10])
            codes = engines[depth].apply(codes, 0, 1)
    return engines


def test_layers_are_trained_an_epoch_each_in_turn() -> None:
    stages = list(pretrain(X, (5, 4, 3), SETTINGS, seed=7))
    for stage, engine in zip(stages, by_hand((3, 4, 2)), strict=True):
        assert stage.weights.tobytes() == engine.weights(0).tobytes()
        assert stage.decoder.bias.tobytes() == engine.bias(1).tobytes()
    assert [len(stage.history) for stage in stages] == [3, 4, 2]
    assert [stage.layer for stage in stages] == [1, 2, 3]
    one_by_one = list(pretrain(X, (5, 4, 3), SETTINGS.replace(simultaneous=False), seed=7))
    assert stages[0].weights.tobytes() == one_by_one[0].weights.tobytes()  # the lowest does not know the others
    assert stages[0].skill == one_by_one[0].skill
    assert stages[1].weights.tobytes() != one_by_one[1].weights.tobytes()


def test_skill_and_validation_are_those_of_the_final_codes() -> None:
    settings = Autoencoder(epochs=5, simultaneous=True, validation_fraction=0.25, loss="squared_error")
    seen: list = []
    stages = list(pretrain(X, (5, 4), settings, seed=1, callbacks=[seen.append]))
    assert [(record.layer, record.epoch) for record in seen] == [(n, e) for e in range(1, 6) for n in (1, 2)]
    order = _core.random_permutation(checks.subkey(1, 0), 0, 200)
    train, apart = X[np.sort(order[50:])], X[np.sort(order[:50])]
    inputs, held_out = stages[0].encode(train), stages[0].encode(apart)
    for data, found in ((inputs, 1 - stages[1].skill), (held_out, stages[1].history[-1].validation_loss)):
        loss = ((stages[1].decode(stages[1].encode(data)) - data) ** 2).sum(axis=1).mean()
        blind = ((data - data.mean(axis=0)) ** 2).sum(axis=1).mean() if data is inputs else 1.0
        assert found == pytest.approx(loss / blind, rel=1e-9)


def test_a_callback_ends_its_layer_alone() -> None:
    stages = list(
        pretrain(
            X, (5, 4), Autoencoder(epochs=6, simultaneous=True), callbacks=[lambda r: (r.layer, r.epoch) == (1, 2)]
        )
    )
    assert [len(stage.history) for stage in stages] == [2, 6]


def test_the_data_stays_as_it_is_and_threads_do_not_matter() -> None:
    before = X.copy()
    found = [
        [stage.weights.tobytes() for stage in pretrain(X, (70, 40, 30), SETTINGS, threads=threads)]
        for threads in (1, 2, 3, 0)
    ]
    assert all(other == found[0] for other in found[1:])
    np.testing.assert_array_equal(X, before)


def test_in_the_estimators() -> None:
    model = StackedAutoencoder((5, 4), pretraining=Autoencoder(epochs=3, simultaneous=True), random_state=0).fit(X)
    assert [(record.layer, record.epoch) for record in model.history_] == [(n, e) for n in (1, 2) for e in (1, 2, 3)]
    y = (X[:, 0] > 0.5).astype(int)
    for bad in (None, 1, "yes", [True, False]):
        with pytest.raises(
            InvalidParameterError, match="'pretraining__simultaneous' parameter of PretrainedClassifier"
        ):
            PretrainedClassifier((5, 4), pretraining=Autoencoder(simultaneous=bad)).fit(X, y)
