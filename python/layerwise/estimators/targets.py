"""What a classifier learns: its classes, and the targets of the labelled rows, for one label a row or several."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, column_or_1d

from layerwise.checks import Parameter
from layerwise.estimators.continuing import Kept
from layerwise.estimators.labels import is_matrix, known_classes, known_indicators
from layerwise.estimators.weights import balanced_cells, check_sample_weight, class_weights, counting, log_shares
from layerwise.network import Network

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """What fine-tuning learns: the labelled rows' targets, and the output activation that fits them.

    `targets` has a row for each True of `labelled`, and NaN where a cell is unknown. `codes` are the rows' places in
    `classes`, `factors` what `class_weight` multiplies their weights by, `bias` the output biases' start.
    """

    output: str
    classes: Array
    labelled: Array
    targets: Array
    codes: Array | None = None
    factors: Array | None = None
    bias: Array | None = None


class ClassTargets(ABC):
    """The part of the classifier that reads y."""

    class_weight: Any
    unlabeled: Any
    classes_: Array
    network_: Network

    @abstractmethod
    def _where(self, name: str = "") -> Parameter:
        """Return the parameter `name` of this estimator, for messages."""

    def _known_classes(self, classes: Any, y: Any) -> Array:
        """Return the classes of all calls of partial_fit."""
        given: Array | None = None if classes is None else np.unique(column_or_1d(classes))
        if hasattr(self, "network_"):
            if given is not None and not np.array_equal(given, self.classes_):
                raise ValueError(f"classes={classes!r} is not the same as before, which was {self.classes_!r}.")
            return self.classes_
        if is_matrix(y):
            return np.arange(np.shape(y)[1])
        if given is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return given

    def _check_same_classes(self, kept: Kept | None, task: "Task") -> None:
        if kept is None or kept.network is None:
            return
        if (task.output == "sigmoid") != self._is_multilabel:
            before = "an indicator matrix" if self._is_multilabel else "one label a row"
            raise ValueError(f"With warm_start or partial_fit, y must be as in the fit before: {before}.")
        if not np.array_equal(task.classes, self.classes_):
            raise ValueError(
                "With warm_start or partial_fit, y must have the classes of the fit before. Got "
                f"{task.classes.tolist()} where {self.classes_.tolist()} are expected."
            )

    def _one_label(
        self, X: Array, y: Any, sample_weight: Any, known: Array | None
    ) -> tuple[Array | None, Array, "Task"]:
        """Return the weights, X and what to learn, without rows of weight 0, where y is a vector of labels."""
        labelled, labels = known_classes(y, self.unlabeled, known, required=known is None)
        check_consistent_length(X, labelled)
        weights = check_sample_weight(sample_weight, X)
        of_labels, labels = counting(None if weights is None else weights[labelled], labels)
        if len(labels) == 0 and known is None:
            raise ValueError("The sample_weight of every labelled row is zero.")
        weights, X, labelled = counting(weights, X, labelled)
        classes, codes = np.unique(labels, return_inverse=True)
        if known is not None:
            if not np.isin(classes, known).all():
                raise ValueError(f"y holds labels {classes.tolist()} that are not all in classes {known.tolist()}.")
            classes, codes = known, np.searchsorted(known, labels)
        factors = class_weights(self._where("class_weight"), self.class_weight, classes, codes, of_labels)
        bias = log_shares(codes, of_labels, factors, len(classes))
        return weights, X, Task("softmax", classes, labelled, np.eye(len(classes))[codes], codes, factors, bias)

    def _several_labels(
        self, X: Array, y: Any, sample_weight: Any, known: Array | None
    ) -> tuple[Array | None, Array, "Task"]:
        """Return the weights, X and what to learn, without rows of weight 0, where y is an indicator matrix."""
        if self.class_weight is not None and not isinstance(self.class_weight, str):
            allowed = 'None or "balanced" where y is an indicator matrix'
            raise self._where("class_weight").error(allowed, self.class_weight)
        cells = known_indicators(y, self.unlabeled, required=known is None)
        check_consistent_length(X, cells)
        weights, X, cells = counting(check_sample_weight(sample_weight, X), X, cells)
        unknown = np.isnan(cells)
        if unknown.all(axis=0).any() and known is None:
            column = int(np.flatnonzero(unknown.all(axis=0))[0])
            raise ValueError(f"column {column} of y holds no label: every cell is unknown, or its row has weight zero.")
        labelled: Array = ~unknown.all(axis=1)
        factors = None if self.class_weight is None else balanced_cells(cells[labelled], weights, labelled)
        return weights, X, Task("sigmoid", np.arange(cells.shape[1]), labelled, cells[labelled], factors=factors)

    @property
    def _is_multilabel(self) -> bool:
        return self.network_.layers[-1].activation.name == "sigmoid"

    def _subset_accuracy(self, predicted: Array, y: Any, sample_weight: Any) -> float:
        cells = known_indicators(y, self.unlabeled) if is_matrix(y) else np.empty((0, 0))
        if cells.shape != predicted.shape:
            raise ValueError(f"y has shape {np.shape(y)}, but an indicator matrix of {predicted.shape} is expected.")
        unknown = np.isnan(cells)
        right = (unknown | (cells == predicted)).all(axis=1)
        weights = check_sample_weight(sample_weight, predicted)
        known = ~unknown.all(axis=1)
        return float(np.average(right[known], weights=None if weights is None else weights[known]))
