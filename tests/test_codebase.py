"""The shape of the codebase, held by tests: who may know whom, what may be said where, and what leaves the binary."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import layerwise
from layerwise import _core

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "layerwise"
CPP = sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".h", ".cpp"})
PYTHON = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(
    [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_comments(source: str) -> str:
    """C++ source with comments blanked out."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)


# ---- C++ -------------------------------------------------------------------------------------------------------------

CPP_FLOOR = {"base": 0, "kernels": 1, "net": 2, "bindings": 3}
# Part of the kernels' folder, but compiled once, for every processor, and free to use the C++ library.
ONCE = {"dispatch.cpp", "dispatch.h", "catalog.cpp", "catalog.h"}
# Headers of constants, typedefs and intrinsics: they can leave no symbol behind.
HARMLESS = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}


def test_there_is_something_to_look_at() -> None:
    assert len(CPP) > 5
    assert len(PYTHON) > 5


@pytest.mark.parametrize("path", CPP, ids=relative)
def test_cpp_includes_point_downward(path: Path) -> None:
    here = path.relative_to(ROOT / "csrc").parts[0]
    for there in re.findall(r'#include "([^"]+)"', path.read_text()):
        folder = there.split("/")[0]
        assert folder in CPP_FLOOR, f'{there}: include from csrc, as in "base/types.h"'
        assert CPP_FLOOR[folder] <= CPP_FLOOR[here], f"{relative(path)} includes {there}, which stands above it"


def test_openmp_is_said_in_one_place() -> None:
    saying = {relative(path) for path in CPP if "#pragma omp" in path.read_text() or "<omp.h>" in path.read_text()}
    assert saying <= {"csrc/base/parallel.h", "csrc/base/parallel.cpp"}, "OpenMP belongs in base/ alone"


@pytest.mark.parametrize(
    "path", [path for path in CPP if path.parent.name == "kernels" and path.name not in ONCE], ids=relative
)
def test_kernels_include_no_cpp_library(path: Path) -> None:
    # An inline function of the library, compiled for AVX-512, is a weak symbol the linker may keep for every processor.
    assert set(re.findall(r"#include <([^>]+)>", path.read_text())) <= HARMLESS


@pytest.mark.parametrize(
    "path", [path for path in CPP if path.parent.name == "kernels" and path.name not in ONCE], ids=relative
)
def test_kernels_neither_allocate_nor_throw(path: Path) -> None:
    assert not re.findall(
        r"\b(new|delete|malloc|free|throw|std::)\b(?!int|size|ptr)",
        re.sub(r"std::u?int\d+_t|std::size_t", "", without_comments(path.read_text())),
    )


@pytest.mark.parametrize("path", CPP, ids=relative)
def test_the_engine_never_ends_the_process_or_prints(path: Path) -> None:
    said = re.findall(
        r"\b(abort|exit|_exit|quick_exit|terminate|printf|fprintf|puts|cout|cerr|rand|srand)\s*[(<]",
        without_comments(path.read_text()),
    )
    assert not said, f"{relative(path)}: {said}"


def test_flags_that_change_arithmetic_or_bind_to_this_processor_are_absent() -> None:
    build = [
        ROOT / "CMakeLists.txt",
        ROOT / "pyproject.toml",
        *(ROOT / "csrc").rglob("CMakeLists.txt"),
        ROOT / ".ci" / "run",
    ]
    for path in build:
        found = re.findall(
            r"-ffast-math|-Ofast|-march=native|-mtune=native|-funsafe-math\S*|-ffinite-math-only", path.read_text()
        )
        assert not found, f"{relative(path)}: {found}"
    assert "-ffp-contract=off" in (ROOT / "CMakeLists.txt").read_text()


def test_no_kernel_object_exports_more_than_its_table() -> None:
    objects = sorted((ROOT / "build").glob("*/CMakeFiles/kernels_*.dir/csrc/kernels/kernels.cpp.o"))
    if not objects:
        pytest.skip("no build tree beside the sources; an installation from this checkout leaves one")
    for path in objects:
        isa = re.search(r"kernels_(\w+)\.dir", path.as_posix())
        assert isa is not None
        lines = run(["nm", "--extern-only", "--defined-only", "--demangle", str(path)]).split("\n")
        symbols = [line.split(maxsplit=2)[1:] for line in lines if line.strip()]
        assert [name for _, name in symbols] == [f"layerwise::kernels_{isa[1]}"], symbols
        assert symbols[0][0] not in "WVu"


