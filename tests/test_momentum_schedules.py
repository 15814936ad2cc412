"""Schedules of the momentum: closed forms, training that follows them bit for bit, and optimisers that have none."""

from __future__ import annotations

import numpy as np
import pytest

from layerwise import (
    Autoencoder,
    FineTuning,
    InvalidParameterError,
    Momentum,
    MomentumRamp,
    MomentumSwitch,
    Nesterov,
    _core,
    checks,
    optimizers,
    pretrain,
    reference_schedules,
    training,
)
from layerwise.checks import Parameter
from layerwise.finetuning import finetune, stack
from layerwise.momentum_schedules import MomentumSchedule
from layerwise.network import Network

WHERE = Parameter("Thing", "optimizer")


def test_momenta_are_those_of_the_reference() -> None:
    ramp, switch = MomentumRamp(0.97, every=3), MomentumSwitch(0.3, 0.8, epochs=2)
    for first, count in ((0, 60), (17, 20)):
        steps = range(first, first + count)
        expected = [reference_schedules.momentum_ramp(step, 0.97, 3) for step in steps]
        np.testing.assert_allclose(ramp.momenta(first, count, steps_per_epoch=7), expected, rtol=1e-14)
        expected = [reference_schedules.momentum_switch(step, 0.3, 0.8, 2, 7) for step in steps]
        assert switch.momenta(first, count, steps_per_epoch=7).tolist() == expected
    values = MomentumRamp().momenta(0, 20_000, steps_per_epoch=1)
    assert values[[0, 249, 250, 500, 12_249, 12_250, 19_999]].tolist() == [
        0.5,
        0.5,
        0.75,
        1 - 0.5 / 3,
        1 - 0.5 / 49,
        0.99,
        0.99,
    ]
    assert MomentumSwitch().momenta(0, 60, steps_per_epoch=10).tolist() == [0.5] * 50 + [0.9] * 10


@pytest.mark.parametrize("kind", [Momentum, Nesterov])
@pytest.mark.parametrize("schedule", [MomentumRamp(0.8, every=4), MomentumSwitch(epochs=1)], ids=repr)
def test_training_takes_the_momenta_of_the_schedule(kind: type, schedule: MomentumSchedule) -> None:
    X = _core.random_uniform(3, 0, 600).reshape(100, 6)
    Y = np.eye(2)[(X[:, 0] > 0.5).astype(int)]
    (stage,) = pretrain(
        X, [4], Autoencoder(epochs=3, batch_size=10, optimizer=kind(0.05, schedule), tied=False), seed=4
    )
    start = pretraining_start(X, kind)
    assert not np.array_equal(stage.weights, start.layers[0].weights)
    settings = FineTuning(epochs=3, batch_size=10, optimizer=kind(0.05, schedule)).check(Parameter("Thing"), 1)
    tuned, _ = finetune(start, X, Y, settings, loss="softmax_cross_entropy", n_hidden=1, seed=9)
    engine = start.engine()
    recipe = _core.Recipe("softmax_cross_entropy", kind().engine(), 10, seed=checks.subkey(9, 1))
    momenta = schedule.momenta(0, 30, steps_per_epoch=10)
    training.plan_for(engine, recipe).run(X, Y, 0, 30, np.full(30, 0.05), momenta)
    assert tuned.layers[0].weights.tobytes() == engine.weights(0).tobytes()
    assert tuned.layers[1].bias.tobytes() == engine.bias(1).tobytes()


def pretraining_start(X: np.ndarray, kind: type) -> Network:
    """A network pretrained with a constant momentum."""
    (stage,) = pretrain(X, [4], Autoencoder(epochs=3, batch_size=10, optimizer=kind(0.05), tied=False), seed=4)
    return stack([stage], 2, "softmax", seed=1)


@pytest.mark.parametrize("schedule", [MomentumRamp(), MomentumSwitch()], ids=repr)
def test_momentum_schedules_are_for_momentum_alone(schedule: MomentumSchedule) -> None:
    for name, kind in optimizers.BY_NAME.items():
        for parameter in kind().get_params():
            changed = kind().replace(**{parameter: schedule})
            if name in ("momentum", "nesterov") and parameter == "momentum":
                assert optimizers.resolve(WHERE, changed).momentum_schedule == schedule
            else:
                with pytest.raises(InvalidParameterError, match=f"optimizer__{parameter}"):
                    optimizers.resolve(WHERE, changed)


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        *[(MomentumRamp(bad), "highest") for bad in (1, -0.1, None)],
        *[(MomentumRamp(every=bad), "every") for bad in (0, 2.5, True)],
        *[(MomentumSwitch(first=bad), "first") for bad in (1, "0.5")],
        *[(MomentumSwitch(then=bad), "then") for bad in (1, np.nan)],
        *[(MomentumSwitch(epochs=bad), "epochs") for bad in (-1, 0.5)],
    ],
)
def test_bad_momentum_schedules_are_named(schedule: MomentumSchedule, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^The 'optimizer__momentum__{name}' parameter of Thing must be"):
        optimizers.resolve(WHERE, Nesterov(momentum=schedule))
