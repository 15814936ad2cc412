"""Greedy layer-wise pretraining without labels (Bengio et al. 2007, Vincent et al. 2010).

Layer by layer, an autoencoder learns to rebuild what the layer below gives it; its encoder becomes the hidden layer,
and the codes of the clean inputs are what the next layer learns from.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, activations, boltzmann, checks, initializers, rbm, training
from layerwise.activations import Activation
from layerwise.autoencoders import Autoencoder, ContractiveAutoencoder, DenoisingAutoencoder, SparseAutoencoder
from layerwise.checks import Parameter
from layerwise.network import Network, start_layer
from layerwise.rbm import RestrictedBoltzmannMachine
from layerwise.stage import Stage as Stage
from layerwise.training import Callback

Array = NDArray[Any]

SKILL_ROWS = 10_000  # the skill is measured on at most so many rows, evenly spaced
DECODER_RANGES = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf), "softplus": (0, np.inf)}  # of those bounded


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
    seed: int = 0,
    threads: int = 0,
    callbacks: Sequence[Callback] = (),
    report: Callable[[str], object] | None = None,
    owner: Parameter | None = None,
) -> Iterator[Stage]:
    """Pretrain hidden layers one at a time, without labels.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_inputs)
    hidden_layer_sizes : sequence of int
    settings : Autoencoder or a kind of it, RestrictedBoltzmannMachine, or a name, default=None
        None: `DenoisingAutoencoder` with its defaults.
    activation, initializer : one, or a list with one a layer
    seed : int, default=0
        64 bits; all random numbers follow from it.
    threads : int, default=0
        0: chosen by the size of the work. The results do not depend on it.
    callbacks : sequence of callables on an EpochRecord
        One that returns True ends the pretraining of its layer.
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
        At the call, before any work, if a setting is not allowed.
    TrainingDiverged
        If a loss or a weight is not a finite number.

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
    seed = checks.seed_key(seed)
    threads = checks.integer(where.child("threads"), threads, 0)
    if isinstance(layer_settings[0], RestrictedBoltzmannMachine):
        layer_settings = list(rbm.fit_to_layers(where, X, layer_settings, kinds))
    else:
        for layer, n_inputs, kind in zip(layer_settings, [X.shape[1], *sizes[:-1]], kinds, strict=True):
            layer.check_inputs(where.child("pretraining"), n_inputs)
            layer.check_activation(where.child("pretraining"), kind.name)
    return _stages(X, sizes, layer_settings, kinds, starts, seed, threads, callbacks, report or (lambda _: None))


def resolve(where: Parameter, value: Any) -> Pretraining:
    """Return the settings meant by a settings object or a name."""
    if isinstance(value, str) and value in BY_NAME:
        return BY_NAME[value]()
    if not isinstance(value, (Autoencoder, RestrictedBoltzmannMachine)):
        allowed = "None, settings such as DenoisingAutoencoder() or RestrictedBoltzmannMachine()"
        raise where.error(f"{allowed}, or one of {list(BY_NAME)}", value)
    return value


def usual_activation(settings: Any, usual: str) -> str:
    """Return the hidden activation that "auto" means with these settings (or their name)."""
    machine = BY_NAME.get(settings) if isinstance(settings, str) else type(settings)
    return rbm.BINARY if machine is RestrictedBoltzmannMachine else usual


