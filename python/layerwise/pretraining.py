"""Greedy layer-wise pretraining without labels (Bengio et al. 2007, Vincent et al. 2010).

Layer by layer, an autoencoder learns to rebuild what the layer below gives it; its encoder becomes the hidden layer,
and the codes of the clean inputs are what the next layer learns from.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import (
    _core,
    activations,
    batch_normalization,
    boltzmann,
    checks,
    codes,
    initializers,
    line_search,
    rbm,
    supervision,
    training,
)
from layerwise.activations import Activation
from layerwise.autoencoders import Autoencoder, ContractiveAutoencoder, DenoisingAutoencoder, SparseAutoencoder
from layerwise.checks import Parameter
from layerwise.column_groups import ColumnGroups, groups_of, warn_of_shares
from layerwise.keeping import NOTHING_KEPT, Keeper
from layerwise.network import DenseLayer, Network, start_layer
from layerwise.rbm import RestrictedBoltzmannMachine
from layerwise.simultaneous import LayerTraining, in_turn
from layerwise.skill import measure
from layerwise.stage import Stage as Stage
from layerwise.stage import check_done
from layerwise.supervision import Labels
from layerwise.training import Callback

Array = NDArray[Any]

Pretraining = Autoencoder | RestrictedBoltzmannMachine  # the settings that `pretrain` takes
MIXED = "mixed"  # decoder and loss of columns of several kinds
BY_NAME: dict[str, type[Pretraining]] = {
    "auto": DenoisingAutoencoder,
    "autoencoder": Autoencoder,
    "denoising": DenoisingAutoencoder,  # the short names are those of the command line, too
    "denoising_autoencoder": DenoisingAutoencoder,
    "sparse": SparseAutoencoder,
    "sparse_autoencoder": SparseAutoencoder,
    "contractive": ContractiveAutoencoder,
    "contractive_autoencoder": ContractiveAutoencoder,
    "rbm": RestrictedBoltzmannMachine,
}


def pretrain(
    X: Array,
    hidden_layer_sizes: Sequence[int],
    settings: Pretraining | None = None,
    *,
    activation: Any = "sigmoid",
    batch_norm: Any = False,
    initializer: Any = "auto",
    row_weights: Array | None = None,
    labels: Labels | None = None,
    done: Sequence[Stage] = (),
    seed: int = 0,
    threads: int = 0,
    bfloat16: bool = False,
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
        If it is a table that knows its `ColumnGroups`, as those of `tabular_pipeline` do, they are the first layer's
        loss, unless the settings fix it or the decoder.
    hidden_layer_sizes : sequence of int
    settings : Autoencoder or a kind of it, RestrictedBoltzmannMachine, or a name, default=None
        None: `DenoisingAutoencoder` with its defaults. The names: "autoencoder", "denoising", "sparse", "contractive"
        (each of these three also with "_autoencoder" behind it), "rbm"; the settings then are the defaults.
    activation, initializer : one, or a list with one a layer
    batch_norm : bool, BatchNorm, or a list with one a layer, default=False
        Batch normalisation of the hidden layers; decoders have none.
    row_weights : array-like of shape (n_rows,), default=None
        Not negative, not all 0. Losses and skill are means weighted so; rows of weight 0 are left out, as if they were
        not there. None: all rows weigh the same.
    labels : layerwise.supervision.Labels, default=None
        What a `supervised_optimizer` learns from.
    done : sequence of Stage, default=()
        The lowest layers, if pretrained already: the others are pretrained on them, with the bits of one call for all.
    seed : int, default=0
        64 bits; all random numbers follow from it.
    threads : int, default=0
        0: chosen by the size of the work. The results do not depend on it.
    bfloat16 : bool, default=False
        Whether products are made in bfloat16 (float32 X only, on a processor that has them); not those of
        Boltzmann machines.
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
    groups, X = groups_of(X), checks.as_matrix(X)
    sizes = checks.layer_sizes(where.child("hidden_layer_sizes"), hidden_layer_sizes)
    layer_settings: list[Any] = list(
        resolve(where.child("pretraining"), settings or "auto").check(where.child("pretraining"), len(sizes))
    )
    kinds = checks.per_layer(where.child("activation"), activation, len(sizes), activations.resolve)
    kinds = batch_normalization.normalized(where.child("batch_norm"), batch_norm, kinds)
    starts = checks.per_layer(where.child("initializer"), initializer, len(sizes), initializers.resolve)
    weights = checks.row_weights(where.child("row_weights"), row_weights, len(X), X.dtype)
    check_done(done, X, sizes, kinds)
    supervised = layer_settings[0].supervised_optimizer
    if supervised is not None and labels is None:
        own = where.child("pretraining").child("supervised_optimizer")
        raise own.error("None where there are no labels to learn from", supervised)
    if weights is not None and not weights.all():
        X, weights = X[weights > 0], weights[weights > 0]
    seed = checks.seed_key(seed)
    threads = checks.integer(where.child("threads"), threads, 0)
    bfloat16 = checks.bfloat16_flag(where.child("bfloat16"), bfloat16, X.dtype)
    if isinstance(layer_settings[0], RestrictedBoltzmannMachine):
        layer_settings = list(rbm.fit_to_layers(where, X, layer_settings, kinds))
    else:
        groups = groups_for(layer_settings[0], groups)
        if groups is not None:
            layer_settings[0] = layer_settings[0].replace(loss=groups)
        for layer, n_inputs, kind in zip(layer_settings, [X.shape[1], *sizes[:-1]], kinds, strict=True):
            layer.check_inputs(where.child("pretraining"), n_inputs)
            layer.check_activation(where.child("pretraining"), kind)
    report = report or (lambda _: None)
    return _stages(
        X,
        weights,
        labels,
        done,
        sizes,
        layer_settings,
        kinds,
        starts,
        seed,
        threads,
        bfloat16,
        callbacks,
        out_of_time,
        report,
        keeper,
    )


def resolve(where: Parameter, value: Any, also: str = "") -> Pretraining:
    """Return the settings meant by a settings object or a name; `also` says what else the caller takes."""
    if isinstance(value, str) and value in BY_NAME:
        return BY_NAME[value]()
    if not isinstance(value, (Autoencoder, RestrictedBoltzmannMachine)):
        allowed = f"{also}settings such as DenoisingAutoencoder() or RestrictedBoltzmannMachine()"
        raise where.error(f"{allowed}, or one of {list(BY_NAME)}", value)
    return value


def groups_for(settings: Any, groups: ColumnGroups | None) -> ColumnGroups | None:
    """Return the column groups whose losses the first layer takes: its settings', or else those that X knows."""
    loss = getattr(settings, "loss", None)
    if isinstance(loss, ColumnGroups):
        return loss
    return groups if isinstance(loss, str) and loss == settings.decoder == "auto" else None


