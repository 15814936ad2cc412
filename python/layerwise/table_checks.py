"""What is wrong with a table, said by its columns and rows, before scikit-learn says less.

At fit: columns that cannot be used are refused, and those that would silently become bad categories are warned of.
Where a transformer fails all the same, the table is looked through for the cell that made it. Rows count from 0.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, time, timedelta
from math import isfinite
from numbers import Complex, Number, Real
from typing import Any

import numpy as np

from layerwise.checks import ColumnWarning

MANY = 50  # levels, from which on a category may be no category
SOME = 10  # numbers among a text column's levels, from which on it is taken for measurements: "2", "4", "more" is not
CODE = re.compile(r"\s*[+-]?0\d+\s*")  # a zero before other digits
COMMA = re.compile(r"\s*[+-]?\d[\d.]*,\d+([eE][+-]?\d+)?\s*")


def as_table(X: Any) -> Any:
    """Return a frame or array as it is, and anything else as an array of objects, as scikit-learn reads it."""
    return X if hasattr(X, "columns") or hasattr(X, "dtype") else np.array(X, dtype=object)


def names_of(X: Any) -> list[Any]:
    """Return the names of a frame's columns, or the numbers of an array's."""
    return list(X.columns) if hasattr(X, "columns") else list(range(np.shape(X)[1]))


def readable(X: Any, numbers: Sequence[int]) -> Any:
    """Return a table whose columns of numbers scikit-learn can read, if they can be read at all.

    Of an array of strings it reads no column alone, and pandas.NA among objects and strings is no number to it.
    """
    if hasattr(X, "isetitem"):  # pandas
        for number in numbers:
            column = X.iloc[:, number]
            if getattr(column.dtype, "kind", "O") in "OUT" and column.isna().any():
                X = X.copy(deep=False)
                X.isetitem(number, column.astype(object).where(column.notna(), np.nan))
        return X
    return X.astype(object) if len(numbers) > 0 and getattr(getattr(X, "dtype", None), "kind", "") == "U" else X


def column_of(X: Any, number: int) -> Any:
    """Return a column by its number."""
    if hasattr(X, "iloc"):
        return X.iloc[:, number]
    return X.to_series(number) if hasattr(X, "to_series") else np.asarray(X)[:, number]


def dtypes_of(X: Any) -> list[Any]:
    """Return the types of the columns, without taking a wide frame to pieces."""
    return list(X.dtypes) if hasattr(X, "columns") else [np.asarray(X).dtype] * np.shape(X)[1]


def with_names(X: Any, numbers: Iterable[int]) -> list[tuple[Any, Any]]:
    """Return columns, each with its name."""
    names = names_of(X)
    return [(names[number], column_of(X, number)) for number in numbers]


def called(name: Any) -> str:
    """Return how messages call a column: by its name, or its number in an array."""
    return f"column {str(name)!r}" if isinstance(name, str) else f"column {name}"


def check_shape(X: Any) -> None:
    """Refuse what is no table, one without rows or columns, and one with two columns of the same name."""
    if hasattr(X, "toarray"):
        raise TypeError("X is sparse. Tables must be dense: X.toarray(), or the estimator without tabular_pipeline.")
    shape = np.shape(X)
    if len(shape) == 2 and 0 in shape:
        what = "rows" if shape[0] == 0 else "columns"
        raise ValueError(f"X has no {what} (its shape is {shape}). A table must have at least one.")
    if len(shape) != 2:
        raise ValueError(f"X must be a table with rows and columns. Got one of shape {shape}.")
    if not hasattr(X, "columns"):
        return
    for name, count in Counter(X.columns).items():
        if count > 1:
            places = [number for number, other in enumerate(X.columns) if other == name]
            raise ValueError(
                f"X has {count} columns named {name!r} (numbers {', '.join(map(str, places))}, from 0). Columns are "
                "found by name: rename or leave out all but one."
            )


def check_columns(X: Any, categories: Sequence[int], min_frequency: Any, *, listed: bool) -> None:
    """Refuse columns that can be neither numbers nor categories; warn of those that are bad categories.

    Parameters
    ----------
    X : dataframe or ndarray of shape (n_samples, n_features)
    categories : sequence of int
        The numbers of the columns that become categories.
    min_frequency : int, float or None
    listed : bool
        Whether the user has listed the categories, so that numbers among them are meant so.
    """
    chosen = set(categories)
    for number, (name, dtype) in enumerate(zip(names_of(X), dtypes_of(X), strict=True)):
        kind = kind_of_dtype(dtype)
        if kind == "bool" or (kind == "number" and number not in chosen):
            continue
        cells = cells_of(column_of(X, number)) if kind not in ("date", "complex") else []
        kinds = {kind} if kind in ("date", "complex") else kinds_of(cells)
        _check_kinds(name, kinds)
        if number not in chosen or kinds == {"bool"}:
            continue
        _check_mixture(name, kinds, cells)
        levels = levels_of(name, cells)
        if kinds == {"text"} and not listed and kind != "category" and _warn_of_numbers(name, levels, cells):
            continue
        _warn_of_many(name, levels, min_frequency, len(cells))


def check_numbers(X: Any, numbers: Iterable[int]) -> None:
    """Refuse columns of numbers that hold dates, times or complex numbers now, which would be read as other numbers."""
    names, dtypes = names_of(X), dtypes_of(X)
    for number in numbers:
        _check_kinds(names[number], {kind_of_dtype(dtypes[number])})


def bad_number(columns: Iterable[tuple[Any, Any]], remedy: str = "") -> ValueError | None:
    """Return an error that names the first cell of columns of numbers that is none, or not finite; None: all are.

    Parameters
    ----------
    columns : iterable of (name, column)
    remedy : str
        What else may be done, where a cell is no number.
    """
    for name, column in columns:
        if kind_of_dtype(column.dtype) == "number":
            whole = column.astype("float64") if hasattr(column, "isna") else column
            for row in np.flatnonzero(np.isinf(np.asarray(whole, dtype=np.float64)))[:1]:
                return _not_finite(name, row, float(whole.iloc[row] if hasattr(whole, "iloc") else whole[int(row)]))
            continue
        for row, value in enumerate(cells_of(column)):
            try:
                number = 0.0 if value is None else float(value)
            except (TypeError, ValueError, OverflowError):
                return ValueError(
                    f"{called(name)} is taken as numbers, but row {row} (counted from 0) has {str(value)!r}. Give a "
                    f"number there, or NaN for a hole{remedy}."
                )
            if abs(number) == np.inf:
                return _not_finite(name, row, number)
    return None


def _not_finite(name: Any, row: int, number: float) -> ValueError:
    return ValueError(
        f"{called(name)} has {number} in row {row} (counted from 0). Numbers must be finite: give NaN for a hole, or "
        "the greatest value that is possible."
    )


# --------------------------------------------------------------------------------------------------------------- kinds


def kind_of_dtype(dtype: Any) -> str:
    """Return "number", "bool", "text", "date", "complex", "category" (a frame's own), or "cells": they must tell."""
    if hasattr(dtype, "is_temporal"):  # polars
        if dtype.is_temporal():
            return "date"
        if dtype.is_numeric():
            return "number"
        return {"String": "text", "Boolean": "bool", "Categorical": "category", "Enum": "category"}.get(
            type(dtype).__name__, "cells"
        )
    if hasattr(dtype, "categories"):  # pandas
        inner = kind_of_dtype(dtype.categories.dtype)
        return inner if inner in ("date", "complex") else "category"
    if type(dtype).__name__ == "PeriodDtype":
        return "date"
    if type(dtype).__name__ == "StringDtype":
        return "text"
    kinds = {
        "U": "text",
        "M": "date",
        "m": "date",
        "c": "complex",
        "b": "bool",
        "i": "number",
        "u": "number",
        "f": "number",
    }
    return kinds.get(dtype.kind, "cells")


def cells_of(column: Any) -> list[Any]:
    """Return a column's cells as objects, None for each hole."""
    if hasattr(column, "isna"):  # pandas
        values = column.to_numpy(dtype=object, copy=True)
        values[column.isna().to_numpy()] = None
        return list(values.tolist())
    values = column.to_list() if hasattr(column, "to_list") else column.astype(object).tolist()
    return [None if isinstance(value, (float, np.floating)) and value != value else value for value in values]


def _kind(cell_type: type) -> str:
    if issubclass(cell_type, str):
        return "text"
    if issubclass(cell_type, (bool, np.bool_)):
        return "bool"
    if issubclass(cell_type, (date, time, timedelta, np.datetime64, np.timedelta64)) or cell_type.__name__ == "Period":
        return "date"
    if issubclass(cell_type, Complex) and not issubclass(cell_type, Real):
        return "complex"
    return "number" if issubclass(cell_type, Number) else cell_type.__name__


def kinds_of(cells: Iterable[Any]) -> set[str]:
    """Return the kinds of the cells that are no holes: "text", "number", "bool", "date", "complex", or a type."""
    return {_kind(cell_type) for cell_type in set(map(type, cells)) - {type(None)}}


def _check_kinds(name: Any, kinds: set[str]) -> None:
    if "date" in kinds:
        raise TypeError(
            f"{called(name)} holds dates or times. Make numbers of them (for example seconds, hour of the day, "
            "weekday), or strings where each is a category, or leave the column out."
        )
    if "complex" in kinds:
        raise TypeError(f"{called(name)} holds complex numbers. Make columns of their parts, or leave the column out.")


def _check_mixture(name: Any, kinds: set[str], cells: list[Any]) -> None:
    if len(kinds) < 2 or kinds == {"bool", "number"}:  # what can be sorted
        return
    of = [None if cell is None else _kind(type(cell)) for cell in cells]
    ways = sorted((of.index(kind), kind) for kind in kinds)
    shown = " and ".join(f"row {row} has {cells[row]!r} ({kind}; such cells: {of.count(kind):,})" for row, kind in ways)
    raise TypeError(
        f"{called(name)} holds cells of several kinds: {shown}; rows count from 0. Make all of them numbers (NaN where "
        "there is none), or all of them strings."
    )


def levels_of(name: Any, cells: list[Any]) -> Counter[Any]:
    """Return how many cells each level has."""
    try:
        levels = Counter(cells)
    except TypeError:
        row = next(row for row, cell in enumerate(cells) if not (cell is None or getattr(cell, "__hash__", None)))
        raise TypeError(
            f"{called(name)} has {cells[row]!r} in row {row} (counted from 0). Categories are strings, numbers or "
            "bool: make strings of its cells, or leave the column out."
        ) from None
    del levels[None]
    return levels


# ------------------------------------------------------------------------------------------------------------ warnings


def number_in(text: str) -> float | None:
    """Return the finite number that a text is; None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and "_" not in text else None


def _warn_of_numbers(name: Any, levels: Counter[Any], cells: list[Any]) -> bool:
    """Warn of a category of text that is rather a column of numbers; return whether it is."""
    plain = {level for level in levels if number_in(level) is not None and not CODE.fullmatch(level)}
    comma = {level for level in levels if COMMA.fullmatch(level)}
    known, of_numbers = sum(levels.values()), sum(levels[level] for level in plain | comma)
    if 2 * of_numbers <= known:
        return False
    few = len(plain | comma)
    if few < SOME:
        return False
    if of_numbers == known:
        # Codes come again and again; measurements, which have a point or a comma, less so.
        measured = 2 * sum("." in level or level in comma for level in plain | comma) > few
        least = SOME if comma else MANY
        if few < least or not (2 * few > known or (measured and 10 * few > known)):
            return False
    with_comma = sum(levels[level] for level in comma)
    said = f"{of_numbers:,} of {known:,} cells are numbers"
    said += f" ({with_comma:,} with a decimal comma)" if comma else ""
    odd = next((row for row, cell in enumerate(cells) if not (cell is None or cell in plain or cell in comma)), None)
    if odd is not None:
        said += f", but row {odd} (counted from 0) has {cells[odd]!r}"
        remedy = "Make it a column of numbers, with NaN for such cells"
    elif comma:
        row = next(row for row, cell in enumerate(cells) if cell in comma)
        said += f", such as {cells[row]!r} in row {row} (counted from 0)"
        remedy = 'Make it a column of numbers (pandas.read_csv has decimal=",")'
    else:
        said += f", of {few:,} different values, though as text"
        remedy = "Make it a column of numbers"
    warnings.warn(
        f"{called(name)} is taken as categories: {said}. {remedy}; or, if it is meant so, list all columns of "
        "categories in 'categorical', this one too.",
        ColumnWarning,
        stacklevel=2,
    )
    return True


def _warn_of_many(name: Any, levels: Counter[Any], min_frequency: Any, n_rows: int) -> None:
    """Warn of a category whose levels nearly all differ, so that the rows to come have others."""
    least = 1 if min_frequency is None else min_frequency
    least = least * n_rows if isinstance(least, float) else least
    once = sum(count == 1 for count in levels.values())
    if len(levels) < MANY or not (2 * once > sum(levels.values()) if least <= 1 else max(levels.values()) < least):
        return
    if least <= 1:
        becomes, remedy = "each value becomes an input of its own, and rows to come have others", "set min_frequency"
    else:
        becomes, remedy = (
            "all come in fewer rows than min_frequency says, and become one constant",
            "lower min_frequency",
        )
    warnings.warn(
        f"{called(name)} holds {len(levels):,} different values in {n_rows:,} rows: {becomes}. Make numbers of it "
        f"where it has some (dates, times), leave it out, or {remedy}.",
        ColumnWarning,
        stacklevel=2,
    )