def test_tiles_have_no_copy_on_the_stack() -> None:
    """Of GCC 12, whose loops were read: see docs/decisions/0002. Without it nothing but a stopwatch would tell."""
    vectors = {"x86_64_v3": "ymm", "x86_64_v4": "zmm", "bfloat16": "zmm"}
    objects = {
        path: vector
        for isa, vector in vectors.items()
        for path in (ROOT / "build").glob(f"*/CMakeFiles/kernels_{isa}.dir/csrc/kernels/*.o")
    }
    if not objects or shutil.which("objdump") is None:
        pytest.skip("no build tree beside the sources, or no objdump")
    for path, vector in objects.items():
        if not re.search(r"GCC: \(.*\) 12\.", run(["readelf", "-p", ".comment", str(path)])):
            pytest.skip("another compiler than GCC 12")
        functions = run(["objdump", "-d", "--no-show-raw-insn", str(path)]).split("\n\n")
        tiles = [code for code in functions if re.match(r"\w+ <\w*(9gemm_tile|11fused_strip)I", code)]
        optimizers, dtypes = 7, 1 if path.name.startswith("bfloat16") else 2
        assert len(tiles) > (20 if vector == "zmm" else 12)
        if vector == "zmm":
            assert sum("11fused_strip" in code.splitlines()[0] for code in tiles) >= optimizers * dtypes
        for code in tiles:
            # What is read from there: a 0 that is stored once, for pointers that are not set yet, is no copy of a tile.
            assert not re.search(rf"\(%r[sb]p.*{vector}", code), code.splitlines()[0]
        assert not any(re.match(r"\w+ <\w*9add_outerI", code) for code in functions)  # inside its tiles


