"""What the columns of a table are: numbers, flags, and categories spread over one column a level.

`ColumnGroups` says it to an autoencoder, which then gives each group the loss that fits it. The arrays and frames that
`tabular_pipeline` makes carry their groups along, so that nobody has to count columns.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layerwise import checks
from layerwise.checks import Parameter
from layerwise.settings import Settings

Array = NDArray[Any]

KINDS = ("number", "flag", "category")
IN_FRAMES = "layerwise.column_groups"  # the key in the attrs of pandas frames
ON_FRAMES = "_layerwise_column_groups"  # the attribute of frames that have no attrs (polars)


class Variable(NamedTuple):
    """A column of the table that the user had: its kind, its columns here, its name, and what these stand for."""

    kind: str
    columns: slice
    name: str | None
    levels: tuple[str, ...] | None


@dataclass(frozen=True, repr=False)
class ColumnGroups(Settings):
    """The reconstruction loss of a table's columns by their kind, for the `loss` of an autoencoder.

    The loss of a row is the sum of the squared errors of numbers, of the sigmoid cross-entropies of flags, and of the
    softmax cross-entropy of each category over its levels: the likelihoods that fit the kinds (Nazábal et al.
    2020). Reconstructions are numbers as they are, the probability that a flag is 1, and the probability of each
    level. It holds for the first layer; a single value in the settings leaves the others as "auto". Its decoder is
    linear in the logits, tied or not.

    `tabular_pipeline` tells its estimator the groups; with ``loss="auto"`` they are taken.

    Parameters
    ----------
    groups : sequence of (kind, count) pairs, default=()
        What the columns are, from the first on; fitting refuses the default. ("number", n) and ("flag", n) are n
        columns of that kind, ("category", n) is one category with n levels, each a column of 0 and 1 of which one is 1.
        A row with no 1 in a category is one whose level is not known; the category then adds nothing.
    names : sequence of str or None, default=None
        Names of the numbers, flags and categories, in their order (one for a category), for explanations.
    levels : sequence of sequences of str or None, default=None
        Names of the levels of each category.

    Examples
    --------
    >>> from layerwise import ColumnGroups, DenoisingAutoencoder
    >>> loss = ColumnGroups([("number", 6), ("flag", 2), ("category", 9), ("category", 16)])
    >>> settings = DenoisingAutoencoder(loss=loss)
    """

    groups: Sequence[tuple[str, int]] = ()
    names: Sequence[str] | None = None
    levels: Sequence[Sequence[str]] | None = None

    def check(self, where: Parameter) -> "ColumnGroups":
        """Return the same as tuples of str and int, if all is as it should be."""
        groups = tuple(check_groups(where.child("groups"), self.groups))
        names = None if self.names is None else _check_names(where.child("names"), self.names)
        n_variables = sum(1 if kind == "category" else count for kind, count in groups)
        if names is not None and len(names) != n_variables:
            raise where.child("names").error(f"None or {n_variables} names", self.names)
        levels, widths = None, [count for kind, count in groups if kind == "category"]
        if self.levels is not None:
            place = where.child("levels")
            if not checks.is_sequence(self.levels) or [_length(one) for one in self.levels] != widths:
                raise place.error(f"None or names for {len(widths)} categories of {widths} levels", self.levels)
            levels = tuple(_check_names(place, one) for one in self.levels)
        return ColumnGroups(groups, names, levels)

    @property
    def n_columns(self) -> int:
        """How many columns there are."""
        return sum(count for _, count in self.groups)

    def of_kind(self, kind: str) -> NDArray[np.bool_]:
        """Return which columns are of a kind."""
        return np.repeat([own == kind for own, _ in self.groups], [count for _, count in self.groups])

    def categories(self) -> list[slice]:
        """Return the columns of each category."""
        return [variable.columns for variable in self.variables() if variable.kind == "category"]

    def variables(self) -> Iterator[Variable]:
        """Return the columns that the table had, in order."""
        names = iter(self.names or ())
        levels = iter(self.levels or ())
        first = 0
        for kind, count in self.groups:
            width = count if kind == "category" else 1
            for begin in range(first, first + count, width):
                own = next(levels, None) if kind == "category" else None
                columns = slice(begin, begin + width)
                yield Variable(kind, columns, next(names, None), None if own is None else tuple(own))
            first += count


def check_groups(where: Parameter, groups: Any) -> list[tuple[str, int]]:
    """Return checked (kind, count) pairs."""
    allowed = f"a non-empty sequence of (kind, count) pairs, kind one of {list(KINDS)}, count a positive integer"
    if not isinstance(groups, (list, tuple)) or len(groups) == 0:
        raise where.error(allowed, groups)
    pairs = []
    for pair in groups:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or pair[0] not in KINDS:
            raise where.error(allowed, groups)
        if not checks.is_number(pair[1], Integral) or not 1 <= pair[1] < 2**31:
            raise where.error(allowed, groups)
        pairs.append((str(pair[0]), int(pair[1])))
    return pairs


def warn_of_shares(layer: int, groups: ColumnGroups, X: Array) -> None:
    """Warn if a flag or a level has values outside [0, 1], which the cross-entropies cannot rebuild."""
    shares = X[:, ~groups.of_kind("number")]
    if shares.size == 0 or (shares.min() >= 0 and shares.max() <= 1):
        return
    warnings.warn(
        f"layer {layer}: flags and levels of categories are rebuilt as probabilities, but their targets lie in "
        f"[{shares.min():.4g}, {shares.max():.4g}]. Leave these columns as 0 and 1, and scale the numbers alone.",
        checks.ScaleWarning,
        stacklevel=4,
    )


def covering(where: Parameter, groups: Any, n_columns: int) -> list[tuple[str, int]]:
    """Return checked pairs that cover so many columns; none for 0."""
    if n_columns == 0 and len(groups) > 0:
        raise where.error('empty unless name="mixed"', groups)
    pairs = check_groups(where, groups) if n_columns > 0 else []
    if sum(count for _, count in pairs) != n_columns:
        raise where.error(f"groups of {n_columns} columns in all", groups)
    return pairs


def _length(value: Any) -> int:
    return len(value) if checks.is_sequence(value) else -1


def _check_names(where: Parameter, names: Any) -> tuple[str, ...]:
    if not checks.is_sequence(names) or not all(isinstance(name, str) for name in names):
        raise where.error("a sequence of strings", names)
    return tuple(str(name) for name in names)


# --- tables that know their groups ----------------------------------------------------------------------------------


class GroupedArray(np.ndarray[Any, Any]):
    """A matrix that knows its `ColumnGroups`; so do its rows, its copies and what is pickled."""

    _groups: ColumnGroups | None = None

    def __array_finalize__(self, made_from: Any) -> None:
        """Take the groups over, if this has as many columns."""
        groups = getattr(made_from, "_groups", None)
        self._groups = groups if groups is not None and self.shape[1:] == (groups.n_columns,) else None

    def __getitem__(self, key: Any) -> Any:
        """Return rows with the groups, and anything else, whose columns may be others, without."""
        part = super().__getitem__(key)
        return part.view(np.ndarray) if isinstance(key, tuple) and isinstance(part, np.ndarray) else part

    def __reduce__(self) -> Any:
        return with_groups, (self.view(np.ndarray), self._groups)


def with_groups(X: Any, groups: ColumnGroups | None) -> Any:
    """Return a matrix or frame that knows its groups: without copying its numbers, and X itself if they are None."""
    if groups is None:
        return X
    if isinstance(X, np.ndarray):
        known = X.view(GroupedArray)
        known._groups = groups
        return known
    if hasattr(X, "attrs"):  # plain values, which pandas can write to files
        X.attrs[IN_FRAMES] = {name: _lists(value) for name, value in groups.get_params(deep=False).items()}
    else:
        setattr(X, ON_FRAMES, groups)
    return X


def groups_of(X: Any) -> ColumnGroups | None:
    """Return the groups that a matrix or frame knows, or None if it knows none that fit its columns."""
    groups = X._groups if isinstance(X, GroupedArray) else getattr(X, ON_FRAMES, None)
    attrs = getattr(X, "attrs", None)
    if isinstance(attrs, dict) and isinstance(attrs.get(IN_FRAMES), dict):
        groups = ColumnGroups(**attrs[IN_FRAMES])
    if groups is None or X.shape[1:] != (groups.n_columns,):
        return None
    return groups.check(Parameter("the table's columns"))


def _lists(value: Any) -> Any:
    return [_lists(one) for one in value] if isinstance(value, (list, tuple)) else value
