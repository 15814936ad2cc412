"""What sparse and contractive pretraining do to the codes, and that their settings reach the engine."""

from __future__ import annotations

import numpy as np
import pytest
from test_pretraining import unit_data

from layerwise import (
    SGD,
    Adam,
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    InvalidParameterError,
    Masking,
    SparseAutoencoder,
    StackedAutoencoder,
    Swish,
    checks,
    pretrain,
    reference_penalties,
    training,
)
from layerwise.initializers import draw

QUICK = {"epochs": 60, "batch_size": 40, "optimizer": Adam(0.02)}


def one_step(settings: Autoencoder, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tied sigmoid encoder's weights before and after a step of the whole batch with rate 1."""
    changed = settings.replace(epochs=1, batch_size=len(X), optimizer=SGD(1.0), loss="squared_error", decoder="sigmoid")
    (stage,) = pretrain(X, [4], changed, seed=9)
    return draw("auto", "sigmoid", checks.subkey(checks.subkey(9, 1), 0), X.shape[1], 4), stage.weights


def test_a_step_follows_the_penalties_formulas() -> None:
    X = unit_data()
    W, plain = one_step(Autoencoder(), X)
    share, z = np.full(len(X), 1 / len(X)), X @ W
    a = 1 / (1 + np.exp(-z))
    by_sparsity = reference_penalties.kl_sparsity(a, share, 0.1)[1] * a * (1 - a)
    by_l1 = reference_penalties.activation_l1(a, share)[1] * a * (1 - a)
    _, by_z, by_W, _ = reference_penalties.contraction(W, z, share, "sigmoid")
    for settings, gradient in (
        (SparseAutoencoder(sparsity=2.0, sparsity_target=0.1), 2 * X.T @ by_sparsity),
        (SparseAutoencoder(sparsity=0.0, activation_l1=0.3), 0.3 * X.T @ by_l1),
        (ContractiveAutoencoder(contraction=0.5), 0.5 * (X.T @ by_z + by_W)),
    ):
        _, changed = one_step(settings, X)
        np.testing.assert_allclose(changed, plain - gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_codes_have_the_mean_asked_for(dtype: type, activation: str) -> None:
    X = unit_data(400, dtype)
    for target in (0.05, 0.2):
        settings = SparseAutoencoder(sparsity=20.0, sparsity_target=target, **QUICK)
        (stage,) = pretrain(X, [8], settings, activation=activation)
        mean = stage.encode(X).mean(axis=0)
        np.testing.assert_allclose(mean if activation == "sigmoid" else (1 + mean) / 2, target, atol=0.3 * target)
        assert stage.skill > 0.1


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus", Swish()], ids=str)
def test_l1_makes_codes_smaller(activation: object) -> None:
    X = unit_data(400)
    sizes = []
    for l1 in (0.0, 0.05, 0.5):
        settings = SparseAutoencoder(sparsity=0, activation_l1=l1, loss="squared_error", **QUICK)
        (stage,) = pretrain(X, [8], settings, activation=activation)
        sizes.append(np.abs(stage.encode(X)).sum(axis=1).mean())
    assert sizes[0] > 1.05 * sizes[1] > 1.1 * sizes[2]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "elu", "gelu", Swish()], ids=str)
def test_contraction_makes_codes_change_less(activation: object) -> None:
    X, h = unit_data(400), 1e-4
    moves = []
    for contraction in (0.0, 0.1, 1.0):
        settings = ContractiveAutoencoder(contraction=contraction, loss="squared_error", tied=False, **QUICK)
        (stage,) = pretrain(X, [8], settings, activation=activation)
        moves.append(sum(((stage.encode(X + h * e) - stage.encode(X)) ** 2).sum() for e in np.eye(12)) / h**2)
    assert moves[0] > 1.1 * moves[1] > 1.2 * moves[2]


@pytest.mark.parametrize("kind", [SparseAutoencoder, ContractiveAutoencoder])
def test_without_penalty_and_noise_it_is_the_plain_autoencoder(kind: type[Autoencoder]) -> None:
    X = unit_data()
    off = {SparseAutoencoder: "sparsity", ContractiveAutoencoder: "contraction"}[kind]
    (plain,) = pretrain(X, [5], Autoencoder(epochs=3))
    (other,) = pretrain(X, [5], kind(epochs=3, **{off: 0}))
    np.testing.assert_array_equal(other.weights, plain.weights)
    (noisy,) = pretrain(X, [5], DenoisingAutoencoder(epochs=3, corruption=Masking(0.3)))
    (other,) = pretrain(X, [5], kind(epochs=3, corruption=Masking(0.3), **{off: 0}))
    np.testing.assert_array_equal(other.weights, noisy.weights)
    (both,) = pretrain(X, [5], kind(epochs=3, corruption=Masking(0.3)))
    assert not np.array_equal(both.weights, noisy.weights)


def test_one_value_a_layer() -> None:
    X = unit_data()
    settings = SparseAutoencoder(sparsity=[0, 2.0], activation_l1=[0.1, 0], sparsity_target=[0.1, 0.3], epochs=1)
    first, second = pretrain(X, (5, 4), settings, activation=["tanh", "sigmoid"])
    assert (first.settings.sparsity, second.settings.sparsity) == (0, 2.0)  # type: ignore[attr-defined]
    with pytest.raises(InvalidParameterError, match=r"'pretraining__sparsity' parameter of pretrain .* relu"):
        pretrain(X, (5, 4), settings, activation=["sigmoid", "relu"])
    with pytest.raises(InvalidParameterError, match=r"'pretraining__contraction' parameter of pretrain .* softmax"):
        pretrain(X, (5, 4), ContractiveAutoencoder(), activation=["sigmoid", "softmax"])


@pytest.mark.parametrize("settings", ["sparse_autoencoder", "contractive_autoencoder"])
def test_an_estimator_takes_them_by_name(settings: str) -> None:
    X = unit_data()
    model = StackedAutoencoder((5, 4), pretraining=settings, random_state=0).fit(X)
    assert type(model.stages_[0].settings).__name__.lower() == settings.replace("_", "")
    with pytest.raises(InvalidParameterError, match=r"'pretraining__\w+' parameter of StackedAutoencoder"):
        StackedAutoencoder((5,), pretraining=settings, activation=["softmax" if "con" in settings else "relu"]).fit(X)


def test_validation_losses_are_those_of_the_reconstruction_alone() -> None:
    X = unit_data()
    settings = {"epochs": 1, "validation_fraction": 0.25, "loss": "squared_error"}
    held_out = X[training.split(len(X), 0.25, checks.subkey(4, 0))[1]]
    for kind in (SparseAutoencoder(sparsity=100.0, **settings), ContractiveAutoencoder(contraction=50.0, **settings)):
        (stage,) = pretrain(X, [5], kind, seed=4)
        error = ((stage.decode(stage.encode(held_out)) - held_out) ** 2).sum(axis=1).mean()
        assert stage.history[0].validation_loss == pytest.approx(error, rel=1e-12)
