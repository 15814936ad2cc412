"""The deep autoencoder of Hinton & Salakhutdinov 2006: machines, unrolled, untied and fine-tuned as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import layerwise
from layerwise import (
    Autoencoder,
    ConjugateGradient,
    FineTuning,
    InvalidParameterError,
    Normal,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
)
from layerwise.datasets import load_digits

X, Y = load_digits()
X = X[:400]


def model(**settings: object) -> StackedAutoencoder:
    return StackedAutoencoder(
        (40, 20, 6),
        activation=["sigmoid", "sigmoid", "identity"],
        pretraining=RestrictedBoltzmannMachine(epochs=5, batch_size=20),
        initializer=Normal(0.1),
        random_state=0,
    ).set_params(**settings)


def test_decoders_start_from_the_transposes_and_go_their_own_way() -> None:
    tied = model().fit(X)
    start = model(finetuning=FineTuning(epochs=0, untie=True)).fit(X)
    assert [layer.tied_to for layer in start.network_.layers] == [-1] * 6
    for encoder, decoder in zip(start.network_.layers[:3], reversed(start.network_.layers[3:]), strict=True):
        np.testing.assert_array_equal(decoder.weights, encoder.weights.T)
    for stage, decoder in zip(start.stages_, reversed(start.network_.layers[3:]), strict=True):
        np.testing.assert_array_equal(decoder.bias, stage.decoder.bias)  # the machine's visible biases
    np.testing.assert_allclose(start.reconstruct(X), tied.reconstruct(X), rtol=1e-5, atol=1e-6)
    tuned = model(finetuning=FineTuning(epochs=3, untie=True)).fit(X)
    stays = model(finetuning=FineTuning(epochs=3)).fit(X)
    for depth in range(3):
        first, last = tuned.network_.layers[depth].weights, tuned.network_.layers[5 - depth].weights
        assert not np.array_equal(last, first.T)
        assert not np.array_equal(first, start.network_.layers[depth].weights)
        np.testing.assert_array_equal(stays.network_.layers[5 - depth].weights, stays.network_.layers[depth].weights.T)


@pytest.mark.parametrize("optimizer", ["adam", ConjugateGradient()], ids=["adam", "conjugate gradients"])
def test_fine_tuning_the_whole_beats_the_pretrained_layers(optimizer: object) -> None:
    train, test = X[:300], X[300:]
    settings = FineTuning(epochs=60, optimizer=optimizer, untie=True, batch_size=50)
    before = model().fit(train)
    after = model(finetuning=settings).fit(train)

    def error(rebuilt: np.ndarray) -> float:
        return float(((rebuilt - test) ** 2).sum(axis=1).mean())

    assert error(after.reconstruct(test)) < 0.9 * error(before.reconstruct(test))


def test_files_and_fits_that_go_on(tmp_path: Path) -> None:
    one = model(finetuning=FineTuning(epochs=1), warm_start=True).fit(X)
    one.set_params(finetuning__untie=True).fit(X)
    assert [layer.tied_to for layer in one.network_.layers] == [-1] * 6
    one.set_params(finetuning__untie=False).fit(X)  # what has gone its own way stays so
    assert [layer.tied_to for layer in one.network_.layers] == [-1] * 6
    assert len(one.history_) == 3 * 5 + 3
    one.partial_fit(X)
    one.save(tmp_path / "deep.layerwise")
    loaded = layerwise.load(tmp_path / "deep.layerwise")
    np.testing.assert_array_equal(loaded.reconstruct(X), one.reconstruct(X))
    assert [layer.tied_to for layer in loaded.network_.layers] == [-1] * 6
    assert loaded.stages_[0].decoder.tied_to == 0
    assert layerwise.load(tmp_path / "deep.layerwise").set_params(finetuning__untie=True).finetuning.untie


def test_layers_that_are_untied_already() -> None:
    one = model(pretraining=Autoencoder(epochs=1, tied=[True, False, False]), finetuning=FineTuning(epochs=0)).fit(X)
    other = model(**one.get_params(deep=False)).set_params(finetuning__untie=True).fit(X)
    assert [layer.tied_to for layer in one.network_.layers] == [-1, -1, -1, -1, -1, 0]
    assert [layer.tied_to for layer in other.network_.layers] == [-1] * 6
    np.testing.assert_allclose(one.reconstruct(X), other.reconstruct(X), rtol=1e-5, atol=1e-6)


def test_untie_is_for_unrolled_autoencoders() -> None:
    for kind in (PretrainedClassifier, PretrainedRegressor):
        with pytest.raises(InvalidParameterError, match=r"finetuning__untie.* False where no autoencoder is unrolled"):
            kind((5,), finetuning=FineTuning(untie=True)).fit(X, Y[:400])
    with pytest.raises(InvalidParameterError, match=r"finetuning__untie.* True or False"):
        model(finetuning=FineTuning(untie=1)).fit(X)
