"""Where codes are kept: the same bits from memory, from a file and computed again; bounded memory; what is refused."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from layerwise import (
    LBFGS,
    Autoencoder,
    DenoisingAutoencoder,
    Gaussian,
    InvalidParameterError,
    Masking,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    Swap,
    _core,
    codes,
    pretrain,
)
from layerwise.estimators import identity
from layerwise.network import Network
from layerwise.stage import Stage

rng = np.random.default_rng(0)
X = (rng.random((333, 5)) @ rng.random((5, 20)) / 5).astype(np.float32)
WEIGHTS = np.arange(333) % 4
SETTINGS = {
    "denoising": DenoisingAutoencoder(epochs=2, batch_size=20, corruption=[Masking(0.3), Gaussian(0.1), None]),
    "emphasis": DenoisingAutoencoder(epochs=2, batch_size=50, emphasis="double", validation_fraction=0.2),
    "one batch": DenoisingAutoencoder(epochs=3, batch_size=1000),
    "machines": RestrictedBoltzmannMachine(epochs=2, batch_size=20, monitor=True, validation_fraction=0.1),
    "persistent": RestrictedBoltzmannMachine(epochs=2, batch_size=30, persistent=True, k=2, sparsity_target=0.1),
    "no shuffling of weights": Autoencoder(epochs=2, batch_size=7, optimizer="momentum", schedule="cosine"),
}


def stages(settings: Autoencoder, cache: str, **options: object) -> list[Stage]:
    chosen = settings.replace(code_cache=cache)
    return list(pretrain(options.pop("X", X), (12, 9, 4), chosen, seed=3, **options))


def assert_same(one: list[Stage], other: list[Stage]) -> None:
    for a, b in zip(one, other, strict=True):
        for array, twin in ((a.weights, b.weights), (a.bias, b.bias), (a.decoder.bias, b.decoder.bias)):
            np.testing.assert_array_equal(array, twin)
        assert a.skill == b.skill
        for record, again in zip(a.history, b.history, strict=True):
            assert record.loss == pytest.approx(again.loss, rel=1e-12)
            assert (record.validation_loss, record.free_energy) == (again.validation_loss, again.free_energy)


@pytest.mark.parametrize("cache", ["file", "recompute"])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_bits_from_everywhere(name: str, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "PART", 5000)  # several parts an epoch
    monkeypatch.setattr(codes, "BLOCK", 100)
    weights = WEIGHTS if name != "one batch" else None
    assert_same(
        stages(SETTINGS[name], "memory", row_weights=weights), stages(SETTINGS[name], cache, row_weights=weights)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_done_before_are_computed_too(dtype: type) -> None:
    data, settings = X.astype(dtype), SETTINGS["denoising"]
    whole = stages(settings, "memory", X=data)
    for cache in ("memory", "file", "recompute"):
        assert_same(whole[2:], stages(settings, cache, X=data, done=whole[:2]))


@pytest.mark.parametrize(("cache", "unit"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_half_precision_rounds_the_codes(cache: str, unit: float) -> None:
    settings = Autoencoder(epochs=2, batch_size=20)
    exact, halved = stages(settings, "memory"), stages(settings, cache)
    assert_same(halved, stages(settings, cache, threads=1))
    assert_same(exact[:1], halved[:1])
    for a, b in zip(exact[1:], halved[1:], strict=True):
        assert not np.array_equal(a.weights, b.weights)
        np.testing.assert_allclose(a.weights, b.weights, atol=40 * unit)
        assert a.skill == pytest.approx(b.skill, abs=40 * unit)
    H = exact[0].encode(X)
    kept = codes.keep(cache, exact[0].encode, X, 12, [exact[0].encoder], X, 1)
    assert kept[:].dtype == np.float32
    np.testing.assert_allclose(kept[:], H, rtol=unit, atol=2.0**-25)
    assert not np.allclose(kept[:], H, rtol=unit / 2, atol=2.0**-25)


def test_codes_are_computed_again_on_the_threads_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    apply = Network.apply

    def watched(self: Network, *arguments: Any, threads: int = 0, **options: Any) -> np.ndarray:
        seen.append(threads)
        return apply(self, *arguments, threads=threads, **options)

    monkeypatch.setattr(Network, "apply", watched)
    stages(Autoencoder(epochs=1, batch_size=20), "recompute", threads=1)
    assert set(seen) == {1}


def test_codes_too_large_for_float16() -> None:
    far = X * 1e6
    with pytest.raises(ValueError, match="65,504"):
        codes.keep("float16", lambda rows: rows, far, 20, [], far, 1)
    np.testing.assert_allclose(codes.keep("bfloat16", lambda rows: rows, far, 20, [], far, 1)[:], far, rtol=2.0**-8)


def nearest_bfloat16(x: float) -> float:
    """By its definition: 8 significant bits, no step below 2^-133, ties to even, in exact arithmetic."""
    step = Fraction(2) ** max(math.frexp(x)[1] - 8, -133)
    return float(round(Fraction(x) / step) * step)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bfloat16_is_the_nearest(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "BLOCK", 100)
    draw = np.random.default_rng(0)
    halves = (draw.integers(0, 0x7F7F, 150, np.uint32) << 16 | 0x8000).view(np.float32)  # midway between neighbours
    tiny = np.finfo(dtype).smallest_subnormal
    numbers = [*halves, *(2.0 ** draw.uniform(-140, 127.9, 200)), 0.0, tiny, 2.0**-134, 3.4e-39, 3.3961775e38]
    nearly = [halves.astype(np.float64) * (1 + sign * 2.0**-50) for sign in (-1, 1)]
    numbers = np.concatenate([numbers, *nearly]).astype(dtype)
    numbers = np.concatenate([numbers, -numbers]).reshape(-1, 1)
    numbers = numbers[np.abs(numbers[:, 0]) < 2.0**128 - 2.0**119]
    kept = codes.keep("bfloat16", lambda rows: rows, numbers, 1, [], numbers, 1)
    assert kept[:].dtype == dtype
    np.testing.assert_array_equal(kept[:][:, 0], [nearest_bfloat16(float(x)) for x in numbers[:, 0]])
    np.testing.assert_array_equal(kept[np.array([3, 250])], kept[:][[3, 250]])
    np.testing.assert_array_equal(np.signbit(kept[:]), np.signbit(numbers))
    assert np.all(np.abs(kept[:] - numbers) <= np.maximum(2.0**-8 * np.abs(numbers), 2.0**-134))
    for bad in (2.0**128 - 2.0**119, np.inf, np.nan):
        with pytest.raises(ValueError, match=r'code_cache="bfloat16" holds numbers up to 3.39e38'):
            codes.keep("bfloat16", lambda rows, bad=bad: rows * 0 + dtype(bad), numbers, 1, [], numbers, 1)


@pytest.mark.parametrize(
    ("cache", "greatest", "said"),
    [
        ("float16", 1e5, 'up to 65,504. Got a code of size 100000: use "bfloat16", "file" or "memory".'),
        ("float16", -1e300, 'up to 65,504. Got a code of size 1e+300: use "file" or "memory".'),
        ("bfloat16", 1e300, 'up to 3.39e38. Got a code of size 1e+300: use "file" or "memory".'),
    ],
)
def test_codes_that_are_too_large_say_what_holds_them(cache: str, greatest: float, said: str) -> None:
    rows = np.array([[1.0], [greatest], [2.0]])
    with pytest.raises(ValueError, match=f'^code_cache="{cache}" holds numbers {re.escape(said)}$'):
        codes._halves(cache, lambda rows: rows, rows, rows.shape)


def test_files_go_when_training_is_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (encoder, *_) = stages(SETTINGS["denoising"], "memory")
    kept = codes.keep("file", encoder.encode, X, 12, [encoder.encoder], X, 1)
    assert isinstance(kept, np.memmap)
    np.testing.assert_array_equal(kept, encoder.encode(X))
    assert not list(tmp_path.iterdir())
    one = stages(SETTINGS["denoising"].replace(simultaneous=True), "memory")
    assert_same(one, stages(SETTINGS["denoising"].replace(simultaneous=True), "file"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (closed by what writes to it)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)
    with pytest.raises(OSError, match="No space left"):
        stages(SETTINGS["denoising"], "file")


def test_the_choice_goes_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes.choose("auto", 1.0, 1_000_000, "") == "memory"
    assert codes.choose("auto", 1.0, 1_000_001, "") == "file"
    monkeypatch.setattr(codes.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_500_000))
    assert codes.choose("auto", 1.0, 1_000_001, "") == "recompute"
    assert codes.choose("auto", 1.0, 1_000_001, "Swap noise") == "file"
    assert set(codes.CACHES) - identity.EXACT_CACHES == set(codes.ROUNDED)
    assert [codes.choose(cache, 1.0, 5, "") for cache in codes.ROUNDED] == ["float16", "bfloat16"]
    said: list[str] = []
    list(pretrain(X, (12, 4), Autoencoder(epochs=1, code_cache_limit=0.001), report=said.append))
    assert any("0 MB of codes, cache file" in line for line in said)


def test_what_needs_all_rows_is_refused() -> None:
    for settings, obstacle in (
        (DenoisingAutoencoder(corruption=[None, Swap(0.1)]), "Swap noise"),
        (Autoencoder(simultaneous=True), "simultaneous=True"),
        (Autoencoder(optimizer=["adam", LBFGS()]), "line searches"),
    ):
        for cache in ("float16", "bfloat16", "recompute"):
            model = StackedAutoencoder((5, 4), pretraining=settings.replace(code_cache=cache))
            with pytest.raises(InvalidParameterError, match=f"pretraining__code_cache.*with {obstacle}"):
                model.fit(X)
    first = DenoisingAutoencoder(epochs=1, corruption=[Swap(0.1), None], code_cache="recompute")
    StackedAutoencoder((5, 4), pretraining=first).fit(X)  # the first layer learns from X itself
    for kind in (Autoencoder, RestrictedBoltzmannMachine):
        for name, value in (("code_cache", "disk"), ("code_cache_limit", -1), ("code_cache_limit", "much")):
            allowed = ".*'bfloat16'" if value == "disk" else ""
            with pytest.raises(InvalidParameterError, match=f"pretraining__{name}{allowed}"):
                StackedAutoencoder((5, 4), pretraining=kind(**{name: value})).fit(X)


def test_parts_have_the_bits_of_the_whole() -> None:
    """The engine's steps on rows that it is given with their positions: noise, dropout, weights, ragged batches."""
    recipe = _core.Recipe(
        "squared_error", _core.Optimizer("momentum"), 20, seed=4, noise=_core.Noise("gaussian", 0.2), dropout=[0.3, 0.0]
    )
    weights = WEIGHTS.astype(np.float32)
    rates, found = np.full(34, 0.05), []
    for parts in ((34,), (17, 17), (3, 14, 10, 7)):  # an epoch has 17 steps, the last of 13 rows
        engine = _core.Network_float32([_core.Layer(20, 40, "tanh"), _core.Layer(40, 20, "identity", tied_to=0)])
        engine.set_weights(0, np.random.default_rng(1).normal(0, 0.1, (20, 40)).astype(np.float32))
        plan, step = _core.Plan_float32(engine, recipe), 0
        for count in parts:
            if count == 34:
                plan.run(X, None, 0, 34, rates, None, weights)
            else:
                epoch, place = divmod(step, 17)
                ids = _core.random_permutation(4, 0, len(X), epoch)[20 * place : 20 * (place + count)]
                plan.run(X[ids], None, step, count, rates[:count], None, weights[ids], ids=ids)
            step += count
        found.append(engine.parameters())
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_the_engine_refuses_parts_that_do_not_fit() -> None:
    engine = _core.Network_float32([_core.Layer(20, 4, "tanh"), _core.Layer(4, 20, "identity", tied_to=0)])
    rates, ids = np.full(2, 0.1), np.arange(20)

    def run(noise: _core.Noise, rows: int, ids: np.ndarray) -> None:
        recipe = _core.Recipe("squared_error", _core.Optimizer("sgd"), 10, noise=noise)
        _core.Plan_float32(engine, recipe).run(X[:rows], None, 0, 2, rates, ids=ids)

    run(_core.Noise("masking", 0.2), 20, ids)
    with pytest.raises(ValueError, match="rows of the steps"):
        run(_core.Noise(), 21, np.arange(21))
    with pytest.raises(ValueError, match="rows of the steps"):
        run(_core.Noise(), 10, np.arange(10))
    with pytest.raises(ValueError, match="ids must not be negative"):
        run(_core.Noise(), 20, ids - 1)
    with pytest.raises(ValueError, match="ids"):
        run(_core.Noise(), 20, np.arange(19))
    with pytest.raises(ValueError, match="swap noise needs the whole data"):
        run(_core.Noise("swap", 0.2), 20, ids)


