"""Why a row is an anomaly: its columns, what was observed, what was expected, and their shares of the error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ColumnError(NamedTuple):
    """What a detector saw and expected in one column of a row.

    Attributes
    ----------
    column : str or int
        The column's name if the detector was fitted with names, else its number from 0.
    observed, expected : float, or str of a category
        The value, and the value the network rebuilt from all columns; in the units of X. Of a category, its level, and
        the level that is the most likely.
    share : float
        The column's part of the row's error, from 0 to 1; the shares of a row sum to 1.
    """

    column: str | int
    observed: float | str
    expected: float | str
    share: float


class Explanation(tuple[ColumnError, ...]):
    """The columns of one row, those with the greatest share of the row's error first.

    It prints as a table; ``pandas.DataFrame(explanation)`` makes a frame of it.

    Attributes
    ----------
    score : float
        The row's score, as `score_samples` gives it.
    offset : float
        The detector's threshold: the row is an anomaly if its score is below.
    """

    score: float
    offset: float

    @classmethod
    def of(
        cls,
        names: Sequence[Any],
        observed: Sequence[Any] | NDArray[Any],
        expected: Sequence[Any] | NDArray[Any],
        errors: NDArray[np.float64],
        offset: float,
        top: int | None,
        *,
        n_columns: int | None = None,
    ) -> Explanation:
        """Return the explanation of a row from its columns' errors; with `top`, only so many columns.

        `n_columns` is how many columns the network has, if that is not how many there are errors.
        """
        shares = _shares(errors)
        order = np.argsort(-shares, kind="stable")[:top]
        explanation = cls(
            ColumnError(names[i], _value(observed[i]), _value(expected[i]), float(shares[i])) for i in order
        )
        with np.errstate(over="ignore"):
            explanation.score, explanation.offset = -float(errors.sum() / (n_columns or len(errors))), offset
        return explanation

    def with_lines(self, lines: Iterable[ColumnError]) -> Explanation:
        """Return an explanation of the same row with these lines."""
        explanation = Explanation(lines)
        explanation.score, explanation.offset = self.score, self.offset
        return explanation

    def __repr__(self) -> str:
        """Return the table."""
        verdict = "an anomaly" if not self.score >= self.offset else "not an anomaly"
        names = [str(line.column) for line in self]
        width = max(len("column"), *map(len, names)) if names else len("column")
        lines = [
            f"score {self.score:.4g}, threshold {self.offset:.4g}: {verdict}",
            f"{'column':{width}} {'observed':>12} {'expected':>12} {'share':>7}",
        ]
        lines += [
            f"{name:{width}} {_shown(line.observed)} {_shown(line.expected)} {line.share:>7.1%}"
            for name, line in zip(names, self, strict=True)
        ]
        return "\n".join(lines)


def _value(value: Any) -> float | str:
    return value if isinstance(value, str) else float(value)


def _shown(value: float | str) -> str:
    return f"{value:>12}" if isinstance(value, str) else f"{value:>12.5g}"


def _shares(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each squared error's part of their sum, also where the sum is beyond all floats; zeros if all are 0."""
    greatest = errors.max()
    if greatest == 0:
        return errors
    parts = np.isinf(errors).astype(np.float64) if np.isinf(greatest) else errors / greatest
    shares: NDArray[np.float64] = parts / parts.sum()
    return shares


def as_table(row: Any) -> Any:
    """Return one row as a table of one row; a pandas Series keeps its names."""
    if hasattr(row, "to_frame") and not hasattr(row, "columns"):
        return row.to_frame().T
    return row if hasattr(row, "columns") or np.ndim(row) != 1 else np.asarray(row)[np.newaxis]
