"""Fine-tuning: stacking, freezing, early stopping on rows that are not trained on, masked targets, unrolling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from layerwise import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Autoencoder,
    FineTuning,
    InvalidParameterError,
    Momentum,
    MomentumRamp,
    MomentumSwitch,
    Nesterov,
    PretrainedClassifier,
    PretrainedRegressor,
    RMSProp,
    StackedAutoencoder,
    TrainingDiverged,
    _core,
    finetuning,
    optimizers,
    pretrain,
)
from layerwise.checks import Parameter, subkey
from layerwise.finetuning import finetune, split_rows, stack, unroll
from layerwise.network import Network

WHERE = Parameter("test")


def data(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    numbers = _core.random_uniform(3, 0, n * 6).reshape(n, 6)
    classes = (numbers[:, 0] > numbers[:, 1]).astype(int) + (numbers[:, 2] > 0.7)
    return numbers, np.eye(3)[classes]


def stacked(outputs: int = 3, activation: str = "softmax") -> Network:
    return stack(list(pretrain(data()[0], (8, 5), Autoencoder(epochs=2))), outputs, activation, seed=1)


def tune(settings: FineTuning, **options: object) -> tuple[Network, list]:
    X, Y = data()
    task: dict = {"loss": "softmax_cross_entropy", "n_hidden": 2, "groups": Y.argmax(axis=1), "seed": 2} | options
    return finetune(stacked(), X, Y, settings.check(WHERE, 2), **task)


def test_stacking_keeps_the_layers() -> None:
    stages = list(pretrain(data()[0], (8, 5), Autoencoder(epochs=2)))
    network = stack(stages, 3, "softmax", seed=1)
    assert [layer.weights.shape for layer in network.layers] == [(6, 8), (8, 5), (5, 3)]
    np.testing.assert_array_equal(network.layers[1].weights, stages[1].weights)
    np.testing.assert_array_equal(network.layers[1].bias, stages[1].bias)
    assert not network.layers[2].bias.any()


def test_fine_tuning_learns_and_leaves_its_start_alone() -> None:
    start = stacked()
    X, Y = data()
    settings = FineTuning(epochs=60, optimizer=Adam(0.02)).check(WHERE, 2)
    network, history = finetune(start, X, Y, settings, loss="softmax_cross_entropy", n_hidden=2)
    assert (network.apply(X).argmax(axis=1) == Y.argmax(axis=1)).mean() > 0.9
    assert len(history) == 60
    assert {(record.stage, record.layer) for record in history} == {("finetuning", None)}
    np.testing.assert_array_equal(start.layers[0].weights, stacked().layers[0].weights)


@pytest.mark.parametrize("optimizer", list(optimizers.BY_NAME))
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_frozen_layers_do_not_move(optimizer: str, alpha: float) -> None:
    settings = FineTuning(epochs=3, optimizer=optimizer, alpha=alpha, dropout=0.2, frozen_layers=1)
    before, (after, _) = stacked(), tune(settings)
    assert before.layers[0].weights.tobytes() == after.layers[0].weights.tobytes()
    assert before.layers[0].bias.tobytes() == after.layers[0].bias.tobytes()
    assert not np.array_equal(before.layers[1].weights, after.layers[1].weights)
    other, _ = tune(settings.replace(frozen_layers=(2,)))
    assert before.layers[1].weights.tobytes() == other.layers[1].weights.tobytes()
    assert not np.array_equal(before.layers[0].weights, other.layers[0].weights)


def test_each_layer_has_its_rate() -> None:
    one = FineTuning(epochs=1, optimizer=SGD(0.1), batch_size=200)
    start, plain = stacked(), tune(one)[0]
    scaled, _ = tune(one.replace(rate_scale=[0.5, 2.0], layer_decay=0.25, output_rate_scale=5.0))
    for layer, scale in enumerate([0.5 * 0.25**2, 2.0 * 0.25, 5.0]):
        for name in ("weights", "bias"):
            old, new, other = (getattr(network.layers[layer], name) for network in (start, plain, scaled))
            np.testing.assert_allclose(other - old, scale * (new - old), rtol=1e-9, atol=1e-15)
    same, _ = tune(one.replace(rate_scale=[1, 1.0], layer_decay=1, output_rate_scale=np.float32(1)))
    assert same.layers[0].weights.tobytes() == plain.layers[0].weights.tobytes()


@pytest.mark.parametrize("optimizer", list(optimizers.BY_NAME))
def test_scaled_rates_are_rates_to_every_optimizer(optimizer: str) -> None:
    settings = FineTuning(epochs=3, optimizer=optimizers.BY_NAME[optimizer](0.02))
    scaled, _ = tune(settings.replace(rate_scale=0.5, output_rate_scale=0.5))
    halved, _ = tune(settings.replace(optimizer__learning_rate=0.01))
    for a, b in zip(scaled.layers, halved.layers, strict=True):
        assert a.weights.tobytes() == b.weights.tobytes()


def test_the_decoders_of_an_unrolled_network_have_the_output_rate() -> None:
    X, _ = data()
    network = unroll(list(pretrain(X, (8, 5), Autoencoder(epochs=2, tied=[True, False]))))
    settings = FineTuning(epochs=1, optimizer=SGD(0.1), batch_size=200)
    task: dict = {"loss": "sigmoid_cross_entropy", "n_hidden": 2}
    plain, _ = finetune(network, X, None, settings.check(WHERE, 2), **task)
    scaled, _ = finetune(network, X, None, settings.replace(output_rate_scale=3.0).check(WHERE, 2), **task)
    for layer, name, scale in ((0, "weights", 1), (1, "weights", 1), (2, "weights", 3), (2, "bias", 3), (3, "bias", 3)):
        old, new, other = (getattr(net.layers[layer], name) for net in (network, plain, scaled))
        np.testing.assert_allclose(other - old, scale * (new - old), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "bads"),
    [
        ("rate_scale", (0, -1, None, "1", [1.0], [1, 1, 1], [1, 0], np.inf)),
        ("layer_decay", (0, 1.1, None, [0.5])),
        ("output_rate_scale", (0, -1, None, [1])),
    ],
)
def test_bad_rates_are_named(name: str, bads: tuple) -> None:
    for bad in bads:
        with pytest.raises(InvalidParameterError, match=f"^The 'finetuning__{name}' parameter of Thing must be"):
            FineTuning(**{name: bad}).check(Parameter("Thing", "finetuning"), 2)


def test_no_epochs_change_nothing() -> None:
    network, history = tune(FineTuning(epochs=0))
    assert history == []
    np.testing.assert_array_equal(network.layers[2].weights, stacked().layers[2].weights)


def test_dropout_and_alpha_take_part() -> None:
    results = [
        tune(FineTuning(epochs=2, **setting))[0].layers[1].weights for setting in ({}, {"dropout": 0.3}, {"alpha": 0.1})
    ]
    assert not np.array_equal(results[0], results[1])
    assert np.linalg.norm(results[2]) < np.linalg.norm(results[0])
    one, _ = tune(FineTuning(epochs=2, dropout=[0.0, 0.3]))
    assert not np.array_equal(one.layers[1].weights, results[1])


def test_early_stopping_restores_the_best_weights() -> None:
    X, Y = data()
    settings = FineTuning(
        epochs=500, optimizer=SGD(5.0), batch_size=5, early_stopping=True, validation_fraction=0.3, n_iter_no_change=5
    )
    network, history = tune(settings)
    losses = [record.validation_loss for record in history]
    assert len(history) < 500
    _, rows = split_rows(len(X), 0.3, Y.argmax(axis=1), subkey(2, 0))
    reached = -np.log((network.apply(X[rows]) * Y[rows]).sum(axis=1)).mean()
    assert reached == pytest.approx(min(losses), rel=1e-9)
    assert losses[-1] > min(losses)


def test_validation_rows_are_never_trained_on() -> None:
    X, Y = data()
    settings = FineTuning(epochs=3, early_stopping=True, validation_fraction=0.2, n_iter_no_change=99).check(WHERE, 2)
    groups = Y.argmax(axis=1)
    task: dict = {"loss": "softmax_cross_entropy", "n_hidden": 2, "groups": groups, "seed": 2}
    _, rows = split_rows(len(X), 0.2, groups, subkey(2, 0))
    changed = X.copy()
    changed[rows] = 0.0
    _, history = finetune(stacked(), X, Y, settings, **task)
    _, other = finetune(stacked(), changed, Y, settings, **task)
    assert [record.loss for record in history] == [record.loss for record in other]
    assert history[0].validation_loss != other[0].validation_loss


def test_the_split_is_stratified() -> None:
    groups = np.repeat([0, 1, 2], [100, 50, 10])
    train, held_out = split_rows(160, 0.2, groups, 7)
    assert np.bincount(groups[held_out]).tolist() == [20, 10, 2]
    assert sorted([*train, *held_out]) == list(range(160))
    np.testing.assert_array_equal(split_rows(160, 0.2, groups, 7)[1], held_out)
    assert not np.array_equal(split_rows(160, 0.2, groups, 8)[1], held_out)


def test_the_split_of_few_rows_is_as_large_as_asked_for() -> None:
    groups = np.repeat(np.arange(10), 5)
    _, held_out = split_rows(50, 0.1, groups, 7)
    assert np.bincount(groups[held_out]).max() == 1
    assert len(held_out) == 5
    assert set(groups[split_rows(50, 0.1, groups, 8)[1]]) != set(groups[held_out])  # which classes is drawn by lot
    uneven = np.repeat([0, 1, 2, 3], [16, 14, 12, 8])  # shares 1.6, 1.4, 1.2 and 0.8 of a whole of 5
    assert np.bincount(uneven[split_rows(50, 0.1, uneven, 7)[1]]).tolist() == [2, 1, 1, 1]
    assert len(split_rows(50, 0.07, None, 7)[1]) == 4


@pytest.mark.parametrize(
    ("sizes", "fraction"), [([2], 0.1), ([1, 1], 0.1), ([1, 2, 1], 0.4), ([3, 3], 0.99), ([2, 1], 0.5)]
)
def test_small_splits_leave_rows_on_both_sides(sizes: list[int], fraction: float) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    train, held_out = split_rows(len(groups), fraction, groups, 3)
    assert len(held_out) >= 1
    assert len(train) >= 1
    if max(sizes) > 1:
        assert set(groups[train]) == set(groups)
    with pytest.raises(ValueError, match="at least 2 labelled rows"):
        split_rows(1, 0.5, None, 0)


def test_missing_targets_count_nothing() -> None:
    X, _ = data()
    Y = np.stack([X[:, 0], X[:, 1]], axis=1)
    masked = Y.copy()
    masked[::2, 1] = np.nan
    start = stack(list(pretrain(X, [8], Autoencoder(epochs=1))), 2, "identity", seed=1)
    settings = FineTuning(epochs=1, optimizer=SGD(0.1), batch_size=200).check(WHERE, 1)
    network, history = finetune(start, X, masked, settings, loss="squared_error", n_hidden=1)
    errors = start.apply(X) - masked
    assert history[0].loss == pytest.approx(np.nansum(errors**2) / len(X), rel=1e-12)
    step = 0.1 * 2 * np.nansum(errors, axis=0) / len(X)
    np.testing.assert_allclose(network.layers[1].bias, -step, rtol=1e-10)


def test_targets_missing_in_the_validation_part_alone() -> None:
    X, _ = data()
    Y = np.stack([X[:, 0], X[:, 1]], axis=1)
    _, rows = split_rows(len(X), 0.2, None, subkey(0, 0))
    Y[rows[:5], 1] = np.nan
    start = stack(list(pretrain(X, [8], Autoencoder(epochs=1))), 2, "identity", seed=1)
    settings = FineTuning(epochs=2, early_stopping=True, validation_fraction=0.2).check(WHERE, 1)
    _, history = finetune(start, X, Y, settings, loss="squared_error", n_hidden=1)
    assert all(np.isfinite(record.validation_loss) for record in history)


def test_unrolled_autoencoder() -> None:
    X, _ = data()
    stages = list(pretrain(X, (8, 5), Autoencoder(epochs=2, tied=[True, False])))
    network = unroll(stages)
    assert [layer.weights.shape for layer in network.layers] == [(6, 8), (8, 5), (5, 8), (8, 6)]
    assert [layer.tied_to for layer in network.layers] == [-1, -1, -1, 0]
    codes = stages[1].encode(stages[0].encode(X))
    np.testing.assert_allclose(network.apply(X), stages[0].decode(stages[1].decode(codes)), rtol=1e-12)
    settings = FineTuning(epochs=20).check(WHERE, 2)
    tuned, history = finetune(network, X, None, settings, loss="sigmoid_cross_entropy", n_hidden=2)
    assert history[-1].loss < history[0].loss
    np.testing.assert_array_equal(tuned.layers[3].weights, tuned.layers[0].weights.T)


def test_divergence_is_named() -> None:
    with pytest.raises(TrainingDiverged, match="finetuning diverged"):
        tune(FineTuning(epochs=30, optimizer=SGD(3e38), alpha=1.0))


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (Adam(beta_2=0.99999999), r"optimizer__beta_2' .* at most 0.99999997. Got 0.99999999"),
        (AdamW(beta_1=1 - 2**-25), "optimizer__beta_1' .* tell from 1"),
        (RMSProp(decay=0.99999999), "optimizer__decay' .* tell from 1"),
        (Momentum(momentum=0.99999999), "optimizer__momentum' .* tell from 1, .* a MomentumRamp"),
        (Momentum(momentum=MomentumSwitch(first=0.99999999)), "optimizer__momentum__first' .* tell from 1"),
        (Momentum(momentum=MomentumSwitch(then=0.99999999)), "optimizer__momentum__then' .* tell from 1"),
        (Nesterov(momentum=MomentumRamp(0.99999999)), "optimizer__momentum__highest' .* tell from 1"),
        (Adam(epsilon=1e-40), r"optimizer__epsilon' .* in \[1.2e-38, 3.4e\+38\]. Got 1e-40"),
        (Adagrad(epsilon=1e39), "optimizer__epsilon'"),
        (SGD(1e39), "optimizer__learning_rate' .* Got 1e.39"),
        (AdamW(weight_decay=1e39), "optimizer__weight_decay'"),
    ],
)
def test_what_float32_cannot_hold_is_refused_before_any_work(optimizer: Any, said: str) -> None:
    X, Y = data(40)
    model = PretrainedClassifier((3,), finetuning=FineTuning(optimizer=optimizer))
    with pytest.raises(InvalidParameterError, match=said):
        model.fit(X.astype(np.float32), Y.argmax(axis=1))
    assert not hasattr(model, "stages_")
    FineTuning(optimizer=Adam(beta_2=0.9999999, epsilon=1e-37)).check(WHERE, 1)


@pytest.mark.parametrize("kind", [PretrainedRegressor, StackedAutoencoder])
def test_early_stopping_on_too_few_rows_is_refused_before_pretraining(kind: Any) -> None:
    X, _ = data(8)
    y = np.array([1, *[np.nan] * 7])
    X = X if kind is PretrainedRegressor else X[:1]
    trained: list[Any] = []
    model = kind((3,), finetuning=FineTuning(early_stopping=True), callbacks=trained.append)
    with pytest.raises(ValueError, match=r"early_stopping needs at least 2 (labelled )?rows\. Got n_samples = 1"):
        model.fit(X, y[: len(X)])
    assert not trained


def test_ctrl_c_keeps_the_best_weights() -> None:
    kept: list = []

    def interrupt(record: object) -> None:
        if record.epoch == 4:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    settings = FineTuning(epochs=9, early_stopping=True)
    with pytest.raises(KeyboardInterrupt):
        tune(settings, callbacks=[interrupt], on_interrupt=lambda *reached: kept.append(reached))
    ((network, history),) = kept
    assert [record.epoch for record in history] == [1, 2, 3]
    expected, _ = tune(settings.replace(epochs=3))
    np.testing.assert_array_equal(network.layers[1].weights, expected.layers[1].weights)


def test_the_same_bits_on_any_number_of_threads() -> None:
    results = [tune(FineTuning(epochs=2, dropout=0.2, batch_size=64), threads=threads)[0] for threads in (1, 2, 3, 0)]
    for other in results[1:]:
        for a, b in zip(results[0].layers, other.layers, strict=True):
            np.testing.assert_array_equal(a.weights, b.weights)


def test_settings_by_name() -> None:
    assert finetuning.resolve(WHERE, "auto") == FineTuning()
