"""What a checkpoint's JSON holds, and nothing else: whose fit it is, its stages, and where its trainings stand."""

import contextlib
import glob
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from layerwise.keeping import Position
from layerwise.persistence import files
from layerwise.persistence.parts import FormatError, Store, Tensors, fields_of
from layerwise.persistence.schema import decode_record, decode_stage, encode_record, encode_stage
from layerwise.stage import Stage


@dataclass
class Snapshot:
    """A fit on its way.

    Attributes
    ----------
    identity : dict of str to str
        What two fits must have in common to be the same, by name.
    seed : int
        The 64-bit key that all random numbers of the fit follow from.
    stages : list of Stage
        The finished ones.
    positions : dict of (stage, layer) to Position
        Of the trainings begun and not yet a finished stage.
    """

    identity: dict[str, str]
    seed: int
    stages: list[Stage] = field(default_factory=list)
    positions: dict[tuple[str, int | None], Position] = field(default_factory=dict)


def save(snapshot: Snapshot, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint; an older one is replaced whole or not at all. Raises OSError if it cannot be written."""
    tensors: Tensors = {}
    store = Store(tensors)
    content = {
        "identity": snapshot.identity,
        "seed": str(snapshot.seed),
        "stages": [encode_stage(stage, store, f"stage.{stage.layer}") for stage in snapshot.stages],
        "positions": [
            {"stage": stage, "layer": layer, **_encode_position(position, tensors, f"{stage}.{layer}")}
            for (stage, layer), position in snapshot.positions.items()
        ],
    }
    config = json.dumps(content, allow_nan=False, separators=(",", ":"))
    files.write(path, files.pack(files.CHECKPOINT, config, tensors), _prefix(os.path.realpath(path)))


def load(path: str | os.PathLike[str]) -> Snapshot:
    """Read a checkpoint; no code of the file is run. Raises FormatError, or OSError, as `layerwise.load` does."""
    return files.read(path, _decode)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of processes that ended while they wrote the checkpoint."""
    place = os.path.realpath(path)
    for leftover in glob.glob(glob.escape(os.path.join(os.path.dirname(place), _prefix(place))) + "*.tmp"):
        with contextlib.suppress(OSError):  # they do no harm
            os.unlink(leftover)


def _prefix(place: str) -> str:
    return f".layerwise-{hashlib.sha256(os.path.basename(place).encode()).hexdigest()[:12]}-"


def _encode_position(position: Position, tensors: Tensors, place: str) -> dict[str, Any]:
    names = {name: f"{place}.{name}" for name in position.arrays}
    tensors.update({names[name]: array for name, array in position.arrays.items()})
    return {
        "records": [encode_record(record) for record in position.records],
        "step": position.step,
        "sums": list(position.sums),
        "seconds": position.seconds,
        "ended": position.ended,
        "arrays": names,
    }


def _decode(data: bytes) -> Snapshot:
    content, tensors = files.unpack(files.CHECKPOINT, data)
    identity, seed, stages, positions = fields_of(content, "identity", "seed", "stages", "positions")
    if not all(isinstance(text, str) for text in [seed, *identity, *identity.values()]) or not 0 <= int(seed) < 2**64:
        raise FormatError("a checkpoint whose fit is not told as it should be")
    store = Store(tensors)
    snapshot = Snapshot(identity, int(seed), [decode_stage(stage, store) for stage in stages])
    store.take_out()
    for entry in positions:
        stage, layer, *rest = fields_of(
            entry, "stage", "layer", "records", "step", "sums", "seconds", "ended", "arrays"
        )
        if stage not in ("pretraining", "finetuning") or not (layer is None or type(layer) is int):
            raise FormatError(f"a training of the unknown stage {stage!r} or layer {layer!r}")
        snapshot.positions[stage, layer] = _decode_position(rest, tensors)
    if tensors:
        raise FormatError(f"arrays that nothing refers to: {sorted(tensors)}")
    return snapshot


def _decode_position(entry: list[Any], tensors: Tensors) -> Position:
    records, step, sums, seconds, ended, names = entry
    loss, weight = sums
    if type(step) is not int or step < 0 or type(ended) is not bool:
        raise FormatError(f"a training whose step is {step!r} or whose end is {ended!r}")
    if any(type(number) is not float for number in (loss, weight, seconds)):
        raise FormatError(f"a training with sums {sums!r} or seconds {seconds!r}")
    arrays = {name: tensors.pop(place) for name, place in names.items()}
    if any(array.ndim != 1 or array.dtype.kind != "f" for array in arrays.values()) or "parameters" not in arrays:
        raise FormatError("a training without parameters, or with arrays of another kind")
    return Position([decode_record(record) for record in records], step, (loss, weight), seconds, ended, arrays)
