"""A fit with a checkpoint that is interrupted between any two lines, or steps, goes on with the same bits."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standing import GIVEN, X, Y, make, state

from layerwise import (
    LBFGS,
    SGD,
    AnomalyDetector,
    Autoencoder,
    Checkpoint,
    DenoisingAutoencoder,
    FineTuning,
    PretrainedClassifier,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    persistence,
)
from layerwise.persistence import checkpoint as files

NEVER = 1e9  # seconds between checkpoints: the first file, which has nothing, and the last word are all there is
CODES = DenoisingAutoencoder(epochs=2, batch_size=20, code_cache="recompute")
TEACHING = Autoencoder(epochs=2, batch_size=5, supervised_optimizer=SGD(0.1))
MACHINE = RestrictedBoltzmannMachine(epochs=2, batch_size=20, persistent=True, sparsity_target=0.1, monitor=True)
TUNING = FineTuning(epochs=3, batch_size=10, early_stopping=True, n_iter_no_change=9, dropout=0.2)
KINDS: dict[str, Any] = {
    "autoencoders": make(),
    "early stopping": make(pretraining=None, finetuning=TUNING.replace(epochs=5)),
    "thawing": make(finetuning=FineTuning(epochs=3, batch_size=20, frozen_layers=[1, 2], thaw_after=[1, 2])),
    "machine": make(pretraining=MACHINE),
    "simultaneous": make(pretraining=GIVEN["pretraining"].replace(simultaneous=True), finetuning=TUNING),
    "codes": make(pretraining=CODES),
    "labels": make(pretraining=TEACHING),
    "line searches": make(finetuning=FineTuning(epochs=3, batch_size=20, optimizer=LBFGS(searches=2))),
    "detector": AnomalyDetector((4, 2), pretraining=GIVEN["pretraining"], finetuning=TUNING, random_state=3),
    "unrolled": StackedAutoencoder((4, 2), pretraining=GIVEN["pretraining"], finetuning=TUNING, random_state=3),
}
LOOKED_AT = {
    str(Path(persistence.__file__).parents[1] / f"{name}.py")
    for name in (
        "checkpoints", "codes", "finetuning", "keeping", "line_search", "pretraining", "rbm", "simultaneous",
        "supervision", "thawing", "training",
    )
}  # fmt: skip


class Lines:
    """Counts the lines of the training that are about to run, and raises KeyboardInterrupt before one of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.count, self.stop = 0, stop

    def __enter__(self) -> Lines:
        sys.settrace(lambda frame, *_: self.line if frame.f_code.co_filename in LOOKED_AT else None)
        return self

    def line(self, _: Any, event: str, __: Any) -> Any:
        self.count += event == "line"
        if self.count == self.stop:
            self.stop = None
            raise KeyboardInterrupt
        return self.line

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)


def done(path: Path) -> int:
    """Steps, epochs and layers that a checkpoint has."""
    found = files.load(path)
    return 100 * len(found.stages) + sum(10 * len(at.records) + at.step for at in found.positions.values())


def interrupt_everywhere(kind: str, points: int, folder: Path) -> float:
    """Interrupt fits before lines evenly spaced, and go on; return the share of them that had something to go on from.

    The share is that of the fits that had begun to train.
    """
    model = KINDS[kind]
    whole = state(model.set_params(checkpoint=None).fit(X, Y))
    model.set_params(checkpoint=Checkpoint(folder / "c", NEVER))
    with Lines() as lines:
        model.fit(X, Y)
    begun = gained = 0
    for stop in np.linspace(1, lines.count, points + 2)[1:-1].astype(int):
        path = folder / str(stop)
        model.set_params(checkpoint=Checkpoint(path, NEVER))
        with pytest.raises(KeyboardInterrupt), Lines(int(stop)):
            model.fit(X, Y)
        if path.exists():
            begun += 1
            gained += done(path) > 0
        assert state(model.fit(X, Y)) == whole, f"{kind}: line {stop} of {lines.count}"
    return gained / begun


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence.files.os, "fsync", lambda _: None)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_between_any_two_lines(kind: str, tmp_path: Path) -> None:
    assert interrupt_everywhere(kind, 60, tmp_path) >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_between_many_lines(kind: str, tmp_path: Path) -> None:
    share = interrupt_everywhere(kind, 300, tmp_path)
    print(f"{kind}: {share:.0%} had something to go on from")
    assert share >= 0.6


