"""Boltzmann machines in the engine: what is refused, and what happens when a run ends badly."""

import signal
import threading

import numpy as np
import pytest
from machines import KINDS, engine_of, make_data, make_machine, make_plan

from layerwise import _core


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([_core.Layer(4, 3, "sigmoid")], "encoder and a decoder"),
        ([_core.Layer(4, 3, "sigmoid"), _core.Layer(3, 4, "sigmoid")], "encoder and a decoder"),
        ([_core.Layer(4, 3, "tanh"), _core.Layer(3, 4, "sigmoid", tied_to=0)], "sigmoid .* or identity"),
        ([_core.Layer(4, 3, "sigmoid"), _core.Layer(3, 4, "relu", tied_to=0)], "sigmoid .* or identity"),
        ([_core.Layer(4, 3, "identity"), _core.Layer(3, 4, "identity", tied_to=0)], "no distribution"),
    ],
)
def test_other_networks_are_refused(layers, message):
    network = _core.Network_float64(layers)
    recipe = _core.Recipe("sigmoid_cross_entropy", _core.Optimizer("sgd"), 5)
    with pytest.raises(ValueError, match=message):
        _core.RbmPlan_float64(network, recipe)
    with pytest.raises(ValueError, match=message):
        _core.gibbs(network, np.zeros((2, 4)), 1, False, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must"),
        ({"k": 1000001}, "k must"),
        ({"sparsity_cost": -1.0}, "sparsity_cost"),
        ({"sparsity_cost": np.nan}, "sparsity_cost"),
        ({"sparsity_target": 0.0}, "sparsity_target"),
        ({"sparsity_target": 1.0}, "sparsity_target"),
        ({"sparsity_decay": 1.0}, "sparsity_decay"),
    ],
)
def test_bad_gibbs_settings_are_refused(settings, message):
    m = make_machine(4, 3)
    with pytest.raises(ValueError, match=message):
        make_plan(engine_of(m), m, 5, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": _core.Noise("masking", 0.1)}, "noise"),
        ({"dropout": [0.1, 0.0]}, "dropout"),
        ({"frozen": [True, False]}, "frozen"),
        ({"rate_scale": [1.0, 2.0]}, "rate_scale"),
        ({"missing_targets": True}, "missing"),
        ({"penalties": _core.Penalties(l1=0.1)}, "penalties"),
        ({"penalties": _core.Penalties(contraction=[0.1, 0.0])}, "penalties"),
        ({"penalties": _core.Penalties(clip_norm=1.0)}, "penalties"),
        ({"penalties": _core.Penalties(max_norm=1.0)}, "penalties"),
        ({"alpha": -1.0}, "alpha"),
        ({"threads": -1}, "threads"),
        ({"noise": _core.Noise(corrupted_weight=2.0)}, "noise"),
        ({"penalties": _core.Penalties(clip_value=1.0)}, "penalties"),
        ({"penalties": _core.Penalties(sparsity=[1.0, 0.0])}, "penalties"),
        ({"penalties": _core.Penalties(activation_l1=[1.0, 0.0])}, "penalties"),
        ({"penalties": _core.Penalties(contraction=[1.0, 0.0])}, "penalties"),
    ],
)
def test_what_a_machine_has_not_is_refused(settings, message):
    recipe = _core.Recipe("sigmoid_cross_entropy", _core.Optimizer("sgd"), 5, **settings)
    with pytest.raises(ValueError, match=message):
        _core.RbmPlan_float64(engine_of(make_machine(4, 3)), recipe)


def test_numbers_count_as_the_dtype_rounds_them():
    m = make_machine(4, 3)
    network, X = engine_of(m, np.float32), np.zeros((5, 4), np.float32)
    for optimizer, message in (({"epsilon": 1e-44}, "epsilon"), ({"momentum": 0.999999999}, "momentum")):
        recipe = _core.Recipe("sigmoid_cross_entropy", _core.Optimizer("adam", **optimizer), 5)
        with pytest.raises(ValueError, match=f"{message} .*dtype"):
            _core.RbmPlan_float32(network, recipe)
    plan = make_plan(network, m, 5, "momentum")
    with pytest.raises(ValueError, match=r"rates .*dtype"):
        plan.run(X, 0, 1, np.array([1e300]))
    with pytest.raises(ValueError, match=r"momenta .*dtype"):
        plan.run(X, 0, 1, np.ones(1), np.array([0.999999999]))


def test_a_loss_that_does_not_fit_the_visible_units_is_refused():
    for kind, loss in ((KINDS[0], "squared_error"), (KINDS[1], "sigmoid_cross_entropy")):
        with pytest.raises(ValueError, match="loss of a Boltzmann machine"):
            _core.RbmPlan_float64(engine_of(make_machine(4, 3, kind)), _core.Recipe(loss, _core.Optimizer("sgd"), 5))


def test_a_sparsity_target_for_gaussian_units_is_refused():
    m = make_machine(4, 3, KINDS[2])
    with pytest.raises(ValueError, match="binary hidden units"):
        make_plan(engine_of(m), m, 5, sparsity_cost=0.1)


def test_bad_arrays_are_refused():
    m = make_machine(4, 3)
    network = engine_of(m)
    plan, X, rates = make_plan(network, m, 5), np.zeros((6, 4)), np.ones(2)
    for arguments in (
        (np.zeros((6, 5)), 0, 2, rates),
        (np.zeros((0, 4)), 0, 2, rates),
        (X, 0, 3, rates),
        (X, -1, 2, rates),
        (X, 2**32 - 1, 2, rates),
        (X, 0, 2, -rates),
        (X, 0, 2, rates, np.ones(2)),
        (X, 0, 2, rates, None, np.ones(5)),
    ):
        with pytest.raises(ValueError, match="must"):
            plan.run(*arguments)
    with pytest.raises(TypeError):
        plan.run(X.astype(np.float32), 0, 2, rates)
    for arguments in ((np.zeros((2, 3)), 1, False, 0), (X, -1, False, 0), (X, 1, False, 0, -1)):
        with pytest.raises(ValueError, match="must"):
            _core.gibbs(network, *arguments)
    assert _core.gibbs(network, np.zeros((0, 4)), 3, False, 0).shape == (0, 4)


def test_a_divergence_is_reported():
    m = make_machine(10, 8, KINDS[1])
    plan = make_plan(engine_of(m, np.float32), m, 5)
    stats = plan.run(make_data(50, m).astype(np.float32) * 100, 0, 100, np.full(100, 10.0))
    assert not stats.finite
    assert stats.steps < 100


def test_ctrl_c_ends_a_run_between_steps():
    m = make_machine(300, 300, scale=0.01)
    network, X = engine_of(m, np.float32), make_data(2000, m).astype(np.float32)
    plan = make_plan(network, m, 100)
    steps = 1_000_000
    timer = threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        plan.run(X, 0, steps, np.full(steps, 1e-3))
    assert np.isfinite(network.parameters()).all()
    timer = threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        _core.gibbs(network, X, steps, False, 0)
    plan.run(X, 0, 1, np.ones(1))  # and goes on
