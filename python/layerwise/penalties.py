"""Penalties of weights and bounds on gradients and weights: settings that pretraining and fine-tuning share."""

from collections.abc import Callable
from typing import Any

from layerwise import checks
from layerwise.checks import Parameter


def _bound(where: Parameter, value: Any) -> float | None:
    if value is None:
        return None
    try:
        return checks.real(where, value, 0, open_low=True)
    except checks.InvalidParameterError:
        raise where.error("None or a finite number in (0, inf)", value) from None


CHECKS: dict[str, Callable[[Parameter, Any], Any]] = {
    "l1": lambda where, value: checks.real(where, value, 0),
    "clip_value": _bound,
    "clip_norm": _bound,
    "max_norm": _bound,
}


def check_together(where: Parameter, settings: Any) -> None:
    """Raise InvalidParameterError if the gradient is to be clipped in two ways; all else has been checked."""
    if settings.clip_value is not None and settings.clip_norm is not None:
        raise where.child("clip_norm").error("None with clip_value", settings.clip_norm)


def of_weights(settings: Any) -> dict[str, Any]:
    """Return what `_core.Penalties` takes of checked settings."""
    return {name: getattr(settings, name) or 0.0 for name in CHECKS}
