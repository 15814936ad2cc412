"""Where training starts: the random weights of a layer. Biases start at 0.

All numbers come from the engine's Philox streams, so that they depend on the seed alone. f_in and f_out are the
layer's numbers of inputs and outputs; U(+-a) is uniform on [-a, a), N(0, s^2) normal with standard deviation s.

======================= ======================================= =========================================
name                    weights                                 source
======================= ======================================= =========================================
glorot_uniform          U(+-sqrt(6 / (f_in + f_out)))           Glorot & Bengio 2010, equation 16
glorot_normal           N(0, 2 / (f_in + f_out))                the same variance
glorot_uniform_sigmoid  U(+-4 sqrt(6 / (f_in + f_out)))         the logistic form; Theano tutorials
he_uniform              U(+-sqrt(6 / f_in))                     He et al. 2015 (the same variance)
he_normal               N(0, 2 / f_in)                          He et al. 2015, equation 10
lecun_uniform           U(+-sqrt(3 / f_in))                     LeCun et al. 1998 (the same variance)
lecun_normal            N(0, 1 / f_in)                          LeCun et al. 1998, equation 16
fan_in_uniform          U(+-1 / sqrt(f_in))                     Erhan et al. 2010; PyTorch's default
larochelle_uniform      U(+-1 / sqrt(max(f_in, f_out)))         Larochelle et al. 2009
Normal(scale)           N(0, scale^2)                           Hinton's practical guide (0.01)
Sparse(k, scale)        k inputs a unit from N(0, scale^2)      Martens 2010, section 5
======================= ======================================= =========================================
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks
from layerwise.checks import Parameter
from layerwise.settings import Settings

Matrix = NDArray[np.float64]
Rule = Callable[[int, int, int], Matrix]  # (seed, n_in, n_out) -> weights


class Initializer(Settings, ABC):
    """Base of the initialisers with settings."""

    @abstractmethod
    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""

    @abstractmethod
    def draw(self, seed: int, n_in: int, n_out: int) -> Matrix:
        """Return the weights, of shape (n_in, n_out)."""


@dataclass(frozen=True, repr=False)
class Normal(Initializer):
    """Normal weights of a given standard deviation.

    Parameters
    ----------
    scale : float > 0, default=0.01
    """

    scale: float = 0.01

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if the scale is not positive."""
        checks.real(where.child("scale"), self.scale, 0, open_low=True)

    def draw(self, seed: int, n_in: int, n_out: int) -> Matrix:
        """Return the weights, of shape (n_in, n_out)."""
        return _normal(seed, n_in, n_out, float(self.scale))


@dataclass(frozen=True, repr=False)
class Sparse(Initializer):
    """Each unit has `connections` non-zero incoming weights, normal of standard deviation `scale` (Martens 2010).

    A unit with fewer inputs than that has all of them.

    Parameters
    ----------
    connections : int >= 1, default=15
    scale : float > 0, default=1.0
    """

    connections: int = 15
    scale: float = 1.0

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not positive."""
        checks.integer(where.child("connections"), self.connections, 1)
        checks.real(where.child("scale"), self.scale, 0, open_low=True)

    def draw(self, seed: int, n_in: int, n_out: int) -> Matrix:
        """Return the weights, of shape (n_in, n_out)."""
        kept = min(int(self.connections), n_in)
        order = np.argsort(_core.random_uniform(seed, 1, n_in * n_out).reshape(n_in, n_out), axis=0, kind="stable")
        weights = np.zeros((n_in, n_out))
        values = _core.random_normal(seed, 0, kept * n_out).reshape(kept, n_out)
        np.put_along_axis(weights, order[:kept], float(self.scale) * values, axis=0)
        return weights


def _uniform(seed: int, n_in: int, n_out: int, bound: float) -> Matrix:
    return bound * (2.0 * _core.random_uniform(seed, 0, n_in * n_out).reshape(n_in, n_out) - 1.0)


def _normal(seed: int, n_in: int, n_out: int, scale: float) -> Matrix:
    return scale * _core.random_normal(seed, 0, n_in * n_out).reshape(n_in, n_out)


BY_NAME: dict[str, Rule] = {
    "glorot_uniform": lambda seed, i, o: _uniform(seed, i, o, sqrt(6 / (i + o))),
    "glorot_normal": lambda seed, i, o: _normal(seed, i, o, sqrt(2 / (i + o))),
    "glorot_uniform_sigmoid": lambda seed, i, o: _uniform(seed, i, o, 4 * sqrt(6 / (i + o))),
    "he_uniform": lambda seed, i, o: _uniform(seed, i, o, sqrt(6 / i)),
    "he_normal": lambda seed, i, o: _normal(seed, i, o, sqrt(2 / i)),
    "lecun_uniform": lambda seed, i, o: _uniform(seed, i, o, sqrt(3 / i)),
    "lecun_normal": lambda seed, i, o: _normal(seed, i, o, sqrt(1 / i)),
    "fan_in_uniform": lambda seed, i, o: _uniform(seed, i, o, 1 / sqrt(i)),
    "larochelle_uniform": lambda seed, i, o: _uniform(seed, i, o, 1 / sqrt(max(i, o))),
}

# What "auto" means: the variance that keeps signals and gradients alive through the activation.
_AUTO = {"sigmoid": "glorot_uniform_sigmoid"} | dict.fromkeys(
    ("relu", "leaky_relu", "prelu", "elu", "gelu", "gelu_tanh", "silu", "swish"), "he_uniform"
)


def resolve(where: Parameter, value: Any) -> str | Initializer:
    """Return a checked initialiser: "auto", another name, or a settings object."""
    if isinstance(value, Initializer):
        value.check(where)
        return value
    if not isinstance(value, str) or value not in ("auto", *BY_NAME):
        raise where.error(f"one of {['auto', *BY_NAME]} or an initializer such as Normal(0.01) or Sparse()", value)
    return value


def draw(initializer: str | Initializer, activation: str, seed: int, n_in: int, n_out: int) -> Matrix:
    """Draw the start of a layer's weights.

    Parameters
    ----------
    initializer : str or Initializer
        "auto" is "glorot_uniform_sigmoid" for sigmoid units, "he_uniform" for ReLU and its relatives (ELU, GELU, SiLU,
        Swish), and "glorot_uniform" for the others.
    activation : str
        The layer's activation, by its name.
    seed : int
        64-bit key of the random streams.
    n_in, n_out : int
        The layer's numbers of inputs and outputs.

    Returns
    -------
    ndarray of shape (n_in, n_out), float64
    """
    if isinstance(initializer, Initializer):
        return initializer.draw(seed, n_in, n_out)
    name = _AUTO.get(activation, "glorot_uniform") if initializer == "auto" else initializer
    return BY_NAME[name](seed, n_in, n_out)
