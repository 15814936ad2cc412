"""Greedy layer-wise pretraining with labels (Bengio et al. 2007): the control of what labels alone can do.

Layer by layer, a network of one hidden layer learns the targets from what the layers below give it; its hidden layer is
kept, its output layer is not. Only the labelled rows take part.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import (
    _core,
    activations,
    batch_normalization,
    checks,
    initializers,
    line_search,
    optimizers,
    pretraining,
    schedules,
    skill,
    training,
)
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.keeping import NOTHING_KEPT, Keeper
from layerwise.network import Network, start_layer
from layerwise.optimizers import Adam, Optimizer
from layerwise.pretraining import Pretraining, Stage
from layerwise.schedules import CONSTANT, Schedule
from layerwise.settings import Settings
from layerwise.stage import check_done
from layerwise.supervision import LOSSES
from layerwise.training import Callback

Array = NDArray[Any]

ADAM = Adam()
NAME = "supervised"


@dataclass(frozen=True, repr=False, kw_only=True)
class SupervisedPretraining(Settings):
    """How to pretrain on the targets instead of the inputs. Each setting is one value, or a list with one a layer.

    Parameters
    ----------
    epochs : int, default=15
        0 leaves a layer at its random start.
    batch_size : int or "auto", default="auto"
        As in `FineTuning`, of the labelled rows.
    optimizer, schedule : settings or their names, default=Adam() and ConstantRate()
        As in `FineTuning`.
    alpha : float >= 0, default=0.0
        Adds 1/2 * alpha * ||W||^2 to the mean loss (weights only).
    """

    epochs: int | Sequence[int] = 15
    batch_size: int | str | Sequence[int | str] = "auto"
    optimizer: Optimizer | str | Sequence[Optimizer | str] = ADAM
    schedule: Schedule | str | Sequence[Schedule | str] = CONSTANT
    alpha: float | Sequence[float] = 0.0

    def check(self, where: Parameter, n_layers: int) -> list["SupervisedPretraining"]:
        """Check all settings; return one settings object a layer, each with single values."""
        allowed: dict[str, Callable[[Parameter, Any], Any]] = {
            "epochs": lambda where, value: checks.integer(where, value, 0),
            "batch_size": training.check_batch_size,
            "optimizer": optimizers.resolve,
            "schedule": schedules.resolve,
            "alpha": lambda where, value: checks.real(where, value, 0),
        }
        columns = {
            name: checks.per_layer(where.child(name), getattr(self, name), n_layers, check)
            for name, check in allowed.items()
        }
        for schedule, epochs in zip(columns["schedule"], columns["epochs"], strict=True):
            schedule.check_length(where.child("schedule"), epochs)
        layers = [self.replace(**{name: values[i] for name, values in columns.items()}) for i in range(n_layers)]
        for layer in layers:
            optimizers.check_together(where, layer)
        return layers


def resolve(where: Parameter, value: Any) -> Pretraining | SupervisedPretraining:
    """Return the settings meant by a settings object or a name, with labels or without."""
    if isinstance(value, str) and value == NAME:
        return SupervisedPretraining()
    also = f'None, a fitted StackedAutoencoder, SupervisedPretraining() or "{NAME}", '
    return value if isinstance(value, SupervisedPretraining) else pretraining.resolve(where, value, also)


def pretrain_supervised(
    X: Array,
    Y: Array,
    hidden_layer_sizes: Sequence[int],
    settings: SupervisedPretraining | None = None,
    *,
    output: str = "softmax",
    activation: Any = "sigmoid",
    batch_norm: Any = False,
    initializer: Any = "auto",
    row_weights: Array | None = None,
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
    """Pretrain hidden layers one at a time on targets.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_inputs)
        The labelled rows.
    Y : ndarray of shape (n_rows, n_outputs)
        Their targets: for "softmax" 1 in the column of the row's class and 0 in the others. NaN targets count nothing.
    hidden_layer_sizes : sequence of int
    settings : SupervisedPretraining, default=None
        None: its defaults.
    output : {"softmax", "sigmoid", "identity"}, default="softmax"
        Activation of each output layer, which decides on the loss: cross-entropy, or the squared error for "identity".
    activation, batch_norm, initializer, row_weights, done, seed, threads, bfloat16, callbacks, out_of_time, report,
    owner, keeper
        As in `pretrain`.

    Yields
    ------
    Stage
        Its decoder is the output layer. Its skill is 1 - loss / loss of predicting the targets' means: 0 is worthless,
        1 perfect.

    Raises
    ------
    InvalidParameterError
        At the call, before any work, if a setting is not allowed.
    ValueError
        At the call, if stages done do not fit, if X or Y is not a matrix, or if they have different numbers of rows.
    TrainingDiverged
        If a loss or a weight is not a finite number.
    """
    where = owner or Parameter("pretrain_supervised")
    X, Y = checks.as_matrix(X), np.asarray(Y)
    if Y.ndim != 2 or len(Y) != len(X) or Y.shape[1] == 0:
        raise ValueError(f"Y must be a matrix with one row for each of the {len(X)} rows of X. Got shape {Y.shape}.")
    sizes = checks.layer_sizes(where.child("hidden_layer_sizes"), hidden_layer_sizes)
    layer_settings = (settings or SupervisedPretraining()).check(where.child("pretraining"), len(sizes))
    checks.choice(where.child("output"), output, list(LOSSES))
    kinds = checks.per_layer(where.child("activation"), activation, len(sizes), activations.resolve)
    kinds = batch_normalization.normalized(where.child("batch_norm"), batch_norm, kinds)
    for one, kind in zip(layer_settings, kinds, strict=True):
        batch_normalization.check_training(where.child("pretraining"), one, [kind])
    starts = checks.per_layer(where.child("initializer"), initializer, len(sizes), initializers.resolve)
    weights = checks.row_weights(where.child("row_weights"), row_weights, len(X), X.dtype)
    check_done(done, X, sizes, kinds)
    if weights is not None and not weights.all():
        X, Y, weights = (rows[weights > 0] for rows in (X, Y, weights))
    seed = checks.seed_key(seed)
    threads = checks.integer(where.child("threads"), threads, 0)
    bfloat16 = checks.bfloat16_flag(where.child("bfloat16"), bfloat16, X.dtype)
    targets = np.ascontiguousarray(Y, X.dtype)
    layers = list(zip(sizes, layer_settings, kinds, starts, strict=True))
    return _stages(
        X,
        targets,
        weights,
        done,
        layers,
        output,
        seed,
        threads,
        bfloat16,
        callbacks,
        out_of_time,
        report or (lambda _: None),
        keeper,
    )


def _stages(
    X: Array,
    Y: Array,
    row_weights: Array | None,
    done: Sequence[Stage],
    layers: Sequence[tuple[int, Any, Activation, Any]],  # size, checked settings, activation, initialiser
    output: str,
    seed: int,
    threads: int,
    bfloat16: bool,
    callbacks: Sequence[Callback],
    out_of_time: Callable[[], bool] | None,
    report: Callable[[str], object],
    keeper: Keeper,
) -> Iterator[Stage]:
    loss, hidden = LOSSES[output], X
    for stage in done:
        hidden = stage.network().apply(hidden, 0, 1, threads=threads)
    for depth, (size, settings, activation, start) in list(enumerate(layers))[len(done) :]:
        layer, key = depth + 1, checks.subkey(seed, depth + 1)
        n_in, n_out = hidden.shape[1], Y.shape[1]
        report(f"layer {layer}: {n_in} -> {size} {activation.title}, on the targets, output {output}, {loss}")
        first = initializers.draw(start, activation.name, checks.subkey(key, 0), n_in, size)
        second = initializers.draw("glorot_uniform", output, checks.subkey(key, 1), size, n_out)
        network = Network([start_layer(first, activation, X.dtype), start_layer(second, Activation(output), X.dtype)])
        engine = network.engine()
        batch_size = training.batch_size_for(settings.batch_size, len(hidden), settings.optimizer.auto_rows)
        recipe = _core.Recipe(
            loss,
            settings.optimizer.engine(),
            batch_size,
            seed=checks.subkey(key, 2),
            alpha=settings.alpha,
            missing_targets=bool(np.isnan(Y).any()),
            threads=threads,
            bfloat16=bfloat16,
        )
        before = keeper.position("pretraining", layer).records
        records = (
            *before,
            *training.run(
                engine,
                recipe,
                hidden,
                Y,
                stage="pretraining",
                layer=layer,
                epochs=settings.epochs,
                batch_size=batch_size,
                learning_rate=settings.optimizer.learning_rate,
                schedule=settings.schedule,
                momentum_schedule=settings.optimizer.momentum_schedule,
                row_weights=row_weights,
                out_of_time=out_of_time,
                callbacks=callbacks,
                plan=line_search.plan_for(settings.optimizer, engine, recipe),
                keeper=keeper,
            ),
        )
        trained = network.trained(engine)
        gained = _skill(engine, recipe, hidden, Y, row_weights, loss)
        reached = f"loss {records[-1].loss:.5g}" if records else "left at its random start"
        report(f"layer {layer}: {reached}, skill {gained:.3f}")
        kind = "squared_error" if loss == "squared_error" else "cross_entropy"
        yield Stage(layer, trained.layers[0], trained.layers[1], kind, settings, records, gained)
        if layer < len(layers):
            hidden = trained.apply(hidden, 0, 1, threads=threads)


def _skill(engine: Any, recipe: _core.Recipe, X: Array, Y: Array, row_weights: Array | None, loss: str) -> float:
    step = -(-len(X) // skill.ROWS)
    rows, targets = np.ascontiguousarray(X[::step]), np.ascontiguousarray(Y[::step])
    weights = None if row_weights is None else np.ascontiguousarray(row_weights[::step])
    if weights is not None and not weights.any():
        return 0.0
    blind = _blind(targets.astype(np.float64), np.ones(len(rows)) if weights is None else weights, loss)
    reached = float(training.plan_for(engine, recipe).evaluate(rows, targets, weights))
    return 1 - reached / blind if blind > 0 else 0.0


def _blind(Y: NDArray[np.float64], row_weights: Array, loss: str) -> float:
    """Return the loss of predicting each target's mean over the rows where it is known."""
    shares = (row_weights / row_weights.sum(dtype=np.float64))[:, None]
    known = ~np.isnan(Y) * shares
    filled = np.where(known > 0, Y, 0.0)
    means = (known * filled).sum(axis=0) / np.maximum(known.sum(axis=0), 1e-300)
    if loss == "squared_error":
        return float((known * (filled - means) ** 2).sum())
    likely = filled * np.log(np.maximum(means, 1e-300))
    if loss == "sigmoid_cross_entropy":
        likely += (1 - filled) * np.log(np.maximum(1 - means, 1e-300))
    return float(-(known * likely).sum())
