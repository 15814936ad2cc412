"""How the learning rate changes while a network trains.

A schedule is a factor on the optimiser's `learning_rate`, one a step, so that the rate and the way it changes can be
searched apart. It is a function of the step's number, counted from 0, and of the length of the training, and of nothing
else: a run that is taken up again at any step goes on with the same rates. `layerwise.reference_schedules` states the
formulas.

`ReduceOnPlateau` alone depends on more: on the losses of the epochs before. They are all its state.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import checks
from layerwise.checks import Parameter
from layerwise.settings import Settings

Vector = NDArray[np.float64]


@dataclass(frozen=True, repr=False, kw_only=True)
class Schedule(Settings, ABC):
    """Base of the schedules. Below, s counts the steps since the warm-up and S is how many there are of them in all."""

    warm_up: float = 0.0
    kind = ""
    looks_at_losses = False  # whether `reduction` depends on them

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        checks.real(where.child("warm_up"), self.warm_up, 0)

    def check_length(self, where: Parameter, epochs: int) -> None:
        """Raise InvalidParameterError if the warm-up does not end before a training of `epochs` epochs."""
        if 0 < epochs <= self.warm_up:
            raise where.child("warm_up").error(f"less than the number of epochs, {epochs}", self.warm_up)

    def factors(self, first_step: int, n_steps: int, *, steps_per_epoch: int, epochs: int) -> Vector:
        """Return what the learning rate is multiplied by in the steps `first_step` to `first_step` + `n_steps` - 1.

        Parameters
        ----------
        first_step, n_steps : int
            Steps are counted from 0 through all epochs.
        steps_per_epoch, epochs : int
            The length of the training.

        Returns
        -------
        ndarray of shape (n_steps,)
            The same numbers whichever steps are asked for together.
        """
        warm = round(self.warm_up * steps_per_epoch)
        since = np.arange(first_step - warm, first_step - warm + n_steps, dtype=np.float64)
        rise = np.minimum((since + (warm + 1)) / (warm + 1), 1.0)
        total = max(1, epochs * steps_per_epoch - warm)
        return rise * self._shape(np.maximum(since, 0.0), total, steps_per_epoch)

    def reduction(self, losses: Sequence[float]) -> float:  # noqa: ARG002 (for those that look at them)
        """Return a further factor for the epoch that follows epochs with these losses."""
        return 1.0

    @abstractmethod
    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:
        """Return the factors for `since` steps after the warm-up, of `total` such steps.

        NumPy's own powers and cosines are another code path on another processor; Python's are not, so those serve.
        """


@dataclass(frozen=True, repr=False)
class ConstantRate(Schedule):
    """The same rate in every step.

    Parameters
    ----------
    warm_up : float >= 0, default=0.0
        Length of the warm-up in epochs, which need not be whole: W steps, the nearest whole number, in which the rate
        rises as (t + 1) / (W + 1), t the step counted from 0. Must be less than the number of epochs.
    """

    kind = "constant"

    def factors(self, first_step: int, n_steps: int, *, steps_per_epoch: int, epochs: int) -> Vector:
        """Return what the learning rate is multiplied by, as for any schedule; without a warm-up at once."""
        if self.warm_up == 0:
            return np.ones(n_steps)
        return super().factors(first_step, n_steps, steps_per_epoch=steps_per_epoch, epochs=epochs)

    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:  # noqa: ARG002
        return np.ones(len(since))


@dataclass(frozen=True, repr=False)
class InverseTimeDecay(Schedule):
    """1 / (1 + decay * s), per update (Larochelle et al. 2009, where `decay` is the decrease constant).

    Parameters
    ----------
    decay : float >= 0, default=1e-4
        Per step; after 1 / decay steps the rate is half of what it was.
    warm_up : float >= 0, default=0.0
        In epochs, as in `ConstantRate`.
    """

    decay: float = 1e-4
    kind = "inverse_time"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        super().check(where)
        checks.real(where.child("decay"), self.decay, 0)

    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:  # noqa: ARG002
        shape: Vector = 1.0 / (1.0 + self.decay * since)
        return shape


@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """factor^k, k the number of whole periods of `every` epochs since the warm-up.

    Parameters
    ----------
    factor : float in (0, 1], default=0.5
    every : int, default=10
        Epochs from one fall of the rate to the next.
    warm_up : float >= 0, default=0.0
        In epochs, as in `ConstantRate`.
    """

    factor: float = 0.5
    every: int = 10
    kind = "step"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        super().check(where)
        checks.real(where.child("factor"), self.factor, 0, 1, open_low=True)
        checks.integer(where.child("every"), self.every, 1)

    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:  # noqa: ARG002
        falls = since // (int(self.every) * steps_per_epoch)
        return np.array([math.pow(self.factor, fall) for fall in falls])


@dataclass(frozen=True, repr=False)
class ExponentialDecay(Schedule):
    """factor^(s / steps per epoch): the rate falls by `factor` in an epoch, by the same share in every step.

    Parameters
    ----------
    factor : float in (0, 1], default=0.95
    warm_up : float >= 0, default=0.0
        In epochs, as in `ConstantRate`.
    """

    factor: float = 0.95
    kind = "exponential"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        super().check(where)
        checks.real(where.child("factor"), self.factor, 0, 1, open_low=True)

    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:  # noqa: ARG002
        return np.array([math.pow(self.factor, epochs) for epochs in since / steps_per_epoch])


@dataclass(frozen=True, repr=False)
class LinearDecay(Schedule):
    """1 for H steps, then 1 - (1 - end) * (s - H) / (S - H): a line to `end`, which the step after the last would have.

    Parameters
    ----------
    end : float in [0, 1], default=0.0
        As a share of the learning rate.
    hold : float >= 0, default=0.0
        For how many epochs after the warm-up, which need not be whole, the rate stays: H steps, the nearest whole
        number. With the warm-up, it must be less than the number of epochs.
    warm_up : float >= 0, default=0.0
        In epochs, as in `ConstantRate`.
    """

    end: float = 0.0
    hold: float = 0.0
    kind = "linear"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        super().check(where)
        checks.real(where.child("end"), self.end, 0, 1)
        checks.real(where.child("hold"), self.hold, 0)

    def check_length(self, where: Parameter, epochs: int) -> None:
        """Raise InvalidParameterError if warm-up and hold do not end before a training of `epochs` epochs."""
        super().check_length(where, epochs)
        if 0 < epochs <= self.warm_up + self.hold:
            allowed = f"less than the number of epochs after the warm-up, {epochs - self.warm_up!r}"
            raise where.child("hold").error(allowed, self.hold)

    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:
        held = round(self.hold * steps_per_epoch)
        shape: Vector = 1.0 - (1.0 - self.end) * (np.maximum(since - held, 0.0) / max(1, total - held))
        return shape


@dataclass(frozen=True, repr=False)
class CosineDecay(Schedule):
    """end + (1 - end) * (1 + cos(pi * s / S)) / 2 (Loshchilov & Hutter 2017, equation 5, without restarts).

    Parameters
    ----------
    end : float in [0, 1], default=0.0
        As a share of the learning rate.
    warm_up : float >= 0, default=0.0
        In epochs, as in `ConstantRate`.
    """

    end: float = 0.0
    kind = "cosine"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        super().check(where)
        checks.real(where.child("end"), self.end, 0, 1)

    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:  # noqa: ARG002
        fall = np.array([(1.0 + math.cos(math.pi * done)) / 2.0 for done in since / total])
        shape: Vector = self.end + (1.0 - self.end) * fall
        return shape


@dataclass(frozen=True, repr=False)
class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` whenever the loss has not fallen for `n_iter_no_change` epochs.

    The loss is the validation loss where there is one (`early_stopping` of `FineTuning`, `validation_fraction` of
    `Autoencoder`), else the training loss. An epoch counts as a fall if its loss is below the least so far by more than
    `tol`; after a reduction, which holds from the next epoch on, the count starts anew. The losses of the epochs so far
    are the whole state: training that is taken up again needs them.

    Parameters
    ----------
    factor : float in (0, 1), default=0.5
    n_iter_no_change : int, default=5
        Epochs without a fall. That of early stopping should be larger, or training ends before.
    tol : float >= 0, default=1e-4
        As in `FineTuning`, in the units of the loss.
    end : float in [0, 1], default=0.0
        The rate falls no lower than this share of the learning rate.
    warm_up : float >= 0, default=0.0
        In epochs, as in `ConstantRate`. Epochs that begin within it do not count.
    """

    factor: float = 0.5
    n_iter_no_change: int = 5
    tol: float = 1e-4
    end: float = 0.0
    kind = "plateau"
    looks_at_losses = True

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        super().check(where)
        checks.real(where.child("factor"), self.factor, 0, 1, open_low=True, open_high=True)
        checks.integer(where.child("n_iter_no_change"), self.n_iter_no_change, 1)
        checks.real(where.child("tol"), self.tol, 0)
        checks.real(where.child("end"), self.end, 0, 1)

    def reduction(self, losses: Sequence[float]) -> float:
        """Return the factor for the epoch that follows epochs with these losses."""
        factor, least, waited = 1.0, math.inf, 0
        for loss in losses[math.ceil(self.warm_up) :]:
            waited = 0 if loss < least - self.tol else waited + 1
            least = loss if waited == 0 else least
            if waited == self.n_iter_no_change:
                factor, waited = factor * self.factor, 0
        return max(factor, self.end)

    def _shape(self, since: Vector, total: int, steps_per_epoch: int) -> Vector:  # noqa: ARG002
        return np.ones(len(since))


