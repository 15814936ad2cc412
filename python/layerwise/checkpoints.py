"""Checkpoints: a file from which a fit that was ended by anything, at any step, goes on with the same bits."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from layerwise import checks
from layerwise.checks import Parameter
from layerwise.keeping import Keeper, Position
from layerwise.persistence import checkpoint as file
from layerwise.persistence.checkpoint import Snapshot
from layerwise.persistence.parts import FormatError
from layerwise.settings import Settings
from layerwise.stage import Stage
from layerwise.training import EpochRecord

ONE_FIT = (
    "One file serves one fit: the clones of a search, a cross-validation or `compare` are fits of their own and take "
    "checkpoint=None (memory spares them pretraining the same layers again)."
)
OTHERWISE = "Delete the file or give another path to begin anew."


@dataclass(frozen=True, repr=False)
class Checkpoint(Settings):
    """Where and how often a fit writes down where it stands.

    Parameters
    ----------
    path : str or path-like
        The file. It is replaced whole or not at all, so that what ends the process costs what was done since the last
        one is written, and nothing else. One file serves one fit: what a search, a cross-validation or `compare` fits
        are clones on other rows, so the second of them refuses the file of the first, and two at the same time
        notice each other. Give such an estimator none; its `memory` keeps the pretrained layers.
    every_seconds : float >= 0, default=60.0
        How long after one was written the next is written, at the next step of the training. 0: after each step.

    Examples
    --------
    >>> from layerwise import Checkpoint, PretrainedClassifier
    >>> model = PretrainedClassifier(checkpoint=Checkpoint("digits.checkpoint", every_seconds=300), random_state=0)
    >>> model.fit(X, y)  # and again, in another process: goes on, or is finished at once  # doctest: +SKIP
    """

    path: str | os.PathLike[str]
    every_seconds: float = 60.0


def resolve(where: Parameter, value: Any) -> Checkpoint | None:
    """Return the settings meant by None, a path, or a `Checkpoint`; they are checked."""
    if value is None:
        return None
    given = value if isinstance(value, Checkpoint) else Checkpoint(value)
    place = where.child("path") if isinstance(value, Checkpoint) else where
    allowed = "the path of a file" if isinstance(value, Checkpoint) else "None, the path of a file, or a Checkpoint"
    path = os.fspath(given.path) if isinstance(given.path, os.PathLike) else given.path
    if not isinstance(path, str) or not path or "\0" in path:
        raise place.error(allowed, given.path)
    if os.path.exists(path) and not os.path.isfile(path):  # a folder, a device, a pipe
        raise place.error(f"{allowed}; what is there already must be an ordinary file", given.path)
    checks.real(where.child("every_seconds"), given.every_seconds, 0)
    return given


class NotWrittenError(OSError):
    """A checkpoint could not be written. The estimator keeps what it would after Ctrl-C."""


class FileKeeper(Keeper):
    """Writes where a fit stands to a file, and lets a later one go on from there.

    Parameters
    ----------
    settings : Checkpoint
        Checked.
    identity : dict of str to str
        What another fit must have in common with this one to go on from its checkpoint, by name.
    seed : int
        The 64-bit key of this fit.
    any_seed : bool
        Whether this fit may take another key, that of the checkpoint it finds.

    Attributes
    ----------
    seed : int
        The fit's key.
    found : bool
        Whether there was a checkpoint to go on from.

    Raises
    ------
    ValueError
        If the checkpoint is of another fit; the message names what differs.
    FormatError
        If the file is no checkpoint, or is damaged.
    OSError
        If it cannot be read or, as `NotWrittenError`, written.
    """

    def __init__(self, settings: Checkpoint, identity: dict[str, str], seed: int, any_seed: bool) -> None:
        super().__init__()
        self._path, self._every = os.fspath(settings.path), float(settings.every_seconds)
        self._identity, self.seed = identity, seed
        self._positions: dict[tuple[str, int | None], Position] = {}
        self._captures: dict[tuple[str, int | None], Callable[[], Position | None]] = {}
        self._changed = True
        self._own = _stamp(self._path)  # of the file as this fit read or wrote it
        self.found = self._own is not None
        if self.found:
            self._take_up(self._read(), any_seed)
        self._rate = 0.0  # steps a second, as last seen
        self._asked = (perf_counter(), 0)
        file.remove_leftovers(self._path)
        self._save()  # a place that cannot be written is told before any work

    def _read(self) -> Snapshot:
        try:
            return file.load(self._path)
        except FormatError as error:
            raise FormatError(
                f"{error}. Give another path to begin anew, or delete the file if nobody needs it."
            ) from error

    def _take_up(self, before: Snapshot, any_seed: bool) -> None:
        if any_seed:
            self.seed = before.seed
        then, now = before.identity | _shown(before.seed), self._identity | _shown(self.seed)
        if then != now:
            differing = "; ".join(_differences(then, now))
            raise ValueError(f"{self._path} is the checkpoint of another fit: {differing}. {ONE_FIT} {OTHERWISE}")
        self.stages, self._positions = before.stages, before.positions

    def standing(self) -> str:
        """Return in words where the fit goes on."""
        told = [f"after {len(self.stages)} pretrained layers"]
        for (stage, layer), position in self._positions.items():
            place = stage if layer is None else f"{stage} of layer {layer}"
            steps = f" and {position.step} steps" if position.step else ""
            told.append(f"{place}: {len(position.records)} epochs{steps}")
        return ", ".join(told)

    def records(self) -> list[EpochRecord]:
        """Return the epochs done before."""
        done = [record for stage in self.stages for record in stage.history]
        return done + [record for position in self._positions.values() for record in position.records]

    def begin(self, stages: Sequence[Stage]) -> None:
        """Take note of layers that were pretrained before the fit, unless the checkpoint has them already."""
        self.stages = self.stages or list(stages)

    def position(self, stage: str, layer: int | None) -> Position:
        """Return where a training stood in the checkpoint that was found."""
        return self._positions.get((stage, layer), Position())

    def follow(self, stage: str, layer: int | None, capture: Callable[[], Position | None]) -> None:
        """Take note of a training that begins, and of how to learn where it stands."""
        self._captures[stage, layer] = capture
        if (stage, layer) in self._positions:  # its arrays are where they belong
            self._positions[stage, layer] = replace(self._positions[stage, layer], arrays={})
        self._rate = 0.0

    def stretch(self, steps: int) -> int:
        """Return how many steps to do until the next checkpoint is due, by the speed of the last ones."""
        left = self._due - perf_counter()
        count = max(1, int(min(steps, self._rate * left)))  # the product may be infinite
        self._asked = (perf_counter(), count)
        self._changed = True
        return count

    def look(self) -> None:
        """Write a checkpoint if it is due."""
        now = perf_counter()
        began, count = self._asked
        self._rate = count / max(now - began, 1e-9)
        if now >= self._due:
            self._save()

    def done(self, stage: Stage) -> None:
        """Take note of a finished pretrained layer."""
        self.stages.append(stage)
        for kept in (self._captures, self._positions):
            kept.pop(("pretraining", stage.layer), None)
        self._changed = True

    def finish(self) -> None:
        """Write a checkpoint if anything has happened since the last one."""
        if self._changed:
            self._save()

    def last_word(self) -> str:
        """Write where a fit stands that an exception has ended; return in words what the file is worth."""
        try:
            known = self._save()
        except NotWrittenError as error:
            return f"{error.strerror}: {self._path}"
        standing = "what was reached" if known else "what was reached when it was last written"
        return f"The checkpoint {self._path} has {standing}: run the same again to go on from it."

    def _save(self) -> bool:
        """Write the file; return False, and write nothing, where a training does not know where it stands."""
        captured = {place: capture() for place, capture in self._captures.items()}
        if None in captured.values():
            return False
        positions: dict[Any, Any] = self._positions | captured
        snapshot = Snapshot(
            self._identity, self.seed, self.stages, {place: at for place, at in positions.items() if at.begun}
        )
        before = _stamp(self._path)
        if before not in (None, self._own):
            told = "Another fit has written its checkpoint here since this one began. One file serves one fit"
            raise NotWrittenError(errno.EEXIST, told, self._path)
        try:
            file.save(snapshot, self._path)
        except OSError as error:
            standing = "there was none before" if before is None else "the older one is as it was"
            told = f"The checkpoint could not be written ({error.strerror or error}); {standing}"
            raise NotWrittenError(error.errno, told, self._path) from error
        self._own = _stamp(self._path)
        self._due, self._changed = perf_counter() + self._every, False
        return True


def _shown(seed: int) -> dict[str, str]:
    return {"random_state": f"the key {seed}"}


def _stamp(path: str) -> tuple[int, int] | None:
    """Return what tells a file from one that has replaced it; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return in words what differs; of settings of another kind only that."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    told = []
    for name in names:
        outer = name.split("__")
        if any("__".join(outer[:depth]) in names for depth in range(1, len(outer))):
            continue
        shown = name
        if name == "X" and now.get("estimator") == "AnomalyDetector":  # this X is what standardize makes of the rows
            if "standardize" in names:
                continue
            shown = name if "standardize" in now else "X or standardize"
        told.append(f"{shown} (then {then.get(name, 'unknown')}, now {now.get(name, 'unknown')})")
    return told
