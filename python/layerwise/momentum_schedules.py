"""How the momentum changes while a network trains: what `Momentum` and `Nesterov` take beside a number."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise import checks
from layerwise.checks import Parameter
from layerwise.settings import Settings

Vector = NDArray[np.float64]


class MomentumSchedule(Settings, ABC):
    """Base of the momentum schedules: functions of the step's number alone, counted from 0 through all epochs."""

    @abstractmethod
    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""

    @abstractmethod
    def momenta(self, first_step: int, n_steps: int, *, steps_per_epoch: int) -> Vector:
        """Return the momentum in each of the steps `first_step` to `first_step` + `n_steps` - 1, counted from 0."""


@dataclass(frozen=True, repr=False)
class MomentumRamp(MomentumSchedule):
    """min(1 - 2^(-1 - log2(floor(t / every) + 1)), highest): 0.5, 0.75, 0.833, ... (Sutskever et al. 2013).

    Parameters
    ----------
    highest : float in [0, 1), default=0.99
    every : int, default=250
        Steps from one rise to the next.
    """

    highest: float = 0.99
    every: int = 250

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        checks.share(where.child("highest"), self.highest)
        checks.integer(where.child("every"), self.every, 1)

    def momenta(self, first_step: int, n_steps: int, *, steps_per_epoch: int) -> Vector:  # noqa: ARG002
        """Return the momentum in each of the steps."""
        rises = np.arange(first_step, first_step + n_steps) // self.every
        ramp: Vector = np.minimum(1.0 - 0.5 / (rises + 1.0), self.highest)
        return ramp


@dataclass(frozen=True, repr=False)
class MomentumSwitch(MomentumSchedule):
    """One momentum in the first epochs, another in all later ones (Hinton & Salakhutdinov 2006: 0.5, 0.9 after 5).

    Parameters
    ----------
    first : float in [0, 1), default=0.5
    then : float in [0, 1), default=0.9
    epochs : int, default=5
        How many epochs have the first one.
    """

    first: float = 0.5
    then: float = 0.9
    epochs: int = 5

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        checks.share(where.child("first"), self.first)
        checks.share(where.child("then"), self.then)
        checks.integer(where.child("epochs"), self.epochs, 0)

    def momenta(self, first_step: int, n_steps: int, *, steps_per_epoch: int) -> Vector:
        """Return the momentum in each of the steps."""
        steps = np.arange(first_step, first_step + n_steps)
        return np.where(steps < self.epochs * steps_per_epoch, float(self.first), float(self.then))


MOMENTUM_SCHEDULES = (MomentumRamp, MomentumSwitch)
