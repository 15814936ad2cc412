"""Greedy layer-wise pretraining without labels (Bengio et al. 2007, Vincent et al. 2010).

Layer by layer, an autoencoder learns to rebuild what the layer below gives it; its encoder becomes the hidden layer,
and the codes of the clean inputs are what the next layer learns from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import (
    _core,
    activations,
    boltzmann,
    checks,
    corruption,
    initializers,
    optimizers,
    rbm,
    schedules,
    training,
)
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.corruption import Corruption, Masking
from layerwise.network import Network, start_layer
from layerwise.optimizers import Adam, Optimizer
from layerwise.rbm import RestrictedBoltzmannMachine
from layerwise.schedules import CONSTANT, Schedule
from layerwise.settings import Settings
from layerwise.simultaneous import LayerTraining, in_turn
from layerwise.skill import measure
from layerwise.stage import Stage as Stage
from layerwise.stage import check_done
from layerwise.training import Callback

Array = NDArray[Any]

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
        "auto": rows / 32, but at least 10 and at most 100.
    optimizer, schedule : settings or their names, default=Adam() and ConstantRate()
        As in `FineTuning`.
    alpha : float >= 0, default=0.0
        Adds 1/2 * alpha * ||W||^2 to the mean loss (weights only).
    tied : bool, default=True
        The decoder uses the transposed weights of the encoder.
    decoder : {"auto", "sigmoid", "identity", "tanh", "relu", "softplus"}, default="auto"
        Activation of the decoder. "auto": sigmoid for cross-entropy, identity for the squared error.
    loss : {"auto", "squared_error", "cross_entropy"}, default="auto"
        Mean over rows of the sum over inputs. "auto": cross-entropy where the targets lie in [0, 1] (the first layer if
        all training values do, the others if the layer below is sigmoid or softmax), else squared error; a fixed
        decoder decides by itself. Searches over settings should fix it, so that losses compare.
    validation_fraction : float in [0, 1), default=0.0
        Share of rows (at least one, unless 0) kept out of the training, on which the validation loss of each epoch is
        measured.
    simultaneous : bool, default=False
        Train all layers at the same time: in each epoch every layer for an epoch, from the lowest up, on the codes that
        the layers below give then, instead of one layer to its end before the next. Stages come when all are trained.
    """

    epochs: int | Sequence[int] = 15
    batch_size: int | str | Sequence[int | str] = "auto"
    optimizer: Optimizer | str | Sequence[Optimizer | str] = ADAM
    schedule: Schedule | str | Sequence[Schedule | str] = CONSTANT
    alpha: float | Sequence[float] = 0.0
    tied: bool | Sequence[bool] = True
    decoder: str | Sequence[str] = "auto"
    loss: str | Sequence[str] = "auto"
    validation_fraction: float = 0.0
    simultaneous: bool = False

    def check(self, where: Parameter, n_layers: int) -> list["Autoencoder"]:
        """Check all settings; return one settings object a layer, each with single values."""
        checks.real(where.child("validation_fraction"), self.validation_fraction, 0, 1, open_high=True)
        checks.boolean(where.child("simultaneous"), self.simultaneous)
        columns = {
            name: checks.per_layer(where.child(name), getattr(self, name), n_layers, check)
            for name, check in self._checks().items()
        }
        layers = [self.replace(**{name: values[i] for name, values in columns.items()}) for i in range(n_layers)]
        for schedule, epochs in zip(columns["schedule"], columns["epochs"], strict=True):
            schedule.check_length(where.child("schedule"), epochs)
        for layer in layers:
            if layer.loss == "cross_entropy" and layer.decoder not in ("auto", "sigmoid"):
                raise where.child("decoder").error('"sigmoid" or "auto" with loss="cross_entropy"', layer.decoder)
        return layers

    def _checks(self) -> dict[str, Callable[[Parameter, Any], Any]]:
        return {
            "epochs": lambda where, value: checks.integer(where, value, 0),
            "batch_size": training.check_batch_size,
            "optimizer": optimizers.resolve,
            "schedule": schedules.resolve,
            "alpha": lambda where, value: checks.real(where, value, 0),
            "tied": checks.boolean,
            "decoder": lambda where, value: checks.choice(where, value, DECODERS),
            "loss": lambda where, value: checks.choice(where, value, LOSSES),
        }


