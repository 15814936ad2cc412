"""The pretraining cache: layers that an earlier fit pretrained on the same rows with the same settings."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sklearn.utils.validation import check_memory

from layerwise.checks import Parameter
from layerwise.estimators import identity
from layerwise.estimators.continuing import Architecture
from layerwise.estimators.watching import Watch
from layerwise.stage import Stage


def resolve(where: Parameter, value: Any) -> Any:
    """Return the joblib.Memory meant by a path, or one that was given; None for None."""
    if value is None:
        return None
    given = os.fspath(value) if isinstance(value, os.PathLike) else value
    allowed = "None, the path of a folder that can be written, or a joblib.Memory"
    if not (isinstance(given, str) and given) and (isinstance(given, type) or not hasattr(given, "cache")):
        raise where.error(allowed, value)
    try:
        if isinstance(given, str):
            os.makedirs(given, exist_ok=True)
    except (OSError, ValueError) as error:
        raise where.error(allowed, value) from error
    return check_memory(given)


def warn_of_seeds(random_state: Any) -> None:
    """Warn, from within a fit's pretraining, where no fit will find anything again."""
    if random_state is None:
        warnings.warn(
            "memory finds nothing again with random_state=None, which starts each fit differently. Give "
            "random_state an integer.",
            UserWarning,
            stacklevel=7,
        )


class _Unfinished(Exception):  # noqa: N818 (nothing went wrong)
    """Carries stages past joblib, which would remember them."""

    def __init__(self, stages: list[Stage]) -> None:
        super().__init__()
        self.stages = stages


def _pretrained(key: str, train: Callable[[], list[Stage]]) -> list[Stage]:  # noqa: ARG001 (what is remembered by)
    """Return the stages of that key; joblib remembers them."""
    return train()


def stages(
    memory: Any,
    shape: Architecture,
    settings: Sequence[Any],
    rest: Sequence[str],
    trainer: Iterator[Stage] | None,
    pretrain: Callable[[Sequence[Stage]], Iterator[Stage]],
    done: Sequence[Stage],
    show: Watch,
) -> Iterator[Stage]:
    """Yield the stages above those done, from the cache as far as it has them.

    A layer is found by the settings of all layers up to it, whatever stands above; layers that are pretrained at the
    same time are found together. What a callback or the clock ended early is not remembered.

    Parameters
    ----------
    memory : joblib.Memory
    shape : Architecture
    settings : sequence of settings
        Checked, one a layer.
    rest : sequence of str
        All else that the layers depend on: rows, weights, seed, the kind of pretraining.
    trainer : iterator of Stage
        Pretrains the layers above those done.
    pretrain : callable on a list of stages
        Returns such an iterator for other stages done.
    done : sequence of Stage
    show : Watch
        Is told what came from the cache, and what did not.
    """
    of_layer = [
        str((size, kind, sorted(identity.of_parameters({"start": start, "settings": layer}).items())))
        for size, kind, start, layer in zip(shape.sizes, shape.kinds, shape.starts, settings, strict=True)
    ]
    simultaneous = any(getattr(layer, "simultaneous", False) for layer in settings)
    remember = memory.cache(_pretrained, ignore=["train"])
    reached = list(done)
    while len(reached) < len(of_layer):
        at_once = len(of_layer) - len(reached) if simultaneous else 1
        last = len(reached) + at_once
        ran = False

        def train(count: int = at_once, last: int = last) -> list[Stage]:
            nonlocal trainer, ran
            ran = True
            trainer = pretrain(list(reached)) if trainer is None else trainer
            new = [next(trainer) for _ in range(count)]
            asked = [layer.epochs for layer in settings[last - count : last]]
            if any(len(stage.history) < epochs for stage, epochs in zip(new, asked, strict=True)):
                raise _Unfinished(new)
            return new

        try:
            new = remember(identity.checksum([*rest, *of_layer[:last]]), train)
        except _Unfinished as unfinished:
            new = unfinished.stages
        names = f"layer {last}" if at_once == 1 else f"layers {last - at_once + 1} to {last}"
        if not ran:
            trainer = None
            new = [replace(stage, from_cache=True) for stage in new]
        show.report(f"{names}: {'not yet in' if ran else 'taken from'} the pretraining cache")
        reached.extend(new)
        yield from new
