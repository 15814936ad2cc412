"""Greedy layer-wise pretraining without labels (Bengio et al. 2007, Vincent et al. 2010).

Layer by layer, an autoencoder learns to rebuild what the layer below gives it; its encoder becomes the hidden layer,
and the codes of the clean inputs are what the next layer learns from.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, activations, boltzmann, checks, initializers, rbm, training
from layerwise.activations import Activation
from layerwise.autoencoders import Autoencoder, ContractiveAutoencoder, DenoisingAutoencoder, SparseAutoencoder
from layerwise.checks import Parameter
from layerwise.keeping import NOTHING_KEPT, Keeper
from layerwise.network import Network, start_layer
from layerwise.rbm import RestrictedBoltzmannMachine
from layerwise.simultaneous import LayerTraining, in_turn
from layerwise.skill import measure
from layerwise.stage import Stage as Stage
from layerwise.stage import check_done
from layerwise.training import Callback

Array = NDArray[Any]

Pretraining = Autoencoder | RestrictedBoltzmannMachine  # the settings that `pretrain` takes
BY_NAME: dict[str, type[Pretraining]] = {
    "auto": DenoisingAutoencoder,
    "autoencoder": Autoencoder,
    "denoising_autoencoder": DenoisingAutoencoder,
    "sparse_autoencoder": SparseAutoencoder,
    "contractive_autoencoder": ContractiveAutoencoder,
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
    keeper: Keeper = NOTHING_KEPT,
) -> Iterator[Stage]:
    """Pretrain hidden layers one at a time, without labels.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_inputs)
    hidden_layer_sizes : sequence of int
    settings : Autoencoder or a kind of it, RestrictedBoltzmannMachine, or a name, default=None
        None: `DenoisingAutoencoder` with its defaults.
    activation, initializer : one, or a list with one a layer
    row_weights : array-like of shape (n_rows,), default=None
        Not negative, not all 0. Losses and skill are means weighted so; rows of weight 0 are left out, as if they were
        not there. None: all rows weigh the same.
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
    keeper : Keeper
        Knows where each layer's training stands, and lets it go on from there. Usually keeps nothing.

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
    if weights is not None and not weights.all():
        X, weights = X[weights > 0], weights[weights > 0]
    seed = checks.seed_key(seed)
    threads = checks.integer(where.child("threads"), threads, 0)
    if isinstance(layer_settings[0], RestrictedBoltzmannMachine):
        layer_settings = list(rbm.fit_to_layers(where, X, layer_settings, kinds))
    else:
        for layer, n_inputs, kind in zip(layer_settings, [X.shape[1], *sizes[:-1]], kinds, strict=True):
            layer.check_inputs(where.child("pretraining"), n_inputs)
            layer.check_activation(where.child("pretraining"), kind.name)
    report = report or (lambda _: None)
    return _stages(
        X, weights, done, sizes, layer_settings, kinds, starts, seed, threads, callbacks, out_of_time, report, keeper
    )


def resolve(where: Parameter, value: Any, also: str = "") -> Pretraining:
    """Return the settings meant by a settings object or a name; `also` says what else the caller takes."""
    if isinstance(value, str) and value in BY_NAME:
        return BY_NAME[value]()
    if not isinstance(value, (Autoencoder, RestrictedBoltzmannMachine)):
        allowed = f"{also}settings such as DenoisingAutoencoder() or RestrictedBoltzmannMachine()"
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
    keeper: Keeper,
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
        batch_size = training.batch_size_for(settings.batch_size, len(hidden))
        recipe = _core.Recipe(
            _engine_loss(loss),
            settings.optimizer.engine(),
            batch_size,
            seed=checks.subkey(key, 2),
            alpha=settings.alpha,
            noise=_core.Noise() if machine else settings.noise(*((0.0, 1.0) if unit else (low, high))),
            threads=threads,
            penalties=_core.Penalties() if machine else _core.Penalties(**settings.penalties()),
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
            keeper=keeper,
        )
        before = list(keeper.position("pretraining", layer).records)
        work = LayerTraining(network, engine, recipe, hidden, held_out, history, before)
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
