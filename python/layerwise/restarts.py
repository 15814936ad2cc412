"""Starts for fine-tuning that keep a part of what pretraining learned, or nothing of it (Erhan et al. 2009, 2010).

They tell what pretraining is worth: its weights, their distribution alone, or the layers it was done for.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks, initializers
from layerwise.checks import Parameter
from layerwise.network import DenseLayer, start_layer, start_normalization

Array = NDArray[Any]

STARTS = ("pretrained", "histogram", "random")


def resolve(where: Parameter, value: Any) -> str:
    """Return `value` if it is the name of a start."""
    return checks.choice(where, value, STARTS)


def restarted(layers: Sequence[DenseLayer], starts: Sequence[str], rules: Sequence[Any], seed: int) -> list[DenseLayer]:
    """Return hidden layers with some of them started anew.

    Parameters
    ----------
    layers : sequence of DenseLayer
        As pretraining left them.
    starts : sequence of {"pretrained", "histogram", "random"}
        One a layer. "pretrained": as it is. "histogram": each weight is one of the layer's weights, drawn with
        replacement, and each bias one of its biases, so that the marginal distributions stay and nothing else; so are
        the scales of batch normalisation, whose running statistics, which fit no other weights, begin anew.
        "random": as without pretraining.
    rules : sequence of str or Initializer
        How to draw the weights of a "random" layer.
    seed : int
        64-bit key.

    Returns
    -------
    list of DenseLayer
    """
    return [
        layer if start == "pretrained" else _ANEW[start](layer, rule, checks.subkey(seed, depth))
        for depth, (layer, start, rule) in enumerate(zip(layers, starts, rules, strict=True))
    ]


def _random(layer: DenseLayer, rule: Any, key: int) -> DenseLayer:
    weights = initializers.draw(rule, layer.activation.name, key, layer.n_in, layer.n_out)
    return start_layer(weights, layer.activation, layer.bias.dtype)


def _from_histogram(layer: DenseLayer, rule: Any, key: int) -> DenseLayer:  # noqa: ARG001 (as _random)
    key = checks.subkey(key, 0)  # not the stream that a random start would have
    parameter = None if layer.parameter is None else _redrawn(layer.parameter, key, 2)
    if parameter is not None and layer.activation.learn == "shared":
        parameter[:] = parameter[0]
    norm = None if layer.normalization is None else start_normalization(_redrawn(layer.normalization[0], key, 3))
    weights, bias = _redrawn(layer.weights, key, 0), _redrawn(layer.bias, key, 1)
    return DenseLayer(weights, bias, layer.activation, parameter, normalization=norm)


def _redrawn(values: Array, key: int, stream: int) -> Array:
    """Return an array of the same shape with elements drawn from `values`, independently and with replacement."""
    places = np.floor(_core.random_uniform(key, stream, values.size) * values.size).astype(np.int64)
    drawn: Array = values.reshape(-1)[places].reshape(values.shape)
    return drawn


_ANEW = {"histogram": _from_histogram, "random": _random}
