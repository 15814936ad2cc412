"""The greatest error of the engine's vector functions, by trying them: all 2^32 floats, or a part of them.

    python tests/accuracy/sweep.py [--stride 1] [--functions exp tanh ...] [--threads 2]

Compiles `csrc/kernels/vmath.h` as the package is compiled, for each instruction set that this processor has, and
compares with the C library's functions in the next wider type. Prints units in the last place of the exact result (for
gelu below -1: the absolute error), and how many results differ between the instruction sets with a fused multiply-add,
which must be none. `--stride 1` (the default) takes some minutes a function.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FUNCTIONS = (
    "exp",
    "expm1",
    "log",
    "log1p",
    "tanh",
    "sigmoid",
    "softplus",
    "gelu",
    "silu",
)  # in the order of vectors.cpp
FLAGS = {
    "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "x86-64-v3": ["-march=x86-64-v3"],
    "x86-64-v2": ["-march=x86-64-v2"],
    "neon": [],
}
OPTIONS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-w"]


class _Worst(ctypes.Structure):
    _fields_ = [
        ("ulps", ctypes.c_double),
        ("at", ctypes.c_double),
        ("far", ctypes.c_double),
        ("far_at", ctypes.c_double),
        ("differing", ctypes.c_int64),
    ]


@dataclass(frozen=True)
class Worst:
    """The greatest error found, and where."""

    ulps: float
    at: float
    far: float  # absolute error of gelu below -1
    far_at: float
    differing: int  # results unlike those of the first instruction set


class Sweep:
    """The compiled functions of some instruction sets, best first, and the C library's to compare them with."""

    def __init__(self, isas: list[str], compiler: str = "c++") -> None:
        self.isas = [isa for isa in FLAGS if isa in isas]
        with tempfile.TemporaryDirectory() as folder:
            library, objects = Path(folder) / "sweep.so", []
            for isa in self.isas:
                objects.append(f"{folder}/{isa}.o")
                name = [f"-DNAME={self._symbol(isa)}", f"-I{ROOT / 'csrc'}"]
                self._run(compiler, *OPTIONS, *FLAGS[isa], *name, "-c", HERE / "vectors.cpp", "-o", objects[-1])
            link = ["-shared", "-pthread", "-o", library]
            self._run(compiler, *OPTIONS, HERE / "sweep.cpp", *objects, *link)
            self.library = ctypes.CDLL(str(library))

    def floats(self, function: str, stride: int = 1, first: int = 0, threads: int = 1) -> dict[str, Worst]:
        """Of every stride-th float, by instruction set."""
        worst = (_Worst * len(self.isas))()
        call = self.library.sweep_float
        arguments = FUNCTIONS.index(function), ctypes.c_uint32(first), ctypes.c_uint32(stride), threads
        call(*arguments, self._sets("float"), len(self.isas), worst)
        return self._found(worst)

    def doubles(self, function: str, x: NDArray[np.float64], threads: int = 1) -> dict[str, Worst]:
        """Of the numbers given, by instruction set."""
        worst = (_Worst * len(self.isas))()
        numbers = np.ascontiguousarray(x, np.float64)
        address = numbers.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        arguments = FUNCTIONS.index(function), address, ctypes.c_uint64(numbers.size), threads
        self.library.sweep_double(*arguments, self._sets("double"), len(self.isas), worst)
        return self._found(worst)

    def values(self, function: str, isa: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The function's own results."""
        numbers, result = np.ascontiguousarray(x, np.float32), np.empty(x.shape, np.float32)
        run = getattr(self.library, f"{self._symbol(isa)}_float")
        run(FUNCTIONS.index(function), self._address(numbers), self._address(result), ctypes.c_ssize_t(numbers.size))
        return result

    def truth(self, function: str, x: NDArray[np.float64], wide: bool) -> tuple[NDArray[np.float64], ...]:
        """What counts as exact, in double or (`wide`) long double, as the sum of two doubles."""
        high, low = np.empty_like(x), np.empty_like(x)
        parts = [self._address(array) for array in (x, high, low)]
        self.library.truth_of(FUNCTIONS.index(function), int(wide), *parts, ctypes.c_ssize_t(x.size))
        return high, low

    def _sets(self, dtype: str) -> ctypes.Array[ctypes.c_void_p]:
        functions = [getattr(self.library, f"{self._symbol(isa)}_{dtype}") for isa in self.isas]
        return (ctypes.c_void_p * len(self.isas))(*(ctypes.cast(f, ctypes.c_void_p).value for f in functions))

    def _found(self, worst: ctypes.Array[_Worst]) -> dict[str, Worst]:
        return {
            isa: Worst(*(getattr(one, name) for name, _ in _Worst._fields_))
            for isa, one in zip(self.isas, worst, strict=True)
        }

    @staticmethod
    def _address(array: NDArray[np.generic]) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    @staticmethod
    def _symbol(isa: str) -> str:
        return "run_" + isa.replace("-", "_")

    @staticmethod
    def _run(*command: object) -> None:
        subprocess.run([str(word) for word in command], check=True)


def dense_doubles(function: str, count: int, seed: int = 0) -> NDArray[np.float64]:
    """Doubles of every size, and densely where the function is neither 0 nor constant."""
    rng = np.random.default_rng(seed)
    if function == "log1p":
        return np.concatenate([rng.uniform(0, 1, count // 2), 2.0 ** rng.uniform(-1074, 0, count // 2)])
    if function == "log":
        return np.concatenate([rng.uniform(0.3, 3, count // 2), 2.0 ** rng.uniform(-1022, 1024, count // 2)])
    sizes = 2.0 ** rng.uniform(-1074, 11, count // 4)
    parts = [rng.uniform(-750, 750, count // 4), rng.uniform(-5, 5, count // 2), sizes, -sizes]
    return np.concatenate([*parts, [0.0, -0.0, np.inf, -np.inf, np.nan]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=FUNCTIONS, metavar="NAME")
    parser.add_argument("--stride", type=int, default=1, help="try every so many floats; 1: all 2^32")
    parser.add_argument("--doubles", type=int, default=1 << 24, help="how many doubles to try")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    from layerwise import _core

    sweep = Sweep(list(_core.supported_isas()), shutil.which("c++") or "g++")
    for name in options.functions:
        numbers = dense_doubles(name, options.doubles)
        for dtype, found in (
            ("float", sweep.floats(name, options.stride, threads=options.threads)),
            ("double", sweep.doubles(name, numbers, threads=options.threads)),
        ):
            for isa, worst in found.items():
                far = f"; below -1: {worst.far:.3g} at {worst.far_at:.9g}" if worst.far else ""
                differing = f"; {worst.differing} bits differ from {sweep.isas[0]}'s" if worst.differing else ""
                print(f"{name:9} {dtype:6} {isa}: {worst.ulps:.3f} ULP at {worst.at!r}{far}{differing}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
