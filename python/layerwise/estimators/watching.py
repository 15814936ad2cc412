"""Who watches a fit: progress, the user's callbacks, and the clock."""

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
