"""Who watches a fit: progress, the user's callbacks, and the clock."""

import os
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from layerwise import checks
from layerwise.checkpoints import FileKeeper
from layerwise.checks import Parameter
from layerwise.keeping import Keeper
from layerwise.network import Network
from layerwise.progress import Progress
from layerwise.training import Callback, EpochRecord


class Watch:
    """What a fit tells each epoch to, and what may end it.

    Parameters
    ----------
    show : Progress
    callbacks : sequence of callables on an EpochRecord
        The user's.
    seconds : float or None
        How long the fit may take, from now on.

    Attributes
    ----------
    raised : Exception or None
        What a callback of the user's raised.
    keeper : Keeper
        Keeps where the fit stands.
    cut : bool
        Whether the time was over before the fit was.
    """

    def __init__(self, show: Progress, callbacks: Sequence[Any], seconds: float | None) -> None:
        self.report, self.close = show.report, show.close
        self.callbacks: list[Callback] = [self._remember, show, *(self._guarded(callback) for callback in callbacks)]
        self.raised: Exception | None = None
        self.keeper = Keeper()
        self.cut = False
        self.records: list[EpochRecord] = []  # of fine-tuning
        self.network: Callable[[], Network] | None = None  # as it stands, while it is fine-tuned
        self._callbacks = callbacks
        self._end = None if seconds is None else perf_counter() + seconds

    def out_of_time(self) -> bool:
        """Return whether the time is over; asked before each epoch."""
        over = self._end is not None and perf_counter() >= self._end
        self.cut = self.cut or over
        return over

    def take_up(self, keeper: FileKeeper) -> None:
        """Go on from the checkpoint that a keeper has found, if it has, and say so."""
        self.keeper = keeper
        if not keeper.found:
            return
        self.report(f"going on from the checkpoint: {keeper.standing()}")
        records = keeper.records()
        self.records += [record for record in records if record.stage == "finetuning"]
        for callback in self._callbacks:
            if hasattr(callback, "take_up"):
                callback.take_up(records)

    def attach(self, current: Callable[[], Any] | None) -> None:
        """Tell the callbacks that want to know that the fit begins (how to get the estimator) or is over (None)."""
        for callback in self._callbacks:
            if hasattr(callback, "attach"):
                callback.attach(current)

    def follow(self, network: Callable[[], Network]) -> None:
        """Take note that fine-tuning begins, and of how to get its network as it stands."""
        self.network = network

    def _remember(self, record: EpochRecord) -> None:
        if record.stage == "finetuning":
            self.records.append(record)

    def _guarded(self, callback: Any) -> Callable[[EpochRecord], object]:
        def call(record: EpochRecord) -> object:
            try:
                return callback(record)
            except Exception as error:
                self.raised = error
                raise

        return call


def check_callbacks(where: Parameter, value: Any) -> list[Any]:
    """Return the callbacks meant by None, a callable, or a list or tuple of callables."""
    callbacks = [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(callable(callback) for callback in callbacks):
        raise where.error("None, a callable on an EpochRecord, or a list of them", value)
    return callbacks


def check_seconds(where: Parameter, value: Any) -> float | None:
    """Return `value` if it is None or a positive number."""
    return None if value is None else checks.real(where, value, 0, open_low=True)


def last_word(error: BaseException, watch: Watch | None) -> None:
    """Write the checkpoint of a fit that a signal or a callback has ended, and note in the exception what it is worth.

    `watch` is None where another fit, inside this one, has written.
    """
    if watch is not None and (error is watch.raised or not isinstance(error, Exception)):
        error.of_checkpoint = watch.keeper.last_word()  # type: ignore[attr-defined]
    told = getattr(error, "of_checkpoint", "")
    if told and told not in getattr(error, "__notes__", []):
        error.add_note(told)


def what_was_kept(fitted: dict[str, Any], checkpoint: Any) -> str:
    """Return in words what an interrupted fit keeps; what its checkpoint is worth, if it has one, is told apart."""
    if "network_" in fitted:
        done = sum(record.stage == "finetuning" for record in fitted["history_"])  # n_iter_ is at least 1
        return f"Fine-tuning was interrupted after {done} epochs; the estimator keeps the weights reached."
    done = len(fitted["stages_"])
    if done == 0:
        nothing = (
            "The fit was interrupted before a layer was pretrained to its end: nothing of it is kept, and the "
            "estimator is as it was before."
        )
        advice = " With checkpoint=... a fit that is called again goes on from its last step."
        return nothing if checkpoint is not None else nothing + advice
    return f"Pretraining was interrupted; the {done} finished stages are kept in stages_. The estimator is not fitted."


def what_time_cut(seconds: Any, fitted: dict[str, Any], epochs: int, checkpoint: Any) -> str:
    """Return in words what a fit has reached whose time was over, and how it can go on; `epochs` are fine-tuning's."""
    done = [(f"layer {stage.layer}", len(stage.history), stage.settings.epochs) for stage in fitted["stages_"]]
    done.append(("fine-tuning", len(fitted["_watch"].records), epochs))
    reached = ", ".join(f"{name} {count} of {asked} epochs" for name, count, asked in done if asked)
    if checkpoint is None:
        going_on = (
            "To go on to the end of that fit next time, give a checkpoint and run the same again; to begin other "
            "epochs from there, their schedules anew, set warm_start=True."
        )
    else:
        path = os.fspath(getattr(checkpoint, "path", checkpoint))
        going_on = (
            f"Run the same again to go on from the checkpoint {path}: the end is that of a fit that had the time."
        )
    return (
        f"max_seconds={seconds} ended the fit. The estimator keeps what was reached: {reached}. A layer without an "
        f"epoch is at its random start, and so is the output layer without fine-tuning. {going_on}"
    )
