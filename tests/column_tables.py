"""A small table with columns of several kinds, as an array and as people have it, for the tests of column groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from layerwise import Autoencoder, ColumnGroups

GROUPS = ColumnGroups((("number", 2), ("flag", 1), ("category", 3), ("category", 2)))
ROWS = 200
QUICK = Autoencoder(epochs=2)


def table(rows: int = ROWS, seed: int = 0) -> np.ndarray[Any, Any]:
    """Two numbers, a flag and two categories that follow from one another, as GROUPS says."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 3, rows)
    numbers = np.column_stack([level - 1 + 0.1 * rng.normal(size=rows), rng.normal(size=rows)])
    flag = (level == 2)[:, None]
    return np.hstack([numbers, flag, np.eye(3)[level], np.eye(2)[(numbers[:, 1] > 0).astype(int)]])


def frame(rows: int = ROWS) -> pd.DataFrame:
    """The same as people have it, with a hole here and there."""
    X = table(rows)
    height = np.where(np.arange(rows) % 9 == 0, np.nan, X[:, 1])
    kinds = np.array(["low", "middle", "high"])[X[:, 3:6].argmax(axis=1)]
    return pd.DataFrame({"width": X[:, 0], "height": height, "kind": kinds, "sold": X[:, 2] == 1})
