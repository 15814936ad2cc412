"""The one training loop, for pretraining and fine-tuning alike: an epoch is one call of the engine.

It yields a record per epoch. Callbacks are callables on that record; one that returns True ends the training.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks
from layerwise.checks import Parameter
from layerwise.keeping import NOTHING_KEPT, Course, Keeper, Position, set_memory
from layerwise.momentum_schedules import MomentumSchedule
from layerwise.schedules import CONSTANT, Schedule

Array = NDArray[Any]


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch did.

    Attributes
    ----------
    stage : str
        "pretraining" or "finetuning".
    layer : int or None
        The hidden layer being pretrained, counted from 1; None in fine-tuning.
    epoch, epochs : int
        This epoch, counted from 1, and how many were asked for.
    loss : float
        Mean over the training rows (weighted, if they have weights) of the loss summed over outputs, as seen during
        the epoch (with corruption and dropout, and while the network was changing), without the term of `alpha`.
    validation_loss : float or None
        The same for the validation rows, after the epoch, without corruption and dropout.
    learning_rate : float
        Of the epoch's last step, as the schedule made it; with line searches, the factor of the direction that the
        last search found.
    seconds : float
    free_energy, validation_free_energy, pseudo_likelihood : float or None
        Means after the epoch, of a Boltzmann machine with `monitor=True`; None elsewhere. See
        `RestrictedBoltzmannMachine`.
    """

    stage: str
    layer: int | None
    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    learning_rate: float
    seconds: float
    free_energy: float | None = None
    validation_free_energy: float | None = None
    pseudo_likelihood: float | None = None


Callback = Callable[[EpochRecord], object]


@dataclass
class Memory:
    """What an optimiser remembers, so that a later run goes on where one ended.

    Attributes
    ----------
    step : int
        Steps done.
    moments : pair of ndarrays or None
        Of the flat parameters, as `Plan.moments` gives them. None: at the start.
    """

    step: int = 0
    moments: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Stats:
    """What some steps did, as the engine's RunStats; `rate` is the length of a line search's last step."""

    loss: float
    finite: bool = True
    rate: float = 0.0
    sums: tuple[float, float] = (0.0, 0.0)


class TrainingDiverged(ValueError):  # noqa: N818 (named for what happened, like KeyboardInterrupt)
    """The loss or a weight stopped being a finite number.

    Attributes
    ----------
    stage : str
        "pretraining" or "finetuning".
    layer : int or None
        The hidden layer being pretrained, counted from 1; None in fine-tuning.
    epoch : int
        Counted from 1.
    learning_rate : float or None
        The optimiser's, before the schedule; None if it has none.
    """

    def __init__(self, stage: str, layer: int | None, epoch: int, learning_rate: float | None, what: str) -> None:
        self.stage, self.layer, self.epoch, self.learning_rate, self.what = stage, layer, epoch, learning_rate, what
        place = stage if layer is None else f"{stage} of layer {layer}"
        slower = "Scale" if learning_rate is None else f"Try a learning_rate smaller than {learning_rate:g}, or scale"
        super().__init__(
            f"{place} diverged in epoch {epoch}: {what}. {slower} the data to about [0, 1] or to unit variance."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stage, self.layer, self.epoch, self.learning_rate, self.what)


