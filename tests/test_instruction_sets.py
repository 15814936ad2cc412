"""The engine's tests once more under each instruction set of the processor; one is chosen when the engine is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from layerwise import _core

HERE = Path(__file__).parent
FILES = [
    "test_kernels.py",
    "test_array_functions.py",
    "test_random.py",
    "test_engine.py",
    "test_zeros.py",
    "test_batch_norm.py",
    "test_penalties.py",
    "test_rbm.py",
]


def python(*arguments, isa):
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "LAYERWISE_ISA": isa}, cwd=HERE.parent,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_every_instruction_set_passes_the_engines_tests(isa):
    if isa == _core.isa():
        return  # this very run
    done = python("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(str(HERE / name) for name in FILES), isa=isa)
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_the_instruction_set_asked_for_is_used(isa):
    done = python("-c", "from layerwise import _core; print(_core.isa())", isa=isa)
    assert (done.returncode, done.stdout.strip()) == (0, isa)


@pytest.mark.parametrize("isa", ["sse5", *{"x86-64-v4", "neon"}.difference(_core.supported_isas())])
def test_an_instruction_set_the_processor_lacks_is_refused(isa):
    done = python("-c", "from layerwise import _core", isa=isa)
    assert done.returncode == 1
    assert "LAYERWISE_ISA" in done.stderr
    assert isa in done.stderr
