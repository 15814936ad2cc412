"""Data to try the package on: MNIST and Adult from their original files, scikit-learn's digits, labels taken away."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Dataset", "few_labels", "find_mnist", "load_adult", "load_digits", "load_mnist"]

#: Deflate cannot shrink data further than this, so a header that announces more is wrong (and need not be allocated).
_DEFLATE_LIMIT = 1032

_PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


ADULT_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip


class Dataset(NamedTuple):
    """Training and test rows of one data set.

    Attributes
    ----------
    X_train, X_test : ndarray of float32, shape (n_rows, n_features)
        Inputs in [0, 1].
    y_train, y_test : ndarray of int64, shape (n_rows,)
        Class labels.
    """

    X_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def load_mnist(path: str | os.PathLike[str] | None = None) -> Dataset:
    """Read MNIST from its four original IDX files, gzip-compressed or not.

    The rows stay in the order of the files: the papers of 2006 to 2010 train on the first 50,000 training rows and
    validate on the last 10,000. Any data set in the same format (Fashion-MNIST, for instance) can be read as well.

    Parameters
    ----------
    path : path-like, default=None
        The folder that holds the files. ``None`` takes the folder that the environment variable ``LAYERWISE_DATA``
        names, or its subfolder ``mnist``.

    Returns
    -------
    Dataset
        ``X_train`` (60000, 784), ``y_train``, ``X_test`` (10000, 784), ``y_test``: pixels divided by 255 as float32,
        labels as int64.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message lists the folders that were searched. Also if `path` is None and
        ``LAYERWISE_DATA`` is not set.
    ValueError
        If a file is not an IDX file of unsigned bytes, is shorter or longer than its header says, or if the numbers
        of images and labels, or the image sizes of the two parts, differ.
    """
    train_images, train_labels, test_images, test_labels = _files_in(find_mnist(path))
    X_train, y_train = _images(train_images), _labels(train_labels)
    X_test, y_test = _images(test_images), _labels(test_labels)
    for X, y, images, labels in (
        (X_train, y_train, train_images, train_labels),
        (X_test, y_test, test_images, test_labels),
    ):
        if len(X) != len(y):
            raise ValueError(f"{images.name} holds {len(X)} images but {labels.name} holds {len(y)} labels")
    if X_train.shape[1] != X_test.shape[1]:
        raise ValueError(
            f"{train_images.name} has {X_train.shape[1]} pixels an image but {test_images.name} has {X_test.shape[1]}"
        )
    return Dataset(X_train, y_train, X_test, y_test)


def find_mnist(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds MNIST's four files.

    Parameters
    ----------
    path : path-like, default=None
        As for `load_mnist`.

    Returns
    -------
    pathlib.Path
        The folder itself, or its subfolder ``mnist``, whichever has all four files.

    Raises
    ------
    FileNotFoundError
        If neither has them all; the message says what was looked for and where.
    """
    if path is None:
        path = os.environ.get("LAYERWISE_DATA")
        if not path:
            raise FileNotFoundError("MNIST needs a folder: give its path, or set the variable LAYERWISE_DATA")
    folders = [Path(path), Path(path, "mnist")]
    for folder in folders:
        if len(_files_in(folder)) == len(_PARTS):
            return folder
    raise FileNotFoundError(
        f"MNIST not found in {' or '.join(map(str, folders))}: looked for {', '.join(_PARTS)}, each with or without .gz"
    )


def load_adult(path: str | os.PathLike[str] | None = None) -> tuple[Any, NDArray[np.int64]]:
    """Read UCI's Adult data (Census Income; Kohavi 1996) from its original training file.

    Parameters
    ----------
    path : path-like, default=None
        The file ``adult.data`` (or ``adult.data.gz``), or a folder that has it, or whose subfolder ``adult`` has it.
        ``None`` takes the folder that the environment variable ``LAYERWISE_DATA`` names.

    Returns
    -------
    X : pandas.DataFrame of shape (32561, 14)
        6 columns of numbers and 8 of categories, with holes (NaN) where the file has a question mark.
    y : ndarray of int64, shape (32561,)
        1 where the income is above 50,000 dollars, else 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message says where it was looked for.
    ImportError
        If pandas is not installed (``pip install "layerwise[data]"``).
    ValueError
        If the file does not have these columns.
    """
    import pandas

    folder = os.environ.get("LAYERWISE_DATA") if path is None else path
    if not folder:
        raise FileNotFoundError("Adult needs a folder: give its path, or set the variable LAYERWISE_DATA")
    names = [
        Path(folder),
        *(Path(folder, *part, f"adult.data{end}") for part in ((), ("adult",)) for end in ("", ".gz")),
    ]
    files = [file for file in names if file.is_file()]
    if not files:
        raise FileNotFoundError(f"Adult not found: looked for {', '.join(map(str, names[1:]))}")
    try:
        frame = pandas.read_csv(files[0], header=None, skipinitialspace=True, na_values="?")
        known = frame.shape[1] == len(ADULT_COLUMNS) + 1 and set(frame.iloc[:, -1]) <= {"<=50K", ">50K"}
    except ValueError:  # lines of different lengths, or none
        known = False
    if not known:
        raise ValueError(f"{files[0]} is not Adult's training file: it should have 14 columns and the income")
    frame.columns = [*ADULT_COLUMNS, "income"]
    return frame.drop(columns="income"), (frame["income"] == ">50K").to_numpy(np.int64)


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return scikit-learn's bundled handwritten digits, scaled to [0, 1].

    Returns
    -------
    X : ndarray of float32, shape (1797, 64)
        8x8 images; the original values 0 to 16 divided by 16.
    y : ndarray of int64, shape (1797,)
        The digits.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    X, y = sklearn_digits(return_X_y=True)
    return np.asarray(X / 16.0, dtype=np.float32), np.asarray(y, dtype=np.int64)


