"""What "auto" means for the share of the inputs that fine-tuning leaves out (docs/decisions/0003-defaults.md)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_INPUTS = 50  # fewer, and each of them tends to say what no other does
LEAST_STEPS = 1000  # shorter trainings end before they have learned from what the noise leaves of the inputs
LABELS_PER_INPUT = 3  # from so many on, there is less noise
LEAST = 0.05  # less changes no error that could be measured


def of_training(share: float | str, X: NDArray[Any], steps: int) -> float:
    """Return the share of the inputs to leave out in a training of so many steps: the one given, or what "auto" means.

    That is p with p / (1 - p) = v * min(1, 3 * d / n) of n labelled rows and d inputs, rounded to hundredths; none
    where inputs or steps are few, or where it would be less than 0.05. v is the share of the inputs' mean squares that
    is their variance: a sum over inputs then has noise of at most the variance that the data give it, whether 0 is
    their mean or far from it, and the less, the more labels there are for each input.

    Parameters
    ----------
    share : float or "auto"
    X : ndarray of shape (n_rows, n_inputs)
        The labelled rows.
    steps : int
    """
    if not isinstance(share, str):
        return share
    rows, inputs = X.shape
    if inputs < LEAST_INPUTS or steps < LEAST_STEPS:
        return 0.0
    squares = float(np.einsum("ij,ij->", X, X, dtype=np.float64))
    if squares == 0:
        return 0.0
    means = X.mean(axis=0, dtype=np.float64)
    of_variance = max(0.0, 1 - rows * float(means @ means) / squares)
    noise = of_variance * min(1.0, LABELS_PER_INPUT * inputs / rows)
    left_out = float(round(noise / (1 + noise), 2))
    return left_out if left_out >= LEAST else 0.0
