"""`transform`: the outputs of hidden layers."""

from abc import ABC, abstractmethod
from copy import copy
from numbers import Integral
from typing import Any

from numpy.typing import NDArray
from sklearn.utils._set_output import _wrap_data_with_container

from layerwise import checks
from layerwise.checks import Parameter
from layerwise.estimators.fitted import require_fitted
from layerwise.network import Network

Array = NDArray[Any]


class HiddenOutputs(ABC):
    """`transform`: the outputs of any hidden layer, in the container that `set_output` asks for.

    It stands outside scikit-learn's classes because their automatic wrapping would name the columns of every layer
    after the last one; this wraps its own output.
    """

    network_: Network
    _shown_layer: int

    def transform(self, X: Any, layer: int | None = None) -> Any:
        """Return the outputs of a hidden layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        layer : int, default=None
            0 is the input itself, 1 the first hidden layer, and so on; None is the last hidden layer.

        Returns
        -------
        array or dataframe of shape (n_samples, n_units)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X does not fit the fitted data, or there is no such layer.
        """
        require_fitted(self)
        n_hidden = self._n_hidden()
        number = n_hidden if layer is None else layer
        if not checks.is_number(number, Integral) or not 0 <= number <= n_hidden:
            raise Parameter("transform", "layer").error(f"None or an integer in [0, {n_hidden}]", layer)
        data = self._checked(X)
        hidden = data.copy() if number == 0 else self._apply(data, 0, int(number))
        named = copy(self)
        named._shown_layer = int(number)
        return _wrap_data_with_container("transform", hidden, X, named)

    @abstractmethod
    def _n_hidden(self) -> int:
        """Return the number of hidden layers of the fitted network."""

    @abstractmethod
    def _checked(self, X: Any) -> Array:
        """Return X as the engine wants it."""

    @abstractmethod
    def _apply(self, X: Array, first: int, last: int | None = None, *, logits: bool = False) -> Array:
        """Apply the layers `first` to `last` - 1 of the fitted network."""

    @property
    def _n_features_out(self) -> int:
        number = getattr(self, "_shown_layer", self._n_hidden())
        return self.network_.layers[0].n_in if number == 0 else self.network_.layers[number - 1].n_out
