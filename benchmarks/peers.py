"""The contenders of `bench_training.py`, each at its best, doing the same work, and Layerwise among them.

Each class is made with a workload, its data, the starting weights and a number of threads, and offers

- ``check(steps)``: the mean loss over the first steps from the starting weights, in file order and without noise (where
  the workload predicts: the cross-entropy of the first rows' predictions), which must agree between all of them;
- ``epoch(share)``: one shuffled epoch with noise, loss and optimiser included; returns its seconds. A contender may
  run that share of the batches alone and say what all would take.

`peers_numpy`, `peers_torch` and `peers_jax` have the others; only what runs is imported.
"""

from __future__ import annotations

import math
import statistics
import time
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads import Data, Weights, Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
CHECKED_ROWS = 256  # of a prediction


class Contender:
    """What the benchmark asks of each, and what those that run batch by batch share."""

    tolerance = 1e-3  # of the losses: float32 sums in another order, and what ReLU makes of them

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        self.workload, self.data, self.start, self.threads = workload, data, weights, threads
        self.rng = np.random.default_rng(0)

    def refusal(self) -> str:
        """Why it cannot take part in the workload, or nothing."""
        return ""

    def reset(self) -> None:
        """Go back to the starting weights."""

    def check(self, steps: int) -> float:
        if self.workload.predicts:
            X, y = self.data.X[:CHECKED_ROWS], self.data.y[:CHECKED_ROWS]
            calls = np.split(X, len(X) // min(len(X), self.workload.batch_size))
            chances = np.concatenate([self.predict(rows) for rows in calls])
            return -float(np.mean(np.log(chances[np.arange(len(y)), y])))
        self.reset()
        loss = self.first_steps(steps)
        self.reset()
        return loss

    def epoch(self, share: float = 1.0) -> float:
        steps = max(1, round(share * self.workload.steps))
        if self.workload.predicts:
            taken = sum(map(self._call, np.split(self.data.X, self.workload.steps)[:steps]))
        else:
            order = self.rng.permutation(len(self.data.X))[: steps * self.workload.batch_size]
            start = time.perf_counter()
            self.train(order)
            taken = time.perf_counter() - start
        return taken * self.workload.steps / steps

    def _call(self, rows: NDArray[np.float32]) -> float:
        if self.workload.rest:
            time.sleep(self.workload.rest)
        start = time.perf_counter()
        self.predict(rows)
        return time.perf_counter() - start

    def first_steps(self, steps: int) -> float:
        """The mean loss of the first steps without noise."""
        raise RuntimeError(f"{type(self).__name__} does not train {self.workload.name}, {steps} steps")

    def train(self, order: NDArray[np.int64]) -> None:
        """Train on the rows in that order, with noise."""
        raise RuntimeError(f"{type(self).__name__} does not train {self.workload.name}, {len(order)} rows")

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities of the rows, NumPy in and NumPy out."""
        raise RuntimeError(f"{type(self).__name__} does not predict {self.workload.name}, {len(X)} rows")


class Layerwise(Contender):
    """The package: `check` through its engine, which can be told the weights; `epoch` through the estimators."""

    #: A fit has as many epochs as fit into so many seconds, so that the engine has chosen its threads when the later
    #: half is timed.
    FIT_SECONDS = 1.5
    tied = False
    precision = "auto"

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        super().__init__(workload, data, weights, threads)
        self.seed, self.epochs = 0, 4

    def first_steps(self, steps: int) -> float:
        from layerwise import _core

        workload, last = self.workload, len(self.start) - 1
        layers = [
            _core.Layer(*W.shape, workload.loss if depth == last else workload.activation)
            for depth, (W, _) in enumerate(self.start)
        ]
        network = _core.Network_float32(layers)
        for depth, (W, b) in enumerate(self.start):
            network.set_weights(depth, W)
            network.set_bias(depth, b)
        optimizer = _core.Optimizer(workload.optimizer, momentum=BETA_1, decay=BETA_2, epsilon=EPSILON)
        loss, size = f"{workload.loss}_cross_entropy", workload.batch_size
        recipe = _core.Recipe(
            loss, optimizer, size, shuffle=False, threads=self.threads, bfloat16=self.precision == "bfloat16"
        )
        X = np.ascontiguousarray(self.data.X[: steps * size])
        Y = np.eye(workload.sizes[-1], dtype=np.float32)[self.data.y[: steps * size]]
        stats = _core.Plan_float32(network, recipe).run(
            X, None if workload.rebuilds_input else Y, 0, steps, np.full(steps, workload.rate)
        )
        return float(stats.loss)

    def epoch(self, share: float = 1.0) -> float:
        if self.workload.predicts:
            return super().epoch(share)
        self.seed += 1
        model = self._estimator().fit(self.data.X, self.data.y)
        seconds = [record.seconds for record in model.history_ if record.stage == self.stage]
        middle = statistics.median(seconds[len(seconds) // 2 :])
        self.epochs = max(4, math.ceil(self.FIT_SECONDS / middle))
        return middle

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.model.predict_proba(X))

    @property
    def stage(self) -> str:
        return "pretraining" if self.workload.masking else "finetuning"

    @cached_property
    def model(self) -> Any:
        """A fitted classifier with the starting weights, made when it is first asked for: it may be refused before."""
        from layerwise import FineTuning, PretrainedClassifier
        from layerwise.network import DenseLayer, Network

        workload, rows = self.workload, 10 * self.workload.sizes[-1]
        finetuning = FineTuning(epochs=1, batch_size=rows)
        model = PretrainedClassifier(
            workload.sizes[1:-1],
            pretraining=None,
            finetuning=finetuning,
            activation=workload.activation,
            precision=self.precision,
            n_jobs=self.threads or None,
        ).fit(self.data.X[:rows], np.arange(rows) % workload.sizes[-1])
        fitted = zip(self.start, model.network_.layers, strict=True)
        model.network_ = Network([DenseLayer(W.copy(), b.copy(), layer.activation) for (W, b), layer in fitted])
        return model

    def _estimator(self) -> Any:
        from layerwise import (
            SGD,
            Adam,
            Autoencoder,
            DenoisingAutoencoder,
            FineTuning,
            Masking,
            PretrainedClassifier,
            StackedAutoencoder,
        )

        workload = self.workload
        optimizer = {"adam": Adam, "sgd": SGD}[workload.optimizer](workload.rate)
        finetuning = FineTuning(
            epochs=self.epochs, batch_size=workload.batch_size, optimizer=optimizer, schedule="constant"
        )
        shared = {
            "activation": workload.activation,
            "random_state": self.seed,
            "n_jobs": self.threads or None,
            "precision": self.precision,
        }
        if not workload.rebuilds_input:
            return PretrainedClassifier(workload.sizes[1:-1], pretraining=None, finetuning=finetuning, **shared)
        same = {"batch_size": workload.batch_size, "optimizer": optimizer, "loss": "cross_entropy", "tied": self.tied}
        if workload.masking:
            settings = DenoisingAutoencoder(corruption=Masking(workload.masking), epochs=self.epochs, **same)
            return StackedAutoencoder(workload.sizes[1:-1], pretraining=settings, **shared)
        encoder = workload.sizes[1 : len(workload.sizes) // 2 + 1]
        return StackedAutoencoder(encoder, pretraining=Autoencoder(epochs=1, **same), finetuning=finetuning, **shared)


class LayerwiseTied(Layerwise):
    """The same with the decoder's weights tied to the encoder's, which the peers' loops do not offer."""

    tied = True

    def refusal(self) -> str:
        return "" if self.workload.name == "dae" else "is timed on `dae` alone"


class LayerwiseOneThread(Layerwise):
    """The same with ``n_jobs=1``, as it is started (`ONE_THREAD`)."""

    def refusal(self) -> str:
        return "" if self.workload.name == "tabular" else "is timed on `tabular` alone"


class LayerwiseBfloat16(Layerwise):
    """The same with ``precision="bfloat16"``."""

    precision = "bfloat16"
    tolerance = 2e-2  # as the other bfloat16's

    def refusal(self) -> str:
        from layerwise import _core

        if self.workload.batch_size == 1 and not self.workload.predicts:
            return "learns from batches of one row in float32"
        return "" if _core.has_bfloat16() else "needs a processor with AVX512-BF16"


class LayerwiseNetwork(Layerwise):
    """Predictions by the network itself, without an estimator's checks of its input."""

    def refusal(self) -> str:
        return "" if self.workload.predicts else "is for predictions alone"

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.model.network_.apply(X, threads=self.threads))


