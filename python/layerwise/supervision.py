"""A first layer that learns from labels too while it is pretrained (Bengio et al. 2007: partially supervised).

Where what the inputs look like says little about the labels, a code that only rebuilds the inputs may leave out what
matters. So the first layer's own training and steps on the labels, through an output layer that is then dropped, take
turns with the same weights.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks, initializers, training
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.keeping import memory_of, set_memory
from layerwise.network import Network, start_layer
from layerwise.optimizers import LineSearches, Optimizer
from layerwise.optimizers import resolve as resolve_optimizer
from layerwise.training import Stats

Array = NDArray[Any]

LOSSES = {"softmax": "softmax_cross_entropy", "sigmoid": "sigmoid_cross_entropy", "identity": "squared_error"}
TURN = 10  # steps of one kind, before as many of the other


@dataclass(frozen=True, eq=False)
class Labels:
    """Rows whose targets are known.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_inputs)
    Y : ndarray of shape (n_rows, n_outputs)
        Of X's dtype; NaN where unknown.
    output : {"softmax", "sigmoid", "identity"}
        Activation of an output layer for them, which decides on the loss.
    row_weights : ndarray of shape (n_rows,) or None
    """

    X: Array
    Y: Array
    output: str
    row_weights: Array | None = None


def check_optimizer(where: Parameter, value: Any) -> Optimizer | None:
    """Return the optimiser of the steps on labels; None if there shall be none."""
    if value is None:
        return None
    found = resolve_optimizer(where, value)
    if isinstance(found, LineSearches):
        raise where.error("None or an optimizer with a learning rate", value)
    return found


class Plan:
    """A plan for an autoencoder or Boltzmann machine whose steps take turns with steps of its encoder on labels.

    Parameters
    ----------
    plan : object with the engine's `run` and `evaluate`
        Of the layer's own training.
    engine : Network of the engine
        Encoder and decoder, trained in place.
    network : Network
        Of the same shape.
    labels : Labels
    optimizer : Optimizer
        Of the steps on labels.
    batch_size : int or "auto"
    steps_per_epoch : int
        Of the layer's own training. A turn ends with its epoch.
    seed : int
    threads : int
    bfloat16 : bool
    """

    def __init__(
        self,
        plan: Any,
        engine: Any,
        network: Network,
        labels: Labels,
        optimizer: Optimizer,
        *,
        batch_size: int | str,
        steps_per_epoch: int,
        seed: int,
        threads: int,
        bfloat16: bool,
    ) -> None:
        self._plan, self._engine, self._labels, self._optimizer = plan, engine, labels, optimizer
        self._steps_per_epoch = steps_per_epoch
        self._taught = -1  # the step at which the last turn ended, its steps on labels included
        encoder = network.layers[0]
        weights = initializers.draw(
            "glorot_uniform", labels.output, checks.subkey(seed, 0), encoder.n_out, labels.Y.shape[1]
        )
        output = start_layer(weights, Activation(labels.output), network.dtype)
        self._learns, self._normalized = encoder.parameter is not None, encoder.normalization is not None
        self._pupil = Network([encoder, output]).engine()
        size = training.batch_size_for(batch_size, len(labels.X))
        self._per_epoch = -(-len(labels.X) // size)
        self._teacher = training.plan_for(
            self._pupil,
            _core.Recipe(
                LOSSES[labels.output],
                optimizer.engine(),
                size,
                seed=checks.subkey(seed, 1),
                missing_targets=bool(np.isnan(labels.Y).any()),
                threads=threads,
                bfloat16=bfloat16,
            ),
        )

    def run(
        self,
        X: Array,
        Y: Array | None,
        first_step: int,
        steps: int,
        rates: Array | None,
        momenta: Array | None = None,
        row_weights: Array | None = None,
        so_far: tuple[float, float] = (0.0, 0.0),
    ) -> Stats:
        """Do the steps `first_step` to `first_step` + `steps` - 1, and as many on labels; the loss is the layer's.

        Where a turn is cut, its steps on labels wait for the run that ends it.
        """
        step, end = first_step, first_step + steps
        while True:
            epoch, place = divmod(step, self._steps_per_epoch)
            begin = epoch * self._steps_per_epoch + place // TURN * TURN
            turn_end = min(begin + TURN, (epoch + 1) * self._steps_per_epoch)
            count = min(turn_end, end) - step
            own = slice(step - first_step, step - first_step + count)
            of_step = [None if values is None else values[own] for values in (rates, momenta)]
            stats = self._plan.run(X, Y, step, count, *of_step, row_weights, so_far)
            step, so_far = step + count, stats.sums
            rate = stats.rate if isinstance(stats, Stats) else 0.0
            taught = self._teach(begin, turn_end - begin) if stats.finite and step == turn_end else None
            if step == turn_end:
                self._taught = turn_end
            if taught is not None and not taught.finite:
                return Stats(float(taught.loss), finite=False)
            if step == end or not stats.finite:
                return Stats(float(stats.loss), stats.finite, rate, so_far)

    @property
    def standing(self) -> Any:
        """Where the last run ended, as the engine's plan says it: nowhere, if within the steps on labels of a turn."""
        at = self._plan.standing
        turn_is_over = at and (at[0] % self._steps_per_epoch) % TURN == 0
        return () if turn_is_over and at[0] != self._taught else at

    def evaluate(self, X: Array, Y: Array | None = None, row_weights: Array | None = None) -> float:
        """Return the loss of the layer's own training, without noise."""
        return float(self._plan.evaluate(X, Y, row_weights))

    def memory_arrays(self) -> dict[str, Array]:
        """Return what the layer's own plan and the one on labels remember, and the network of the latter."""
        first, second = self._teacher.moments()
        labels = {"label_first": first, "label_second": second, "label_parameters": self._pupil.parameters()}
        return {**memory_of(self._plan), **labels}

    def set_memory_arrays(self, arrays: dict[str, Array]) -> None:
        """Go on with what `memory_arrays` returned; what is left out is 0."""
        zeros = np.zeros_like(self._pupil.parameters())
        names = ("label_first", "label_second", "label_parameters")
        first, second, parameters = (arrays.get(name, zeros) for name in names)
        self._teacher.set_moments(first, second)
        self._pupil.set_parameters(parameters)
        set_memory(self._plan, {name: array for name, array in arrays.items() if name not in names})

    def _teach(self, step: int, count: int) -> Any:
        labels, schedule = self._labels, self._optimizer.momentum_schedule
        momenta = None if schedule is None else schedule.momenta(step, count, steps_per_epoch=self._per_epoch)
        self._hand_over(self._engine, self._pupil)
        rates = np.full(count, self._optimizer.learning_rate)
        stats = self._teacher.run(labels.X, labels.Y, step, count, rates, momenta, labels.row_weights)
        self._hand_over(self._pupil, self._engine)
        return stats

    def _hand_over(self, giver: Any, taker: Any) -> None:
        """Give one network's encoder to the other."""
        taker.set_weights(0, giver.weights(0))
        taker.set_bias(0, giver.bias(0))
        if self._learns:
            taker.set_parameter(0, giver.parameter(0))
        if self._normalized:
            taker.set_normalization(0, giver.normalization(0))
