"""What the tests of resuming share: all that a fit leaves behind, and all checkpoints that it writes on its way."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerwise import Autoencoder, Checkpoint, FineTuning, PretrainedClassifier, _core
from layerwise.persistence import checkpoint as files

X = _core.random_uniform(5, 0, 60 * 6).reshape(60, 6).astype(np.float32)
Y = np.where(np.arange(60) % 4 == 3, -1, np.arange(60) % 4)
GIVEN: dict[str, Any] = {
    "hidden_layer_sizes": (5, 4),
    "pretraining": Autoencoder(epochs=2, batch_size=20),
    "finetuning": FineTuning(epochs=3, batch_size=20),
    "random_state": 2,
}


def make(**params: Any) -> PretrainedClassifier:
    return PretrainedClassifier(**(GIVEN | params))


def state(model: Any, rows: Any = X) -> dict[str, Any]:
    """All that a fit leaves, but how long it took; `rows` are what it is applied to."""
    layers = [layer for stage in model.stages_ for layer in (stage.encoder, stage.decoder)]
    arrays = [
        a
        for one in [*layers, *model.network_.layers]
        for a in (one.weights, one.bias, one.parameter, one.normalization)
    ]
    return {
        "arrays": [None if array is None else array.tobytes() for array in arrays],
        "history": [replace(record, seconds=0.0) for record in model.history_],
        "stages": [(stage.layer, stage.loss, stage.skill, len(stage.history)) for stage in model.stages_],
        "numbers": (model.n_iter_, getattr(model, "offset_", None)),
        "outputs": model.transform(rows.astype(model.network_.dtype)).tobytes()
        if hasattr(model, "transform")
        else None,
    }


def written(
    fit: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch, **params: Any
) -> tuple[Any, list[bytes]]:
    """Return a fitted model and every checkpoint that its fit wrote: one after each step, and one at each end."""
    copies: list[bytes] = []
    real = files.save

    def save(snapshot: Any, place: Any) -> None:
        real(snapshot, place)
        copies.append(path.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(files, "save", save)
        patch.setattr(os, "fsync", lambda _: None)
        return fit(checkpoint=Checkpoint(path, every_seconds=0), **params), copies
