"""`diagnose`: what is wrong with a fitted network, layer by layer, and what to do about it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import measurements
from layerwise.checks import DECODER_RANGES, Parameter, ScaleWarning
from layerwise.network import DenseLayer
from layerwise.stage import Stage
from layerwise.supervised_pretraining import SupervisedPretraining

Array = NDArray[Any]

MOST_ROWS = 10_000  # evenly spaced; more would tell no more
GRADIENT_ROWS = 1_000
DEAD_SHARE = 0.1  # of a layer's units, above which there is a warning
SATURATED_SHARE = 0.25  # likewise
MUCH_WORSE = 2.0  # a layer's error, in errors of principal components; see `diagnose`
COPY_SKILL = 0.9  # skill on shuffled columns above which a layer copies
UNEVEN = 100.0  # greatest standard deviation of a column, in medians of all
VANISHED = 1e-3  # gradient at a layer, relative to that at the output


class HealthWarning(UserWarning):
    """Base of what `diagnose` warns of."""


class DeadUnitsWarning(HealthWarning):
    """More than a tenth of a layer's units give the same output for all rows."""


class SaturatedUnitsWarning(HealthWarning):
    """More than a quarter of a layer's sigmoid or tanh units have hardly any slope on nearly all rows."""


class NoSkillWarning(HealthWarning):
    """A layer, or a whole autoencoder, rebuilds its inputs no better than column means or principal components do."""


class IdentityWarning(HealthWarning):
    """A pretrained layer rebuilds rows without structure as well: it copies, and has learned nothing of the data."""


class VanishingGradientWarning(HealthWarning):
    """Hardly any of the output's gradient reaches a layer, so that fine-tuning cannot change it."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with a network.

    Attributes
    ----------
    category : type
        The warning's class, which is its name.
    layer : int or None
        Counted from 1; None for the data or the whole network.
    message, remedy : str
    """

    category: type[Warning]
    layer: int | None
    message: str
    remedy: str


@dataclass(frozen=True)
class LayerHealth:
    """What was measured of a hidden layer.

    Attributes
    ----------
    layer : int
        Counted from 1.
    units : int
    dead : int
        Units whose output is the same for all rows.
    saturated : int or None
        Units whose slope is below a tenth of its greatest value on nine tenths of the rows; None for activations other
        than sigmoid and tanh.
    gradient : float
        Root mean square over rows of the norm of a random direction's gradient by the layer's sums z, relative to
        that by the output layer's.
    skill : float or None
        1 - squared error of the pretrained layer's reconstruction of its inputs / that of the column means; None
        where no autoencoder was pretrained.
    pca_skill : float or None
        The same of as many principal components, fitted on every other row and measured, like `skill`, on the rest;
        None if the layer has as many units as inputs, or half of the rows.
    copying : float or None
        The skill on rows whose columns were shuffled independently of each other; those of a category together.
    """

    layer: int
    units: int
    dead: int
    saturated: int | None
    gradient: float
    skill: float | None = None
    pca_skill: float | None = None
    copying: float | None = None


class Diagnosis(tuple[Finding, ...]):
    """What `diagnose` found; empty if nothing. It prints as a table of the layers and the findings with their remedies.

    Attributes
    ----------
    layers : tuple of LayerHealth
    skill, pca_skill : float or None
        Of a whole autoencoder of several layers: how well it rebuilds the rows, and how well as many principal
        components as its narrowest layer has units do; None for other networks.
    """

    layers: tuple[LayerHealth, ...]
    skill: float | None
    pca_skill: float | None

    def __repr__(self) -> str:
        """Return the table and the findings."""
        lines = ["layer  units   dead  saturated  gradient    skill      PCA  copying"]
        for own in self.layers:
            saturated = "" if own.saturated is None else str(own.saturated)
            skills = ["" if s is None else f"{s:.3f}" for s in (own.skill, own.pca_skill, own.copying)]
            row = f"{own.layer:5}  {own.units:5}  {own.dead:5}  {saturated:>9}  {own.gradient:8.1e}  "
            lines.append((row + "  ".join(f"{skill:>7}" for skill in skills)).rstrip())
        if self.skill is not None:
            pca = "" if self.pca_skill is None else f"{self.pca_skill:.3f}"
            lines.append(f"{'whole':41}{self.skill:7.3f}  {pca:>7}".rstrip())
        lines += [f"{found.category.__name__}: {found.message} Remedy: {found.remedy}" for found in self]
        return "\n".join(lines if self else [*lines, "nothing wrong was found"])


