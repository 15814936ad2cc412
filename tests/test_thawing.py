"""Frozen layers that are trained later: each phase is a training of its own; until then a layer keeps its bits."""

from __future__ import annotations

import numpy as np
import pytest

from layerwise import Autoencoder, FineTuning, InvalidParameterError, _core, optimizers, pretrain, training
from layerwise.checks import Parameter, subkey
from layerwise.finetuning import finetune, stack
from layerwise.network import Network

WHERE = Parameter("test")
X = _core.random_uniform(3, 0, 600).reshape(100, 6)
Y = np.eye(2)[(X[:, 0] > X[:, 1]).astype(int)]


def stacked() -> Network:
    return stack(list(pretrain(X, (5, 4, 3), Autoencoder(epochs=1))), 2, "softmax", seed=1)


def tune(settings: FineTuning, **options: object) -> tuple[Network, list]:
    settings = settings.replace(batch_size=10).check(WHERE, 3)
    return finetune(stacked(), X, Y, settings, loss="softmax_cross_entropy", n_hidden=3, seed=9, **options)  # type: ignore[arg-type]


def moved(before: Network, after: Network) -> list[bool]:
    """Which layers have other bits."""
    return [
        a.weights.tobytes() != b.weights.tobytes() or a.bias.tobytes() != b.bias.tobytes()
        for a, b in zip(before.layers, after.layers, strict=True)
    ]


@pytest.mark.parametrize("optimizer", list(optimizers.BY_NAME))
def test_layers_move_from_their_thaw_on(optimizer: str) -> None:
    settings = FineTuning(
        epochs=9,
        optimizer=optimizer,
        alpha=0.01,
        dropout=0.1,
        schedule="cosine",
        frozen_layers=[1, 3],
        thaw_after=[4, 2],
    )
    start = stacked()
    for epochs in (2, 3, 4, 5):
        network, history = tune(settings, callbacks=[lambda record, last=epochs: record.epoch == last])
        assert len(history) == epochs
        assert moved(start, network) == [epochs > 4, True, epochs > 2, True]


@pytest.mark.parametrize("optimizer", ["adam", "momentum", "adagrad"])
def test_each_phase_is_a_training_of_its_own(optimizer: str) -> None:
    settings = FineTuning(epochs=5, optimizer=optimizer, schedule="linear", frozen_layers=2, thaw_after=[3, 1])
    network, history = tune(settings)
    rate = optimizers.BY_NAME[optimizer]().learning_rate
    rates = rate * settings.check(WHERE, 3).schedule.factors(0, 50, steps_per_epoch=10, epochs=5)
    engine = stacked().engine()
    for phase, (first, end, frozen) in enumerate(
        [(0, 10, [True, True, False, False]), (10, 30, [True, False, False, False]), (30, 50, [False] * 4)]
    ):
        recipe = _core.Recipe(
            "softmax_cross_entropy",
            optimizers.BY_NAME[optimizer]().engine(),
            10,
            seed=subkey(9, 1, phase) if phase else subkey(9, 1),
            frozen=frozen,
        )
        training.plan_for(engine, recipe).run(X, Y, 0, end - first, rates[first:end])
    for layer in range(4):
        assert network.layers[layer].weights.tobytes() == engine.weights(layer).tobytes()
    assert [record.learning_rate for record in history] == rates[9::10].tolist()


def test_a_thawed_layer_starts_with_short_steps() -> None:
    """The first steps of Adam after a thaw have the length of the rate, as at the start of any training."""
    rate = 1e-3
    settings = FineTuning(epochs=3, optimizer=optimizers.Adam(rate), frozen_layers=1, thaw_after=2)
    before, _ = tune(settings, callbacks=[lambda record: record.epoch == 2])
    after, _ = tune(settings)
    assert (
        np.abs(after.layers[0].weights - before.layers[0].weights).max() <= 10 * rate
    )  # ten steps; else about 3 times


def test_one_number_thaws_all_and_early_stopping_sees_all_phases() -> None:
    settings = FineTuning(epochs=6, frozen_layers=3, thaw_after=3, early_stopping=True)
    network, history = tune(settings)
    assert moved(stacked(), network) == [True] * 4
    assert all(record.validation_loss > 0 for record in history)
    assert [record.epoch for record in history] == [1, 2, 3, 4, 5, 6]
    assert moved(stacked(), tune(settings.replace(thaw_after=None))[0]) == [False, False, False, True]


@pytest.mark.parametrize(
    ("frozen", "thaw", "allowed"),
    [
        (0, 1, "None without frozen_layers"),
        (2, [1], "a list of 2 values"),
        (2, [1, 2, 3], "a list of 2 values"),
        (2, 0, r"an integer in \[1"),
        (2, 1.5, r"an integer in \[1"),
        (2, "1", r"an integer in \[1"),
        (2, 9, "less than the number of epochs, 9"),
        (2, [1, 12], "less than the number of epochs, 9"),
    ],
)
def test_bad_thaws_are_named(frozen: int, thaw: object, allowed: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^The 'thaw_after' parameter of test must be .*{allowed}"):
        FineTuning(epochs=9, frozen_layers=frozen, thaw_after=thaw).check(Parameter("test"), 3)  # type: ignore[arg-type]
