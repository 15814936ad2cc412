"""The engine's network and plan against the reference.

tests/test_instruction_sets.py runs this file once more under each instruction set the processor supports;
tests/test_determinism.py holds the bits.
"""

import copy
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from networks import (
    NETWORKS,
    Randomness,
    as_float64,
    assert_close,
    losses_of,
    make_data,
    make_layers,
    make_network,
    make_plan,
)

from layerwise import _core, reference, reference_random

TOLERANCE = {np.float32: 3e-6, np.float64: 2e-14}
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
every_network = pytest.mark.parametrize("name", NETWORKS)


def check_gradient(layers, rows, loss, *, batch_size=16, missing=False, weighted=False, alpha=0.0, step=0, **random):
    dtype = layers[0].b.dtype.type
    X, Y = random.pop("make", make_data)(layers, rows, loss)
    rng = np.random.default_rng(2)
    if missing:
        Y[rng.uniform(size=Y.shape) < 0.2] = np.nan
    weights = rng.integers(0, 4, rows).astype(dtype) + dtype(rows == 1) if weighted else None
    random = Randomness((5 << 34) + 3, layers, data=X, **random)
    plan = make_plan(
        make_network(layers), loss, batch_size=batch_size, alpha=alpha, missing_targets=missing, **random.settings()
    )
    value, gradient = plan.gradient(X, Y, weights, step)

    exact, ids = as_float64(layers), np.arange(rows)
    scales = random.scales(ids, step) if random.dropout else ()
    corrupted = random.noise(X, ids, step).astype(np.float64)
    _, objective, expected = reference.loss_and_gradients(
        corrupted, Y.astype(np.float64), exact, loss, dropout=scales, alpha=alpha, missing_targets=missing,
        row_weights=weights,
    )  # fmt: skip
    assert gradient.dtype == dtype
    assert abs(value - objective) <= TOLERANCE[dtype] * max(1, abs(objective))
    places = np.cumsum([0] + [array.size for _, _, array in reference.learned_arrays(expected)])
    for (i, part, array), start, end in zip(reference.learned_arrays(expected), places, places[1:], strict=False):
        assert_close(gradient[start:end], array.ravel(), 4 * TOLERANCE[dtype], f"{loss}, layer {i}, {part}")


@both_dtypes
@every_network
def test_gradient(name, dtype):
    layers = make_layers(name, dtype)
    dropout = (0.3,) * (len(layers) - 1) + (0.0,)
    for loss in losses_of(layers):
        for rows in (1, 2, 13, 33):
            check_gradient(layers, rows, loss)
        check_gradient(layers, 13, loss, alpha=0.1)
        check_gradient(layers, 13, loss, weighted=True)
        check_gradient(layers, 29, loss, missing=True, weighted=True)
        check_gradient(layers, 37, loss, kind="masking", level=0.3, step=7)
        check_gradient(layers, 37, loss, kind="salt_and_pepper", level=0.3, step=8)
        check_gradient(layers, 37, loss, kind="gaussian", level=0.3, step=9, dropout=dropout, alpha=0.1, weighted=True)


@both_dtypes
def test_gradient_of_more_rows_than_one_block(dtype):
    for name in ("tied", "unrolled", "hidden softmax"):
        layers = make_layers(name, dtype)
        dropout = (0.3,) * (len(layers) - 1) + (0.0,)
        for loss in losses_of(layers):
            noise = {"kind": "masking", "level": 0.2, "dropout": dropout}
            check_gradient(layers, 2060, loss, batch_size=2060, weighted=True, **noise)
            check_gradient(layers, 1025, loss, batch_size=7)


# A run of steps.


