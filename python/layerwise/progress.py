"""Progress on the terminal: a bar per stage (`verbose=1`) or a line per epoch (`verbose=2`)."""

import sys
from typing import Any

from layerwise.training import EpochRecord


class Progress:
    """Callback that shows epochs as they end; `report` prints a line of text between them.

    Parameters
    ----------
    verbose : int
        0: silent. 1: what was chosen for each layer and how well it went, and a bar with the time left if the output
        is a terminal. 2 or more: a line per epoch instead of the bar.
    """

    def __init__(self, verbose: int) -> None:
        self.verbose = verbose
        self._bar: Any = None
        self._stage: tuple[str, int | None] | None = None

    def __call__(self, record: EpochRecord) -> None:
        """Show an epoch."""
        if self.verbose >= 2:
            print(_line(record))
        elif self.verbose == 1 and sys.stderr.isatty():
            self._advance(record)

    def report(self, text: str) -> None:
        """Print a line of text."""
        self.close()
        if self.verbose:
            print(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._stage = None

    def _advance(self, record: EpochRecord) -> None:
        from tqdm import tqdm

        if self._stage != (record.stage, record.layer):
            self.close()
            self._stage = (record.stage, record.layer)
            self._bar = tqdm(
                total=record.epochs, desc=_name(record), unit="epoch", initial=record.epoch - 1, leave=False
            )
        self._bar.set_postfix_str(_losses(record), refresh=False)
        self._bar.update()
        if record.epoch == record.epochs:
            self.close()


def _name(record: EpochRecord) -> str:
    return record.stage if record.layer is None else f"{record.stage} of layer {record.layer}"


def _losses(record: EpochRecord) -> str:
    held_out = "" if record.validation_loss is None else f", validation loss {record.validation_loss:.5g}"
    return f"loss {record.loss:.5g}{held_out}"


def _line(record: EpochRecord) -> str:
    return f"{_name(record)}: epoch {record.epoch}/{record.epochs}, {_losses(record)}, {record.seconds:.2f} s"
