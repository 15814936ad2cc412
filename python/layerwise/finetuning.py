"""Stack the pretrained layers, put an output layer on top, and train the whole network on its targets."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks, initializers, line_search, penalties, schedules, training
from layerwise.activations import Activation
from layerwise.finetuning_settings import FineTuning as FineTuning
from layerwise.finetuning_settings import resolve as resolve
from layerwise.keeping import NOTHING_KEPT, Keeper
from layerwise.network import DenseLayer, Network, start_layer
from layerwise.pretraining import Stage
from layerwise.thawing import ThawingPlan
from layerwise.training import Callback, EarlyStopping, EpochRecord, Memory, TrainingDiverged

Array = NDArray[Any]


def random_layers(
    n_inputs: int,
    sizes: Sequence[int],
    kinds: Sequence[Activation],
    starts: Sequence[Any],
    seed: int,
    dtype: np.dtype[Any],
) -> list[DenseLayer]:
    """Return hidden layers at a random start, for a network that is not pretrained."""
    layers = []
    for depth, (size, activation, start) in enumerate(zip(sizes, kinds, starts, strict=True)):
        weights = initializers.draw(start, activation.name, checks.subkey(seed, depth), n_inputs, size)
        layers.append(start_layer(weights, activation, dtype))
        n_inputs = size
    return layers


def stack(
    hidden: Sequence[Stage | DenseLayer], n_outputs: int, activation: str, *, seed: int, bias: Array | None = None
) -> Network:
    """Put hidden layers on top of each other and a new output layer on top of all.

    Parameters
    ----------
    hidden : sequence of Stage or DenseLayer
        Of a stage, the encoder.
    n_outputs : int
    activation : str
        Of the output layer: "softmax" or "identity".
    seed : int
        64-bit key for the output layer's start (Glorot & Bengio's uniform).
    bias : ndarray of shape (n_outputs,) or None
        Where the output layer's biases start; None: at 0.

    Returns
    -------
    Network
    """
    layers = [layer.encoder if isinstance(layer, Stage) else layer for layer in hidden]
    weights = initializers.draw("glorot_uniform", activation, seed, layers[-1].n_out, n_outputs)
    output = start_layer(weights, Activation(activation), layers[0].bias.dtype)
    if bias is not None:
        output = replace(output, bias=bias.astype(output.bias.dtype))
    return Network([*layers, output])


def unroll(stages: Sequence[Stage]) -> Network:
    """Return the deep autoencoder of pretrained layers: all encoders, then all decoders in reverse.

    A tied decoder stays tied to its encoder.
    """
    decoders = []
    for depth in reversed(range(len(stages))):
        layer = stages[depth].decoder
        tied_to = depth if layer.tied_to >= 0 else -1
        decoders.append(DenseLayer(layer.weights, layer.bias, layer.activation, layer.parameter, tied_to))
    return Network([*(stage.encoder for stage in stages), *decoders])


def untied(network: Network) -> Network:
    """Return the network with weights of their own, still the same, for the layers that share an earlier one's."""
    return Network(
        [replace(layer, weights=np.ascontiguousarray(layer.weights), tied_to=-1) for layer in network.layers]
    )