class ScikitLearn(Contender):
    """`MLPClassifier` with its stochastic solvers; the other losses are not among those it has."""

    #: Its Adam corrects the bias without epsilon, which is then as if up to 32 times larger in the first steps: 0.16 %
    #: of the loss of `wide`, and 0.0006 % when it is given the epsilon that makes up for that.
    tolerance = 3e-3

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        super().__init__(workload, data, weights, threads)
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads, user_api="blas")

    def refusal(self) -> str:
        if self.workload.rebuilds_input:
            return "has no autoencoder with a cross-entropy"
        return "has one output for two classes, which is another network" if self.workload.sizes[-1] == 2 else ""

    def reset(self) -> None:
        from sklearn.neural_network import MLPClassifier

        workload = self.workload
        self.model = MLPClassifier(
            workload.sizes[1:-1],
            activation={"sigmoid": "logistic"}.get(workload.activation, workload.activation),
            solver=workload.optimizer or "adam",
            alpha=0.0,
            batch_size=workload.batch_size,
            learning_rate_init=workload.rate or 1e-3,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=False,
            random_state=0,
        )
        size = workload.batch_size
        self.model.partial_fit(self.data.X[:size], self.data.y[:size], classes=np.arange(workload.sizes[-1]))
        self.model.coefs_ = [W.copy() for W, _ in self.start]
        self.model.intercepts_ = [b.copy() for _, b in self.start]
        del self.model._optimizer  # with the moments of the first step

    def first_steps(self, steps: int) -> float:
        size, losses = self.workload.batch_size, []
        for first in range(0, steps * size, size):
            self.model.partial_fit(self.data.X[first : first + size], self.data.y[first : first + size])
            losses.append(self.model.loss_)
        return float(np.mean(losses))

    def train(self, order: NDArray[np.int64]) -> None:
        self.model.partial_fit(self.data.X[order], self.data.y[order])

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(self, "model"):
            self.reset()
        return np.asarray(self.model.predict_proba(X))


#: Name of a contender: file, class, the package it needs.
ONE_THREAD = "layerwise 1 thread"
CONTENDERS = {
    "layerwise": ("peers", "Layerwise", "layerwise"),
    "layerwise tied": ("peers", "LayerwiseTied", "layerwise"),
    ONE_THREAD: ("peers", "LayerwiseOneThread", "layerwise"),
    "layerwise bf16": ("peers", "LayerwiseBfloat16", "layerwise"),
    "layerwise network": ("peers", "LayerwiseNetwork", "layerwise"),
    "numpy": ("peers_numpy", "NumPy", "numpy"),
    "numpy reference": ("peers_numpy", "Reference", "numpy"),
    "scikit-learn": ("peers", "ScikitLearn", "sklearn"),
    "torch": ("peers_torch", "PyTorch", "torch"),
    "torch compiled": ("peers_torch", "Compiled", "torch"),
    "torch bf16": ("peers_torch", "Bfloat16", "torch"),
    "jax": ("peers_jax", "Jax", "jax"),
}
