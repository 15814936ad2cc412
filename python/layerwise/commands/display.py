"""Live progress of one training: stage, epoch, loss, skill, time left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from time import perf_counter
from typing import TextIO

from layerwise.paired import duration
from layerwise.progress import Progress
from layerwise.terminal import Line
from layerwise.training import EpochRecord


class TrainingProgress(Progress):
    """Shows each epoch, on one line that is rewritten on a terminal, and now and then elsewhere.

    Parameters
    ----------
    stream : text stream
    n_inputs : callable
        Returns the columns that the network gets; asked once training has begun.
    hidden : sequence of int
    pretraining : sequence of int
        Epochs of each layer.
    finetuning : int
        Epochs of fine-tuning.
    rows, labelled : int
        How many rows the two stages train on.
    """

    def __init__(
        self,
        stream: TextIO,
        n_inputs: Callable[[], int],
        hidden: Sequence[int],
        pretraining: Sequence[int],
        finetuning: int,
        rows: int,
        labelled: int,
    ) -> None:
        super().__init__(verbose=1)
        self.line = Line(stream, seconds=5.0)
        self._n_inputs, self._hidden = n_inputs, hidden
        self._pretraining, self._finetuning = pretraining, finetuning
        self._rows, self._labelled = rows, labelled
        self._start: float | None = None
        self._costs: list[float] = []  # of an epoch: one for each layer, then fine-tuning
        self._before: float | None = None  # the cost of the epochs before a checkpoint that this run goes on from

    def report(self, text: str) -> None:
        """Tell what was chosen, and how well a layer went."""
        if self._start is None:
            self._start = perf_counter()
        self.line.print(text)

    def close(self) -> None:
        """Leave the line to the next one; clear it at the end of the training."""

    def __call__(self, record: EpochRecord) -> None:
        """Show an epoch."""
        stage = "fine-tuning" if record.layer is None else f"layer {record.layer}/{len(self._hidden)}"
        held_out = "" if record.validation_loss is None else f"  validation {record.validation_loss:.4g}"
        left = duration(self._left(record))
        self.line.show(
            f"{stage}  epoch {record.epoch}/{record.epochs}  loss {record.loss:.4g}{held_out}  about {left} left"
        )

    def _left(self, record: EpochRecord) -> float:
        if not self._costs:
            weights = [n_in * n_out for n_in, n_out in pairwise((self._n_inputs(), *self._hidden))]
            self._costs = [2.0 * self._rows * size for size in weights]  # encoder and decoder
            self._costs.append(float(self._labelled * sum(weights)))
        epochs = [*self._pretraining, self._finetuning]
        now = len(self._hidden) if record.layer is None else record.layer - 1
        done = sum(cost * count for cost, count in zip(self._costs[:now], epochs[:now], strict=True))
        done += self._costs[now] * record.epoch
        total = sum(cost * count for cost, count in zip(self._costs, epochs, strict=True))
        elapsed = perf_counter() - (self._start or perf_counter())
        self._before = done - self._costs[now] if self._before is None else self._before
        return max(0.0, elapsed * (total - done) / (done - self._before))
