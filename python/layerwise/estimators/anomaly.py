"""Anomaly detection: rows that a stacked autoencoder, trained on the others, cannot rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.metaestimators import available_if

from layerwise import checks, pretraining
from layerwise.checks import Parameter
from layerwise.column_groups import ColumnGroups, groups_of, with_groups
from layerwise.estimators.anomaly_defaults import FINETUNING, PRETRAINING, usual_batch, usual_sizes
from layerwise.estimators.column_errors import blocks, by_variable, errors, moments, standardized
from layerwise.estimators.continuing import Architecture, Kept, passes_make_sense
from layerwise.estimators.fitted import require_fitted
from layerwise.estimators.rebuilding import RebuildingEstimator
from layerwise.estimators.thresholds import threshold
from layerwise.explanation import Explanation, as_table
from layerwise.finetuning import FineTuning
from layerwise.network import Network
from layerwise.training import EpochRecord

Array = NDArray[Any]


class AnomalyDetector(OutlierMixin, RebuildingEstimator):  # type: ignore[misc]
    """Outlier detector: an autoencoder learns to rebuild the rows, and what it cannot rebuild is an anomaly.

    The error of a column is the square of (observed - rebuilt) / scale, where scale is the column's standard deviation
    in training; a row's score is minus the mean over its columns (Sakurada & Yairi 2014).

    Of tables whose columns are of several kinds (from `tabular_pipeline`, or with `ColumnGroups` as the loss of the
    pretraining), only the numbers are standardised; the error of a flag is its cross-entropy, that of a category the
    negative logarithm of the probability that the network gives to the level seen. A level that training did not have
    counts as the least likely one.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, int or "auto", default="auto"
        "auto": one layer with a quarter as many units as there are columns, but at least 32 and at most 128.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Where the threshold `offset_` lies. A number: that share of the training rows is below it. "auto": the upper
        fence of the training rows' root mean square errors r (Tukey 1977), Q3 + 1.5 (Q3 - Q1) with the quartiles Q1 and
        Q3 of r, so that the rows decide how many stand out; of normally distributed r it would cut off 0.35 %.
    standardize : bool, default=True
        Subtract each column's mean and divide by its standard deviation (1 for a constant) before anything else, so
        that columns count alike whatever their units. False takes X as it is: the scale is then 1.
    pretraining : settings or their name, default="auto"
        As in `StackedAutoencoder`, but "auto" is ``DenoisingAutoencoder(epochs=5, optimizer=Adam(0.004))``.
    finetuning : None, "auto" or FineTuning, default="auto"
        As in `StackedAutoencoder`, but "auto" is ``FineTuning(epochs=30, optimizer=Adam(0.004), input_dropout=0.2,
        untie=True)``: what counts here is the reconstruction, and inputs left out keep a wide layer from copying them.
        In both "auto" a batch has rows / 32, but at least 20 and at most 100.
    activation, batch_norm, initializer : one, or a list with one a layer, default="auto"
        As in `StackedAutoencoder`.
    precision, n_jobs, random_state
        As in `PretrainedClassifier`. The threshold is that of the scores in the fit's precision: in another one, rows
        at its edge may change sides.
    warm_start : bool, default=False
        As in `StackedAutoencoder`. What `standardize` made of the rows then stays: `mean_` and `scale_` are those of
        the fit before. The threshold is set anew.
    max_seconds, callbacks, checkpoint, memory, verbose
        As in `PretrainedClassifier`. `contamination` may differ from that of the checkpoint: it counts afterwards.

    Attributes
    ----------
    offset_ : float
        ``decision_function(X) = score_samples(X) - offset_``; rows below 0 are anomalies.
    mean_, scale_ : ndarray of shape (n_features_in_,), float64
        What `standardize` subtracts and divides by (0 and 1 without it).
    stages_, history_, network_, coefs_, intercepts_, n_iter_, n_samples_seen_, n_features_in_,
    feature_names_in_
        As in `StackedAutoencoder`; the network works on standardised columns.

    Notes
    -----
    Anomalies among the training rows are rebuilt a little, too: few do no harm, many do. The threshold rests on the
    training rows' own errors, which are smaller than those of new rows if there are few rows for so many weights;
    a float `contamination` on the low side or a validation set of normal rows tells.

    Examples
    --------
    >>> from layerwise import AnomalyDetector
    >>> detector = AnomalyDetector(contamination=0.01, random_state=0).fit(X_normal)
    >>> suspect = detector.score_samples(X_new).argmin()
    >>> detector.explain(X_new[suspect], top=5)  # doctest: +SKIP
    """

    _usual_pretraining, _usual_finetuning = PRETRAINING, FINETUNING

    contamination: Any
    standardize: Any
    network_: Network
    mean_: Array
    scale_: Array
    offset_: float

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        *,
        contamination: Any = "auto",
        standardize: bool = True,
        pretraining: Any = "auto",
        finetuning: Any = "auto",
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
        self.contamination = contamination
        self.standardize = standardize
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

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AnomalyDetector:
        """Learn to rebuild the rows, and set the threshold by how well that went.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Normal rows, or mostly normal ones.
        y : ignored
            Present because scikit-learn's pipelines pass it.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts: in the means and deviations, in training, and in the shares that set the
            threshold. A row of weight 0 is as if it were not there; only the weights' ratios matter.

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
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AnomalyDetector:
        """Learn from some more rows.

        The first call pretrains on its rows, and their means and deviations standardise those of all calls, so they
        should be typical. Each call then does one pass of fine-tuning of the unrolled network, as `finetuning` says
        ("auto" if it is None), with the optimiser going on where the call before left it, and sets the threshold by its
        own rows, so it should have many. After `fit` or `layerwise.load`, fine-tuning goes on from there with a fresh
        optimiser.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
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
        self._fit(X, y, sample_weight, once=True)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return how normal each row is: minus the mean over the columns of their errors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            At most 0, which is a perfectly rebuilt row; lower is more abnormal.
        """
        require_fitted(self)
        with np.errstate(over="ignore"):  # beyond all floats is -inf: as abnormal as can be
            return np.concatenate([-found.mean(axis=1) for found in self._blocks_of_errors(self._checked(X))])

    def score_features(self, X: Any) -> NDArray[np.float64]:
        """Return how normal each value is: minus its error.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            The mean of a row is its `score_samples`.
        """
        require_fitted(self)
        return np.concatenate([-found for found in self._blocks_of_errors(self._checked(X))])

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the scores above the threshold: negative for anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return -1 for anomalies and 1 for the other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), int64
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def reconstruct(self, X: Any) -> Array:
        """Return the rows as the network rebuilds them: what it expects, in the units of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), of the fitted dtype
        """
        require_fitted(self)
        data = self._checked(X)
        with np.errstate(over="ignore"):
            rebuilt: Array = (self._apply(data, 0) * self.scale_ + self.mean_).astype(data.dtype)
        return rebuilt

    def explain(self, row: Any, top: int | None = None) -> Explanation:
        """Tell which columns make a row abnormal.

        Parameters
        ----------
        row : array-like of shape (n_features,) or (1, n_features), or a pandas Series
        top : int, default=None
            Only so many columns, those with the greatest shares; None for all.

        Returns
        -------
        Explanation
            `ColumnError` tuples (column, observed, expected, share), the greatest share first; prints as a table. A
            category is one column there: its level, and the one that the network thinks most likely.

        Raises
        ------
        ValueError
            If `row` is not one row that fits the fitted data, or `top` is not a positive integer.
        """
        require_fitted(self)
        if top is not None:
            top = checks.integer(Parameter("explain", "top"), top, 1)
        table = as_table(row)
        observed = self._checked(table)
        if len(observed) != 1:
            raise ValueError(f"explain takes one row. Got {len(observed)} rows.")
        ((found,),) = self._blocks_of_errors(observed)
        expected = self.reconstruct(table)[0]
        names = getattr(self, "feature_names_in_", range(len(found)))
        if (groups := self._groups()) is None:
            return Explanation.of(names, observed[0], expected, found, self.offset_, top)
        parts = by_variable(groups, names, observed[0], expected, found)
        return Explanation.of(*parts, self.offset_, top, n_columns=len(found))

    # --- inside -------------------------------------------------------------------------------------------------

    def _check_own(self) -> None:
        self._contamination()
        checks.boolean(self._where("standardize"), self.standardize)

    def _contamination(self) -> float | None:
        where, value = self._where("contamination"), self.contamination
        if checks.is_auto(value):
            return None
        try:
            return checks.real(where, value, 0, 0.5, open_low=True)
        except checks.InvalidParameterError:
            raise where.error('"auto" or a number in (0, 0.5]', value) from None

    def _architecture(self, default_sizes: tuple[int, ...] | None = None) -> Architecture:
        return super()._architecture(default_sizes or usual_sizes(getattr(self, "n_features_in_", 1)))

    def _for_rows(self, n_rows: int, settings: Any, unrolled: FineTuning) -> tuple[Any, FineTuning]:
        """Return the settings with the sizes of batches that "auto" means."""
        rows = usual_batch(n_rows)
        if checks.is_auto(self.pretraining):
            settings = settings.replace(batch_size=rows)
        if self.finetuning is None or checks.is_auto(self.finetuning):
            unrolled = unrolled.replace(batch_size=rows)
        return settings, unrolled

    def _prepared(self, fitted: dict[str, Any], X: Array, weights: Array | None, kept: Kept | None) -> Array:
        """Return the standardised rows with their column groups; mean and scale are those of a fit before, if kept."""
        groups = self._first_groups(X) if kept is None else self._groups()
        mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if kept is not None:
            mean, scale = self.mean_, self.scale_
        elif self.standardize:
            mean, scale = moments(X, weights, groups)
        Z: Array = with_groups(standardized(X, mean, scale), groups)
        fitted |= {"mean_": mean, "scale_": scale, "_rows": (Z, weights, groups)}
        return Z

    def _first_groups(self, X: Array) -> ColumnGroups | None:
        """Return the column groups whose losses the first layer takes, checked."""
        where = self._where("pretraining")
        settings: Any = pretraining.resolve(where, self.pretraining)
        if groups_of(X) is None and isinstance(getattr(settings, "loss", "auto"), str):
            return None
        first: Any = settings.check(where, len(self._architecture().sizes))[0]
        groups = pretraining.groups_for(first, groups_of(X))
        if groups is not None:
            first.check_inputs(where, X.shape[1])
        return groups

    def _collect(self, fitted: dict[str, Any], network: Network, history: list[EpochRecord]) -> None:
        """Collect a network, and the threshold that goes with it: that of the training rows' own errors."""
        super()._collect(fitted, network, history)
        Z, weights, groups = fitted["_rows"]
        found = [errors(partial(self._run, network), Z[own], groups).mean(axis=1) for own in blocks(len(Z))]
        fitted["offset_"] = threshold(np.concatenate(found), weights, self._contamination())

    def _blocks_of_errors(self, X: Array) -> Iterator[NDArray[np.float64]]:
        for rows in blocks(len(X)):
            yield errors(partial(self._run, self.network_), self._network_input(X[rows]), self._groups())

    def _groups(self) -> ColumnGroups | None:
        loss = getattr(self.stages_[0].settings, "loss", None)
        return loss if isinstance(loss, ColumnGroups) else None

    def _network_input(self, X: Array) -> Array:
        return standardized(X, self.mean_, self.scale_)

    def _apply(self, X: Array, first: int, last: int | None = None, *, logits: bool = False) -> Array:
        if first == 0:  # rows as the user gives them
            X = self._network_input(X)
        return super()._apply(X, first, last, logits=logits)

    def _check_loaded(self) -> None:
        """Raise ValueError if attributes read from a file do not fit each other."""
        shape = (self.n_features_in_,)
        if self.mean_.shape != shape or self.scale_.shape != shape:
            raise ValueError("mean_ or scale_ does not have one value a column")
        if not (np.isfinite(self.mean_).all() and np.isfinite(self.scale_).all() and (self.scale_ > 0).all()):
            raise ValueError("a column's mean or scale is not a finite number, or the scale is not positive")
        groups = self._groups()
        own = () if groups is None else groups.check(self._where("pretraining__loss")).groups
        if own != self.network_.layers[-1].activation.groups:
            raise ValueError("the network's column groups are not those of the first stage")
