"""The settings of the autoencoders that pretrain a layer: what each kind adds to the one before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from layerwise import _core, checks, codes, corruption, optimizers, penalties, schedules, supervision, training
from layerwise.activations import Activation
from layerwise.batch_normalization import check_training
from layerwise.checks import Parameter
from layerwise.column_groups import ColumnGroups
from layerwise.corruption import Corruption, Emphasis, Gaussian, Masking
from layerwise.optimizers import Adam, Optimizer
from layerwise.schedules import CONSTANT, Schedule
from layerwise.settings import Settings

DECODERS = ("auto", "sigmoid", "identity", "tanh", "relu", "softplus")
LOSSES = ("auto", "squared_error", "cross_entropy")
ADAM, MASKING = Adam(), Masking()  # defaults; settings cannot change, so one object serves all


@dataclass(frozen=True, repr=False, kw_only=True)
class Autoencoder(Settings):
    """How to pretrain with basic autoencoders. Each setting is one value, or a list with one value a layer.

    Parameters
    ----------
    epochs : int, default=15
        0 leaves a layer at its random start: ``[15, 15, 0]`` pretrains the two lowest of three.
    batch_size : int or "auto", default="auto"
        As in `FineTuning`.
    optimizer, schedule : settings or their names, default=Adam() and ConstantRate()
        As in `FineTuning`.
    alpha : float >= 0, default=0.0
        Adds 1/2 * alpha * ||W||^2 to the mean loss (weights only).
    l1, clip_value, clip_norm, max_norm : float, default=0.0 and None
        As in `FineTuning`.
    tied : bool, default=True
        The decoder uses the transposed weights of the encoder.
    decoder : {"auto", "sigmoid", "identity", "tanh", "relu", "softplus"}, default="auto"
        Activation of the decoder. "auto": sigmoid for cross-entropy, identity for the squared error.
    loss : {"auto", "squared_error", "cross_entropy"} or ColumnGroups, default="auto"
        Mean over rows of the sum over inputs. `ColumnGroups` has a loss for each kind of column of a table and holds
        for the first layer. "auto": those in a `tabular_pipeline`; else cross-entropy where the targets lie in [0, 1]
        (the first layer if all training values do, the others if the layer below is sigmoid or softmax), else squared
        error; a fixed decoder decides by itself. Searches over settings should fix it, so that losses compare.
    validation_fraction : float in [0, 1), default=0.0
        Share of rows (at least one, unless 0) kept out of the training, on which the validation loss of each epoch is
        measured.
    simultaneous : bool, default=False
        Train all layers at the same time: in each epoch every layer for an epoch, from the lowest up, on the codes that
        the layers below give then, instead of one layer to its end before the next. Stages come when all are trained.
    supervised_optimizer : optimizer, its name, or None, default=None
        Not None: the first layer is pretrained partially supervised (Bengio et al. 2007). Its own steps and as many
        steps on the labelled rows, with this optimizer, take turns of 10; the latter train the layer and an output
        layer that is dropped at the end. Only where there are labels: in `PretrainedClassifier` and
        `PretrainedRegressor`. An optimizer with a learning rate, to which `schedule` does not apply.
    code_cache : {"auto", "memory", "float16", "bfloat16", "file", "recompute"}, default="auto"
        Where the codes lie that the layers above the first learn from: in memory; in memory as float16, two bytes a
        code, each rounded by a 2,048th of itself at most (below 6e-5 by 3e-8) and none above 65,504; as bfloat16, two
        bytes as well, rounded by a 256th of itself at most, with the range of float32, for unbounded activations such
        as ReLU; in a file in the system's folder for temporary files, which goes when training is over; or nowhere, so
        that they are computed from X whenever they are needed, which takes a forward pass of all lower layers an
        epoch. Only "float16" and "bfloat16" change the results. "auto": "memory" up to the limit, then "file" if there
        is room for twice as much, else "recompute". With `simultaneous`, `Swap` noise or line searches "float16",
        "bfloat16" and "recompute" are not allowed.
        Codes of held-out rows (`validation_fraction`) stay in memory.
    code_cache_limit : float >= 0, default=1024.0
        Megabytes of codes that "auto" keeps in memory.
    """

    epochs: int | Sequence[int] = 15
    batch_size: int | str | Sequence[int | str] = "auto"
    optimizer: Optimizer | str | Sequence[Optimizer | str] = ADAM
    schedule: Schedule | str | Sequence[Schedule | str] = CONSTANT
    alpha: float | Sequence[float] = 0.0
    l1: float | Sequence[float] = 0.0
    clip_value: float | Sequence[float | None] | None = None
    clip_norm: float | Sequence[float | None] | None = None
    max_norm: float | Sequence[float | None] | None = None
    tied: bool | Sequence[bool] = True
    decoder: str | Sequence[str] = "auto"
    loss: str | ColumnGroups | Sequence[str | ColumnGroups] = "auto"
    validation_fraction: float = 0.0
    simultaneous: bool = False
    supervised_optimizer: Optimizer | str | None = None
    code_cache: str = "auto"
    code_cache_limit: float = 1024.0

    def check(self, where: Parameter, n_layers: int) -> list["Autoencoder"]:
        """Check all settings; return one settings object a layer, each with single values."""
        checks.real(where.child("validation_fraction"), self.validation_fraction, 0, 1, open_high=True)
        checks.boolean(where.child("simultaneous"), self.simultaneous)
        columns = {
            name: checks.per_layer(where.child(name), getattr(self, name), n_layers, check)
            for name, check in self._checks().items()
        }
        if isinstance(self.loss, ColumnGroups):
            columns["loss"][1:] = ["auto"] * (n_layers - 1)
        elif any(isinstance(loss, ColumnGroups) for loss in columns["loss"][1:]):
            raise where.child("loss").error("ColumnGroups for the first layer alone", self.loss)
        supervised = supervision.check_optimizer(where.child("supervised_optimizer"), self.supervised_optimizer)
        columns["supervised_optimizer"] = [supervised] * n_layers
        layers = [self.replace(**{name: values[i] for name, values in columns.items()}) for i in range(n_layers)]
        for schedule, epochs in zip(columns["schedule"], columns["epochs"], strict=True):
            schedule.check_length(where.child("schedule"), epochs)
        for layer in layers:
            layer._check_together(where)
        codes.check(where, self, layers)
        return layers

    def check_inputs(self, where: Parameter, n_inputs: int) -> None:
        """Raise InvalidParameterError if a layer's settings do not fit its number of inputs."""
        if isinstance(self.loss, ColumnGroups) and self.loss.n_columns != n_inputs:
            raise where.child("loss").error(f"groups of {n_inputs} columns in all, as many as X has", self.loss)

    def check_activation(self, where: Parameter, kind: Activation) -> None:
        """Raise InvalidParameterError if a layer's settings do not fit its activation, or its batch normalisation."""
        check_training(where, self, [kind])

    def penalties(self) -> dict[str, Any]:
        """Return what `_core.Penalties` takes, for a layer and its decoder."""
        return penalties.of_weights(self)

    def noise(self, low: float, high: float) -> _core.Noise:  # noqa: ARG002 (for the kinds that corrupt)
        """Return the engine's noise for a layer's inputs, which can take values from `low` to `high`."""
        return _core.Noise()

    def _check_together(self, where: Parameter) -> None:
        penalties.check_together(where, self)
        if isinstance(self.loss, ColumnGroups) and self.decoder != "auto":
            raise where.child("decoder").error('"auto" with ColumnGroups as loss', self.decoder)
        optimizers.check_together(where, self)
        if self.loss == "cross_entropy" and self.decoder not in ("auto", "sigmoid"):
            raise where.child("decoder").error('"sigmoid" or "auto" with loss="cross_entropy"', self.decoder)

    def _checks(self) -> dict[str, Callable[[Parameter, Any], Any]]:
        return {
            "epochs": lambda where, value: checks.integer(where, value, 0),
            "batch_size": training.check_batch_size,
            "optimizer": optimizers.resolve,
            "schedule": schedules.resolve,
            "alpha": lambda where, value: checks.real(where, value, 0),
            **penalties.CHECKS,
            "tied": checks.boolean,
            "decoder": lambda where, value: checks.choice(where, value, DECODERS),
            "loss": _check_loss,
        }


