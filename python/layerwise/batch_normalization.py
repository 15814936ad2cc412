"""Batch normalisation of hidden layers: its settings, and what it does not go with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from layerwise import checks
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.optimizers import LineSearches
from layerwise.settings import Settings


@dataclass(frozen=True, repr=False)
class BatchNorm(Settings):
    """Batch normalisation of a hidden layer, between its product and its activation (Ioffe & Szegedy 2015).

    In training each unit's product h = x @ W is brought to mean 0 and variance 1 over the rows of the batch, then
    scaled and shifted: z = gamma * (h - mean) / sqrt(variance + epsilon) + beta. gamma, which starts at 1, and beta,
    which is the layer's bias, are learned like biases: without `alpha` or weight decay. Predictions, codes and
    validation losses take running averages of mean and variance instead, so a row's output depends on no other row.

    A row's weight counts in the statistics as it does in the loss. Where fewer than two rows of a batch weigh
    anything (a ragged last batch of one row, a `partial_fit` of one row) there is no variance: the step then takes the
    running averages as fixed numbers, and does not move them. So do all steps of a frozen layer.

    Parameters
    ----------
    momentum : float in (0, 1], default=0.1
        Of a batch's statistics in the running averages: average <- (1 - momentum) * average + momentum * statistic.
        PyTorch's convention (Keras calls 1 minus this so); the variance is the biased one, as in Keras.
    epsilon : float in [1e-30, 1], default=1e-5
        Added to the variance.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def check(self, where: Parameter) -> tuple[float, float]:
        """Check the settings; return momentum and epsilon."""
        momentum = checks.real(where.child("momentum"), self.momentum, 0, 1, open_low=True)
        return momentum, checks.real(where.child("epsilon"), self.epsilon, 1e-30, 1)


def resolve(where: Parameter, value: Any) -> tuple[float, float] | None:
    """Return momentum and epsilon of a layer's normalisation; None if it has none."""
    if isinstance(value, BatchNorm):
        return value.check(where)
    if isinstance(value, str) and value == "auto":
        return None
    try:
        return BatchNorm().check(where) if checks.boolean(where, value) else None
    except checks.InvalidParameterError:
        raise where.error('"auto", True, False or BatchNorm(), or a list with one a hidden layer', value) from None


def normalized(where: Parameter, value: Any, kinds: Sequence[Activation]) -> list[Activation]:
    """Return the activations of the hidden layers with the batch normalisation that is asked for.

    Parameters
    ----------
    where : Parameter
        Its name is that of the estimator's or function's `batch_norm`.
    value : "auto", bool, BatchNorm, or a list with one a layer
        "auto" and False: as the activations say already.
    kinds : sequence of Activation
    """
    settings = checks.per_layer(where, value, len(kinds), resolve)
    return [
        kind if norm is None else replace(kind, batch_norm=norm) for kind, norm in zip(kinds, settings, strict=True)
    ]


def check_training(where: Parameter, settings: Any, kinds: Sequence[Activation]) -> None:
    """Raise InvalidParameterError if normalised layers cannot be trained so.

    Parameters
    ----------
    where : Parameter
        Whose settings these are.
    settings : settings of a stage
        Checked, with a single `batch_size` and `optimizer`.
    kinds : sequence of Activation
        Of the layers that the stage trains.
    """
    if not any(kind.batch_norm for kind in kinds):
        return
    if settings.batch_size == 1:
        raise where.child("batch_size").error('at least 2, or "auto", with batch_norm', settings.batch_size)
    if isinstance(settings.optimizer, LineSearches):
        allowed = (
            "an optimizer with a learning rate, with batch_norm: line searches need an objective that stands still"
        )
        raise where.child("optimizer").error(allowed, settings.optimizer)
