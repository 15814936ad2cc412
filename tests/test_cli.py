import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command_lines import Terminal

import layerwise
from layerwise import LinearDecay, cli, datasets, demo

TINY = ["--labels", "30", "--hidden", "8,8,8", "--epochs", "1", "--finetuning-epochs", "2"]


@pytest.fixture(autouse=True)
def without_mnist(monkeypatch):
    monkeypatch.delenv("LAYERWISE_DATA", raising=False)


@pytest.fixture
def small_digits(monkeypatch):
    """Digits, but a third of them, so that a run takes no time."""
    X, y = datasets.load_digits()
    monkeypatch.setattr(datasets, "load_digits", lambda: (X[:900], y[:900]))


def test_info(capsys):
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"layerwise +{re.escape(layerwise.__version__)}", said)
    assert layerwise._core.isa() in said
    assert re.search(r"threads +\d+ of \d+ cores", said)
    assert f"numpy            {np.__version__}" in said


def test_version_and_help(capsys):
    for words in (["--version"], ["--help"], ["demo", "--help"], ["info", "--help"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 0
    said = capsys.readouterr().out
    assert layerwise.__version__ in said
    assert "--labels" in said
    assert "LAYERWISE_DATA" in said


@pytest.mark.usefixtures("small_digits")
def test_demo_without_mnist(capsys, tmp_path):
    file = tmp_path / "found.json"
    assert cli.main(["demo", *TINY, "--seeds", "2", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    for method in demo.METHODS:
        assert len(re.findall(rf"seed \d/2  {method}: test error", said)) == 2
        assert re.search(rf"^{method} +\d+\.\d\d % ± \d+\.\d\d", said, re.MULTILINE)
    assert "skill of the layers" in said
    assert said.strip().splitlines()[-1].startswith("With 30 labels among 303 rows, pretraining ")

    found = json.loads(file.read_text())
    assert found["data"] == "scikit-learn's digits"
    assert found["seeds"] == [0, 1]
    assert all(len(errors) == 2 for errors in found["test_error_percent"].values())
    assert said.strip().endswith(found["verdict"])
    assert os.listdir(tmp_path) == ["found.json"]


@pytest.mark.usefixtures("small_digits")
def test_demo_gives_the_same_errors_again(tmp_path):
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file in files:
        assert cli.main(["demo", *TINY, "--seeds", "1", "--json", str(file)]) == 0
    first, second = (json.loads(file.read_text())["test_error_percent"] for file in files)
    assert first == second


@pytest.fixture
def made(monkeypatch):
    """The estimators of a demo's last seed, by method."""
    make, made = demo.make, {}

    def kept(method, *settings):
        made[method] = make(method, *settings)
        return made[method]

    monkeypatch.setattr(demo, "make", kept)
    return made


@pytest.mark.usefixtures("small_digits")
def test_demo_with_input_dropout(capsys, tmp_path, made):
    file = tmp_path / "found.json"
    assert cli.main(["demo", *TINY, "--seeds", "1", "--input-dropout", "0.2", "--json", str(file)]) == 0
    assert "2 in fine-tuning (input dropout 0.2, rate falling at last)\n" in capsys.readouterr().out
    assert json.loads(file.read_text())["options"]["input_dropout"] == 0.2
    for method in (demo.PRETRAINED, demo.RANDOM, demo.RELU):
        tuning = made[method].finetuning
        assert (tuning.input_dropout, tuning.schedule) == (0.2, LinearDecay(hold=1.6))
    assert cli.main(["demo", *TINY, "--seeds", "1"]) == 0
    assert "2 in fine-tuning\n" in capsys.readouterr().out
    assert (made[demo.RANDOM].finetuning.input_dropout, made[demo.RANDOM].finetuning.schedule) == (0.0, "auto")


@pytest.mark.usefixtures("small_digits")
def test_demo_with_batch_normalisation(capsys, tmp_path, made):
    file = tmp_path / "found.json"
    assert cli.main(["demo", *TINY, "--seeds", "1", "--batch-norm", "--json", str(file)]) == 0
    assert "8-8-8-10, sigmoid with batch normalisation, 1 seed" in capsys.readouterr().out
    assert json.loads(file.read_text())["options"]["batch_norm"] is True
    for method in (demo.PRETRAINED, demo.RANDOM, demo.RELU):
        assert [layer.normalization is None for layer in made[method].network_.layers] == [False] * 3 + [True]


def test_demo_on_files_of_mnist(capsys, tmp_path):
    rng = np.random.default_rng(0)
    for part, rows in (("train", 200), ("t10k", 50)):
        labels = (np.arange(rows) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (rows, 5, 5)).astype(np.uint8)
        images[np.arange(rows), labels // 5, labels % 5] = 255
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            sizes = b"".join(int(size).to_bytes(4, "big") for size in values.shape)
            (tmp_path / f"{part}-{kind}-ubyte").write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())
    assert cli.main(["demo", "--data", str(tmp_path), "--seeds", "1", *TINY]) == 0
    said = capsys.readouterr().out
    assert said.startswith("MNIST: 200 training rows, 30 labelled; 50 test rows")
    assert "in fine-tuning (input dropout 0.3, rate falling at last)\n" in said
    assert "one seed" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--data", "nowhere"], "MNIST not found in nowhere"),
        (["demo", "--full"], "LAYERWISE_DATA"),
        (["demo", "--labels", "5"], "--labels must be from 10 (one a class) to 1200 (all), got 5"),
        (["demo", "--labels", "30", "--activation", "logistic"], "sigmoid"),
        (["demo", "--json", "no/such/folder/file"], "cannot write no/such/folder/file: its folder does not exist"),
        (["demo", "--json", "."], "it is a folder"),
    ],
)
def test_failures_take_one_line_and_code_1(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("layerwise: ")
    assert complaint.count("\n") == 1
    assert message in complaint


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing"],
        ["demo", "--seeds", "0"],
        ["demo", "--seeds", "two"],
        ["demo", "--hidden", "10,x"],
        ["demo", "--hidden", "10,0"],
        ["demo", "--corruption", "1.5"],
        ["demo", "--corruption", "much"],
        ["demo", "--input-dropout", "1"],
        ["info", "a file", "more"],
    ],
)
def test_wrong_words_end_with_code_2(capsys, words):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: layerwise" in capsys.readouterr().err


@pytest.mark.usefixtures("small_digits")
def test_interruption_says_what_was_finished_and_keeps_it(capsys, monkeypatch, tmp_path):
    make = demo.make

    def make_or_interrupt(method, options, seed, progress):
        if (seed, method) == (1, demo.RANDOM):
            raise KeyboardInterrupt
        return make(method, options, seed, progress)

    monkeypatch.setattr(demo, "make", make_or_interrupt)
    file = tmp_path / "found.json"
    assert cli.main(["demo", *TINY, "--seeds", "3", "--json", str(file)]) == 130
    said = capsys.readouterr()
    assert said.err == "layerwise: interrupted: 1 of 3 seeds finished\n"
    assert "test error   training" in said.out
    assert json.loads(file.read_text())["seeds"] == [0]


def test_ctrl_c_in_a_process():
    command = [sys.executable, "-m", "layerwise", "demo", "--seeds", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("scikit-learn's digits")
        process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.startswith("layerwise: interrupted")
    assert "Traceback" not in out + complaint


def outcome(pretrained, random, logistic=50.0, svm=50.0):
    errors = {demo.PRETRAINED: pretrained, demo.RANDOM: random}
    errors |= {rival: [logistic] * len(random) for rival in demo.RIVALS} | {demo.SVM: [svm] * len(random)}
    return demo.Outcome(errors, {method: [1.0] * len(random) for method in errors}, list(range(len(random))))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (outcome([5.0, 5.2, 5.1], [8.0, 8.1, 8.2]), "pretraining helped: .* from 8.10 % to 5.10 %"),
        (outcome([8.0, 8.1, 8.2], [5.0, 5.2, 5.1]), "pretraining hurt: .* from 5.10 % to 8.10 %"),
        (outcome([5.0, 9.0, 7.0], [7.0, 7.2, 7.5]), "pretraining made no difference that shows: 7.23 % without it"),
        (outcome([5.0, 5.0], [5.0, 5.0]), "pretraining made no difference that shows"),
        (outcome([5.0], [8.0]), "one seed: no spread, so no proof"),
        (outcome([5.0, 5.2], [8.0, 8.2], svm=4.0), "but RBF support vectors did better still: 4.00 %"),
        (outcome([5.0, 5.2], [8.0, 8.2], logistic=9.0), "while the best rival, a ReLU network, had 9.00 %"),
    ],
)
def test_the_verdict_goes_by_the_paired_difference_and_its_spread(found, said):
    sentence = demo.verdict(found, demo.DIGITS, 1200)
    assert re.search(said, sentence)
    assert sentence.count(". ") == 0
    assert sentence.endswith(".")


def test_progress_rewrites_one_line_on_a_terminal():
    X, y = datasets.load_digits()
    data = datasets.Dataset(X[:100], y[:100], X[100:150], y[100:150])
    options = demo.Options((6, 6), labels=20, seeds=1, pretraining_epochs=2, finetuning_epochs=2)
    terminal, found = Terminal(), demo.Outcome()
    progress = demo.Progress(options, data, terminal)
    demo.run(data, options, progress, found)
    progress.clear()
    assert re.search(
        r"\rseed 1/1  pretrained network: pretraining layer 2/2  epoch 2/2  loss [\d.]+ +\S+ s left", terminal.written
    )
    assert "fine-tuning  epoch 2/2" in terminal.written
    assert "layer 1: 64 -> 6 sigmoid" in terminal.written
    assert re.search(r"layer 2: loss [\d.]+, skill -?\d\.\d+\n", terminal.written)
    assert found.seeds == [0]
