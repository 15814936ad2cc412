"""The commands that work on tables: what they read, learn, write and show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_lines import QUICK, Terminal, complaint_of, people, run, table_of, train, write_tables

import layerwise
from layerwise import load
from layerwise.commands import display, tables
from layerwise.training import EpochRecord


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)


# ---- train, predict, transform ---------------------------------------------------------------------------------------


def test_a_table_is_learned_kept_and_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "--drop", "id", "--noise", "0.3")
    said = capsys.readouterr().out
    assert "people.csv: 80 rows; columns: 1 of numbers, 3 of categories (job, code, owner)" in said
    assert "target 'income': 2 classes (high, low); 40 of the rows are labelled" in said
    assert "layer 2: loss " in said
    assert "fine-tuning on 32 labelled rows of 72" in said
    assert "test: accuracy 0." in said
    assert "on 8 rows; their commonest label alone: 0." in said
    assert "model: people.layerwise (" in said

    with open("people.jsonl") as file:
        records = [json.loads(line) for line in file]
    assert [record["stage"] for record in records] == ["pretraining"] * 2 + ["finetuning"] * 2
    model = load("people.layerwise")
    assert model[-1].pretraining == layerwise.DenoisingAutoencoder(corruption=layerwise.Masking(0.3), epochs=1)
    assert model[-1].finetuning.epochs == 2
    assert list(model.feature_names_in_) == ["age", "job", "code", "owner"]

    frame = tables.read(Path("people.csv"), ["code"])
    expected = model.predict_proba(frame[["age", "job", "code", "owner"]])
    assert run("predict", "people.layerwise", "people.csv", "--probabilities", "-o", "out.csv") == 0
    out = table_of("out.csv")
    assert list(out[0]) == ["prediction", "probability_high", "probability_low"]
    np.testing.assert_allclose([float(row["probability_low"]) for row in out], expected[:, 1])
    assert [row["prediction"] for row in out] == list(model.predict(frame))
    assert run("predict", "people.layerwise", "people.csv", "--probabilities", "-o", "out.npy") == 0
    np.testing.assert_array_equal(np.load("out.npy"), expected)
    assert run("predict", "people.layerwise", "people.csv", "-o", "out.npy") == 0
    np.testing.assert_array_equal(np.load("out.npy"), model.predict(frame))
    assert not [name for name in os.listdir() if name.startswith(".")]

    capsys.readouterr()
    assert run("predict", "people.layerwise", "people.csv", "--target", "income") == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["prediction", *model.predict(frame)]
    known = frame["income"].notna()
    right = (model.predict(frame)[known] == frame["income"][known]).mean()
    assert told.err == f"accuracy {right:.3f} on 40 rows\n"


def test_levels_that_look_like_numbers_stay_what_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income")
    rows = people()
    rows[rows["code"] != "A"].to_csv("numbers.csv", index=False)  # alone, the codes would be read as 7 and 8
    capsys.readouterr()
    assert run("predict", "people.layerwise", "people.csv") == 0
    everywhere = np.array(capsys.readouterr().out.split()[1:])
    assert run("predict", "people.layerwise", "numbers.csv", "--probabilities", "-o", "part.csv") == 0
    assert [row["prediction"] for row in table_of("part.csv")] == list(everywhere[rows["code"] != "A"])
    model = load("people.layerwise")
    part = tables.read(Path("numbers.csv"), ["code"])
    assert set(part["code"]) == {"07", "8"}
    expected = model.predict_proba(part)[:, 0]
    np.testing.assert_allclose([float(row["probability_high"]) for row in table_of("part.csv")], expected)


def test_the_same_seed_gives_the_same_file() -> None:
    train("people.csv", "--target", "income", "-q", "--seed", "3")
    first = Path("people.layerwise").read_bytes(), Path("people.jsonl").read_text().count("\n")
    train("people.csv", "--target", "income", "-q", "--seed", "3", "--threads", "1")
    again = load("people.layerwise")
    again[-1].n_jobs = None
    again[-1].history_ = []
    Path("a").write_bytes(first[0])
    before = load("a")
    np.testing.assert_array_equal(again[-1].coefs_[0], before[-1].coefs_[0])
    assert Path("people.jsonl").read_text().count("\n") == first[1]  # not appended to
    train("people.csv", "--target", "income", "-q", "--seed", "4")
    assert (load("people.layerwise")[-1].coefs_[0] != before[-1].coefs_[0]).any()


def test_codes(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "-q")
    model, frame = load("people.layerwise"), tables.read(Path("people.csv"), ["code"])
    assert run("transform", "people.layerwise", "people.csv", "-o", "codes.npy") == 0
    np.testing.assert_array_equal(np.load("codes.npy"), model.transform(frame))
    assert run("transform", "people.layerwise", "people.csv", "--layer", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "unit1,unit2,unit3,unit4,unit5,unit6"
    found = np.array([line.split(",") for line in lines[1:]], float)
    np.testing.assert_allclose(found, model[-1].transform(model[:-1].transform(frame), layer=1))
    said = complaint_of(capsys, "transform", "people.layerwise", "people.csv", "--layer", "3")
    assert said == "layerwise: --layer must be a whole number from 0 to 2. Got 3 instead.\n"


def test_an_autoencoder_where_there_is_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "people.csv", "--layers", "6,2", "--epochs", "1", "-o", "codes.layerwise") == 0
    assert "no target: an autoencoder" in capsys.readouterr().out
    assert isinstance(load("codes.layerwise")[-1], layerwise.StackedAutoencoder)
    assert run("transform", "codes.layerwise", "people.csv", "-o", "codes.csv") == 0
    assert list(table_of("codes.csv")[0]) == ["unit1", "unit2"]
    assert "use transform" in complaint_of(capsys, "predict", "codes.layerwise", "people.csv")
    train("people.csv", "-q", "-o", "tuned.layerwise")
    assert load("tuned.layerwise")[-1].finetuning.epochs == 2


def test_numbers_are_a_regression(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "age", "--test", "0.5", "--drop", "income,id")
    said = capsys.readouterr().out
    assert "target 'age': numbers from 18 to 79; 79 of the rows are labelled" in said
    assert "test: R² " in said
    assert run("predict", "people.layerwise", "people.csv", "--target", "age", "-o", "ages.csv") == 0
    assert "root mean squared error" in capsys.readouterr().err
    predicted = [float(row["prediction"]) for row in table_of("ages.csv")]
    np.testing.assert_allclose(predicted, load("people.layerwise").predict(tables.read(Path("people.csv"), ["code"])))
    assert "are for classifiers" in complaint_of(capsys, "predict", "people.layerwise", "people.csv", "--probabilities")


def test_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    train("some.npz", "--target", "y", "--features", "X")
    assert run("predict", "some.layerwise", "some.npz", "--target", "y", "--features", "X", "-o", "out.npy") == 0
    X = np.load("some.npy")[:, :4]
    np.testing.assert_array_equal(np.load("out.npy"), load("some.layerwise").predict(X.astype(np.float32)))
    train("some.npy", "--target", "-1", "--scale", "standard", "--task", "classification", "-o", "other.layerwise")
    assert load("other.layerwise").named_steps["columns"].get_params()["numbers__scale__with_mean"]
    assert run("predict", "other.layerwise", "some.npy", "--target", "4", "-o", "out.npy") == 0
    np.testing.assert_array_equal(np.load("out.npy"), load("other.layerwise").predict(X))
    capsys.readouterr()
    said = complaint_of(capsys, "predict", "other.layerwise", "some.npy")
    assert "some.npy has 5 columns, but other.layerwise takes 4; --target leaves a target out" in said
    train("some.npz", "--target", "size", "--features", "X", "-q")
    assert isinstance(load("some.layerwise")[-1], layerwise.PretrainedRegressor)


WITHOUT_PANDAS = """
import sys
class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'")
sys.meta_path.insert(0, NoPandas())
from layerwise import cli
for words in ("train some.npy --target 4 -q --epochs 1", "predict some.layerwise some.npy --target 4 -o out.csv",
              "train people.csv", "predict some.layerwise people.csv", "train absent.csv"):
    print(cli.main(words.split()))
