"""A pump station: find the readings that do not fit the others, and the sensor that is to blame.

    python examples/broken_sensor.py

Twelve sensors follow three causes, each in its own unit. In the new readings one sensor sticks at a value that is
usual by itself. Only its relation to the other sensors gives it away.
"""

import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise import Adam, AnomalyDetector, FineTuning, load

rng = np.random.default_rng(0)
mixing, units, levels = rng.normal(size=(3, 12)), 10.0 ** rng.integers(-2, 4, 12), rng.normal(size=12)


def readings(n: int) -> np.ndarray:
    """Return `n` rows of the twelve sensors, all in order."""
    causes = np.tanh(rng.normal(size=(n, 3)))
    return ((causes @ mixing + 0.1 * rng.normal(size=(n, 12)) + levels) * units).astype(np.float32)


normal, new = readings(5000), readings(1000)
stuck = np.arange(1000) >= 900
new[stuck, 7] = new[900, 7]

# Sensors are left out at random in training, so that each is rebuilt from the others and not from itself.
leave_out = FineTuning(epochs=30, optimizer=Adam(0.004), input_dropout=0.2, untie=True)
detector = AnomalyDetector(32, finetuning=leave_out, contamination=0.01, random_state=0)
components = make_pipeline(StandardScaler(), PCA(3, random_state=0))


def score(model: Any) -> np.ndarray:
    """Return how normal the new rows are; of principal components, by how far they are from them."""
    if model is not components:
        return model.score_samples(new)
    missing = new - model.inverse_transform(model.transform(new))
    return -((missing / normal.std(axis=0)) ** 2).mean(axis=1)


for name, model in (
    ("layerwise", detector),
    ("isolation forest", IsolationForest(random_state=0)),
    ("principal components", components),
):
    start = perf_counter()
    model.fit(normal)
    seconds = perf_counter() - start
    print(f"{name:21} ROC AUC {roc_auc_score(~stuck, score(model)):.3f}, fitted in {seconds:.2f} s")
found = detector.predict(new) == -1
print(f"below the threshold: {found[stuck].sum()} of 100 stuck, {found[~stuck].sum()} of 900 in order\n")
print(detector.explain(new[detector.score_samples(new).argmin()], top=5))

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "pump.layerwise")
    detector.save(file)
    same = (load(file).score_samples(new) == detector.score_samples(new)).all()
    print(f"\nread back from a file of {file.stat().st_size} bytes, the scores are the same: {same}")