def few_labels(y: ArrayLike, n_labels: int, random_state: int | np.random.Generator | None = None) -> NDArray[Any]:
    """Keep `n_labels` labels and mark the others as unknown.

    The kept labels are stratified: each class keeps its share, and at least one. The same `random_state` with a larger
    `n_labels` keeps the same labels and some more.

    Parameters
    ----------
    y : array-like, shape (n_rows,)
        Class labels, all of them known.
    n_labels : int
        How many labels to keep: at least one per class, at most all.
    random_state : int, numpy.random.Generator or None, default=None
        Which labels are kept.

    Returns
    -------
    ndarray, shape (n_rows,)
        A copy of `y` with -1 where the label was taken away (integer labels), or an object array with None there
        (labels of any other type).

    Raises
    ------
    ValueError
        If `y` is not one-dimensional, if it already has -1 among integer labels, or if `n_labels` is out of range.
    """
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y must be one-dimensional, not {y.ndim}-dimensional")
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if not len(classes) <= n_labels <= len(y):
        raise ValueError(f"n_labels must be from {len(classes)} (one for each class) to {len(y)} (all), got {n_labels}")
    integer = np.issubdtype(y.dtype, np.signedinteger)
    if integer and classes[0] == -1:
        raise ValueError("y already has labels of -1, which would mean unknown")

    # Each row's place in its class, in a random order, as a fraction of the class: taking the smallest fractions takes
    # the same share of every class. The first of each class comes before all others.
    shuffled = np.random.default_rng(random_state).permutation(len(y))
    by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
    place = np.empty(len(y))
    place[by_class] = np.concatenate([(np.arange(count) + 0.5) / count * (np.arange(count) > 0) for count in counts])
    hidden = shuffled[np.argsort(place[shuffled], kind="stable")][n_labels:]

    kept = y.copy() if integer else y.astype(object)
    kept[hidden] = -1 if integer else None
    return kept


def _files_in(folder: Path) -> list[Path]:
    """Those of MNIST's files that the folder has, in the order of _PARTS; a plain file before a compressed one."""
    present = ([file for file in (folder / part, folder / f"{part}.gz") if file.is_file()] for part in _PARTS)
    return [files[0] for files in present if files]


def _images(file: Path) -> NDArray[np.float32]:
    pixels = _read_idx(file, dimensions=3)
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)


def _labels(file: Path) -> NDArray[np.int64]:
    return _read_idx(file, dimensions=1).astype(np.int64)


def _read_idx(file: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes: 0, 0, 8, dimensions; one big-endian 32-bit size each; the values."""
    header = 4 + 4 * dimensions
    compressed = file.suffix == ".gz"
    try:
        with gzip.open(file) if compressed else file.open("rb") as stream:
            start = stream.read(header)
            if start[:4] != bytes([0, 0, 8, dimensions]):
                raise ValueError(f"{file} has a wrong magic number for an IDX file of bytes in {dimensions} dimensions")
            if len(start) < header:
                raise ValueError(f"{file} ends inside its header")
            shape = tuple(int(size) for size in np.frombuffer(start, ">u4", offset=4))
            announced = math.prod(shape)
            if announced > file.stat().st_size * (_DEFLATE_LIMIT if compressed else 1):
                raise ValueError(f"{file} announces {announced} values {shape}, more than the file can hold")
            values = stream.read(announced + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{file} is not a complete gzip file: {error}") from error
    if len(values) != announced:
        held = "more" if len(values) > announced else "fewer"
        raise ValueError(f"{file} announces {announced} values {shape} but holds {held}")
    if 0 in shape:
        raise ValueError(f"{file} holds no values: its sizes are {shape}")
    return np.frombuffer(values, np.uint8).reshape(shape)
