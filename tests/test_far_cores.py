"""Cores that share no cache multiply transposed weights in turn, each by those that it has learned: same bits."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerwise import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    FineTuning,
    PretrainedClassifier,
    RestrictedBoltzmannMachine,
    SparseAutoencoder,
    StackedAutoencoder,
    _core,
)

needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a compiler")
# In panels of 32 numbers: 13, 12 and 13, of which two threads have different parts, and enough of them for three.
INPUTS, HIDDEN, ROWS = 391, (384, 400), 70
rng = np.random.default_rng(0)
X = rng.random((ROWS, INPUTS))
Y = np.arange(ROWS) % 10


@pytest.fixture(autouse=True)
def measured_afterwards() -> Iterator[None]:
    yield
    _core.suppose_cores("measured")


def trained(
    cores: str, threads: int, dtype: str, pretraining: Any, finetuning: dict[str, Any], **more: Any
) -> list[bytes]:
    """What a fit ends with when it takes the cores for near or far: outputs and losses."""
    _core.suppose_cores(cores)
    data, stack = X.astype(dtype), pretraining is not None
    settings = {"epochs": 2, "batch_size": 30, **finetuning}
    kind = StackedAutoencoder if stack else PretrainedClassifier
    model = kind(
        HIDDEN, pretraining=pretraining, finetuning=FineTuning(**settings), random_state=1, n_jobs=threads, **more
    )
    model = model.fit(data) if stack else model.fit(data, Y)
    outputs = model.inverse_transform(model.transform(data)) if stack else model.predict_proba(data)
    return [outputs.tobytes(), np.float64([record.loss for record in model.history_]).tobytes()]


SETTINGS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "tied": (DenoisingAutoencoder(epochs=2, batch_size=20), {}, {}),
    "untied": (Autoencoder(epochs=2, batch_size=20, tied=False), {}, {}),
    "sparse": (SparseAutoencoder(epochs=2, batch_size=20), {}, {}),
    "contractive": (ContractiveAutoencoder(epochs=2, batch_size=20), {}, {}),
    "classifier": (None, {}, {}),
    "normalised": (None, {}, {"batch_norm": True}),
    "dropout": (None, {"dropout": 0.3, "input_dropout": 0.1}, {}),
    "penalties": (None, {"clip_norm": 0.5, "l1": 1e-4, "alpha": 1e-3, "max_norm": 1.0}, {}),
    "Boltzmann": (RestrictedBoltzmannMachine(epochs=2, batch_size=20), {}, {}),
    "Gibbs": (RestrictedBoltzmannMachine(epochs=2, batch_size=20, k=3, sample_visible=True), {}, {}),
    "persistent": (RestrictedBoltzmannMachine(epochs=2, batch_size=23, persistent=True, sparsity_target=0.1), {}, {}),
    "Gaussian": (RestrictedBoltzmannMachine(epochs=2, batch_size=20, visible="gaussian"), {}, {}),
    "single rows": (DenoisingAutoencoder(epochs=1, batch_size=1), {"batch_size": 1}, {}),
    "bfloat16": (DenoisingAutoencoder(epochs=2, batch_size=20), {}, {"precision": "bfloat16"}),
}


@pytest.mark.filterwarnings("ignore::layerwise.checks.ScaleWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SETTINGS)
def test_far_cores_give_the_bits_of_near_ones(name: str, dtype: str) -> None:
    if name == "bfloat16" and not (_core.has_bfloat16() and dtype == "float32"):
        pytest.skip("float32 on a processor with AVX512-BF16 alone")
    pretraining, finetuning, more = SETTINGS[name]
    one = trained("measured", 1, dtype, pretraining, finetuning, **more)
    for threads in (2, 3):
        assert trained("near", threads, dtype, pretraining, finetuning, **more) == one
        assert trained("far", threads, dtype, pretraining, finetuning, **more) == one


def test_what_is_supposed_of_cores_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="cores must be measured, near or far"):
        _core.suppose_cores(cores="elsewhere")


def compiled(folder: Path, name: str) -> Path:
    root = Path(__file__).resolve().parents[1]
    sources = root / "tests" / "pace" / f"{name}.cpp", root / "csrc" / "base" / "parallel.cpp"
    program = folder / name
    subprocess.run(["c++", "-std=c++17", "-O1", "-fopenmp", f"-I{root / 'csrc'}", *sources, "-o", program], check=True)
    return program


@needs_compiler
def test_cores_are_far_where_a_word_takes_long_to_and_fro(tmp_path: Path) -> None:
    """By clocks that make any two cores far or near, and by one that takes longer to read than a word does."""
    program = compiled(tmp_path, "distance")
    for factor, delay, answer in ((1000, 0, "1 1"), (0.001, 0, "0 0"), (0.1, 3000, "0 0")):
        done = subprocess.run([program, str(factor), str(delay)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == answer, (factor, delay)


@needs_compiler
def test_nobody_leaves_a_barrier_before_all_have_come(tmp_path: Path) -> None:
    program = compiled(tmp_path, "meeting")
    for threads in range(1, 10):
        rounds = 20000 if threads <= 2 else 500  # more than there are cores take turns
        done = subprocess.run([program, str(threads), str(rounds)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "0", threads
