"""Why a row of a table is an anomaly, in the table's own columns and units: what `TabularPipeline.explain` does."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwise import table_checks
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
    table = _one_row(row)
    found: Explanation = detector.explain(cast.transform(columns.transform(table)), top)
    numbers, categories = (_places(columns, kind) for kind in ("numbers", "categories"))

    def line_of(line: ColumnError) -> ColumnError:
        if line.column in numbers:
            place, where, number = numbers[str(line.column)]
            value, expected = _cell(table, place, where), _in_units(columns, number, line.expected)
            return ColumnError(place, HOLE if value is None else float(value), expected, line.share)
        if line.column in categories:
            place, where, _ = categories[str(line.column)]
            value = _cell(table, place, where)
            return ColumnError(place, HOLE if value is None else str(value), line.expected, line.share)
        return line  # whether a number was missing

    return found.with_lines(map(line_of, found))


def _one_row(row: Any) -> Any:
    """Return a row as a table; of a list or a pandas Series each cell stays what it is."""
    if isinstance(row, (list, tuple)) and np.ndim(row) == 1:
        return table_checks.as_table([list(row)])
    table = as_table(row)
    return table.infer_objects() if hasattr(table, "infer_objects") else table


def _cell(table: Any, place: Any, where: int) -> Any:
    """Return the only cell of a column, None for a hole: by its name, or where the table has no names as in the fit."""
    names = table_checks.names_of(table)
    return table_checks.cells_of(table_checks.column_of(table, names.index(place) if place in names else where))[0]


def _places(columns: Any, kind: str) -> dict[str, tuple[Any, int, int]]:
    """Return of the columns of a kind the name (or number), the place in the table, and that among their kind."""
    names = getattr(columns, "feature_names_in_", None)
    (given,) = [numbers for name, _, numbers in columns.transformers_ if name == kind]
    places = [(int(where) if names is None else names[where], int(where)) for where in given]
    return {str(place): (place, where, number) for number, (place, where) in enumerate(places)}


def _in_units(columns: Any, number: int, value: Any) -> float:
    """Return the scaled value of a column of numbers in the table's units."""
    transformer = columns.named_transformers_["numbers"]
    scaled = np.zeros((1, transformer.n_features_in_))
    scaled[0, number] = value
    # Not the first step, the filling of holes, which has nothing to take back.
    return float(transformer[1:].inverse_transform(scaled)[0, number])