def run(command: list[str]) -> str:
    """Standard output of a command that must succeed; what it says otherwise is the failure's message."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command[:3])}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads an ELF file")


@linux
def test_the_binary_exports_its_entry_point_alone() -> None:
    lines = run(["nm", "--dynamic", "--defined-only", _core.__file__]).splitlines()
    assert [line.split()[-1] for line in lines] == ["PyInit__core"]


@linux
def test_the_binary_is_hardened_and_flushes_nothing() -> None:
    headers = run(["readelf", "--wide", "--program-headers", "--dynamic", _core.__file__])
    stack = re.search(r"GNU_STACK.*", headers)
    assert stack is not None
    assert "RWE" not in stack[0]
    assert "GNU_RELRO" in headers
    assert re.search(r"BIND_NOW|\bNOW\b", headers)
    assert not re.search(r"\((TEXTREL|RPATH|RUNPATH)\)", headers)
    # What GCC links with -ffast-math: it would flush subnormal numbers in the whole process.
    assert b"set_fast_math" not in Path(_core.__file__).read_bytes()


# ---- Python ----------------------------------------------------------------------------------------------------------


def module(path: Path) -> str:
    """The package's name for a file: the module, or the folder of modules it belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The package's own modules that a file imports, anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{relative(path)}: import by the full name, as in `from layerwise.settings import …`"
            )
            top, _, rest = (node.module or "").partition(".")
            if top == "layerwise":
                found |= {rest.split(".")[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("layerwise.")}
    known = {module(path) for path in PYTHON} | {"_core"}
    return (found & known) - {module(path)}


# A module knows those of lower floors, and of its own floor only where no circle results.
FLOORS = [
    {
        "_core",
        "reference_activations",
        "reference_groups",
        "reference_normalization",
        "reference_penalties",
        "reference_random",
        "reference_rbm",
        "reference_schedules",
        "reference",
    },
    {"checks", "settings", "column_groups", "kernels"},
    {
        "activations",
        "batch_normalization",
        "corruption",
        "initializers",
        "momentum_schedules",
        "optimizers",
        "penalties",
        "schedules",
    },
    {"explanation", "network"},
    {"keeping", "line_search", "restarts", "training"},
    {
        "autoencoders",
        "codes",
        "finetuning_settings",
        "stage",
        "rbm",
        "boltzmann",
        "simultaneous",
        "skill",
        "supervision",
        "thawing",
    },
    {"pretraining", "finetuning", "progress", "supervised_pretraining"},
    {"persistence"},
    {"table_checks"},
    {"tabular_explanation"},
    {"callbacks", "checkpoints", "table_levels", "table_transformers", "tabular"},
    {"tabular_files"},
    {"estimators"},
    {"datasets", "measurements", "paired", "plots", "terminal"},
    {"comparison", "health", "rivals"},
    {"demo"},
    {"commands"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_python_imports_point_downward(path: Path) -> None:
    here = module(path)
    assert here in FLOOR, f"{here}: say on which floor it stands"
    for there in imports(path):
        assert FLOOR[there] <= FLOOR[here], f"{relative(path)} imports {there}, which stands above it"


def test_python_imports_have_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in PYTHON:
        if module(path) != "__init__":
            graph.setdefault(module(path), set()).update(imports(path))
    done = {"_core", "__init__"}
    while graph.keys() - done:
        free = {name for name, below in graph.items() if name not in done and below <= done}
        assert free, f"a circle among {sorted(graph.keys() - done)}"
        done |= free


def test_the_reference_is_for_reading_and_testing_alone() -> None:
    reference = {
        "reference",
        "reference_activations",
        "reference_groups",
        "reference_normalization",
        "reference_penalties",
        "reference_random",
        "reference_rbm",
        "reference_schedules",
    }
    assert [relative(path) for path in PYTHON if module(path) not in reference and reference & imports(path)] == []


def test_the_stub_names_what_the_module_has() -> None:
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    declared: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            declared[node.name] = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            declared[node.name] |= {
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            }
        elif isinstance(node, ast.FunctionDef):
            declared[node.name] = set()
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            declared[node.target.id] = set()
    for generic in ("Network", "Plan", "RbmPlan"):
        members = declared.pop(generic)
        for dtype in ("float32", "float64"):
            declared[f"{generic}_{dtype}"] = members
    assert {name for name in dir(_core) if not name.startswith("_")} - {"annotations"} == declared.keys()
    for name, members in declared.items():
        thing = getattr(_core, name)
        if members:
            present = {member for member in vars(thing) if not member.startswith("_")}
            assert present == members - {"__init__"}, name


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert layerwise.__version__ == project["version"]
    assert re.search(rf"^## \[?{re.escape(project['version'])}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


# ---- both ------------------------------------------------------------------------------------------------------------

LIMIT = 400


@pytest.mark.parametrize("path", [*CPP, *PYTHON, *SCRIPTS], ids=relative)
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    if lines > LIMIT:
        decided = any(relative(path) in page.read_text() for page in (ROOT / "docs" / "decisions").glob("*.md"))
        assert decided, f"{relative(path)} has {lines} lines: divide it, or give the reason in docs/decisions"


def test_the_binding_is_thin() -> None:
    # docs/decisions/0001-binding-size.md says why the limit is what it is.
    lines = sum(len(path.read_text().splitlines()) for path in CPP if path.parent.name == "bindings")
    assert lines <= 800, f"csrc/bindings has {lines} lines"


@pytest.mark.parametrize("path", [*CPP, *PYTHON, *SCRIPTS, ROOT / "CMakeLists.txt", ROOT / ".ci" / "run"], ids=relative)
def test_nothing_is_left_for_later(path: Path) -> None:
    words = "|".join(
        ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "NotImplemented" + "Error", "place" + "holder"]
    )
    assert not re.findall(rf"\b({words})\b", path.read_text())


def tool(name: str) -> str:
    """A development tool that the test extra installs beside the interpreter."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is missing: pip install '.[test]'"
    return found


def test_ruff_has_nothing_to_say() -> None:
    run([tool("ruff"), "check", "--no-cache", "."])
    run([tool("ruff"), "format", "--no-cache", "--check", "."])


def test_mypy_has_nothing_to_say(tmp_path: Path) -> None:
    run([tool("mypy"), f"--cache-dir={tmp_path}"])


def test_clang_format_has_nothing_to_say() -> None:
    run([tool("clang-format"), "--dry-run", "-Werror", *map(str, CPP)])
