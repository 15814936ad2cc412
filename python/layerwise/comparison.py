"""`compare`: does pretraining help here? The same network with and without it, beside methods that are not networks."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_consistent_length

from layerwise import checks, datasets, supervised_pretraining
from layerwise.checks import Parameter
from layerwise.estimators import PretrainedClassifier
from layerwise.estimators.base import DEFAULT_ACTIVATION
from layerwise.estimators.labels import is_matrix, known_classes, known_numbers
from layerwise.estimators.supervised import PretrainedEstimator
from layerwise.finetuning import FineTuning
from layerwise.paired import Difference, duration, table
from layerwise.pretraining import usual_activation
from layerwise.rivals import BOOSTING, SELF_TRAINING, SPREADING, contenders, seeded

Array = NDArray[Any]

PRETRAINED, RANDOM = "pretrained", "not pretrained"
MOST_ROWS = 50_000  # for label spreading, which compares each row with each other
WHERE = Parameter("compare")


# ------------------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found; it prints as a table and a sentence.

    Attributes
    ----------
    scores : dict of str to tuple of float
        Scores on the test rows, one a seed, by contender. Greater is better.
    seconds : dict of str to tuple of float
        Times of training, likewise.
    seeds : tuple of int
    scoring : str
        What the scores are.
    rows : dict of str to int
        Numbers of "labelled", "unlabelled" and "test" rows.
    left_out : dict of str to str
        Contenders that were not run, and why.
    """

    scores: dict[str, tuple[float, ...]]
    seconds: dict[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    scoring: str
    rows: dict[str, int]
    left_out: dict[str, str]

    @property
    def difference(self) -> Difference:
        """What pretraining added to the score of the same network."""
        pairs = zip(self.scores[PRETRAINED], self.scores[RANDOM], strict=True)
        return Difference.of([own - random for own, random in pairs])

    @property
    def helped(self) -> bool:
        """Whether the 95 % interval of the paired difference lies above zero."""
        return self.difference.sign > 0

    @property
    def verdict(self) -> str:
        """What the scores show, in a sentence or two."""
        own, random = (statistics.fmean(self.scores[name]) for name in (PRETRAINED, RANDOM))
        change = self.difference
        numbers = f"{self.scoring} {random:.3f} without it, {own:.3f} with it"
        if len(self.seeds) == 1:
            said = f"One seed cannot show whether pretraining helped here: {numbers}."
        else:
            interval = f"difference {change.mean:+.3f}, 95 % interval [{change.low:+.3f}, {change.high:+.3f}]"
            evidence = f"{numbers} ({interval} over {len(self.seeds)} seeds)"
            if change.sign > 0:
                said = f"Pretraining helped here: {evidence}."
            else:
                why = "it did harm" if change.sign < 0 else "the interval includes zero"
                said = f"Pretraining did not help here: {evidence}; {why}."
        rivals = [name for name in self.scores if name not in (PRETRAINED, RANDOM)]
        if rivals:
            best = max(rivals, key=lambda name: statistics.fmean(self.scores[name]))
            score = statistics.fmean(self.scores[best])
            if score > max(own, random):
                said += f" {best[0].upper() + best[1:]} did better than either: {score:.3f}."
                said += " Try it on the columns and the network's codes (transform) together." * (best == BOOSTING)
            else:
                said += f" The best of the others is {best}: {score:.3f}."
        return said

    def __repr__(self) -> str:
        """Return the table and the verdict."""
        rows = ", ".join(f"{count:,} {kind}" for kind, count in self.rows.items())
        left_out = [f"{name:22} left out: {why}" for name, why in self.left_out.items()]
        shown = table(self.scores, self.seconds, self.scoring, digits=3, width=22)
        return "\n".join([f"rows: {rows}; seeds: {len(self.seeds)}", shown, *left_out, self.verdict])


# ------------------------------------------------------------------------------------------------------------- compare


def compare(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    seeds: int | Sequence[int] = 5,
    test_size: float = 0.25,
    labels: int | None = None,
    rivals: Any = "auto",
    scoring: str | None = None,
    verbose: int = 0,
) -> Comparison:
    """Compare a network with itself without pretraining, and with methods that are not networks.

    For each seed a part of the labelled rows is drawn as test rows. No contender sees anything of these while it is
    trained, neither in pretraining nor in the steps of a pipeline. The networks and the semi-supervised rivals train on
    all other rows, the other rivals on the labelled ones among them.

    Parameters
    ----------
    estimator : PretrainedClassifier or PretrainedRegressor, or a Pipeline that ends in one
        With pretraining. It is cloned and not changed. The rivals get the columns that the pipeline's other steps
        make, fitted for them anew, so scaling belongs there.
    X : array-like or dataframe of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        The estimator's marks for unknown labels hold. Rows without a label are never test rows.
    seeds : int or sequence of int, default=5
        A number n means 0, ..., n - 1. A seed decides the test rows, the rows that keep their label, and all random
        numbers of training.
    test_size : float in (0, 1), default=0.25
        Share of the labelled rows to test on; stratified for classes.
    labels : int, default=None
        Keep so many labels among the training rows (stratified for classes) and hide the others, to see what few labels
        would give. None keeps all.
    rivals : "auto", sequence of names or dict, default="auto"
        "auto": for classes "logistic regression", "gradient boosting", "self-training" (of a logistic regression) and
        "label spreading" (over 7 nearest neighbours; left out above 50,000 rows); the last two are left out where no
        training row is unlabelled. For numbers "ridge regression" and "gradient boosting". A sequence names some of
        them. A dict gives estimators of your own by name, to be trained on the labelled rows. All have scikit-learn's
        default settings, but enough iterations.
    scoring : str, default=None
        Name of a scikit-learn scorer; None is "accuracy" or "r2".
    verbose : int, default=0
        1: a line for each score.

    Returns
    -------
    Comparison
        Prints as a table. `verdict` is the conclusion: "Pretraining helped here" only if the 95 % interval (Student's
        t) of the paired difference over the seeds lies above zero, otherwise "Pretraining did not help here".

    Raises
    ------
    ValueError
        If a parameter is not allowed, or if there are too few labelled rows for the split.

    Notes
    -----
    The interval tells how sure the difference is for other draws from *these* rows. The seeds share rows, so it is
    rather too narrow than too wide as a statement on new data.

    Examples
    --------
    >>> from layerwise import PretrainedClassifier, compare
    >>> result = compare(PretrainedClassifier((100, 100)), X, y, labels=100)
    >>> print(result)  # doctest: +SKIP
    """
    final = _final_estimator(estimator)
    is_classifier = _is_classifier(final)
    chosen = _seeds(seeds)
    checks.real(WHERE.child("test_size"), test_size, 0, 1, open_low=True, open_high=True)
    if labels is not None:
        labels = checks.integer(WHERE.child("labels"), labels, 1)
    verbose = checks.integer(WHERE.child("verbose"), verbose, 0)
    if scoring is None:
        scoring = "accuracy" if is_classifier else "r2"
    elif not isinstance(scoring, str) or scoring not in get_scorer_names():
        raise WHERE.child("scoring").error("None or the name of a scikit-learn scorer", scoring)
    scorer = get_scorer(scoring)
    others, left_out = contenders(WHERE.child("rivals"), rivals, is_classifier, (PRETRAINED, RANDOM)), dict[str, str]()
    target = _Target(final, y, is_classifier)
    check_consistent_length(X, target.labelled)

    scores: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}

    def note(name: str, score: Any, elapsed: float) -> None:
        scores.setdefault(name, []).append(float(score))
        seconds.setdefault(name, []).append(elapsed)
        if verbose:
            print(f"seed {seed}  {name}: {scoring} {float(score):.3f} after {duration(elapsed)}", flush=True)

    for seed in chosen:
        train, test, known = target.split(seed, test_size, labels)
        if not (~known).any():
            left_out |= dict.fromkeys({SELF_TRAINING, SPREADING} & others.keys(), "no training row is without a label")
        if len(train) > MOST_ROWS and SPREADING in others:
            left_out[SPREADING] = f"{len(train):,} rows are more than the {MOST_ROWS:,} that it can take"
        X_train, X_test = _safe_indexing(X, train), _safe_indexing(X, test)
        codes = np.where(known, target.codes[train], -1 if is_classifier else np.nan)
        for name in (PRETRAINED, RANDOM):
            model = _network(estimator, seed, random=name == RANDOM)
            start = perf_counter()
            model.fit(X_train, target.marked(train, known))
            elapsed = perf_counter() - start
            note(name, scorer(model, X_test, target.labels[test]), elapsed)
        before, columns = _columns(estimator, X_train, target.marked(train, known))
        test_columns = X_test if before is None else before.transform(X_test)
        for name, rival in others.items():
            if name in left_out:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what rivals say of themselves is not the question here
                model, start = seeded(rival, seed), perf_counter()
                if name in (SELF_TRAINING, SPREADING):
                    model.fit(columns, codes)
                else:
                    model.fit(_safe_indexing(columns, np.flatnonzero(known)), codes[known])
                elapsed = perf_counter() - start
                note(name, scorer(model, test_columns, target.codes[test]), elapsed)
    counts = {"labelled": int(known.sum()), "unlabelled": int((~known).sum()), "test": len(test)}
    return Comparison(
        {name: tuple(own) for name, own in scores.items()},
        {name: tuple(own) for name, own in seconds.items()},
        tuple(chosen),
        scoring,
        counts,
        {name: why for name, why in left_out.items() if name not in scores},
    )


