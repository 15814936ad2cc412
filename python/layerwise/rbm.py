"""Restricted Boltzmann machines: how to pretrain with them. `layerwise.boltzmann` has what a trained one is good for.

A machine is an encoder and the decoder tied to it: its hidden units become the hidden layer. The formulas stand in
`layerwise.reference_rbm` and docs/numerics.md.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks, codes, initializers, optimizers, schedules, supervision, training
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.momentum_schedules import MomentumSwitch
from layerwise.network import DenseLayer, Network
from layerwise.optimizers import LineSearches, Momentum, Optimizer
from layerwise.schedules import CONSTANT, Schedule
from layerwise.settings import Settings

Array = NDArray[Any]

BINARY, GAUSSIAN = "sigmoid", "identity"  # the activation of a layer of each kind of unit
VISIBLE = ("auto", "binary", "gaussian")
START = initializers.Normal(0.01)


@dataclass(frozen=True, repr=False, kw_only=True)
class RestrictedBoltzmannMachine(Settings):
    """How to pretrain with restricted Boltzmann machines (Hinton, Osindero & Teh 2006; Hinton & Salakhutdinov 2006).

    Each setting is one value, or a list with one value a layer. The hidden units are what the layer's activation says:
    "sigmoid" makes them binary, "identity" Gaussian with variance 1 (the linear code layer of 2006); no other
    activation is allowed. The initializer "auto" draws the weights from N(0, 0.01^2). The hidden biases start at 0
    (with a sparsity target at the logarithm of its odds), the visible ones at the logarithm of each input's odds, or
    at its mean where the visible units are Gaussian (Hinton 2010, section 8).

    The loss of an epoch is that of the reconstructions on the way: cross-entropy where the visible units are binary,
    squared error where they are Gaussian. Contrastive divergence descends another thing, so the loss may rise for a
    while; `monitor` tells more.

    Parameters
    ----------
    epochs : int, default=15
        0 leaves a layer at its random start.
    batch_size : int or "auto", default="auto"
        "auto": rows / 32, but at least 10 and at most 100.
    optimizer : optimizer or its name, default="auto"
        "auto": `Momentum(rate, MomentumSwitch())`, whose momentum is 0.5 in the first 5 epochs and 0.9 afterwards. The
        rate is 0.1, or 0.01 if persistent (the chains must keep up with the weights), or 0.001 where the units of one
        side are Gaussian.
    schedule : schedule or its name, default=ConstantRate()
        How the optimizer's learning rate changes from step to step, as in `FineTuning`.
    k : int >= 1, default=1
        Rounds of Gibbs sampling in the negative phase: CD-k.
    persistent : bool, default=False
        The chains of the negative phase (as many as a batch has rows) go on from step to step instead of starting from
        the data (Tieleman 2008). The epoch's loss is then that of rebuilding from the hidden probabilities.
    sample_visible : bool or "auto", default="auto"
        Whether the visible units of a chain take random states or, as in the code of 2006, their means. "auto": states
        where the chain goes on, that is if k > 1 or persistent.
    visible : {"auto", "binary", "gaussian"}, default="auto"
        "binary": inputs in [0, 1], which count as probabilities. "gaussian": real inputs, best of unit variance; the
        noise has variance 1. "auto": binary where the inputs lie in [0, 1] (the first layer if all training values do,
        the others if the layer below is sigmoid), else Gaussian.
    alpha : float >= 0, default=0.0002
        Adds 1/2 * alpha * ||W||^2 to what is descended (the weight cost; weights only).
    sparsity_target : float in (0, 1) or None, default=None
        Pulls each hidden unit's mean probability towards this value (Hinton 2010, section 11). Binary units only.
    sparsity_cost : float >= 0, default=0.1
        How strongly: the pull is sparsity_cost * (target - mean) on the unit's input.
    sparsity_decay : float in [0, 1), default=0.9
        Of the running mean, from step to step.
    validation_fraction : float in [0, 1), default=0.0
        Share of rows (at least one, unless 0) kept out of the training, on which the validation loss of each epoch is
        measured: that of rebuilding from the hidden probabilities.
    monitor : bool, default=False
        After each epoch, measure the mean free energy of at most 1,000 training rows and, with a `validation_fraction`,
        of as many held-out ones (a growing gap means overfitting), and the mean pseudo-likelihood of the former if the
        visible units are binary (see `layerwise.boltzmann`). They stand in the epochs' records; row weights do not
        count in them.
    supervised_optimizer, code_cache, code_cache_limit
        As in `Autoencoder`.

    Examples
    --------
    >>> from layerwise import PretrainedClassifier, RestrictedBoltzmannMachine
    >>> model = PretrainedClassifier((500, 500), pretraining=RestrictedBoltzmannMachine(epochs=30)).fit(X, y)
    """

    epochs: int | Sequence[int] = 15
    batch_size: int | str | Sequence[int | str] = "auto"
    optimizer: Optimizer | str | Sequence[Optimizer | str] = "auto"
    schedule: Schedule | str | Sequence[Schedule | str] = CONSTANT
    k: int | Sequence[int] = 1
    persistent: bool | Sequence[bool] = False
    sample_visible: bool | str | Sequence[bool | str] = "auto"
    visible: str | Sequence[str] = "auto"
    alpha: float | Sequence[float] = 0.0002
    sparsity_target: float | Sequence[float | None] | None = None
    sparsity_cost: float | Sequence[float] = 0.1
    sparsity_decay: float | Sequence[float] = 0.9
    validation_fraction: float = 0.0
    monitor: bool | Sequence[bool] = False
    supervised_optimizer: Optimizer | str | None = None
    code_cache: str = "auto"
    code_cache_limit: float = 1024.0

    tied: ClassVar[bool] = True  # both directions share the weights

    def check(self, where: Parameter, n_layers: int) -> list["RestrictedBoltzmannMachine"]:
        """Check all settings; return one settings object a layer, each with single values."""
        checks.real(where.child("validation_fraction"), self.validation_fraction, 0, 1, open_high=True)
        columns = {
            name: checks.per_layer(where.child(name), getattr(self, name), n_layers, check)
            for name, check in _CHECKS.items()
        }
        supervised = supervision.check_optimizer(where.child("supervised_optimizer"), self.supervised_optimizer)
        columns["supervised_optimizer"] = [supervised] * n_layers
        layers = [self.replace(**{name: values[i] for name, values in columns.items()}) for i in range(n_layers)]
        for schedule, epochs in zip(columns["schedule"], columns["epochs"], strict=True):
            schedule.check_length(where.child("schedule"), epochs)
        codes.check(where, self, layers)
        return layers


def _is(value: Any, word: str) -> bool:
    return isinstance(value, str) and value == word


# --- checks of one layer's settings -----------------------------------------------------------------------------------


def _optimizer(where: Parameter, value: Any) -> Any:
    if _is(value, "auto"):
        return value
    named = isinstance(value, str) and value in optimizers.BY_NAME
    if isinstance(value, LineSearches) or not (named or isinstance(value, Optimizer)):  # there is no value to compare
        raise where.error(f'"auto", an optimizer such as Momentum() or one of {list(optimizers.BY_NAME)}', value)
    return optimizers.resolve(where, value)


def _sample_visible(where: Parameter, value: Any) -> Any:
    if not _is(value, "auto") and not isinstance(value, (bool, np.bool_)):
        raise where.error('"auto", True or False', value)
    return value if isinstance(value, str) else bool(value)


def _sparsity_target(where: Parameter, value: Any) -> Any:
    if value is None:
        return value
    if not checks.is_number(value, Real) or not 0 < value < 1:
        raise where.error("None or a number in (0, 1)", value)
    return float(value)


_CHECKS: dict[str, Callable[[Parameter, Any], Any]] = {
    "epochs": lambda where, value: checks.integer(where, value, 0),
    "batch_size": training.check_batch_size,
    "optimizer": _optimizer,
    "schedule": schedules.resolve,
    "k": lambda where, value: checks.integer(where, value, 1, 10**6),
    "persistent": checks.boolean,
    "sample_visible": _sample_visible,
    "visible": lambda where, value: checks.choice(where, value, VISIBLE),
    "alpha": lambda where, value: checks.real(where, value, 0),
    "sparsity_target": _sparsity_target,
    "sparsity_cost": lambda where, value: checks.real(where, value, 0),
    "monitor": checks.boolean,
    "sparsity_decay": lambda where, value: checks.real(where, value, 0, 1, open_high=True),
}


def fit_to_layers(
    where: Parameter, X: Array, layers: Sequence[Any], kinds: Sequence[Activation]
) -> list[RestrictedBoltzmannMachine]:
    """Replace each "auto" by what it means for these inputs and activations; refuse what is no distribution.

    Parameters
    ----------
    where : Parameter
        Whose `pretraining` and `activation` these are.
    X : ndarray of shape (n_rows, n_inputs)
    layers : sequence of RestrictedBoltzmannMachine
        Checked, one a layer.
    kinds : sequence of Activation

    Raises
    ------
    InvalidParameterError
        If an activation is neither sigmoid nor identity, if inputs outside [0, 1] shall be binary, if both sides would
        be Gaussian, or if Gaussian hidden units have a sparsity target.
    """
    own = where.child("pretraining")
    unit = bool(X.min() >= 0 and X.max() <= 1)
    fitted: list[RestrictedBoltzmannMachine] = []
    for layer, kind in zip(layers, kinds, strict=True):
        if kind.name not in (BINARY, GAUSSIAN):
            allowed = '"sigmoid" (binary units) or "identity" (Gaussian units) with a RestrictedBoltzmannMachine'
            raise where.child("activation").error(allowed, kind.name)
        if kind.batch_norm:
            raise where.child("batch_norm").error("False with a RestrictedBoltzmannMachine", True)
        visible = ("binary" if unit else "gaussian") if layer.visible == "auto" else layer.visible
        if visible == "binary" and not unit:
            raise own.child("visible").error('"gaussian" or "auto" where inputs lie outside [0, 1]', visible)
        if visible == "gaussian" and kind.name == GAUSSIAN:
            found = "Gaussian units on both sides" if layer.visible == "auto" else layer.visible
            raise own.child("visible").error(
                '"binary", with inputs in [0, 1], where the activation is "identity"', found
            )
        if layer.sparsity_target is not None and kind.name == GAUSSIAN:
            raise own.child("sparsity_target").error('None where the activation is "identity"', layer.sparsity_target)
        if visible == "gaussian" and not fitted:
            _warn_of_variance(X)
        choices: dict[str, Any] = {"visible": visible}
        if layer.optimizer == "auto":
            gaussian = visible == "gaussian" or kind.name == GAUSSIAN
            choices["optimizer"] = Momentum(0.001 if gaussian else 0.01 if layer.persistent else 0.1, MomentumSwitch())
        if layer.sample_visible == "auto":
            choices["sample_visible"] = layer.k > 1 or layer.persistent
        fitted.append(layer.replace(**choices))
        unit = kind.name == BINARY
    return fitted


def _warn_of_variance(X: Array) -> None:
    variance = float(np.mean(np.var(X, axis=0, dtype=np.float64)))
    if not 0.25 <= variance <= 4:
        warnings.warn(
            f"layer 1: Gaussian visible units have noise of variance 1, but the inputs have a mean variance of "
            f"{variance:.3g}. Scale them to unit variance (scikit-learn's StandardScaler).",
            checks.ScaleWarning,
            stacklevel=4,
        )


# --- training ---------------------------------------------------------------------------------------------------------


def decoder_of(settings: RestrictedBoltzmannMachine) -> tuple[str, str]:
    """Return the decoder's activation and the loss that fit the visible units."""
    return (GAUSSIAN, "squared_error") if settings.visible == "gaussian" else (BINARY, "cross_entropy")


