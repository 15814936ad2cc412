"""scikit-learn's callback protocol (`set_callbacks`, from 1.9 on): a fit's stages and epochs as its tree of tasks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from layerwise.training import EpochRecord

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has no callbacks; the estimators then have no `set_callbacks`."""

    @contextmanager
    def callback_management_context(estimator: Any) -> Iterator[None]:  # noqa: ARG001 (as scikit-learn's)
        """Do nothing."""
        yield


__all__ = ["CallbackSupportMixin", "TaskTree", "callback_management_context"]


class TaskTree:
    """Callback that tells scikit-learn's callbacks of each epoch: the task "fit", its stages, their epochs.

    Parameters
    ----------
    estimator : estimator
        Whose `set_callbacks` said which.
    data : tuple of X, y and sample_weight
        As `fit` was given them.
    current : callable
        Returns the estimator as if the fit had ended now, or None.
    """

    def __init__(self, estimator: Any, data: tuple[Any, Any, Any], current: Callable[[], Any]) -> None:
        X, y, sample_weight = data
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._what = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._current = current
        self._place: tuple[str, int | None] | None = None
        self._stage: Any = None
        self._fit = estimator._init_callback_context(max_subtasks=None)
        self._fit.call_on_fit_task_begin(**self._what)

    def __call__(self, record: EpochRecord) -> bool:
        """Tell of an epoch; True ends the stage, as a callback that returned True asks."""
        if self._place != (record.stage, record.layer):
            self._end_stage()
            self._place = (record.stage, record.layer)
            name = record.stage if record.layer is None else f"{record.stage} of layer {record.layer}"
            self._stage = self._fit.subcontext(task_name=name, max_subtasks=record.epochs)
            self._stage.call_on_fit_task_begin(**self._what)
        epoch = self._stage.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(**self._what)
        return bool(epoch.call_on_fit_task_end(**self._what, reconstruction_attributes=self._attributes))

    def end(self) -> None:
        """Tell that the fit is over."""
        self._end_stage()
        self._fit.call_on_fit_task_end(**self._what, reconstruction_attributes=self._attributes)

    def _end_stage(self) -> None:
        if self._stage is not None:
            self._stage.call_on_fit_task_end(**self._what)
            self._stage = None

    def _attributes(self) -> dict[str, Any] | None:
        now = self._current()
        return None if now is None else dict(vars(now))
