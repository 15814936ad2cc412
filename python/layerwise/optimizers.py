"""The optimisers' settings. The arithmetic is the engine's (and, in plain NumPy, `layerwise.reference`'s).

`ConjugateGradient` and `LBFGS` alone are none of the engine's: `layerwise.line_search` runs them on its gradients.

Here w is a parameter, g its gradient, t the step counted from 1. Each is used as published; docs/numerics.md says
where lecture notes and other libraries differ. Whatever the network's dtype, numbers must fit float32: what lies in
[0, 1) is at most 0.99999997, epsilon lies in [1.2e-38, 3.4e38], rates and decays are at most 3.4e38.
"""

from dataclasses import dataclass
from typing import Any

from layerwise import _core, checks
from layerwise.checks import Parameter
from layerwise.momentum_schedules import MomentumSchedule
from layerwise.schedules import CONSTANT
from layerwise.settings import Settings

# What float32 holds: the engine works in it or in float64, and settings are checked before it is known in which.
_LEAST, _GREATEST = 1.2e-38, 3.4e38


class Optimizer(Settings):
    """Base of the optimisers' settings."""

    learning_rate: float | None  # None: line searches find the steps
    kind = ""
    auto_rows: int | None = None  # of a batch, where "auto" means another number than usual

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        checks.real(where.child("learning_rate"), self.learning_rate, 0, _GREATEST, open_low=True)
        self._constants(where)

    def engine(self) -> _core.Optimizer:
        """Return the engine's form; the learning rate is given to the engine step by step."""
        return _core.Optimizer(self.kind, **self._constants(Parameter(type(self).__name__)))

    @property
    def momentum_schedule(self) -> MomentumSchedule | None:
        """How the momentum changes from step to step; None if it does not."""
        return None

    def _constants(self, where: Parameter) -> dict[str, Any]:  # noqa: ARG002 (for those with constants)
        return {}


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent: w -= learning_rate * g.

    Parameters
    ----------
    learning_rate : float, default=0.1
    """

    learning_rate: float = 0.1
    kind = "sgd"


class _WithMomentum(Optimizer):
    """The momentum of `Momentum` and `Nesterov`: a number or a schedule."""

    momentum: float | MomentumSchedule

    @property
    def momentum_schedule(self) -> MomentumSchedule | None:
        """How the momentum changes from step to step; None if it does not."""
        return self.momentum if isinstance(self.momentum, MomentumSchedule) else None

    def _constants(self, where: Parameter) -> dict[str, Any]:
        where = where.child("momentum")
        if isinstance(self.momentum, MomentumSchedule):
            self.momentum.check(where)
            return {}  # the engine is given each step's momentum with its rate
        return {"momentum": checks.share(where, self.momentum, ", a MomentumRamp or a MomentumSwitch")}


@dataclass(frozen=True, repr=False)
class Momentum(_WithMomentum):
    """Classical momentum (Polyak 1964): u = momentum * u + learning_rate * g; w -= u.

    The rate is inside the velocity; PyTorch puts it outside, which differs when the rate changes.

    Parameters
    ----------
    learning_rate : float, default=0.01
    momentum : float in [0, 1), MomentumRamp or MomentumSwitch, default=0.9
    """

    learning_rate: float = 0.01
    momentum: float | MomentumSchedule = 0.9
    kind = "momentum"


@dataclass(frozen=True, repr=False)
class Nesterov(_WithMomentum):
    """Nesterov's accelerated gradient in the form of Sutskever et al. 2013.

    u = momentum * u + learning_rate * g; w -= momentum * u + learning_rate * g. Both momenta are the step's own, also
    where it changes from step to step.

    Parameters
    ----------
    learning_rate : float, default=0.01
    momentum : float in [0, 1), MomentumRamp or MomentumSwitch, default=0.9
    """

    learning_rate: float = 0.01
    momentum: float | MomentumSchedule = 0.9
    kind = "nesterov"


@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): v += g^2; w -= learning_rate * g / (sqrt(v) + epsilon).

    Parameters
    ----------
    learning_rate : float, default=0.01
    epsilon : float > 0, default=1e-8
    epsilon_inside_sqrt : bool, default=False
        Divide by sqrt(v + epsilon) instead.
    """

    learning_rate: float = 0.01
    epsilon: float = 1e-8
    epsilon_inside_sqrt: bool = False
    kind = "adagrad"

    def _constants(self, where: Parameter) -> dict[str, Any]:
        return _epsilon(where, self.epsilon, self.epsilon_inside_sqrt)


