"""The classifier."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length

from layerwise.estimators.continuing import passes_make_sense
from layerwise.estimators.fitted import require_fitted
from layerwise.estimators.labels import is_matrix, known_classes
from layerwise.estimators.supervised import PretrainedEstimator
from layerwise.estimators.targets import ClassTargets
from layerwise.estimators.weights import check_class_weight, check_sample_weight

Array = NDArray[Any]


class PretrainedClassifier(ClassifierMixin, PretrainedEstimator, ClassTargets):  # type: ignore[misc]
    """Deep classifier that learns from all rows first and from the labelled ones afterwards.

    `fit` has three steps: pretrain the hidden layers on all rows without labels, one at a time; stack them and add a
    softmax layer; fine-tune everything on the labelled rows by cross-entropy. Where a row may have several labels, y
    is an indicator matrix, and the output layer has a sigmoid for each label, trained by its own cross-entropy.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, int or "auto", default="auto"
        "auto": (100, 100), or those of a fitted autoencoder given as `pretraining`.
    pretraining : settings, their name, fitted StackedAutoencoder or None, default="auto"
        `Autoencoder`, `DenoisingAutoencoder`, `SparseAutoencoder`, `ContractiveAutoencoder`,
        `RestrictedBoltzmannMachine` or `SupervisedPretraining` (on the labels themselves), or with their defaults
        "autoencoder", "denoising", "sparse", "contractive", "rbm", "supervised". "auto": "denoising". None: no
        pretraining, a plain network from a random start. A fitted `StackedAutoencoder` gives its hidden layers; where
        the classifier is cloned (cross-validation), wrap it in `sklearn.frozen.FrozenEstimator`.
    finetuning : "auto" or FineTuning, default="auto"
    activation : str, activation, or a list with one a layer, default="auto"
        "auto": "tanh", or "sigmoid" with a `RestrictedBoltzmannMachine`.
    batch_norm : bool, BatchNorm, or a list with one a hidden layer, or "auto", default="auto"
        Batch normalisation of the hidden layers before their activation, in all stages; `BatchNorm` has its settings
        and what it computes. Not with Boltzmann machines, contraction, line searches or a `batch_size` of 1. "auto":
        none, or with a fitted `StackedAutoencoder` as pretraining what its layers have.
    initializer : str, initializer, or a list with one a layer, default="auto"
        Start of the hidden layers. "auto": by the activation, see `layerwise.initializers`.
    class_weight : None, "balanced" or dict, default=None
        How much the rows of a class count in fine-tuning, as a factor of `sample_weight`; early stopping's validation
        loss is weighted too. "balanced": n_labeled / (n_classes * labelled rows of the class), where each row counts
        as its `sample_weight` says. A dict gives a weight, at least 0, to each class it names, the others have 1.
        For an indicator matrix "balanced" alone is allowed: the product over the columns, where having the label and
        not having it are the two classes (scikit-learn's `compute_sample_weight`), unknown cells giving 1.
        Pretraining knows no classes and is not touched. The output biases then start at the logarithms of the
        classes' shares in the weights, so that an extreme weight counts also far from its class's rows.
    unlabeled : "auto", -1 or None, default="auto"
        Which elements of y say that the label is unknown. NaN and None always do, except under None, which says that
        every element is a label. "auto": also integers equal to -1, unless exactly one other label occurs ({-1, c} is
        an ordinary two-class problem). -1: also every -1. Of an indicator matrix single cells may be unknown: NaN,
        None, and -1 unless this is None; a row counts as labelled if one of its cells is known.
    precision : {"auto", "bfloat16"}, default="auto"
        "auto": the dtype of X. "bfloat16": in training and in prediction the operands of the products are rounded to 8
        significant bits and summed in float32; weights, sums and all else stay float32. Twice as fast or nearly where
        layers have hundreds of units (small networks train no faster), on processors with AVX512-BF16 and for float32 X
        only; `fit` is refused elsewhere, predictions are then in float32.
        ``set_params(precision="auto")`` after a fit predicts in float32 again. In float32 stay pretraining by Boltzmann
        machines, training in batches of one row, what a fit measures on its way (validation losses, codes of layers
        below, skill), the stages' `encode` and `decode`, and `diagnose`. See docs/decisions/0008.
    n_jobs : int, default=None
        Threads. None: chosen by the size of the work; -1: all cores. More than 64 or four times the cores, whichever
        is greater, are never used. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        With an int, the same data give the same bits.
    warm_start : bool, default=False
        Whether `fit` goes on from the fit before: stages that are pretrained are kept, fine-tuning starts from the
        network reached, in the targets' units of then, and `history_` grows. Layers added to `hidden_layer_sizes`, and
        those that an interrupted fit or `max_seconds` did not reach, are pretrained on the kept
        ones; the stack is then fine-tuned anew. Each fit counts its epochs from 1, so schedules begin anew, too; to end
        as a fit that was not cut, use `checkpoint`.
    max_seconds : float > 0 or None, default=None
        No epoch begins later than this after the call of `fit`. All that was reached is then kept, the layer at work
        with the epochs it has had: a `TimeLimitWarning` says which layers had how many, and the estimator can be used.
        (Ctrl-C keeps less: finished layers, in `stages_`, and the network once fine-tuning has begun. The layer at work
        is lost, and in the first layer's pretraining all, unless there is a `checkpoint`.) None: no limit.
    callbacks : callable, list of callables or None, default=None
        Each is called with the `EpochRecord` of each epoch; one that returns True ends the stage at work. If one
        raises, the exception goes on and the estimator keeps what it would after Ctrl-C. `JSONLines` and
        `BestModel` are ready-made. A model file does not hold them.
    checkpoint : path, Checkpoint or None, default=None
        A file in which the fit writes where it stands, every minute or as the `Checkpoint` says. If the process ends
        early, for whatever reason, the same call goes on from there, and the result has the bits of one that was never
        ended; a finished fit's file gives its result at once. Ctrl-C and `max_seconds` write it once more. One file
        serves one fit: with other settings or data it is refused, and so it is for the clones that a search, a
        cross-validation or `compare` fits on other rows (`memory` serves those). Not for `partial_fit`. None: no file.
    memory : path, joblib.Memory or None, default=None
        Folder of a cache of pretrained layers. Fits with the same rows, seed and settings of pretraining (candidates of
        a search, in each fold for itself) take the layers from there instead of pretraining again; the result is the
        same to the bit. ``stages_[i].from_cache`` and `verbose` tell; callbacks do not see these epochs. joblib reads
        its files by pickle, which runs code: trust the folder. None: no cache.
    verbose : int, default=0
        0: silent. 1: the choices made, each layer's skill, and a progress bar. 2: a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        For an indicator matrix, the numbers of its columns.
    stages_ : list of Stage
        The pretrained layers as pretraining left them; empty without pretraining.
    history_ : list of EpochRecord
        All epochs of both stages, in order.
    network_ : Network
        The fine-tuned network.
    coefs_, intercepts_ : lists of ndarray
        Its weights and biases, layer by layer. With `batch_norm`, ``network_.layers[i].affine()`` is what predictions
        multiply by and add.
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
    float32, other integers float64; pandas' and pyarrow's own columns of these kinds count alike. Scaling is up to the
    user; [0, 1] suits the defaults. Single rows are predicted fastest as NumPy arrays of float32 or float64 by a model
    fitted without column names (a small one takes some 0.01 ms); all else goes through scikit-learn's checks, which
    take ten times as long.

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
        batch_norm: Any = "auto",
        initializer: Any = "auto",
        class_weight: Any = None,
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
        self.class_weight = class_weight
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PretrainedClassifier":
        """Pretrain on all rows, fine-tune on the labelled ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or an indicator matrix of 0 and 1; see `unlabeled` for what is unknown.
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
        FormatError, OSError
            If the file of `checkpoint` is damaged, or cannot be read or written; what was reached is kept.
        KeyboardInterrupt
            On Ctrl-C, with a note that says what was kept: nothing, finished stages, or the network in fine-tuning.
        """
        return self._fit(X, y, sample_weight)

    @available_if(passes_make_sense)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "PretrainedClassifier":
        """Learn from some more rows.

        The first call pretrains on its rows. Each call then does one pass of fine-tuning over its labelled rows, with
        the optimiser going on where the call before left it. A call without a label only pretrains, if it is the first,
        or does nothing. After `fit` or `layerwise.load`, fine-tuning goes on from there with a fresh optimiser.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            As in `fit`; -1 is an unknown label unless it is one of `classes`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur. The first call needs them, unless y is an indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As for `fit`; also if `classes` is missing in the first call or differs in a later one, if a label is not
            among them.
        AttributeError
            With a checkpoint, early stopping, a schedule of the momentum or of the learning rate (but "auto" and
            "constant"), layers that thaw, or class_weight="balanced", which belong to whole fits.
        TrainingDiverged, KeyboardInterrupt
            As for `fit`.
        """
        return self._fit(X, y, sample_weight, once=True, classes=classes)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, once: bool = False, classes: Any = None
    ) -> "PretrainedClassifier":
        with self._fitting() as fitted:
            show = self._watch(fitted, (X, y, sample_weight))
            settings = self._settings()
            check_class_weight(self._where("class_weight"), self.class_weight)
            kept = self._kept(settings[0], always=once)
            X = self._matrix(X, settings[1], kept)
            _require_target(self, y)
            known = self._known_classes(classes, y) if once else None
            read = self._several_labels if is_matrix(y) else self._one_label
            weights, X, task = read(X, y, sample_weight, known)
            self._check_same_classes(kept, task)
            before = self.n_labeled_ if once and kept is not None else 0
            fitted |= {"classes_": task.classes, "n_labeled_": before + len(task.targets)}
            try:
                self._learn(
                    fitted,
                    X,
                    task.labelled,
                    task.targets.astype(X.dtype),
                    settings=settings,
                    output=task.output,
                    loss=f"{task.output}_cross_entropy",
                    groups=task.codes,
                    weights=weights,
                    factors=task.factors,
                    bias=None if once else task.bias,
                    kept=kept,
                    once=once,
                    seed=self._seed(),
                    show=show,
                )
            finally:
                show.close()
        return self

    def _logits(self, X: Any) -> Array:
        require_fitted(self)
        return self._apply(self._checked(X), 0, logits=True)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) for an indicator matrix
            Of that, 1 where the label's probability is above 1/2, else 0.
        """
        logits = self._logits(X)
        if self._is_multilabel:
            return (logits > 0).astype(np.int64)
        chosen: Array = logits.argmax(axis=1)
        labels: Array = self.classes_[chosen]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, of shape (n_samples, n_classes), in the order of `classes_`.

        For an indicator matrix they are the probabilities that the row has each label; they do not add up to 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        require_fitted(self)
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
        if self._is_multilabel:
            return -np.logaddexp(0, -logits)
        shifted = logits - logits.max(axis=1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return result

    def decision_function(self, X: Any) -> Array:
        """Return the inputs of the softmax (for two classes, the second one's minus the first one's) or the sigmoids.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
        """
        logits = self._logits(X)
        if self._is_multilabel:
            return logits
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on the rows whose label is known.

        For an indicator matrix a row is right if all its known cells are (subset accuracy); rows without a known cell
        do not count.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            As in `fit`; -1 is an unknown label unless it is one of `classes_`.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        float
        """
        predicted = self.predict(X)
        _require_target(self, y)
        if self._is_multilabel:
            return self._subset_accuracy(predicted, y, sample_weight)
        labelled, labels = known_classes(y, self.unlabeled, self.classes_)
        check_consistent_length(predicted, labelled)
        weights = check_sample_weight(sample_weight, predicted)
        return float(
            accuracy_score(labels, predicted[labelled], sample_weight=None if weights is None else weights[labelled])
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _require_target(estimator: Any, y: Any) -> None:
    if y is None:  # scikit-learn's own message
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