def _seeds(value: Any) -> list[int]:
    where, most = WHERE.child("seeds"), 2**32 - 1
    if not checks.is_sequence(value):
        return list(range(checks.integer(where, value, 1, most)))
    chosen = [checks.integer(where, seed, 0, most) for seed in value]
    if not chosen or len(set(chosen)) < len(chosen):
        raise where.error("a positive integer, or a sequence of different integers", value)
    return chosen


def _final_estimator(estimator: Any) -> PretrainedEstimator:
    """Return the network that `estimator` is or ends in, checked to have a pretraining that can be done anew."""
    final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(final, PretrainedEstimator):
        allowed = "a PretrainedClassifier, a PretrainedRegressor, or a Pipeline that ends in one"
        raise WHERE.child("estimator").error(allowed, estimator)
    if final.checkpoint is not None:
        allowed = "None: one file serves one fit, and compare fits several; `memory` keeps what is pretrained"
        raise WHERE.child("estimator__checkpoint").error(allowed, final.checkpoint)
    before: Any = final.pretraining
    try:
        supervised_pretraining.resolve(WHERE, before)
    except checks.InvalidParameterError:
        allowed = "settings for pretraining (a fitted autoencoder may have seen the test rows)"
        raise WHERE.child("estimator__pretraining").error(allowed, before) from None
    return final