SCHEDULES = (
    ConstantRate,
    InverseTimeDecay,
    StepDecay,
    ExponentialDecay,
    LinearDecay,
    CosineDecay,
    ReduceOnPlateau,
)
BY_NAME: dict[str, type[Schedule]] = {kind.kind: kind for kind in SCHEDULES}
CONSTANT = ConstantRate()  # pretraining's default; settings cannot change, so one object serves all
STEPS_AT_FULL_RATE = 2000  # of fine-tuning, by default (docs/decisions/0003-defaults.md)


def resolve(where: Parameter, value: Any, also: str = "") -> Schedule:
    """Return the schedule meant by a settings object or by a name such as "cosine"; its settings are checked.

    `also` says what else the caller takes.
    """
    if isinstance(value, str) and value in BY_NAME:
        value = BY_NAME[value]()
    if not isinstance(value, Schedule):
        raise where.error(f"a schedule such as CosineDecay() or one of {list(BY_NAME)}{also}", value)
    value.check(where)
    return value


def of_training(schedule: Schedule | str, *, steps_per_epoch: int, epochs: int) -> Schedule:
    """Return the schedule of a training of that length: the one given, or what "auto" means.

    That is the whole rate for the first `STEPS_AT_FULL_RATE` steps, which short trainings need, and from there a
    straight line to 0, without which the last steps of long ones leave their error to chance.
    """
    if isinstance(schedule, Schedule):
        return schedule
    if epochs * steps_per_epoch <= STEPS_AT_FULL_RATE:
        return CONSTANT
    return LinearDecay(hold=STEPS_AT_FULL_RATE / steps_per_epoch)