def test_a_callback_that_raises_sees_its_epoch_again(tmp_path: Path) -> None:
    path, seen = tmp_path / "c", list[Any]()

    def trouble(record: Any) -> None:
        seen.append((record.layer, record.epoch, record.loss))
        if seen[-1][:2] == (2, 1) and len(seen) == 3:
            raise RuntimeError("trouble")

    with pytest.raises(RuntimeError) as info:
        make(checkpoint=Checkpoint(path, NEVER), callbacks=trouble).fit(X, Y)
    told = f"The checkpoint {path} has what was reached: run the same again to go on from it."
    assert info.value.__notes__[-1] == told
    found = files.load(path)
    assert len(found.stages) == 1
    assert found.positions["pretraining", 2].records == []
    assert found.positions["pretraining", 2].step == 3  # all steps of the epoch
    model = make(checkpoint=path, callbacks=trouble).fit(X, Y)
    assert state(model) == state(make().fit(X, Y))
    assert seen[2] == seen[3]
    assert len(seen) == 8


LONG: dict[str, Any] = {
    "autoencoder": Autoencoder(epochs=1, batch_size=1),
    "machine": RestrictedBoltzmannMachine(epochs=1, batch_size=1),
    "chains": RestrictedBoltzmannMachine(epochs=1, batch_size=1, persistent=True),
}


@pytest.mark.parametrize("kind", LONG)
def test_ctrl_c_within_an_epoch_loses_no_step(kind: str, tmp_path: Path) -> None:
    path, rows = tmp_path / "c", np.tile(X, (3000, 1))
    model = StackedAutoencoder((40, 4), pretraining=LONG[kind], random_state=0)
    whole = state(model.fit(rows))
    model.set_params(checkpoint=Checkpoint(path, NEVER))
    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:  # once the fit has its file, and so trains
        while not path.exists():
            pass
        threading.Event().wait(0.06)
        signal.pthread_kill(main, signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt) as info:
        model.fit(rows)
    presser.join()
    (note,) = info.value.__notes__[-1:]
    assert "has what was reached: run the same again" in note
    at = files.load(path).positions["pretraining", 1]
    assert at.records == []
    assert 0 < at.step < len(rows)
    assert state(model.fit(rows)) == whole


def test_a_signal_that_ends_the_process_writes_it_too(tmp_path: Path) -> None:
    def leave(record: Any) -> None:
        if (record.layer, record.epoch) == (2, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    path = tmp_path / "c"
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    try:
        with pytest.raises(SystemExit):
            make(checkpoint=Checkpoint(path, NEVER), callbacks=leave).fit(X, Y)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done(path) > 100
    assert state(make(checkpoint=path).fit(X, Y)) == state(make().fit(X, Y))


def test_what_cannot_be_written_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(record: Any) -> None:
        monkeypatch.setattr(files, "save", full)
        raise KeyboardInterrupt

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt) as info:
        make(checkpoint=Checkpoint(path, NEVER), callbacks=stop).fit(X, Y)
    nothing, note = info.value.__notes__
    assert nothing.endswith("nothing of it is kept, and the estimator is as it was before.")
    assert note.startswith("The checkpoint could not be written (No space left on device); the older one is as it was")


def test_without_a_checkpoint_no_file_is_spoken_of() -> None:
    def stop(record: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as info:
        make(callbacks=stop).fit(X, Y)
    (note,) = info.value.__notes__
    assert "nothing of it is kept" in note
    assert "run the same again" not in note


def test_a_detector_tells_of_its_checkpoint_once(tmp_path: Path) -> None:
    model = AnomalyDetector((4, 2), finetuning=FineTuning(epochs=100_000), random_state=0)
    model.set_params(checkpoint=Checkpoint(tmp_path / "c", NEVER))
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(1.0, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt) as info:
        model.fit(X)
    notes = "\n".join(info.value.__notes__)
    assert notes.count("run the same again to go on") == 1
    assert "the estimator keeps the weights reached" in notes
    assert isinstance(model, AnomalyDetector)
    assert set(model.predict(X)) <= {-1, 1}
    assert PretrainedClassifier