def finetune(
    network: Network,
    X: Array,
    Y: Array | None,
    settings: Any,
    *,
    loss: str,
    n_hidden: int,
    groups: Array | None = None,
    row_weights: Array | None = None,
    memory: Memory | None = None,
    seed: int = 0,
    threads: int = 0,
    bfloat16: bool = False,
    callbacks: Sequence[Callback] = (),
    out_of_time: Callable[[], bool] | None = None,
    on_start: Callable[[Callable[[], Network]], object] | None = None,
    on_interrupt: Callable[[Network, list[EpochRecord]], object] | None = None,
    keeper: Keeper = NOTHING_KEPT,
) -> tuple[Network, list[EpochRecord]]:
    """Train a stacked network on its targets.

    Parameters
    ----------
    network : Network
        Where training starts; not changed.
    X : ndarray of shape (n_rows, n_inputs)
        The labelled rows.
    Y : ndarray of shape (n_rows, n_outputs) or None
        One column a class (0 or 1) for "softmax_cross_entropy". NaN targets count nothing. None: the targets are X.
    settings : FineTuning
        As its `check` returned it.
    loss : {"squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy"}
    n_hidden : int
        Number of hidden layers, to which dropout and freezing apply.
    groups : ndarray of shape (n_rows,) or None
        Classes within which the validation rows are drawn.
    row_weights : ndarray of shape (n_rows,) or None
        Of the network's dtype; both losses are means weighted so. None: all rows weigh the same.
    memory : Memory or None
        The optimiser's memory of an earlier training of this network, to go on from; it is brought up to date.
    seed, threads, bfloat16, callbacks, out_of_time
        As in `pretrain`.
    on_start : callable, default=None
        Is given a function that returns the network as it stands at any time of the training.
    on_interrupt : callable on (network, history), default=None
        On Ctrl-C, or when a callback raises, is given what was reached (the best weights, with early stopping) before
        the exception goes on.
    keeper : Keeper
        As in `pretrain`.

    Returns
    -------
    network : Network
    history : list of EpochRecord

    Raises
    ------
    TrainingDiverged
        If a loss or a weight is not a finite number.
    ValueError
        If there are too few rows to keep a validation part.
    """
    missing = Y is not None and bool(np.isnan(Y).any())
    held_out = None
    if settings.early_stopping:
        train, rows = split_rows(len(X), settings.validation_fraction, groups, checks.subkey(seed, 0))
        held_out = (X[rows], None if Y is None else Y[rows], None if row_weights is None else row_weights[rows])
        X, Y = X[train], None if Y is None else Y[train]
        row_weights = None if row_weights is None else row_weights[train]

    if memory is not None:  # the engine shuffles by whole epochs, of which `memory` need not consist
        order = _core.random_permutation(checks.subkey(seed, 2), 0, len(X))
        X, Y = X[order], None if Y is None else Y[order]
        row_weights = None if row_weights is None else row_weights[order]

    if Y is not None and settings.label_smoothing:  # towards equal probabilities of the classes, or of yes and no
        outcomes = Y.shape[1] if loss == "softmax_cross_entropy" else 2
        Y = ((1 - settings.label_smoothing) * Y + settings.label_smoothing / outcomes).astype(Y.dtype)
    engine = network.engine()
    batch_size = training.batch_size_for(settings.batch_size, len(X), settings.optimizer.auto_rows)
    others = len(network.layers) - n_hidden

    def recipe_of(phase: int, frozen: list[bool]) -> _core.Recipe:
        return _core.Recipe(
            loss,
            settings.optimizer.engine(),
            batch_size,
            seed=checks.subkey(seed, 1, phase) if phase else checks.subkey(seed, 1),
            alpha=settings.alpha,
            penalties=_core.Penalties(**penalties.of_weights(settings)),
            noise=_core.Noise("dropout", settings.input_dropout) if settings.input_dropout else _core.Noise(),
            dropout=[*settings.dropout, *[0.0] * others] if any(settings.dropout) else [],
            frozen=frozen,
            rate_scale=_rate_scales(settings, others),
            shuffle=memory is None,
            missing_targets=missing,
            threads=threads,
            bfloat16=bfloat16,
        )

    frozen_epochs = _frozen_epochs(settings, len(network.layers))
    stopper = EarlyStopping(engine, settings.n_iter_no_change, settings.tol) if settings.early_stopping else None
    at, steps = keeper.position("finetuning", None), -(-len(X) // batch_size)
    history: list[EpochRecord] = list(at.records)
    recipe = recipe_of(0, [epochs != 0 for epochs in frozen_epochs])
    plan_of = partial(line_search.plan_for, settings.optimizer)
    thaws = any(frozen_epochs)
    records = training.run(
        engine,
        recipe,
        X,
        Y,
        stage="finetuning",
        layer=None,
        epochs=settings.epochs,
        batch_size=batch_size,
        learning_rate=settings.optimizer.learning_rate,
        schedule=schedules.of_training(settings.schedule, steps_per_epoch=steps, epochs=settings.epochs),
        momentum_schedule=settings.optimizer.momentum_schedule,
        row_weights=row_weights,
        validation=held_out,
        memory=memory,
        out_of_time=out_of_time,
        callbacks=callbacks,
        early_stopping=stopper,
        plan=ThawingPlan(engine, recipe_of, frozen_epochs, steps, plan_of, done=len(history) * steps + at.step)
        if thaws
        else plan_of(engine, recipe),
        keeper=keeper,
    )
    if on_start is not None:
        on_start(lambda: network.trained(engine))
    try:
        for record in records:
            history.append(record)  # noqa: PERF402 (a list() would lose the records on Ctrl-C)
    except TrainingDiverged:
        raise
    except BaseException:
        if on_interrupt is not None:
            on_interrupt(_reached(network, engine, stopper), history)
        raise
    return _reached(network, engine, stopper), history


def _reached(network: Network, engine: Any, stopper: EarlyStopping | None) -> Network:
    """Return the network as trained, with the best weights that early stopping has seen.

    The engine's stay as they are: they are where the training stands, which a checkpoint may still have to tell.
    """
    if stopper is None or stopper.best is None:
        return network.trained(engine)
    last = engine.parameters()
    engine.set_parameters(stopper.best)
    try:
        return network.trained(engine)
    finally:
        engine.set_parameters(last)


def _rate_scales(settings: Any, others: int) -> list[float]:
    """Return the factor of each layer's rate; none where all are 1."""
    n_hidden = len(settings.rate_scale)
    hidden = [scale * settings.layer_decay ** (n_hidden - depth) for depth, scale in enumerate(settings.rate_scale)]
    scales = [*hidden, *[settings.output_rate_scale] * others]
    return scales if any(scale != 1 for scale in scales) else []


def _frozen_epochs(settings: Any, n_layers: int) -> list[int | None]:
    """Return for how many epochs each layer stays frozen: 0 if it never is, None if to the end."""
    thaws = settings.thaw_after or [None] * len(settings.frozen_layers)
    of_layer = dict(zip(settings.frozen_layers, thaws, strict=True))
    return [of_layer.get(layer, 0) for layer in range(1, n_layers + 1)]


def check_enough_rows(n_rows: int, kind: str = "labelled rows") -> None:
    """Raise ValueError if there are too few rows for early stopping to keep some apart; `kind` is what they are."""
    if n_rows < 2:
        raise ValueError(f"early_stopping needs at least 2 {kind}. Got n_samples = {n_rows}.")


def split_rows(n_rows: int, fraction: float, groups: Array | None, seed: int) -> tuple[Array, Array]:
    """Draw a validation part of rows: that fraction of all, and of each group up to rounding.

    Each group gives its share rounded down; what is then missing of the whole comes from the groups that lost most by
    rounding (the method of largest remainders, ties by lot). One row of each group at least stays to train on.

    Parameters
    ----------
    n_rows : int
    fraction : float in (0, 1)
    groups : ndarray of shape (n_rows,) or None
        None: all rows are one group.
    seed : int

    Returns
    -------
    train, validation : ndarrays of row numbers, ascending

    Raises
    ------
    ValueError
        If a part would be empty.
    """
    order = _core.random_permutation(seed, 0, n_rows)
    check_enough_rows(n_rows)
    names, counts = np.unique(np.zeros(n_rows) if groups is None else groups, return_counts=True)
    shares = fraction * counts
    take = np.minimum(np.floor(shares).astype(np.int64), counts - 1)
    lots = _core.random_permutation(seed, 1, len(names))
    by_remainder = np.lexsort((lots, take - shares))
    with_room = by_remainder[take[by_remainder] < counts[by_remainder] - 1]
    take[with_room[: max(0, max(1, round(fraction * n_rows)) - int(take.sum()))]] += 1

    of_row = np.zeros(n_rows) if groups is None else groups[order]
    chosen = [order[of_row == name][:count] for name, count in zip(names, take, strict=True)]
    validation = np.sort(np.concatenate(chosen)) if take.any() else order[:1]  # no group has two rows
    return np.setdiff1d(np.arange(n_rows), validation), validation
