"""The greatest errors of the functions of `csrc/kernels/vmath.h`; `tests/accuracy/sweep.py` tries all 2^32 floats."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import mpmath
import numpy as np
import pytest

from layerwise import _core, kernels

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a compiler")

FILE = Path(__file__).parent / "accuracy" / "sweep.py"
STRIDE = 257  # of all floats: 2^24 of them
THREADS = len(os.sched_getaffinity(0))
FMA = ("x86-64-v4", "x86-64-v3", "neon")
#: Units in the last place; of gelu for x >= -1, below the absolute error.
BOUND = dict.fromkeys(("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "silu"), 2.0) | {"gelu": 2.5}
FAR = {"float": 8e-8, "double": 1.5e-16}
EXACT = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
}


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sweep", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sweep"] = module
    spec.loader.exec_module(module)
    return module


tool = load()


@pytest.fixture(scope="module")
def sweep() -> tool.Sweep:
    return tool.Sweep(list(_core.supported_isas()))


def test_every_function_has_a_bound() -> None:
    assert set(BOUND) == set(EXACT) == set(tool.FUNCTIONS)


@pytest.mark.parametrize("name", tool.FUNCTIONS)
def test_errors_of_floats(sweep: tool.Sweep, name: str) -> None:
    check(sweep.floats(name, STRIDE, first=len(name), threads=THREADS), name, "float")


@pytest.mark.parametrize("name", tool.FUNCTIONS)
def test_errors_of_doubles(sweep: tool.Sweep, name: str) -> None:
    numbers = tool.dense_doubles(name, 1 << 17)
    check(sweep.doubles(name, numbers, threads=THREADS), name, "double")


def check(found: dict[str, tool.Worst], name: str, dtype: str) -> None:
    best = next(iter(found))
    for isa, worst in found.items():
        assert 0.5 < worst.ulps <= BOUND[name], f"{isa}: {worst}"  # no less: then it would have looked at nothing
        assert worst.far <= FAR[dtype], f"{isa}: {worst}"
        if isa in FMA and best in FMA:
            assert worst.differing == 0, f"{isa} has other bits than {best}: {worst}"
    if name == "gelu":
        assert all(worst.far > 0 for worst in found.values())


@pytest.mark.parametrize("name", tool.FUNCTIONS)
def test_what_counts_as_exact_is(sweep: tool.Sweep, name: str) -> None:
    numbers = tool.dense_doubles(name, 400)
    largest, smallest = np.finfo(np.float32).max, np.finfo(np.float32).tiny if name == "log" else 0
    numbers = numbers[(np.abs(numbers) <= largest) & (np.abs(numbers) >= smallest)].astype(np.float32)
    numbers = numbers.astype(np.float64)
    with mpmath.workdps(60):
        exact = [EXACT[name](mpmath.mpf(x)) for x in numbers]
        for wide, bits, lowest in ((False, 24, -149), (True, 53, -1074)):
            for x, high, low, want in zip(numbers, *sweep.truth(name, numbers, wide), exact, strict=True):
                if not np.isfinite(high) or 0 < abs(high) < 1e-280:
                    continue  # the second of the two doubles would be subnormal
                far = name == "gelu" and x < -1
                unit = (
                    FAR["double" if wide else "float"]
                    if far
                    else mpmath.ldexp(1, max(int(mpmath.frexp(want)[1]) - bits, lowest))
                )
                error = abs(mpmath.mpf(high) + mpmath.mpf(low) - want) / unit
                assert error < 0.01, f"{name}({x}), wide {wide}: {mpmath.nstr(error, 3)} ULP"


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "gelu", "silu"])
def test_the_engine_has_these_very_functions(sweep: tool.Sweep, name: str) -> None:
    x = np.random.default_rng(0).normal(0, 4, 5000).astype(np.float32)
    ours, swept = kernels.activation(x, name), sweep.values(name, _core.isa(), x)
    np.testing.assert_array_equal(ours.view(np.uint32), swept.view(np.uint32))
