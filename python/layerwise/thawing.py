"""Training whose frozen layers change on the way: frozen at first and trained later, all at once or one by one."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from layerwise import _core, training
from layerwise.keeping import memory_of, set_memory


class ThawingPlan:
    """A plan of the engine for each phase between two thaws, in the place of a single one.

    The optimiser starts anew in each phase: its memory is empty and its steps count from 1. The bias correction of Adam
    would otherwise take a layer's first step for its thousandth, and make it several times too long.

    Parameters
    ----------
    engine : Network of the engine
        Trained in place.
    recipe_of : callable on (phase, frozen)
        Returns the Recipe of a phase, counted from 0; `frozen` has one bool a layer.
    frozen_epochs : sequence of int or None
        One a layer: for how many epochs it stays frozen; None: for all.
    steps_per_epoch : int
    plan_of : callable on (engine, recipe), default=training.plan_for
        Makes the plan of a phase.
    done : int, default=0
        Steps of the whole training that were done before, by another plan whose memory this one will get.
    """

    def __init__(
        self,
        engine: Any,
        recipe_of: Callable[[int, list[bool]], _core.Recipe],
        frozen_epochs: Sequence[int | None],
        steps_per_epoch: int,
        plan_of: Callable[[Any, _core.Recipe], Any] = training.plan_for,
        done: int = 0,
    ) -> None:
        self._engine, self._recipe_of, self._plan_of = engine, recipe_of, plan_of
        self._frozen_epochs, self._steps_per_epoch = frozen_epochs, steps_per_epoch
        self._thaws = sorted({epochs * steps_per_epoch for epochs in frozen_epochs if epochs})  # as steps
        self._enter(bisect_right(self._thaws, done - 1))  # of the last step done: its memory ends with its phase

    def run(self, X: Any, Y: Any, first_step: int, *rest: Any) -> Any:
        """Train as the engine's plan does, from `first_step` of the whole training on, up to the next thaw at most."""
        phase = bisect_right(self._thaws, first_step)
        if phase != self._phase:
            self._enter(phase)
        begin, plan = self._at
        return plan.run(X, Y, first_step - begin, *rest)

    @property
    def standing(self) -> Any:
        """Where the last run ended, as the engine's plan says it; steps are those of the whole training."""
        begin, plan = self._at
        return (begin + plan.standing[0], *plan.standing[1:]) if plan.standing else plan.standing

    def evaluate(self, *data: Any) -> float:
        """Return the loss without noise and dropout."""
        return float(self._at[1].evaluate(*data))

    def memory_arrays(self) -> dict[str, Any]:
        """Return what the phase's plan remembers."""
        return memory_of(self._at[1])

    def set_memory_arrays(self, arrays: dict[str, Any]) -> None:
        """Give the phase's plan what another remembered."""
        set_memory(self._at[1], arrays)

    def _enter(self, phase: int) -> None:
        begin = self._thaws[phase - 1] if phase else 0
        ends = (None if epochs is None else epochs * self._steps_per_epoch for epochs in self._frozen_epochs)
        frozen = [end is None or end > begin for end in ends]
        # The phase's first step and plan, set at once: an exception may come between any two lines.
        self._at = begin, self._plan_of(self._engine, self._recipe_of(phase, frozen))
        self._phase = phase
