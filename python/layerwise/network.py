"""Weights as plain arrays: what training starts from and what it leaves behind.

The engine's network trains in place and cannot be pickled; this one is a value that can be kept, copied, pickled and
saved, and that makes an engine network whenever one is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core
from layerwise.activations import Activation

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A fully connected layer: activation(X @ weights + bias), or with batch normalisation between the two.

    Attributes
    ----------
    weights : ndarray of shape (n_in, n_out)
    bias : ndarray of shape (n_out,)
        The shift (beta), where the layer is normalised.
    activation : Activation
    parameter : ndarray of shape (n_out,) or None
        The activation's learned parameter (PReLU's alpha, Swish's beta), one per unit; None if nothing is learned.
    tied_to : int
        Number of the earlier layer of the same network whose transposed weights this one uses; -1 if it has its own.
    normalization : ndarray of shape (3, n_out) or None
        The scale (gamma), running mean and running variance of batch normalisation; None without.
    """

    weights: Array
    bias: Array
    activation: Activation
    parameter: Array | None = None
    tied_to: int = -1
    normalization: Array | None = None

    def __post_init__(self) -> None:
        for array in (self.weights, self.bias, self.parameter, self.normalization):
            if array is not None:
                array.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # a copied or unpickled array is writable

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.weights.shape[0])

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.weights.shape[1])

    def affine(self) -> tuple[Array, Array]:
        """Return what predictions make of an input before the activation, as weights and bias of the same shapes."""
        if self.normalization is None or self.activation.batch_norm is None:
            return self.weights, self.bias
        scale, mean, variance = self.normalization
        factor = scale / np.sqrt(variance + self.bias.dtype.type(self.activation.batch_norm[1]))
        return self.weights * factor, self.bias - mean * factor


class Network:
    """A chain of dense layers with their weights.

    Parameters
    ----------
    layers : sequence of DenseLayer
        All of one dtype, float32 or float64.
    """

    _rounded: Any = None  # the engine network and its weights in bfloat16

    def __init__(self, layers: Sequence[DenseLayer]) -> None:
        self.layers = tuple(layers)
        self._engine: Any = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the weights, in which the network computes."""
        return self.layers[0].bias.dtype

    def engine(self) -> Any:
        """Return a new engine network with these weights, to be trained."""
        kind = _core.Network_float32 if self.dtype == np.float32 else _core.Network_float64
        engine = kind([layer.activation.layer(layer.n_in, layer.n_out, layer.tied_to) for layer in self.layers])
        for index, layer in enumerate(self.layers):
            if layer.tied_to < 0:
                engine.set_weights(index, np.ascontiguousarray(layer.weights))
            engine.set_bias(index, layer.bias)
            if layer.parameter is not None:
                engine.set_parameter(index, layer.parameter)
            if layer.normalization is not None:
                engine.set_normalization(index, layer.normalization)
        return engine

    def trained(self, engine: Any) -> "Network":
        """Return a network of the same shape with the weights of `engine`."""
        layers: list[DenseLayer] = []
        for index, old in enumerate(self.layers):
            weights = engine.weights(index) if old.tied_to < 0 else layers[old.tied_to].weights.T
            parameter = None if old.parameter is None else engine.parameter(index)
            norm = None if old.normalization is None else engine.normalization(index)
            layers.append(DenseLayer(weights, engine.bias(index), old.activation, parameter, old.tied_to, norm))
        return Network(layers)

    def apply(
        self,
        X: Array,
        first: int = 0,
        last: int | None = None,
        *,
        logits: bool = False,
        threads: int = 0,
        bfloat16: bool = False,
    ) -> Array:
        """Apply the layers `first` to `last` - 1.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_in of layer `first`)
            C-contiguous, of the network's dtype.
        first, last : int, default=0 and the number of layers
        logits : bool, default=False
            Leave out the last layer's activation.
        threads : int, default=0
            0: chosen by the size of the work. The result does not depend on it.
        bfloat16 : bool, default=False
            Round the operands of the products to bfloat16 and sum in float32. The rounded weights, two bytes each (and
            again for a layer that is tied), are kept for the next call.

        Returns
        -------
        ndarray of shape (n_rows, n_out of layer `last` - 1)

        Raises
        ------
        ValueError
            If X does not fit the layer `first`; with `bfloat16` where the processor has no AVX512-BF16.
        TypeError
            If X has another dtype; with `bfloat16` where the network is in float64.
        """
        last = len(self.layers) if last is None else last
        if first == last:
            return X
        if self._engine is None:
            self._engine = self.engine()
        engine, rounded = self._engine, None
        if bfloat16:
            if self._rounded is None:
                self._rounded = (engine, _core.RoundedWeights(engine))
            engine, rounded = self._rounded  # another thread's, if that was faster
            self._engine = engine
        result: Array = engine.apply(X, first, last, logits, threads, rounded)
        return result

    def __getstate__(self) -> dict[str, Any]:
        return {"layers": self.layers, "_engine": None, "_rounded": None}

    def __repr__(self) -> str:
        """Return the layers' sizes and activations."""
        text = "".join(f" -> {layer.n_out} {layer.activation.title}" for layer in self.layers)
        return f"<Network {self.layers[0].n_in}{text}, {self.dtype}>"


def start_layer(
    weights: NDArray[np.float64], activation: Activation, dtype: np.dtype[Any], tied_to: int = -1
) -> DenseLayer:
    """Return a layer at the start of its training: given weights, biases of 0."""
    n_out = weights.shape[1]
    parameter = None if activation.learn == "fixed" else np.full(n_out, activation.parameter, dtype)
    norm = None if activation.batch_norm is None else start_normalization(np.ones(n_out, dtype))
    return DenseLayer(weights.astype(dtype), np.zeros(n_out, dtype), activation, parameter, tied_to, norm)


def start_normalization(scale: Array) -> Array:
    """Return the `DenseLayer.normalization` of a layer at the start, with running mean 0 and running variance 1."""
    return np.stack([scale, np.zeros_like(scale), np.ones_like(scale)])
