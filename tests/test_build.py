"""Building and installing: the wheel, the sdist, the editable installation, and older processors (minutes long)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow

SMOKE = """
import numpy as np
from layerwise import DenoisingAutoencoder, FineTuning, PretrainedClassifier
rng = np.random.default_rng(0)
X = rng.random((200, 20), dtype=np.float32)
y = (X[:, 0] > 0.5).astype(int)
model = PretrainedClassifier(
    hidden_layer_sizes=(16, 8),
    pretraining=DenoisingAutoencoder(epochs=2),
    finetuning=FineTuning(epochs=20),
    random_state=0,
)
assert np.isfinite(model.fit(X, y).predict_proba(X)).all()
print("trained")
"""


def run(*command: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files without anything built, as a clean clone has them."""
    target = tmp_path_factory.mktemp("checkout") / "layerwise"
    ignore = shutil.ignore_patterns(
        "build", "dist", "*.so", "__pycache__", ".venv*", ".git", ".*_cache", "*.egg-info", ".hypothesis"
    )
    shutil.copytree(ROOT, target, ignore=ignore)
    return target


def environment(folder: Path) -> Path:
    """A new virtual environment's interpreter."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def artefacts(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel made from it, as `python -m build` makes them."""
    folder = tmp_path_factory.mktemp("dist")
    python = environment(folder / "tools")
    run(python, "-m", "pip", "install", "-q", "build")
    run(
        python,
        "-m",
        "build",
        "--outdir",
        folder / "dist",
        checkout,
        env={"SKBUILD_CMAKE_DEFINE": "LAYERWISE_WERROR=ON"},
    )
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def test_the_wheel_is_small_and_complete(artefacts: dict[str, Path]) -> None:
    assert artefacts["wheel"].stat().st_size <= 1_000_000
    names = zipfile.ZipFile(artefacts["wheel"]).namelist()
    modules = {
        path.name for path in (ROOT / "python" / "layerwise").iterdir() if path.suffix in {".py", ".pyi", ".typed"}
    }
    assert {f"layerwise/{name}" for name in modules} <= set(names)
    assert sum(name.endswith(".so") for name in names) == 1
    assert not [name for name in names if name.startswith(("tests/", "csrc/", "benchmarks/"))]
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_sdist_holds_the_sources_and_the_tests(artefacts: dict[str, Path]) -> None:
    import tarfile

    with tarfile.open(artefacts["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("csrc", "python", "tests", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".pyi", ".h", ".cpp", ".md"} and "__pycache__" not in path.parts:
                assert path.relative_to(ROOT).as_posix() in names


def test_the_installed_wheel_works_from_an_empty_folder(artefacts: dict[str, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", artefacts["wheel"], "pytest")
    assert "trained" in run(python, "-c", SMOKE, cwd=tmp_path)
    said = run(
        python,
        "-c",
        "import layerwise, importlib.metadata as m; print(m.version('layerwise') == layerwise.__version__)",
        cwd=tmp_path,
    )
    assert said == "True\n"
    run(python.parent / "layerwise", "info", cwd=tmp_path)
    shutil.copy(ROOT / "tests" / "test_minimal.py", tmp_path)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_minimal.py", cwd=tmp_path)


def test_numpy_is_enough_for_the_engine(artefacts: dict[str, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", "numpy", "pytest")
    run(python, "-m", "pip", "install", "-q", "--no-deps", artefacts["wheel"])
    shutil.copy(ROOT / "tests" / "test_minimal.py", tmp_path)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_minimal.py", cwd=tmp_path)


def test_an_editable_installation_follows_the_sources(checkout: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", "-e", checkout)
    where = run(python, "-c", "import layerwise; print(layerwise.__file__)", cwd=tmp_path)
    assert str(checkout / "python") in where
    assert "trained" in run(python, "-c", SMOKE, cwd=tmp_path)


qemu = pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64 to play an older processor")
# The interpreter itself, not a launcher script that would start an emulated shell.
PYTHON = os.path.realpath(sys.executable)


@qemu
@pytest.mark.parametrize(("cpu", "isa"), [("Nehalem", "x86-64-v2"), ("Haswell", "x86-64-v3")])
def test_older_processors_run_what_they_can(artefacts: dict[str, Path], tmp_path: Path, cpu: str, isa: str) -> None:
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path, artefacts["wheel"])
    path = os.pathsep.join([str(tmp_path), *[folder for folder in sys.path if folder.endswith("site-packages")]])
    emulated = ("qemu-x86_64", "-cpu", cpu, PYTHON)
    said = run(
        *emulated,
        "-c",
        "from layerwise import _core; print(_core.isa())" + SMOKE,
        env={"PYTHONPATH": path},
        cwd=tmp_path,
    )
    assert said.split() == [isa, "trained"]

    too_new = {"x86-64-v2": "x86-64-v3", "x86-64-v3": "x86-64-v4"}[isa]
    done = subprocess.run(
        [*emulated, "-c", "import layerwise._core"],
        env={**os.environ, "PYTHONPATH": path, "LAYERWISE_ISA": too_new},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert re.search(rf"ImportError:.*LAYERWISE_ISA.*{too_new}.*{isa}", done.stderr, re.DOTALL), done.stderr