def _check_loss(where: Parameter, value: Any) -> str | ColumnGroups:
    if isinstance(value, ColumnGroups):
        return value.check(where)
    if not isinstance(value, str) or value not in LOSSES:
        raise where.error(f"one of {list(LOSSES)} or ColumnGroups", value)
    return value


@dataclass(frozen=True, repr=False, kw_only=True)
class DenoisingAutoencoder(Autoencoder):
    """How to pretrain with denoising autoencoders (Vincent et al. 2008, 2010).

    The encoder sees a corrupted input, drawn afresh at each presentation; the target is the clean one.

    Parameters
    ----------
    corruption : corruption, its name, or None, default=Masking(0.25)
        `Masking`, `Gaussian`, `SaltAndPepper` or `Swap`; one, or a list with one a layer.
    emphasis : Emphasis, "double", "full" or None, default=None
        Weights of the corrupted and the untouched inputs in the training loss: one, or a list with one a layer. Not
        with Gaussian noise, which falls on every input. Validation losses and skill, whose inputs are clean, have none.
    epochs, batch_size, optimizer, schedule, alpha, l1, clip_value, clip_norm, max_norm, tied, decoder, loss,
    validation_fraction, simultaneous, supervised_optimizer, code_cache, code_cache_limit
        As in `Autoencoder`.
    """

    corruption: Corruption | str | Sequence[Corruption | str | None] | None = MASKING
    emphasis: Emphasis | str | Sequence[Emphasis | str | None] | None = None

    def check_inputs(self, where: Parameter, n_inputs: int) -> None:
        """Raise InvalidParameterError if a layer's settings do not fit its number of inputs."""
        super().check_inputs(where, n_inputs)
        if isinstance(self.corruption, Corruption):
            self.corruption.check_inputs(where.child("corruption"), n_inputs)

    def noise(self, low: float, high: float) -> _core.Noise:
        """Return the engine's noise for a layer's inputs, which can take values from `low` to `high`."""
        if not isinstance(self.corruption, Corruption):
            return _core.Noise()
        emphasis = self.emphasis if isinstance(self.emphasis, Emphasis) else None
        return self.corruption.noise(low, high, emphasis, self.loss if isinstance(self.loss, ColumnGroups) else None)

    def _checks(self) -> dict[str, Callable[[Parameter, Any], Any]]:
        return super()._checks() | {"corruption": corruption.resolve, "emphasis": corruption.resolve_emphasis}

    def _check_together(self, where: Parameter) -> None:
        super()._check_together(where)
        if self.emphasis is not None and (self.corruption is None or isinstance(self.corruption, Gaussian)):
            raise where.child("emphasis").error("None where the corruption is None or Gaussian", self.emphasis)


