"""The memory a fit needs is what docs/architecture.md says, and X is not copied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from layerwise import _core

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")

# Fits twice, once small for what is loaded and started once, and prints by how many bytes the second fit's peak is
# above what was there before.
SCRIPT = """
import sys
import numpy as np
from layerwise import SGD, Adam, DenoisingAutoencoder, FineTuning, PretrainedClassifier, StackedAutoencoder

def resident(what):
    lines = (line.split() for line in open("/proc/self/status"))
    return next(int(words[1]) * 1024 for words in lines if words[0] == what)

kind, optimizer, rows, n_in, order, *sizes = sys.argv[1:]
settings = {"epochs": 1, "batch_size": 100, "optimizer": {"sgd": SGD, "adam": Adam}[optimizer](1e-3)}
sizes = tuple(int(size) for size in sizes)
rng = np.random.default_rng(0)
X = np.asarray(rng.random((int(rows), int(n_in)), np.float32), order=order)
y = np.arange(len(X)) % 10

def model(sizes):
    if kind == "classifier":
        return PretrainedClassifier(sizes, activation="sigmoid", pretraining=None, finetuning=FineTuning(**settings))
    return StackedAutoencoder(sizes, activation="sigmoid", pretraining=DenoisingAutoencoder(**settings))

model((20, 20)).fit(X[:200], y[:200])
before = resident("VmRSS:")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts again
fitted = model(sizes).fit(X, y)
print(resident("VmHWM:") - before)
"""


def peak(kind: str, optimizer: str, rows: int, n_in: int, sizes: tuple[int, ...], order: str = "C") -> int:
    command = [sys.executable, "-c", SCRIPT, kind, optimizer, *map(str, (rows, n_in, order, *sizes))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def padded(n: int) -> int:
    return -(-n // 32) * 32


def formula(kind: str, optimizer: str, rows: int, n_in: int, sizes: tuple[int, ...]) -> int:
    """Bytes by docs/architecture.md, "What a fit needs", in float32."""
    threads, batch = _core.default_threads(), 101  # an odd number of rows between panels
    moments = {"sgd": 0, "adam": 2}[optimizer]

    def numbers(ins: tuple[int, ...], outs: tuple[int, ...], tied: bool) -> int:
        weights = [n * padded(m) for n, m in zip(ins, outs, strict=True)]
        parameters = sum(weights[:1] if tied else weights) + sum(map(padded, outs))
        room = batch * 2 * (padded(ins[0]) + padded(outs[-1]) + sum(map(padded, outs)))
        return (3 + moments) * parameters + room + threads * 9_472

    if kind == "classifier":
        return 4 * (numbers((n_in, *sizes), (*sizes, 10), False) + rows * (10 + 2))  # targets; the order, of 8 bytes
    needs, kept, codes = [], 0, 0
    for n, m in zip((n_in, *sizes[:-1]), sizes, strict=True):
        needs.append(kept + codes + numbers((n, m), (m, n), True) + rows * 2)
        kept, codes = kept + n * m, rows * m
    return 4 * max(needs)


CASES = [
    ("classifier", "adam", 6000, 784, (1000, 1000)),
    ("classifier", "sgd", 6000, 784, (1000, 1000)),
    ("autoencoder", "adam", 6000, 784, (1000, 800)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}, {case[1]}")
def test_peak_memory_of_a_fit(case: tuple[str, str, int, int, tuple[int, ...]]) -> None:
    assert peak(*case) == pytest.approx(formula(*case), rel=0.15)


def test_a_copy_of_the_data_would_be_seen() -> None:
    case = CASES[0]
    rows, n_in = case[2:4]
    assert peak(*case, order="F") > formula(*case) + 0.85 * 4 * rows * n_in  # scikit-learn makes it C-contiguous
