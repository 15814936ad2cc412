"""Schedules of the learning rate: closed forms, the same from any step, and training that follows them bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from layerwise import (
    SGD,
    Adam,
    Autoencoder,
    ConstantRate,
    CosineDecay,
    DenoisingAutoencoder,
    ExponentialDecay,
    FineTuning,
    InvalidParameterError,
    InverseTimeDecay,
    LinearDecay,
    Momentum,
    MomentumRamp,
    MomentumSwitch,
    Nesterov,
    PretrainedClassifier,
    ReduceOnPlateau,
    StepDecay,
    TrainingDiverged,
    _core,
    checks,
    load,
    pretrain,
    reference_schedules,
    schedules,
    training,
)
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.finetuning import finetune, stack
from layerwise.initializers import draw
from layerwise.network import Network, start_layer

WHERE = Parameter("Thing", "schedule")
STEPS, EPOCHS = 7, 12  # steps an epoch, epochs
WARM = [
    ConstantRate(),
    InverseTimeDecay(0.03),
    StepDecay(0.3, every=2),
    ExponentialDecay(0.8),
    LinearDecay(0.1),
    LinearDecay(0.2, hold=1.2),
    LinearDecay(hold=1.35),
    CosineDecay(0.05),
    ReduceOnPlateau(0.1),
]
ALL = [schedule.replace(warm_up=warm_up) for schedule in WARM for warm_up in (0, 0.5, 1, 2.3)]


def factors(schedule: schedules.Schedule, first: int = 0, count: int = STEPS * EPOCHS) -> np.ndarray:
    return schedule.factors(first, count, steps_per_epoch=STEPS, epochs=EPOCHS)


def by_reference(schedule: schedules.Schedule, step: int) -> float:
    warm = round(schedule.warm_up * STEPS)
    since, rest = max(0, step - warm), STEPS * EPOCHS - warm
    shape = {
        ConstantRate: lambda _: 1.0,
        InverseTimeDecay: lambda s: reference_schedules.inverse_time(since, s.decay),
        StepDecay: lambda s: reference_schedules.step_decay(since, s.factor, s.every, STEPS),
        ExponentialDecay: lambda s: reference_schedules.exponential(since, s.factor, STEPS),
        LinearDecay: lambda s: reference_schedules.linear(since, s.end, round(s.hold * STEPS), rest),
        CosineDecay: lambda s: reference_schedules.cosine(since, s.end, rest),
        ReduceOnPlateau: lambda _: 1.0,  # before any loss is known
    }[type(schedule)](schedule)
    return reference_schedules.warm_up_factor(step, warm) * shape


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_factors_are_those_of_the_reference(schedule: schedules.Schedule) -> None:
    expected = [by_reference(schedule, step) for step in range(STEPS * EPOCHS)]
    np.testing.assert_allclose(factors(schedule), expected, rtol=1e-14)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_factors_do_not_depend_on_which_are_asked_for_together(schedule: schedules.Schedule) -> None:
    together = factors(schedule)
    for first, count in ((0, 1), (3, 5), (STEPS, STEPS), (40, 44), (STEPS * EPOCHS - 1, 1)):
        assert factors(schedule, first, count).tobytes() == together[first : first + count].tobytes()


def test_values_that_one_can_work_out_by_hand() -> None:
    np.testing.assert_array_equal(factors(ConstantRate()), np.ones(STEPS * EPOCHS))
    assert factors(InverseTimeDecay(0.01))[[0, 1, 50]].tolist() == [1, 1 / 1.01, 1 / 1.5]
    assert factors(StepDecay(0.5, every=2))[[0, 13, 14, 27, 28, 83]].tolist() == [1, 1, 0.5, 0.5, 0.25, 0.5**5]
    assert factors(ExponentialDecay(0.81))[[0, 7, 14]].tolist() == pytest.approx([1, 0.81, 0.6561], rel=1e-15)
    assert factors(ExponentialDecay(0.5))[1] == pytest.approx(0.5 ** (1 / 7), rel=1e-15)
    assert factors(LinearDecay())[[0, 42, 83]].tolist() == pytest.approx([1, 0.5, 1 / 84], rel=1e-13)
    assert factors(LinearDecay(0.2))[42] == pytest.approx(0.6, rel=1e-15)
    assert factors(CosineDecay())[[0, 28, 42, 56]].tolist() == pytest.approx([1, 0.75, 0.5, 0.25], rel=1e-15)
    assert factors(CosineDecay())[83] == pytest.approx(math.sin(math.pi / 168) ** 2, rel=1e-11)
    assert factors(CosineDecay(0.2))[42] == pytest.approx(0.6, rel=1e-15)


def test_the_warm_up_rises_straight_and_shifts_what_follows() -> None:
    rates = factors(LinearDecay(warm_up=2))
    np.testing.assert_allclose(rates[:15], np.arange(1, 16) / 15, rtol=1e-15)
    np.testing.assert_allclose(rates[14:], 1 - np.arange(70) / 70, rtol=1e-13)
    assert factors(StepDecay(0.5, every=1, warm_up=1))[[7, 13, 14]].tolist() == [1, 1, 0.5]
    assert factors(ConstantRate(warm_up=0.5))[:6].tolist() == [0.2, 0.4, 0.6, 0.8, 1, 1]  # 3.5 steps are taken as 4


def test_no_factor_is_above_one_or_below_zero() -> None:
    for schedule in ALL:
        assert 0 <= factors(schedule).min() <= factors(schedule).max() <= 1
    assert (
        schedules.StepDecay(1e-200, every=1).factors(0, 9, steps_per_epoch=1, epochs=9)[-1] == 0
    )  # underflow is no error


@pytest.mark.parametrize("name", list(schedules.BY_NAME))
def test_schedules_by_name(name: str) -> None:
    assert schedules.resolve(WHERE, name) == schedules.BY_NAME[name]()
    assert FineTuning(schedule=name).check(Parameter("Thing"), 1).schedule == schedules.BY_NAME[name]()


# ---- training --------------------------------------------------------------------------------------------------------


def network(dtype: type = np.float64) -> Network:
    kinds = [("tanh", 5, 4), ("identity", 4, 2)]
    return Network(
        [
            start_layer(draw("auto", name, i, n, m), Activation(name), np.dtype(dtype))
            for i, (name, n, m) in enumerate(kinds)
        ]
    )


def data(dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    numbers = _core.random_normal(1, 0, 57 * 7).reshape(57, 7).astype(dtype)
    return np.ascontiguousarray(numbers[:, :5]), np.ascontiguousarray(numbers[:, 5:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [SGD(0.02), Adam(0.02)], ids=repr)
@pytest.mark.parametrize("schedule", [schedule.replace(warm_up=1.5) for schedule in WARM], ids=repr)
def test_training_takes_the_rates_of_the_schedule(schedule: schedules.Schedule, optimizer: object, dtype: type) -> None:
    X, Y = data(dtype)
    recipe = _core.Recipe("squared_error", optimizer.engine(), 10, seed=3)  # type: ignore[attr-defined]
    engine, other = network(dtype).engine(), network(dtype).engine()
    records = list(
        training.run(
            engine, recipe, X, Y, stage="x", layer=None, epochs=4, batch_size=10, learning_rate=0.02, schedule=schedule
        )
    )
    rates = 0.02 * schedule.factors(0, 24, steps_per_epoch=6, epochs=4)
    plan = training.plan_for(other, recipe)
    plan.run(X, Y, 0, 13, rates[:13])
    plan.run(X, Y, 13, 11, rates[13:])  # taken up again within an epoch
    assert engine.parameters().tobytes() == other.parameters().tobytes()
    assert [record.learning_rate for record in records] == rates[5::6].tolist()


def test_pretraining_has_one_schedule_a_layer() -> None:
    X = _core.random_uniform(3, 0, 600).reshape(100, 6)
    plan = [LinearDecay(), ConstantRate(warm_up=1)]
    settings = DenoisingAutoencoder(epochs=[3, 2], batch_size=10, optimizer=Adam(0.01), schedule=plan)
    stages = list(pretrain(X, (5, 4), settings))
    assert [record.learning_rate for record in stages[0].history] == pytest.approx(
        [0.01 * 21 / 30, 0.01 * 11 / 30, 0.01 / 30], rel=1e-12
    )
    assert [record.learning_rate for record in stages[1].history] == pytest.approx([0.1 / 11, 0.01], rel=1e-12)
    assert [stage.settings.schedule for stage in stages] == plan
    plain = list(pretrain(X, (5, 4), settings.replace(schedule="constant")))
    assert not np.array_equal(stages[0].weights, plain[0].weights)


def test_fine_tuning_follows_its_schedule() -> None:
    X = _core.random_uniform(3, 0, 600).reshape(100, 6)
    Y = np.eye(2)[(X[:, 0] > 0.5).astype(int)]
    start = stack(list(pretrain(X, [4], Autoencoder(epochs=1))), 2, "softmax", seed=1)
    settings = FineTuning(epochs=3, batch_size=10, optimizer=SGD(0.5), schedule="linear").check(Parameter("Thing"), 1)
    tuned, history = finetune(start, X, Y, settings, loss="softmax_cross_entropy", n_hidden=1, seed=9)
    assert [record.learning_rate for record in history] == pytest.approx([0.5 * 21 / 30, 0.5 * 11 / 30, 0.5 / 30])
    engine = start.engine()
    recipe = _core.Recipe("softmax_cross_entropy", SGD().engine(), 10, seed=checks.subkey(9, 1))
    training.plan_for(engine, recipe).run(X, Y, 0, 30, 0.5 * LinearDecay().factors(0, 30, steps_per_epoch=10, epochs=3))
    assert tuned.layers[0].weights.tobytes() == engine.weights(0).tobytes()
    assert tuned.layers[1].weights.tobytes() == engine.weights(1).tobytes()


def test_divergence_names_the_rate_that_one_can_change() -> None:
    X, Y = data()
    recipe = _core.Recipe("squared_error", SGD().engine(), 10, seed=3)
    with pytest.raises(TrainingDiverged, match=r"smaller than 1e\+06") as info:
        list(
            training.run(
                network().engine(), recipe, X, Y, stage="x", layer=None, epochs=50, batch_size=10, learning_rate=1e6,
                schedule=ConstantRate(warm_up=20),
            )
        )  # fmt: skip
    assert info.value.learning_rate == 1e6


# ---- reduce on plateau -----------------------------------------------------------------------------------------------

PLATEAU = ReduceOnPlateau(0.5, n_iter_no_change=2, tol=0.1)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], 1),
        ([9, 8, 7, 6], 1),
        ([9, 9], 1),
        ([9, 9, 9], 0.5),
        ([9, 8.95, 8.89], 1),  # 8.89 is below 9 by more than tol
        ([9, 8.95, 8.91], 0.5),
        ([9, 9, 9, 9], 0.5),
        ([9, 9, 9, 9, 9], 0.25),
        ([9, 9, 9, 8, 8, 7, 7.1, 7.2], 0.25),
        ([9, 20, 9, 8.8, 8.8], 0.5),
        ([9, 5, 8, 8], 0.5),  # the least so far counts, not the last
    ],
)
def test_reduction_on_a_plateau(losses: list[float], expected: float) -> None:
    assert PLATEAU.reduction(losses) == expected


def test_a_reduction_has_a_floor_and_spares_the_warm_up() -> None:
    assert PLATEAU.replace(end=0.3).reduction([9] * 9) == 0.3
    assert PLATEAU.replace(warm_up=1.5).reduction([0, 0, 9, 9]) == 1  # the second epoch begins within the warm-up
    assert PLATEAU.replace(warm_up=1.5).reduction([0, 0, 9, 9, 9]) == 0.5
    assert CosineDecay().reduction([9] * 9) == 1


@pytest.mark.parametrize("held_out", [True, False])
def test_training_reduces_the_rate_on_a_plateau(held_out: bool) -> None:
    X, Y = data()
    recipe = _core.Recipe("squared_error", SGD().engine(), 10, seed=3)
    validation = (X[:9], np.zeros_like(Y[:9])) if held_out else None  # training towards Y never helps for long there
    engine, other = network().engine(), network().engine()
    schedule = ReduceOnPlateau(0.5, n_iter_no_change=1, tol=0.01)
    records = list(
        training.run(
            engine, recipe, X, Y, stage="x", layer=None, epochs=9, batch_size=10, learning_rate=0.05, schedule=schedule,
            validation=validation,
        )
    )  # fmt: skip
    losses = [record.validation_loss if held_out else record.loss for record in records]
    rates = [0.05 * schedule.reduction(losses[:epoch]) for epoch in range(9)]
    assert [record.learning_rate for record in records] == rates
    assert 1 < len(set(rates)) < 9
    plan = training.plan_for(other, recipe)
    for epoch, rate in enumerate(rates):
        plan.run(X, Y, 6 * epoch, 6, np.full(6, rate))
    assert engine.parameters().tobytes() == other.parameters().tobytes()


# ---- as settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "name", "bad"),
    [
        *[(kind(warm_up=bad), "warm_up", bad) for kind in schedules.BY_NAME.values() for bad in (-0.1, None, "1")],
        *[(InverseTimeDecay(bad), "decay", bad) for bad in (-1e-9, np.inf, True)],
        *[(StepDecay(bad), "factor", bad) for bad in (0, 1.1, np.nan)],
        *[(StepDecay(every=bad), "every", bad) for bad in (0, 1.5, True, [1])],
        *[(ExponentialDecay(bad), "factor", bad) for bad in (0, 1.1, "x")],
        *[(ReduceOnPlateau(bad), "factor", bad) for bad in (0, 1, None)],
        *[(ReduceOnPlateau(n_iter_no_change=bad), "n_iter_no_change", bad) for bad in (0, 1.5)],
        *[(ReduceOnPlateau(tol=bad), "tol", bad) for bad in (-1, np.inf)],
        *[(ReduceOnPlateau(end=bad), "end", bad) for bad in (-0.1, 1.1)],
        *[(kind(bad), "end", bad) for kind in (LinearDecay, CosineDecay) for bad in (-0.1, 1.1, None)],
        *[(LinearDecay(hold=bad), "hold", bad) for bad in (-0.1, None, "1", np.nan, np.inf)],
    ],
)
def test_bad_values_are_named(schedule: schedules.Schedule, name: str, bad: object) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^The 'schedule__{name}' parameter of Thing must be .* Got "):
        schedules.resolve(WHERE, schedule)


@pytest.mark.parametrize("bad", [None, 0.1, "none", LinearDecay, Adam(), ["linear"]], ids=repr)
def test_other_things_are_no_schedule(bad: object) -> None:
    with pytest.raises(InvalidParameterError, match="'schedule' parameter of Thing must be a schedule such as"):
        schedules.resolve(WHERE, bad)
    with pytest.raises(InvalidParameterError, match=r"'schedule' parameter of Thing .* 'plateau'\] or \"auto\"\. Got"):
        FineTuning(schedule=bad).check(Parameter("Thing"), 1)  # type: ignore[arg-type]


def test_a_warm_up_must_end_before_the_training() -> None:
    where = Parameter("Thing")
    message = r"'schedule__warm_up' parameter of Thing must be less than the number of epochs, 2\. Got 2"
    with pytest.raises(InvalidParameterError, match=message):
        FineTuning(epochs=2, schedule=LinearDecay(warm_up=2)).check(where, 1)
    with pytest.raises(InvalidParameterError, match=message):
        Autoencoder(epochs=[3, 2], schedule=LinearDecay(warm_up=2)).check(where, 2)
    with pytest.raises(InvalidParameterError, match=r"'schedule' .* a list of 2 values"):
        Autoencoder(schedule=["linear"]).check(where, 2)
    message = r"'schedule__hold' parameter of Thing must be less than the number of epochs after the warm-up, 1\.5\."
    for hold in (1.5, 2):
        with pytest.raises(InvalidParameterError, match=message):
            FineTuning(epochs=2, schedule=LinearDecay(warm_up=0.5, hold=hold)).check(where, 1)
    FineTuning(epochs=2, schedule=LinearDecay(warm_up=0.5, hold=1.49)).check(where, 1)
    FineTuning(epochs=0, schedule=LinearDecay(warm_up=2, hold=3)).check(where, 1)
    Autoencoder(epochs=[3, 2], schedule=[LinearDecay(warm_up=2.9), LinearDecay(warm_up=1.9)]).check(where, 2)


def test_searches_reach_rate_and_schedule_apart() -> None:
    X = _core.random_uniform(3, 0, 600).reshape(100, 6)
    y = (X[:, 0] > X[:, 1]).astype(int)
    model = PretrainedClassifier(
        4,
        pretraining=None,
        finetuning=FineTuning(epochs=2, optimizer=Adam(), schedule=CosineDecay(warm_up=1)),
        random_state=0,
    )
    assert clone(model).get_params()["finetuning__schedule__warm_up"] == 1
    grid = {
        "finetuning__optimizer__learning_rate": [0.01, 0.1],
        "finetuning__schedule": ["constant", LinearDecay(), StepDecay(0.1, every=1)],
    }
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 6
    end = GridSearchCV(model, {"finetuning__schedule__end": [0.5]}, cv=2).fit(X, y).best_estimator_
    assert end.history_[-1].learning_rate == pytest.approx(1e-3 * (0.5 + 0.5 * math.cos(math.pi * 9 / 20) ** 2))


def test_files_keep_schedules(tmp_path: Path) -> None:
    X = _core.random_uniform(3, 0, 600).reshape(100, 6)
    for schedule in WARM:
        model = PretrainedClassifier(
            (4, 3),
            pretraining=Autoencoder(
                epochs=4, schedule=[schedule, "linear"], optimizer=[Momentum(momentum=MomentumRamp(0.9)), "adam"]
            ),
            finetuning=FineTuning(
                epochs=4, schedule=schedule.replace(warm_up=0.5), optimizer=Nesterov(momentum=MomentumSwitch())
            ),
        ).fit(X, np.arange(100) % 2)
        model.save(tmp_path / "model")
        back = load(tmp_path / "model")
        assert (back.pretraining, back.finetuning) == (model.pretraining, model.finetuning)
        assert [stage.settings for stage in back.stages_] == [stage.settings for stage in model.stages_]
        assert back.history_ == model.history_
