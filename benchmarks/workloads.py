"""The workloads of `bench_training.py`: one table, the data they run on and their operation counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Weights = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Workload:
    """One network and how it is trained; every contender does exactly this."""

    name: str
    sizes: tuple[int, ...]
    batch_size: int
    activation: str  # of the hidden layers
    loss: str  # "softmax" (labels) or "sigmoid" (cross-entropy of the input's own reconstruction)
    optimizer: str
    rate: float
    rows: int  # in one epoch
    masking: float = 0.0
    predicts: bool = False  # no training: class probabilities of all rows, batch_size rows a call
    rest: float = 0.0  # seconds before each such call, which do not count

    @property
    def rebuilds_input(self) -> bool:
        """Whether the target is the clean input."""
        return self.loss == "sigmoid"

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.rows // self.batch_size

    @property
    def flops(self) -> int:
        """Operations of an epoch's products: forward, weight gradient, and input gradient above the first layer."""
        products = [n * m for n, m in pairwise(self.sizes)]
        if self.predicts:
            return 2 * self.rows * sum(products)
        return 2 * self.rows * (3 * sum(products) - products[0])


WIDE = (784, 1000, 1000, 1000, 10)
DEEP = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("dae", (784, 1000, 784), 100, "sigmoid", "sigmoid", "adam", 1e-3, 10_000, masking=0.25),
        Workload("wide", WIDE, 128, "relu", "softmax", "adam", 1e-3, 5_120),
        Workload("paper", WIDE, 20, "sigmoid", "softmax", "adam", 1e-3, 4_000),
        Workload("online", WIDE, 1, "sigmoid", "softmax", "sgd", 1e-2, 1_000),
        Workload("deep-ae", DEEP, 250, "sigmoid", "sigmoid", "adam", 1e-3, 5_000),
        Workload("tabular", (32, 64, 64, 2), 32, "relu", "softmax", "adam", 1e-3, 12_800),
        Workload("predict", WIDE, 10_000, "relu", "softmax", "", 0, 10_000, predicts=True),
        Workload("predict-one", WIDE, 1, "relu", "softmax", "", 0, 1_000, predicts=True),
        Workload("predict-rested", WIDE, 16, "relu", "softmax", "", 0, 800, predicts=True, rest=0.01),
    )
}


class Data(NamedTuple):
    """Inputs in [0, 1] and, for the classifiers, labels."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]


def data_of(workload: Workload, seed: int = 0) -> Data:
    """Rows with enough structure that a loss falls: random mixtures of a few patterns, labelled by the strongest."""
    rng = np.random.default_rng(seed)
    n_classes = workload.sizes[-1] if workload.loss == "softmax" else 10
    patterns = rng.random((n_classes, workload.sizes[0])) ** 2
    y = np.arange(workload.rows) % n_classes
    rng.shuffle(y)
    X = 0.6 * patterns[y] + 0.4 * rng.random((workload.rows, workload.sizes[0]))
    return Data(np.ascontiguousarray(X, np.float32), y.astype(np.int64))


def pictures_of(workload: Workload, X: NDArray[np.float32], y: NDArray[np.int64]) -> Data:
    """As many pictures as the workload has rows, of which most pixels are 0."""
    if X.shape[1] != workload.sizes[0]:
        raise ValueError(f"{workload.name} has {workload.sizes[0]} inputs, the pictures {X.shape[1]} pixels")
    return Data(np.ascontiguousarray(X[: workload.rows]), y[: workload.rows])


def weights_of(workload: Workload, seed: int = 1) -> Weights:
    """Glorot's uniform weights and zero biases, the same for every contender."""
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out in pairwise(workload.sizes):
        limit = np.sqrt(6 / (n_in + n_out))
        layers.append((rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32), np.zeros(n_out, np.float32)))
    return layers
