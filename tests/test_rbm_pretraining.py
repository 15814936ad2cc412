"""Pretraining with restricted Boltzmann machines, alone and in the estimators."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest
from sklearn.datasets import load_digits

from layerwise import (
    SGD,
    Adam,
    ConstantRate,
    InvalidParameterError,
    Momentum,
    MomentumSwitch,
    Normal,
    RestrictedBoltzmannMachine,
    ScaleWarning,
    StepDecay,
    TrainingDiverged,
    _core,
    boltzmann,
    checks,
    pretrain,
    reference_random,
    reference_rbm,
)
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.rbm import fit_to_layers
from layerwise.reference_rbm import Activity, Machine


@cache
def digits(dtype: type = np.float64) -> np.ndarray:
    X: np.ndarray = (load_digits().data / 16).astype(dtype)
    return X


def machine(stage: object, visible: str = "binary", hidden: str = "binary") -> Machine:
    """The reference's form of a stage."""
    W, c, b = (a.astype(np.float64) for a in (stage.weights, stage.bias, stage.decoder.bias))
    return Machine(W, b, c, visible, hidden)


def binary_data(n: int = 60) -> np.ndarray:
    causes = _core.random_uniform(5, 0, 2 * n).reshape(n, 2) < 0.5
    flips = _core.random_uniform(5, 1, 8 * n).reshape(n, 8) < 0.1
    return (np.repeat(causes, 4, axis=1) ^ flips).astype(np.float64)


