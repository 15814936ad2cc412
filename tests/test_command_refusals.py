"""The commands that work on tables: what a target is, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_lines import ROWS, complaint_of, people, run, train, write_tables

from layerwise import cli, corruption, load, tabular
from layerwise.commands import options, targets


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)


# ---- targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "settings", "kind", "labels"),
    [
        (["a", None, "b"], {}, True, ["a", "b"]),
        ([True, False, True], {}, True, [True, False, True]),
        ([1.0, np.nan, 2.0], {}, True, [1, 2]),
        ([-1, 0, 1], {}, True, [-1.0, 0.0, 1.0]),
        ([-1, 0, 1], {"unlabeled": "-1"}, True, [0, 1]),
        (["no", "a", "b"], {"unlabeled": "no"}, True, ["a", "b"]),
        (["n.d.", "0.5", "-2"], {"unlabeled": "n.d."}, False, [0.5, -2.0]),
        (["n.d.", "0", "1", "1"], {"unlabeled": "n.d."}, True, [0, 1, 1]),
        (["n.d.", "0", "1", "1_0"], {"unlabeled": "n.d."}, True, ["0", "1", "1_0"]),
        (["n.d.", "0", "nan"], {"unlabeled": "n.d."}, True, ["0", "nan"]),
        (["0", "1"], {}, True, ["0", "1"]),
        (["0", "1"], {"task": "regression"}, False, [0, 1]),
        ([0.5, np.nan, 2.0], {}, False, [0.5, 2.0]),
        (list(range(30)), {}, False, list(range(30))),
        (list(range(30)), {"task": "classification"}, True, list(range(30))),
        ([1, 2, 3], {"task": "regression"}, False, [1, 2, 3]),
        ([1, "b", None], {}, True, ["1", "b"]),
    ],
)
def test_what_a_column_of_labels_is(values: list[Any], settings: Any, kind: bool, labels: list[Any]) -> None:
    found = targets.target(pd.Series(values, dtype=object), **settings)
    assert found.is_classes == kind
    assert found.values[found.known].tolist() == labels
    assert [type(label) for label in found.values[found.known].tolist()] == [
        type(label) if kind else float for label in labels
    ]
    missing = found.values[~found.known].tolist()
    assert all(value is None if kind else value != value for value in missing)


def test_minus_one_can_be_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    mood = np.arange(ROWS) % 3 - 1.0
    mood[::5] = np.nan
    people().assign(mood=mood).to_csv("mood.csv", index=False)
    train("mood.csv", "--target", "mood")
    assert "(-1 is taken as a class; --unlabeled -1 makes it an unknown label)" in capsys.readouterr().out
    assert run("predict", "mood.layerwise", "mood.csv") == 0
    assert set(capsys.readouterr().out.split()[1:]) <= {"-1", "0", "1"}
    assert len(load("mood.layerwise")[-1].classes_) == 3
    train("mood.csv", "--target", "mood", "--unlabeled", "-1", "-q")
    assert load("mood.layerwise")[-1].classes_.tolist() == [0, 1]


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "absent.csv"], "cannot read absent.csv: No such file or directory"),
        (["train", "people.txt"], "cannot tell what people.txt is: its name must end in .csv, .tsv, .parquet"),
        (["train", "people.csv", "--target", "incom"], "no column 'incom' (did you mean 'income'?); it has id, age"),
        (["train", "people.csv", "--drop", "town"], "people.csv has no column 'town'"),
        (["train", "people.csv", "--categorical", "town"], "people.csv has no column 'town'"),
        (["train", "people.csv", "--drop", "id,age,job,code,owner,income"], "people.csv has no columns beside"),
        (
            ["train", "people.csv", "--target", "job", "--task", "regression"],
            "must hold numbers for a regression, got '",
        ),
        (["train", "people.csv", "--features", "X"], "--features names an array of an .npz file"),
        (["train", "people.csv", "--target", "income", "-o", "no/where"], "cannot write no/where"),
        (["train", "people.csv", "--target", "income", "-o", "people.csv"], "people.csv: the command reads it"),
        (["train", "people.csv", "-o", "a", "--history", "a"], "a cannot hold both"),
        (
            ["train", "people.csv", "--target", "income", "--noise", "3"],
            "--noise must be a finite number in [0, 1]. Got 3",
        ),
        (
            ["train", "people.csv", "--target", "income", "--activation", "logistic"],
            "--activation must be called 'sigmoid' here",
        ),
        (
            ["train", "people.csv", "--target", "income", "--labels", "33"],
            "--labels must be from 2 (one a class) to 32",
        ),
        (["train", "people.csv", "--target", "age", "--labels", "65"], "--labels must be from 1 to 63 (those of"),
        (["train", "people.csv", "--target", "income", "--test", "0.01"], "too few to test on; use --test 0"),
        (["train", "people.csv", "--target", "id", "--task", "classification"], "class '0' has one labelled row"),
        (["train", "some.npz", "--target", "z"], "some.npz has no array 'z'; it has X, y, size"),
        (["train", "some.npz", "--target", "y", "--features", "size"], "must hold rows of columns"),
        (["train", "some.npz", "--target", "X", "--features", "X"], "one target for each of 60 rows is needed"),
        (["train", "some.npz", "--drop", "a", "--features", "X"], "some.npz has none"),
        (["train", "some.npy", "--target", "5"], "must be the number of one of its 5 columns, got 5"),
        (["train", "some.npy", "--target", "y"], "must be the number of one of its 5 columns, got y"),
        (["predict", "absent", "people.csv"], "cannot read absent: No such file"),
        (["predict", "people.csv", "people.csv"], "people.csv: not a Layerwise file"),
    ],
)
def test_failures_take_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    before = sorted(os.listdir())
    assert message in complaint_of(capsys, *words)
    assert not [name for name in set(os.listdir()) - set(before) if name.endswith(".layerwise")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "No columns to parse"),
        (b"a,b\n", "bad.csv has no rows"),
        ("a,b\né,1\n".encode("latin-1"), "it is not UTF-8 text"),
        (b"a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        (b"a,b\n1,\n2,?\n", "has no label: each of its 2 cells is empty"),
        (b"a,b\n1,x\n2,x\n", "has one class only, x"),
    ],
)
def test_tables_that_cannot_be_used(capsys: pytest.CaptureFixture[str], content: bytes, message: str) -> None:
    Path("bad.csv").write_bytes(content)
    assert message in complaint_of(capsys, "train", "bad.csv", "--target", "b")


def test_arrays_that_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.npy").write_bytes(b"abc")
    Path("bad.npz").write_bytes(b"abc")
    np.save("objects.npy", np.array([[1, "a"]], object), allow_pickle=True)
    for name in ("bad.npy", "bad.npz", "objects.npy"):
        assert f"cannot read {name}: it is not a NumPy file, or holds Python" in complaint_of(capsys, "train", name)
    np.save("one.npy", np.arange(3.0))
    assert "must hold rows of columns, got an array of shape (3,)" in complaint_of(capsys, "train", "one.npy")
    np.savez("two.npz", a=np.zeros((3, 2)), b=np.zeros((3, 2)))
    assert "several arrays (a, b): say with --features" in complaint_of(capsys, "train", "two.npz")


def test_columns_that_do_not_fit_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "-q")
    people().drop(columns="age").to_csv("less.csv", index=False)
    assert "less.csv has no column 'age'" in complaint_of(capsys, "predict", "people.layerwise", "less.csv")
    people().assign(age="old").to_csv("words.csv", index=False)
    said = complaint_of(capsys, "transform", "people.layerwise", "words.csv")
    assert "column 'age' must hold numbers, as in training, got 'old'" in said
    assert "knows its columns by name" in complaint_of(capsys, "predict", "people.layerwise", "some.npy")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("people.csv", ["predict", "people.layerwise", "people.csv", "-o", "./people.csv"]),
        ("some.npy", ["transform", "people.layerwise", "some.npy", "-o", "some.npy"]),
        ("people.csv", ["compare", "people.csv", "--target", "income", "--json", "people.csv"]),
    ],
)
def test_no_command_writes_over_what_it_reads(capsys: pytest.CaptureFixture[str], table: str, words: list[str]) -> None:
    before = Path(table).read_bytes()
    assert f"cannot write {table}: the command reads it" in complaint_of(capsys, *words)
    assert Path(table).read_bytes() == before


def test_a_run_that_fails_leaves_the_epochs_of_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income")
    before = Path("people.jsonl").read_text()
    assert before
    complaint_of(capsys, "train", "people.csv", "--target", "income", "--noise", "3")
    assert Path("people.jsonl").read_text() == before
    train("people.csv", "--target", "income", "--max-seconds", "1e-9")
    assert Path("people.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "interrupted before the last layer was trained: no model is written"),
        (["--finetuning-epochs", "2"], "interrupted before fine-tuning: no model is written"),
        (["--target", "income"], "interrupted before fine-tuning: no model is written"),
    ],
)
def test_an_interruption_tells_what_was_to_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    def interrupts(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tabular.TableColumns, "fit_transform", interrupts)
    assert run("train", "people.csv", "-q", *words) == 130
    assert capsys.readouterr().err == f"layerwise: {said}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["train"],
        ["train", "people.csv", "--labels", "3"],
        ["train", "people.csv", "--test", "0.3"],
        ["train", "people.csv", "--dropout", "0.3"],
        ["train", "people.csv", "--dropout", "0"],
        ["train", "people.csv", "--input-dropout", "0.3"],
        ["train", "people.csv", "--early-stopping"],
        ["train", "people.csv", "--schedule", "constant"],
        ["train", "people.csv", "--target", "income", "--schedule", "fast"],
        ["train", "people.csv", "--unlabeled", "x"],
        ["train", "people.csv", "--task", "regression"],
        ["train", "people.csv", "--pretraining", "none"],
        ["train", "people.csv", "--pretraining", "supervised"],
        ["train", "people.csv", "--target", "income", "--pretraining", "none", "--epochs", "3"],
        ["train", "people.csv", "--target", "income", "--pretraining", "rbm", "--noise", "0.3"],
        ["train", "people.csv", "--target", "income", "--pretraining", "rbm", "--noise-kind", "swap"],
        ["train", "people.csv", "--target", "income", "--pretraining", "magic"],
        ["train", "people.csv", "--target", "income", "--seed", "4294967296"],
        ["train", "people.csv", "--target", "income", "--test", "1"],
        ["train", "people.csv", "--target", "income", "--max-seconds", "0"],
        ["train", "people.csv", "--target", "income", "--learning-rate", "much"],
        ["train", "people.csv", "--target", "income", "--drop", "a,,b"],
        ["compare", "people.csv"],
        ["compare", "people.csv", "--target", "income", "--test", "0"],
        ["compare", "people.csv", "--target", "income", "--pretraining", "none"],
        ["predict", "people.layerwise"],
        ["predict", "people.layerwise", "people.csv", "-o", "out.txt"],
        ["predict", "people.layerwise", "people.csv", "--unlabeled", "x"],
        ["transform", "people.layerwise", "people.csv", "--layer", "-1"],
    ],
)
def test_wrong_words_end_with_code_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: layerwise" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["train", "people.csv"], ["compare", "people.csv", "--target", "income"], ["demo"]])
def test_too_many_threads(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([*words, "--threads", "40000"])
    assert "argument --threads: must be at most 32768, got 40000" in capsys.readouterr().err


def test_the_flags_offer_what_the_package_has() -> None:
    assert options.SCALES == tabular.SCALES
    assert set(options.NOISES) == set(corruption.BY_NAME)


@pytest.mark.parametrize("command", ["train", "predict", "transform", "compare"])
def test_help_has_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"\nexamples:\n  layerwise {command} " in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "layerwise"], [str(Path(sys.executable).parent / "layerwise")]]
)
def test_an_instruction_set_that_is_none(command: list[str]) -> None:
    if not Path(command[0]).exists():
        pytest.skip("the command is not installed beside the interpreter")
    done = subprocess.run(
        [*command, "info"], capture_output=True, text=True, env={**os.environ, "LAYERWISE_ISA": "none"}, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("layerwise: LAYERWISE_ISA is 'none', which this processor or build cannot run")
    assert done.stderr.count("\n") == 1