def run(
    engine: Any,
    recipe: _core.Recipe,
    X: Array,
    Y: Array | None,
    *,
    stage: str,
    layer: int | None,
    epochs: int,
    batch_size: int,
    learning_rate: float | None,
    schedule: Schedule = CONSTANT,
    momentum_schedule: MomentumSchedule | None = None,
    row_weights: Array | None = None,
    validation: tuple[Array, Array | None, Array | None] | None = None,
    memory: Memory | None = None,
    out_of_time: Callable[[], bool] | None = None,
    callbacks: Sequence[Callback] = (),
    early_stopping: "EarlyStopping | None" = None,
    plan: Any = None,
    measure: Callable[[], dict[str, float]] | None = None,
    keeper: Keeper = NOTHING_KEPT,
) -> Iterator[EpochRecord]:
    """Train an engine network in place, epoch by epoch.

    Where `keeper` has a position of this training, the network is brought there at once, and the epochs go on from it.

    Parameters
    ----------
    engine : Network of the engine
        Changed in place.
    recipe : Recipe of the engine
    X : ndarray of shape (n_rows, n_inputs)
    Y : ndarray of shape (n_rows, n_outputs) or None
        None: the targets are X itself, uncorrupted.
    stage, layer
        For the records.
    epochs, batch_size : int
        `batch_size` is the recipe's.
    learning_rate : float or None
        None: `plan` finds the steps by line searches, and its `run` returns the length of the last one.
    schedule : Schedule, default=ConstantRate()
        What each step's learning rate is multiplied by.
    momentum_schedule : MomentumSchedule or None, default=None
        Each step's momentum; None: that of the recipe. For the optimisers `Momentum` and `Nesterov`.
    row_weights : ndarray of shape (n_rows,) or None
        Of the network's dtype. Each batch's loss is the sum over its rows of weight * loss, divided by the sum of its
        weights. None: all rows weigh 1.
    validation : (X, Y, row_weights) or None
        Rows to measure after each epoch and never to train on.
    memory : Memory or None
        Where the optimiser's memory begins; brought up to date after each epoch. Its steps need not be whole epochs of
        this run if the recipe does not shuffle. None: at the start.
    out_of_time : callable or None
        Asked before each epoch; training ends, without it, when it returns True.
    callbacks : sequence of callables on an EpochRecord
        Each sees each epoch; training ends after an epoch for which one returned True.
    early_stopping : EarlyStopping or None
        Asked like a callback, after them; its weights are kept and taken up again with the network's.
    plan : object with the engine's `run` and `evaluate`, default=None
        What trains; None: the engine's plan for `recipe`.
    measure : callable, default=None
        Called after each epoch; returns more fields of its record by name.
    keeper : Keeper
        Is told where the training stands, asked for how long to train on, and may end it by an exception.

    Yields
    ------
    EpochRecord
        Of the epochs that were not done before.

    Raises
    ------
    TrainingDiverged
        If a loss, or at the end a weight, is not a finite number.
    KeyboardInterrupt
        After the step that was running.
    """
    plan = plan_for(engine, recipe) if plan is None else plan
    steps = -(-len(X) // batch_size)
    learning_rate = None if learning_rate is None else float(learning_rate)
    done = 0 if memory is None else memory.step
    if memory is not None and memory.moments is not None:
        plan.set_moments(*memory.moments)
    at = _taken_up(keeper.position(stage, layer), engine, plan, early_stopping)
    course = Course(at, engine, plan, done, steps)
    judges: list[Callback] = [*callbacks, *([] if early_stopping is None else [early_stopping])]

    def capture() -> Position | None:
        position = course.capture(None if early_stopping is None else early_stopping.best)
        if position is not None and position.step == steps and learning_rate is None:
            return None  # the epoch's record has the last search's rate, which stands nowhere else
        return position

    def epochs_to_come() -> Iterator[EpochRecord]:
        for epoch in range(len(at.records) + 1, epochs + 1):
            if course.now.ended or (out_of_time is not None and out_of_time()):
                return
            start = perf_counter() - course.now.seconds
            first = (epoch - 1) * steps
            rates = momenta = None
            if learning_rate is not None:
                rates = learning_rate * schedule.factors(first, steps, steps_per_epoch=steps, epochs=epochs)
                if schedule.looks_at_losses:
                    rates *= schedule.reduction([_judged(record) for record in course.now.records])
            if momentum_schedule is not None:
                momenta = momentum_schedule.momenta(first, steps, steps_per_epoch=steps)
            rate = 0.0 if rates is None else float(rates[-1])
            while course.now.step < steps:
                count = keeper.stretch(steps - course.now.step)
                part = slice(course.now.step, course.now.step + count)
                of_step = [None if values is None else values[part] for values in (rates, momenta)]
                stats = course.run(count, X, Y, row_weights, *of_step)
                if not stats.finite:
                    raise TrainingDiverged(stage, layer, epoch, learning_rate, f"the loss is {stats.loss}")
                rate = float(stats.rate) if rates is None else rate
                if course.now.step < steps:
                    keeper.look()
            loss_sum, weight_sum = course.now.sums
            held_out = None if validation is None else float(plan.evaluate(*validation))
            if held_out is not None and not np.isfinite(held_out):
                raise TrainingDiverged(stage, layer, epoch, learning_rate, f"the loss is {held_out}")
            measured = {} if measure is None else measure()
            record = EpochRecord(
                stage,
                layer,
                epoch,
                epochs,
                loss_sum / weight_sum if weight_sum > 0 else 0.0,
                held_out,
                rate,
                perf_counter() - start,
                **measured,
            )
            if memory is not None:
                memory.step, memory.moments = done + first + steps, plan.moments()
            answers = [bool(judge(record)) for judge in judges]  # each sees each epoch
            course.end_epoch(record, ended=any(answers))  # not before: a judge that raises sees the epoch again
            if (course.now.ended or epoch == epochs) and not np.isfinite(engine.parameters()).all():
                raise TrainingDiverged(stage, layer, epoch, learning_rate, "a weight is not a finite number")
            keeper.look()
            yield record

    keeper.follow(stage, layer, capture)
    return epochs_to_come()


def _judged(record: EpochRecord) -> float:
    return record.loss if record.validation_loss is None else record.validation_loss


def _taken_up(at: Position, engine: Any, plan: Any, early_stopping: "EarlyStopping | None") -> Position:
    """Bring a new network, plan and early stopping to where a training stood; return that without its arrays."""
    if at.begun:
        arrays = dict(at.arrays)
        engine.set_parameters(arrays.pop("parameters"))
        best = arrays.pop("best", None)
        set_memory(plan, arrays)
        if early_stopping is not None:
            early_stopping.take_up(at.records, best)
    return replace(at, records=list(at.records), arrays={})


def plan_for(engine: Any, recipe: _core.Recipe) -> Any:
    """Return the engine's plan (workspace and optimiser memory) for training `engine` as `recipe` says."""
    kind = _core.Plan_float32 if isinstance(engine, _core.Network_float32) else _core.Plan_float64
    return kind(engine, recipe)


def batch_size_for(setting: int | str, n_rows: int, auto_rows: int | None = None) -> int:
    """Return the rows of a batch; "auto" is `auto_rows`, or n_rows / 32, but at least 10 and at most 100.

    So an epoch of few rows still has enough steps to learn from, and one of many keeps the processor busy.
    """
    usual = min(100, max(10, n_rows // 32)) if auto_rows is None else auto_rows
    size = usual if isinstance(setting, str) else setting
    return min(size, n_rows)


def check_batch_size(where: Parameter, value: Any) -> int | str:
    """Return `value` if it is "auto" or a positive integer."""
    if isinstance(value, str) and value == "auto":
        return value
    try:
        return checks.integer(where, value, 1)
    except checks.InvalidParameterError:
        raise where.error('"auto" or a positive integer', value) from None


def split(n_rows: int, fraction: float, key: int) -> tuple[Any, Array | None]:
    """Return the rows to train on (a slice where these are all, which copies nothing) and those to keep apart."""
    count = min(max(1, round(fraction * n_rows)), n_rows - 1)
    if fraction == 0 or count == 0:
        return slice(None), None
    order = _core.random_permutation(key, 0, n_rows)
    return np.sort(order[count:]), np.sort(order[:count])


class EarlyStopping:
    """Callback that ends training when the validation loss has stopped falling, and remembers the best weights.

    Parameters
    ----------
    engine : Network of the engine
    n_iter_no_change : int
        End after so many epochs without an improvement of more than `tol`.
    tol : float
    """

    def __init__(self, engine: Any, n_iter_no_change: int, tol: float) -> None:
        self.engine, self.n_iter_no_change, self.tol = engine, n_iter_no_change, tol
        self.best_loss = self._mark = np.inf
        self.best: Any = None
        self._waited = 0

    def __call__(self, record: EpochRecord) -> bool:
        """Look at an epoch; True ends the training."""
        if self._is_best(record):
            self.best = self.engine.parameters()
        return self._waited >= self.n_iter_no_change

    def take_up(self, records: Sequence[EpochRecord], best: Any) -> None:
        """Go on after epochs that were seen before, the best of which had these weights."""
        for record in records:
            self._is_best(record)
        self.best = best

    def _is_best(self, record: EpochRecord) -> bool:
        """Count an epoch; return whether it is the best so far."""
        loss = np.inf if record.validation_loss is None else record.validation_loss
        self._waited = 0 if loss < self._mark - self.tol else self._waited + 1
        if self._waited == 0:
            self._mark = loss
        if loss >= self.best_loss:
            return False
        self.best_loss = loss
        return True