# Fits once, small, for what is loaded and started once; then allows the process so many more bytes of memory of its own
# (which pages of files are not) and fits on many rows, whose codes have 120 MB; measuring their skill takes 20 more.
SCRIPT = """
import json, resource
import numpy as np
from layerwise import DenoisingAutoencoder, StackedAutoencoder

X = np.random.default_rng(0).random((60_000, 8), np.float32)

def fit(cache, megabytes=None, rows=len(X)):
    held = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData:"))
    limit = resource.RLIM_INFINITY if megabytes is None else held + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    settings = DenoisingAutoencoder(epochs=1, batch_size=100, code_cache=cache)
    model = StackedAutoencoder((500, 4), activation="sigmoid", pretraining=settings, n_jobs=1, random_state=0)
    try:
        return float(model.fit(X[:rows]).coefs_[1].sum())
    except MemoryError:
        return None

for cache in ("memory", "float16", "bfloat16", "file", "recompute"):
    fit(cache, rows=500)
asked = [("memory", None), ("memory", 110), ("float16", 110), ("float16", 55), ("bfloat16", 110), ("bfloat16", 55)]
asked += [("file", 55), ("recompute", 55)]
print(json.dumps([fit(*each) for each in asked]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's limit of a process's own memory")
def test_memory_is_bounded() -> None:
    # Otherwise glibc answers a refusal with another arena, in which the next fit would find room.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment)
    exact, too_little, halved, not_half, brief, not_brief, filed, recomputed = json.loads(done.stdout)
    assert too_little is None
    assert not_half is None
    assert not_brief is None
    assert halved == pytest.approx(exact, rel=0.05)
    assert brief == pytest.approx(exact, rel=0.05)
    assert filed == recomputed == exact