def run_both(
    layers, rows, loss, optimizer, *, steps, batch_size, rates, options=None, momenta=None, weighted=False,
    kind="none", level=0.0, dropout=(), make=make_data, **more,
):  # fmt: skip
    """The network after a run, the reference after the same run, and the losses of both."""
    options, random = options or {}, Randomness(11, layers, kind, level, dropout)
    X, Y = make(layers, rows, loss)
    weights = np.random.default_rng(2).integers(0, 4, rows).astype(X.dtype) if weighted else None
    network = make_network(layers)
    names = {"beta_1": "momentum", "beta_2": "decay"}
    made = _core.Optimizer(optimizer, **{names.get(k, k): v for k, v in options.items()})
    plan = make_plan(network, loss, made, batch_size, **more, **random.settings())
    stats = plan.run(X, Y, 0, steps, rates, momenta, weights)
    assert (stats.steps, stats.finite) == (steps, True)

    exact = as_float64(layers)
    batches = []
    for epoch in range(-(-steps // max(1, -(-rows // batch_size)))):
        batches += reference_random.batches(11, rows, batch_size, epoch, more.get("shuffle", True))
    settings = [{"learning_rate": rate, **options} for rate in rates]
    for t, momentum in enumerate(momenta if momenta is not None else ()):
        settings[t]["beta_1" if optimizer.startswith("adam") else "momentum"] = momentum
    losses = reference.train(
        X.astype(np.float64), Y.astype(np.float64), exact, loss, batches, optimizer, settings, row_weights=weights,
        noise=random.noise, dropout=random.scales if dropout else None,
        alpha=more.get("alpha", 0.0), rate_scale=more.get("rate_scale", ()),
    )  # fmt: skip
    sizes = [len(b) if weights is None else weights[b].sum() for b in batches[:steps]]
    return network, exact, stats, np.average(losses[:steps], weights=sizes), sum(len(b) for b in batches[:steps])


OPTIMIZERS = {
    "sgd": (0.2, {}),
    "momentum": (0.05, {"momentum": 0.8}),
    "nesterov": (0.05, {"momentum": 0.8}),
    "adagrad": (0.05, {}),
    "rmsprop": (0.01, {"decay": 0.95}),
    "adam": (0.01, {"beta_1": 0.8}),
    "adamw": (0.01, {"weight_decay": 0.1}),
}
SEED_VARIANTS = {
    "rmsprop": {"decay": 0.95, "epsilon_inside_sqrt": True, "epsilon": 1e-4},
    "adam": {"bias_correction": False, "epsilon_inside_sqrt": True, "epsilon": 1e-4},
}


def test_every_optimiser_is_run():
    assert set(OPTIMIZERS) == set(_core.OPTIMIZERS)


@pytest.mark.parametrize("alpha", [0.0, 0.01], ids=["", "alpha"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trajectory_of_100_steps_is_the_reference(optimizer, alpha):
    rate, options = OPTIMIZERS[optimizer]
    rates = rate * 0.99 ** np.arange(100)
    for variant in [options] + ([SEED_VARIANTS[optimizer]] if optimizer in SEED_VARIANTS else []):
        network, layers, stats, loss, rows = run_both(
            make_layers("three layers"), 60, "softmax_cross_entropy", optimizer, steps=100, batch_size=16, rates=rates,
            options=variant, alpha=alpha, kind="masking", level=0.1, dropout=(0.2, 0.1, 0.0), weighted=True,
        )  # fmt: skip
        assert_close(network.parameters(), reference.flatten(layers), 1e-12, optimizer)
        assert abs(stats.loss - loss) < 1e-12 * loss
        assert stats.rows == rows


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_trajectory_stays_near_the_reference(optimizer):
    rate, options = OPTIMIZERS[optimizer]
    network, layers, *_ = run_both(
        make_layers("three layers", np.float32), 60, "softmax_cross_entropy", optimizer, steps=40, batch_size=16,
        rates=np.full(40, rate), options=options, alpha=0.01,
    )  # fmt: skip
    assert_close(network.parameters(), reference.flatten(layers), 2e-5, optimizer)


@both_dtypes
@pytest.mark.parametrize(("rows", "batch_size"), [(9, 1), (9, 4), (9, 100), (1, 1), (3100, 1500)])
@pytest.mark.parametrize("name", ["tied", "unrolled", "shared prelu"])
def test_batch_sizes(name, rows, batch_size, dtype):
    layers = make_layers(name, dtype)
    steps = 4 if rows > 1000 else 11
    for loss in losses_of(layers):
        network, exact, *_ = run_both(
            layers, rows, loss, "momentum", steps=steps, batch_size=batch_size, rates=np.full(steps, 0.01), alpha=0.01,
            kind="gaussian", level=0.1,
        )  # fmt: skip
        assert_close(network.parameters(), reference.flatten(exact), 1e-12 if dtype == np.float64 else 2e-5)


def test_momenta_rate_scale_and_no_shuffle():
    layers = make_layers("unrolled")
    for optimizer in ("momentum", "nesterov", "adam"):
        network, exact, *_ = run_both(
            layers, 20, "squared_error", optimizer, steps=12, batch_size=6, rates=np.full(12, 0.003),
            momenta=np.linspace(0.5, 0.9, 12) if optimizer != "adam" else None,
            rate_scale=[0.5, 0.0, 2.0, 1.0], shuffle=False,
        )  # fmt: skip
        assert_close(network.parameters(), reference.flatten(exact), 1e-12, optimizer)


@both_dtypes
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_frozen_bytes_do_not_move(optimizer, dtype):
    for name, frozen in (("unrolled", [True, False, False, True]), ("three layers", [False, True, False])):
        layers = make_layers(name, dtype)
        network = make_network(layers)
        X, Y = make_data(layers, 20, "squared_error")
        plan = make_plan(network, "squared_error", optimizer, 6, alpha=0.1, frozen=frozen)
        before = copy.deepcopy(layers)
        plan.run(X, Y, 0, 8, np.full(8, 0.01))
        for i, layer in enumerate(before):
            moved = [
                (network.weights(i) != reference.weights(before, i)).all() if layer.tied_to < 0 else not frozen[i],
                (network.bias(i) != layer.b).all(),
                (network.parameter(i) != layer.parameter).all() if layer.learn != "fixed" else not frozen[i],
            ]
            assert moved == [not frozen[i]] * 3, f"{name}, layer {i}"
            if frozen[i] and layer.tied_to < 0:
                assert network.weights(i).tobytes() == layer.W.tobytes()
                assert network.bias(i).tobytes() == layer.b.tobytes()


def test_an_epoch_sees_every_row_once():
    # Row i has the loss 4 ** i: the sum over an epoch, exact in float64, tells how often each row was seen.
    n = 24
    layers = [reference.Layer(np.ones((1, 1)), np.zeros(1), "identity", 0.0)]
    X, Y = 2.0 ** np.arange(n).reshape(-1, 1), np.zeros((n, 1))
    for batch_size in (1, 5, 8, 24, 100):
        steps = -(-n // batch_size)
        plan = make_plan(make_network(layers), batch_size=batch_size)
        for epoch in range(3):
            stats = plan.run(X, Y, epoch * steps, steps, np.zeros(steps))
            assert (stats.rows, stats.loss * n) == (n, sum(4.0**i for i in range(n)))


# Reading a network.


@both_dtypes
@every_network
def test_apply_and_evaluate(name, dtype):
    layers = make_layers(name, dtype)
    network, exact = make_network(layers), as_float64(layers)
    X, _ = make_data(layers, 300, "squared_error")
    trace = reference.forward(X.astype(np.float64), exact)
    tolerance = 10 * TOLERANCE[dtype]
    for last in range(1, len(layers) + 1):
        assert_close(network.apply(X, 0, last), trace[last - 1][2], tolerance)
        assert_close(network.apply(X, 0, last, logits=True), trace[last - 1][1], tolerance)
        code = trace[last - 1][0].astype(dtype)
        assert_close(network.apply(code, last - 1, last), trace[last - 1][2], tolerance)
    for loss in losses_of(layers):
        X, Y = make_data(layers, 300, loss)
        weights = np.linspace(0, 2, 300).astype(dtype)
        random = Randomness(1, layers, "masking", 0.5, (0.5,) * (len(layers) - 1) + (0.0,))
        plan = make_plan(network, loss, alpha=1.0, **random.settings())  # none of which counts here
        for row_weights in (None, weights):
            as_double = X.astype(np.float64), Y.astype(np.float64)
            value, _, _ = reference.loss_and_gradients(*as_double, exact, loss, row_weights=row_weights)
            assert abs(plan.evaluate(X, Y, row_weights) - value) < tolerance * max(1, value)


def test_the_input_is_the_target_where_none_is_given():
    layers = make_layers("tied")
    X, _ = make_data(layers, 50, "sigmoid_cross_entropy")
    for kind in ("none", "masking"):
        runs = []
        for Y in (None, X.copy()):
            network = make_network(layers)
            plan = make_plan(network, "sigmoid_cross_entropy", noise=_core.Noise(kind, 0.3))
            loss = plan.run(X, Y, 0, 8, np.full(8, 0.1)).loss
            runs.append((loss, plan.evaluate(X, Y), plan.gradient(X, Y)[0], network.parameters().tolist()))
        assert runs[0] == runs[1]


def test_numbers_of_a_network_come_and_go():
    layers = make_layers("unrolled")
    network = make_network(layers)
    assert network.n_parameters == reference.flatten(layers).size
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(network.weights(i), reference.weights(layers, i))
        np.testing.assert_array_equal(network.bias(i), layer.b)
        np.testing.assert_array_equal(network.parameter(i), np.broadcast_to(layer.parameter, len(layer.b)))
    network.set_weights(2, network.weights(2) + 1)  # tied: writes the owner's
    np.testing.assert_array_equal(network.weights(1), layers[1].W + 1)
    network.set_bias(1, np.arange(9.0))
    network.set_parameter(1, np.full(9, 2.0))
    np.testing.assert_array_equal(network.bias(1), np.arange(9.0))
    with pytest.raises(ValueError, match="equal"):
        network.set_parameter(1, np.arange(9.0))


# What goes wrong.


@both_dtypes
def test_divergence_is_reported(dtype):
    layers = make_layers("tied and narrow", dtype)
    X, Y = make_data(layers, 64, "squared_error")
    stats = make_plan(make_network(layers)).run(X, Y, 0, 400, np.full(400, 1e6))
    assert not stats.finite
    assert not np.isfinite(stats.loss)
    assert stats.steps < 400


def test_wrong_arrays_are_refused():
    layers = make_layers("three layers")
    network = make_network(layers)
    plan, rates = make_plan(network), np.full(2, 0.1)
    (X, Y), weights = make_data(layers, 20, "squared_error"), np.ones(20)
    wrong = [
        lambda: plan.run(X[:, :-1].copy(), Y, 0, 2, rates),
        lambda: plan.run(X[0], Y, 0, 2, rates),
        lambda: plan.run(X, Y[:-1], 0, 2, rates),
        lambda: plan.run(X, Y[:, :1].copy(), 0, 2, rates),
        lambda: plan.run(X, None, 0, 2, rates),
        lambda: plan.run(X[:0], Y[:0], 0, 2, rates),
        lambda: plan.run(X, Y, 0, 3, rates),
        lambda: plan.run(X, Y, -1, 2, rates),
        lambda: plan.run(X, Y, 0, 2, rates, rates[:1].copy()),
        lambda: plan.run(X, Y, 0, 2, rates, None, weights[:3].copy()),
        lambda: plan.evaluate(X, Y[:3]),
        lambda: plan.gradient(X, Y[:3]),
        lambda: plan.set_moments(weights, weights),
        lambda: network.apply(X[:, :3].copy()),
        lambda: network.apply(X, 2, 1),
        lambda: network.apply(X, 0, 9),
        lambda: network.set_parameters(weights),
        lambda: network.set_weights(0, Y),
        lambda: network.set_bias(0, weights),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r"."):
            call()
    for X_wrong in (X.astype(np.float32), X.astype(int), np.asfortranarray(X), X[:, ::-1], X.astype(">f8"), X.tolist()):
        with pytest.raises(TypeError):
            plan.run(X_wrong, Y, 0, 2, rates)
        with pytest.raises(TypeError):
            network.apply(X_wrong)
    with pytest.raises(IndexError):
        network.weights(3)


def test_wrong_layers_and_recipes_are_refused():
    layer, network = _core.Layer, make_network(make_layers("three layers"))
    for wrong in (
        lambda: _core.Network_float64([]),
        lambda: _core.Network_float64([layer(3, 0, "tanh")]),
        lambda: _core.Network_float64([layer(3, 2, "tanh"), layer(3, 2, "tanh")]),
        lambda: _core.Network_float64([layer(3, 2, "tanh"), layer(2, 4, "tanh", tied_to=0)]),
        lambda: _core.Network_float64([layer(3, 2, "tanh"), layer(2, 3, "tanh", tied_to=1)]),
        lambda: _core.Network_float64([layer(3, 2, "tanh", learn="unit")]),
        *[lambda n=n: _core.Network_float64([layer(3, 2, n, -0.5)]) for n in ("leaky_relu", "elu")],
        lambda: _core.Network_float64([layer(3, 2, "swish", float("nan"))]),
        lambda: layer(3, 2, "step"),
        lambda: layer(3, 2, "prelu", learn="some"),
        lambda: _core.Optimizer("lion"),
        lambda: _core.Noise("speckle"),
        lambda: make_plan(network, "hinge"),
        lambda: make_plan(network, "sigmoid_cross_entropy"),
        lambda: make_plan(network, batch_size=0),
        lambda: make_plan(network, alpha=-1.0),
        lambda: make_plan(network, alpha=float("nan")),
        lambda: make_plan(network, dropout=[0.5]),
        lambda: make_plan(network, dropout=[0.0, 0.0, 0.5]),
        lambda: make_plan(network, dropout=[1.0, 0.0, 0.0]),
        lambda: make_plan(network, frozen=[True]),
        lambda: make_plan(network, rate_scale=[1.0]),
        lambda: make_plan(network, noise=_core.Noise("masking", 1.5)),
        lambda: make_plan(network, optimizer=_core.Optimizer("adam", momentum=1.0)),
    ):
        with pytest.raises(ValueError, match=r"."):
            wrong()


INTERRUPTED = textwrap.dedent(
    """
    import os, signal, sys, threading, time
    import numpy as np
    from layerwise import _core

    n = 256
    network = _core.Network_float32([_core.Layer(n, n, "tanh"), _core.Layer(n, n, "identity")])
    plan = _core.Plan_float32(network, _core.Recipe("squared_error", _core.Optimizer("sgd"), 100))
    X, steps = np.random.default_rng(0).normal(size=(1000, n)).astype("f4"), 1_000_000
    delays = []
    for _ in range(3):
        sent = []
        def send():
            time.sleep(0.2)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=send).start()
        try:
            plan.run(X, None, 0, steps, np.full(steps, 1e-6))
        except KeyboardInterrupt:
            delays.append(time.perf_counter() - sent[0])
    assert np.isfinite(network.parameters()).all()
    assert np.isfinite(plan.run(X, None, 0, 10, np.full(10, 1e-6)).loss)  # and the plan still works
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    print(len(delays), min(delays))
    """
)


def test_interrupt_is_noticed_within_100_ms():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    count, fastest = done.stdout.split()
    assert int(count) == 3
    assert float(fastest) < 0.1  # the fastest of three: the machine may be busy