@dataclass(frozen=True, repr=False, kw_only=True)
class DenoisingAutoencoder(Autoencoder):
    """How to pretrain with denoising autoencoders (Vincent et al. 2008, 2010).

    The encoder sees a corrupted input, drawn afresh at each presentation; the target is the clean one.

    Parameters
    ----------
    corruption : corruption, its name, or None, default=Masking(0.25)
        `Masking`, `Gaussian` or `SaltAndPepper`; one, or a list with one a layer.
    epochs, batch_size, optimizer, schedule, alpha, tied, decoder, loss, validation_fraction, simultaneous
        As in `Autoencoder`.
    """

    corruption: Corruption | str | Sequence[Corruption | str | None] | None = MASKING

    def _checks(self) -> dict[str, Callable[[Parameter, Any], Any]]:
        return super()._checks() | {"corruption": corruption.resolve}


Pretraining = Autoencoder | RestrictedBoltzmannMachine  # the settings that `pretrain` takes
BY_NAME: dict[str, type[Pretraining]] = {
    "auto": DenoisingAutoencoder,
    "autoencoder": Autoencoder,
    "denoising_autoencoder": DenoisingAutoencoder,
    "rbm": RestrictedBoltzmannMachine,
}


def pretrain(
    X: Array,
    hidden_layer_sizes: Sequence[int],
    settings: Pretraining | None = None,
    *,
    activation: Any = "sigmoid",
    initializer: Any = "auto",
    row_weights: Array | None = None,
    done: Sequence[Stage] = (),
    seed: int = 0,
    threads: int = 0,
    callbacks: Sequence[Callback] = (),
    out_of_time: Callable[[], bool] | None = None,
    report: Callable[[str], object] | None = None,
    owner: Parameter | None = None,
) -> Iterator[Stage]:
    """Pretrain hidden layers one at a time, without labels.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_inputs)
    hidden_layer_sizes : sequence of int
    settings : Autoencoder, DenoisingAutoencoder or RestrictedBoltzmannMachine, default=None
        None: `DenoisingAutoencoder` with its defaults.
    activation, initializer : one, or a list with one a layer
    row_weights : array-like of shape (n_rows,), default=None
        Not negative, not all 0. Losses and skill are means weighted so. None: all rows weigh the same.
    done : sequence of Stage, default=()
        The lowest layers, if pretrained already: the others are pretrained on them, with the bits of one call for all.
    seed : int, default=0
        64 bits; all random numbers follow from it.
    threads : int, default=0
        0: chosen by the size of the work. The results do not depend on it.
    callbacks : sequence of callables on an EpochRecord
        One that returns True ends the pretraining of its layer.
    out_of_time : callable, default=None
        Asked before each epoch; once it returns True no further epoch begins, and layers keep their random start.
    report : callable on a str, default=None
        Is told what was chosen for each layer and how well it went.
    owner : Parameter, default=None
        Whose settings these are, for messages.

    Yields
    ------
    Stage
        As soon as a layer is trained and its skill measured, so that an interrupted pretraining keeps the layers it
        finished and loses the one at work alone.

    Raises
    ------
    InvalidParameterError
        At the call, before any work, if a setting or a row weight is not allowed.
    TrainingDiverged
        If a loss or a weight is not a finite number.
    ValueError
        If the stages done are not the lowest layers of this network.

    Examples
    --------
    >>> from layerwise import DenoisingAutoencoder, pretrain
    >>> stages = list(pretrain(X, (100, 50), DenoisingAutoencoder(epochs=5)))
    >>> stages[0].weights.shape
    (64, 100)
    """
    where = owner or Parameter("pretrain")
    X = checks.as_matrix(X)
    sizes = checks.layer_sizes(where.child("hidden_layer_sizes"), hidden_layer_sizes)
    layer_settings: list[Any] = list(
        resolve(where.child("pretraining"), settings or "auto").check(where.child("pretraining"), len(sizes))
    )
    kinds = checks.per_layer(where.child("activation"), activation, len(sizes), activations.resolve)
    starts = checks.per_layer(where.child("initializer"), initializer, len(sizes), initializers.resolve)
    weights = checks.row_weights(where.child("row_weights"), row_weights, len(X), X.dtype)
    check_done(done, X, sizes, kinds)
    seed = checks.seed_key(seed)
    threads = checks.integer(where.child("threads"), threads, 0)
    if isinstance(layer_settings[0], RestrictedBoltzmannMachine):
        layer_settings = list(rbm.fit_to_layers(where, X, layer_settings, kinds))
    report = report or (lambda _: None)
    return _stages(
        X, weights, done, sizes, layer_settings, kinds, starts, seed, threads, callbacks, out_of_time, report
    )


