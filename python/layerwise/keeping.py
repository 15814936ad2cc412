"""Where a training stands, and who keeps that so that it can be taken up again: what the training loop knows of both.

`layerwise.checkpoints` has the keeper that writes files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Position:
    """Where the training of a network stands: all that its further course depends on, beside settings and data.

    Schedules, early stopping's counters and which layers have thawed follow from the records and the step.

    Attributes
    ----------
    records : list of EpochRecord
        Of the epochs done.
    step : int
        Steps done in the epoch at work; 0 between two epochs.
    sums : pair of float
        Those steps' sums of weight * loss and of weight.
    seconds : float
        How long they took.
    ended : bool
        Whether a callback or early stopping has ended the training before its last epoch.
    arrays : dict of str to ndarray
        "parameters": the network's, flat. "best": those that early stopping would return to. Others: what the plan
        remembers (moments; chains and running means of a Boltzmann machine), where it is not 0.
    """

    records: list[Any] = field(default_factory=list)
    step: int = 0
    sums: tuple[float, float] = (0.0, 0.0)
    seconds: float = 0.0
    ended: bool = False
    arrays: dict[str, Array] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether a step was done."""
        return bool(self.records) or self.step > 0


class Course:
    """A training on its way, which knows where it stands also when an exception has cut it.

    A signal's exception comes between any two lines, or out of a plan's `run`. The plan then says in the exception's
    `stopped_at`, if it can, where the network and what it remembers stand: the next step, the sums of the epoch and,
    where the network has other parameters, those of that step.

    Parameters
    ----------
    at : Position
        Where it begins, without arrays.
    engine : Network of the engine
    plan : object with the engine's `run`
    data : (X, Y, row_weights)
        What `run` is given.

    Attributes
    ----------
    now : Position
        Without arrays; replaced, never changed.
    """

    def __init__(self, at: Position, engine: Any, plan: Any, data: tuple[Any, Any, Any]) -> None:
        self.now, self._engine, self._plan, self._data = at, engine, plan, data
        self._known = True  # whether engine and plan stand where `now` says
        self._parameters: Array | None = None  # at `now`, if the engine has others

    def run(self, first_step: int, count: int, rates: Array | None, momenta: Array | None) -> Any:
        """Do the next steps of the epoch that begins with `first_step`; return the plan's statistics of them."""
        start = perf_counter() - self.now.seconds
        X, Y, weights = self._data
        self._known = False
        try:
            stats = self._plan.run(X, Y, first_step + self.now.step, count, rates, momenta, weights, self.now.sums)
        except BaseException as error:
            if (at := getattr(error, "stopped_at", None)) is not None:
                step, sums, *parameters = at
                self.now = replace(self.now, step=step - first_step, sums=sums, seconds=perf_counter() - start)
                self._parameters = parameters[0] if parameters else None
                self._known = True
            raise
        if stats.finite:
            step = self.now.step + count
            self.now = replace(self.now, step=step, sums=stats.sums, seconds=perf_counter() - start)
            self._known = True
        return stats

    def end_epoch(self, record: Any, *, ended: bool) -> None:
        """Take note of an epoch done, and whether it is the last one."""
        self.now = Position([*self.now.records, record], ended=ended)

    def capture(self, best: Array | None) -> Position | None:
        """Return where the training stands, with arrays; None if nobody knows. `best` is what it may return to."""
        if not self._known:
            return None
        parameters = self._engine.parameters() if self._parameters is None else self._parameters
        arrays = {"parameters": parameters, **memory_of(self._plan)}
        return replace(self.now, arrays=arrays if best is None else {**arrays, "best": best})


class Keeper:
    """Keeps where the trainings of a fit stand. This one keeps nothing: it is what stands where nobody asks for more.

    Attributes
    ----------
    stages : list of Stage
        Pretrained layers that need not be pretrained again.
    """

    stages: list[Any]

    def __init__(self) -> None:
        self.stages = []

    def begin(self, stages: Sequence[Any]) -> None:
        """Take note of layers that were pretrained before the fit."""

    def position(self, stage: str, layer: int | None) -> Position:  # noqa: ARG002 (of those that keep something)
        """Return where a training begins; its arrays are empty where it begins at the start."""
        return Position()

    def follow(self, stage: str, layer: int | None, capture: Callable[[], Position | None]) -> None:
        """Take note of a training that begins, and of how to learn where it stands."""

    def stretch(self, steps: int) -> int:
        """Return how many of the next `steps` steps to do before `look` is called."""
        return steps

    def look(self) -> None:
        """Do what is due between two steps."""

    def done(self, stage: Any) -> None:
        """Take note of a finished pretrained layer."""

    def finish(self) -> None:
        """Do what is due when the fit is over, or its time is."""

    def last_word(self) -> str:
        """Do what can be done when an exception has ended the fit; return what to tell of it."""
        return ""


NOTHING_KEPT = Keeper()


def memory_of(plan: Any) -> dict[str, Array]:
    """Return what a plan remembers from step to step, by name; what it leaves out is 0.

    A plan says so itself by `memory_arrays` and takes it back by `set_memory_arrays`; the engine's has two moments.
    """
    if hasattr(plan, "memory_arrays"):
        arrays: dict[str, Array] = plan.memory_arrays()
    else:
        arrays = dict(zip(("first", "second"), plan.moments(), strict=True))
    return {name: array for name, array in arrays.items() if array.any()}


def set_memory(plan: Any, arrays: dict[str, Array]) -> None:
    """Give a new plan what `memory_of` returned of another."""
    if hasattr(plan, "set_memory_arrays"):
        plan.set_memory_arrays(arrays)
    else:
        start = dict(zip(("first", "second"), plan.moments(), strict=True))
        plan.set_moments(*(arrays.get(name, zeros) for name, zeros in start.items()))
