"""What the commands make of labels, and the files that they write."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_lines import complaint_of, run, table_of, train, write_tables

import layerwise
from layerwise.commands import targets
from layerwise.commands.files import check_writable


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)


def test_many_whole_labels_are_read_at_once() -> None:
    column = np.zeros(200_000)
    column[::2] = 1.0
    start = time.perf_counter()
    target = targets.target(column)
    assert time.perf_counter() - start < 20  # by searching all labels for each it would be minutes
    assert target.is_classes
    np.testing.assert_array_equal(target.values, column)
    assert targets.target([-1, 1]).values.dtype == np.float64  # an integer -1 would mean unknown


def test_outputs_keep_their_modes_and_links(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "-q")
    words = ["predict", "people.layerwise", "people.csv", "--target", "income", "-o"]
    umask = os.umask(0o077)
    try:
        assert run(*words, "new.csv") == 0
    finally:
        os.umask(umask)
    own, link = Path("own.csv"), Path("link.csv")
    own.write_text("old")
    own.chmod(0o640)
    link.symlink_to(own)
    assert run(*words, "link.csv") == 0
    assert [stat.S_IMODE(os.stat(name).st_mode) for name in ("new.csv", "own.csv")] == [0o600, 0o640]
    assert link.is_symlink()
    assert own.read_bytes() == Path("new.csv").read_bytes()
    os.mkfifo("pipe.csv")
    Path("lost.csv").symlink_to("no/where.csv")
    capsys.readouterr()
    Path("people.layerwise").rename("kept")
    assert "cannot write lost.csv: its folder does not exist" in complaint_of(capsys, *words, "lost.csv")
    Path("kept").rename("people.layerwise")
    assert "cannot write pipe.csv: it is not a regular file" in complaint_of(capsys, *words, "pipe.csv")


def test_several_outputs_have_a_column_each(capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("some.npz") as arrays:
        X = arrays["X"]
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame.to_csv("own.csv", index=False)
    quick = {"pretraining": None, "finetuning": layerwise.FineTuning(epochs=1), "random_state": 0}
    regressor = layerwise.PretrainedRegressor((5,), **quick).fit(frame, X[:, :2] * 1.23456789)
    classifier = layerwise.PretrainedClassifier((5,), **quick).fit(frame, (X[:, :2] > 0).astype(int))
    for model in (regressor, classifier):
        model.save("own.layerwise")
        assert run("predict", "own.layerwise", "own.csv", "-o", "out.csv") == 0
        out = table_of("out.csv")
        assert list(out[0]) == ["prediction1", "prediction2"]
        made = np.array([[float(row["prediction1"]), float(row["prediction2"])] for row in out])
        np.testing.assert_array_equal(made.astype(np.float32), model.predict(frame).astype(np.float32))
        Path("out.csv").unlink()
        frame.assign(t=X[:, 0] > 0).to_csv("more.csv", index=False)
        said = complaint_of(capsys, "predict", "own.layerwise", "more.csv", "--target", "t", "-o", "out.csv")
        assert "own.layerwise has 2 outputs, which one target cannot be compared with" in said
        assert not Path("out.csv").exists()


def test_the_score_of_one_output_that_came_as_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("some.npz") as arrays:
        X = arrays["X"]
    pd.DataFrame(X, columns=list("abcd")).to_csv("own.csv", index=False)
    frame, y = pd.read_csv("own.csv")[["b", "c", "d"]], X[:, :1]
    tuning = layerwise.FineTuning(epochs=40)
    model = layerwise.PretrainedRegressor((5,), pretraining=None, finetuning=tuning, random_state=0).fit(frame, y)
    model.save("own.layerwise")
    assert model.predict(frame).shape == (60, 1)
    assert run("predict", "own.layerwise", "own.csv", "--target", "a", "-o", "out.csv") == 0
    expected = np.sqrt(np.mean((model.predict(frame) - y) ** 2))
    assert f"root mean squared error {expected:.4g} on 60 rows" in capsys.readouterr().err


def test_scores_of_a_detector(capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("some.npz") as arrays:
        frame = pd.DataFrame(arrays["X"].astype(np.float64), columns=list("abcd"))
    frame.loc[3] *= 20
    frame.to_csv("own.csv", index=False)
    quick = {"finetuning": layerwise.FineTuning(epochs=1), "random_state": 0}
    plain = layerwise.AnomalyDetector((5,), **quick)
    table = layerwise.tabular_pipeline(layerwise.AnomalyDetector((5,), **quick), numbers="standard")
    for model, final in ((plain, plain), (table, table[-1])):
        model.fit(frame).save("own.layerwise")
        assert run("predict", "own.layerwise", "own.csv", "--scores", "-o", "out.csv") == 0
        out = table_of("out.csv")
        assert list(out[0]) == ["prediction", "score"]
        scores = np.array([float(row["score"]) for row in out])
        np.testing.assert_allclose(scores, model.score_samples(frame))
        assert run("predict", "own.layerwise", "own.csv", "--scores", "-o", "out.npy") == 0
        np.testing.assert_allclose(np.load("out.npy"), scores)
        assert run("info", "own.layerwise") == 0
        said = capsys.readouterr().out
        threshold = float(said.split("threshold ")[1].split(":")[0])
        assert threshold == final.offset_
        assert [row["prediction"] for row in out] == ["-1" if score < threshold else "1" for score in scores]
        assert out[3]["prediction"] == "-1"
        said = complaint_of(capsys, "predict", "own.layerwise", "own.csv", "--probabilities")
        assert "own.layerwise holds an AnomalyDetector: use --scores" in said


def test_scores_are_for_detectors(capsys: pytest.CaptureFixture[str]) -> None:
    train("people.csv", "--target", "income", "-q")
    said = complaint_of(capsys, "predict", "people.layerwise", "people.csv", "--scores")
    holds = "people.layerwise holds a PretrainedClassifier: use --probabilities"
    assert said == f"layerwise: --scores are for anomaly detectors, and {holds}\n"
    train("people.csv", "--target", "age", "-q")
    said = complaint_of(capsys, "predict", "people.layerwise", "people.csv", "--scores", "-o", "out.csv")
    assert said.endswith("and people.layerwise holds a PretrainedRegressor\n")
    assert not Path("out.csv").exists()
    assert run("info", "people.layerwise") == 0
    assert "threshold" not in capsys.readouterr().out


def test_what_is_appended_to_need_be_no_regular_file() -> None:
    os.mkfifo("epochs")
    check_writable(Path("epochs"), appends=True)
    with pytest.raises(OSError, match="cannot write epochs: it is not a regular file"):
        check_writable(Path("epochs"))
