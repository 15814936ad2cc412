"""The demonstration behind ``layerwise demo``: whether pretraining helps when few labels are known.

Over several seeds: a network pretrained on all rows and fine-tuned on the few labelled ones, the same network
fine-tuned from a random start with the same budget, and rivals that see the labelled rows alone: that network with
ReLU units, logistic regression, support vectors. The verdict comes from the paired differences over the seeds, and says
so when pretraining did not help.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from time import perf_counter
from typing import Any, TextIO

import numpy as np

from layerwise import datasets, paired
from layerwise import progress as progress_of_estimators
from layerwise.paired import Difference, duration
from layerwise.terminal import Line
from layerwise.training import EpochRecord

PRETRAINED, RANDOM = "pretrained network", "same network, random start"
RELU, LOGISTIC, SVM = "a ReLU network", "logistic regression", "RBF support vectors"
RIVALS = (RELU, LOGISTIC, SVM)
METHODS = (PRETRAINED, RANDOM, *RIVALS)


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
    labels : int
        Labelled rows; the labels of all other training rows are hidden.
    seeds : int
        Seeds 0, 1, ...: each draws other labelled rows, other weights and other noise.
    pretraining_epochs, finetuning_epochs : int
        Pretraining counts per layer.
    activation : str
    batch_norm : bool
        Of the hidden layers of every network.
    corruption : float
        Share of the inputs that the denoising autoencoders mask.
    input_dropout : float
        Share of the inputs that the fine-tuning of every network leaves out; if any, its rate falls to 0 in the last
        fifth of the epochs.
    threads : int or None
        None: the package's choice.
    """

    hidden_layer_sizes: tuple[int, ...]
    labels: int
    seeds: int
    pretraining_epochs: int
    finetuning_epochs: int
    activation: str = "sigmoid"
    batch_norm: bool = False
    corruption: float = 0.25
    input_dropout: float = 0.0
    threads: int | None = None


#: What is run when nothing is asked for: under two minutes on two cores without MNIST, under four with it.
DIGITS = Options((200, 200, 200), labels=60, seeds=5, pretraining_epochs=40, finetuning_epochs=150)
MNIST = Options(
    (500, 500, 500),
    labels=1000,
    seeds=3,
    pretraining_epochs=6,
    finetuning_epochs=40,
    corruption=0.5,
    input_dropout=0.3,  # chosen by benchmarks/mnist_few_labels.py's validation rows
)
MNIST_FULL = replace(MNIST, hidden_layer_sizes=(1000, 1000, 1000), pretraining_epochs=15)


@dataclass
class Outcome:
    """Test error in percent and seconds of training, one of each per seed, by method."""

    errors: dict[str, list[float]] = field(default_factory=lambda: {method: [] for method in METHODS})
    seconds: dict[str, list[float]] = field(default_factory=lambda: {method: [] for method in METHODS})
    seeds: list[int] = field(default_factory=list)  # those that every method has finished


def load(path: str | None, *, fallback: bool) -> tuple[str, datasets.Dataset]:
    """Return MNIST if it is found, else scikit-learn's digits if `fallback` allows it; with the data's name."""
    try:
        return "MNIST", datasets.load_mnist(path)
    except FileNotFoundError:
        if not fallback:
            raise
    X, y = datasets.load_digits()
    test = datasets.few_labels(y, 597, random_state=0) >= 0  # stratified, the same for all seeds
    return "scikit-learn's digits", datasets.Dataset(X[~test], y[~test], X[test], y[test])


def run(data: datasets.Dataset, options: Options, progress: Progress, outcome: Outcome) -> None:
    """Train and test every method for every seed; `outcome` keeps what is finished when that is interrupted."""
    for seed in range(options.seeds):
        y = datasets.few_labels(data.y_train, options.labels, random_state=seed)
        found = {}
        for method in METHODS:
            progress.begin(seed, method)
            start = perf_counter()
            model = make(method, options, seed, progress)
            if method == PRETRAINED:
                model.fit(data.X_train, y)
            else:
                model.fit(data.X_train[y >= 0], y[y >= 0])
            seconds = perf_counter() - start
            found[method] = (100 * (1 - float(np.mean(model.predict(data.X_test) == data.y_test))), seconds)
            progress.end(model, *found[method])
        for method, (error, seconds) in found.items():
            outcome.errors[method].append(error)
            outcome.seconds[method].append(seconds)
        outcome.seeds.append(seed)


def make(method: str, options: Options, seed: int, progress: Progress) -> Any:
    """Return an estimator that is not fitted yet."""
    if method == LOGISTIC:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=2000)
    if method == SVM:
        from sklearn.svm import SVC

        return SVC(C=10.0)
    from layerwise import DenoisingAutoencoder, FineTuning, LinearDecay, Masking, PretrainedClassifier

    model = PretrainedClassifier(
        hidden_layer_sizes=options.hidden_layer_sizes,
        activation="relu" if method == RELU else options.activation,
        batch_norm=options.batch_norm,
        pretraining=DenoisingAutoencoder(corruption=Masking(options.corruption), epochs=options.pretraining_epochs)
        if method == PRETRAINED
        else None,
        finetuning=FineTuning(
            epochs=options.finetuning_epochs,
            input_dropout=options.input_dropout,
            schedule=LinearDecay(hold=0.8 * options.finetuning_epochs) if options.input_dropout else "auto",
        ),
        random_state=seed,
        n_jobs=options.threads,
    )
    model._progress = lambda: progress  # type: ignore[method-assign]  # the whole run's instead of the estimator's own
    return model


