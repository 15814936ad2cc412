"""The scripts of `benchmarks/` that repeat the papers' experiments on MNIST, on a few rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from benchmark_scripts import script

_timing = script("_timing")


def test_the_papers_tables_can_be_made_and_taken_up_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from layerwise.datasets import Dataset, load_digits

    X, y = load_digits()
    data = Dataset(X[:120], y[:120], X[120:160], y[120:160])
    deep, start = script("mnist_deep_autoencoder"), script("mnist_500_500_2000")
    monkeypatch.setattr(_timing, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", ["x.py"])
    for module in (deep, start):
        monkeypatch.setattr(module, "load_mnist", lambda _: data)
    monkeypatch.setattr(start, "TRAIN", slice(0, 80))
    monkeypatch.setattr(start, "VALIDATION", slice(80, 120))
    quick = ["--seeds", "0", "--epochs", "1", "--finetuning-epochs", "2", "--cache", str(tmp_path / "cache")]
    both = {
        deep: ["--hidden", "12", "9", "4", "--train-rows", "100", "--connections", "3", "--logistic-epochs", "1"],
        start: ["--hidden", "12", "9", "7"],
    }
    for module, own in both.items():
        module.main([*quick, *own])
        lines = _timing.records(module.NAME)
        assert [line["settings"]["name"] for line in lines] == list(module.ROWS)
        assert all(0 < line["validation_error"] <= 100 and line["test_error"] >= 0 for line in lines)
        module.main([*quick, *own])
        assert len(_timing.records(module.NAME)) == len(lines)  # nothing was missing
    searched = ["--rows", "machines", "--optimizer", "conjugate_gradient", "--batch-size", "50"]
    deep.main([*quick, *both[deep], *searched])
    line = _timing.records(deep.NAME)[-1]
    assert line["settings"]["tuning"]["rate"] is None
    assert line["test_error"] < line["pretrained_test_error"]
    machines = next(
        row
        for row in script("tables").deep_autoencoder().splitlines()
        if row.startswith("| machines, σ = 0.1 | adam, 2 ")
    )
    assert f" {line['pretrained_test_error']:.2f} " in machines
    assert machines.split("|")[3].strip() == "1"


def on_few_digits(name: str, monkeypatch: pytest.MonkeyPatch, results: Path) -> Any:
    """A script for MNIST, with 80 rows to train on, and results in a folder of their own."""
    from layerwise.datasets import Dataset, load_digits

    X, y = load_digits()
    module = script(name)
    monkeypatch.setattr(_timing, "RESULTS", results)
    monkeypatch.setattr(module, "load_mnist", lambda _: Dataset(X[:120], y[:120], X[120:160], y[120:160]))
    monkeypatch.setattr(module, "TRAIN", slice(0, 80), raising=False)  # few labels are drawn before VALIDATION
    monkeypatch.setattr(module, "VALIDATION", slice(80, 120))
    return module


def test_the_defaults_time_to_an_error_counts_training_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = on_few_digits("mnist_defaults", monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "argv", ["x.py"])
    for more in (
        ["--target", "100"],
        ["--target", "-1"],
        ["--schedule", "linear"],
        ["--schedule", "linear", "--dropout", "0.2"],
    ):
        defaults.main(["--seeds", "0", "--precisions", "auto", "--hidden", "9", "7", *more])
    reached, never, falling, dropping = _timing.records(defaults.NAME)
    assert falling["settings"]["name"] == "float32, schedule linear"
    assert dropping["settings"]["name"] == "float32, schedule linear, dropout 0.2"
    assert len({str(line["test_errors"]) for line in (never, falling, dropping)}) == 3
    assert never["seconds_to_target"] is None
    assert reached["test_errors"] == never["test_errors"]
    assert reached["test_errors"][-1] == reached["test_error"]
    whole = reached["pretraining_seconds"] + reached["finetuning_seconds"]
    assert reached["pretraining_seconds"] - 0.1 <= reached["seconds_to_target"] <= whole + 0.1


def test_the_best_epoch_is_that_of_least_validation_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sda = on_few_digits("mnist_sda", monkeypatch, tmp_path)
    # So fast a rate that later epochs are worse.
    words = ["x.py", "--seeds", "0", "--only-random", "--hidden", "9", "7", "--finetuning-epochs", "9", "--rate", "1"]
    for best in ([], ["--best-epoch"]):
        monkeypatch.setattr(sys, "argv", [*words, *best])
        sda.main()
    last, best = _timing.records(sda.NAME)
    assert "best_epoch" not in last
    assert 1 <= best["best_epoch"] < 9
    assert best["validation_error"] < last["validation_error"]


def test_input_dropout_is_named_and_used_where_labels_are_few(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = on_few_digits("mnist_few_labels", monkeypatch, tmp_path / "results")
    words = ["x.py", "--seeds", "0", "--hidden", "9", "7", "--labels", "30", "--starts", "glorot_uniform"]
    words += ["--masking", "0.5", "0.5", "--epochs", "1", "--finetuning-epochs", "40", "--rate", "0.01"]
    noise = ["--input-dropout", "0.4", "--random-rates", "0.01"]
    for more in (["--random-rates", "0.01"], noise, noise):  # the last is there already
        monkeypatch.setattr(sys, "argv", [*words, *more])
        few.main()
    assert "Its test error minus the pretrained network's" in capsys.readouterr().out
    lines = _timing.records(few.NAME)
    names = ["pretrained", "random start, glorot_uniform, rate 0.01"]
    assert [line["settings"]["name"] for line in lines] == [*names, *(f"{name}, input dropout 0.4" for name in names)]
    assert [line["settings"].get("input_dropout") for line in lines] == [None, None, 0.4, 0.4]
    whole, left_out = (
        [(line["validation_error"], line["test_error"]) for line in pair] for pair in (lines[:2], lines[2:])
    )
    assert whole[0] != left_out[0]
    assert whole[1] != left_out[1]