def resolve(where: Parameter, value: Any) -> Pretraining:
    """Return the settings meant by a settings object or a name."""
    if isinstance(value, str) and value in BY_NAME:
        return BY_NAME[value]()
    if not isinstance(value, (Autoencoder, RestrictedBoltzmannMachine)):
        allowed = "None, an Autoencoder, a DenoisingAutoencoder, a RestrictedBoltzmannMachine"
        raise where.error(f"{allowed}, or one of {list(BY_NAME)}", value)
    return value


def usual_activation(settings: Any, usual: str) -> str:
    """Return the hidden activation that "auto" means with these settings (or their name)."""
    machine = BY_NAME.get(settings) if isinstance(settings, str) else type(settings)
    return rbm.BINARY if machine is RestrictedBoltzmannMachine else usual


def _stages(
    X: Array,
    row_weights: Array | None,
    done: Sequence[Stage],
    sizes: Sequence[int],
    layer_settings: Sequence[Any],  # checked: one settings object a layer, each setting a single value
    kinds: Sequence[Activation],
    starts: Sequence[Any],
    seed: int,
    threads: int,
    callbacks: Sequence[Callback],
    out_of_time: Callable[[], bool] | None,
    report: Callable[[str], object],
) -> Iterator[Stage]:
    train, apart = training.split(len(X), layer_settings[0].validation_fraction, checks.subkey(seed, 0))
    hidden, held_out = X[train], None if apart is None else X[apart]
    weights, held_out_weights = (None if row_weights is None else row_weights[rows] for rows in (train, apart))
    below: Activation | None = None
    for stage in done:
        hidden = stage.network().apply(hidden, 0, 1, threads=threads)
        held_out = None if held_out is None else stage.network().apply(held_out, 0, 1, threads=threads)
        below = stage.encoder.activation
    begun: list[tuple[int, LayerTraining, str, Any]] = []  # where all layers are trained at the same time
    layers = list(enumerate(zip(sizes, layer_settings, kinds, starts, strict=True)))
    for depth, (size, settings, activation, start) in layers[len(done) :]:
        layer, key = depth + 1, checks.subkey(seed, depth + 1)
        low, high = float(hidden.min()), float(hidden.max())
        unit = (low >= 0 and high <= 1) if below is None else below.name in activations.IN_UNIT_INTERVAL
        machine = isinstance(settings, RestrictedBoltzmannMachine)
        decoder, loss = rbm.decoder_of(settings) if machine else choose_decoder(settings, unit)
        checks.warn_of_scale(layer, decoder, low, high)
        tied = ", tied" if settings.tied else ""
        report(
            f"layer {layer}: {hidden.shape[1]} -> {size} {activation.name}{tied}, decoder {decoder}, {loss} "
            f"(targets in [{low:.3g}, {high:.3g}])"
        )

        if machine:
            network = rbm.start(hidden, size, activation, settings, start, key, weights)
        else:
            network = _start(hidden.shape[1], size, activation, decoder, settings.tied, start, key, X.dtype)
        engine = network.engine()
        noise = getattr(settings, "corruption", None)
        batch_size = training.batch_size_for(settings.batch_size, len(hidden))
        recipe = _core.Recipe(
            _engine_loss(loss),
            settings.optimizer.engine(),
            batch_size,
            seed=checks.subkey(key, 2),
            alpha=settings.alpha,
            noise=_core.Noise() if noise is None else noise.noise(*((0.0, 1.0) if unit else (low, high))),
            threads=threads,
        )
        history = training.run(
            engine,
            recipe,
            hidden,
            None,
            stage="pretraining",
            layer=layer,
            epochs=settings.epochs,
            batch_size=batch_size,
            learning_rate=settings.optimizer.learning_rate,
            schedule=settings.schedule,
            momentum_schedule=settings.optimizer.momentum_schedule,
            row_weights=weights,
            validation=None if held_out is None else (held_out, None, held_out_weights),
            out_of_time=out_of_time,
            callbacks=callbacks,
            plan=rbm.Plan(engine, recipe, settings) if machine else None,
            measure=boltzmann.monitor(network, engine, settings, hidden, held_out, checks.subkey(key, 3))
            if machine and settings.monitor
            else None,
        )
        work = LayerTraining(network, engine, recipe, hidden, held_out, history)
        if not machine and settings.simultaneous:
            begun.append((layer, work, loss, settings))
        else:
            work.to_the_end()
            yield _finished(layer, work, loss, settings, weights, report)

        if layer < len(sizes):  # the next layer learns from the codes of the clean inputs
            hidden = work.encode(hidden, threads)
            held_out = None if held_out is None else work.encode(held_out, threads)
            below = activation
    in_turn([work for _, work, *_ in begun], threads)
    for layer, work, loss, settings in begun:
        yield _finished(layer, work, loss, settings, weights, report)


