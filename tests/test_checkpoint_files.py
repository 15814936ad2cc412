"""What a checkpoint survives, and which files are refused."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altering import altered, assign
from standing import X, Y, make, state, written

from layerwise import (
    AnomalyDetector,
    Autoencoder,
    Checkpoint,
    FineTuning,
    FormatError,
    InvalidParameterError,
    load,
    persistence,
    training,
)
from layerwise.persistence import checkpoint as files

WHOLE = state(make().fit(X, Y))


# --- disks ------------------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    seen: list[Any] = []
    model = make(checkpoint=tmp_path / "no" / "c", callbacks=seen.append)
    told = r"The checkpoint could not be written .its folder does not exist.; there was none before"
    with pytest.raises(OSError, match=told):
        model.fit(X, Y)
    assert seen == []
    assert not hasattr(model, "stages_")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", tmp_path):
        for given, name in ((path, "checkpoint"), (Checkpoint(path), "checkpoint__path")):
            pattern = f"The '{name}' parameter of .* what is there already must be an ordinary file. Got "
            with pytest.raises(InvalidParameterError, match=pattern):
                make(checkpoint=given).fit(X, Y)


@pytest.mark.parametrize("number", [2, 6, 9, 14, 15])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_costs_nothing(number: int, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = tmp_path / "c", list[int]()
    real = getattr(os, function)

    def full(*args: Any) -> None:
        calls.append(1)
        if len(calls) >= number * (2 if function == "fsync" else 1):  # file and folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*args)

    model = make(checkpoint=Checkpoint(path, 0))
    with monkeypatch.context() as patch:
        patch.setattr(persistence.files.os, function, full)
        with pytest.raises(
            OSError, match=r"could not be written .No space left on device.; the older one is as it was"
        ) as info:
            model.fit(X, Y)
    assert info.value.errno == errno.ENOSPC
    if number > 8:
        assert re.search("keeps|are kept", info.value.__notes__[0])
        assert model.stages_
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]
    assert state(make(checkpoint=path).fit(X, Y)) == WHOLE


def test_a_full_disk_leaves_a_detector_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(record: Any, *_: Any) -> None:
        if record.epoch == 3 and record.stage == "finetuning":
            monkeypatch.setattr(persistence.files.os, "replace", fail)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    given = {"pretraining": Autoencoder(epochs=1), "finetuning": FineTuning(epochs=5), "random_state": 0}
    detector = AnomalyDetector((4, 2), checkpoint=Checkpoint(tmp_path / "c", 0), **given)
    monkeypatch.setattr(training.EarlyStopping, "__call__", lambda self, record: full(record))
    detector.set_params(finetuning__early_stopping=True, finetuning__n_iter_no_change=9)
    with pytest.raises(OSError, match="could not be written") as info:
        detector.fit(X)
    assert len(info.value.__notes__) == 1
    assert "interrupted after 2 epochs" in info.value.__notes__[0]
    assert set(detector.predict(X)) <= {-1, 1}


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    leftover, others = tmp_path / f"{files._prefix(str(path))}00.tmp", tmp_path / f"{files._prefix('d')}00.tmp"
    leftover.touch()
    others.touch()
    make(checkpoint=path).fit(X, Y)
    assert sorted(tmp_path.iterdir()) == sorted([path, others])


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint from the middle of fine-tuning."""
    path = tmp_path_factory.mktemp("half") / "c"
    with pytest.MonkeyPatch.context() as patch:
        _, copies = written(lambda **more: make(**more).fit(X, Y), path, patch)
    return copies[-3]


def refused(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        files.load(path)
    except FormatError as error:
        return str(path) in str(error)
    return False


def test_every_flipped_bit_and_every_truncation_is_refused(half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c"
    rows = np.random.default_rng(0)
    for length in {*range(64), *rows.integers(0, len(half), 80).tolist()}:
        assert refused(half[:length], path), length
    for place in {*range(64), *rows.integers(0, len(half), 150).tolist()}:
        data = bytearray(half)
        data[place] ^= 1 << rows.integers(0, 8)
        assert refused(bytes(data), path), place
    assert refused(half + b"\0", path)
    path.write_bytes(half[:-1])
    model = make(checkpoint=path)
    with pytest.raises(FormatError, match=r"damaged.* Give another path to begin anew, or delete the file if nobody"):
        model.fit(X, Y)
    assert not hasattr(model, "stages_")


def changed(file: bytes, change: Any) -> bytes:
    return altered(file, change, persistence.files.CHECKPOINT)


@pytest.mark.parametrize(
    "change",
    [
        assign("seed", "-1"),
        assign("seed", 5),
        assign("seed", str(2**64)),
        assign("seed", "x"),
        assign("extra", 1),
        assign("identity", {"X": 1}),
        assign("identity", []),
        assign("stages", [{}]),
        assign("stages", 0, "loss", "other"),
        assign("positions", 0, "stage", "other"),
        assign("positions", 0, "layer", "1"),
        assign("positions", 0, "step", -1),
        assign("positions", 0, "step", 1.0),
        assign("positions", 0, "ended", 0),
        assign("positions", 0, "sums", [1.0]),
        assign("positions", 0, "sums", [1, 2]),
        assign("positions", 0, "seconds", "1"),
        assign("positions", 0, "records", [[]]),
        assign("positions", 0, "arrays", {}),
        assign("positions", 0, "arrays", "parameters", "nowhere"),
        assign("positions", 0, "more", 1),
        lambda _, tensors: tensors.update(more=np.ones(2)),
        lambda _, tensors: tensors.update({"finetuning.None.parameters": np.ones((2, 2))}),
        lambda _, tensors: tensors.update({"finetuning.None.parameters": np.ones(2, np.uint32)}),
    ],
)
def test_other_content_is_refused(change: Any, half: bytes, tmp_path: Path) -> None:
    assert not refused(changed(half, lambda *_: None), tmp_path / "c")
    assert refused(changed(half, change), tmp_path / "c")


def test_arrays_of_other_sizes_are_refused(half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c"
    for name in ("parameters", "first"):
        small = {f"finetuning.None.{name}": np.ones(2, np.float32)}
        path.write_bytes(changed(half, lambda _, tensors, small=small: tensors.update(small)))
        with pytest.raises(ValueError, match="must have"):
            make(checkpoint=path).fit(X, Y)


def test_models_and_checkpoints_are_told_apart(half: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(half)
    with pytest.raises(FormatError, match="a checkpoint, not a model file"):
        load(path)
    make().fit(X, Y).save(path)
    with pytest.raises(FormatError, match="a model file, not a checkpoint"):
        make(checkpoint=path).fit(X, Y)
