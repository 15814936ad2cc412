"""Every setting of every public settings object, and every parameter of every estimator, refuses what it cannot take.

The message names the parameter as the user reaches it, says what is allowed, and what came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from bad_values import BAD, is_among
from sklearn.base import BaseEstimator

import layerwise
from layerwise import (
    SGD,
    AnomalyDetector,
    Autoencoder,
    BatchNorm,
    Checkpoint,
    ColumnGroups,
    DenoisingAutoencoder,
    Emphasis,
    FineTuning,
    InvalidParameterError,
    LabeledSplit,
    Masking,
    Momentum,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    SupervisedPretraining,
)
from layerwise.activations import ActivationSettings
from layerwise.corruption import Corruption
from layerwise.initializers import Initializer
from layerwise.momentum_schedules import MomentumSchedule
from layerwise.optimizers import Optimizer
from layerwise.schedules import Schedule
from layerwise.settings import Settings

X = layerwise._core.random_uniform(0, 0, 200).reshape(40, 5)
Y = np.array([0, 1] * 20)


def rebuilding(**params: Any) -> StackedAutoencoder:
    return StackedAutoencoder((4, 3), random_state=0, **params)


# Where settings of a kind belong: the estimator with them, and the name that leads to them. The first kind that fits.
PLACES: list[tuple[type[Settings], Callable[[Any], Any], str]] = [
    (SupervisedPretraining, lambda own: PretrainedClassifier((4,), pretraining=own, random_state=0), "pretraining"),
    (RestrictedBoltzmannMachine, lambda own: rebuilding(pretraining=own), "pretraining"),
    (Autoencoder, lambda own: rebuilding(pretraining=own), "pretraining"),
    (FineTuning, lambda own: PretrainedClassifier((4,), finetuning=own, random_state=0), "finetuning"),
    (Optimizer, lambda own: rebuilding(pretraining=Autoencoder(optimizer=own)), "pretraining__optimizer"),
    (Schedule, lambda own: rebuilding(finetuning=FineTuning(schedule=own)), "finetuning__schedule"),
    (
        MomentumSchedule,
        lambda own: rebuilding(pretraining=Autoencoder(optimizer=Momentum(0.1, own))),
        "pretraining__optimizer__momentum",
    ),
    (Corruption, lambda own: rebuilding(pretraining=DenoisingAutoencoder(corruption=own)), "pretraining__corruption"),
    (
        Emphasis,
        lambda own: rebuilding(pretraining=DenoisingAutoencoder(corruption=Masking(), emphasis=own)),
        "pretraining__emphasis",
    ),
    (ColumnGroups, lambda own: rebuilding(pretraining=Autoencoder(loss=own)), "pretraining__loss"),
    (ActivationSettings, lambda own: rebuilding(activation=own), "activation"),
    (BatchNorm, lambda own: rebuilding(batch_norm=own), "batch_norm"),
    (Initializer, lambda own: rebuilding(initializer=own), "initializer"),
    (Checkpoint, lambda own: rebuilding(checkpoint=own), "checkpoint"),
]
PUBLIC = [getattr(layerwise, name) for name in layerwise.__all__]
KINDS = [kind for kind in PUBLIC if isinstance(kind, type) and issubclass(kind, Settings)]
ESTIMATORS = [kind for kind in PUBLIC if isinstance(kind, type) and issubclass(kind, BaseEstimator)]

NUMBERS = [-1, -0.5, -(10**30)]  # of what may be negative
FLAGS = {
    "tied", "simultaneous", "exact", "bias_correction", "epsilon_inside_sqrt", "shared", "approximate", "persistent",
    "sample_visible", "monitor", "early_stopping", "untie", "warm_start", "standardize", "verbose",
    "batch_norm",
}  # fmt: skip
ALLOWED: dict[str, list[Any]] = {  # of BAD, by the last word of the parameter's name
    **{name: [True] for name in FLAGS},
    "path": ["bogus"],
    "checkpoint": ["bogus"],
    "memory": ["bogus"],
    "frozen_layers": [(), []],
    "random_state": [True],
    "class_weight": [{}],
    "unlabeled": [-1],
    "n_jobs": [-1],
    "hidden_layer_sizes": [(1, 2, 3, 4, 5)],
    "callbacks": [(), [], Autoencoder],
}
OF_KIND: dict[str, list[Any]] = {  # likewise, where the kind of settings decides
    "PReLU__alpha": NUMBERS,
    "Swish__beta": NUMBERS,
    "LBFGS__memory": [],
}


def place_of(kind: type[Settings]) -> tuple[Callable[[Any], Any], str]:
    return next((make, name) for base, make, name in PLACES if issubclass(kind, base))


def refuses(model: Any, name: str, bad: Any) -> None:
    owner = type(model).__name__
    with pytest.raises(InvalidParameterError) as info:
        model.fit(X, Y)
    said = str(info.value)
    assert said.startswith(f"The '{name}' parameter of {owner} must be "), f"{bad!r}: {said}"
    assert " Got " in said, said
    assert not [key for key in vars(model) if key.endswith("_")]


def test_all_public_kinds_are_here() -> None:
    assert len(KINDS) >= 35
    assert {Checkpoint, SupervisedPretraining, ColumnGroups, RestrictedBoltzmannMachine, SGD} <= set(KINDS)
    assert all(place_of(kind) for kind in KINDS)
    assert set(ESTIMATORS) == {AnomalyDetector, PretrainedClassifier, PretrainedRegressor, StackedAutoencoder}


GOOD: dict[Any, Settings] = {  # what is changed in one setting, of those kinds that cannot do without arguments
    Checkpoint: Checkpoint("bogus"),
    ColumnGroups: ColumnGroups([("number", 3), ("category", 2)]),
}
SETTINGS = [(kind, field.name) for kind in KINDS for field in fields(kind)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "name"), SETTINGS, ids=lambda one: getattr(one, "__name__", one))
def test_bad_settings_are_named(kind: type[Settings], name: str) -> None:
    make, place = place_of(kind)
    allowed = OF_KIND.get(f"{kind.__name__}__{name}", ALLOWED.get(name, []))
    for bad in BAD:
        if not is_among(bad, allowed):
            good = GOOD[kind] if kind in GOOD else kind()
            refuses(make(good.replace(**{name: bad})), f"{place}__{name}", bad)


PARAMETERS = [(kind, name) for kind in ESTIMATORS for name in kind().get_params(deep=False)]


@pytest.mark.parametrize(("kind", "name"), PARAMETERS, ids=lambda one: getattr(one, "__name__", one))
def test_bad_parameters_are_named(kind: Any, name: str) -> None:
    for bad in BAD:
        if not is_among(bad, ALLOWED.get(name, [])) and not (name == "callbacks" and callable(bad)):
            refuses(kind(**{name: bad}), name, bad)


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_a_bad_flag_of_pretrain_is_named(bad: Any) -> None:
    if bad is True:
        return
    for pretrain, given in ((layerwise.pretrain, (X,)), (layerwise.pretrain_supervised, (X, np.eye(2)[Y]))):
        pattern = rf"^The 'bfloat16' parameter of {pretrain.__name__} must be True or False. Got "
        with pytest.raises(InvalidParameterError, match=pattern):
            pretrain(*given, (3,), bfloat16=bad)


def test_bfloat16_is_refused_where_it_cannot_be() -> None:
    for pretrain, given in ((layerwise.pretrain, (X,)), (layerwise.pretrain_supervised, (X, np.eye(2)[Y]))):
        with pytest.raises(InvalidParameterError, match=r"'bfloat16' parameter of .* False for float64 data, or True"):
            pretrain(*given, (3,), bfloat16=True)


@pytest.mark.parametrize(
    ("name", "advised"),
    [
        ("checkpoint__every_seconds", 'Checkpoint("run.checkpoint")'),
        ("finetuning__epochs", "FineTuning()"),
        ("pretraining__epochs", "DenoisingAutoencoder()"),
    ],
)
def test_what_has_no_settings_is_told_what_would(name: str, advised: str) -> None:
    outer = name.partition("__")[0]
    model = PretrainedClassifier(checkpoint=None, finetuning="auto", pretraining="auto")
    with pytest.raises(ValueError, match=f"{outer} is .*, which has no settings of its own") as info:
        model.set_params(**{name: 3})
    assert str(info.value).endswith(f"for example {advised}.")


def test_settings_inside_settings_are_told_what_would() -> None:
    for name, advised in (("corruption__rate", "Masking(0.25)"), ("optimizer__learning_rate", "Adam()")):
        outer = name.partition("__")[0]
        with pytest.raises(ValueError, match="has no settings of its own") as info:
            DenoisingAutoencoder(**{outer: "auto"}).replace(**{name: 0.1})
        assert str(info.value).endswith(f"for example {advised}.")


def test_bad_marks_of_a_split_are_named() -> None:
    for bad in BAD:
        if not is_among(bad, ALLOWED["unlabeled"]):
            with pytest.raises(
                InvalidParameterError, match=r"^The 'unlabeled' parameter of LabeledSplit must be .* Got "
            ):
                list(LabeledSplit(unlabeled=bad).split(X, Y))
