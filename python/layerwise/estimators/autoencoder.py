"""The stacked autoencoder."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array

from layerwise import checks
from layerwise.checks import Parameter
from layerwise.estimators.continuing import passes_make_sense
from layerwise.estimators.fitted import require_fitted
from layerwise.estimators.rebuilding import RebuildingEstimator
from layerwise.estimators.weights import check_sample_weight

Array = NDArray[Any]


class StackedAutoencoder(RebuildingEstimator):
    """Deep autoencoder, pretrained greedily layer by layer and, if wanted, fine-tuned as a whole.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, int or "auto", default="auto"
        "auto": (100, 100).
    pretraining : settings or their name, default="auto"
        `Autoencoder`, `DenoisingAutoencoder`, `SparseAutoencoder`, `ContractiveAutoencoder` or
        `RestrictedBoltzmannMachine`, or with their defaults "autoencoder", "denoising", "sparse", "contractive", "rbm".
        "auto": "denoising".
    finetuning : None, "auto" or FineTuning, default=None
        None: encoders and decoders stay as their layers' pretraining left them. Otherwise all encoders and decoders are
        unrolled into one network and trained to rebuild X (Hinton & Salakhutdinov 2006). Tied weights stay tied unless
        ``FineTuning(untie=True)``.
    activation : str, activation, or a list with one a layer, default="auto"
        "auto": "tanh", or "sigmoid" with a `RestrictedBoltzmannMachine`.
    batch_norm : bool, BatchNorm, or a list with one a hidden layer, or "auto", default="auto"
        As in `PretrainedClassifier`. Encoders alone are normalised; decoders never are.
    initializer : str, initializer, or a list with one a layer, default="auto"
        "auto": by the activation, see `layerwise.initializers`.
    precision, n_jobs, random_state
        As in `PretrainedClassifier`.
    warm_start : bool, default=False
        Whether `fit` goes on from the fit before: stages that are pretrained are kept, and the unrolled network is
        fine-tuned further, if it is fine-tuned. Layers added to `hidden_layer_sizes`, and those that an interrupted fit
        did not reach, are pretrained on the kept ones; the stack is then unrolled anew. Schedules begin anew.
    max_seconds, callbacks, checkpoint, memory, verbose
        As in `PretrainedClassifier`.

    Attributes
    ----------
    stages_ : list of Stage
        The pretrained layers, as pretraining left them.
    history_ : list of EpochRecord
    network_ : Network
        All encoders, then all decoders in reverse order.
    coefs_, intercepts_ : lists of ndarray
        Its weights and biases, layer by layer.
    n_iter_ : int
        Number of epochs of all stages together.
    n_samples_seen_ : int
        Number of rows that were learned from; with `partial_fit`, in all calls together.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        If X had column names, all strings.

    Examples
    --------
    >>> from layerwise import StackedAutoencoder
    >>> model = StackedAutoencoder((100, 30), random_state=0).fit(X)
    >>> model.transform(X).shape
    (1797, 30)
    >>> model.reconstruct(X).shape
    (1797, 64)
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        *,
        pretraining: Any = "auto",
        finetuning: Any = None,
        activation: Any = "auto",
        batch_norm: Any = "auto",
        initializer: Any = "auto",
        precision: str = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        max_seconds: float | None = None,
        callbacks: Any = None,
        checkpoint: Any = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.pretraining = pretraining
        self.finetuning = finetuning
        self.activation = activation
        self.batch_norm = batch_norm
        self.initializer = initializer
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.max_seconds = max_seconds
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.memory = memory
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "StackedAutoencoder":
        """Learn to rebuild X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
            Present because scikit-learn's pipelines pass it.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `PretrainedClassifier.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, X or sample_weight is not allowed.
        TrainingDiverged
            If a loss is not a finite number; the estimator is then as it was before.
        FormatError, OSError
            If the file of `checkpoint` is damaged, or cannot be read or written; what was reached is kept.
        KeyboardInterrupt
            On Ctrl-C, with a note that says what was kept: nothing, finished stages, or the network in fine-tuning.
        """
        self._fit(X, y, sample_weight)
        return self

    @available_if(passes_make_sense)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "StackedAutoencoder":
        """Learn from some more rows.

        The first call pretrains on its rows. Each call then does one pass of fine-tuning of the unrolled network, as
        `finetuning` says ("auto" if it is None), with the optimiser going on where the call before left it. After `fit`
        or `layerwise.load`, fine-tuning goes on from there with a fresh optimiser.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            As in `PretrainedClassifier.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As for `fit`.
        AttributeError
            With a checkpoint, early stopping, a schedule of the momentum or of the learning rate (but "auto" and
            "constant"), or layers that thaw, which belong to whole fits.
        TrainingDiverged, KeyboardInterrupt
            As for `fit`.
        """
        self._fit(X, y, sample_weight, once=True)
        return self

    def inverse_transform(self, X: Any, layer: int | None = None) -> Array:
        """Decode codes back to inputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units of that layer)
        layer : int, default=None
            The hidden layer the codes belong to, counted from 1; None is the last.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Of a table with `ColumnGroups`: numbers, and the probabilities of flags and of each category's levels.
        """
        require_fitted(self)
        depth = self._n_hidden()
        number = depth if layer is None else layer
        if not checks.is_number(number, Integral) or not 0 <= number <= depth:
            raise Parameter("inverse_transform", "layer").error(f"None or an integer in [0, {depth}]", layer)
        checks.refuse_odd_dtypes(X)
        codes = checks.as_engine(check_array(X, input_name="X", estimator=self), self.network_.dtype)
        width = self.n_features_in_ if number == 0 else self.network_.layers[number - 1].n_out
        if codes.shape[1] != width:
            raise ValueError(f"X has {codes.shape[1]} columns, but layer {number} has {width} units.")
        return codes.copy() if number == 0 else self._apply(codes, 2 * depth - int(number))

    def reconstruct(self, X: Any, layer: int | None = None) -> Array:
        """Encode inputs up to a hidden layer and decode them again.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        layer : int, default=None
            None is the last hidden layer.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            As of `inverse_transform`.
        """
        require_fitted(self)
        depth = self._n_hidden()
        number = depth if layer is None else layer
        if not checks.is_number(number, Integral) or not 0 <= number <= depth:
            raise Parameter("reconstruct", "layer").error(f"None or an integer in [0, {depth}]", layer)
        data = self._checked(X)
        if number == 0:
            return data.copy()
        return self._apply(self._apply(data, 0, int(number)), 2 * depth - int(number))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: ARG002 (y is scikit-learn's convention)
        """Return the share of the squared deviation from the column means that the reconstruction explains.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        float
            1 - sum((X - reconstruct(X))^2) / sum((X - mean)^2), each row's part and the mean weighted; at most 1; 0 if
            X does not vary.
        """
        require_fitted(self)
        data = self._checked(X).astype(np.float64)
        weights = check_sample_weight(sample_weight, data)
        shares = np.ones((len(data), 1)) if weights is None else weights[:, None]
        errors = float((shares * (data - self.reconstruct(X)) ** 2).sum())
        spread = float((shares * (data - (shares * data).sum(axis=0) / shares.sum()) ** 2).sum())
        return 1 - errors / spread if spread > 0 else 0.0