def _is_classifier(final: Any) -> bool:
    return isinstance(final, PretrainedClassifier)


def _network(estimator: Any, seed: int, *, random: bool) -> Any:
    model = clone(estimator)
    final = model.steps[-1][1] if isinstance(model, Pipeline) else model
    final.set_params(random_state=seed)
    if random:
        if isinstance(final.activation, str) and final.activation == "auto":  # which may depend on the pretraining
            final.set_params(activation=usual_activation(final.pretraining, DEFAULT_ACTIVATION))
        final.set_params(pretraining=None)
        if isinstance(final.finetuning, FineTuning):  # there is nothing pretrained to start from in another way
            final.set_params(finetuning__start="pretrained")
    return model


def _columns(estimator: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """Return the steps before the network, fitted to the training rows, and the columns they make of these."""
    if not isinstance(estimator, Pipeline) or len(estimator.steps) == 1:
        return None, X
    before = clone(Pipeline(estimator.steps[:-1]))
    return before, before.fit_transform(X, y)


class _Target:
    """The target, and which rows of it are known; `codes` are class numbers or the target's own numbers."""

    def __init__(self, final: PretrainedEstimator, y: Any, is_classifier: bool) -> None:
        self.is_classifier, self.may_hide = is_classifier, final.unlabeled is not None
        if is_classifier:
            if is_matrix(y):
                raise ValueError(f"compare takes one target. Got y of shape {np.shape(y)}.")
            self.labelled, labels = known_classes(y, final.unlabeled)
            _, codes = np.unique(labels, return_inverse=True)
            self.labels = np.empty(len(self.labelled), labels.dtype)
            self.codes = np.full(len(self.labelled), -1)
            self.labels[self.labelled], self.codes[self.labelled] = labels, codes
        else:
            numbers, is_vector = known_numbers(y, final.unlabeled)
            if not is_vector:
                raise ValueError(f"compare takes one target. Got y of shape {numbers.shape}.")
            self.codes = self.labels = numbers.ravel()
            self.labelled = ~np.isnan(self.codes)

    def split(self, seed: int, test_size: float, labels: int | None) -> tuple[Array, Array, Array]:
        """Return the training rows, the test rows, and which of the training rows have a label that is shown."""
        rows = np.flatnonzero(self.labelled)
        groups = self.codes[rows] if self.is_classifier else None
        own, test = train_test_split(rows, test_size=test_size, stratify=groups, random_state=seed)
        shown = self.labelled.copy()
        shown[test] = False
        if labels is not None:
            least = len(np.unique(self.codes[own])) if self.is_classifier else 2
            if not least <= labels <= len(own) or not self.may_hide:
                allowed = (
                    f"None or an integer in [{least}, {len(own)}]" if self.may_hide else "None with unlabeled=None"
                )
                raise WHERE.child("labels").error(allowed, labels)
            groups = self.codes[own] if self.is_classifier else np.zeros(len(own), np.int64)
            shown[own[datasets.few_labels(groups, labels, random_state=seed) < 0]] = False
        train = np.setdiff1d(np.arange(len(shown)), test)
        return train, np.sort(test), shown[train]

    def marked(self, train: Array, known: Array) -> Array:
        """Return the target of the training rows with the marks of the unknown ones."""
        own: Array = self.labels[train]
        if known.all():
            return own
        if not self.is_classifier:
            return np.where(known, own, np.nan)
        own = own.astype(object)
        own[~known] = None
        return own
