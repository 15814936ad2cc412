"""Tables from files: CSV and Parquet (with pandas), .npy and .npz (without)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FORMATS = ".csv, .tsv, .parquet, .npy or .npz"
SEPARATORS = ",;\t"
HOLES = ["?"]  # beside what pandas takes for a hole: an empty cell, NA, NaN, null, None, …


def read(path: Path, as_text: Collection[str] = ()) -> Any:
    """Read a file by what its name ends with.

    Parameters
    ----------
    path : Path
    as_text : collection of str
        Columns of a CSV file to read as text, though they may look like numbers.

    Returns
    -------
    pandas.DataFrame, ndarray, or dict of ndarrays (.npz)

    Raises
    ------
    ValueError, OSError, ImportError
        With the file's name and what is wrong.
    """
    kind = path.suffix.lower()
    try:
        if kind in (".csv", ".tsv"):
            return _with_rows(path, _csv(path, as_text))
        if kind in (".parquet", ".pq"):
            return _with_rows(path, _decimals_as_floats(_dates_refused(path, _pandas(path).read_parquet(path))))
        if kind == ".npy":
            return _with_rows(path, np.load(path, allow_pickle=False))
        if kind == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}") from error
    except ImportError as error:
        raise ImportError(f'reading {path} needs pandas and pyarrow: pip install "layerwise[data]"') from error
    except Exception as error:  # what pandas and NumPy raise for damaged files is of many kinds
        if str(error).startswith(str(path)):
            raise
        why = str(error)
        if isinstance(error, UnicodeDecodeError):
            why = "it is not UTF-8 text"
        elif "allow_pickle" in why:
            why = "it is not a NumPy file, or holds Python objects, which are not read"
        raise ValueError(f"cannot read {path}: {why}") from error
    raise ValueError(f"cannot tell what {path} is: its name must end in {FORMATS}")


def split(path: Path, table: Any, target: str | None, features: str | None = None) -> tuple[Any, Any]:
    """Divide what `read` gave into the columns to learn from and the target.

    Parameters
    ----------
    path : Path
        For messages.
    table : DataFrame, ndarray or dict of ndarrays
    target : str or None
        The target's name; of an .npy file, the number of its column (from 0; -1 is the last). None: there is none.
    features : str or None
        Of an .npz file, the array with the columns; None: X, or the only one beside the target.

    Returns
    -------
    X : DataFrame, or ndarray of shape (n_rows, n_columns)
    y : Series, ndarray of shape (n_rows,), or None

    Raises
    ------
    ValueError
        If there is no such column or array, or if shapes do not fit.
    """
    if features is not None and not isinstance(table, dict):
        raise ValueError(f"--features names an array of an .npz file, and {path} is none")
    if isinstance(table, dict):
        return _split_arrays(path, table, target, features)
    if isinstance(table, np.ndarray):
        X = _matrix(path, table)
        if target is None:
            return X, None
        number = int(target) if target.lstrip("-").isdecimal() else None
        if number is None or not -X.shape[1] <= number < X.shape[1]:
            raise ValueError(f"--target of {path} must be the number of one of its {X.shape[1]} columns, got {target}")
        return np.delete(X, number, axis=1), X[:, number]
    if target is None:
        return table, None
    check_names(path, [target], list(table.columns), "column")
    return table.drop(columns=target), table[target]


def check_names(path: Path, wanted: Sequence[str], names: Sequence[Any], what: str) -> None:
    """Raise ValueError if a name is missing: with the nearest there is, and some of the others."""
    missing = next((name for name in wanted if name not in names), None)
    if missing is None:
        return
    near = difflib.get_close_matches(missing, [str(name) for name in names], 1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    shown = ", ".join(str(name) for name in names[:15]) + (f" and {len(names) - 15} more" if len(names) > 15 else "")
    raise ValueError(f"{path} has no {what} {missing!r}{meant}; it has {shown}")


def as_numbers(path: Path, X: Any, columns: Sequence[int], remedy: str) -> Any:
    """Return a frame whose cells in some columns are numbers or empty, if all of them say numbers.

    Parameters
    ----------
    path : Path
        For messages.
    X : DataFrame
    columns : sequence of int
        The columns that held numbers in training.
    remedy : str
        What to do about a cell that is none.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        With the first cell that is neither a number nor empty, and its row.
    """
    for place in columns:
        column = X.iloc[:, place]
        if column.dtype.kind in "biuf":
            continue
        import pandas

        column = column.astype(object)  # one cell of text makes text of all the others
        numbers = pandas.to_numeric(column, errors="coerce")
        strange = np.flatnonzero(column.notna() & numbers.isna())
        if len(strange):
            row = int(strange[0])
            of = "" if len(strange) == 1 else f" ({len(strange):,} of {len(column):,} cells are none)"
            raise ValueError(
                f"{path}: column {X.columns[place]!r} must hold numbers, as in training, got {column.iloc[row]!r} in "
                f"row {row + 1} of the data{of}: {remedy}"
            )
        X = X.assign(**{X.columns[place]: numbers})
    return X


def _csv(path: Path, as_text: Collection[str]) -> Any:
    pandas = _pandas(path)
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline()
    separator = "\t" if path.suffix.lower() == ".tsv" else max(SEPARATORS, key=header.count)
    names = pandas.read_csv(path, sep=separator, nrows=0, skipinitialspace=True).columns
    return pandas.read_csv(
        path,
        sep=separator,
        skipinitialspace=True,
        na_values=HOLES,
        low_memory=False,  # one kind for the whole column
        index_col=False,
        dtype={name: str for name in names if name in as_text},
    )


def _pandas(path: Path) -> Any:
    path.open("rb").close()  # a missing file is told before missing pandas
    import pandas

    return pandas


def _dates_refused(path: Path, frame: Any) -> Any:
    for name in frame.columns:
        if getattr(frame[name].dtype, "kind", "") in "mM":
            raise ValueError(f"{path}: column {name!r} holds dates or times; make numbers of them, or leave it out")
    frame.columns = [str(name) for name in frame.columns]
    return frame


def _decimals_as_floats(frame: Any) -> Any:
    """Return a table with floats for the decimal numbers that Parquet has: they are numbers like others."""
    import pandas

    for name in frame.columns:
        present = frame[name].dropna() if frame[name].dtype == object else ()
        if len(present) and all(isinstance(value, Decimal) for value in present):
            frame[name] = pandas.to_numeric(frame[name])
    return frame


def _with_rows(path: Path, table: Any) -> Any:
    if table.ndim == 0 or len(table) == 0:
        raise ValueError(f"{path} has no rows")
    return table


def _split_arrays(path: Path, arrays: dict[str, Array], target: str | None, features: str | None) -> tuple[Any, Any]:
    names = list(arrays)
    check_names(path, [name for name in (target, features) if name is not None], names, "array")
    if features is None:
        others = [name for name in names if name != target]
        candidates = ["X"] if "X" in others else [name for name in others if arrays[name].ndim > 1] or others
        if len(candidates) != 1:
            raise ValueError(f"{path} has several arrays ({', '.join(names)}): say with --features which one to use")
        features = candidates[0]
    X = _matrix(path, arrays[features])
    if target is None:
        return X, None
    y = arrays[target]
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    if y.shape != (len(X),):
        raise ValueError(f"{path}: {target} has shape {y.shape}, but one target for each of {len(X)} rows is needed")
    return X, y


def _matrix(path: Path, X: Array) -> Array:
    """Return an array with a row for each row of the file; images become rows of pixels."""
    if X.ndim < 2 or X.size == 0:
        raise ValueError(f"{path} must hold rows of columns, got an array of shape {X.shape}")
    return X.reshape(len(X), -1)


def rows(X: Any, which: Array) -> Any:
    """Return some rows, given by number."""
    return X[which] if isinstance(X, np.ndarray) else X.iloc[which]
