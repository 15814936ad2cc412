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
        seed: int,
        threads: int,
        bfloat16: bool,
    ) -> None:
        self._plan, self._engine, self._labels, self._optimizer = plan, engine, labels, optimizer
        encoder = network.layers[0]
        weights = initializers.draw(
            "glorot_uniform", labels.output, checks.subkey(seed, 0), encoder.n_out, labels.Y.shape[1]
        )
        output = start_layer(weights, Activation(labels.output), network.dtype)
        self._learns = encoder.parameter is not None
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
    ) -> Stats:
        """Do the steps `first_step` to `first_step` + `steps` - 1, and as many on labels; the loss is the layer's."""
        loss_sum = weight_sum = rate = 0.0
        for first in range(0, steps, TURN):
            count = min(TURN, steps - first)
            own = slice(first, first + count)
            stats = self._plan.run(
                X,
                Y,
                first_step + first,
                count,
                None if rates is None else rates[own],
                None if momenta is None else momenta[own],
                row_weights,
            )
            if not stats.finite:
                return Stats(float(stats.loss), finite=False)
            loss_sum, weight_sum = loss_sum + stats.weight * stats.loss, weight_sum + stats.weight
            rate = stats.rate if isinstance(stats, Stats) else 0.0
            taught = self._teach(first_step + first, count)
            if not taught.finite:
                return Stats(float(taught.loss), finite=False)
        return Stats(loss_sum / weight_sum if weight_sum > 0 else 0.0, rate=rate, weight=weight_sum)

    def evaluate(self, X: Array, Y: Array | None = None, row_weights: Array | None = None) -> float:
        """Return the loss of the layer's own training, without noise."""
        return float(self._plan.evaluate(X, Y, row_weights))

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