@dataclass(frozen=True, repr=False)
class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012).

    v = decay * v + (1 - decay) * g^2; w -= learning_rate * g / (sqrt(v) + epsilon).

    Parameters
    ----------
    learning_rate : float, default=0.001
    decay : float in [0, 1), default=0.9
    epsilon : float > 0, default=1e-8
    epsilon_inside_sqrt : bool, default=False
        Divide by sqrt(v + epsilon) instead.
    """

    learning_rate: float = 1e-3
    decay: float = 0.9
    epsilon: float = 1e-8
    epsilon_inside_sqrt: bool = False
    kind = "rmsprop"

    def _constants(self, where: Parameter) -> dict[str, Any]:
        return {"decay": checks.share(where.child("decay"), self.decay)} | _epsilon(
            where, self.epsilon, self.epsilon_inside_sqrt
        )


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015).

    m = beta_1 * m + (1 - beta_1) * g;  v = beta_2 * v + (1 - beta_2) * g^2;
    w -= learning_rate * (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon).

    Parameters
    ----------
    learning_rate : float, default=0.001
    beta_1 : float in [0, 1), default=0.9
    beta_2 : float in [0, 1), default=0.999
    epsilon : float > 0, default=1e-8
    bias_correction : bool, default=True
        False leaves out the divisions by 1 - beta^t, as some lecture notes do.
    epsilon_inside_sqrt : bool, default=False
        Divide by sqrt(v + epsilon) instead.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    bias_correction: bool = True
    epsilon_inside_sqrt: bool = False
    kind = "adam"

    def _constants(self, where: Parameter) -> dict[str, Any]:
        return {
            "momentum": checks.share(where.child("beta_1"), self.beta_1),
            "decay": checks.share(where.child("beta_2"), self.beta_2),
            "bias_correction": checks.boolean(where.child("bias_correction"), self.bias_correction),
        } | _epsilon(where, self.epsilon, self.epsilon_inside_sqrt)


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): also w -= learning_rate * weight_decay * w.

    Weights only: biases and activation parameters do not decay.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon, bias_correction, epsilon_inside_sqrt
        As in `Adam`.
    weight_decay : float >= 0, default=0.01
    """

    weight_decay: float = 0.01
    kind = "adamw"

    def _constants(self, where: Parameter) -> dict[str, Any]:
        return super()._constants(where) | {
            "weight_decay": checks.real(where.child("weight_decay"), self.weight_decay, 0, _GREATEST)
        }


class LineSearches(Optimizer):
    """Base of the optimisers that lower each batch's objective by line searches; they have no learning rate."""

    learning_rate = None
    searches: int

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        checks.integer(where.child("searches"), self.searches, 1)

    def engine(self) -> _core.Optimizer:
        """Return an optimiser for the engine's recipe, of which these need the objective alone."""
        return _core.Optimizer("sgd")


@dataclass(frozen=True, repr=False)
class ConjugateGradient(LineSearches):
    """Nonlinear conjugate gradients (Polak & Ribiere 1969) with a few line searches a batch.

    Hinton & Salakhutdinov 2006 fine-tuned so, with 3 line searches for each batch of 1,000 rows; that is what
    ``batch_size="auto"`` means here. A batch's corruption and dropout stay the same while it is searched, because the
    values and gradients that a search compares must be of one function; the next batch begins anew with steepest
    descent. An epoch costs about as many passes over the rows as its searches need evaluations: 2 to 3 each, at most
    20. Needs SciPy. Cannot stand together with a schedule, clipped gradients, max_norm or rates by layer.

    Parameters
    ----------
    searches : int, default=3
        Line searches a batch, at most: they end where rounding allows no lower objective.
    """

    searches: int = 3
    kind = "conjugate_gradient"
    auto_rows = 1000


@dataclass(frozen=True, repr=False)
class LBFGS(LineSearches):
    """L-BFGS (Liu & Nocedal 1989) on batches, each of which begins anew; ``batch_size="auto"`` is all rows.

    What is said of `ConjugateGradient` about noise, costs and what cannot stand together holds here too. Remembers
    2 * memory vectors as long as the parameters.

    Parameters
    ----------
    searches : int, default=20
        Line searches a batch, which is an epoch where the batch is all rows; at most: they end where rounding allows
        no lower objective.
    memory : int, default=10
        How many of the last steps, with the changes of the gradient in them, make the approximation of the Hessian.
    """

    searches: int = 20
    memory: int = 10
    kind = "lbfgs"
    auto_rows = 2**31 - 1

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        super().check(where)
        checks.integer(where.child("memory"), self.memory, 1)


def _epsilon(where: Parameter, epsilon: Any, inside: Any) -> dict[str, Any]:
    return {
        "epsilon": checks.real(where.child("epsilon"), epsilon, _LEAST, _GREATEST),
        "epsilon_inside_sqrt": checks.boolean(where.child("epsilon_inside_sqrt"), inside),
    }


BY_NAME: dict[str, type[Optimizer]] = {
    kind.kind: kind for kind in (SGD, Momentum, Nesterov, Adagrad, RMSProp, Adam, AdamW)
}
SEARCHING: dict[str, type[Optimizer]] = {kind.kind: kind for kind in (ConjugateGradient, LBFGS)}


def resolve(where: Parameter, value: Any) -> Optimizer:
    """Return the optimiser meant by a settings object or by a name such as "adam"; its settings are checked."""
    known = BY_NAME | SEARCHING
    if isinstance(value, str) and value in known:
        value = known[value]()
    if not isinstance(value, Optimizer):
        raise where.error(f"an optimizer such as Adam() or one of {list(known)}", value)
    value.check(where)
    return value


# What changes an optimiser's steps, and the value that changes nothing.
_OF_STEPS: dict[str, Any] = {
    "schedule": CONSTANT,
    "clip_value": None,
    "clip_norm": None,
    "max_norm": None,
    "rate_scale": 1.0,
    "layer_decay": 1.0,
    "output_rate_scale": 1.0,
}


def check_together(where: Parameter, settings: Any) -> None:
    """Raise InvalidParameterError if an optimiser that finds its steps by line searches is told how long they are.

    The settings are those of one stage, each checked by itself; a tuple has one value a layer.
    """
    if not isinstance(settings.optimizer, LineSearches):
        return
    for name, none in _OF_STEPS.items():
        value = getattr(settings, name, none)
        if any(one != none for one in (value if isinstance(value, tuple) else (value,))):
            allowed = f"{none!r} with {type(settings.optimizer).__name__}, whose line searches find the steps"
            raise where.child(name).error(allowed, value)
