"""`layerwise train --checkpoint`: a command that was killed, interrupted or out of time, given again, goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_lines import QUICK, complaint_of, run, write_tables

import layerwise
from layerwise import EpochRecord, load
from layerwise.commands import display
from layerwise.persistence import checkpoint as files

WORDS = [
    "train",
    "people.csv",
    "--target",
    "income",
    "--layers",
    "6,4",
    "--epochs",
    "300",
    "--finetuning-epochs",
    "400",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tables(tmp_path)
    monkeypatch.chdir(tmp_path)


def bits(model: str) -> list[bytes]:
    network = load(model)[-1].network_
    return [array.tobytes() for layer in network.layers for array in (layer.weights, layer.bias)]


def epochs(history: str) -> list[Any]:
    lines = [json.loads(line) for line in Path(history).read_text().splitlines()]
    return [(one["stage"], one["layer"], one["epoch"], one["loss"]) for one in lines]


@pytest.fixture
def whole() -> tuple[list[bytes], list[Any]]:
    """What the command gives when nothing ends it."""
    assert run(*WORDS, "-q", "-o", "whole.layerwise") == 0
    return bits("whole.layerwise"), epochs("whole.jsonl")


def killed(tells: str, number: signal.Signals, *words: str) -> tuple[int, str]:
    """Start the command, end it with a signal once it has told of that epoch; return its code and its complaint."""
    command = [sys.executable, "-m", "layerwise", *WORDS, *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as done:
        while tells not in (Path("people.jsonl").read_text() if Path("people.jsonl").exists() else ""):
            assert done.poll() is None
            time.sleep(0.001)
        done.send_signal(number)
        _, complaint = done.communicate(timeout=60)
    return done.returncode, complaint


def test_a_killed_command_given_again_goes_on(whole: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = killed('"layer": 2, "epoch": 50,', signal.SIGKILL, "--checkpoint", "c")
    assert code == -signal.SIGKILL
    assert not Path("people.layerwise").exists()
    assert files.load("c").seed  # whole, though nothing but its first version was due
    code, complaint = killed('"layer": null, "epoch": 50,', signal.SIGINT, "--checkpoint", "c")
    assert code == 130
    assert complaint == (
        "layerwise: interrupted; people.layerwise holds the model as it was in fine-tuning. The checkpoint c has what "
        "was reached: run the same again to go on from it.\n"
    )
    assert len(files.load("c").stages) == 2
    capsys.readouterr()
    assert run(*WORDS, "--checkpoint", "c") == 0
    said = capsys.readouterr().out
    assert "going on from the checkpoint: after 2 pretrained layers, finetuning: " in said
    assert said.endswith("checkpoint: c (delete it to train anew)\n")
    assert (bits("people.layerwise"), epochs("people.jsonl")) == whole
    assert run(*WORDS, "--checkpoint", "c", "-q") == 0  # done already
    assert (bits("people.layerwise"), epochs("people.jsonl")) == whole


@pytest.mark.slow
def test_killed_at_many_moments(whole: Any) -> None:
    places = [(1, 2), (1, 299), (2, 1), (2, 150), (2, 299), ("null", 1), ("null", 200), ("null", 399)]
    for number in (signal.SIGKILL, signal.SIGINT):
        for layer, epoch in places:
            Path("c").unlink(missing_ok=True)
            Path("people.jsonl").unlink(missing_ok=True)
            killed(f'"layer": {layer}, "epoch": {epoch},', number, "--checkpoint", "c")
            assert run(*WORDS, "--checkpoint", "c", "-q") == 0
            assert (bits("people.layerwise"), epochs("people.jsonl")) == whole


def test_interrupted_before_fine_tuning_tells_of_the_checkpoint() -> None:
    code, complaint = killed('"layer": 1, "epoch": 3,', signal.SIGINT, "--checkpoint", "c", "--epochs", "100000")
    assert code == 130
    assert complaint == (
        "layerwise: interrupted before fine-tuning: no model is written. The checkpoint c has what was reached: run "
        "the same again to go on from it.\n"
    )


def test_sittings(whole: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def out_of_time(watch: Any) -> bool:
        asked.append(1)
        watch.cut = watch.cut or len(asked) > 180
        return bool(watch.cut)

    monkeypatch.setattr(layerwise.estimators.watching.Watch, "out_of_time", out_of_time)
    for sitting in range(6):
        asked.clear()
        assert run(*WORDS, "-q", "--checkpoint", "c", "--max-seconds", "60") == 0
        said = capsys.readouterr().err
        assert ("max_seconds=60.0 ended the fit" in said) == (sitting < 5)
        assert ("Run the same again to go on from the checkpoint c" in said) == (sitting < 5)
    assert (bits("people.layerwise"), epochs("people.jsonl")) == whole


def test_another_run_s_checkpoint_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "people.csv", "--target", "income", *QUICK, "--checkpoint", "c", "-q"]
    assert run(*words) == 0
    before = Path("c").read_bytes()
    said = complaint_of(capsys, *words, "--dropout", "0.2")
    assert said.startswith(
        "layerwise: c is the checkpoint of another fit: finetuning__dropout (then 0.0, now 0.2). One"
    )
    assert said.endswith("Delete the file or give another path to begin anew.\n")
    assert Path("c").read_bytes() == before
    Path("c").write_bytes(before[:-1])
    said = complaint_of(capsys, *words)
    assert said.startswith("layerwise: c: damaged")
    assert "Give another path to begin anew" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("people.csv", "cannot write people.csv: the command reads it"),
        ("people.layerwise", "people.layerwise is another file of this run: choose another name with --checkpoint"),
        ("people.jsonl", "people.jsonl is another file of this run"),
        ("no/c", "cannot write no/c: its folder does not exist"),
        (".", "cannot write .: it is a folder"),
        ("/dev/null", "cannot write /dev/null: it is not a regular file"),
    ],
)
def test_bad_places(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "people.csv", "--target", "income", *QUICK, "--checkpoint", name]
    assert said in complaint_of(capsys, *words)
    assert not Path("people.layerwise").exists()


def test_the_time_left_counts_from_where_the_run_goes_on() -> None:
    progress = display.TrainingProgress(sys.stdout, lambda: 10, [5], [100], 0, rows=100, labelled=0)
    progress._start = time.perf_counter() - 2.0
    progress._left(EpochRecord("pretraining", 1, 51, 100, 0.5, None, 0.1, 0.1))  # its first epoch
    left = progress._left(EpochRecord("pretraining", 1, 60, 100, 0.5, None, 0.1, 0.1))
    assert left == pytest.approx(2.0 * 40 / 10, rel=0.02)
