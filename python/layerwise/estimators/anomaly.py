"""Anomaly detection: rows that a stacked autoencoder, trained on the others, cannot rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from layerwise import checks, pretraining
from layerwise.checkpoints import NotWrittenError
from layerwise.checks import Parameter
from layerwise.column_groups import ColumnGroups, groups_of, with_groups
from layerwise.estimators.autoencoder import StackedAutoencoder
from layerwise.estimators.base import LayerwiseEstimator
from layerwise.estimators.column_errors import BLOCK, by_variable, errors, moments, standardized
from layerwise.estimators.explanation import Explanation
from layerwise.estimators.weights import check_sample_weight, counting
from layerwise.network import Network

Array = NDArray[Any]

WIDEST = (256, 128)  # of the layers that hidden_layer_sizes="auto" takes
FENCE = 1.5  # Tukey's: quartile distances above the upper quartile


class _Underlying(StackedAutoencoder):
    """The autoencoder inside a detector; what it complains of are the detector's parameters."""

    def _where(self, name: str = "") -> Parameter:
        return Parameter("AnomalyDetector", name)

    def _first_groups(self, X: Any) -> ColumnGroups | None:
        where = self._where("pretraining")
        settings = pretraining.resolve(where, self.pretraining)
        if groups_of(X) is None and isinstance(getattr(settings, "loss", "auto"), str):
            return None  # what the settings are otherwise is for the fit to check
        first: Any = settings.check(where, len(self._architecture().sizes))[0]
        groups = pretraining.groups_for(first, groups_of(X))
        if groups is not None:
            first.check_inputs(where, X.shape[1])
        return groups


