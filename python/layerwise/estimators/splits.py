"""Cross-validation where some labels are unknown."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator, KFold, check_cv
from sklearn.model_selection._split import GroupsConsumerMixin
from sklearn.utils import indexable
from sklearn.utils._indexing import _safe_indexing

from layerwise.checks import Parameter
from layerwise.estimators.labels import check_unlabeled, is_matrix, known_classes, known_indicators, known_numbers

Array = NDArray[Any]


class LabeledSplit(GroupsConsumerMixin, BaseCrossValidator):  # type: ignore[misc]
    """Split the labelled rows as `cv` does; rows without a label are in every training part and in no test part.

    Parameters
    ----------
    cv : int, splitter or iterable, default=5
        How to split the labelled rows, as scikit-learn's `check_cv` takes it: an integer is the number of folds,
        stratified by class where y holds classes: labels that are not floats, or whole numbers each at least as often
        as there are folds.
    unlabeled : "auto", -1 or None, default="auto"
        What says that a label is unknown, as for the estimator that is scored. With numbers that are not classes (a
        regressor's y), "auto" means NaN and None alone.

    Examples
    --------
    >>> from layerwise import LabeledSplit, PretrainedClassifier
    >>> from sklearn.model_selection import cross_val_score
    >>> scores = cross_val_score(PretrainedClassifier(), X, y, cv=LabeledSplit(5))  # y is -1 where unknown
    """

    def __init__(self, cv: Any = 5, *, unlabeled: Any = "auto") -> None:
        self.cv = cv
        self.unlabeled = unlabeled

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Array, Array]]:
        """Yield the rows of each training and test part.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        groups : array-like of shape (n_samples,), default=None
            Passed on to `cv`, for the labelled rows.

        Yields
        ------
        train, test : ndarrays of row numbers, ascending in `train`

        Raises
        ------
        ValueError
            If y is None or holds no label.
        """
        X, y, groups = indexable(X, y, groups)
        labelled, target, splitter = self._labelled(y)
        rows, others = np.flatnonzero(labelled), np.flatnonzero(~labelled)
        groups = None if groups is None else _safe_indexing(groups, rows)
        for train, test in splitter.split(_safe_indexing(X, rows), target, groups):
            yield np.sort(np.concatenate([rows[train], others])), rows[test]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits, which may depend on the data only if `cv`'s does.

        Parameters
        ----------
        X, y, groups
            As in `split`; not needed where `cv` does not need them.
        """
        if y is None:
            return int(check_cv(self.cv).get_n_splits())
        X, y, groups = indexable(X, y, groups)
        labelled, target, splitter = self._labelled(y)
        rows = np.flatnonzero(labelled)
        given = None if X is None else _safe_indexing(X, rows)
        return int(splitter.get_n_splits(given, target, None if groups is None else _safe_indexing(groups, rows)))

    def _labelled(self, y: Any) -> tuple[Array, Array, Any]:
        """Return the mask of labelled rows, their targets, and the splitter for them."""
        if y is None:
            raise ValueError("LabeledSplit needs y, whose known labels say which rows may be tested on.")
        unlabeled = check_unlabeled(Parameter("LabeledSplit", "unlabeled"), self.unlabeled)
        if is_matrix(y):
            try:
                cells = known_indicators(y, unlabeled)
            except ValueError:  # not an indicator matrix: several outputs of a regressor
                cells, _ = known_numbers(y, unlabeled)
            labelled: Array = np.logical_not(np.isnan(cells).all(axis=1))
            return labelled, cells[labelled], check_cv(self.cv)
        labelled, target = self._vector(y, unlabeled)
        plain = check_cv(self.cv)
        folds = plain.get_n_splits() if isinstance(plain, KFold) else 1
        classes = target.dtype.kind != "f"
        if not classes and (target == np.round(target)).all():  # labels as floats, or a regressor's whole numbers
            classes = bool(np.unique(target, return_counts=True)[1].min() >= folds)
        return labelled, target, check_cv(self.cv, target, classifier=classes)

    @staticmethod
    def _vector(y: Any, unlabeled: str | int | None) -> tuple[Array, Array]:
        if np.asarray(y).dtype.kind != "f":
            try:
                return known_classes(y, unlabeled)
            except ValueError as error:
                if "Unknown label type" not in str(error):
                    raise
        numbers, _ = known_numbers(y, unlabeled)
        known = ~np.isnan(numbers[:, 0])
        return known, numbers[known, 0]
