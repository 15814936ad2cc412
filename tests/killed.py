"""Fits that are killed: a process that loads the package once and forks one child a fit.

Reads lines "kind threads checkpoint result seconds" from its input, begins that fit in a child, kills it after so many
seconds and prints its exit code. The child writes a checksum of what it fitted to `result`. Run by `test_killed`.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import traceback
from typing import Any

import numpy as np
import safetensors.numpy
from standing import state

from layerwise import (
    AnomalyDetector,
    Checkpoint,
    DenoisingAutoencoder,
    FineTuning,
    PretrainedClassifier,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    _core,
)

X = _core.random_uniform(8, 0, 600 * 20).reshape(600, 20).astype(np.float32)
Y = np.where(np.arange(600) % 3 == 0, -1, np.arange(600) % 4)
TUNING = FineTuning(epochs=40, batch_size=10, early_stopping=True, n_iter_no_change=40, dropout=0.1)
DENOISING = DenoisingAutoencoder(epochs=20, batch_size=10, simultaneous=True)
MACHINE = RestrictedBoltzmannMachine(epochs=20, batch_size=10, persistent=True, sparsity_target=0.1)
KINDS: dict[str, Any] = {
    "classifier": PretrainedClassifier(
        (16, 12), pretraining=DENOISING.replace(simultaneous=False), finetuning=TUNING, random_state=1
    ),
    "machine": PretrainedClassifier((16, 12), pretraining=MACHINE, finetuning=TUNING, random_state=1),
    "simultaneous": StackedAutoencoder((16, 12), pretraining=DENOISING, finetuning=TUNING, random_state=1),
    "detector": AnomalyDetector((16, 8), pretraining=DENOISING, finetuning=TUNING, random_state=1),
}


def fit(kind: str, threads: int, checkpoint: str) -> str:
    """Fit that kind of estimator; return a checksum of all that it learned."""
    model = KINDS[kind].set_params(n_jobs=threads, checkpoint=Checkpoint(checkpoint, every_seconds=0.005))
    model.fit(X, Y)
    return hashlib.sha256(repr(state(model, X)).encode()).hexdigest()


def main() -> None:
    """Begin a fit for each line of the input."""
    assert safetensors.numpy  # loaded here, not in each child
    for line in sys.stdin:
        kind, threads, checkpoint, result, seconds = line.split()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                digest = fit(kind, int(threads), checkpoint)
                with open(result, "w") as file:
                    file.write(digest)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        if seconds != "never":
            time.sleep(float(seconds))
            os.kill(child, signal.SIGKILL)  # its number is its own until it is waited for, also if it has ended
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
