"""Greedy pretraining: what is learned from what, which decoder and loss, and how good it is."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from layerwise import (
    SGD,
    Adam,
    Autoencoder,
    DenoisingAutoencoder,
    Emphasis,
    EpochRecord,
    Gaussian,
    InvalidParameterError,
    Masking,
    PReLU,
    SaltAndPepper,
    ScaleWarning,
    Swap,
    TrainingDiverged,
    _core,
    checks,
    pretrain,
    skill,
    training,
)
from layerwise.activations import Activation
from layerwise.initializers import draw
from layerwise.pretraining import choose_decoder


def unit_data(n: int = 120, dtype: type = np.float64) -> np.ndarray:
    """Rows of 12 numbers in [0, 1] that 3 hidden causes explain."""
    causes = _core.random_normal(5, 0, 3 * n).reshape(n, 3)
    mixing = _core.random_normal(5, 1, 36).reshape(3, 12)
    return (1 / (1 + np.exp(-2 * causes @ mixing))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softmax", PReLU()], ids=str)
def test_every_layer_learns(dtype: type, tied: bool, activation: object) -> None:
    stages = list(
        pretrain(
            unit_data(dtype=dtype),
            (10, 6),
            Autoencoder(epochs=40, batch_size=10, tied=tied, optimizer=Adam(0.02)),
            activation=activation,
        )
    )
    assert [stage.weights.shape for stage in stages] == [(12, 10), (10, 6)]
    for stage in stages:
        assert stage.history[-1].loss < stage.history[0].loss
        assert stage.skill <= 1
        assert stage.weights.dtype == stage.bias.dtype == stage.decoder.bias.dtype == dtype
        assert [record.epoch for record in stage.history] == list(range(1, 41))
        assert {(record.stage, record.layer) for record in stage.history} == {("pretraining", stage.layer)}
    assert stages[0].skill > (0.2 if activation == "softmax" else 0.5)


def test_an_epoch_of_full_batch_is_one_step_of_the_tied_autoencoder() -> None:
    X, key = unit_data(), checks.subkey(checks.subkey(9, 1), 0)
    settings = Autoencoder(epochs=1, batch_size=len(X), optimizer=SGD(0.1), alpha=0.01)
    (stage,) = pretrain(X, [4], settings, seed=9)
    W = draw("auto", "sigmoid", key, 12, 4)
    hidden = 1 / (1 + np.exp(-X @ W))
    output = 1 / (1 + np.exp(-hidden @ W.T))
    delta = (output - X) / len(X)  # cross-entropy of sigmoid outputs
    back = delta @ W * hidden * (1 - hidden)
    np.testing.assert_allclose(stage.weights, W - 0.1 * (X.T @ back + delta.T @ hidden + 0.01 * W), rtol=1e-10)
    np.testing.assert_allclose(stage.bias, -0.1 * back.sum(axis=0), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(stage.decoder.bias, -0.1 * delta.sum(axis=0), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(
        stage.history[0].loss, -(X * np.log(output) + (1 - X) * np.log(1 - output)).sum(axis=1).mean(), rtol=1e-12
    )


def test_the_next_layer_learns_from_the_codes_of_clean_inputs() -> None:
    X = unit_data()
    first, second = pretrain(X, (8, 4), DenoisingAutoencoder(epochs=3), seed=1)
    codes = first.encode(X)
    np.testing.assert_allclose(codes, 1 / (1 + np.exp(-X @ first.weights - first.bias)), rtol=1e-12)
    low, room = skill._least_and_room(codes, None, "cross_entropy")
    p = np.clip(second.decode(second.encode(codes)), 1e-12, 1 - 1e-12)
    reached = -(codes * np.log(p) + (1 - codes) * np.log(1 - p)).sum(axis=1).mean()
    assert second.skill == pytest.approx(1 - (reached - low) / room, rel=1e-6)


def test_skill_of_the_squared_error_is_the_explained_share() -> None:
    X = unit_data() * 6 - 3
    (stage,) = pretrain(X, [3], Autoencoder(epochs=60, batch_size=10), activation="tanh")
    errors = ((stage.decode(stage.encode(X)) - X) ** 2).sum()
    assert stage.loss == "squared_error"
    assert stage.skill == pytest.approx(1 - errors / ((X - X.mean(axis=0)) ** 2).sum(), rel=1e-9)
    assert stage.skill > 0.5


def test_skill_of_constant_data_is_zero() -> None:
    (stage,) = pretrain(np.full((20, 3), 2.0), [2], Autoencoder(epochs=1))
    assert stage.skill == 0.0


@pytest.mark.parametrize(
    ("settings", "unit", "chosen"),
    [
        (Autoencoder(), True, ("sigmoid", "cross_entropy")),
        (Autoencoder(), False, ("identity", "squared_error")),
        (Autoencoder(loss="squared_error"), True, ("identity", "squared_error")),
        (Autoencoder(loss="cross_entropy"), False, ("sigmoid", "cross_entropy")),
        (Autoencoder(decoder="identity"), True, ("identity", "squared_error")),
        (Autoencoder(decoder="sigmoid"), True, ("sigmoid", "cross_entropy")),
        (Autoencoder(decoder="sigmoid"), False, ("sigmoid", "squared_error")),
        (Autoencoder(decoder="sigmoid", loss="squared_error"), True, ("sigmoid", "squared_error")),
        (Autoencoder(decoder="softplus"), False, ("softplus", "squared_error")),
    ],
)
def test_decoder_and_loss_fit(settings: Autoencoder, unit: bool, chosen: tuple[str, str]) -> None:
    assert choose_decoder(settings, unit) == chosen


@pytest.mark.parametrize(
    ("activation", "upper"),
    [("sigmoid", "cross_entropy"), ("softmax", "cross_entropy"), ("tanh", "squared_error"), ("relu", "squared_error")],
)
def test_upper_layers_go_by_the_activation_below(activation: str, upper: str) -> None:
    quick = DenoisingAutoencoder(epochs=1)
    unit = [stage.loss for stage in pretrain(unit_data(), (4, 3, 2), quick, activation=activation)]
    assert unit == ["cross_entropy", upper, upper]
    other = [stage.loss for stage in pretrain(unit_data() - 0.5, (4, 3), quick, activation=activation)]
    assert other == ["squared_error", upper]


def test_the_choice_is_reported() -> None:
    said: list[str] = []
    list(pretrain(unit_data(), [4], Autoencoder(epochs=1), report=said.append))
    assert said[0].startswith("layer 1: 12 -> 4 sigmoid, tied, decoder sigmoid, cross_entropy (targets in [")
    assert said[1].startswith("layer 1: loss ")
    assert "skill" in said[1]


@pytest.mark.parametrize("loss", ["auto", "cross_entropy"])
def test_a_scale_that_cannot_work_is_a_warning_with_its_remedy(loss: str) -> None:
    with pytest.warns(ScaleWarning, match=r"layer 1: a sigmoid decoder .* MinMaxScaler"):
        list(pretrain(unit_data() * 3, [4], Autoencoder(epochs=1, decoder="sigmoid", loss=loss)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(pretrain(unit_data(), [4], Autoencoder(epochs=1, decoder="sigmoid", loss=loss)))


@pytest.mark.parametrize(
    ("decoder", "shift", "span"),
    [
        ("tanh", -3, r"\(-1, 1\)"),
        ("tanh", 1, r"\(-1, 1\)"),
        ("relu", -1, "from 0 up"),
        ("softplus", -1, "from 0 up"),
    ],
)
def test_targets_that_another_decoder_cannot_reach(decoder: str, shift: int, span: str) -> None:
    settings = Autoencoder(epochs=1, decoder=decoder)
    with pytest.warns(ScaleWarning, match=f"layer 1: a {decoder} decoder yields values .*{span}"):
        list(pretrain(unit_data() + shift, [4], settings))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(pretrain(unit_data(), [4], settings))


def test_a_validation_part_has_a_row_at_least() -> None:
    (stage,) = pretrain(unit_data(), [4], Autoencoder(epochs=1, validation_fraction=1e-9))
    assert stage.history[0].validation_loss is not None
    (stage,) = pretrain(unit_data()[:1], [4], Autoencoder(epochs=1, validation_fraction=0.5))
    assert stage.history[0].validation_loss is None


CORRUPTIONS = [
    Masking(0.5), Masking(0.5, exact=True), Masking([0.5] * 12), Gaussian(0.3), Gaussian([0.3] * 12),
    SaltAndPepper(0.4), Swap(), Swap([0.5] * 12), "masking", "swap", None,
]  # fmt: skip


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=str)
def test_corruption_changes_training_but_not_the_target(corruption: object) -> None:
    X = unit_data()
    (plain,) = pretrain(X, [6], Autoencoder(epochs=5), seed=2)
    (noisy,) = pretrain(X, [6], DenoisingAutoencoder(corruption=corruption, epochs=5), seed=2)
    assert np.array_equal(plain.weights, noisy.weights) == (corruption is None)
    assert noisy.history[-1].loss < noisy.history[0].loss


def test_emphasis_is_part_of_the_training_loss() -> None:
    X = unit_data()
    runs = [
        next(pretrain(X, [6], DenoisingAutoencoder(corruption=Swap(0.4), emphasis=emphasis, epochs=5), seed=2))
        for emphasis in (None, Emphasis(1, 1), "double", "full", Emphasis(2, 0))
    ]
    plain, ones, double, full, twice = (stage.history[0].loss for stage in runs)
    assert plain == ones > double > full
    assert plain > 0
    assert twice == pytest.approx(2 * full, rel=0.2)
    assert len({stage.weights.tobytes() for stage in runs}) == 4


def test_levels_by_input_are_checked_at_the_call() -> None:
    X = unit_data()
    list(pretrain(X, (5, 4), DenoisingAutoencoder(corruption=[Masking([0.1] * 12), Swap([0.1] * 5)], epochs=1)))
    for noise in (Masking([0.1] * 11), [Masking(), Gaussian([0.1] * 4)], [Masking([0.1] * 12), Masking([0.1] * 12)]):
        with pytest.raises(InvalidParameterError, match=r"'pretraining__corruption__\w+' parameter .* layer"):
            pretrain(X, (5, 4), DenoisingAutoencoder(corruption=noise))


def test_salt_and_pepper_takes_the_extremes_of_the_data() -> None:
    X = np.zeros((10, 4))
    X[:, 0] = np.linspace(-2, 5, 10)  # only -2 and 5 can be put in place of a value
    (stage,) = pretrain(
        X, [3], DenoisingAutoencoder(corruption=SaltAndPepper(1.0), epochs=1, batch_size=10, loss="squared_error")
    )
    start = draw("auto", "sigmoid", checks.subkey(checks.subkey(0, 1), 0), 4, 3)
    assert stage.history[0].loss > 0
    assert not np.array_equal(stage.weights, start)


def test_one_value_a_layer() -> None:
    settings = DenoisingAutoencoder(
        epochs=[1, 3], corruption=[Masking(0.5), None], tied=[True, False], batch_size=[10, 20]
    )
    first, second = pretrain(
        unit_data(), (5, 4), settings, activation=["tanh", "relu"], initializer=["auto", "he_normal"]
    )
    assert (len(first.history), len(second.history)) == (1, 3)
    assert (first.decoder.tied_to, second.decoder.tied_to) == (0, -1)
    assert (first.encoder.activation.name, second.encoder.activation.name) == ("tanh", "relu")
    assert (first.settings.corruption, second.settings.corruption) == (Masking(0.5), None)


def test_a_validation_part_is_measured_and_not_trained_on() -> None:
    X = unit_data()
    settings = Autoencoder(epochs=2, validation_fraction=0.25)
    stages = list(pretrain(X, (5, 4), settings, seed=4))
    assert all(record.validation_loss is not None for stage in stages for record in stage.history)
    _, rows = training.split(120, 0.25, checks.subkey(4, 0))
    assert len(rows) == 30
    changed = X.copy()
    changed[rows.ravel().astype(int)] = 0.5
    for stage, other in zip(stages, pretrain(changed, (5, 4), settings, seed=4), strict=True):
        np.testing.assert_array_equal(stage.weights, other.weights)


def test_stages_come_one_by_one() -> None:
    epochs: list[EpochRecord] = []
    stages = pretrain(unit_data(), (5, 4, 3), Autoencoder(epochs=2), callbacks=[epochs.append])
    assert epochs == []
    next(stages)
    assert [record.layer for record in epochs] == [1, 1]
    next(stages)
    assert [record.layer for record in epochs] == [1, 1, 2, 2]


def test_a_callback_ends_the_layer_not_the_pretraining() -> None:
    stages = list(pretrain(unit_data(), (5, 4), Autoencoder(epochs=9), callbacks=[lambda record: record.epoch == 2]))
    assert [len(stage.history) for stage in stages] == [2, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(dtype: type) -> None:
    X = unit_data(700, dtype)
    settings = DenoisingAutoencoder(epochs=2, batch_size=200)
    runs = [list(pretrain(X, (90, 40), settings, seed=5, threads=threads)) for threads in (1, 2, 3, 0)]
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(a.weights, b.weights)
            np.testing.assert_array_equal(a.decoder.bias, b.decoder.bias)
            assert a.skill == b.skill
    (first, _) = pretrain(X, (90, 40), settings, seed=6)
    assert not np.array_equal(first.weights, runs[0][0].weights)


def test_divergence_names_the_layer() -> None:
    settings = Autoencoder(epochs=30, optimizer=[Adam(), SGD(1e9)], loss="squared_error")
    with pytest.raises(TrainingDiverged, match="pretraining of layer 2 diverged in epoch") as info:
        list(pretrain(unit_data(), (5, 4), settings, activation="relu"))
    assert (info.value.stage, info.value.layer, info.value.learning_rate) == ("pretraining", 2, 1e9)


def test_bad_calls_are_refused_at_once() -> None:
    X = unit_data()
    with pytest.raises(InvalidParameterError, match="'pretraining__corruption__rate' parameter of pretrain"):
        pretrain(X, [4], DenoisingAutoencoder(corruption=Masking(2.0)))
    with pytest.raises(InvalidParameterError, match="'hidden_layer_sizes'"):
        pretrain(X, [])
    with pytest.raises(InvalidParameterError, match="'activation'"):
        pretrain(X, [4], activation="bogus")
    with pytest.raises(InvalidParameterError, match="'seed'"):
        pretrain(X, [4], seed=-1)
    for threads in (-1, "x", 1.5, True):
        with pytest.raises(InvalidParameterError, match="'threads' parameter of pretrain"):
            pretrain(X, [4], threads=threads)  # type: ignore[arg-type]
    for bad in (np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(3), np.full((3, 3), np.nan), np.full((2, 2), np.inf)):
        with pytest.raises(ValueError, match="X"):
            pretrain(bad, [4])
    for odd in (np.ma.masked_array(X), np.array([["a"]]), np.array([["2020"]], dtype="M8[Y]")):
        with pytest.raises(TypeError, match="X"):
            pretrain(odd, [4])


def test_a_stage_is_data() -> None:
    (stage,) = pretrain(unit_data(), [4], Autoencoder(epochs=1))
    with pytest.raises(AttributeError):
        stage.layer = 2  # type: ignore[misc]
    assert repr(stage).startswith("<Stage 1: 12 -> 4 sigmoid, 1 epochs, skill ")
    assert stage.encoder.activation == Activation("sigmoid")
    assert stage.network().apply(unit_data()).shape == (120, 12)
