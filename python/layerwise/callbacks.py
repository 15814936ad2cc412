"""Callbacks for the estimators' `callbacks`: a log with a line per epoch, and a file with the best model so far.

A callback is a callable on an `EpochRecord`; one that returns True ends the stage at work: the pretraining of that
layer, or fine-tuning. One with a method `attach` is given, when a fit begins, a function that returns the estimator as
if the fit had ended after the current epoch (None while it pretrains), and None when the fit is over. One with a method
`take_up` is given, where a fit goes on from a checkpoint, the records of the epochs done before; those done since the
checkpoint was written are done again, with the same records, and seen again.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from layerwise.training import EpochRecord


class JSONLines:
    """Callback that appends each epoch to a file, as a JSON object in a line of its own.

    Parameters
    ----------
    path : str or path-like
        Made if it does not exist; a fit is refused at its beginning if its folder does not. Each line is written whole
        and at once, so that others may read while training runs.
        A fit that goes on from a checkpoint writes the epochs since that checkpoint again.

    Examples
    --------
    >>> from layerwise import JSONLines, PretrainedClassifier
    >>> model = PretrainedClassifier(callbacks=JSONLines("epochs.jsonl")).fit(X, y)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def attach(self, current: Callable[[], Any] | None) -> None:
        """Begin or end a fit; it begins only if its lines can be written."""
        if current is not None and (os.path.isdir(self.path) or not os.path.exists(self.path)):  # or a pipe
            _check_place(self.path)

    def __call__(self, record: EpochRecord) -> None:
        """Append an epoch; its fields are those of `EpochRecord`."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")

    def __repr__(self) -> str:
        """Return the call that makes this object."""
        return f"JSONLines({os.fspath(self.path)!r})"


class BestModel:
    """Callback that saves the estimator whenever an epoch of fine-tuning is the best so far.

    The best is the least validation loss where there is one (`early_stopping`), else the least training loss. The file
    is replaced whole or not at all, so that it always holds a model that `layerwise.load` reads.

    Parameters
    ----------
    path : str or path-like
        A fit is refused at its beginning if its folder does not exist.

    Attributes
    ----------
    best_loss : float
        Of the model in the file; infinity before the first.

    Examples
    --------
    >>> from layerwise import BestModel, PretrainedClassifier
    >>> model = PretrainedClassifier(callbacks=[BestModel("best.layerwise")]).fit(X, y)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.best_loss = float("inf")
        self._current: Callable[[], Any] | None = None

    def attach(self, current: Callable[[], Any] | None) -> None:
        """Begin or end a fit: `current` returns the estimator as it stands."""
        self._current = current
        if current is not None:
            _check_place(self.path)  # the first model is saved when pretraining is over
            self.best_loss = float("inf")

    def take_up(self, records: Sequence[EpochRecord]) -> None:
        """Go on after epochs that were seen before: the file has the best of them."""
        losses = [_loss(record) for record in records if record.stage == "finetuning"]
        if os.path.exists(self.path):
            self.best_loss = min(losses, default=self.best_loss)

    def __call__(self, record: EpochRecord) -> None:
        """Save the estimator if this epoch is the best so far."""
        loss = _loss(record)
        model = None if self._current is None or loss >= self.best_loss else self._current()
        if model is not None:
            model.save(self.path)
            self.best_loss = loss

    def __repr__(self) -> str:
        """Return the call that makes this object."""
        return f"BestModel({os.fspath(self.path)!r})"


def _check_place(path: str | os.PathLike[str]) -> None:
    from layerwise.persistence import files  # needs scikit-learn, which `pretrain` with a callback does not

    files.check_place(path)


def _loss(record: EpochRecord) -> float:
    return record.loss if record.validation_loss is None else record.validation_loss
