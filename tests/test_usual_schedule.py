"""What "auto" makes of fine-tuning's rate: constant for 2,000 steps, then a straight line to 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from layerwise import (
    LBFGS,
    AnomalyDetector,
    Autoencoder,
    ConjugateGradient,
    ConstantRate,
    FineTuning,
    InvalidParameterError,
    LinearDecay,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    _core,
)
from layerwise.checks import Parameter

SOME = _core.random_uniform(3, 0, 600).reshape(100, 6)
ANY = (SOME[:, 0] > SOME[:, 1]).astype(int)


def fine_tuned(kind: type, **settings: Any) -> Any:
    """A small network of that kind, pretrained for an epoch, not yet fitted."""
    tuning = FineTuning(**{"epochs": 3, "batch_size": 10, **settings})
    return kind((4,), pretraining=Autoencoder(epochs=1), finetuning=tuning, random_state=0)


KINDS = [PretrainedClassifier, PretrainedRegressor, StackedAutoencoder, AnomalyDetector]


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_a_long_fit_keeps_its_rate_for_2000_steps_and_ends_at_zero(kind: type) -> None:
    usual, line, level = (
        fine_tuned(kind, epochs=250, **given).fit(SOME, ANY)
        for given in ({}, {"schedule": LinearDecay(hold=200)}, {"schedule": "constant"})
    )
    rates = [record.learning_rate for record in usual.history_ if record.stage == "finetuning"]
    assert rates[:200] == [1e-3] * 200
    assert rates[200:] == pytest.approx([1e-3 * (491 - 10 * epoch) / 500 for epoch in range(50)])
    weights = [model.network_.layers[0].weights.tobytes() for model in (usual, line, level)]
    assert weights[0] == weights[1] != weights[2]
    assert usual.get_params()["finetuning__schedule"] == "auto"


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_a_fit_of_no_more_steps_has_a_constant_rate(kind: type) -> None:
    usual, level = (fine_tuned(kind, epochs=200, schedule=given).fit(SOME, ANY) for given in ("auto", "constant"))
    assert {record.learning_rate for record in usual.history_ if record.stage == "finetuning"} == {1e-3}
    assert usual.network_.layers[0].weights.tobytes() == level.network_.layers[0].weights.tobytes()
    longer = fine_tuned(kind, epochs=201).fit(SOME, ANY)
    assert longer.history_[-1].learning_rate == pytest.approx(1e-3 / 10)


@pytest.mark.parametrize("kind", KINDS)
def test_passes_have_a_constant_rate_by_default(kind: type) -> None:
    known = {"classes": [0, 1]} if kind is PretrainedClassifier else {}
    usual, level = fine_tuned(kind), fine_tuned(kind, schedule="constant")
    for _ in range(3):
        for model in (usual, level):
            model.partial_fit(SOME, ANY, **known)
    assert [record.learning_rate for record in usual.history_ if record.stage == "finetuning"] == [1e-3] * 3
    assert usual.network_.layers[0].weights.tobytes() == level.network_.layers[0].weights.tobytes()
    long = [fine_tuned(kind, batch_size=1, schedule=given) for given in ("auto", "constant")]
    for model in long:  # a pass of more steps than "auto" leaves as they are
        model.partial_fit(np.tile(SOME, (21, 1)), np.tile(ANY, 21), **known)
    assert long[0].network_.layers[0].weights.tobytes() == long[1].network_.layers[0].weights.tobytes()
    for given in ("linear", LinearDecay(), ConstantRate(warm_up=0.5)):
        assert not hasattr(fine_tuned(kind, schedule=given), "partial_fit")
    for given in ("auto", "constant", ConstantRate()):
        assert hasattr(fine_tuned(kind, schedule=given), "partial_fit")


def test_line_searches_have_no_schedule_by_default() -> None:
    for optimizer in (ConjugateGradient(), LBFGS()):
        assert FineTuning(optimizer=optimizer).check(Parameter("Thing"), 1).schedule == ConstantRate()
        with pytest.raises(InvalidParameterError, match="line searches find the steps"):
            FineTuning(optimizer=optimizer, schedule="linear").check(Parameter("Thing"), 1)
