"""The regressor."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length

from layerwise.estimators.classifier import _require_target
from layerwise.estimators.continuing import passes_make_sense
from layerwise.estimators.fitted import require_fitted
from layerwise.estimators.labels import known_numbers
from layerwise.estimators.supervised import PretrainedEstimator
from layerwise.estimators.weights import check_sample_weight, counting

Array = NDArray[Any]


class PretrainedRegressor(RegressorMixin, PretrainedEstimator):  # type: ignore[misc]
    """Deep regressor that learns from all rows first and from the labelled ones afterwards.

    `fit` has three steps: pretrain the hidden layers on all rows without labels, one at a time; stack them and add a
    linear layer; fine-tune everything on the labelled rows by the squared error. Targets are standardised inside, per
    output, by the mean and standard deviation of their known values.

    Parameters
    ----------
    hidden_layer_sizes, pretraining, finetuning, activation, batch_norm, initializer, precision, n_jobs, random_state,
    warm_start, max_seconds, callbacks, checkpoint, memory, verbose
        As in `PretrainedClassifier`.
    unlabeled : "auto", -1 or None, default="auto"
        NaN and None are unknown targets, except under None, which says that every element is known. -1: also every -1.
        With several outputs, single cells may be unknown; a row counts as labelled if one of its cells is known.

    Attributes
    ----------
    y_mean_, y_scale_ : ndarrays of shape (n_outputs,)
        The network predicts (y - y_mean_) / y_scale_.
    stages_, history_, network_, coefs_, intercepts_, n_labeled_, n_iter_, n_features_in_, feature_names_in_
        As in `PretrainedClassifier`.

    Examples
    --------
    >>> from layerwise import PretrainedRegressor
    >>> model = PretrainedRegressor(hidden_layer_sizes=(20, 12), random_state=0).fit(X, y)  # y is NaN where unknown
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        *,
        pretraining: Any = "auto",
        finetuning: Any = "auto",
        activation: Any = "auto",
        batch_norm: Any = "auto",
        initializer: Any = "auto",
        unlabeled: Any = "auto",
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
        self.unlabeled = unlabeled
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.max_seconds = max_seconds
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.memory = memory
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PretrainedRegressor":
        """Pretrain on all rows, fine-tune on the labelled ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            NaN or None where unknown.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `PretrainedClassifier.fit`; the targets' mean and standard deviation are weighted too.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, X, y or sample_weight is not allowed, or if no row is labelled.
        TrainingDiverged
            If a loss is not a finite number; the estimator is then as it was before.
        FormatError, OSError
            If the file of `checkpoint` is damaged, or cannot be read or written; what was reached is kept.
        KeyboardInterrupt
            On Ctrl-C, with a note that says what was kept: nothing, finished stages, or the network in fine-tuning.
        """
        return self._fit(X, y, sample_weight)

    @available_if(passes_make_sense)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PretrainedRegressor":
        """Learn from some more rows.

        The first call pretrains on its rows, and its targets' mean and standard deviation standardise those of all
        calls, so it should be typical. Each call then does one pass of fine-tuning over its labelled rows, with the
        optimiser going on where the call before left it. After `fit` or `layerwise.load`, fine-tuning goes on from
        there with a fresh optimiser.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            As in `fit`. The first call needs a known value of each output; later ones need none.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

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
        return self._fit(X, y, sample_weight, once=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, once: bool = False) -> "PretrainedRegressor":
        with self._fitting() as fitted:
            show = self._watch(fitted, (X, y, sample_weight))
            settings = self._settings()
            kept = self._kept(settings[0], always=once)
            goes_on = kept is not None and kept.network is not None
            X = self._matrix(X, settings[1], kept)
            _require_target(self, y)
            numbers, is_vector = known_numbers(y, self.unlabeled, required=not (once and goes_on))
            check_consistent_length(X, numbers)
            weights, X, numbers = counting(check_sample_weight(sample_weight, X), X, numbers)
            unknown = np.flatnonzero(np.isnan(numbers).all(axis=0))
            if len(unknown) and not (once and goes_on):
                which = "y" if numbers.shape[1] == 1 else f"column {unknown[0]} of y"
                raise ValueError(f"The sample_weight of every known value of {which} is zero.")
            labelled: Array = np.logical_not(np.isnan(numbers).all(axis=1))

            if goes_on and numbers.shape[1] != len(self.y_mean_):
                raise ValueError(f"y has {numbers.shape[1]} outputs, but the fit before had {len(self.y_mean_)}.")
            mean, scale = (self.y_mean_, self.y_scale_) if goes_on else _standard(numbers, weights)
            before = self.n_labeled_ if once and goes_on else 0
            fitted |= {"y_mean_": mean, "y_scale_": scale, "n_labeled_": before + int(labelled.sum())}
            fitted["_y_is_vector"] = is_vector
            try:
                self._learn(
                    fitted,
                    X,
                    labelled,
                    np.ascontiguousarray(((numbers - mean) / scale)[labelled], dtype=X.dtype),
                    settings=settings,
                    output="identity",
                    loss="squared_error",
                    groups=None,
                    weights=weights,
                    kept=kept,
                    once=once,
                    seed=self._seed(),
                    show=show,
                )
            finally:
                show.close()
        return self

    def predict(self, X: Any) -> Array:
        """Return the predicted targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), as y was in `fit`; float64
        """
        require_fitted(self)
        predicted: Array = self._apply(self._checked(X), 0).astype(np.float64) * self.y_scale_ + self.y_mean_
        return predicted.ravel() if self._y_is_vector else predicted

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2 on the known targets, the mean over the outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        float
        """
        predicted = self.predict(X).reshape(-1, len(self.y_mean_))
        _require_target(self, y)
        numbers, _ = known_numbers(y, self.unlabeled)
        check_consistent_length(predicted, numbers)
        if numbers.shape[1] != predicted.shape[1]:
            raise ValueError(f"y has {numbers.shape[1]} outputs, but fit had {predicted.shape[1]}.")
        known = ~np.isnan(numbers)
        weights = check_sample_weight(sample_weight, predicted)
        scores = [
            r2_score(numbers[k, i], predicted[k, i], sample_weight=None if weights is None else weights[k])
            for i, k in enumerate(known.T)
        ]
        return float(np.mean(scores))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _standard(numbers: Array, weights: Array | None) -> tuple[Array, Array]:
    """Return the weighted mean and standard deviation (1 for a constant) of each column's known values."""
    if weights is not None:
        known = np.where(np.isnan(numbers), 0.0, weights[:, None])
        shares = known / known.sum(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        if weights is None:
            mean, scale = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
        else:
            mean = np.nansum(shares * numbers, axis=0)
            scale = np.sqrt(np.nansum(shares * (numbers - mean) ** 2, axis=0))
    if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
        raise ValueError("Input y contains values whose variance is too large for float64. Scale y down.")
    constant = np.nanmin(numbers, axis=0) == np.nanmax(numbers, axis=0)
    return mean, np.where((scale > 0) & ~constant, scale, 1.0)
