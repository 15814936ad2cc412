"""What a denoising autoencoder does to its inputs (Vincent et al. 2010, section 3.3).

Noise is drawn afresh whenever a row is presented, the kept inputs are not rescaled, and the target stays clean. Which
random numbers a row gets follows from the seed, its position in the data and the step alone.
"""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from layerwise import _core, checks
from layerwise.checks import Parameter
from layerwise.column_groups import ColumnGroups
from layerwise.settings import Settings

Level = float | Sequence[float]  # one for all inputs, or one an input


class Corruption(Settings, ABC):
    """Base of the kinds of corruption; the first field of each is its level."""

    kind = ""
    greatest = 1.0  # level

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a setting is not allowed."""
        name, level = self._level()
        for one in level if checks.is_sequence(level) else [level]:
            checks.real(where.child(name), one, 0, self.greatest)

    def check_inputs(self, where: Parameter, n_inputs: int) -> None:
        """Raise InvalidParameterError if there is a level for each input, but not for `n_inputs`."""
        name, level = self._level()
        if checks.is_sequence(level) and len(level) != n_inputs:
            raise where.child(name).error(
                f"one number, or a sequence of {n_inputs} (one for each input of the layer)", level
            )

    def noise(
        self, low: float, high: float, emphasis: "Emphasis | None" = None, groups: ColumnGroups | None = None
    ) -> _core.Noise:
        """Return the engine's form, for inputs whose least and greatest possible values are `low` and `high`."""
        _, level = self._level()
        own = {"levels": [float(one) for one in level]} if checks.is_sequence(level) else {"level": float(level)}
        weights = {} if emphasis is None else emphasis.weights()
        exact, pairs = getattr(self, "exact", False), () if groups is None or self.kind != Swap.kind else groups.groups
        return _core.Noise(self.kind, low=low, high=high, exact=exact, groups=pairs, **own, **weights)

    def _level(self) -> tuple[str, Any]:
        name = fields(self)[0].name  # type: ignore[arg-type]
        return name, getattr(self, name)


@dataclass(frozen=True, repr=False)
class Masking(Corruption):
    """Set each input to 0 with probability `rate`.

    Parameters
    ----------
    rate : float in [0, 1] or a sequence of them, default=0.25
        One for all inputs, or one an input.
    exact : bool, default=False
        Set the same number of inputs of each row to 0, drawn at random: `rate` times their number, rounded (halves up).
        This is the "random subset of a fixed size" of Erhan et al. 2010 and of Vincent et al. 2008. It needs one rate.
    """

    rate: Level = 0.25
    exact: bool = False
    kind = "masking"

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a rate is not a probability, or many rates are to be exact."""
        super().check(where)
        if checks.boolean(where.child("exact"), self.exact) and checks.is_sequence(self.rate):
            raise where.child("rate").error("one number with exact=True", self.rate)


@dataclass(frozen=True, repr=False)
class Gaussian(Corruption):
    """Add normal noise of mean 0 and standard deviation `scale` to each input.

    Parameters
    ----------
    scale : float >= 0 or a sequence of them, default=0.1
        One for all inputs, or one an input.
    """

    scale: Level = 0.1
    kind = "gaussian"
    greatest = float("inf")


@dataclass(frozen=True, repr=False)
class SaltAndPepper(Corruption):
    """Set each input with probability `rate` to its least or its greatest possible value, by a fair coin.

    These are 0 and 1 for a first layer whose training inputs all lie in [0, 1], and above sigmoid or softmax layers;
    else the minimum and maximum of the layer's training inputs.

    Parameters
    ----------
    rate : float in [0, 1] or a sequence of them, default=0.25
        One for all inputs, or one an input.
    """

    rate: Level = 0.25
    kind = "salt_and_pepper"


@dataclass(frozen=True, repr=False)
class Swap(Corruption):
    """Replace each input with probability `rate` by the same column's value in another row of the training data.

    Each replaced input takes its value from a row of its own, any of the others alike, so that a column keeps its
    distribution whatever that is: the noise for tables (Jahrer 2017). Where the loss is by `ColumnGroups`, the columns
    of a category are replaced together, from one row, so that it stays one level; its rate is its first column's.

    Parameters
    ----------
    rate : float in [0, 1] or a sequence of them, default=0.15
        One for all inputs, or one an input.
    """

    rate: Level = 0.15
    kind = "swap"


@dataclass(frozen=True, repr=False)
class Emphasis(Settings):
    """Weights of a denoising autoencoder's loss for corrupted and for untouched inputs (Vincent et al. 2010, 3.4).

    An input's part of the reconstruction error is multiplied by `corrupted` if the noise fell on it (even where it
    left the value as it was) and by `clean` if not. The paper's names: "double" is ``Emphasis(1, 0.5)``, "full" is
    ``Emphasis(1, 0)``.

    Parameters
    ----------
    corrupted : float >= 0, default=1.0
        The paper's alpha.
    clean : float >= 0, default=0.5
        The paper's beta.
    """

    corrupted: float = 1.0
    clean: float = 0.5

    def check(self, where: Parameter) -> None:
        """Raise InvalidParameterError if a weight is negative, or both are 0."""
        corrupted = checks.real(where.child("corrupted"), self.corrupted, 0)
        clean = checks.real(where.child("clean"), self.clean, 0)
        if corrupted == clean == 0:
            raise where.child("corrupted").error("positive where clean is 0", self.corrupted)

    def weights(self) -> dict[str, Any]:
        """Return the engine's form."""
        return {"corrupted_weight": float(self.corrupted), "clean_weight": float(self.clean)}


BY_NAME: dict[str, type[Corruption]] = {kind.kind: kind for kind in (Masking, Gaussian, SaltAndPepper, Swap)}
EMPHASES = {"double": Emphasis(1.0, 0.5), "full": Emphasis(1.0, 0.0)}


def resolve(where: Parameter, value: Any) -> Corruption | None:
    """Return the corruption meant by a settings object, by a name such as "masking", or by None; it is checked."""
    if isinstance(value, str) and value in BY_NAME:
        value = BY_NAME[value]()
    if value is None:
        return None
    if not isinstance(value, Corruption):
        raise where.error(f"None, a corruption such as Masking(0.25), or one of {list(BY_NAME)}", value)
    value.check(where)
    return value


def resolve_emphasis(where: Parameter, value: Any) -> Emphasis | None:
    """Return the emphasis meant by a settings object, by "double" or "full", or by None; it is checked."""
    if isinstance(value, str) and value in EMPHASES:
        value = EMPHASES[value]
    if value is None:
        return None
    if not isinstance(value, Emphasis):
        raise where.error(f"None, an Emphasis, or one of {list(EMPHASES)}", value)
    value.check(where)
    return value
