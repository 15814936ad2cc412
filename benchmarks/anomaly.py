"""Anomaly detection: ROC AUC and fit time of the detector, PyOD's AutoEncoder and an isolation forest.

    python benchmarks/anomaly.py [--seeds 0 1 2 3 4] [--data cancer "digit 0" ...]

Each trains with its defaults on 70 % of the normal rows (drawn anew for each seed) and ranks the other 30 % and all
anomalies. Normal are the benign tumours of scikit-learn's breast cancer data, and one class of its digits at a time.
PyOD (``pip install pyod torch``) is left out with a word where it is missing. The contenders take turns within each
seed, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

import _timing
from layerwise import AnomalyDetector

Array = NDArray[Any]

NAME = "anomaly"
DATA = ("cancer", *(f"digit {digit}" for digit in range(10)))
TRAINING_SHARE = 0.7


def load(name: str) -> tuple[Array, Array]:
    """The rows, and which of them are normal."""
    if name == "cancer":
        X, y = load_breast_cancer(return_X_y=True)
        return X.astype(np.float32), y == 1
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32), y == int(name.split()[1])


def contenders() -> dict[str, Callable[[int], Any]]:
    """What makes an untrained detector for a seed, by name."""
    found: dict[str, Callable[[int], Any]] = {
        "layerwise": lambda seed: AnomalyDetector(random_state=seed),
        "isolation forest": lambda seed: IsolationForest(random_state=seed),
    }
    try:
        from pyod.models.auto_encoder import AutoEncoder
    except ImportError as error:
        print(f"PyOD's AutoEncoder is left out: {error}", flush=True)
    else:
        found["PyOD AutoEncoder"] = lambda seed: AutoEncoder(random_state=seed, verbose=0)
    return found


def abnormality(model: Any, X: Array) -> Array:
    """Scores that are greater for anomalies: PyOD's, or minus scikit-learn's."""
    return -model.score_samples(X) if hasattr(model, "score_samples") else np.asarray(model.decision_function(X))


def measure(name: str, seeds: list[int], makers: dict[str, Callable[[int], Any]]) -> dict[str, Any]:
    """Area under the ROC curve and seconds of fitting, one of each per seed, by contender."""
    X, normal = load(name)
    found: dict[str, dict[str, list[float]]] = {who: {"auc": [], "seconds": []} for who in makers}
    for make in makers.values():  # imports and first calls are not what is timed
        make(seeds[0]).fit(X[normal])
    for seed in seeds:
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(normal))
        cut = int(TRAINING_SHARE * len(rows))
        test = np.concatenate([rows[cut:], np.flatnonzero(~normal)])
        for who, make in makers.items():
            model = make(seed)
            found[who]["seconds"].append(_timing.seconds(lambda model=model, train=rows[:cut]: model.fit(X[train])))
            found[who]["auc"].append(float(roc_auc_score(~normal[test], abnormality(model, X[test]))))
    return {"rows": [cut, len(test)], "results": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)), metavar="SEED")
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA, metavar="NAME")
    options = parser.parse_args()
    machine, makers = _timing.machine(), contenders()
    for name in options.data:
        found = measure(name, options.seeds, makers)
        _timing.record(NAME, data=name, seeds=options.seeds, **found, machine=machine)
        ours = found["results"]["layerwise"]
        print(f"{name}: {found['rows'][0]} training rows, {found['rows'][1]} test rows, {len(options.seeds)} seeds")
        for who, numbers in found["results"].items():
            spread = statistics.stdev(numbers["auc"]) if len(numbers["auc"]) > 1 else 0.0
            ratio = _timing.paired_ratio(numbers["seconds"], ours["seconds"])
            print(
                f"    {who:18} ROC AUC {statistics.fmean(numbers['auc']):.3f} ± {spread:.3f}, "
                f"fit {statistics.median(numbers['seconds']):.3f} s, {ratio:.1f} times ours",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
