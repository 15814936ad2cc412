"""The kernels alone: the same bits from all instruction sets with fused multiply-adds, NEON (by way of qemu) too."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from layerwise import _core

ROOT = Path(__file__).parent.parent
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Werror"]
V2 = ["-msse4.2", "-mpopcnt"]
V3 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c", "-mlzcnt", "-mmovbe"]
V4 = [*V3, *(f"-mavx512{part}" for part in ("f", "bw", "cd", "dq", "vl"))]
SOURCES = [ROOT / "csrc/kernels/kernels.cpp", ROOT / "csrc/kernels/catalog.cpp", ROOT / "tests/cross/kernel_hashes.cpp"]

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def hashes(tmp_path: Path, compiler: str, table: str, flags: list[str], runner: list[str]) -> list[str]:
    program = tmp_path / table
    quiet = ["-Wno-unused-function", "-Wno-psabi", "-I", str(ROOT / "csrc"), f"-DLAYERWISE_KERNELS={table}"]
    subprocess.run([compiler, *FLAGS, *flags, *quiet, *map(str, SOURCES), "-static", "-o", str(program)], check=True)
    return subprocess.run([*runner, str(program)], check=True, capture_output=True, text=True).stdout.splitlines()


def test_every_kernel_is_hashed() -> None:
    table = (ROOT / "csrc/kernels/kernels.h").read_text().split("struct Kernels {")[1].split("\n};")[0]
    kernels = re.findall(r"\(\*(\w+)(?:\[\w+\])?\)\(", table)
    assert len(kernels) > 30
    program = SOURCES[-1].read_text()
    assert [name for name in kernels if f"k.{name}(" not in program and f"k.{name}[" not in program] == []


@pytest.mark.skipif(
    not {"x86-64-v3", "x86-64-v4"} <= set(_core.supported_isas()), reason="needs a processor with AVX2 and AVX-512"
)
def test_avx512_gives_the_bits_of_avx2(tmp_path: Path) -> None:
    ours = hashes(tmp_path, "g++", "kernels_x86_64_v3", V3, [])
    assert len(ours) > 400
    assert hashes(tmp_path, "g++", "kernels_x86_64_v4", V4, []) == ours


@pytest.mark.parametrize(("isa", "flags"), [("x86-64-v2", V2), ("x86-64-v3", V3), ("x86-64-v4", V4)])
def test_zeros_that_are_left_out_change_no_bit(tmp_path: Path, isa: str, flags: list[str]) -> None:
    if isa not in _core.supported_isas():
        pytest.skip(f"needs a processor with {isa}")
    lines = hashes(tmp_path, "g++", f"kernels_{isa.replace('-', '_')}", flags, [])
    sparse, whole = (
        [line.replace(f" {word} ", " ") for line in lines if f" {word} " in line] for word in ("sparse", "whole")
    )
    assert len(sparse) > 500
    assert sparse == whole


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(shutil.which, ("aarch64-linux-gnu-g++", "qemu-aarch64"))),
    reason="needs the packages g++-aarch64-linux-gnu and qemu-user",
)
def test_neon_gives_the_bits_of_x86_64_v3(tmp_path: Path) -> None:
    ours = hashes(tmp_path, "g++", "kernels_x86_64_v3", V3, [])
    neon = hashes(tmp_path, "aarch64-linux-gnu-g++", "kernels_neon", [], ["qemu-aarch64"])
    assert neon == ours