def diagnose(estimator: Any, X: Any) -> Diagnosis:
    """Look for what commonly goes wrong in pretraining and depth, and warn of each with its remedy.

    =========================== =====================================================================================
    warning                     if
    =========================== =====================================================================================
    `DeadUnitsWarning`          more than a tenth of a layer's units give the same output for all rows
    `SaturatedUnitsWarning`     more than a quarter of a layer's sigmoid or tanh units have a slope below a tenth of
                                its greatest value on nine tenths of the rows
    `NoSkillWarning`            a pretrained layer's squared error is no less than that of the column means, or more
                                than twice that of as many principal components; or the error of a whole autoencoder of
                                several layers is no less than that of the column means or of as many components as its
                                narrowest layer has units
    `IdentityWarning`           a pretrained layer explains more than 90 % of the variance of rows whose columns were
                                shuffled (those of a category together), so that only copying can rebuild them
    `ScaleWarning`              values lie outside the range of a pretrained layer's decoder, or one column's standard
                                deviation is over 100 times the median of all
    `VanishingGradientWarning`  less than a thousandth of the output's gradient reaches a layer
    =========================== =====================================================================================

    Parameters
    ----------
    estimator : PretrainedClassifier, PretrainedRegressor, StackedAutoencoder or AnomalyDetector, or a Pipeline
        Fitted; a Pipeline must end in one of these.
    X : array-like of shape (n_samples, n_features)
        At least 4 rows; rows held out of the training tell more. At most 10,000 of them, evenly spaced, are used.

    Returns
    -------
    Diagnosis
        A tuple of `Finding`, empty if nothing is wrong; `layers` has the measurements.

    Raises
    ------
    NotFittedError
        Before `fit`.
    ValueError
        If `estimator` is not one of these, or X does not fit it or has fewer than 4 rows.

    Notes
    -----
    One layer with a linear decoder cannot rebuild the rows it learned from better than principal components do
    (Bourlard & Kamp 1988), so a layer may have twice their error; several layers can (Hinton & Salakhutdinov 2006).

    The gradient is measured on at most 1,000 of the rows, evenly spaced.

    Examples
    --------
    >>> from layerwise import StackedAutoencoder, diagnose
    >>> print(diagnose(StackedAutoencoder((100, 30)).fit(X), X))  # doctest: +SKIP
    """
    estimator, X = measurements.network_and_columns(Parameter("diagnose"), estimator, X)
    data = estimator._network_input(estimator._checked(X))
    if len(data) < 4:  # skill is measured on every other row, and needs two that differ
        raise ValueError(f"diagnose needs at least 4 rows. Got {len(data)}.")
    data = np.ascontiguousarray(data[:: -(-len(data) // MOST_ROWS)])
    network, n_hidden = estimator.network_, estimator._n_hidden()

    findings = _uneven_columns(data, estimator.stages_)
    gradients = measurements.gradient_norms(network, data[:: -(-len(data) // GRADIENT_ROWS)])
    layers, stages = [], {stage.layer: stage for stage in estimator.stages_}
    hidden, below = data, data
    for layer in range(1, n_hidden + 1):
        hidden = network.apply(hidden, layer - 1, layer)
        measured: dict[str, Any] = {}
        if layer in stages and _rebuilds(stages[layer]):
            rebuild = stages[layer].network().apply
            measured["skill"], measured["pca_skill"] = measurements.skills(below, hidden.shape[1], rebuild)
            measured["copying"] = measurements.copying(below, rebuild, measurements.groups_of_stage(stages[layer]))
            findings += _range(stages[layer], below)
        below = stages[layer].encode(below) if layer in stages else below
        health = LayerHealth(
            layer,
            hidden.shape[1],
            measurements.dead_units(hidden),
            measurements.saturated_units(hidden, network.layers[layer - 1].activation.name),
            gradients[layer - 1],
            **measured,
        )
        findings += _findings(health, network.layers[layer - 1])
        layers.append(health)
    skill, pca_skill = None, None
    if 1 < n_hidden == len(network.layers) // 2:  # an autoencoder
        width = min(layer.n_out for layer in network.layers[:n_hidden])
        skill, pca_skill = measurements.skills(data, width, network.apply)
        findings += _of_the_whole(skill, pca_skill, width)
    diagnosis = Diagnosis(findings)
    diagnosis.layers, diagnosis.skill, diagnosis.pca_skill = tuple(layers), skill, pca_skill
    for found in diagnosis:
        warnings.warn(f"{found.message} Remedy: {found.remedy}", found.category, stacklevel=2)
    return diagnosis


# ------------------------------------------------------------------------------------------------------------ findings


def _findings(own: LayerHealth, layer: DenseLayer) -> list[Finding]:
    found, name, units = [], f"layer {own.layer}", own.units

    def add(category: type[Warning], message: str, remedy: str) -> None:
        found.append(Finding(category, own.layer, f"{name}: {message}", remedy))

    if own.dead > DEAD_SHARE * units:
        add(
            DeadUnitsWarning,
            f"{own.dead} of {units} {layer.activation.name} units give the same output for all rows.",
            "a smaller learning_rate, inputs of about unit variance, or an activation with a slope on both sides of 0 "
            '("leaky_relu", "elu", "tanh").',
        )
    if own.saturated is not None and own.saturated > SATURATED_SHARE * units:
        add(
            SaturatedUnitsWarning,
            f"{own.saturated} of {units} {layer.activation.name} units are saturated on nine tenths of the rows.",
            "inputs in [0, 1] or of unit variance, a smaller learning_rate, or a positive alpha.",
        )
    if own.gradient < VANISHED:
        add(
            VanishingGradientWarning,
            f"the gradient that reaches it is {own.gradient:.1e} of the output's.",
            'pretraining, activation="tanh" or "relu" with initializer="auto", or fewer layers.',
        )
    if own.skill is not None and own.skill <= 0:
        add(
            NoSkillWarning,
            f"it rebuilds its inputs no better than the column means do (skill {own.skill:.3f}).",
            "more epochs, a greater learning_rate, less corruption, or scaled inputs.",
        )
    elif own.skill is not None and own.pca_skill is not None and 1 - own.skill > MUCH_WORSE * (1 - own.pca_skill):
        add(
            NoSkillWarning,
            f"its error is over twice that of {units} principal components (skill {own.skill:.3f} against "
            f"{own.pca_skill:.3f}).",
            "more epochs, a greater learning_rate, less corruption, or untied weights.",
        )
    if own.copying is not None and own.copying > COPY_SKILL:
        add(
            IdentityWarning,
            f"it rebuilds rows whose columns were shuffled as well (skill {own.copying:.3f}): it copies its inputs.",
            "DenoisingAutoencoder with stronger corruption, or fewer units than inputs.",
        )
    return found


def _rebuilds(stage: Stage) -> bool:
    """Return whether a stage has learned to rebuild its inputs: not if it has learned labels, or nothing."""
    return not isinstance(stage.settings, SupervisedPretraining) and len(stage.history) > 0


def _of_the_whole(skill: float, pca_skill: float | None, width: int) -> list[Finding]:
    if skill <= 0:
        message = f"the whole autoencoder rebuilds the rows no better than the column means do (skill {skill:.3f})."
    elif pca_skill is not None and skill <= pca_skill:
        message = (
            f"the whole autoencoder rebuilds the rows no better than {width} principal components do "
            f"(skill {skill:.3f} against {pca_skill:.3f})."
        )
    else:
        return []
    remedy = "finetuning, more epochs of it, or less corruption; if that changes nothing, use principal components."
    return [Finding(NoSkillWarning, None, message, remedy)]


def _range(stage: Stage, X: Array) -> list[Finding]:
    least, greatest = DECODER_RANGES.get(stage.decoder.activation.name, (-np.inf, np.inf))
    low, high = float(X.min()), float(X.max())
    if least <= low and high <= greatest:
        return []
    message = (
        f"layer {stage.layer}: its {stage.decoder.activation.name} decoder yields values in [{least:g}, {greatest:g}], "
        f"but its inputs lie in [{low:.4g}, {high:.4g}]."
    )
    remedy = 'scale the data to that range (scikit-learn\'s MinMaxScaler), or decoder="identity".'
    return [Finding(ScaleWarning, stage.layer, message, remedy)]


def _uneven_columns(X: Array, stages: Sequence[Stage]) -> list[Finding]:
    scales = X.std(axis=0, dtype=np.float64)
    groups = measurements.groups_of_stage(stages[0]) if stages else None
    if groups is not None:  # a rare level has a small deviation, and is no scale of its own
        scales *= groups.of_kind("number")
    varying = scales[scales > 0]
    if len(varying) == 0 or varying.max() <= UNEVEN * np.median(varying):
        return []
    message = (
        f"the standard deviation of column {int(scales.argmax())} is {varying.max() / np.median(varying):.0f} times "
        "the median of all columns: it alone decides the reconstruction error."
    )
    return [Finding(ScaleWarning, None, message, "scale the columns (scikit-learn's StandardScaler or MinMaxScaler).")]