# ------------------------------------------------------------------------------------------------------------- progress


class Progress(progress_of_estimators.Progress):
    """Tells how far the run is: one line rewritten on a terminal, plain lines elsewhere.

    Parameters
    ----------
    options : Options
    data : Dataset
        For the size of the work, from which the time left is reckoned.
    stream : text stream
    """

    def __init__(self, options: Options, data: datasets.Dataset, stream: TextIO) -> None:
        super().__init__(verbose=1)
        self.options, self.line = options, Line(stream)
        sizes = (data.X_train.shape[1], *options.hidden_layer_sizes)
        weights = [n_in * n_out for n_in, n_out in pairwise(sizes)]
        self._pretraining = [2 * len(data.X_train) * w for w in weights]  # an epoch of each layer: encoder and decoder
        self._finetuning = options.labels * sum(weights)
        epochs = options.pretraining_epochs * sum(self._pretraining), options.finetuning_epochs * self._finetuning
        self._total: int = options.seeds * (epochs[0] + 3 * epochs[1])
        self._done: int = 0
        self._start = perf_counter()
        self._place, self._first = "", False

    def begin(self, seed: int, method: str) -> None:
        """A method starts on a seed."""
        self._place = f"seed {seed + 1}/{self.options.seeds}  {method}"
        self._first = (seed, method) == (0, PRETRAINED)
        if self.line.rewrites:
            self.line.show(self._place)

    def report(self, text: str) -> None:
        """Tell what the first pretraining chose and how well each layer went; it is much the same for other seeds."""
        if self._first:
            self.line.print(f"{self._place}: {text}")

    def close(self) -> None:
        """Leave the line that is being rewritten to the next one."""

    def __call__(self, record: EpochRecord) -> None:
        """An epoch of a network is done."""
        if record.layer is None:
            stage, self._done = "fine-tuning", self._done + self._finetuning
        else:
            stage = f"pretraining layer {record.layer}/{len(self._pretraining)}"
            self._done += self._pretraining[record.layer - 1]
        self.line.show(
            f"{self._place}: {stage}  epoch {record.epoch}/{record.epochs}  loss {record.loss:.4g}  "
            f"{duration(self._left())} left"
        )

    def end(self, model: Any, error: float, seconds: float) -> None:
        """A method is done with a seed."""
        skills = [f"{stage.skill:.2f}" for stage in getattr(model, "stages_", ())]
        skill = f", skill of the layers {' '.join(skills)}" if skills else ""
        self.line.print(f"{self._place}: test error {error:.2f} % after {duration(seconds)}{skill}")

    def clear(self) -> None:
        """Leave the line that is being rewritten."""
        self.line.clear()

    def _left(self) -> float:
        # What is not training (the rivals, predictions) takes its share of what is left, too.
        share = max(self._done, 1) / self._total
        return (perf_counter() - self._start) * (1 / share - 1)


# -------------------------------------------------------------------------------------------------------------- results


def table(outcome: Outcome) -> str:
    """Return the test errors (mean and standard deviation over the seeds) and mean training times as lines of text."""
    return paired.table(
        {method: outcome.errors[method] for method in METHODS}, outcome.seconds, "test error", digits=2, unit=" %"
    )


def verdict(outcome: Outcome, options: Options, rows: int) -> str:
    """Say in one sentence what the errors show.

    Pretraining helped, or hurt, if the 95 % interval (Student's t) of the mean paired difference between the network
    from the random start and the pretrained one excludes zero.
    """
    pairs = zip(outcome.errors[RANDOM], outcome.errors[PRETRAINED], strict=True)
    gain = Difference.of([random - own for random, own in pairs])
    pretrained, random = (statistics.fmean(outcome.errors[method]) for method in (PRETRAINED, RANDOM))
    known = f"With {options.labels:,} labels among {rows:,} rows"
    numbers = f"{random:.2f} % to {pretrained:.2f} %"
    if len(outcome.seeds) < 2:
        change = f"took the test error from {numbers} (one seed: no spread, so no proof)"
    else:
        shown = f"paired difference {gain.mean:+.2f} ± {gain.spread:.2f} points over {len(outcome.seeds)} seeds"
        if gain.sign > 0:
            change = f"helped: it took the test error of the same network from {numbers} ({shown})"
        elif gain.sign < 0:
            change = f"hurt: it took the test error of the same network from {numbers} ({shown})"
        else:
            change = f"made no difference that shows: {random:.2f} % without it, {pretrained:.2f} % with it ({shown})"
    rival = min(RIVALS, key=lambda method: statistics.fmean(outcome.errors[method]))
    error = statistics.fmean(outcome.errors[rival])
    beside = (
        f"but {rival} did better still:" if error < min(pretrained, random) else f"while the best rival, {rival}, had"
    )
    return f"{known}, pretraining {change}, {beside} {error:.2f} %."


def as_json(name: str, data: datasets.Dataset, options: Options, outcome: Outcome) -> dict[str, Any]:
    """Return all that was run and found, for ``--json``."""
    return {
        "data": name,
        "rows": {"training": len(data.X_train), "labelled": options.labels, "test": len(data.X_test)},
        "options": asdict(options),
        "seeds": outcome.seeds,
        "test_error_percent": outcome.errors,
        "training_seconds": {method: [round(s, 3) for s in seconds] for method, seconds in outcome.seconds.items()},
        "verdict": verdict(outcome, options, len(data.X_train)) if outcome.seeds else None,
    }