def start(
    X: Array,
    n_hidden: int,
    activation: Activation,
    settings: RestrictedBoltzmannMachine,
    initializer: Any,
    key: int,
    row_weights: Array | None = None,
) -> Network:
    """Return the machine that training starts from.

    The odds of an input with (weighted) mean p over n rows are those of (n p + 1/2) / (n + 1), which is never 0 or 1.
    """
    rule = START if _is(initializer, "auto") else initializer
    weights = initializers.draw(rule, activation.name, checks.subkey(key, 0), X.shape[1], n_hidden).astype(X.dtype)
    visible = codes.column_means(X, row_weights)
    decoder = Activation(decoder_of(settings)[0])
    if settings.visible == "binary":
        p = (len(X) * visible + 0.5) / (len(X) + 1)
        visible = np.log(p / (1 - p))
    target: Any = settings.sparsity_target
    hidden = np.full(n_hidden, 0.0 if target is None else np.log(target / (1 - target)))
    encoder = DenseLayer(weights, hidden.astype(X.dtype), activation)
    return Network([encoder, DenseLayer(weights.T, visible.astype(X.dtype), decoder, tied_to=0)])


class Plan:
    """The engine's RbmPlan as `training.run` uses a plan.

    Parameters
    ----------
    engine : Network of the engine
        Changed in place.
    recipe : Recipe of the engine
    settings : RestrictedBoltzmannMachine
        As `fit_to_layers` returns it.
    """

    def __init__(self, engine: Any, recipe: _core.Recipe, settings: Any) -> None:
        kind = _core.RbmPlan_float32 if isinstance(engine, _core.Network_float32) else _core.RbmPlan_float64
        sparse = {} if settings.sparsity_target is None else {
            "sparsity_target": settings.sparsity_target,
            "sparsity_cost": settings.sparsity_cost,
            "sparsity_decay": settings.sparsity_decay,
        }  # fmt: skip
        self._plan: Any = kind(engine, recipe, settings.k, settings.persistent, settings.sample_visible, **sparse)
        self._reader = training.plan_for(engine, recipe)

    def run(
        self,
        X: Array,
        Y: None,  # noqa: ARG002 (the data are the target)
        first_step: int,
        steps: int,
        rates: Array,
        momenta: Array | None = None,
        row_weights: Array | None = None,
        so_far: tuple[float, float] = (0.0, 0.0),
        ids: Array | None = None,
    ) -> _core.RunStats:
        """Do the steps `first_step` to `first_step` + `steps` - 1; with `ids`, X has their rows alone."""
        stats: _core.RunStats = self._plan.run(X, first_step, steps, rates, momenta, row_weights, so_far, ids)
        return stats

    @property
    def standing(self) -> Any:
        """Where the last run ended, as the engine's plan says it."""
        return self._plan.standing

    def memory_arrays(self) -> dict[str, Array]:
        """Return moments, persistent chains and running means, those of them that there are."""
        first, second = self._plan.moments()
        return {"first": first, "second": second, "chains": self._plan.memory()}

    def set_memory_arrays(self, arrays: dict[str, Array]) -> None:
        """Go on with what `memory_arrays` returned; what is left out is 0."""
        first, second, chains = ({**self.memory_arrays(), **arrays}[name] for name in ("first", "second", "chains"))
        self._plan.set_moments(first, second)
        self._plan.set_memory(chains)

    def evaluate(self, X: Array, Y: None = None, row_weights: Array | None = None) -> float:
        """Return the loss of rebuilding X from the hidden units' means."""
        return float(self._reader.evaluate(X, Y, row_weights))
