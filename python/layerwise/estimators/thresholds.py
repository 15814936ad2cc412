"""Where a detector's threshold lies among the errors of the training rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Exact = NDArray[np.float64]

FENCE = 1.5  # Tukey's: quartile distances above the upper quartile


def threshold(errors: Exact, weights: Array | None, contamination: float | None) -> float:
    """Return the score (minus an error) below which rows are anomalies: that share of the weight, or the fence's."""
    return fence(errors, weights) if contamination is None else weighted_quantile(-errors, weights, contamination)


def fence(errors: Exact, weights: Array | None) -> float:
    """Return minus the square of Tukey's upper fence of the errors' square roots."""
    roots = np.sqrt(errors)
    lower, upper = (weighted_quantile(roots, weights, share) for share in (0.25, 0.75))
    limit = upper + FENCE * (upper - lower)
    within = errors[roots <= limit]  # the square of a rounded root may be less than the error it came from
    return -float(max(limit**2, within.max()))


def weighted_quantile(values: Exact, weights: Array | None, share: float) -> float:
    """Return the value below and above which that share of the weight lies (Hyndman & Fan 1996, definition 2).

    Where a value ends at the share exactly, it is the mean of that value and the next. A weight is a repetition, and
    only the weights' ratios matter.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.ones(len(values)) if weights is None else weights[order])
    slack = 1e-9 * reached[-1]
    first = int(np.searchsorted(reached, share * reached[-1] - slack))
    ends_there = first + 1 < len(values) and reached[first] <= share * reached[-1] + slack
    return float((values[order[first]] + values[order[first + ends_there]]) / 2)
