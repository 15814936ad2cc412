"""What a denoising autoencoder does to its inputs (Vincent et al. 2010, section 3.3).

Noise is drawn afresh whenever a row is presented, the kept inputs are not rescaled, and the target stays clean.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from layerwise import _core, checks
from layerwise.checks import Parameter
from layerwise.settings import Settings


class Corruption(Settings, ABC):
    """Base of the kinds of corruption."""

    kind = ""

    @abstractmethod
    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""

    def noise(self, low: float, high: float) -> _core.Noise:  # noqa: ARG002 (salt and pepper needs them)
        """Return the engine's form, for inputs whose least and greatest possible values are `low` and `high`."""
        (level,) = self.get_params().values()
        return _core.Noise(self.kind, float(level))


@dataclass(frozen=True, repr=False)
class Masking(Corruption):
    """Set each input to 0 with probability `rate`.

    Parameters
    ----------
    rate : float in [0, 1], default=0.25
    """

    rate: float = 0.25
    kind = "masking"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if the rate is not a probability."""
        checks.real(where.child("rate"), self.rate, 0, 1)


@dataclass(frozen=True, repr=False)
class Gaussian(Corruption):
    """Add normal noise of mean 0 and standard deviation `scale` to each input.

    Parameters
    ----------
    scale : float >= 0, default=0.1
    """

    scale: float = 0.1
    kind = "gaussian"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if the scale is negative."""
        checks.real(where.child("scale"), self.scale, 0)


@dataclass(frozen=True, repr=False)
class SaltAndPepper(Corruption):
    """Set each input with probability `rate` to its least or its greatest possible value, by a fair coin.

    These are 0 and 1 for a first layer whose training inputs all lie in [0, 1], and above sigmoid or softmax layers;
    else the minimum and maximum of the layer's training inputs.

    Parameters
    ----------
    rate : float in [0, 1], default=0.25
    """

    rate: float = 0.25
    kind = "salt_and_pepper"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if the rate is not a probability."""
        checks.real(where.child("rate"), self.rate, 0, 1)

    def noise(self, low: float, high: float) -> _core.Noise:
        """Return the engine's form, for inputs whose least and greatest possible values are `low` and `high`."""
        return _core.Noise(self.kind, float(self.rate), low, high)


BY_NAME: dict[str, type[Corruption]] = {kind.kind: kind for kind in (Masking, Gaussian, SaltAndPepper)}


def resolve(where: Parameter, value: Any) -> Corruption | None:
    """Return the corruption meant by a settings object, by a name such as "masking", or by None; it is checked."""
    if isinstance(value, str) and value in BY_NAME:
        value = BY_NAME[value]()
    if value is None:
        return None
    if not isinstance(value, Corruption):
        raise where.error(f"None, a corruption such as Masking(0.25), or one of {list(BY_NAME)}", value)
    value.check(where)
    return value