@dataclass(frozen=True, repr=False, kw_only=True)
class SparseAutoencoder(DenoisingAutoencoder):
    """How to pretrain with sparse autoencoders, whose codes have few active units.

    Two penalties, of which either may be 0: of the Kullback-Leibler divergence from `sparsity_target` to each unit's
    mean code over the batch (Ng 2011, after Lee et al. 2008), and of the sum of the code's absolute values (Glorot et
    al. 2011). A batch should be large enough that a unit's mean means something: 100 rows or more.

    Parameters
    ----------
    sparsity : float >= 0, default=1.0
        Adds sparsity * sum_j KL(sparsity_target || mean of code j) to the mean loss. For sigmoid, tanh and softmax
        layers; 0 for others, whose codes have no bounds. A tanh unit, inactive at -1, counts as (1 + code) / 2. Ng's
        notes write half the squared error, so that their beta of 3 is 6 here.
    sparsity_target : float in (0, 1), default=0.05
    activation_l1 : float >= 0, default=0.0
        Adds activation_l1 * sum_j |code j| to each row's loss, whatever the activation.
    corruption : corruption, its name, or None, default=None
        As in `DenoisingAutoencoder`, which has one by default.
    emphasis, epochs, batch_size, optimizer, schedule, alpha, l1, clip_value, clip_norm, max_norm, tied, decoder, loss,
    validation_fraction, simultaneous, supervised_optimizer, code_cache, code_cache_limit
        As in `DenoisingAutoencoder`.
    """

    sparsity: float | Sequence[float] = 1.0
    sparsity_target: float | Sequence[float] = 0.05
    activation_l1: float | Sequence[float] = 0.0
    corruption: Corruption | str | Sequence[Corruption | str | None] | None = None

    def check_activation(self, where: Parameter, kind: Activation) -> None:
        """Raise InvalidParameterError if a layer's settings do not fit its activation, or its batch normalisation."""
        super().check_activation(where, kind)
        if self.sparsity != 0 and kind.name not in ("sigmoid", "tanh", "softmax"):
            raise where.child("sparsity").error(
                f"0 for {kind.name} units, whose codes have no bounds: use activation_l1", self.sparsity
            )

    def penalties(self) -> dict[str, Any]:
        """Return what `_core.Penalties` takes, for a layer and its decoder."""
        return super().penalties() | {
            "sparsity": [self.sparsity, 0.0] if self.sparsity else [],
            "sparsity_target": self.sparsity_target,
            "activation_l1": [self.activation_l1, 0.0] if self.activation_l1 else [],
        }

    def _checks(self) -> dict[str, Callable[[Parameter, Any], Any]]:
        return super()._checks() | {
            "sparsity": lambda where, value: checks.real(where, value, 0),
            "sparsity_target": lambda where, value: checks.real(where, value, 0, 1, open_low=True, open_high=True),
            "activation_l1": lambda where, value: checks.real(where, value, 0),
        }


