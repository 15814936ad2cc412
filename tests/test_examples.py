"""The examples of the student and of the researcher, with small settings: what they print and leave behind."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BRIEF = ["--seeds", "2", "--units", "8", "--epochs", "1", "--finetuning-epochs", "1"]


def test_depth_and_pretraining(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib.use("agg")
    script = str(EXAMPLES / "depth_and_pretraining.py")
    monkeypatch.setattr("sys.argv", [script, "--out", str(tmp_path / "found"), "--depths", "1,2", *BRIEF])
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr()
    assert said.err.count("test error") == 12
    assert "mean ± standard deviation over 2 seeds" in said.out
    assert "With 1 layer pretraining changes the error by" in said.out
    assert sorted(file.name for file in (tmp_path / "found").iterdir()) == [
        "curves.png",
        "errors.svg",
        "filters.png",
        "run.json",
    ]
    found = json.loads((tmp_path / "found" / "run.json").read_text())
    assert len(found["runs"]) == 12
    assert found["settings"]["units"] == 8
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("sys.argv", [script, "--out", str(tmp_path / "bare"), "--depths", "1", *BRIEF])
    runpy.run_path(script, run_name="__main__")
    assert [file.name for file in (tmp_path / "bare").iterdir()] == ["run.json"]


def test_broken_sensor(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "broken_sensor.py"), run_name="__main__")
    said = capsys.readouterr().out
    names = ("layerwise", "isolation forest", "principal components")
    areas = {name: float(re.search(rf"^{name} +ROC AUC ([\d.]+), fitted in ", said, re.MULTILINE)[1]) for name in names}
    assert areas["layerwise"] > max(areas["isolation forest"], areas["principal components"])
    assert re.search(r"^column .*\n7 ", said, re.MULTILINE)  # the sensor that is to blame stands first
    assert said.endswith("the scores are the same: True\n")


@pytest.mark.slow  # it starts many interpreters
def test_grid_of_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "grid_of_runs.py"), "--out", str(tmp_path / "runs.jsonl"), *BRIEF]

    def run(*words: str) -> str:
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
        assert done.stdout.count("the same bytes") == 3
        assert "a fit with the hook takes" in done.stdout
        return done.stdout

    assert "6 runs, 0 of them" in run("--depths", "1", "--seeds", "1", "--jobs", "2")
    lines = (tmp_path / "runs.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 6
    (tmp_path / "runs.jsonl").write_text("".join(lines[:4]) + lines[4][:30])  # the machine stopped in the fifth line
    assert "12 runs, 4 of them" in run("--depths", "1", "--jobs", "1")
    again = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    weights = {json.dumps(one["settings"]): one["weights"] for one in again}
    assert len(again) == len(weights) == 12
    assert all(weights[json.dumps(one["settings"])] == one["weights"] for one in map(json.loads, lines))
