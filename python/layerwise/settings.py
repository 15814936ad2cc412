"""Small frozen value objects for settings: what they share.

A settings object stores what it is given and does nothing else; `fit` checks it. It compares by value, prints as the
call that makes it, and has `get_params`, so that scikit-learn's clone and searches reach into it
(``pretraining__corruption__rate``). It cannot change: `replace` makes a new one.
"""

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

S = TypeVar("S", bound="Settings")


class Settings:
    """Base of the frozen dataclasses that hold settings."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Compare by value also where a value is an array, which the dataclass's own comparison cannot."""
        super().__init_subclass__(**options)
        cls.__eq__ = Settings.__eq__  # type: ignore[method-assign]

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is of the same class and has the same values."""
        if type(other) is not type(self):
            return NotImplemented
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return all(_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__: Any = None  # each dataclass has its own

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name; with `deep`, those of settings inside too, as ``outer__inner``."""
        params: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if deep and isinstance(value, Settings):
                params.update({f"{field.name}__{name}": inner for name, inner in value.get_params().items()})
            params[field.name] = value
        return params

    def replace(self: S, **params: Any) -> S:
        """Return a copy with some settings changed; ``corruption__rate=0.5`` reaches into nested settings.

        Raises
        ------
        ValueError
            If a name is not one of the settings, or leads into something that has none.
        """
        values = self.get_params(deep=False)
        return type(self)(**replace_nested(values, params, self))

    def __repr__(self) -> str:
        """Return the call that makes this object, without the settings that have their default value."""
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if not _same(getattr(self, field.name), field.default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return a is b or bool(a == b)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


def replace_nested(values: dict[str, Any], changes: dict[str, Any], owner: object) -> dict[str, Any]:
    """Return `values` with `changes` made; a change named ``outer__inner`` replaces inside the settings `outer`.

    Direct changes are made first, whatever their order, so that
    ``{"corruption__rate": 0.1, "corruption": Masking()}`` means what it says.
    """
    values = dict(values)
    nested: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        name, is_nested, inner = key.partition("__")
        if name not in values:
            raise ValueError(f"Invalid parameter {name!r} for {owner}. Valid parameters are: {sorted(values)!r}.")
        if is_nested:
            nested.setdefault(name, {})[inner] = value
        else:
            values[name] = value
    for name, inner_changes in nested.items():
        if not isinstance(values[name], Settings):
            raise no_settings(name, next(iter(inner_changes)), values[name], owner)
        values[name] = values[name].replace(**inner_changes)
    return values


# What has settings of its own, by the names of parameters that may also be None, a name or a number.
EXAMPLES = {
    "checkpoint": 'Checkpoint("run.checkpoint")',
    "corruption": "Masking(0.25)",
    "finetuning": "FineTuning()",
    "optimizer": "Adam()",
    "supervised_optimizer": "Adam()",
    "schedule": "LinearDecay()",
}


def no_settings(name: str, inner: str, value: Any, owner: object) -> ValueError:
    """Return the exception for a change of `inner` inside the parameter `name`, whose value has no settings."""
    return ValueError(
        f"Invalid parameter {name}__{inner} for {owner}: {name} is {value!r}, which has no settings of its own. "
        f"Give a settings object instead, for example {EXAMPLES.get(name, 'DenoisingAutoencoder()')}."
    )
