"""What "auto" makes of the share of the inputs that fine-tuning leaves out."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from layerwise import (
    LBFGS,
    Autoencoder,
    FineTuning,
    InvalidParameterError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    _core,
)
from layerwise.checks import Parameter
from layerwise.input_dropout import of_training

RANDOM = np.random.default_rng(0)
CENTRED = RANDOM.normal(size=(1000, 60)).astype(np.float32)
CENTRED -= CENTRED.mean(axis=0)
ANY = (CENTRED[:, 0] > CENTRED[:, 1]).astype(int)


def fine_tuned(kind: type, **settings: Any) -> Any:
    """A small network of that kind, pretrained for an epoch, not yet fitted; 1,000 rows make 1,000 steps."""
    tuning = FineTuning(**{"epochs": 10, "batch_size": 10, **settings})
    return kind((4,), pretraining=Autoencoder(epochs=1), finetuning=tuning, random_state=0)


def weights(model: Any) -> bytes:
    """The bits of the lowest layer's weights."""
    return bytes(model.network_.layers[0].weights.tobytes())


def by_the_formula(X: np.ndarray[Any, Any]) -> float:
    """p of the docstring of `FineTuning`, from the variances of the columns."""
    X = X.astype(np.float64)
    odds = X.var(axis=0).sum() / (X**2).mean(axis=0).sum() * min(1, 3 * X.shape[1] / X.shape[0])
    return float(odds / (1 + odds))


@pytest.mark.parametrize("rows", [10, 180, 190, 500, 1000])
@pytest.mark.parametrize("mean", [0.0, 0.5, -2.0, 30.0])
def test_the_share_follows_labels_inputs_and_their_means(rows: int, mean: float) -> None:
    X = (CENTRED[:rows] + mean).astype(np.float32)
    share = of_training("auto", X, 1000)
    expected = round(by_the_formula(X), 2)
    assert share == (expected if expected >= 0.05 else 0.0)
    assert 0 <= share <= 0.5
    assert of_training("auto", X.astype(np.float64), 1000) == share
    assert of_training("auto", np.asfortranarray(X), 1000) == share


def test_centred_inputs_have_as_much_noise_as_variance_where_labels_are_few() -> None:
    few = CENTRED[:180] - CENTRED[:180].mean(axis=0)
    assert of_training("auto", few, 1000) == 0.5
    assert of_training("auto", CENTRED, 1000) == round(0.18 / 1.18, 2)
    assert of_training("auto", np.tile(CENTRED, (3, 1)), 1000) == 0.06
    assert of_training("auto", np.tile(CENTRED, (4, 1)), 1000) == 0.0  # 0.04 by the formula


@pytest.mark.parametrize("X", [np.zeros((20, 60)), np.full((20, 60), 7.1), np.full((20, 60), 1e30, np.float32)])
def test_inputs_that_do_not_vary_have_no_noise(X: np.ndarray[Any, Any]) -> None:
    assert of_training("auto", X, 1000) == 0.0


def test_few_inputs_or_steps_have_no_noise() -> None:
    assert of_training("auto", CENTRED, 999) == 0.0
    assert of_training("auto", CENTRED[:, :49], 1000) == 0.0
    assert of_training("auto", CENTRED[:, :50], 1000) > 0.0
    assert of_training(0.3, CENTRED, 1) == 0.3


def test_a_classifier_takes_the_share_of_its_labelled_rows() -> None:
    y = np.where(np.arange(1000) < 500, ANY, -1)
    expected = of_training("auto", CENTRED[:500], 1000)
    assert 0.2 < expected < 0.3
    usual, same, plain, brief, brief_plain = (
        fine_tuned(PretrainedClassifier, **given).fit(CENTRED, y)
        for given in (
            {"epochs": 20},
            {"epochs": 20, "input_dropout": expected},
            {"epochs": 20, "input_dropout": 0.0},
            {"epochs": 19},
            {"epochs": 19, "input_dropout": 0.0},
        )
    )
    assert weights(usual) == weights(same) != weights(plain)
    assert weights(brief) == weights(brief_plain)
    assert usual.get_params()["finetuning__input_dropout"] == "auto"


def test_several_labels_a_row_have_the_noise_too() -> None:
    Y = np.stack([ANY, 1 - ANY], axis=1)
    usual, same = (fine_tuned(PretrainedClassifier, input_dropout=p).fit(CENTRED, Y) for p in ("auto", 0.15))
    assert of_training("auto", CENTRED, 1000) == 0.15
    assert weights(usual) == weights(same)


def test_rows_kept_for_early_stopping_do_not_count() -> None:
    half = {"early_stopping": True, "validation_fraction": 0.5, "epochs": 20, "n_iter_no_change": 20}
    usual, of_all = (
        fine_tuned(PretrainedClassifier, input_dropout=p, **half).fit(CENTRED, ANY) for p in ("auto", 0.15)
    )
    assert weights(usual) != weights(of_all)


@pytest.mark.parametrize("kind", [PretrainedRegressor, StackedAutoencoder])
def test_what_is_no_classifier_has_none(kind: type) -> None:
    usual, plain = (fine_tuned(kind, input_dropout=p).fit(CENTRED, CENTRED[:, 0]) for p in ("auto", 0.0))
    assert weights(usual) == weights(plain)


def test_passes_and_line_searches_have_none() -> None:
    usual, plain = (
        fine_tuned(PretrainedClassifier, input_dropout=p, batch_size=1).partial_fit(CENTRED, ANY, classes=[0, 1])
        for p in ("auto", 0.0)
    )
    assert weights(usual) == weights(plain)
    given = fine_tuned(PretrainedClassifier, input_dropout=0.3, batch_size=1).partial_fit(CENTRED, ANY, classes=[0, 1])
    assert weights(given) != weights(plain)
    assert FineTuning(optimizer=LBFGS()).check(Parameter("Thing"), 1).input_dropout == 0.0


@pytest.mark.parametrize("wrong", ["none", 1.0, -0.1, None, True, np.nan])
def test_other_values_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"'finetuning__input_dropout'.* in \[0, 1\) or \"auto\". Got"):
        fine_tuned(PretrainedClassifier, input_dropout=wrong).fit(CENTRED, ANY)


def test_a_large_matrix_is_not_copied() -> None:
    X = _core.random_uniform(3, 0, 2_000_000).reshape(20_000, 100)
    tracemalloc.start()
    try:
        of_training("auto", X, 1000)
        assert tracemalloc.get_traced_memory()[1] < X.nbytes / 20
    finally:
        tracemalloc.stop()
