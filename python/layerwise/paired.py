"""What comparisons over seeds share: mean and spread, the interval of paired differences, the table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, one a seed, with its 95 % interval (Student's t).

    Attributes
    ----------
    mean, spread : float
        `spread` is the standard deviation (n - 1; 0 for one value).
    low, high : float
        The interval; infinite for one value, which tells nothing of its spread.
    """

    mean: float
    spread: float
    low: float
    high: float

    @classmethod
    def of(cls, differences: Sequence[float]) -> Difference:
        """Return the difference that `differences` show."""
        from scipy import stats

        mean, spread = mean_and_spread(differences)
        n = len(differences)
        margin = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n) if n > 1 else math.inf
        return cls(mean, spread, mean - margin, mean + margin)

    @property
    def sign(self) -> int:
        """1 or -1 if the interval lies above or below zero, else 0."""
        return (self.low > 0) - (self.high < 0)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation (n - 1; 0 for one value)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def duration(seconds: float) -> str:
    """Return a time in seconds or minutes, as short as it can be read."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"


def table(
    values: Mapping[str, Sequence[float]],
    seconds: Mapping[str, Sequence[float]],
    heading: str,
    *,
    digits: int,
    unit: str = "",
    width: int = 28,
) -> str:
    """Return means, spreads (if there are several values) and mean training times, a line each, as text."""
    lines = [f"{'':{width}} {heading:>16} {'training':>10}"]
    for name, own in values.items():
        mean, spread = mean_and_spread(own)
        shown = f"{mean:.{digits}f}{unit}" + (f" ± {spread:.{digits}f}" if len(own) > 1 else "")
        lines.append(f"{name:{width}} {shown:>16} {duration(statistics.fmean(seconds[name])):>10}")
    return "\n".join(lines)