def _finished(
    layer: int, work: LayerTraining, loss: str, settings: Any, weights: Array | None, report: Callable[[str], object]
) -> Stage:
    skill = measure(work.engine, work.recipe, work.X, weights, loss)
    reached = f"loss {work.records[-1].loss:.5g}" if work.records else "left at its random start"
    report(f"layer {layer}: {reached}, skill {skill:.3f}")
    encoder, decoder = work.network.trained(work.engine).layers
    return Stage(layer, encoder, decoder, loss, settings, tuple(work.records), skill)


def choose_decoder(settings: Autoencoder, unit: bool) -> tuple[str, str]:
    """Return a layer's decoder activation and loss, which fit each other by default (L09 equation 4, V10, G11).

    `unit` says whether the targets lie in [0, 1].
    """
    decoder, loss = str(settings.decoder), str(settings.loss)
    if loss == "auto":
        loss = "cross_entropy" if unit and decoder in ("auto", "sigmoid") else "squared_error"
    if decoder == "auto":
        decoder = "sigmoid" if loss == "cross_entropy" else "identity"
    return decoder, loss


def _engine_loss(loss: str) -> str:
    return "sigmoid_cross_entropy" if loss == "cross_entropy" else loss


def _start(
    n_in: int, n_out: int, activation: Activation, decoder: str, tied: bool, start: Any, key: int, dtype: np.dtype[Any]
) -> Network:
    weights = initializers.draw(start, activation.name, checks.subkey(key, 0), n_in, n_out)
    encoder = start_layer(weights, activation, dtype)
    back = weights.T if tied else initializers.draw(start, decoder, checks.subkey(key, 1), n_out, n_in)
    return Network([encoder, start_layer(back, Activation(decoder), dtype, tied_to=0 if tied else -1)])