def _stages(
    X: Array,
    sizes: Sequence[int],
    layer_settings: Sequence[Any],  # checked: one settings object a layer, each setting a single value
    kinds: Sequence[Activation],
    starts: Sequence[Any],
    seed: int,
    threads: int,
    callbacks: Sequence[Callback],
    report: Callable[[str], object],
) -> Iterator[Stage]:
    hidden, held_out = _split(X, layer_settings[0].validation_fraction, checks.subkey(seed, 0))
    below: Activation | None = None
    for depth, (size, settings, activation, start) in enumerate(zip(sizes, layer_settings, kinds, starts, strict=True)):
        layer, key = depth + 1, checks.subkey(seed, depth + 1)
        low, high = float(hidden.min()), float(hidden.max())
        unit = (low >= 0 and high <= 1) if below is None else below.name in activations.IN_UNIT_INTERVAL
        machine = isinstance(settings, RestrictedBoltzmannMachine)
        decoder, loss = rbm.decoder_of(settings) if machine else choose_decoder(settings, unit)
        least, greatest = DECODER_RANGES.get(decoder, (-np.inf, np.inf))
        if low < least or high > greatest:
            _warn_of_scale(layer, decoder, low, high)
        tied = ", tied" if settings.tied else ""
        report(
            f"layer {layer}: {hidden.shape[1]} -> {size} {activation.name}{tied}, decoder {decoder}, {loss} "
            f"(targets in [{low:.3g}, {high:.3g}])"
        )

        if machine:
            network = rbm.start(hidden, size, activation, settings, start, key)
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
            validation=None if held_out is None else (held_out, None),
            callbacks=callbacks,
            plan=rbm.Plan(engine, recipe, settings) if machine else None,
            measure=boltzmann.monitor(network, engine, settings, hidden, held_out, checks.subkey(key, 3))
            if machine and settings.monitor
            else None,
        )
        records = tuple(history)

        trained = network.trained(engine)
        skill = _skill(engine, recipe, hidden, loss)
        reached = f"loss {records[-1].loss:.5g}" if records else "left at its random start"
        report(f"layer {layer}: {reached}, skill {skill:.3f}")
        yield Stage(layer, trained.layers[0], trained.layers[1], loss, settings, records, skill)

        if layer < len(sizes):  # the next layer learns from the codes of the clean inputs
            hidden = trained.apply(hidden, 0, 1, threads=threads)
            held_out = None if held_out is None else trained.apply(held_out, 0, 1, threads=threads)
            below = activation


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


def _split(X: Array, fraction: float, key: int) -> tuple[Array, Array | None]:
    count = min(max(1, round(fraction * len(X))), len(X) - 1)
    if fraction == 0 or count == 0:
        return X, None
    order = _core.random_permutation(key, 0, len(X))
    return X[np.sort(order[count:])], X[np.sort(order[:count])]


def _skill(engine: Any, recipe: _core.Recipe, X: Array, loss: str) -> float:
    rows = np.ascontiguousarray(X[:: -(-len(X) // SKILL_ROWS)])
    reached = float(training.plan_for(engine, recipe).evaluate(rows, None))
    best, blind = _least_and_blind(rows, loss)
    return 1 - (reached - best) / (blind - best) if blind > best else 0.0


def _least_and_blind(X: Array, loss: str) -> tuple[float, float]:
    """Return the least possible loss, and the loss of predicting each column's mean."""
    means = X.mean(axis=0, dtype=np.float64)
    if loss == "squared_error":
        return 0.0, float(sum(((block - means) ** 2).sum() for block in _blocks(X)) / len(X))
    return float(sum(_entropy(block).sum() for block in _blocks(X)) / len(X)), float(_entropy(means).sum())


def _blocks(X: Array) -> Iterator[NDArray[np.float64]]:
    for first in range(0, len(X), 128):  # float64 copies of a part at a time
        yield X[first : first + 128].astype(np.float64)


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    p = np.clip(p, 1e-300, 1)
    q = np.clip(1 - p, 1e-300, 1)
    result: NDArray[np.float64] = -(p * np.log(p) + q * np.log(q))
    return result


def _warn_of_scale(layer: int, decoder: str, low: float, high: float) -> None:
    least, greatest = DECODER_RANGES[decoder]
    span = "values from 0 up" if greatest == np.inf else f"values in ({least:g}, {greatest:g})"
    warnings.warn(
        f"layer {layer}: a {decoder} decoder yields {span}, but its targets lie in [{low:.4g}, {high:.4g}]. "
        'Scale them to [0, 1] (scikit-learn\'s MinMaxScaler), or use decoder="identity".',
        checks.ScaleWarning,
        stacklevel=4,
    )
