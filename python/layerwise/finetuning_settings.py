"""The settings of fine-tuning, and their checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerwise import checks, optimizers, penalties, restarts, schedules, training
from layerwise.checks import Parameter
from layerwise.optimizers import Adam, LineSearches, Optimizer
from layerwise.schedules import CONSTANT, Schedule
from layerwise.settings import Settings

ADAM = Adam()  # the default; settings cannot change, so one object serves all


@dataclass(frozen=True, repr=False, kw_only=True)
class FineTuning(Settings):
    """How to train the stacked network.

    Parameters
    ----------
    epochs : int, default=50
        At most so many, with early stopping. 0 leaves the network as stacked.
    batch_size : int or "auto", default="auto"
        "auto": rows / 32, but at least 10 and at most 100; with `ConjugateGradient` 1,000, with `LBFGS` all rows.
    optimizer : optimizer or its name, default=Adam()
        `SGD`, `Momentum`, `Nesterov`, `Adagrad`, `RMSProp`, `Adam`, `AdamW`; or `ConjugateGradient` or `LBFGS`, whose
        line searches find the steps, so that schedule, clip_value, clip_norm, max_norm, rate_scale, layer_decay and
        output_rate_scale must have their defaults.
    schedule : schedule, its name or "auto", default="auto"
        How the optimizer's learning rate changes from step to step: `ConstantRate`, `InverseTimeDecay`, `StepDecay`,
        `ExponentialDecay`, `LinearDecay`, `CosineDecay` or `ReduceOnPlateau`, each with a warm-up if wanted. The linear
        and the cosine one are as long as `epochs`, also if early stopping or max_seconds ends before. "auto": constant
        for 2,000 steps, from there to the last step a straight line to 0, as ``LinearDecay(hold=2000 / n)`` makes it
        with n steps an epoch; constant in `partial_fit`, whose end is not known, and with line searches.
    alpha : float >= 0, default=0.0
        Adds 1/2 * alpha * ||W||^2 to the mean loss (weights only). scikit-learn's MLP divides its alpha by the number
        of rows of the batch besides; papers that write lambda * ||W||^2 mean alpha = 2 * lambda.
    l1 : float >= 0, default=0.0
        Adds l1 * sum(|W|) to the mean loss (weights only).
    clip_value, clip_norm : float > 0 or None, default=None
        Bound of each number of a step's gradient (of the whole objective, alpha's term included), or of its norm over
        all that is learned. Only one of the two.
    max_norm : float > 0 or None, default=None
        After each step, the incoming weights of a unit whose norm is greater are shrunk to it.
    label_smoothing : float in [0, 1), default=0.0
        For classifiers: the training target of each class is (1 - label_smoothing) * target + label_smoothing /
        n_classes (with several labels a row: + label_smoothing / 2). The validation loss is that of the labels.
    dropout : float in [0, 1) or a list with one value per hidden layer, default=0.0
        Probability to drop a hidden unit's output; the others are scaled by 1 / (1 - dropout) in training.
    input_dropout : float in [0, 1), default=0.0
        The same for the inputs; targets that are the inputs stay whole. With few labels and many inputs that repeat
        each other, as pixels do, 0.3 and a falling rate (``schedule="linear"``) may take away a tenth of the errors;
        where each input says something of its own it costs some (docs/decisions/0003-defaults.md).
    frozen_layers : int or sequence of int, default=0
        A number k keeps the k lowest hidden layers as they are; a sequence names the frozen layers, counted from 1.
    thaw_after : int, sequence of int or None, default=None
        After how many epochs the frozen layers are trained too: one number, or a list with one a frozen layer, from the
        lowest up; ``frozen_layers=3, thaw_after=[6, 4, 2]`` thaws one by one from the top. At each thaw the optimiser
        starts anew, with an empty memory. None: never.
    rate_scale : float > 0 or a list with one value per hidden layer, default=1.0
        What the learning rate of a hidden layer is multiplied by.
    layer_decay : float in (0, 1], default=1.0
        The learning rate of each hidden layer is multiplied by this once for the layer itself and once for each hidden
        layer above it, so that the lower ones, which are nearer to what pretraining learned, change less.
    output_rate_scale : float > 0, default=1.0
        What the learning rate of the output layer is multiplied by; of an unrolled autoencoder, that of the decoders.
        A tied decoder's weights are its encoder's and follow that.
    start : {"pretrained", "histogram", "random"} or a list with one a hidden layer, default="pretrained"
        Where a pretrained layer starts: where pretraining left it; at random draws, with replacement, from the layer's
        own pretrained weights (of its biases for the biases), which keeps their distribution alone; or as without
        pretraining. The controls of Erhan et al. 2009 and 2010; not for unrolled autoencoders.
    untie : bool, default=False
        For unrolled autoencoders: each decoder that is tied to its encoder starts from the encoder's transposed weights
        and has weights of its own from then on (Hinton & Salakhutdinov 2006). A network untied by a fit before stays so
        under warm_start.
    early_stopping : bool, default=False
        Keep a part of the labelled rows out of the training, end when the loss there has not fallen by more than
        `tol` for `n_iter_no_change` epochs, and take the weights that were best there.
    validation_fraction : float in (0, 1), default=0.1
        That part; drawn within each class for a classifier.
    n_iter_no_change : int, default=10
    tol : float >= 0, default=1e-4
    """

    epochs: int = 50
    batch_size: int | str = "auto"
    optimizer: Optimizer | str = ADAM
    schedule: Schedule | str = "auto"
    alpha: float = 0.0
    l1: float = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None
    max_norm: float | None = None
    label_smoothing: float = 0.0
    dropout: float | Sequence[float] = 0.0
    input_dropout: float = 0.0
    frozen_layers: int | Sequence[int] = 0
    thaw_after: int | Sequence[int] | None = None
    rate_scale: float | Sequence[float] = 1.0
    layer_decay: float = 1.0
    output_rate_scale: float = 1.0
    start: str | Sequence[str] = "pretrained"
    untie: bool = False
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4

    def check(self, where: Parameter, n_hidden: int, *, classes: bool = True, unrolled: bool = False) -> "FineTuning":
        """Check all settings; return them with one value a layer where that may differ, frozen layers by number.

        `classes` says whether the targets are classes, whose labels can be smoothed; `unrolled` whether the network is
        an unrolled autoencoder.
        """
        checks.boolean(where.child("early_stopping"), self.early_stopping)
        if checks.boolean(where.child("untie"), self.untie) and not unrolled:
            raise where.child("untie").error("False where no autoencoder is unrolled", self.untie)
        epochs = checks.integer(where.child("epochs"), self.epochs, 0)
        optimizer = optimizers.resolve(where.child("optimizer"), self.optimizer)
        schedule = _schedule(where.child("schedule"), self.schedule, optimizer, epochs)
        frozen = _frozen(where.child("frozen_layers"), self.frozen_layers, n_hidden)
        smoothing = _share(where.child("label_smoothing"), self.label_smoothing)
        if smoothing and not classes:
            raise where.child("label_smoothing").error("0 where the targets are not classes", self.label_smoothing)
        of_weights = {name: check(where.child(name), getattr(self, name)) for name, check in penalties.CHECKS.items()}
        penalties.check_together(where, self)
        checked = self.replace(
            **of_weights,
            label_smoothing=smoothing,
            input_dropout=_share(where.child("input_dropout"), self.input_dropout),
            epochs=epochs,
            schedule=schedule,
            batch_size=training.check_batch_size(where.child("batch_size"), self.batch_size),
            optimizer=optimizer,
            alpha=checks.real(where.child("alpha"), self.alpha, 0),
            dropout=tuple(checks.per_layer(where.child("dropout"), self.dropout, n_hidden, _share)),
            frozen_layers=frozen,
            thaw_after=_thaws(where.child("thaw_after"), self.thaw_after, len(frozen), epochs),
            rate_scale=tuple(checks.per_layer(where.child("rate_scale"), self.rate_scale, n_hidden, _positive)),
            layer_decay=checks.real(where.child("layer_decay"), self.layer_decay, 0, 1, open_low=True),
            output_rate_scale=_positive(where.child("output_rate_scale"), self.output_rate_scale),
            start=tuple(checks.per_layer(where.child("start"), self.start, n_hidden, restarts.resolve)),
            validation_fraction=checks.real(
                where.child("validation_fraction"), self.validation_fraction, 0, 1, open_low=True, open_high=True
            ),
            n_iter_no_change=checks.integer(where.child("n_iter_no_change"), self.n_iter_no_change, 1),
            tol=checks.real(where.child("tol"), self.tol, 0),
        )
        optimizers.check_together(where, checked)
        return checked

    def one_pass(self) -> "FineTuning":
        """Return the checked settings as a pass of `partial_fit` follows them: how many come after is not known."""
        return self.replace(epochs=1, schedule=CONSTANT)


def _schedule(where: Parameter, value: Any, optimizer: Optimizer, epochs: int) -> Schedule | str:
    """Return the schedule, checked; "auto" stays where it will depend on the number of rows."""
    if checks.is_auto(value):
        return CONSTANT if isinstance(optimizer, LineSearches) else "auto"
    schedule = schedules.resolve(where, value, ' or "auto"')
    schedule.check_length(where, epochs)
    return schedule


def _frozen(where: Parameter, value: Any, n_hidden: int) -> tuple[int, ...]:
    if checks.is_sequence(value):
        return tuple(sorted({checks.integer(where, layer, 1, n_hidden) for layer in value}))
    return tuple(range(1, checks.integer(where, value, 0, n_hidden) + 1))


def _thaws(where: Parameter, value: Any, n_frozen: int, epochs: int) -> tuple[int, ...] | None:
    if value is None:
        return None
    if n_frozen == 0:
        raise where.error("None without frozen_layers", value)
    values = list(value) if checks.is_sequence(value) else [value] * n_frozen
    if len(values) != n_frozen:
        raise where.error(f"None, one value, or a list of {n_frozen} values (one a frozen layer)", value)
    found = tuple(checks.integer(where, one, 1) for one in values)
    if 0 < epochs <= max(found):
        raise where.error(f"less than the number of epochs, {epochs}", value)
    return found


def _share(where: Parameter, value: Any) -> float:
    return checks.real(where, value, 0, 1, open_high=True)


def _positive(where: Parameter, value: Any) -> float:
    return checks.real(where, value, 0, open_low=True)


def resolve(where: Parameter, value: Any, also: str = "") -> FineTuning:
    """Return the settings meant by a settings object or by "auto"; `also` says what else the caller takes."""
    if isinstance(value, str) and value == "auto":
        return FineTuning()
    if not isinstance(value, FineTuning):
        raise where.error(f'{also}a FineTuning or "auto"', value)
    return value
