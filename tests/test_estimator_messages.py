"""What a refusal says is allowed: all that is, and nothing that is not."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from layerwise import (
    AnomalyDetector,
    FineTuning,
    InvalidParameterError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
)

UNSUPERVISED = [StackedAutoencoder, AnomalyDetector]
SUPERVISED = [PretrainedClassifier, PretrainedRegressor]
X, Y = np.random.default_rng(0).random((20, 3)), np.arange(20) % 2


def said(kind: Any, **params: Any) -> str:
    with pytest.raises(InvalidParameterError) as refused:
        kind(**params).fit(X, Y)
    return str(refused.value)


@pytest.mark.parametrize("kind", UNSUPERVISED)
def test_of_pretraining_without_labels(kind: Any) -> None:
    allowed, _, got = said(kind, pretraining=None).partition(" Got ")
    assert got == "None instead."
    assert "None" not in allowed
    assert "supervised" not in allowed


@pytest.mark.parametrize("kind", SUPERVISED)
def test_of_pretraining_with_labels(kind: Any) -> None:
    for allowed in ("None, ", "a fitted StackedAutoencoder", "SupervisedPretraining()", '"supervised"', "'rbm'"):
        assert allowed in said(kind, pretraining="no such")


NAMES = ["autoencoder", "denoising", "sparse", "contractive", "rbm"]


@pytest.mark.parametrize("kind", [*UNSUPERVISED, *SUPERVISED])
def test_of_the_names_of_pretraining(kind: Any) -> None:
    message = said(kind, pretraining="no such")
    for name in NAMES:
        assert f"{name!r}" in message
        if kind is StackedAutoencoder or kind is PretrainedClassifier:
            assert f'"{name}"' in inspect.getdoc(kind)  # type: ignore[operator]


def test_short_and_long_names_mean_the_same() -> None:
    for name in ("denoising", "sparse", "contractive"):
        long, short = (StackedAutoencoder(2, pretraining=own, random_state=0) for own in (f"{name}_autoencoder", name))
        assert long.fit(X).stages_[0].settings == short.fit(X).stages_[0].settings
        assert long.coefs_[0].tobytes() == short.coefs_[0].tobytes()


def test_of_class_weights() -> None:
    for bad in ({0: -1}, {0: 0}):
        allowed = '"balanced" or a dict from classes to finite weights, none negative and not all 0. Got'
        assert f"{allowed} {bad}" in said(PretrainedClassifier, class_weight=bad)


def test_of_weights_that_leave_no_target() -> None:
    model, targets = PretrainedRegressor(2, pretraining=None), np.tile(Y[:, None].astype(float), 3)
    targets[5:, 1] = np.nan
    for y, which in ((targets, "column 1 of y"), (targets[:, 1], "y"), (targets[:, 1:2], "y")):
        with pytest.raises(ValueError, match=rf"^The sample_weight of every known value of {which} is zero\.$"):
            model.fit(X, y, sample_weight=np.arange(20) >= 5)


def test_of_finetuning() -> None:
    for kind in UNSUPERVISED:
        assert 'must be None, a FineTuning or "auto". Got' in said(kind, finetuning="no such")
    for kind in SUPERVISED:
        assert 'must be a FineTuning or "auto". Got None' in said(kind, finetuning=None)


def test_of_a_start_as_it_was_given() -> None:
    settings = FineTuning(start="random")
    assert said(StackedAutoencoder, finetuning=settings).endswith("Got 'random' instead.")
    assert said(PretrainedClassifier, pretraining=None, finetuning=settings).endswith("Got 'random' instead.")
