"""Pretraining of all layers at the same time (Larochelle et al. 2009, section 9; Bengio et al. 2007).

No layer waits until those below it are finished: each epoch trains every layer for an epoch, from the lowest up, on the
codes that the layers below give then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core
from layerwise.network import Network
from layerwise.training import EpochRecord

Array = NDArray[Any]


@dataclass(eq=False)
class LayerTraining:
    """The training of one layer, which goes on when `history` is asked for its next epoch.

    Attributes
    ----------
    network : Network
        Where training started: encoder and decoder.
    engine : Network of the engine
        In training.
    recipe : Recipe of the engine
    X : ndarray of shape (n_rows, n_inputs)
        What the layer learns from.
    held_out : ndarray of shape (n_validation_rows, n_inputs) or None
    history : iterator of EpochRecord
    records : list of EpochRecord
        Of the epochs done.
    """

    network: Network
    engine: Any
    recipe: _core.Recipe
    X: Array
    held_out: Array | None
    history: Iterator[EpochRecord]
    records: list[EpochRecord] = field(default_factory=list)

    def to_the_end(self) -> None:
        """Train until the layer is trained."""
        self.records.extend(self.history)

    def encode(self, X: Array, threads: int) -> Array:
        """Return the codes that the layer gives now."""
        codes: Array = self.engine.apply(X, 0, 1, False, threads)
        return codes


def in_turn(layers: Sequence[LayerTraining], threads: int) -> None:
    """Train layers, the lowest first, for an epoch each in turn until all are trained.

    The codes are renewed where they lie, in the `X` and `held_out` of the layer above, also above a layer that is
    trained already if one below it is not: so the codes always follow from the layers as they are, and a training that
    is taken up again, with some records already, needs to know no codes.
    """
    working = set(range(len(layers)))
    epochs = [len(layer.records) for layer in layers]
    first = 0
    if any(epochs):
        for below, above in pairwise(layers):
            _renew(below, above, threads)
        first = len(epochs) - epochs[::-1].index(max(epochs))  # the layers before it have had the epoch at work
    while working:
        changed = False
        for number in range(first, len(layers)):
            layer = layers[number]
            record = next(layer.history, None) if number in working else None
            if record is None:
                working.discard(number)
            else:
                layer.records.append(record)
                changed = True
            if changed and number + 1 < len(layers):
                _renew(layer, layers[number + 1], threads)
        first = 0


def _renew(layer: LayerTraining, above: LayerTraining, threads: int) -> None:
    np.copyto(above.X, layer.encode(layer.X, threads))
    if above.held_out is not None and layer.held_out is not None:
        np.copyto(above.held_out, layer.encode(layer.held_out, threads))
