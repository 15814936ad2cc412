"""L1, clipping, bounded norms, label smoothing and input dropout: from the settings to what was trained."""

from __future__ import annotations

import numpy as np
import pytest
from test_pretraining import unit_data

from layerwise import (
    SGD,
    Autoencoder,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    checks,
    finetuning,
    pretrain,
    reference_penalties,
)
from layerwise.checks import Parameter
from layerwise.initializers import draw
from layerwise.network import Network

WHERE = Parameter("Thing", "setting")
BAD = [-1.0, np.nan, np.inf, "x", True, [1]]
X = unit_data(90)
CLASSES = np.argsort(X[:, 0]).argsort() // 30  # three of thirty rows each
ONE_HOT = np.eye(3)[CLASSES]


@pytest.mark.parametrize("kind", [FineTuning, Autoencoder, DenoisingAutoencoder])
@pytest.mark.parametrize("name", ["l1", "clip_value", "clip_norm", "max_norm"])
@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_bad_numbers_are_named(kind: type, name: str, bad: object) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^The 'setting__{name}' parameter of Thing must be .* Got "):
        kind(**{name: bad}).check(WHERE, 2)


@pytest.mark.parametrize("kind", [FineTuning, Autoencoder])
def test_bounds_are_positive_or_none(kind: type) -> None:
    for name in ("clip_value", "clip_norm", "max_norm"):
        kind(**{name: None}).check(WHERE, 1)
        kind(**{name: 3}).check(WHERE, 1)
        with pytest.raises(InvalidParameterError, match=rf"'setting__{name}' .* None or a finite number in \(0, inf\)"):
            kind(**{name: 0}).check(WHERE, 1)
    with pytest.raises(InvalidParameterError, match=r"'setting__clip_norm' .* None with clip_value"):
        kind(clip_value=1.0, clip_norm=1.0).check(WHERE, 1)


@pytest.mark.parametrize("name", ["label_smoothing", "input_dropout"])
@pytest.mark.parametrize("bad", [*BAD, 1.0], ids=repr)
def test_bad_shares_are_named(name: str, bad: object) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^The 'setting__{name}' parameter of Thing must be .* \[0, 1\)"):
        FineTuning(**{name: bad}).check(WHERE, 1)  # type: ignore[arg-type]


def start() -> Network:
    stages = list(pretrain(X, [6], Autoencoder(epochs=1), activation="tanh", seed=3))
    return finetuning.stack(stages, 3, "softmax", seed=5)


def tuned(Y: np.ndarray = ONE_HOT, **settings: object) -> tuple[Network, list[finetuning.EpochRecord]]:
    checked = FineTuning(**{"epochs": 3, "optimizer": SGD(0.1)} | settings).check(WHERE, 1)  # type: ignore[arg-type]
    return finetuning.finetune(start(), X, Y, checked, loss="softmax_cross_entropy", n_hidden=1, seed=2)


def flat(network: Network) -> np.ndarray:
    return np.concatenate([np.concatenate([layer.weights.ravel(), layer.bias]) for layer in network.layers])


def test_label_smoothing_is_training_on_smoothed_targets() -> None:
    smoothed, history = tuned(label_smoothing=0.3)
    by_hand, by_hand_history = tuned((1 - 0.3) * ONE_HOT + 0.3 / 3)
    np.testing.assert_array_equal(flat(smoothed), flat(by_hand))
    assert [record.loss for record in history] == [record.loss for record in by_hand_history]
    assert not np.array_equal(flat(smoothed), flat(tuned()[0]))
    still = {"optimizer": SGD(1e-300), "early_stopping": True}  # the validation loss is that of the labels
    one, other = (tuned(label_smoothing=smoothing, **still)[1][0] for smoothing in (0.0, 0.3))
    assert one.validation_loss == other.validation_loss
    assert one.loss != other.loss


def test_label_smoothing_of_several_labels_a_row_is_towards_one_half() -> None:
    stages = list(pretrain(X, [6], Autoencoder(epochs=1), activation="tanh", seed=3))
    network, Y = finetuning.stack(stages, 3, "sigmoid", seed=5), (X[:, :3] > 0.5).astype(float)
    ends = []
    for settings, targets in ((FineTuning(epochs=2, label_smoothing=0.2), Y), (FineTuning(epochs=2), 0.8 * Y + 0.1)):
        checked = settings.check(WHERE, 1)
        tuned, _ = finetuning.finetune(network, X, targets, checked, loss="sigmoid_cross_entropy", n_hidden=1, seed=2)
        ends.append(flat(tuned))
    np.testing.assert_array_equal(*ends)


