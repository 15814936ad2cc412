"""A line of a stream that tells how far the work is: rewritten on a terminal, printed now and then elsewhere."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TextIO


class Line:
    """The last line of a stream.

    Parameters
    ----------
    stream : text stream
    seconds : float, default=15.0
        Where lines cannot be rewritten, a line of progress is printed after so long a silence.
    """

    def __init__(self, stream: TextIO, seconds: float = 15.0) -> None:
        self.stream, self.seconds = stream, seconds
        self.rewrites = stream.isatty()
        self._width = 0
        self._last = perf_counter()

    def show(self, text: str) -> None:
        """Show where the work is."""
        if not self.rewrites:
            if perf_counter() - self._last > self.seconds:
                self.print(text)
            return
        text = text[: self._columns() - 1]
        self.stream.write("\r" + text.ljust(self._width))
        self.stream.flush()
        self._width = len(text)

    def print(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        self.stream.write(text + "\n")
        self.stream.flush()
        self._last = perf_counter()

    def clear(self) -> None:
        """Leave the line that is being rewritten."""
        if self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self.stream.flush()
            self._width = 0

    def _columns(self) -> int:
        """Return the terminal's width: a longer line would not be rewritten as one."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 10_000
        except (OSError, AttributeError, ValueError):
            return 10_000
