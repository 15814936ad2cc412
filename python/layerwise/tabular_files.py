"""How a model file holds a fitted `tabular_pipeline`: its settings, what its transformers learned, its estimator.

Reading one fits scikit-learn's transformers to a small made-up table that has the same columns, levels and holes, and
then puts the numbers in their places. So nothing of scikit-learn's own state is in the file, and any version that the
package works with can read it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.utils.validation import check_is_fitted

from layerwise.persistence.parts import FormatError, Tensors, fields_of
from layerwise.persistence.schema import decode_estimator, encode_estimator
from layerwise.tabular import Columns, TabularPipeline, tabular_pipeline

Array = NDArray[Any]

# What the steps for numbers learn, one a column (quantiles: one column a column); the reference quantiles are shared.
LEARNED = {
    "fill": ("statistics_",),
    "rank": ("quantiles_", "references_"),
    "standard": ("mean_", "var_", "scale_"),
    "range": ("data_min_", "data_max_", "data_range_", "min_", "scale_"),
}
LARGEST = 2**24  # cells of the made-up table
OTHER = object()  # a value that is no level


def encode(pipeline: TabularPipeline, tensors: Tensors) -> dict[str, Any]:
    """Return the JSON of a fitted pipeline; its arrays go into `tensors`."""
    check_is_fitted(pipeline)
    settings = _settings(pipeline)
    columns = pipeline.named_steps["columns"]
    places = {name: list(map(int, chosen)) for name, _, chosen in columns.transformers_ if name != "remainder"}
    learned: list[str] = []
    if places["numbers"]:
        for step, names in _steps(columns, settings["numbers"]):
            for name in names:
                tensors[f"columns.{len(learned)}"] = np.ascontiguousarray(getattr(step, name))
                learned.append(f"columns.{len(learned)}")
    levels = _encode_levels(columns.named_transformers_["categories"], places["categories"], _names(columns))
    if settings["min_frequency"] is not None and _rows(levels) * columns.n_features_in_ > LARGEST:
        raise ValueError("The categories have too many levels for a model file. Raise min_frequency.")
    content = {
        "n_columns": int(columns.n_features_in_),
        "names": _names(columns),
        "numbers": places["numbers"],
        "learned": learned,
        "holes": [int(place) for place in columns.named_transformers_["missing"].features_] if learned else [],
        "categories": places["categories"],
        "levels": levels,
    }
    estimator = encode_estimator(pipeline.steps[-1][1], tensors, "")
    return {"settings": settings, "columns": content, "estimator": estimator}


def decode(data: Any, tensors: Tensors) -> TabularPipeline:
    """Return the pipeline; takes the arrays it uses out of `tensors`."""
    settings, content, estimator = fields_of(data, "settings", "columns", "estimator")
    n_columns, names, numbers, learned, holes, categories, levels = fields_of(
        content, "n_columns", "names", "numbers", "learned", "holes", "categories", "levels"
    )
    _check(isinstance(settings, dict) and set(settings) == {"categorical", "min_frequency", "numbers"}, "settings")
    _check(type(n_columns) is int and n_columns == len(numbers) + len(categories) > 0, "columns")
    _check(_are_places([*numbers, *categories], n_columns), "columns")
    _check(_are_places(holes, len(numbers)), "holes")
    _check(names is None or (len(names) == n_columns and all(type(name) is str for name in names)), "names")
    _check(len(levels) == len(categories), "levels")
    kinds = [_decode_levels(entry) for entry in levels]
    rows = 2 if settings["min_frequency"] is None else _rows(levels)
    table = _example(rows, n_columns, [numbers[place] for place in holes], numbers, categories, kinds)

    pipeline = tabular_pipeline(decode_estimator(estimator, tensors), **settings)
    columns = pipeline.named_steps["columns"]
    _fit(columns, table, {"numbers": numbers, "missing": numbers, "categories": categories}, kinds)
    arrays = iter(learned)
    for step, names_of_step in _steps(columns, settings["numbers"]) if numbers else []:
        for name in names_of_step:
            setattr(step, name, _take(tensors, next(arrays, None), name, len(numbers)))
            if name == "quantiles_":
                step.n_quantiles_ = len(step.quantiles_)
    _check(next(arrays, None) is None, "arrays")
    made = ColumnTransformer.transform(columns, table)
    pipeline.named_steps["float32"].fit(made)
    _check(pipeline.steps[-1][1].n_features_in_ == made.shape[1], "columns for its network")
    if names is not None:
        _name(columns, np.array(names, dtype=object))
    return pipeline


# ------------------------------------------------------------------------------------------------------------ settings


def _settings(pipeline: TabularPipeline) -> dict[str, Any]:
    """Return the parameters of `tabular_pipeline` that make such a pipeline; TypeError if none do."""
    names = [name for name, _ in pipeline.steps[:-1]]
    if names != ["columns", "float32"]:
        raise _refused(f"the steps {names} before the estimator, where tabular_pipeline has ['columns', 'float32']")
    try:
        columns = pipeline.named_steps["columns"]
        chooser = next(chosen for name, _, chosen in columns.transformers if name == "categories")
        steps = dict({name: step for name, step, _ in columns.transformers}["numbers"].steps)
        min_frequency = columns.get_params()["categories__min_frequency"]
    except (AttributeError, KeyError, StopIteration, TypeError):
        raise _refused("a step 'columns' without its transformers of numbers and categories") from None
    if not isinstance(chooser, Columns):
        raise _refused(f"{chooser!r} as what chooses the columns of categories")
    numbers = "rank_gauss" if "rank" in steps else "standard" if hasattr(steps.get("scale"), "with_mean") else "range"
    settings = {"categorical": chooser.categorical, "min_frequency": min_frequency, "numbers": numbers}
    got, made = _leaves(pipeline), _leaves(tabular_pipeline(pipeline.steps[-1][1], **settings))
    for name in [*made, *got]:
        if got.get(name) != made.get(name):
            raise _refused(f"{name}={got.get(name, 'absent')}, where tabular_pipeline has {made.get(name, 'none')}")
    categorical = settings["categorical"]
    if not isinstance(categorical, str):
        settings["categorical"] = [name if isinstance(name, str) else int(name) for name in categorical]
    return settings


def _refused(got: str) -> TypeError:
    return TypeError(
        f"Only a pipeline whose steps are as tabular_pipeline makes them can be saved. Got {got}. Use the arguments of "
        "tabular_pipeline, or save the estimator alone: pipeline[-1].save(path)."
    )


def _leaves(pipeline: TabularPipeline) -> dict[str, str]:
    """Return the settings of all steps before the estimator that are not steps themselves."""
    return {
        f"{step}__{name}": repr(value.item() if isinstance(value, np.generic) else value)
        for step, transformer in pipeline.steps[:-1]
        for name, value in transformer.get_params().items()
        if not hasattr(value, "get_params") and not isinstance(value, list)
    }


def _steps(columns: Any, numbers: str) -> list[tuple[Any, tuple[str, ...]]]:
    """Return the fitted steps for numbers, each with the attributes to keep."""
    steps = columns.named_transformers_["numbers"].named_steps
    scaling = LEARNED["range" if numbers == "range" else "standard"]
    found = [(steps["fill"], LEARNED["fill"])]
    if numbers == "rank_gauss":
        found.append((steps["rank"], LEARNED["rank"]))
    return [*found, (steps["scale"], scaling)]


def _names(columns: Any) -> list[str] | None:
    names = getattr(columns, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


# -------------------------------------------------------------------------------------------------------------- levels


def _encode_levels(encoder: Any, categories: list[int], names: list[str] | None) -> list[dict[str, Any]]:
    if not categories:
        return []
    infrequent = [None] * len(categories) if encoder.min_frequency is None else encoder.infrequent_categories_
    entries = []
    for place, levels, rare in zip(categories, encoder.categories_, infrequent, strict=True):
        hole = bool(len(levels)) and _is_hole(levels[-1])
        values = [v.item() if isinstance(v, np.generic) else v for v in levels.tolist()[: len(levels) - hole]]
        if strange := [value for value in values if not (value is None or isinstance(value, (bool, int, float, str)))]:
            name = place if names is None else repr(names[place])
            kind = type(strange[0]).__name__
            raise TypeError(f"Column {name} has levels of {kind}, which cannot be saved; make them strings.")
        rare_places = [] if rare is None else np.flatnonzero(np.isin(levels, rare)).tolist()
        if rare is not None and hole and _is_hole(rare[-1]):
            rare_places.append(len(levels) - 1)
        dtype = "object" if levels.dtype.kind == "O" else levels.dtype.str
        if levels.dtype.kind == "U":
            dtype = f"{dtype[:2]}{_longest(values)}"
        entries.append(
            {
                "dtype": dtype,
                "values": values,
                "hole": hole,
                "rare": sorted(set(rare_places)),
            }
        )
    return entries


class _Levels:
    """The levels of a category: the array as scikit-learn has it, and the places of those that count as one."""

    def __init__(self, levels: Array, rare: list[int]) -> None:
        self.levels, self.rare = levels, rare
        self.frequent = np.delete(levels, rare)


def _decode_levels(entry: Any) -> _Levels:
    dtype, values, hole, rare = fields_of(entry, "dtype", "values", "hole", "rare")
    _check(isinstance(values, list) and isinstance(hole, bool), "levels")
    _check(all(value is None or type(value) in (bool, int, float, str) for value in values), "levels")
    levels = np.empty(len(values) + hole, dtype=object)
    levels[:] = [*values, np.nan] if hole else values
    _check(len(levels) > 0 and _are_places(rare, len(levels)), "levels")
    if dtype != "object":
        kind = np.dtype(dtype)
        _check(kind.kind in "biufU" and (kind.kind != "U" or kind.itemsize <= 4 * _longest(values)), "levels")
        levels = levels.astype(kind)
    return _Levels(levels, rare)


def _longest(values: list[Any]) -> int:
    return max([1, *(len(value) for value in values if isinstance(value, str))])


def _rows(entries: list[dict[str, Any]]) -> int:
    """Return how many rows show each frequent level once, but at least 2."""
    return max([2, *(len(entry["values"]) + int(entry["hole"]) - len(entry["rare"]) for entry in entries)])


def _is_hole(level: Any) -> bool:
    return isinstance(level, (float, np.floating)) and bool(np.isnan(level))


# --------------------------------------------------------------------------------------------------- the made-up table


def _example(
    rows: int, n_columns: int, with_holes: list[int], numbers: list[int], categories: list[int], kinds: list[_Levels]
) -> Array:
    """Return a table with a hole in each column that had some, and with each frequent level if it has the rows."""
    if rows > 2 and rows * n_columns > LARGEST:
        raise FormatError("a table with too many levels")
    table = np.empty((rows, n_columns), dtype=object)
    table[:, numbers] = 0.0
    table[0, with_holes] = np.nan
    for column, kind in zip(categories, kinds, strict=True):
        table[:, column] = OTHER
        shown = kind.frequent[:rows]
        table[: len(shown), column] = shown
    return table


def _fit(columns: Any, table: Array, places: dict[str, list[int]], kinds: list[_Levels]) -> None:
    """Fit the ColumnTransformer with the levels given, of which those that the table has not are infrequent."""
    chosen = columns.transformers
    given = {name: transformer for name, transformer, _ in chosen}
    columns.transformers = [(name, transformer, places[name]) for name, transformer in given.items()]
    encoder = given["categories"]
    min_frequency = encoder.min_frequency
    _check(min_frequency is not None or not any(kind.rare for kind in kinds), "levels")
    encoder.set_params(
        categories=[kind.levels.astype(object) for kind in kinds] if kinds else "auto",
        min_frequency=None if min_frequency is None else 1,
    )
    ColumnTransformer.fit_transform(
        columns, table
    )  # without this package's checks, which are not meant for such a table
    columns.transformers = chosen
    encoder.set_params(categories="auto", min_frequency=min_frequency)
    if not kinds:
        return
    fitted = columns.named_transformers_["categories"]
    found = [None] * len(kinds) if min_frequency is None else fitted.infrequent_categories_
    for kind, rare in zip(kinds, found, strict=True):
        _check((0 if rare is None else len(rare)) == len(kind.rare), "levels")
    fitted.set_params(categories="auto", min_frequency=min_frequency)
    fitted.categories_ = [kind.levels for kind in kinds]


def _name(columns: Any, names: Array) -> None:
    """Let the transformers know the columns' names, as if they had been fitted to a frame."""
    columns.feature_names_in_ = names
    for name, transformer, places in columns.transformers_:
        if name != "remainder" and len(places):
            first = transformer.steps[0][1] if name == "numbers" else transformer
            first.feature_names_in_ = names[places]


# --------------------------------------------------------------------------------------------------------- small parts


def _take(tensors: Tensors, name: Any, attribute: str, n_numbers: int) -> Array:
    _check(isinstance(name, str) and name in tensors, "arrays")
    array = tensors.pop(name)
    shape = {"quantiles_": (len(array), n_numbers), "references_": (len(array),)}.get(attribute, (n_numbers,))
    _check(array.dtype.kind == "f" and array.size > 0 and array.shape == shape, "arrays")
    _check(attribute == "statistics_" or bool(np.isfinite(array).all()), "numbers")
    return array


def _are_places(places: Any, count: int) -> bool:
    return (
        isinstance(places, list)
        and all(type(place) is int and 0 <= place < count for place in places)
        and len(set(places)) == len(places)
    )


def _check(fits: Any, what: str) -> None:
    if not fits:
        raise FormatError(f"a table's {what} that do not fit")
