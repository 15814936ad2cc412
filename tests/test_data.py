"""Data as they come: from a file without a copy, and in any layout or container with the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_digits

from layerwise import (
    DenoisingAutoencoder,
    FineTuning,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    _core,
    checks,
    pretrain,
)

ALL = [StackedAutoencoder, PretrainedClassifier, PretrainedRegressor]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux counts it")


def make(kind: Any, **changes: Any) -> Any:
    options = {
        "hidden_layer_sizes": (8, 6),
        "pretraining": DenoisingAutoencoder(epochs=1),
        "finetuning": FineTuning(epochs=1),
        "random_state": 0,
    }
    return kind(**(options | changes))


# ---- a memory-mapped file --------------------------------------------------------------------------------------------

ROWS, COLUMNS = 40_000, 500  # 80 MB of float32
# Skill is measured on 10,000 rows, which are copied (20 MB). With 16 MB for all else, a copy of X cannot be had.
ROOM = 10_000 * COLUMNS * 4 + 16 * 2**20
SCRIPT = """
import resource, sys
import numpy as np
sys.path.insert(0, sys.argv[3])
from test_data import ROOM, make
import layerwise

kind, path = getattr(layerwise, sys.argv[1]), sys.argv[2]
X = np.load(path, mmap_mode="r")
y = np.arange(len(X), dtype=np.int32) % 3
make(kind, n_jobs=1).fit(np.ascontiguousarray(X[:300]), y[:300])  # what is loaded and started once
lines = (line.split() for line in open("/proc/self/status"))
data = next(int(words[1]) * 1024 for words in lines if words[0] == "VmData:")
resource.setrlimit(resource.RLIMIT_DATA, (data + ROOM, data + ROOM))  # of memory that is not the file's
try:
    model = make(kind, finetuning=None if kind is layerwise.StackedAutoencoder else "auto", n_jobs=1).fit(X, y)
except MemoryError:
    sys.exit("a copy")
