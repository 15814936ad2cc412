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
    """A training on its way, which knows where it stands also when an exception has cut it between any two lines.

    So it asks the plan, whose `standing` says where its last run ended: the step to come, the sums of its epoch and,
    where the network has other parameters by now, those of that step; nothing, (), if it stands nowhere that a training
    could go on from; None if it has not run.

    Parameters
    ----------
    at : Position
        Where it begins, without arrays.
    engine : Network of the engine
    plan : object with the engine's `run` and `standing`
    first_step, steps : int
        Of the whole training, as the plan counts; of an epoch.

    Attributes
    ----------
    now : Position
        Without arrays; replaced, never changed.
    """

    def __init__(self, at: Position, engine: Any, plan: Any, first_step: int, steps: int) -> None:
        self.now, self._engine, self._plan = at, engine, plan
        self._first_step, self._steps = first_step, steps

    def run(self, count: int, X: Array, Y: Array | None, weights: Array | None, *of_step: Array | None) -> Any:
        """Do the next steps of the epoch; `of_step` are rates and momenta. Return the plan's statistics of them."""
        start = perf_counter() - self.now.seconds
        first = self._epoch() + self.now.step
        stats = self._plan.run(X, Y, first, count, *of_step, weights, self.now.sums)
        self.now = replace(self.now, step=self.now.step + count, sums=stats.sums, seconds=perf_counter() - start)
        return stats

    def end_epoch(self, record: Any, *, ended: bool) -> None:
        """Take note of an epoch done, and whether it is the last one."""
        self.now = Position([*self.now.records, record], ended=ended)

    def capture(self, best: Array | None) -> Position | None:
        """Return where the training stands, with arrays; None if nobody knows. `best` is what it may return to."""
        now, standing, parameters = self.now, self._plan.standing, None
        if standing is not None:
            if not standing:
                return None
            step, sums, *others = standing
            parameters = others[0] if others else None
            if (step := step - self._epoch()) != now.step:
                now = replace(now, step=step, sums=sums)
        arrays = {"parameters": self._engine.parameters() if parameters is None else parameters}
        arrays |= memory_of(self._plan)
        return replace(now, arrays=arrays if best is None else {**arrays, "best": best})

    def _epoch(self) -> int:
        """Return the first step of the epoch at work."""
        return self._first_step + len(self.now.records) * self._steps


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