def usual_activation(settings: Any, usual: str) -> str:
    """Return the hidden activation that "auto" means with these settings (or their name)."""
    machine = BY_NAME.get(settings) if isinstance(settings, str) else type(settings)
    return rbm.BINARY if machine is RestrictedBoltzmannMachine else usual


def _stages(
    X: Array,
    row_weights: Array | None,
    labels: Labels | None,
    done: Sequence[Stage],
    sizes: Sequence[int],
    layer_settings: Sequence[Any],  # checked: one settings object a layer, each setting a single value
    kinds: Sequence[Activation],
    starts: Sequence[Any],
    seed: int,
    threads: int,
    bfloat16: bool,
    callbacks: Sequence[Callback],
    out_of_time: Callable[[], bool] | None,
    report: Callable[[str], object],
    keeper: Keeper,
) -> Iterator[Stage]:
    first = layer_settings[0]
    train, apart = training.split(len(X), first.validation_fraction, checks.subkey(seed, 0))
    hidden, held_out = X[train], None if apart is None else X[apart]
    weights, held_out_weights = (None if row_weights is None else row_weights[rows] for rows in (train, apart))
    data, encoders, begun = hidden, list[DenseLayer](), list[tuple[int, LayerTraining, str, Any]]()

    def codes_of(encoder: DenseLayer, encode: Callable[[Array], Array]) -> Any:
        """Keep what the next layer learns from: the codes of the clean inputs."""
        encoders.append(encoder)
        above = layer_settings[len(encoders)] if len(encoders) < len(sizes) else first
        n_bytes = len(hidden) * encoder.n_out * hidden.dtype.itemsize
        kind = codes.choose(first.code_cache, first.code_cache_limit, n_bytes, codes.needs_all_rows(above))
        if kind != "memory":
            report(f"layer {len(encoders)}: {n_bytes / 1e6:.0f} MB of codes, cache {kind}")
        return codes.keep(kind, encode, hidden, encoder.n_out, list(encoders), data, threads)

    below: Activation | None = None
    for stage in done:
        encode = partial(stage.network().apply, first=0, last=1, threads=threads)
        hidden = codes_of(stage.encoder, encode)
        held_out = None if held_out is None else encode(held_out)
        below = stage.encoder.activation
    layers = list(enumerate(zip(sizes, layer_settings, kinds, starts, strict=True)))
    for depth, (size, settings, activation, start) in layers[len(done) :]:
        layer, key = depth + 1, checks.subkey(seed, depth + 1)
        low, high = codes.extremes(hidden)
        unit = (low >= 0 and high <= 1) if below is None else below.name in activations.IN_UNIT_INTERVAL
        machine = isinstance(settings, RestrictedBoltzmannMachine)
        decoder, loss = rbm.decoder_of(settings) if machine else choose_decoder(settings, unit)
        if loss == MIXED:
            warn_of_shares(layer, settings.loss, hidden)
        checks.warn_of_scale(layer, decoder, low, high)
        tied = ", tied" if settings.tied else ""
        report(
            f"layer {layer}: {hidden.shape[1]} -> {size} {activation.title}{tied}, decoder {decoder}, {loss} "
            f"(targets in [{low:.3g}, {high:.3g}])"
        )

        if machine:
            network = rbm.start(hidden, size, activation, settings, start, key, weights)
        else:
            back = Activation(decoder, groups=tuple(settings.loss.groups) if loss == MIXED else ())
            network = _start(hidden.shape[1], size, activation, back, settings.tied, start, key, X.dtype)
        engine = network.engine()
        batch_size = training.batch_size_for(settings.batch_size, len(hidden), settings.optimizer.auto_rows)
        recipe = _core.Recipe(
            _engine_loss(loss),
            settings.optimizer.engine(),
            batch_size,
            seed=checks.subkey(key, 2),
            alpha=settings.alpha,
            noise=_core.Noise() if machine else settings.noise(*((0.0, 1.0) if unit else (low, high))),
            threads=threads,
            penalties=_core.Penalties() if machine else _core.Penalties(**settings.penalties()),
            bfloat16=bfloat16 and not machine,
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
            plan=_plan(engine, recipe, settings, hidden)
            if depth or labels is None or settings.supervised_optimizer is None
            else supervision.Plan(
                _plan(engine, recipe, settings, hidden),
                engine,
                network,
                labels,
                settings.supervised_optimizer,
                batch_size=settings.batch_size,
                steps_per_epoch=-(-len(hidden) // batch_size),
                seed=checks.subkey(key, 4),
                threads=threads,
                bfloat16=bfloat16,
            ),
            measure=boltzmann.monitor(network, engine, settings, hidden, held_out, checks.subkey(key, 3))
            if machine and settings.monitor
            else None,
            keeper=keeper,
        )
        before = list(keeper.position("pretraining", layer).records)
        work = LayerTraining(network, engine, recipe, hidden, held_out, history, before)
        if not machine and settings.simultaneous:
            begun.append((layer, work, loss, settings))
            encoder = network.layers[0]
        else:
            work.to_the_end()
            stage = _finished(layer, work, loss, settings, weights, report)
            encoder = stage.encoder
            yield stage

        if layer < len(sizes):  # the next layer learns from the codes of the clean inputs
            hidden = codes_of(encoder, partial(work.encode, threads=threads))
            held_out = None if held_out is None else work.encode(held_out, threads)
            below = activation
    in_turn([work for _, work, *_ in begun], threads)
    for layer, work, loss, settings in begun:
        yield _finished(layer, work, loss, settings, weights, report)


def _plan(engine: Any, recipe: _core.Recipe, settings: Any, X: Any) -> Any:
    """Return what trains a layer on X."""
    if isinstance(settings, RestrictedBoltzmannMachine):
        plan: Any = rbm.Plan(engine, recipe, settings)
    else:
        plan = line_search.plan_for(settings.optimizer, engine, recipe)
    return plan if isinstance(X, np.ndarray) else codes.Plan(plan, recipe)


def _finished(
    layer: int, work: LayerTraining, loss: str, settings: Any, weights: Array | None, report: Callable[[str], object]
) -> Stage:
    skill = measure(work.engine, work.recipe, work.X, weights, settings.loss if loss == MIXED else loss)
    reached = f"loss {work.records[-1].loss:.5g}" if work.records else "left at its random start"
    report(f"layer {layer}: {reached}, skill {skill:.3f}")
    encoder, decoder = work.network.trained(work.engine).layers
    return Stage(layer, encoder, decoder, loss, settings, tuple(work.records), skill)


def choose_decoder(settings: Autoencoder, unit: bool) -> tuple[str, str]:
    """Return a layer's decoder activation and loss, which fit each other by default (L09 equation 4, V10, G11).

    `unit` says whether the targets lie in [0, 1].
    """
    if isinstance(settings.loss, ColumnGroups):
        return MIXED, MIXED
    decoder, loss = str(settings.decoder), str(settings.loss)
    if loss == "auto":
        loss = "cross_entropy" if unit and decoder in ("auto", "sigmoid") else "squared_error"
    if decoder == "auto":
        decoder = "sigmoid" if loss == "cross_entropy" else "identity"
    return decoder, loss


def _engine_loss(loss: str) -> str:
    return "sigmoid_cross_entropy" if loss == "cross_entropy" else loss


def _start(
    n_in: int,
    n_out: int,
    activation: Activation,
    decoder: Activation,
    tied: bool,
    start: Any,
    key: int,
    dtype: np.dtype[Any],
) -> Network:
    weights = initializers.draw(start, activation.name, checks.subkey(key, 0), n_in, n_out)
    encoder = start_layer(weights, activation, dtype)
    back = weights.T if tied else initializers.draw(start, decoder.name, checks.subkey(key, 1), n_out, n_in)
    return Network([encoder, start_layer(back, decoder, dtype, tied_to=0 if tied else -1)])