print(model.coefs_[0].astype(np.float64).sum())
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same numbers in a file in C order, in Fortran order, and as float64."""
    folder = tmp_path_factory.mktemp("mapped")
    X = _core.random_uniform(0, 0, ROWS * COLUMNS).reshape(ROWS, COLUMNS).astype(np.float32)
    for name, array in (("C", X), ("F", np.asfortranarray(X)), ("swapped", X.astype(">f4"))):
        np.save(folder / name, array)
    return {name: folder / f"{name}.npy" for name in ("C", "F", "swapped")}


def run(kind: Any, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, kind.__name__, str(path), str(Path(__file__).parent)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@linux
@pytest.mark.parametrize("kind", ALL)
def test_a_mapped_float32_file_is_trained_on_without_a_copy(kind: Any, files: dict[str, Path]) -> None:
    done = run(kind, files["C"])
    assert done.returncode == 0, done.stderr


@linux
@pytest.mark.parametrize("order", ["F", "swapped"])
def test_a_copy_would_be_noticed(order: str, files: dict[str, Path]) -> None:
    done = run(StackedAutoencoder, files[order])
    assert done.returncode != 0
    assert "a copy" in done.stderr or "MemoryError" in done.stderr


# ---- layouts and containers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_layouts_and_containers_give_the_same_bits(kind: Any, dtype: Any, tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    X, y = (X[:150] / 16).astype(dtype), y[:150]
    weights = 1.0 + np.arange(150) % 3
    plain = make(kind).fit(X, y, sample_weight=weights)
    np.save(tmp_path / "C.npy", X)
    np.save(tmp_path / "F.npy", np.asfortranarray(X))
    read_only = X.copy()
    read_only.flags.writeable = False
    wide = np.zeros((300, 128), dtype)
    wide[::2, ::2] = X
    columns = [f"c{i}" for i in range(64)]
    layouts: list[Any] = [
        np.load(tmp_path / "C.npy", mmap_mode="r"),
        np.load(tmp_path / "F.npy", mmap_mode="r"),
        np.asfortranarray(X),
        read_only,
        wide[::2, ::2],
        X[::-1][::-1],
        X.astype(X.dtype.newbyteorder(">")),
        pd.DataFrame(X),
        pd.DataFrame(dict(zip(columns, X.T, strict=True))),
        pl.DataFrame(dict(zip(columns, X.T, strict=True))),
    ]
    targets = [y, y.tolist(), pd.Series(y), pl.Series(y), np.repeat(y, 2)[::2]]
    scales = [weights, weights.tolist(), pd.Series(weights), np.repeat(weights, 2)[::2], weights.astype(">f8")]
    for i, layout in enumerate(layouts):
        model = make(kind).fit(layout, targets[i % 5], sample_weight=scales[i % 5])
        for a, b in zip(plain.coefs_, model.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.asarray(model.transform(layout)), plain.transform(X))


FLOAT32 = ["Float32", "Int8", "Int16", "UInt8", "boolean", "float[pyarrow]", "int8[pyarrow]", "bool[pyarrow]"]
FLOAT64 = ["Float64", "Int32", "UInt16 and int16", "double[pyarrow]", "int64[pyarrow]"]


@pytest.mark.parametrize("names", [*FLOAT32, "Int8 and float32", "Float32 and bool[pyarrow]", *FLOAT64])
def test_columns_that_can_miss_values_train_what_those_of_numpy_train(names: str) -> None:
    if "pyarrow" in names:
        pytest.importorskip("pyarrow")
    y = np.arange(60) % 3
    numbers = (np.random.default_rng(0).random((60, 4)) < 0.5).astype(np.int64)
    frame = pd.DataFrame(numbers, columns=list("abcd"))
    for column, name in zip("abcd", (names.split(" and ") * 4)[:4], strict=True):
        frame[column] = frame[column].astype(name)
    expected = np.dtype(np.float64 if names in FLOAT64 else np.float32)
    plain = make(PretrainedClassifier).fit(numbers.astype(expected), y)
    model = make(PretrainedClassifier).fit(frame, y)
    assert model.network_.dtype == expected
    for a, b in zip(plain.coefs_, model.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.predict_proba(frame), plain.predict_proba(numbers.astype(expected)))
    assert next(pretrain(frame, (3,), DenoisingAutoencoder(epochs=1))).weights.dtype == expected
    frame.loc[3, "b"] = None
    with pytest.raises(ValueError, match=r"^Input X contains NaN\."):
        make(PretrainedClassifier).fit(frame, y)


def test_one_column_of_another_kind_leaves_the_dtype_to_scikit_learn() -> None:
    y = np.arange(60) % 3
    frame = pd.DataFrame({"a": pd.Series(y, dtype="Float32"), "b": pd.Series(y.astype(str), dtype="str")})
    assert make(PretrainedClassifier).fit(frame, y).network_.dtype == np.float64  # scikit-learn reads digits


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_broadcast_arrays_give_the_same_bits(kind: Any, dtype: Any) -> None:
    """Rows or columns of stride 0: one number in memory stands for many."""
    y = np.arange(60) % 3
    row = (np.arange(10) % 4).astype(dtype)
    for broadcast in (np.broadcast_to(row, (60, 10)), np.broadcast_to(row.repeat(6)[:, None], (60, 10))):
        assert 0 in broadcast.strides
        model, plain = make(kind).fit(broadcast, y), make(kind).fit(broadcast.copy(), y)
        for a, b in zip(plain.coefs_, model.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(model.transform(broadcast), plain.transform(broadcast.copy()))


def test_ready_data_take_the_short_way_and_no_others() -> None:
    X, y = np.random.default_rng(0).random((60, 5), dtype=np.float32), np.arange(60) % 2
    model = PretrainedClassifier((4,), pretraining=None).fit(X, y)
    assert checks.ready(X, np.dtype(np.float32), model) is X
    hole = X.copy()
    hole[3, 2] = np.nan
    rest, edge = X.copy(), X.copy()
    rest[-1, -1], edge[0, 0] = (
        np.inf,
        1e30,
    )  # the last number is in no whole panel; 1e30 goes the long way, and is taken
    others = (
        hole,
        rest,
        edge,
        hole.astype(np.float64),
        1e300 * X.astype(np.float64),
        X.astype(">f8"),
        X.astype(np.float16),
        X[:, :4],
        X[:0],
        X[0],
        np.asfortranarray(X),
        X.tolist(),
        X[:, ::-1],
    )
    assert all(checks.ready(other, np.dtype(np.float32), model) is None for other in others)
    with pytest.raises(ValueError, match="NaN"):
        model.predict_proba(hole)
    with pytest.raises(ValueError, match="4 features"):
        model.predict_proba(X[:, :4])
    assert model.predict_proba(X).tobytes() == model.predict_proba(X.tolist()).astype(np.float32).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_other_dtype_takes_the_short_way_with_the_same_bits(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = np.float64 if dtype == np.float32 else np.float32
    X, y = np.random.default_rng(1).random((60, 5)), np.arange(60) % 2
    model = PretrainedClassifier((4,), pretraining=None, random_state=0).fit(X.astype(dtype), y)
    rows = X.astype(other)
    before = rows.copy()
    ways = rows, rows[::-1][::-1], np.asfortranarray(rows), rows[:1]
    long = [model.predict_proba(way.tolist() if other is np.float64 else np.array(way, ">f4")) for way in ways]
    with pytest.raises(ValueError, match="too large for float32 in column 0" if dtype == np.float32 else "infinity"):
        model.predict(np.full((1, 5), 1e300).astype(np.float64) * (1 if dtype == np.float32 else np.inf))
    monkeypatch.setattr("layerwise.estimators.base.validate_data", None)  # the long way
    for way, expected in zip(ways, long, strict=True):
        assert model.predict_proba(way).tobytes() == expected.tobytes()
    assert rows.tobytes() == before.tobytes()


@pytest.mark.filterwarnings("ignore:pandas.DataFrame with sparse columns")
def test_sparse_columns_beside_those_that_can_miss_values() -> None:
    numbers = np.random.default_rng(0).random((40, 2)).astype(np.float32)
    sparse = pd.Series(pd.arrays.SparseArray(numbers[:, 1]))
    frame = pd.DataFrame({"a": pd.Series(numbers[:, 0], dtype="Float32"), "b": sparse})
    model = StackedAutoencoder((3,), pretraining=DenoisingAutoencoder(epochs=1), random_state=0).fit(frame)
    assert model.transform(frame).shape == (40, 3)
