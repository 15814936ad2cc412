"""The memory a fit needs is what docs/architecture.md says, and X is not copied."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

from layerwise import _core

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")

# Fits twice, once small for what is loaded and started once, and prints by how many bytes the second fit's peak is
# above what was there before.
SCRIPT = """
import sys
import numpy as np
from layerwise import SGD, Adam, DenoisingAutoencoder, FineTuning
from layerwise import AnomalyDetector, PretrainedClassifier, StackedAutoencoder

def resident(what):
    lines = (line.split() for line in open("/proc/self/status"))
    return next(int(words[1]) * 1024 for words in lines if words[0] == what)

order, kind, optimizer, rows, n_in, sizes, batch, norm = sys.argv[1:]
settings = {"epochs": 1, "batch_size": int(batch), "optimizer": {"sgd": SGD, "adam": Adam}[optimizer](1e-3)}
sizes, same = tuple(int(size) for size in sizes.split(",")), {"activation": "sigmoid", "batch_norm": norm == "True"}
rng = np.random.default_rng(0)
X = np.asarray(rng.random((int(rows), int(n_in)), np.float32), order=order)
y = np.arange(len(X)) % 10
if kind == "half-labelled classifier":
    y[len(X) // 2 :] = -1

def model(sizes):
    if kind.endswith("classifier"):
        return PretrainedClassifier(sizes, pretraining=None, finetuning=FineTuning(**settings), **same)
    if kind == "detector":
        own = {"standardize": False, "finetuning": None}
        return AnomalyDetector(sizes, pretraining=DenoisingAutoencoder(**settings), **same, **own)
    return StackedAutoencoder(sizes, pretraining=DenoisingAutoencoder(**settings), **same)

model((20, 20)).fit(X[:200], y[:200])
before = resident("VmRSS:")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts again
fitted = model(sizes).fit(X, y)
print(resident("VmHWM:") - before)
"""


@dataclass(frozen=True)
class Case:
    kind: str
    optimizer: str
    rows: int
    n_in: int
    sizes: tuple[int, ...]
    batch: int = 100
    norm: bool = False


def peak(case: Case, order: str = "C") -> int:
    words = [",".join(map(str, word)) if isinstance(word, tuple) else str(word) for word in astuple(case)]
    command = [sys.executable, "-c", SCRIPT, order, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def padded(n: int) -> int:
    return -(-n // 32) * 32


def formula(case: Case) -> int:
    """Bytes by docs/architecture.md, "What a fit needs", in float32."""
    threads, rows, n_in, sizes = _core.default_threads(), case.rows, case.n_in, case.sizes
    batch = case.batch | 1  # an odd number of rows between panels
    moments = {"sgd": 0, "adam": 2}[case.optimizer]
    assert batch <= 1024 or case.norm

    def numbers(ins: tuple[int, ...], outs: tuple[int, ...], tied: bool) -> int:
        weights = [n * padded(m) for n, m in zip(ins, outs, strict=True)]
        normalised = sum(map(padded, outs[:-1])) if case.norm else 0
        parameters = sum(weights[:1] if tied else weights) + sum(map(padded, outs)) + 3 * normalised
        room = batch * (2 * (padded(ins[0]) + padded(outs[-1]) + sum(map(padded, outs))) + normalised)
        return (3 + moments) * parameters + room + 4 * normalised + threads * 9_472

    if case.kind.endswith("classifier"):
        half = case.kind.startswith("half-labelled")
        labelled, copied = (rows // 2, rows // 2 * n_in) if half else (rows, 0)
        own = copied + labelled * (10 + 2)  # targets; the order, of 8 bytes
        return 4 * (numbers((n_in, *sizes), (*sizes, 10), False) + own)
    needs, kept, codes = [], 0, 0
    for n, m in zip((n_in, *sizes[:-1]), sizes, strict=True):
        needs.append(kept + codes + numbers((n, m), (m, n), True) + rows * 2)
        kept, codes = kept + n * m, rows * m
    if case.kind == "detector":  # its own X; the errors, 32 bytes a value
        return 4 * (rows * n_in + max(*needs, 8 * min(rows, 512) * n_in))
    return 4 * max(needs)


CASES = {
    "classifier, adam": Case("classifier", "adam", 6000, 784, (1000, 1000)),
    "classifier, sgd": Case("classifier", "sgd", 6000, 784, (1000, 1000)),
    "autoencoder, adam": Case("autoencoder", "adam", 6000, 784, (1000, 800)),
    # A batch that would be cut into blocks without batch normalisation, and whose own room is a quarter of all.
    "classifier, sgd, batch_norm": Case("classifier", "sgd", 6000, 784, (1000, 1000), 3000, norm=True),
    "classifier with unlabelled rows": Case("half-labelled classifier", "sgd", 6000, 784, (1000, 1000)),
    "detector": Case("detector", "adam", 60_000, 100, (50,)),
}


@pytest.mark.parametrize("name", CASES)
def test_peak_memory_of_a_fit(name: str) -> None:
    assert peak(CASES[name]) == pytest.approx(formula(CASES[name]), rel=0.15)


def test_a_copy_of_the_data_would_be_seen() -> None:
    case = CASES["classifier, adam"]
    whole = 4 * case.rows * case.n_in
    assert peak(case, order="F") > formula(case) + 0.85 * whole  # scikit-learn makes it C-contiguous