# --- what is learned ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"k": 2},
        {"persistent": True},
        {"sparsity_target": 0.2, "sparsity_cost": 0.5, "sparsity_decay": 0.7},
        {"optimizer": SGD(0.2)},
        {"optimizer": Momentum(0.2, MomentumSwitch(0.3, 0.7, 1))},
        {"schedule": StepDecay(factor=0.5, every=1)},
    ],
    ids=str,
)
def test_a_layer_is_the_references_machine(changes: dict) -> None:
    X, seed, batch = binary_data(), 9, 16
    settings = RestrictedBoltzmannMachine(
        epochs=3, batch_size=batch, **{"optimizer": Momentum(0.2, 0.8), "alpha": 0.01} | changes
    )
    (stage,) = pretrain(X, [5], settings, seed=seed, initializer=Normal(0.1))

    key = checks.subkey(seed, 1)
    p = (60 * X.mean(axis=0) + 0.5) / 61
    target = changes.get("sparsity_target")
    start = Machine(
        0.1 * _core.random_normal(checks.subkey(key, 0), 0, 40).reshape(8, 5),
        np.log(p / (1 - p)),
        np.full(5, 0.0 if target is None else np.log(target / (1 - target))),
    )
    engine_seed, steps = checks.subkey(key, 2), 12
    batches = [rows for epoch in range(3) for rows in reference_random.batches(engine_seed, 60, batch, epoch)]
    rates = 0.2 * 0.5 ** (np.arange(steps) // 4) if "schedule" in changes else np.full(steps, 0.2)
    momenta = np.full(steps, 0.8)
    if isinstance(settings.optimizer, Momentum) and settings.optimizer.momentum_schedule:
        momenta = np.where(np.arange(steps) < 4, 0.3, 0.7)
    sparse = {name: changes[f"sparsity_{name}"] for name in ("target", "cost", "decay")} if target else None
    losses = reference_rbm.train(
        start, X, batches, rates, momenta, seed=engine_seed, alpha=0.01, k=changes.get("k", 1),
        n_chains=batch if "persistent" in changes else 0, sample_visible="k" in changes or "persistent" in changes,
        activity=None if sparse is None else Activity(**sparse),
        optimizer=settings.optimizer.kind,
    )  # fmt: skip
    np.testing.assert_allclose(stage.weights, start.W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stage.bias, start.c, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stage.decoder.bias, start.b, rtol=1e-9, atol=1e-12)
    shares = [len(rows) / 60 for rows in batches[:4]]
    expected = [np.dot(losses[4 * epoch : 4 * epoch + 4], shares) for epoch in range(3)]
    np.testing.assert_allclose([record.loss for record in stage.history], expected, rtol=1e-11)


@pytest.mark.parametrize("persistent", [False, True])
def test_row_weights_count_in_the_start_and_in_every_step(persistent: bool) -> None:
    X, seed = binary_data(), 9
    weights = np.arange(60) % 3 * 0.7 + 0.1
    settings = RestrictedBoltzmannMachine(
        epochs=2, batch_size=16, optimizer=Momentum(0.2, 0.8), alpha=0.0, persistent=persistent, sample_visible=True
    )
    (stage,) = pretrain(X, [5], settings, seed=seed, row_weights=weights, initializer=Normal(0.1))
    key = checks.subkey(seed, 1)
    p = (60 * (weights @ X / weights.sum()) + 0.5) / 61
    W = 0.1 * _core.random_normal(checks.subkey(key, 0), 0, 40).reshape(8, 5)
    expected = Machine(W, np.log(p / (1 - p)), np.zeros(5))
    engine_seed = checks.subkey(key, 2)
    batches = [rows for epoch in range(2) for rows in reference_random.batches(engine_seed, 60, 16, epoch)]
    reference_rbm.train(
        expected, X, batches, np.full(8, 0.2), np.full(8, 0.8), seed=engine_seed, sample_visible=True,
        n_chains=16 if persistent else 0, row_weights=weights,
    )  # fmt: skip
    np.testing.assert_allclose(stage.weights, expected.W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stage.bias, expected.c, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stage.decoder.bias, expected.b, rtol=1e-9, atol=1e-12)


def test_the_log_likelihood_rises() -> None:
    X = binary_data(200)
    reached = []
    for epochs in (1, 20, 60):
        settings = RestrictedBoltzmannMachine(epochs=epochs, batch_size=20, optimizer=Momentum(0.02))
        (stage,) = pretrain(X, [4], settings, seed=1)
        reached.append(reference_rbm.log_likelihood(machine(stage), X))
    assert reached[0] < reached[1] < reached[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_digits_are_rebuilt_through_two_machines(dtype: type) -> None:
    X = digits(dtype)
    stages = list(pretrain(X, (100, 50), RestrictedBoltzmannMachine(epochs=15), seed=0))
    assert [stage.encoder.activation.name for stage in stages] == ["sigmoid", "sigmoid"]
    assert [stage.loss for stage in stages] == ["cross_entropy", "cross_entropy"]
    assert all(stage.decoder.tied_to == 0 and stage.weights.dtype == dtype for stage in stages)
    assert stages[0].skill > 0.7
    assert stages[1].skill > 0.8
    for stage in stages:
        assert stage.history[-1].loss < 0.85 * stage.history[0].loss
    noise = np.random.default_rng(0).permuted(X, axis=0)  # the same columns, no digits
    assert boltzmann.free_energy(stages[0], X).mean() < boltzmann.free_energy(stages[0], noise).mean() - 5


def test_real_inputs_make_gaussian_units() -> None:
    X = digits()[:, digits().std(axis=0) > 0.1]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    (stage,) = pretrain(X, [50], RestrictedBoltzmannMachine(epochs=30), seed=0)
    assert stage.settings.visible == "gaussian"
    assert (stage.decoder.activation.name, stage.loss) == ("identity", "squared_error")
    assert stage.skill > 0.5


def test_a_gaussian_code_layer_under_identity() -> None:
    settings = RestrictedBoltzmannMachine(epochs=30, optimizer=["auto", Momentum(0.01)])
    first, second = pretrain(digits(), (100, 10), settings, activation=["sigmoid", "identity"], seed=0)
    assert second.encoder.activation.name == "identity"
    assert second.skill > 0.8
    assert second.encode(first.encode(digits())).min() < 0


def test_the_starting_biases_are_the_inputs_odds() -> None:
    X = binary_data()
    X[:, 0] = 0
    settings = RestrictedBoltzmannMachine(epochs=0, sparsity_target=0.1)
    (stage,) = pretrain(X, [3], settings)
    assert stage.history == ()
    p = (X.sum(axis=0) + 0.5) / 61
    np.testing.assert_allclose(stage.decoder.bias, np.log(p / (1 - p)), rtol=1e-9)
    np.testing.assert_allclose(stage.bias, np.log(1 / 9), rtol=1e-9)
    assert 0.005 < stage.weights.std() < 0.02
    (stage,) = pretrain(X * 3 - 1, [3], settings)
    np.testing.assert_allclose(stage.decoder.bias, (X * 3 - 1).mean(axis=0), rtol=1e-9)


def test_held_out_rows_are_measured_by_rebuilding_from_probabilities() -> None:
    X, seen = binary_data(200), []
    settings = RestrictedBoltzmannMachine(epochs=2, validation_fraction=0.25)
    (stage,) = pretrain(X, [4], settings, callbacks=[seen.append], seed=3)
    rows = np.sort(_core.random_permutation(checks.subkey(3, 0), 0, 200)[:50])
    p = stage.decode(stage.encode(X[rows]))
    expected = -(X[rows] * np.log(p) + (1 - X[rows]) * np.log(1 - p)).sum(axis=1).mean()
    assert stage.history[-1].validation_loss == pytest.approx(expected, rel=1e-9)
    assert tuple(seen) == stage.history


def test_threads_do_not_change_a_bit() -> None:
    ends = [next(iter(pretrain(digits(), [40], RestrictedBoltzmannMachine(epochs=2), threads=n))) for n in (1, 2, 3)]
    assert len({stage.weights.tobytes() for stage in ends}) == 1


# --- settings -------------------------------------------------------------------------------------------------------

SIGMOID, IDENTITY = Activation("sigmoid"), Activation("identity")
UNIT, REAL = np.array([[0.0, 1.0], [0.5, 0.2]]), np.array([[-1.0, 1.0], [1.0, -1.0]])


def fitted(X: np.ndarray, settings: RestrictedBoltzmannMachine, *kinds: Activation) -> list:
    where = Parameter("pretrain")
    return fit_to_layers(where, X, settings.check(where.child("pretraining"), len(kinds)), kinds)


def test_auto_is_what_the_documentation_says() -> None:
    machines = fitted(REAL, RestrictedBoltzmannMachine(), SIGMOID, SIGMOID, IDENTITY)
    assert [m.visible for m in machines] == ["gaussian", "binary", "binary"]
    assert [m.optimizer.learning_rate for m in machines] == [0.001, 0.1, 0.001]
    assert [(m.optimizer.momentum, m.sample_visible) for m in machines] == [(MomentumSwitch(0.5, 0.9, 5), False)] * 3
    assert fitted(UNIT, RestrictedBoltzmannMachine(), SIGMOID)[0].visible == "binary"
    with pytest.warns(ScaleWarning):
        assert fitted(UNIT, RestrictedBoltzmannMachine(visible="gaussian"), SIGMOID)[0].visible == "gaussian"
    (m,) = fitted(UNIT, RestrictedBoltzmannMachine(persistent=True), SIGMOID)
    assert (m.optimizer, m.sample_visible) == (Momentum(0.01, MomentumSwitch()), True)
    assert fitted(UNIT, RestrictedBoltzmannMachine(k=2), SIGMOID)[0].sample_visible is True
    assert fitted(UNIT, RestrictedBoltzmannMachine(k=2, sample_visible=False), SIGMOID)[0].sample_visible is False
    assert fitted(UNIT, RestrictedBoltzmannMachine(optimizer="adam"), SIGMOID)[0].optimizer == Adam()


def test_settings_are_one_a_layer() -> None:
    settings = RestrictedBoltzmannMachine(
        epochs=[1, 2], k=[1, 3], batch_size=[10, "auto"], optimizer=[SGD(0.1), "auto"], alpha=[0, 0.1],
        persistent=[False, True], sample_visible=[True, "auto"], visible=["auto", "binary"],
        sparsity_target=[0.1, None], sparsity_cost=[1, 2], sparsity_decay=[0.5, 0.6],
    )  # fmt: skip
    first, second = pretrain(binary_data(), (4, 3), settings)
    assert (len(first.history), len(second.history)) == (1, 2)
    assert (first.settings.k, second.settings.k) == (1, 3)
    assert (first.settings.optimizer, second.settings.optimizer) == (SGD(0.1), Momentum(0.01, MomentumSwitch()))
    assert (first.settings.sparsity_target, second.settings.sparsity_target) == (0.1, None)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"epochs": -1}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"optimizer": "newton"}, "optimizer"),
        ({"optimizer": Momentum(-1)}, "optimizer__learning_rate"),
        ({"optimizer": Momentum(0.1, MomentumSwitch(then=1))}, "optimizer__momentum__then"),
        ({"schedule": "sometimes"}, "schedule"),
        ({"schedule": ConstantRate(warm_up=2), "epochs": 2}, "schedule__warm_up"),
        ({"k": 0}, "k"),
        ({"k": 1.5}, "k"),
        ({"persistent": 1}, "persistent"),
        ({"sample_visible": "yes"}, "sample_visible"),
        ({"visible": "linear"}, "visible"),
        ({"monitor": 1}, "monitor"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": np.inf}, "alpha"),
        ({"sparsity_target": 0.0}, "sparsity_target"),
        ({"sparsity_target": 1}, "sparsity_target"),
        ({"sparsity_cost": -1}, "sparsity_cost"),
        ({"sparsity_decay": 1.0}, "sparsity_decay"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"k": [1, 2]}, "k"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_by_name(settings: dict, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"'pretraining__{name}' parameter of pretrain must"):
        pretrain(UNIT, [2], RestrictedBoltzmannMachine(**settings))


@pytest.mark.parametrize(
    ("X", "settings", "activation", "name"),
    [
        (UNIT, {}, "tanh", "activation"),
        (UNIT, {}, ["sigmoid", "relu"], "activation"),
        (REAL, {"visible": "binary"}, "sigmoid", "pretraining__visible"),
        (UNIT, {"visible": ["auto", "binary"]}, "identity", "pretraining__visible"),
        (UNIT, {"visible": "gaussian"}, "identity", "pretraining__visible"),
        (REAL, {}, "identity", "pretraining__visible"),
        (UNIT, {"sparsity_target": 0.1}, "identity", "pretraining__sparsity_target"),
    ],
    ids=str,
)
def test_units_that_do_not_fit_are_refused(X: np.ndarray, settings: dict, activation: object, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of pretrain must"):
        pretrain(X, [2, 2], RestrictedBoltzmannMachine(**settings), activation=activation)


@pytest.mark.parametrize("scale", [0.1, 10])
def test_gaussian_inputs_far_from_unit_variance_are_a_warning(scale: float) -> None:
    X = scale * _core.random_normal(0, 0, 200).reshape(50, 4)
    settings = RestrictedBoltzmannMachine(epochs=1, optimizer=SGD(1e-9))
    with pytest.warns(ScaleWarning, match="unit variance"):
        list(pretrain(X, [2], settings))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(pretrain(X / scale, [2], settings))


def test_a_divergence_names_the_layer_and_the_rate() -> None:
    X = _core.random_normal(0, 0, 2000).reshape(100, 20).astype(np.float32)
    with pytest.raises(TrainingDiverged, match="pretraining of layer 1 diverged"):
        list(pretrain(X, [30], RestrictedBoltzmannMachine(optimizer=SGD(1e3), epochs=50)))


def test_they_print_and_compare_as_values() -> None:
    settings = RestrictedBoltzmannMachine(k=3, optimizer=SGD(0.2))
    assert repr(settings) == "RestrictedBoltzmannMachine(optimizer=SGD(learning_rate=0.2), k=3)"
    assert settings == RestrictedBoltzmannMachine(k=3, optimizer=SGD(0.2))
    assert settings.replace(optimizer__learning_rate=0.1).optimizer == SGD(0.1)
