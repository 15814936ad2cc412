import gzip
import struct

import numpy as np
import pytest

from layerwise import datasets

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array):
    """The bytes of an IDX file."""
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def arrays(side=3):
    rng = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: rng.integers(0, 256, (7, side, side)),
        TRAIN_LABELS: rng.integers(0, 10, 7),
        TEST_IMAGES: rng.integers(0, 256, (4, side, side)),
        TEST_LABELS: rng.integers(0, 10, 4),
    }


def write(folder, compressed=False, **changed):
    folder.mkdir(exist_ok=True)
    contents = {name: idx(array) for name, array in arrays().items()}
    contents.update({name.replace("_", "-"): value for name, value in changed.items()})
    for name, content in contents.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("compressed", [False, True])
def test_values_order_and_types(tmp_path, compressed):
    data = datasets.load_mnist(write(tmp_path, compressed))
    wanted = arrays()
    assert data.X_train.dtype == data.X_test.dtype == np.float32
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    np.testing.assert_array_equal(data.X_train, wanted[TRAIN_IMAGES].reshape(7, 9).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.X_test, wanted[TEST_IMAGES].reshape(4, 9).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.y_train, wanted[TRAIN_LABELS])
    np.testing.assert_array_equal(data.y_test, wanted[TEST_LABELS])
    assert data.X_train.min() >= 0
    assert data.X_train.max() <= 1
    assert data.X_train.flags.writeable


@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_the_environment_names_the_folder(tmp_path, monkeypatch, subfolder):
    write(tmp_path / subfolder)
    monkeypatch.setenv("LAYERWISE_DATA", str(tmp_path))
    assert datasets.find_mnist() == tmp_path / subfolder
    assert len(datasets.load_mnist().X_train) == 7


def test_a_given_path_may_be_the_parent_folder(tmp_path):
    write(tmp_path / "mnist")
    assert len(datasets.load_mnist(tmp_path).X_test) == 4


def test_nothing_said_and_nothing_set(monkeypatch):
    monkeypatch.delenv("LAYERWISE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="LAYERWISE_DATA"):
        datasets.load_mnist()


def test_a_missing_file_is_named_with_the_places_searched(tmp_path):
    write(tmp_path)
    (tmp_path / TEST_LABELS).unlink()
    with pytest.raises(FileNotFoundError, match=TEST_LABELS) as caught:
        datasets.load_mnist(tmp_path)
    assert str(tmp_path / "mnist") in str(caught.value)


HEADER = bytes([0, 0, 8, 3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic number"),
        (b"\x1f\x8b\x08\x00", "magic number"),
        (idx(np.zeros(7)), "magic number"),
        (bytes([0, 0, 13, 3]) + idx(np.zeros((7, 3, 3)))[4:], "magic number"),
        (HEADER + b"\0\0", "inside its header"),
        (idx(np.zeros((7, 3, 3)))[:-1], "more than the file can hold|fewer"),
        (idx(np.zeros((7, 3, 3))) + b"\0", "holds more"),
        (HEADER + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(63), "more than the file can hold"),
        (idx(np.zeros((0, 3, 3))), "no values"),
        (idx(np.zeros((6, 3, 3))), "6 images .* 7 labels"),
        (idx(np.zeros((7, 2, 2))), "4 pixels .* 9"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_malformed_files_are_refused(tmp_path, compressed, content, message):
    write(tmp_path, compressed, **{TRAIN_IMAGES.replace("-", "_"): content})
    with pytest.raises(ValueError, match=message):
        datasets.load_mnist(tmp_path)


def test_broken_gzip_files_are_refused(tmp_path):
    write(tmp_path, compressed=True)
    file = tmp_path / f"{TRAIN_IMAGES}.gz"
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[12] ^= 0xFF
    for content in (whole[: len(whole) // 2], b"no gzip at all", bytes(damaged)):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=TRAIN_IMAGES):
            datasets.load_mnist(tmp_path)


def test_digits():
    X, y = datasets.load_digits()
    assert X.shape == (1797, 64)
    assert X.dtype == np.float32
    assert y.dtype == np.int64
    assert X.min() == 0
    assert X.max() == 1
    assert set(y) == set(range(10))


def test_few_labels_keeps_a_stratified_part():
    y = np.repeat([0, 1, 2], [600, 300, 100])
    kept = datasets.few_labels(y, 100, random_state=3)
    known = kept != -1
    np.testing.assert_array_equal(kept[known], y[known])
    np.testing.assert_array_equal(np.bincount(kept[known]), [60, 30, 10])
    assert (y >= 0).all()


def test_few_labels_depends_on_the_seed_alone_and_grows():
    y = np.arange(1000) % 10
    first, again, other = (datasets.few_labels(y, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    more = datasets.few_labels(y, 80, 1)
    assert (more[first != -1] != -1).all()


def test_few_labels_keeps_one_of_each_class_however_rare():
    y = np.array([0] * 97 + [1, 2, 3])
    kept = datasets.few_labels(y, 4, random_state=0)
    assert sorted(kept[kept != -1]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(datasets.few_labels(y, 100, random_state=0), y)


def test_few_labels_of_other_types():
    kept = datasets.few_labels(["cat", "dog"] * 10, 4, random_state=0)
    assert kept.dtype == object
    assert sum(label is None for label in kept) == 16
    assert sorted(label for label in kept if label is not None) == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("y", "n", "message"),
    [
        ([0, 1, 2], 2, "n_labels must be from 3"),
        ([0, 1, 2], 4, "to 3"),
        ([-1, 0, 1], 3, "already has labels of -1"),
        ([[0, 1], [1, 0]], 2, "one-dimensional"),
    ],
)
def test_few_labels_refuses(y, n, message):
    with pytest.raises(ValueError, match=message):
        datasets.few_labels(y, n)
