"""Levels of a category that come as another kind than at fit: the string "1" for the number 1, or the reverse."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.checks import ColumnWarning
from layerwise.table_checks import called, cells_of, column_of, kind_of_dtype, kinds_of, levels_of, names_of, number_in

Array = NDArray[Any]

SHOWN = 3  # levels that a warning shows


def as_fitted(X: Any, places: Sequence[int], levels: Sequence[Array]) -> Any:
    """Return a table whose categories have levels of the kind they had at fit, where one can be read as the other.

    Warns (`ColumnWarning`) of a category all of whose cells are of another kind, and none of them a level even so.

    Parameters
    ----------
    X : dataframe or ndarray of shape (n_samples, n_features)
        Returned itself where there is nothing to do.
    places : sequence of int
        The numbers of the columns of categories.
    levels : sequence of ndarray
        Of each of them, as fitted.

    Returns
    -------
    dataframe or ndarray
    """
    names, changed = names_of(X), {}
    for place, own in zip(places, levels, strict=True):
        cells = _as_levels(names[place], column_of(X, place), own)
        if cells is not None:
            changed[place] = cells
    return _with_columns(X, changed) if changed else X


def _as_levels(name: Any, column: Any, levels: Array) -> Array | None:
    """Return the cells as the levels are, with the hole of the levels; None if they are of the same kind already."""
    known = [level for level in cells_of(levels) if level is not None]
    kinds, dtype = kinds_of(known), kind_of_dtype(column.dtype)
    text = kinds == {"text"}
    same = kinds if text else {"number", "bool"}
    if not known or not kinds <= same or (dtype in same):
        return None
    cells = cells_of(column)
    given = kinds_of(cells)
    holes = isinstance(column, np.ndarray) and None in cells  # None or NaN, which are one hole, but two to NumPy
    if given <= same and not holes:
        return None
    level_of = _texts(known) if text else _numbers(known)
    of = {cell: level_of(cell) for cell in levels_of(name, cells)}
    if given and not given & same and all(level is None for level in of.values()):
        row = next(row for row, cell in enumerate(cells) if cell is not None)
        more = ", …" if len(known) > SHOWN else ""
        warnings.warn(
            f"{called(name)} had {'strings' if text else 'numbers or bool'} as levels at fit "
            f"({', '.join(map(repr, known[:SHOWN]))}{more}), but row {row} (counted from 0) has {str(cells[row])!r} as "
            f"{' and '.join(sorted(given))}, and no row has one of the levels. All count as levels that training did "
            "not have: give the column as it was at fit.",
            ColumnWarning,
            stacklevel=2,
        )
    hole = next((level for level in levels.tolist() if level is None or level != level), np.nan)
    made = np.empty(len(cells), dtype=object)
    # A cell that is no level stays, as a level that training did not have.
    made[:] = [hole if cell is None else cell if of[cell] is None else of[cell] for cell in cells]
    return made


def _texts(known: list[Any]) -> Callable[[Any], Any]:
    """Return what finds the text that was the level of a number: the same text, or the only one that is that number."""
    by_text, by_number = set(known), dict[Any, Any]()
    for level in known:
        number = _number(level)
        by_number[number] = None if number in by_number else level  # of "1" and "01" neither

    def level_of(cell: Any) -> Any:
        if str(cell) in by_text:
            return str(cell)
        return by_number.get(cell) if kinds_of([cell]) == {"number"} else None

    return level_of


def _numbers(known: list[Any]) -> Callable[[Any], Any]:
    """Return what finds the number or bool that was the level of a text."""
    by_text, by_number = {str(level): level for level in known}, {level: level for level in known}

    def level_of(cell: Any) -> Any:
        if not isinstance(cell, str):
            return by_number.get(cell)
        text = cell.strip()
        return by_text[text] if text in by_text else by_number.get(_number(text))

    return level_of


def _number(text: str) -> int | float | None:
    number = number_in(text)
    try:
        return number if number is None else int(text)  # a float would round a long one
    except ValueError:
        return number


def _with_columns(X: Any, changed: dict[int, Array]) -> Any:
    if hasattr(X, "isetitem"):  # pandas
        X = X.copy(deep=False)
        for place, cells in changed.items():
            X.isetitem(place, cells)
    elif hasattr(X, "with_columns"):
        import polars

        own = [polars.Series(X.columns[place], cells.tolist(), dtype=polars.Object) for place, cells in changed.items()]
        X = X.with_columns(own)
    else:
        X = X.astype(object)
        for place, cells in changed.items():
            X[:, place] = cells
    return X
