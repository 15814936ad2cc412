"""``--batch-norm`` of the commands that train: what it makes, and what it is refused with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_lines import QUICK, complaint_of, run, table_of, write_tables

import layerwise
from layerwise import InvalidParameterError, StackedAutoencoder, cli, load
from layerwise.commands import options, tables


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)


@pytest.mark.parametrize("pretraining", ["denoising", "sparse", "supervised", "none"])
def test_hidden_layers_are_normalised(pretraining: str) -> None:
    words = ["--batch-norm", "--pretraining", pretraining, "--layers", "6,4", "--finetuning-epochs", "2", "-q"]
    assert run("train", "people.csv", "--target", "income", *words) == 0
    model = load("people.layerwise")
    assert model[-1].batch_norm is True
    assert [layer.normalization is None for layer in model[-1].network_.layers] == [False, False, True]
    assert run("predict", "people.layerwise", "people.csv", "-o", "out.csv") == 0
    columns = tables.read(Path("people.csv"), ["code"]).drop(columns="income")
    assert [row["prediction"] for row in table_of("out.csv")] == list(model.predict(columns))


def test_an_autoencoder_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "some.npy", "--batch-norm", "--layers", "6,4", "--epochs", "1", "--checkpoint", "c", "-q") == 0
    assert all(stage.encoder.normalization is not None for stage in load("some.layerwise")[-1].stages_)
    said = complaint_of(capsys, "train", "some.npy", "--layers", "6,4", "--epochs", "1", "--checkpoint", "c", "-q")
    assert 'batch_norm (then true, now "auto")' in said


def test_the_comparison_is_of_normalised_networks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(model: Any, *_: Any, **__: Any) -> None:
        raise ValueError(f"batch_norm={model[-1].batch_norm}")

    monkeypatch.setattr(layerwise, "compare", compare)
    for flags, seen in (([], "auto"), (["--batch-norm"], "True")):
        said = complaint_of(capsys, "compare", "people.csv", "--target", "income", *QUICK, *flags)
        assert said == f"layerwise: batch_norm={seen}\n"


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize("pretraining", options.UNNORMALISED)
def test_it_is_refused_before_any_work(capsys: pytest.CaptureFixture[str], command: str, pretraining: str) -> None:
    words = [command, "absent.csv", "--target", "income", "--batch-norm", "--pretraining", pretraining]
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert f"error: --batch-norm is not for --pretraining {pretraining}, whose " in capsys.readouterr().err


def test_the_package_refuses_the_same() -> None:
    X = np.random.default_rng(0).random((20, 3), np.float32)
    kinds = {
        "denoising": layerwise.DenoisingAutoencoder,
        "autoencoder": layerwise.Autoencoder,
        "sparse": layerwise.SparseAutoencoder,
        "contractive": layerwise.ContractiveAutoencoder,
        "rbm": layerwise.RestrictedBoltzmannMachine,
    }
    assert set(kinds) == set(options.PRETRAINING) - {"supervised", "none"}
    for flag, kind in kinds.items():
        model = StackedAutoencoder((2,), pretraining=kind(epochs=1), batch_norm=True)
        if flag in options.UNNORMALISED:
            with pytest.raises(InvalidParameterError, match="batch_norm"):
                model.fit(X)
        else:
            model.fit(X)


def test_messages_of_the_package_name_the_flag() -> None:
    message = "The 'batch_norm' parameter of PretrainedClassifier must be False. Got True instead."
    assert options.in_flags(message) == "--batch-norm must be False. Got True instead."
