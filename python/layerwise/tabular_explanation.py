"""Why a row of a table is an anomaly, in the table's own columns and units: what `TabularPipeline.explain` does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from layerwise.explanation import ColumnError, Explanation, as_table

HOLE = "missing"  # what a cell without a value is called


def explain(columns: Any, cast: Any, detector: Any, row: Any, top: int | None) -> Explanation:
    """Return the detector's explanation of a row, each number in the units it had before it was scaled.

    Parameters
    ----------
    columns, cast : transformers
        The fitted steps "columns" and "float32" of a table's pipeline.
    detector : AnomalyDetector
        Its last step.
    row, top
        As `TabularPipeline.explain` has them.

    Returns
    -------
    Explanation
    """
    table = as_table(row)
    if hasattr(table, "infer_objects"):  # of a pandas Series, whose cells are objects
        table = table.infer_objects()
    found: Explanation = detector.explain(cast.transform(columns.transform(table)), top)
    cell = _cells_of(table)
    numbers, categories = (_places(columns, kind) for kind in ("numbers", "categories"))

    def line_of(line: ColumnError) -> ColumnError:
        if line.column in numbers:
            place, number = numbers[str(line.column)]
            value, expected = cell(place), _in_units(columns, number, line.expected)
            return ColumnError(place, HOLE if _is_hole(value) else float(value), expected, line.share)
        if line.column in categories:
            place, _ = categories[str(line.column)]
            value = cell(place)
            return ColumnError(place, HOLE if _is_hole(value) else str(value), line.expected, line.share)
        return line  # whether a number was missing

    return found.with_lines(map(line_of, found))


def _places(columns: Any, kind: str) -> dict[str, tuple[Any, int]]:
    """Return where the columns of a kind are in the table (by name, or by number) and among their kind."""
    names = getattr(columns, "feature_names_in_", None)
    (given,) = [numbers for name, _, numbers in columns.transformers_ if name == kind]
    places = [int(number) if names is None else names[number] for number in given]
    return {str(place): (place, number) for number, place in enumerate(places)}


def _is_hole(value: Any) -> bool:
    """Return whether a cell is None, NaN or pandas' NA (which is equal to nothing, and says so in its own way)."""
    return value is None or value is getattr(sys.modules.get("pandas"), "NA", None) or value != value


def _cells_of(table: Any) -> Callable[[Any], Any]:
    """Return what gives a cell of the only row by its column's name, or its number in an array."""
    if hasattr(table, "columns"):
        return lambda name: table[name].to_list()[0]
    return lambda number: np.asarray(table)[0, number]


def _in_units(columns: Any, number: int, value: Any) -> float:
    """Return the scaled value of a column of numbers in the table's units."""
    transformer = columns.named_transformers_["numbers"]
    scaled = np.zeros((1, transformer.n_features_in_))
    scaled[0, number] = value
    # Not the first step, the filling of holes, which has nothing to take back.
    return float(transformer[1:].inverse_transform(scaled)[0, number])