"""


def test_arrays_need_no_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "1", "1", "1"]
    *_, first, second, third = done.stderr.splitlines()
    assert first == second == 'layerwise: reading people.csv needs pandas and pyarrow: pip install "layerwise[data]"'
    assert third == "layerwise: cannot read absent.csv: No such file or directory"
    assert len(table_of("out.csv")) == 60


def test_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    people().to_parquet("people.parquet")
    train("people.parquet", "--target", "income", "-q")
    assert run("predict", "people.layerwise", "people.parquet", "--target", "income") == 0
    capsys.readouterr()
    Path("bad.parquet").write_bytes(b"abc")
    assert "cannot read bad.parquet" in complaint_of(capsys, "train", "bad.parquet")


def test_dates_are_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("some.parquet").write_bytes(b"")
    monkeypatch.setattr(pd, "read_parquet", lambda path: people().assign(when=pd.Timestamp("2020-01-01")))
    assert "column 'when' holds dates or times" in complaint_of(capsys, "train", "some.parquet")


def test_a_model_that_python_saved(capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("some.npz") as arrays:
        X, y = arrays["X"], arrays["y"]
    frame = pd.DataFrame(X, columns=list("abcd"))
    quick = layerwise.PretrainedClassifier(
        (5,), pretraining=None, finetuning=layerwise.FineTuning(epochs=1), random_state=0
    )
    model = quick.fit(frame, y)
    model.save("own.layerwise")
    frame[list("dcba")].assign(more=1).to_csv("own.csv", index=False)
    assert run("predict", "own.layerwise", "own.csv", "-o", "out.npy") == 0
    np.testing.assert_array_equal(np.load("out.npy"), model.predict(frame))
    assert run("transform", "own.layerwise", "own.csv", "-o", "out.npy") == 0
    assert np.load("out.npy").shape == (60, 5)
    assert "knows its columns by name" in complaint_of(capsys, "predict", "own.layerwise", "some.npz")
    assert run("info", "own.layerwise") == 0
    said = capsys.readouterr().out
    assert "columns      4: a, b, c, d" in said
    assert "network      4-5-2, tanh, float32" in said


def test_info_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "-q")
    assert run("info", "people.layerwise") == 0
    said = capsys.readouterr().out
    for line in (
        "PretrainedClassifier",
        "columns      5: id, age",
        "categories   3: job, code, owner",
        "classes      high, low",
        "layer 2    1 epochs, skill",
    ):
        assert line in said
    assert "labels       32 rows had one" in said
    assert "cannot read absent: No such file" in complaint_of(capsys, "info", "absent")
    Path("people.layerwise").write_bytes(Path("people.layerwise").read_bytes()[:-1])
    assert "people.layerwise: damaged" in complaint_of(capsys, "info", "people.layerwise")
    assert "people.layerwise: damaged" in complaint_of(capsys, "predict", "people.layerwise", "people.csv")


def test_compare_prints_the_table_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--labels", "20", "--seeds", "2", "--scoring", "roc_auc", "--json", "found.json"]
    assert run("compare", "people.csv", "--target", "income", *QUICK, *words) == 0
    said = capsys.readouterr().out
    assert "rows: 20 labelled, 50 unlabelled, 10 test; seeds: 2" in said
    assert "retraining" in said.splitlines()[-1]
    assert said.count("seed 1  ") == 6
    with open("found.json") as file:
        found = json.load(file)
    assert said.strip().endswith(found["verdict"])
    assert len(found["scores"]["gradient boosting"]) == 2
    said = complaint_of(capsys, "compare", "people.csv", "--target", "income", "--labels", "1", *QUICK)
    assert "--labels must be a whole number from 2 to 30. Got 1" in said


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--pretraining", "rbm", "--learning-rate", "0.01"], layerwise.RestrictedBoltzmannMachine(epochs=1)),
        (["--pretraining", "sparse"], layerwise.SparseAutoencoder(epochs=1)),
        (["--pretraining", "contractive"], layerwise.ContractiveAutoencoder(epochs=1)),
        (["--pretraining", "supervised"], layerwise.SupervisedPretraining(epochs=1)),
        (
            ["--pretraining", "autoencoder", "--learning-rate", "0.01"],
            layerwise.Autoencoder(epochs=1, optimizer=layerwise.Adam(0.01)),
        ),
        (
            ["--noise", "0.2", "--noise-kind", "gaussian"],
            layerwise.DenoisingAutoencoder(epochs=1, corruption=layerwise.Gaussian(0.2)),
        ),
        (["--noise-kind", "swap"], layerwise.DenoisingAutoencoder(epochs=1, corruption=layerwise.Swap())),
        (
            ["--noise-kind", "salt_and_pepper"],
            layerwise.DenoisingAutoencoder(epochs=1, corruption=layerwise.SaltAndPepper()),
        ),
    ],
)
def test_kinds_of_pretraining(words: list[str], expected: Any) -> None:
    train("some.npz", "--target", "y", "--features", "X", "-q", *words)
    assert load("some.layerwise")[-1].pretraining == expected


def test_other_settings(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--activation",
        "relu",
        "--dropout",
        "0.1",
        "--input-dropout",
        "0.2",
        "--schedule",
        "cosine",
        "--early-stopping",
        "--learning-rate",
        "0.01",
        "--threads",
        "1",
    ]
    words += ["--categorical", "job,code,owner,id", "--min-frequency", "25", "--scale", "range", "--labels", "10"]
    assert run("train", "people.csv", "--target", "income", "--layers", "7", "--pretraining", "none", *words) == 0
    assert "fine-tuning on 10 labelled rows of 72" in capsys.readouterr().out
    model = load("people.layerwise")
    network = model[-1]
    assert (network.activation, network.pretraining, network.n_jobs) == ("relu", None, 1)
    assert network.finetuning == layerwise.FineTuning(
        dropout=0.1,
        input_dropout=0.2,
        schedule="cosine",
        early_stopping=True,
        optimizer=layerwise.Adam(learning_rate=0.01),
    )
    assert model.named_steps["columns"].get_params()["categories__min_frequency"] == 25
    assert "categories__id_infrequent_sklearn" in model[:-1].get_feature_names_out()
    assert "numbers__rank" not in model.named_steps["columns"].get_params()


def test_a_time_limit_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "people.csv", "--target", "income", "--epochs", "100000", "--max-seconds", "0.2") == 0
    said = capsys.readouterr()
    assert said.err.startswith("layerwise: warning: max_seconds=0.2 ended the fit.")
    assert said.err.count("\n") == 1
    load("people.layerwise")


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "--quiet", "--history", "h.jsonl", "--output", "m.layerwise")
    said = capsys.readouterr()
    assert said.out == said.err == ""
    assert sorted(os.listdir()) == ["h.jsonl", "m.layerwise", "people.csv", "some.npy", "some.npz"]


# ---- formats, progress, interruption ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ";"), ("t.csv", ","), ("t.csv", "\t"), ("t.tsv", "\t")])
def test_separators_and_holes(name: str, separator: str) -> None:
    lines = [["a", "b"], ["1", " x"], ["", "?"], ["3", " y"]]
    Path(name).write_text("\ufeff" + "\n".join(separator.join(line) for line in lines), encoding="utf-8")
    frame = tables.read(Path(name))
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].fillna(-1).tolist() == [1, -1, 3]
    assert frame["b"].fillna("hole").tolist() == ["x", "hole", "y"]


def test_progress_tells_stage_epoch_loss_and_the_time_left() -> None:
    terminal: Any = Terminal()
    progress = display.TrainingProgress(terminal, lambda: 10, [5, 4], [3, 3], 2, rows=100, labelled=20)
    progress.report("layer 1: begins")
    progress(EpochRecord("pretraining", 1, 1, 3, 0.5, None, 0.1, 0.1))
    progress(EpochRecord("finetuning", None, 1, 2, 0.25, 0.125, 0.1, 0.1))
    assert "\rlayer 1/2  epoch 1/3  loss 0.5  about 0.0 s left" in terminal.written
    assert "\rfine-tuning  epoch 1/2  loss 0.25  validation 0.125  about" in terminal.written
    # An epoch of layer 1 costs 2 * 100 * 50, of layer 2 2 * 100 * 20, of fine-tuning 20 * 70.
    progress._start = time.perf_counter() - 1.0
    left = progress._left(EpochRecord("pretraining", 2, 1, 3, 0.5, None, 0.1, 0.1))
    assert left == pytest.approx((2 * 4000 + 2 * 1400) / (3 * 10000 + 4000), rel=0.02)
    progress.report("done")
    assert terminal.written.endswith("\rdone\n")


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "layerwise", "train", "people.csv", "--target", "income", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    ("words", "line", "said"),
    [
        pytest.param(
            ["--epochs", "1000000"],
            "layer 1: ",
            "interrupted before fine-tuning: no model is written",
            marks=pytest.mark.slow,
        ),
        (
            ["--epochs", "1", "--finetuning-epochs", "1000000"],
            "fine-tuning on",
            "interrupted; people.layerwise holds the model as it was in fine-tuning",
        ),
    ],
)
def test_ctrl_c(words: list[str], line: str, said: str) -> None:
    with start(*words) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(line):
            pass
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint == f"layerwise: {said}\n"
    if "holds" in said:
        load("people.layerwise")
    assert Path("people.layerwise").exists() == ("holds" in said)
