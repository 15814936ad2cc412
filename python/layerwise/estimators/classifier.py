"""The classifier."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from layerwise.estimators.labels import known_classes
from layerwise.estimators.supervised import PretrainedEstimator
from layerwise.estimators.weights import check_class_weight, check_sample_weight, class_weights, counting, log_shares

Array = NDArray[Any]


class PretrainedClassifier(ClassifierMixin, PretrainedEstimator):  # type: ignore[misc]
    """Deep classifier that learns from all rows first and from the labelled ones afterwards.

    `fit` has three steps: pretrain the hidden layers on all rows without labels, one at a time; stack them and add a
    softmax layer; fine-tune everything on the labelled rows by cross-entropy.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, int or "auto", default="auto"
        "auto": (100, 100), or those of a fitted autoencoder given as `pretraining`.
    pretraining : "auto", Autoencoder, DenoisingAutoencoder, fitted StackedAutoencoder or None, default="auto"
        "auto": `DenoisingAutoencoder` with its defaults. None: no pretraining, a plain network from a random start. A
        fitted `StackedAutoencoder` gives its hidden layers; where the classifier is cloned (cross-validation), wrap it
        in `sklearn.frozen.FrozenEstimator`.
    finetuning : "auto" or FineTuning, default="auto"
    activation : str, activation, or a list with one a layer, default="auto"
        "auto": "tanh".
    initializer : str, initializer, or a list with one a layer, default="auto"
        Start of the hidden layers. "auto": by the activation, see `layerwise.initializers`.
    class_weight : None, "balanced" or dict, default=None
        How much the rows of a class count in fine-tuning, as a factor of `sample_weight`; early stopping's validation
        loss is weighted too. "balanced": n_labeled / (n_classes * labelled rows of the class), where each row counts
        as its `sample_weight` says. A dict gives a weight, at least 0, to each class it names, the others have 1.
        Pretraining knows no classes and is not touched. The output biases then start at the logarithms of the
        classes' shares in the weights, so that an extreme weight counts also far from its class's rows.
    unlabeled : "auto", -1 or None, default="auto"
        Which elements of y say that the label is unknown. NaN and None always do, except under None, which says that
        every element is a label. "auto": also integers equal to -1, unless exactly one other label occurs ({-1, c} is
        an ordinary two-class problem). -1: also every -1.
    n_jobs : int, default=None
        Threads. None: chosen by the size of the work; -1: all cores. More than 64 or four times the cores, whichever
        is greater, are never used. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        With an int, the same data give the same bits.
    verbose : int, default=0
        0: silent. 1: the choices made, each layer's skill, and a progress bar. 2: a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    stages_ : list of Stage
        The pretrained layers as pretraining left them; empty without pretraining.
    history_ : list of EpochRecord
        All epochs of both stages, in order.
    network_ : Network
        The fine-tuned network.
    coefs_, intercepts_ : lists of ndarray
        Its weights and biases, layer by layer.
    n_labeled_ : int
        Number of labelled rows.
    n_iter_ : int
        Number of epochs of fine-tuning, but at least 1, also where there was none.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        If X had column names, all strings.

    Notes
    -----
    float32 data train a float32 network, float64 data a float64 one; bool, 8- and 16-bit integers and float16 become
    float32, other integers float64. Scaling is up to the user; [0, 1] suits the defaults.

    Examples
    --------
    >>> from layerwise import DenoisingAutoencoder, FineTuning, Masking, PretrainedClassifier
    >>> model = PretrainedClassifier(
    ...     hidden_layer_sizes=(100, 100),
    ...     pretraining=DenoisingAutoencoder(corruption=Masking(0.25), epochs=15),
    ...     finetuning=FineTuning(epochs=50),
    ...     random_state=0,
    ... ).fit(X, y)
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        *,
        pretraining: Any = "auto",
        finetuning: Any = "auto",
        activation: Any = "auto",
        initializer: Any = "auto",
        class_weight: Any = None,
        unlabeled: Any = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.pretraining = pretraining
        self.finetuning = finetuning
        self.activation = activation
        self.initializer = initializer
        self.class_weight = class_weight
        self.unlabeled = unlabeled
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PretrainedClassifier":
        """Pretrain on all rows, fine-tune on the labelled ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels; see `unlabeled` for rows whose label is unknown.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts, in pretraining and fine-tuning: losses are sums over a batch's rows of weight *
            loss, divided by the sum of its weights. Only ratios matter. A row of weight 0 is as if it were not there.
            None: all rows count the same.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, X, y or sample_weight is not allowed, or if no row is labelled.
        TrainingDiverged
            If a loss is not a finite number; the estimator is then as it was before.
        KeyboardInterrupt
            On Ctrl-C, with a note that says what was kept: finished stages, or the network if fine-tuning had begun.
        """
        with self._fitting() as fitted:
            show = self._progress()
            settings = self._settings()
            check_class_weight(self._where("class_weight"), self.class_weight)
            X = self._matrix(X, settings[1])
            _require_target(self, y)
            labelled, labels = known_classes(y, self.unlabeled)
            check_consistent_length(X, labelled)
            weights = check_sample_weight(sample_weight, X)
            of_labels, labels = counting(None if weights is None else weights[labelled], labels)
            if len(labels) == 0:
                raise ValueError("The sample_weight of every labelled row is zero.")
            weights, X, labelled = counting(weights, X, labelled)

            classes, codes = np.unique(labels, return_inverse=True)
            factors = class_weights(self._where("class_weight"), self.class_weight, classes, codes, of_labels)
            fitted |= {"classes_": classes, "n_labeled_": len(labels)}
            targets = np.zeros((len(codes), len(classes)), X.dtype)
            targets[np.arange(len(codes)), codes] = 1
            try:
                self._learn(
                    fitted,
                    X,
                    labelled,
                    targets,
                    settings=settings,
                    output="softmax",
                    loss="softmax_cross_entropy",
                    groups=codes,
                    weights=weights,
                    factors=factors,
                    bias=log_shares(codes, of_labels, factors, len(classes)),
                    seed=self._seed(),
                    show=show,
                )
            finally:
                show.close()
        return self

    def _logits(self, X: Any) -> Array:
        check_is_fitted(self)
        return self._apply(self._checked(X), 0, logits=True)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        chosen: Array = self._logits(X).argmax(axis=1)
        labels: Array = self.classes_[chosen]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, of shape (n_samples, n_classes), in the order of `classes_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return self._apply(self._checked(X), 0)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class, also where the probability underflows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        logits = self._logits(X)
        shifted = logits - logits.max(axis=1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return result

    def decision_function(self, X: Any) -> Array:
        """Return the inputs of the softmax; for two classes, the second one's minus the first one's.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on the rows whose label is known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            As in `fit`; -1 is an unknown label unless it is one of `classes_`.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        float
        """
        predicted = self.predict(X)
        _require_target(self, y)
        labelled, labels = known_classes(y, self.unlabeled, self.classes_)
        check_consistent_length(predicted, labelled)
        weights = check_sample_weight(sample_weight, predicted)
        return float(
            accuracy_score(labels, predicted[labelled], sample_weight=None if weights is None else weights[labelled])
        )


def _require_target(estimator: Any, y: Any) -> None:
    if y is None:  # scikit-learn's own message
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
