"""What the schemas of all files are made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = dict[str, Array]


class FormatError(ValueError):
    """A file is not a Layerwise model file, is damaged, or is of an unknown version."""


class Store:
    """Arrays by name; one that several layers share is written once."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self._names: dict[int, str] = {}
        self._used: set[str] = set()

    def put(self, array: Array, name: str) -> str:
        """Store an array under `name`, unless it is stored already; return its name."""
        if id(array) not in self._names:
            self._names[id(array)] = name
            self.tensors[name] = np.ascontiguousarray(array)
        return self._names[id(array)]

    def get(self, name: Any, n_dimensions: int) -> Array:
        """Return the array of that name."""
        if not isinstance(name, str) or name not in self.tensors:
            raise FormatError(f"the array {name!r} is missing")
        array = self.tensors[name]
        if array.ndim != n_dimensions or 0 in array.shape:
            raise FormatError(f"the array {name!r} has the shape {array.shape}")
        self._used.add(name)
        return array

    def take_out(self) -> None:
        """Remove the arrays that were used."""
        for name in self._used:
            del self.tensors[name]


def fields_of(data: Any, *names: str) -> list[Any]:
    """Return the values of a JSON object that has exactly these names."""
    if not isinstance(data, dict) or set(data) != set(names):
        raise FormatError(f"unknown or missing fields: {sorted(data) if isinstance(data, dict) else data!r}")
    return [data[name] for name in names]


def known(table: dict[str, Any], name: Any, what: str) -> Any:
    """Return what a name of a file stands for in a closed table."""
    if not isinstance(name, str) or name not in table:
        raise FormatError(f"unknown {what} {name!r}")
    return table[name]
