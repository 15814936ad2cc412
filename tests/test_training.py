"""The training loop: records, callbacks, divergence, early stopping, batch sizes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from layerwise import EpochRecord, TrainingDiverged, _core, training
from layerwise.activations import Activation
from layerwise.initializers import draw
from layerwise.network import DenseLayer, Network, start_layer
from layerwise.optimizers import SGD, Adam
from layerwise.training import EarlyStopping, batch_size_for, run


def data(n: int = 57, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    numbers = _core.random_normal(1, 0, n * 7).reshape(n, 7).astype(dtype)
    return np.ascontiguousarray(numbers[:, :5]), np.ascontiguousarray(numbers[:, 5:])


def network(dtype: type = np.float64) -> Network:
    kinds = [("tanh", 5, 4), ("identity", 4, 2)]
    return Network(
        [
            start_layer(draw("auto", name, i, n, m), Activation(name), np.dtype(dtype))
            for i, (name, n, m) in enumerate(kinds)
        ]
    )


def train(engine: object, X: np.ndarray, Y: np.ndarray, **changes: object) -> list[EpochRecord]:
    options: dict = {"epochs": 3, "batch_size": 10, "learning_rate": 0.01} | changes
    recipe = _core.Recipe("squared_error", SGD().engine(), options["batch_size"], seed=3)
    return list(run(engine, recipe, X, Y, stage="finetuning", layer=None, **options))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_records(dtype: type) -> None:
    X, Y = data(dtype=dtype)
    records = train(network(dtype).engine(), X, Y, validation=(X[:9], Y[:9]))
    assert [record.epoch for record in records] == [1, 2, 3]
    assert {(r.stage, r.layer, r.epochs, r.learning_rate) for r in records} == {("finetuning", None, 3, 0.01)}
    assert records[0].loss > records[1].loss > records[2].loss > 0
    assert all(record.validation_loss > 0 and record.seconds >= 0 for record in records)
    assert train(network(dtype).engine(), X, Y)[0].validation_loss is None


def test_the_loss_is_the_mean_over_rows_of_the_sum_over_outputs() -> None:
    X, Y = data()
    net = network()
    record = train(net.engine(), X, Y, epochs=1, batch_size=57, learning_rate=1e-12, validation=(X, Y))[0]
    expected = ((net.apply(X) - Y) ** 2).sum(axis=1).mean()
    assert record.loss == pytest.approx(expected, rel=1e-12)
    assert record.validation_loss == pytest.approx(expected, rel=1e-9)


def test_one_full_batch_is_one_step_down_the_gradient() -> None:
    X, Y = data()
    net, engine = network(), network().engine()
    train(engine, X, Y, epochs=1, batch_size=57, learning_rate=0.1)
    hidden = net.apply(X, 0, 1)
    delta = 2 * (net.apply(X) - Y) / len(X)
    np.testing.assert_allclose(engine.weights(1), net.layers[1].weights - 0.1 * hidden.T @ delta, rtol=1e-12)
    back = delta @ net.layers[1].weights.T * (1 - hidden**2)
    np.testing.assert_allclose(engine.weights(0), net.layers[0].weights - 0.1 * X.T @ back, rtol=1e-12)
    np.testing.assert_allclose(engine.bias(0), -0.1 * back.sum(axis=0), rtol=1e-10)


def test_epochs_in_one_run_continue_each_other() -> None:
    X, Y = data()
    together, recipe = network().engine(), _core.Recipe("squared_error", Adam().engine(), 10, seed=3)
    plan = training.plan_for(together, recipe)
    for epoch in range(3):
        plan.run(X, Y, 6 * epoch, 6, np.full(6, 0.01))
    engine = network().engine()
    list(run(engine, recipe, X, Y, stage="x", layer=None, epochs=3, batch_size=10, learning_rate=0.01))
    np.testing.assert_array_equal(engine.parameters(), together.parameters())


def test_callbacks_see_every_epoch_and_may_stop() -> None:
    X, Y = data()
    seen: list[int] = []
    records = train(
        network().engine(),
        X,
        Y,
        epochs=9,
        callbacks=[lambda record: record.epoch == 2, lambda record: seen.append(record.epoch)],
    )
    assert len(records) == 2
    assert seen == [1, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 1e15])
def test_divergence_is_an_error_that_says_where(dtype: type, scale: float) -> None:
    X, Y = data(dtype=dtype)
    with pytest.raises(TrainingDiverged, match=r"finetuning diverged in epoch \d+: .* smaller than 1e\+06") as info:
        train(network(dtype).engine(), (scale * X).astype(dtype), Y, epochs=50, learning_rate=1e6)
    error = pickle.loads(pickle.dumps(info.value))
    assert (error.stage, error.layer, error.learning_rate) == ("finetuning", None, 1e6)
    assert isinstance(error, ValueError)
    assert str(error) == str(info.value)


def test_a_last_step_that_spoils_the_weights_is_noticed() -> None:
    X, Y = data(10)
    with pytest.raises(TrainingDiverged, match="a weight is not a finite number"):
        train(network().engine(), X, 1e150 * Y, epochs=1, learning_rate=1e300)


def test_a_diverging_validation_loss_is_noticed() -> None:
    X, Y = data()
    with pytest.raises(TrainingDiverged, match="the loss is"):
        train(network().engine(), X, Y, validation=(X, np.full_like(Y, 1e200)))


def test_early_stopping_keeps_the_best() -> None:
    engine = network().engine()
    stopper = EarlyStopping(engine, n_iter_no_change=2, tol=0.1)

    def see(epoch: int, loss: float) -> bool:
        engine.set_bias(0, np.full(4, float(epoch)))
        return stopper(EpochRecord("finetuning", None, epoch, 9, 0.0, loss, 0.1, 0.0))

    assert [see(epoch, loss) for epoch, loss in enumerate([5.0, 4.0, 3.95, 3.0, 2.95, 2.99])] == [False] * 5 + [True]
    engine.set_parameters(stopper.best)
    assert engine.bias(0)[0] == 4.0  # 2.95 is the best, though not by tol
    assert stopper.best_loss == 2.95


def test_batch_sizes() -> None:
    assert [batch_size_for("auto", n) for n in (1, 9, 10, 300, 640, 3200, 60000)] == [1, 9, 10, 10, 20, 100, 100]
    assert [batch_size_for(n, 50) for n in (1, 50, 51)] == [1, 50, 50]


def test_networks_are_values() -> None:
    net = network()
    X, _ = data()
    expected = net.apply(X)
    copied = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(copied.apply(X), expected)
    np.testing.assert_array_equal(net.apply(net.apply(X, 0, 1), 1), expected)
    assert net.apply(X, 1, 1) is X
    train(net.engine(), X, data()[1])
    np.testing.assert_array_equal(net.apply(X), expected)  # an engine network trains for itself
    with pytest.raises(ValueError, match="read-only"):
        net.layers[0].weights[0, 0] = 1
    assert repr(net) == "<Network 5 -> 4 tanh -> 2 identity, float64>"


def test_learned_parameters_come_back() -> None:
    X, Y = data()
    layers = [
        start_layer(draw("auto", "prelu", 0, 5, 4), Activation("prelu", 0.25, "unit"), np.dtype(float)),
        start_layer(draw("auto", "swish", 1, 4, 4), Activation("swish", 1.0, "shared"), np.dtype(float)),
        start_layer(draw("auto", "identity", 2, 4, 2), Activation("identity"), np.dtype(float)),
    ]
    net = Network(layers)
    engine = net.engine()
    train(engine, X, Y)
    trained = net.trained(engine)
    assert len(set(trained.layers[0].parameter)) == 4
    assert len(set(trained.layers[1].parameter)) == 1
    assert trained.layers[1].parameter[0] != 1.0
    assert trained.layers[2].parameter is None
    np.testing.assert_array_equal(trained.apply(X), engine.apply(X))


def test_a_tied_layer_uses_the_weights_of_the_other() -> None:
    weights = draw("auto", "tanh", 0, 5, 3)
    encoder = start_layer(weights, Activation("tanh"), np.dtype(float))
    decoder = DenseLayer(encoder.weights.T, np.zeros(5), Activation("identity"), tied_to=0)
    X, _ = data()
    net = Network([encoder, decoder])
    np.testing.assert_allclose(net.apply(X), np.tanh(X @ weights) @ weights.T, rtol=1e-12)
    trained = net.trained(net.engine())
    np.testing.assert_array_equal(trained.layers[1].weights, trained.layers[0].weights.T)
