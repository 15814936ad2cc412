"""What an installed wheel must pass with NumPy and pytest alone: the engine and the pretraining functions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from layerwise import _core

# Everything outside the standard library, NumPy and layerwise itself is refused, as where it is not installed.
BLOCKER = """
import sys
allowed = set(sys.stdlib_module_names) | {"numpy", "layerwise"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def alone(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKER + code], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    "module",
    [
        "layerwise",
        "layerwise._core",
        "layerwise.reference",
        "layerwise.kernels",
        "layerwise.training",
        "layerwise.pretraining",
        "layerwise.boltzmann",
        "layerwise.callbacks",
    ],
)
def test_import_needs_numpy_alone(module: str) -> None:
    done = alone(f"import {module}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_engine_learns_to_rebuild_its_input(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X = (rng.random((200, 4)) @ rng.random((4, 12)) / 4).astype(dtype)
    network = getattr(_core, f"Network_{dtype}")(
        [_core.Layer(12, 6, "sigmoid"), _core.Layer(6, 12, "identity", tied_to=0)]
    )
    network.set_weights(0, rng.uniform(-0.5, 0.5, (12, 6)).astype(dtype))
    recipe = _core.Recipe(
        "squared_error", _core.Optimizer("sgd"), batch_size=20, seed=1, noise=_core.Noise("masking", 0.1)
    )
    plan = getattr(_core, f"Plan_{dtype}")(network, recipe)
    before = plan.evaluate(X, None)
    stats = plan.run(X, None, 0, 300, np.full(300, 0.05))
    assert stats.finite
    assert stats.steps == 300
    assert plan.evaluate(X, None) < before / 2
    assert network.apply(X, 0, 1).dtype == dtype


def test_the_processor_is_named() -> None:
    assert _core.isa() in _core.supported_isas()
    assert _core.default_threads() >= 1
