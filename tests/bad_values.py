"""Values that hardly any parameter allows."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwise import Adam

BAD: list[Any] = [
    -1, -0.5, 1e400, -1e400, float("nan"), -(10**30), 10**400, True, "bogus", "", b"adam", (), [], {}, set(), [None],
    ["x"], (1, 2, 3, 4, 5), [0.5, "a"], 1 + 2j, object(), Adam, lambda: 1, np.array([[1.0]]), np.array("x"),
    np.float64("nan"), np.timedelta64(1),
]  # fmt: skip


def is_among(value: Any, allowed: Any) -> bool:
    """Whether a bad value is one of those that a parameter allows; True is not 1 here."""
    return any(value is one or (type(value) is type(one) and value == one) for one in allowed)
