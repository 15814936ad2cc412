"""The activations that have settings of their own; the others are known by name (`NAMES`).

The formulas stand in `layerwise.reference` and docs/numerics.md.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

from layerwise import _core, checks
from layerwise.checks import Parameter
from layerwise.settings import Settings

NAMES = _core.ACTIVATIONS
IN_UNIT_INTERVAL = ("sigmoid", "softmax")  # activations whose values lie in [0, 1]


@dataclass(frozen=True)
class Activation:
    """An activation as the engine knows it: name, parameter (or its start), and how the parameter is learned.

    The decoder of columns of several kinds is "mixed" and has their groups as (kind, count) pairs (see `ColumnGroups`).
    """

    name: str
    parameter: float = 0.0
    learn: str = "fixed"
    groups: tuple[tuple[str, int], ...] = ()
    batch_norm: tuple[float, float] | None = None  # momentum and epsilon of what stands before it, if anything does

    @property
    def title(self) -> str:
        """The name, and whether the layer is normalised."""
        return f"{self.name} with batch_norm" if self.batch_norm else self.name

    @property
    def bare(self) -> "Activation":
        """The same without batch normalisation."""
        return replace(self, batch_norm=None)

    def layer(self, n_in: int, n_out: int, tied_to: int = -1) -> _core.Layer:
        """Return the engine's description of a layer with this activation."""
        name = "identity" if self.groups else self.name  # which the engine turns into what the groups' logits mean
        return _core.Layer(n_in, n_out, name, self.parameter, self.learn, tied_to, self.groups, self.batch_norm)


class ActivationSettings(Settings, ABC):
    """Base of the activations with settings."""

    @abstractmethod
    def check(self, where: Parameter) -> Activation:
        """Check the settings and return the engine's form of them."""


@dataclass(frozen=True, repr=False)
class LeakyReLU(ActivationSettings):
    """z if z > 0, else alpha * z (Maas et al. 2013).

    Parameters
    ----------
    alpha : float >= 0, default=0.01
    """

    alpha: float = 0.01

    def check(self, where: Parameter) -> Activation:
        """Check the settings and return the engine's form of them."""
        return Activation("leaky_relu", checks.real(where.child("alpha"), self.alpha, 0))


@dataclass(frozen=True, repr=False)
class PReLU(ActivationSettings):
    """z if z > 0, else alpha * z, with alpha learned and not decayed (He et al. 2015).

    Parameters
    ----------
    alpha : float, default=0.25
        Where learning starts.
    shared : bool, default=False
        One alpha for the layer instead of one per unit.
    """

    alpha: float = 0.25
    shared: bool = False

    def check(self, where: Parameter) -> Activation:
        """Check the settings and return the engine's form of them."""
        learn = "shared" if checks.boolean(where.child("shared"), self.shared) else "unit"
        return Activation("prelu", checks.real(where.child("alpha"), self.alpha), learn)


@dataclass(frozen=True, repr=False)
class ELU(ActivationSettings):
    """z if z > 0, else alpha * (exp(z) - 1) (Clevert et al. 2016).

    Parameters
    ----------
    alpha : float > 0, default=1.0
    """

    alpha: float = 1.0

    def check(self, where: Parameter) -> Activation:
        """Check the settings and return the engine's form of them."""
        return Activation("elu", checks.real(where.child("alpha"), self.alpha, 0, open_low=True))


@dataclass(frozen=True, repr=False)
class GELU(ActivationSettings):
    """z * Phi(z), Phi being the standard normal distribution function (Hendrycks & Gimpel 2016).

    Parameters
    ----------
    approximate : bool, default=False
        Use the paper's tanh form instead of the exact one.
    """

    approximate: bool = False

    def check(self, where: Parameter) -> Activation:
        """Check the settings and return the engine's form of them."""
        return Activation("gelu_tanh" if checks.boolean(where.child("approximate"), self.approximate) else "gelu")


@dataclass(frozen=True, repr=False)
class Swish(ActivationSettings):
    """z * sigmoid(beta * z) with beta learned (Ramachandran et al. 2017); "silu" is the fixed form with beta = 1.

    Parameters
    ----------
    beta : float, default=1.0
        Where learning starts.
    shared : bool, default=False
        One beta for the layer instead of one per unit.
    """

    beta: float = 1.0
    shared: bool = False

    def check(self, where: Parameter) -> Activation:
        """Check the settings and return the engine's form of them."""
        learn = "shared" if checks.boolean(where.child("shared"), self.shared) else "unit"
        return Activation("swish", checks.real(where.child("beta"), self.beta), learn)


_WITH_SETTINGS: dict[str, ActivationSettings] = {
    "leaky_relu": LeakyReLU(),
    "prelu": PReLU(),
    "elu": ELU(),
    "swish": Swish(),
}
_OTHER_NAMES = {"logistic": "sigmoid", "linear": "identity", "swish-1": "silu", "leakyrelu": "leaky_relu"}


def resolve(where: Parameter, value: Any) -> Activation:
    """Return the activation meant by a name or a settings object (or by what this function returned before)."""
    if isinstance(value, Activation):
        return value
    if isinstance(value, str):
        if value in _OTHER_NAMES:
            raise where.error(f"called {_OTHER_NAMES[value]!r} here", value)
        if value in _WITH_SETTINGS:
            return _WITH_SETTINGS[value].check(where)
        if value in NAMES:
            return Activation(value)
    if not isinstance(value, ActivationSettings):
        raise where.error(f"one of {list(NAMES)} or an activation such as LeakyReLU(0.1)", value)
    return value.check(where)