class AnomalyDetector(OutlierMixin, LayerwiseEstimator):  # type: ignore[misc]
    """Outlier detector: a deep autoencoder learns to rebuild the rows, and what it cannot rebuild is an anomaly.

    The error of a column is the square of (observed - rebuilt) / scale, where scale is the column's standard deviation
    in training; a row's score is minus the mean over its columns (Sakurada & Yairi 2014).

    Of tables whose columns are of several kinds (from `tabular_pipeline`, or with `ColumnGroups` as the loss of the
    pretraining), only the numbers are standardised; the error of a flag is its cross-entropy, that of a category the
    negative logarithm of the probability that the network gives to the level seen. A level that training did not have
    counts as the least likely one.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, int or "auto", default="auto"
        "auto": two layers, of half and of a quarter of the columns (rounded up), but at most 256 and 128 units.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Where the threshold `offset_` lies. A number: that share of the training rows is below it. "auto": the upper
        fence of the training rows' root mean square errors r (Tukey 1977), Q3 + 1.5 (Q3 - Q1) with the quartiles Q1 and
        Q3 of r, so that the rows decide how many stand out; of normally distributed r it would cut off 0.35 %.
    standardize : bool, default=True
        Subtract each column's mean and divide by its standard deviation (1 for a constant) before anything else, so
        that columns count alike whatever their units. False takes X as it is: the scale is then 1.
    pretraining : settings or their name, default="auto"
    finetuning : None, "auto" or FineTuning, default="auto"
    activation, batch_norm, initializer : one, or a list with one a layer, default="auto"
        As in `StackedAutoencoder`, but fine-tuned as a whole by default: what counts here is the reconstruction.
    precision, n_jobs, random_state, checkpoint, memory, verbose
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
        self.checkpoint = checkpoint
        self.memory = memory
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AnomalyDetector:  # noqa: ARG002 (y is scikit-learn's convention)
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
            On Ctrl-C, with a note that says what was kept: finished stages, or the network if fine-tuning had begun.
        """
        with self._fitting() as fitted:
            contamination = self._contamination()
            standardize = checks.boolean(self._where("standardize"), self.standardize)
            X = self._checked(X, reset=True)
            weights, X = counting(check_sample_weight(sample_weight, X), X)
            inner = _Underlying(**self._inner_parameters(X.shape[1]))
            groups = inner._first_groups(X)
            mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
            if standardize:
                mean, scale = moments(X, weights, groups)
            Z = with_groups(standardized(X, mean, scale), groups)
            try:
                inner.fit(Z, sample_weight=weights)
            except (KeyboardInterrupt, NotWrittenError) as stop:
                getattr(stop, "__notes__", []).clear()  # this estimator adds its own
                raise
            finally:  # also what Ctrl-C left; nothing after an error
                kept = {name: value for name, value in vars(inner).items() if name.endswith("_")}
                if "network_" in kept:
                    rows = gen_batches(len(Z), BLOCK)
                    network, threads = kept["network_"], self._threads()
                    of_rows = np.concatenate([errors(network, Z[own], groups, threads).mean(axis=1) for own in rows])
                    offset = (
                        _fence(of_rows, weights)
                        if contamination is None
                        else weighted_quantile(-of_rows, weights, contamination)
                    )
                    kept |= {"mean_": mean, "scale_": scale, "offset_": float(offset)}
                fitted |= kept
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
        check_is_fitted(self)
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
        check_is_fitted(self)
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
        check_is_fitted(self)
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
        check_is_fitted(self)
        if top is not None:
            top = checks.integer(Parameter("explain", "top"), top, 1)
        table = _as_table(row)
        observed = self._checked(table)
        if len(observed) != 1:
            raise ValueError(f"explain takes one row. Got {len(observed)} rows.")
        ((found,),) = self._blocks_of_errors(observed)
        expected = self.reconstruct(table)[0]
        names = getattr(self, "feature_names_in_", range(len(found)))
        groups = self._groups()
        if groups is None:
            return Explanation.of(names, observed[0], expected, found, self.offset_, top)
        parts = by_variable(groups, names, observed[0], expected, found)
        return Explanation.of(*parts, self.offset_, top, n_columns=len(found))

    # --- inside -------------------------------------------------------------------------------------------------

    def _contamination(self) -> float | None:
        value = self.contamination
        if isinstance(value, str) and value == "auto":
            return None
        try:
            return checks.real(self._where("contamination"), value, 0, 0.5, open_low=True)
        except checks.InvalidParameterError:
            raise self._where("contamination").error('"auto" or a number in (0, 0.5]', value) from None

    def _inner_parameters(self, n_features: int) -> dict[str, Any]:
        params = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in ("contamination", "standardize")
        }
        if isinstance(self.hidden_layer_sizes, str) and self.hidden_layer_sizes == "auto":
            params["hidden_layer_sizes"] = default_sizes(n_features)
        return params

    def _blocks_of_errors(self, X: Array) -> Iterator[NDArray[np.float64]]:
        for rows in gen_batches(len(X), BLOCK):
            yield errors(self.network_, self._network_input(X[rows]), self._groups(), self._threads())

    def _groups(self) -> ColumnGroups | None:
        loss = getattr(self.stages_[0].settings, "loss", None)
        return loss if isinstance(loss, ColumnGroups) else None

    def _network_input(self, X: Array) -> Array:
        return standardized(X, self.mean_, self.scale_)

    def _apply(self, X: Array, first: int, last: int | None = None, *, logits: bool = False) -> Array:
        if first == 0:  # rows as the user gives them
            X = self._network_input(X)
        return super()._apply(X, first, last, logits=logits)

    def _n_hidden(self) -> int:
        return len(self.network_.layers) // 2

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


def default_sizes(n_features: int) -> tuple[int, int]:
    """Return what hidden_layer_sizes="auto" means for so many columns."""
    return min(-(-n_features // 2), WIDEST[0]), min(-(-n_features // 4), WIDEST[1])


def _fence(errors: NDArray[np.float64], weights: Array | None) -> float:
    roots = np.sqrt(errors)
    lower, upper = (weighted_quantile(roots, weights, share) for share in (0.25, 0.75))
    fence = upper + FENCE * (upper - lower)
    within = errors[roots <= fence]  # the square of a rounded root may be less than the error it came from
    return -float(max(fence**2, within.max()))


def weighted_quantile(values: NDArray[np.float64], weights: Array | None, share: float) -> float:
    """Return the value below and above which that share of the weight lies (Hyndman & Fan 1996, definition 2).

    Where a value ends at the share exactly, it is the mean of that value and the next. A weight is a repetition, and
    only the weights' ratios matter.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.ones(len(values)) if weights is None else weights[order])
    slack = 1e-9 * reached[-1]
    first = int(np.searchsorted(reached, share * reached[-1] - slack))
    ends_there = first + 1 < len(values) and reached[first] <= share * reached[-1] + slack
    return float((values[order[first]] + values[order[first + ends_there]]) / 2)


def _as_table(row: Any) -> Any:
    """Return one row as a table of one row; a pandas Series keeps its names."""
    if hasattr(row, "to_frame") and not hasattr(row, "columns"):
        return row.to_frame().T
    return row if hasattr(row, "columns") or np.ndim(row) != 1 else np.asarray(row)[np.newaxis]
