"""The kernels on processors this machine may not be: the same bits from NEON (played by qemu) as from x86-64-v3."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Werror"]
V3 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c", "-mlzcnt", "-mmovbe"]

pytestmark = pytest.mark.slow


def hashes(tmp_path: Path, compiler: str, table: str, flags: list[str], runner: list[str]) -> list[str]:
    program = tmp_path / table
    sources = [ROOT / "csrc/kernels/kernels.cpp", ROOT / "tests/cross/kernel_hashes.cpp"]
    quiet = ["-Wno-unused-function", "-Wno-psabi", "-I", str(ROOT / "csrc"), f"-DLAYERWISE_KERNELS={table}"]
    subprocess.run([compiler, *FLAGS, *flags, *quiet, *map(str, sources), "-static", "-o", str(program)], check=True)
    return subprocess.run([*runner, str(program)], check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.skipif(
    not all(map(shutil.which, ("aarch64-linux-gnu-g++", "qemu-aarch64"))),
    reason="needs the packages g++-aarch64-linux-gnu and qemu-user",
)
def test_neon_gives_the_bits_of_x86_64_v3(tmp_path):
    ours = hashes(tmp_path, "g++", "kernels_x86_64_v3", V3, [])
    neon = hashes(tmp_path, "aarch64-linux-gnu-g++", "kernels_neon", [], ["qemu-aarch64"])
    assert len(ours) > 150
    assert neon == ours