@dataclass(frozen=True, repr=False, kw_only=True)
class ContractiveAutoencoder(DenoisingAutoencoder):
    """How to pretrain with contractive autoencoders (Rifai et al. 2011), whose codes change little with their inputs.

    Parameters
    ----------
    contraction : float >= 0, default=0.1
        Adds contraction * ||J||^2 to each row's loss, J being the derivatives of the codes by the (corrupted) inputs
        and ||J||^2 the sum of their squares. Any activation but softmax; a piecewise linear one such as ReLU is
        contracted through its weights alone. Not with batch normalisation, where codes depend on other rows too.
    corruption : corruption, its name, or None, default=None
        As in `DenoisingAutoencoder`, which has one by default.
    emphasis, epochs, batch_size, optimizer, schedule, alpha, l1, clip_value, clip_norm, max_norm, tied, decoder, loss,
    validation_fraction, simultaneous, supervised_optimizer, code_cache, code_cache_limit
        As in `DenoisingAutoencoder`.
    """

    contraction: float | Sequence[float] = 0.1
    corruption: Corruption | str | Sequence[Corruption | str | None] | None = None

    def check_activation(self, where: Parameter, kind: Activation) -> None:
        """Raise InvalidParameterError if a layer's settings do not fit its activation, or its batch normalisation."""
        super().check_activation(where, kind)
        if self.contraction != 0 and kind.name == "softmax":
            raise where.child("contraction").error("0 for softmax units", self.contraction)
        if self.contraction != 0 and kind.batch_norm:  # a code then depends on the other rows' inputs too
            raise where.child("contraction").error("0 for layers with batch_norm", self.contraction)

    def penalties(self) -> dict[str, Any]:
        """Return what `_core.Penalties` takes, for a layer and its decoder."""
        return super().penalties() | {"contraction": [self.contraction, 0.0] if self.contraction else []}

    def _checks(self) -> dict[str, Callable[[Parameter, Any], Any]]:
        return super()._checks() | {"contraction": lambda where, value: checks.real(where, value, 0)}