def test_label_smoothing_is_for_classes() -> None:
    settings = FineTuning(epochs=1, label_smoothing=0.1)
    options = {"pretraining": Autoencoder(epochs=1), "finetuning": settings, "random_state": 0}
    PretrainedClassifier((4,), **options).fit(X, CLASSES)
    for kind in (PretrainedRegressor, StackedAutoencoder):
        with pytest.raises(InvalidParameterError, match=r"'finetuning__label_smoothing' .* not classes. Got 0.1"):
            kind((4,), **options).fit(X, X[:, 0])


def test_input_dropout_is_for_training_alone() -> None:
    plain, dropped = tuned()[0], tuned(input_dropout=0.4)[0]
    assert not np.array_equal(flat(plain), flat(dropped))
    np.testing.assert_array_equal(dropped.apply(X), dropped.apply(X))
    still = {"optimizer": SGD(1e-300), "epochs": 1}
    assert tuned(**still)[1][0].loss != tuned(**still, input_dropout=0.4)[1][0].loss
    early = {**still, "early_stopping": True}
    assert tuned(**early)[1][0].validation_loss == tuned(**early, input_dropout=0.4)[1][0].validation_loss
    np.testing.assert_array_equal(flat(tuned(input_dropout=0.4)[0]), flat(dropped))  # the same seed, the same noise


def test_an_unrolled_autoencoder_rebuilds_the_whole_inputs() -> None:
    settings = {"epochs": 200, "optimizer": SGD(0.05), "batch_size": 90}
    errors = []
    for dropout in (0.0, 0.5):
        model = StackedAutoencoder(
            (8,), activation="identity", pretraining=Autoencoder(epochs=1, loss="squared_error"), random_state=0,
            finetuning=FineTuning(input_dropout=dropout, **settings),
        ).fit(X)  # fmt: skip
        errors.append(((model.reconstruct(X) - X) ** 2).sum(axis=1).mean())
    assert errors[0] < errors[1] < ((X - X.mean(axis=0)) ** 2).sum(axis=1).mean()


def test_one_step_follows_the_formulas() -> None:
    whole = {"epochs": 1, "batch_size": 90, "optimizer": SGD(1.0), "alpha": 0.1}
    before = start()
    whole_gradient = flat(before) - flat(tuned(**whole)[0])  # of the objective, alpha's term included
    for name, limit, clip in (
        ("clip_value", 0.01, reference_penalties.clip_by_value),
        ("clip_norm", 0.05, reference_penalties.clip_by_norm),
    ):
        gradient = whole_gradient.copy()
        clip([gradient], limit)
        assert not np.array_equal(gradient, whole_gradient)
        step = flat(before) - flat(tuned(**whole, **{name: limit})[0])
        np.testing.assert_allclose(step, gradient, rtol=1e-9, atol=1e-14)
    sparse, plain = tuned(**whole, l1=0.02)[0], tuned(**whole)[0]
    for l1, without, first in zip(sparse.layers, plain.layers, before.layers, strict=True):
        np.testing.assert_allclose(l1.weights, without.weights - 0.02 * np.sign(first.weights), rtol=1e-9, atol=1e-14)
        np.testing.assert_array_equal(l1.bias, without.bias)
    for layer, free in zip(tuned(**whole, max_norm=0.5)[0].layers, plain.layers, strict=True):
        expected = free.weights.copy()
        reference_penalties.bound_norms(expected, 0.5)
        np.testing.assert_allclose(layer.weights, expected, rtol=1e-12)


def test_pretraining_has_them_too_one_value_a_layer() -> None:
    settings = Autoencoder(epochs=2, max_norm=[0.3, None], l1=[0, 0.01], clip_norm=[None, 0.1])
    first, second = pretrain(X, (5, 4), settings)
    assert np.linalg.norm(first.weights, axis=0).max() == pytest.approx(0.3)
    assert np.linalg.norm(second.weights, axis=0).max() > 0.31
    assert (first.settings.max_norm, second.settings.l1, second.settings.clip_norm) == (0.3, 0.01, 0.1)  # type: ignore[union-attr]

    whole = {"epochs": 1, "batch_size": 90, "optimizer": SGD(1.0)}
    W = draw("auto", "sigmoid", checks.subkey(checks.subkey(9, 1), 0), 12, 4)
    plain, l1, clipped = (
        next(pretrain(X, [4], Autoencoder(**whole, **more), seed=9))  # type: ignore[arg-type]
        for more in ({}, {"l1": 0.1}, {"clip_value": 0.001})
    )
    np.testing.assert_allclose(l1.weights, plain.weights - 0.1 * np.sign(W), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(clipped.weights - W, np.clip(plain.weights - W, -0.001, 0.001), rtol=1e-9, atol=1e-14)


def test_l1_leaves_few_weights_that_matter() -> None:
    shares = []
    for l1 in (0.0, 0.01):
        network, _ = tuned(l1=l1, epochs=300)
        weights = np.concatenate([layer.weights.ravel() for layer in network.layers])
        shares.append((np.abs(weights) > 0.05).mean())
    assert shares[1] < 0.7 * shares[0]
