"""Tables with categories and holes: `tabular_pipeline` puts scikit-learn's own transformers before an estimator."""

from __future__ import annotations

import os
from numbers import Integral, Number, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from layerwise import checks, persistence, table_checks, table_levels, tabular_explanation
from layerwise.checks import Parameter
from layerwise.column_groups import ColumnGroups, groups_of, with_groups
from layerwise.explanation import Explanation
from layerwise.table_transformers import Levels, RankGauss

Array = NDArray[Any]

WHERE = Parameter("tabular_pipeline")


class TableColumns(ColumnTransformer):  # type: ignore[misc]
    """scikit-learn's ColumnTransformer, whose tables know what their columns are (`layerwise.ColumnGroups`).

    Its transformers are "numbers", "missing" and "categories", as `tabular_pipeline` makes them.
    """

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit all transformers and return the columns they make.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
        y : ignored
        **params : dict
            As scikit-learn routes them.

        Returns
        -------
        ndarray or dataframe of shape (n_samples, n_columns)
        """
        X = table_checks.as_table(X)
        table_checks.check_shape(X)
        chosen = {name: columns for name, _, columns in self.transformers}["categories"]
        places = chosen(X) if isinstance(chosen, Columns) else range(np.shape(X)[1])
        if isinstance(chosen, Columns):
            listed = not checks.is_auto(chosen.categorical)
            table_checks.check_columns(X, places, self.get_params().get("categories__min_frequency"), listed=listed)
        numbers = sorted({*range(np.shape(X)[1])} - {*places})
        X = table_checks.readable(X, numbers)
        try:
            made = super().fit_transform(X, y, **params)
        except (TypeError, ValueError, OverflowError) as error:
            self._say_which(X, numbers, error, "; or name the column in 'categorical', if it holds categories")
            raise
        return with_groups(made, self._groups())

    def transform(self, X: Any, **params: Any) -> Any:
        """Return the columns that the fitted transformers make.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
        **params : dict
            As scikit-learn routes them.

        Returns
        -------
        ndarray or dataframe of shape (n_samples, n_columns)
        """
        check_is_fitted(self)
        X = table_checks.as_table(X)
        table_checks.check_shape(X)
        numbers = self._places(X, "numbers")
        table_checks.check_numbers(X, numbers)
        X = table_checks.readable(X, numbers)
        categories = self._places(X, "categories")
        levels = self.named_transformers_["categories"].categories_ if categories else []
        if len(levels) == len(categories):  # if not, scikit-learn says which columns are missing
            X = table_levels.as_fitted(X, categories, levels)
        try:
            made = super().transform(X, **params)
        except (TypeError, ValueError, OverflowError) as error:
            self._say_which(X, numbers, error)
            raise
        return with_groups(made, self._groups())

    def _places(self, X: Any, transformer: str) -> list[int]:
        """Return where a table has the columns that a transformer was fitted on, but for those that it has not."""
        fitted = next(columns for name, _, columns in self.transformers_ if name == transformer)
        if hasattr(self, "feature_names_in_") and hasattr(X, "columns"):
            of = {name: number for number, name in enumerate(X.columns)}
            return [of[name] for name in self.feature_names_in_[fitted] if name in of]
        return [number for number in fitted if number < np.shape(X)[1]]

    @staticmethod
    def _say_which(X: Any, numbers: list[int], error: Exception, remedy: str = "") -> None:
        """Raise an error that names the cell, if one in the columns of numbers is what made the error."""
        better = table_checks.bad_number(table_checks.with_names(X, numbers), remedy)
        if better is not None:
            raise better from error

    def _groups(self) -> ColumnGroups | None:
        given = {name: self._input_names(columns) for name, _, columns in self.transformers_}
        groups = [("number", len(given["numbers"]))]
        names, levels = list(given["numbers"]), []
        if given["numbers"]:
            holes = self.named_transformers_["missing"].features_
            groups.append(("flag", len(holes)))
            taken = {*given["numbers"], *given["categories"]}
            names += [_flag_name(given["numbers"][number], taken) for number in holes]
        if given["categories"]:
            encoder = self.named_transformers_["categories"]
            levels = [_level_names(*found) for found in zip(encoder.categories_, _infrequent(encoder), strict=True)]
            groups += [("category", len(own)) for own in levels]
            names += given["categories"]
        kept = [(kind, count) for kind, count in groups if count > 0]
        return ColumnGroups(kept, names, levels).check(WHERE) if kept else None

    def _input_names(self, columns: Any) -> list[str]:
        of_table = getattr(self, "feature_names_in_", None)
        return [str(number if of_table is None else of_table[number]) for number in columns]


def _flag_name(name: str, taken: set[str]) -> str:
    """Return what the flag of a column with holes is called; the table may have a column of that name."""
    flag = f"{name} missing"
    while flag in taken:
        flag += " (flag)"
    return flag


def _infrequent(encoder: OneHotEncoder) -> list[Any]:
    """Return the levels of each category that count as one."""
    if encoder.min_frequency is None:
        return [None] * len(encoder.categories_)
    return list(encoder.infrequent_categories_)


def _level_names(levels: Array, infrequent: Array | None) -> list[str]:
    rare = set() if infrequent is None else {str(level) for level in infrequent}
    own = ["missing" if level is None or level != level else str(level) for level in levels if str(level) not in rare]
    return own + (["infrequent"] if rare else [])


def _as_float32(X: Any) -> Any:
    """Return a table of float32 that knows the same groups."""
    if hasattr(X, "astype"):  # NumPy, pandas
        return with_groups(X.astype(np.float32), groups_of(X))
    import polars

    return with_groups(X.cast(polars.Float32), groups_of(X))


class Columns:
    """Chooses a table's columns when a ColumnTransformer is fitted: the categories, or all others.

    Parameters
    ----------
    categorical : "auto" or list of str or int
    chosen : bool
        Whether to choose the categories.
    """

    def __init__(self, categorical: Any, *, chosen: bool) -> None:
        self.categorical, self.chosen = categorical, chosen

    def __call__(self, X: Any) -> list[int]:
        """Return the numbers of the columns (scikit-learn 1.6 finds no polars column by its name)."""
        named = hasattr(X, "columns")
        columns: list[Any] = list(X.columns) if named else list(range(np.shape(X)[1]))
        if isinstance(self.categorical, str):
            of = [_is_category(X[name] if named else np.asarray(X)[:, name]) for name in columns]
        else:
            unknown = [name for name in self.categorical if name not in columns]
            if unknown:
                raise ValueError(f"X has no column {unknown[0]!r}, which 'categorical' names. It has {columns}.")
            of = [name in self.categorical for name in columns]
        return [number for number, category in enumerate(of) if category == self.chosen]

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"Columns({self.categorical!r}, chosen={self.chosen})"


def _is_category(column: Any) -> bool:
    """Return whether a column holds anything but numbers: strings, categories, bool, or objects of several kinds."""
    dtype = column.dtype
    kind = getattr(dtype, "kind", None)  # of NumPy and of pandas
    if kind is None or hasattr(dtype, "is_numeric"):  # polars
        return not dtype.is_numeric()
    if kind == "O" and isinstance(dtype, np.dtype):  # not pandas' own strings and categories
        present = [value for value in column.tolist() if not (value is None or value is np.nan)]
        numbers = all(isinstance(value, Number) and not isinstance(value, bool) for value in present)
        return not (present and numbers)
    return kind not in "iuf"


class TabularPipeline(Pipeline):  # type: ignore[misc]
    """scikit-learn's Pipeline as `tabular_pipeline` makes it, which a model file can hold."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted pipeline to a model file; `layerwise.load` reads it.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        TypeError
            If the estimator is not one of this package, if a step or a setting of a step is not as `tabular_pipeline`
            made it, or if a category is neither a string, a number, a bool nor a hole.
        ValueError, OSError
            As for the estimators' `save`.
        """
        persistence.save(self, path)

    @available_if(lambda pipeline: hasattr(pipeline.steps[-1][1], "explain"))  # type: ignore[untyped-decorator]
    def explain(self, row: Any, top: int | None = None) -> Explanation:
        """Tell which columns make a row abnormal; for pipelines that end in an `AnomalyDetector`.

        Parameters
        ----------
        row : dataframe or array-like of shape (1, n_features), array-like of shape (n_features,), or a pandas Series
            As the table that was fitted.
        top : int, default=None
            Only so many columns, those with the greatest shares; None for all.

        Returns
        -------
        Explanation
            As that of `AnomalyDetector.explain`, in the table's own columns and units: what is observed are the cells
            ("missing" where there is no value), and what is expected of a number is scaled back. "NAME missing" is the
            flag that tells whether a number is missing: 1, and its expected probability.

        Raises
        ------
        ValueError
            If `row` is not one row of such a table, or `top` is not a positive integer.
        """
        steps = self.named_steps
        return tabular_explanation.explain(steps["columns"], steps["float32"], self.steps[-1][1], row, top)


SCALES = ("rank_gauss", "range", "standard")


def tabular_pipeline(
    estimator: Any, *, categorical: Any = "auto", min_frequency: Any = None, numbers: str = "rank_gauss"
) -> TabularPipeline:
    """Put what a table with categories and holes needs before an estimator.

    Numbers: holes take the median; then each column is scaled as `numbers` says. A flag for each column that had holes
    in training says where they were. Categories: a column of 0 and 1 for each level, a hole being a level too; a level
    that was not there in training is all zeros, or counts with the rare ones. Levels that were numbers in training and
    are text now ("1" for 1), or the reverse, count as the levels they can be read as; `ColumnWarning` if none can.
    All is fitted on the rows that `fit` gets, and comes out as float32.

    The estimator learns what each column is: unless its settings say otherwise, its first autoencoder rebuilds numbers,
    flags and categories each by the loss that fits them, and an `AnomalyDetector` judges and explains by them (see
    `ColumnGroups`).

    Parameters
    ----------
    estimator : estimator
        Such as PretrainedClassifier, PretrainedRegressor, StackedAutoencoder or AnomalyDetector; used as it is.
    categorical : "auto" or list of str or int, default="auto"
        The columns that hold categories, by name (by number in arrays). "auto": those that do not hold numbers
        (strings, categories, bool). Numbers that are text, or among which one cell is, are categories too: `fit` warns
        of that (`ColumnWarning`), unless the columns are listed here.
    min_frequency : int >= 1, float in (0, 1) or None, default=None
        Levels with fewer rows than that (or than that share of them) become one level, "infrequent". Without it each
        level is an input, and where nearly all differ (ids, dates as text; `fit` warns of them) the network is as wide
        as the table is long, and an `AnomalyDetector` calls every new row an anomaly: it never saw its level. With it
        such levels are all "infrequent", as those of new rows are then; but a column without other levels says nothing.
    numbers : {"rank_gauss", "range", "standard"}, default="rank_gauss"
        How columns of numbers are scaled. "rank_gauss": their quantiles are mapped to those of a normal distribution
        (1,000 quantiles, learned on at most 10,000 rows drawn with a fixed seed), then to mean 0 and variance 1; for
        columns of any shape. What lies beyond the greatest value counts as the greatest, and below the least as the
        least: an `AnomalyDetector` scores a value 1 % above the greatest as one a million times above it. Where such
        values matter, set "standard". "range": to [0, 1]; for pixels and other columns whose zero means something.
        "standard": to mean 0 and variance 1; with neither of these two are values cut off.

    Returns
    -------
    TabularPipeline
        A scikit-learn Pipeline that also has `save`. Steps "columns", "float32", and the estimator under its class name
        in lower case, so that ``pretrainedclassifier__pretraining__corruption__rate`` is a parameter.

    Raises
    ------
    InvalidParameterError
        At the call, if a parameter is not allowed.
    TypeError
        In `fit`, if a column holds dates, times or complex numbers, or text and numbers mixed.
    ValueError
        In `fit` and with new rows, if a column of numbers has a cell that is none or not finite (the error names column
        and row), if two columns have one name, or if there are no rows.

    Warns
    -----
    ColumnWarning
        In `fit`, if a column of categories rather holds numbers, or about as many levels as rows. With new rows, if the
        cells of a category are of another kind than its levels, and none can be read as one.

    Examples
    --------
    >>> from layerwise import PretrainedClassifier, tabular_pipeline
    >>> model = tabular_pipeline(PretrainedClassifier((200, 100))).fit(frame, y)  # doctest: +SKIP
    >>> model.save("people.layerwise")  # doctest: +SKIP
    """
    if not hasattr(estimator, "fit") or isinstance(estimator, type):
        raise WHERE.child("estimator").error("an estimator (an object with fit)", estimator)
    if not (isinstance(categorical, str) and categorical == "auto"):
        named = checks.is_sequence(categorical) and all(
            isinstance(name, str) or checks.is_number(name, Integral) for name in categorical
        )
        if not named:
            raise WHERE.child("categorical").error('"auto" or a list of column names or numbers', categorical)
        categorical = [name if isinstance(name, str) else int(name) for name in categorical]
    min_frequency = _checked_min_frequency(min_frequency)
    checks.choice(WHERE.child("numbers"), numbers, SCALES)
    of_numbers = Columns(categorical, chosen=False)
    columns = TableColumns(
        [
            (
                "numbers",
                Pipeline(
                    [
                        ("fill", SimpleImputer(strategy="median", keep_empty_features=True)),
                        *_scaling(numbers),
                    ]
                ),
                of_numbers,
            ),
            ("missing", MissingIndicator(error_on_new=False), of_numbers),
            (
                "categories",
                Levels(handle_unknown="infrequent_if_exist", min_frequency=min_frequency, sparse_output=False),
                Columns(categorical, chosen=True),
            ),
        ],
    )
    cast = FunctionTransformer(_as_float32, feature_names_out="one-to-one")
    return TabularPipeline([("columns", columns), ("float32", cast), (type(estimator).__name__.lower(), estimator)])


def _scaling(numbers: str) -> list[tuple[str, Any]]:
    if numbers == "range":
        return [("scale", MinMaxScaler())]
    # Standardised after rank-Gauss too: a value that many rows share at either end is 5.2 from 0.
    rank = [("rank", RankGauss(output_distribution="normal", random_state=0))] if numbers == "rank_gauss" else []
    return [*rank, ("scale", StandardScaler())]


def _checked_min_frequency(value: Any) -> int | float | None:
    if value is None:
        return None
    if checks.is_number(value, Integral) and value >= 1:
        return int(value)
    if checks.is_number(value, Real) and 0 < value < 1:
        return float(value)
    raise WHERE.child("min_frequency").error("None, a positive integer, or a number in (0, 1)", value)
