"""Greedy pretraining on targets: each layer is the hidden layer of a network that learns them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from layerwise import (
    SGD,
    Adam,
    FineTuning,
    InvalidParameterError,
    LinearDecay,
    Momentum,
    MomentumSwitch,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    SupervisedPretraining,
    _core,
    checks,
    load,
    pretrain_supervised,
    training,
)
from layerwise.activations import Activation
from layerwise.initializers import draw
from layerwise.network import Network, start_layer

X = _core.random_uniform(3, 0, 1800).reshape(300, 6)
CLASSES = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 0.7)
Y = np.eye(3)[CLASSES]


def start(n_in: int, n_units: int, n_out: int, key: int, output: str) -> Network:
    first = draw("auto", "tanh", checks.subkey(key, 0), n_in, n_units)
    second = draw("glorot_uniform", output, checks.subkey(key, 1), n_units, n_out)
    kinds = Activation("tanh"), Activation(output)
    return Network([start_layer(w, kind, X.dtype) for w, kind in zip((first, second), kinds, strict=True)])


@pytest.mark.parametrize(
    ("output", "loss"),
    [("softmax", "softmax_cross_entropy"), ("sigmoid", "sigmoid_cross_entropy"), ("identity", "squared_error")],
)
def test_each_layer_is_trained_as_a_network_of_one_hidden_layer(output: str, loss: str) -> None:
    settings = SupervisedPretraining(
        epochs=[3, 2],
        batch_size=30,
        optimizer=[Momentum(0.1, MomentumSwitch(epochs=1)), Adam(0.01)],
        schedule=["linear", "constant"],
        alpha=[0.0, 0.01],
    )
    stages = list(pretrain_supervised(X, Y, (8, 5), settings, output=output, activation="tanh", seed=4))
    hidden = X
    for depth, (sizes, optimizer) in enumerate([((6, 8), Momentum()), ((8, 5), Adam())]):
        key = checks.subkey(4, depth + 1)
        network = start(*sizes, 3, key, output)
        engine = network.engine()
        recipe = _core.Recipe(loss, optimizer.engine(), 30, seed=checks.subkey(key, 2), alpha=[0.0, 0.01][depth])
        if depth == 0:
            rates = 0.1 * LinearDecay().factors(0, 30, steps_per_epoch=10, epochs=3)
            momenta = MomentumSwitch(epochs=1).momenta(0, 30, steps_per_epoch=10)
            training.plan_for(engine, recipe).run(hidden, Y, 0, 30, rates, momenta)
        else:
            training.plan_for(engine, recipe).run(hidden, Y, 0, 20, np.full(20, 0.01))
        trained = network.trained(engine)
        assert stages[depth].weights.tobytes() == trained.layers[0].weights.tobytes()
        assert stages[depth].bias.tobytes() == trained.layers[0].bias.tobytes()
        assert stages[depth].decoder.weights.tobytes() == trained.layers[1].weights.tobytes()
        hidden = trained.apply(hidden, 0, 1)
    assert [record.layer for stage in stages for record in stage.history] == [1, 1, 1, 2, 2]
    assert {record.stage for record in stages[0].history} == {"pretraining"}


def test_skill_counts_from_predicting_the_means() -> None:
    quick = SupervisedPretraining(epochs=0)
    for output in ("softmax", "sigmoid", "identity"):
        (stage,) = pretrain_supervised(X, Y, 4, quick, output=output, seed=1)
        predicted, means = stage.network().apply(X), Y.mean(axis=0)
        losses = {
            "softmax": lambda p: -(Y * np.log(p)).sum(axis=1).mean(),
            "sigmoid": lambda p: -(Y * np.log(p) + (1 - Y) * np.log(1 - p)).sum(axis=1).mean(),
            "identity": lambda p: ((Y - p) ** 2).sum(axis=1).mean(),
        }
        loss = losses[output]
        assert stage.skill == pytest.approx(1 - loss(predicted) / loss(means), rel=1e-9)
        assert stage.history == ()
    (learned,) = pretrain_supervised(X, Y, 20, SupervisedPretraining(epochs=60, optimizer=Adam(0.02)))
    assert learned.skill > 0.7


def test_missing_targets_count_nothing() -> None:
    targets = np.stack([X[:, 0], X[:, 1]], axis=1)
    targets[::2, 1] = np.nan
    once = SupervisedPretraining(epochs=1, batch_size=300, optimizer=SGD(0.1))
    (stage,) = pretrain_supervised(X, targets, 4, once, output="identity", seed=1)
    (before,) = pretrain_supervised(X, targets, 4, once.replace(epochs=0), output="identity", seed=1)
    errors = before.network().apply(X) - targets
    assert stage.history[0].loss == pytest.approx(np.nansum(errors**2) / len(X), rel=1e-12)
    np.testing.assert_allclose(stage.decoder.bias, -0.1 * 2 * np.nansum(errors, axis=0) / len(X), rtol=1e-10)
    blind = np.nansum((targets - np.nanmean(targets, axis=0)) ** 2) / len(X)
    assert before.skill == pytest.approx(1 - (np.nansum(errors**2) / len(X)) / blind, rel=1e-9)


def test_weights_count_as_repetition() -> None:
    """In full batches, and for every number that is told."""
    counts = np.arange(300) % 3
    once = SupervisedPretraining(epochs=2, batch_size=600, optimizer=SGD(0.5))
    for output in ("softmax", "sigmoid", "identity"):
        options: dict = {"output": output, "activation": "tanh", "seed": 1}
        weighted = list(pretrain_supervised(X, Y, (5, 4), once, row_weights=7.0 * counts, **options))
        repeated = list(
            pretrain_supervised(np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0), (5, 4), once, **options)
        )
        plain = list(pretrain_supervised(X, Y, (5, 4), once, **options))
        for a, b, c in zip(weighted, repeated, plain, strict=True):
            np.testing.assert_allclose(a.weights, b.weights, rtol=1e-9)
            assert a.skill == pytest.approx(b.skill, rel=1e-8, abs=1e-10)
            assert [record.loss for record in a.history] == pytest.approx([record.loss for record in b.history])
            assert not np.allclose(a.weights, c.weights, rtol=1e-6)
    with pytest.raises(InvalidParameterError, match="'row_weights' parameter of pretrain_supervised"):
        pretrain_supervised(X, Y, 4, row_weights=-counts)


def test_the_classifier_hands_its_weights_on() -> None:
    model = classifier(pretraining=SupervisedPretraining(epochs=1))
    plain = model.fit(X, CLASSES).stages_[0].weights
    assert not np.array_equal(model.fit(X, CLASSES, sample_weight=1.0 + CLASSES).stages_[0].weights, plain)
    balanced = clone(model).set_params(class_weight="balanced").fit(X, CLASSES).stages_[0].weights
    assert not np.array_equal(balanced, plain)


def test_pretraining_goes_on_above_the_stages_done() -> None:
    settings = SupervisedPretraining(epochs=2)
    both = list(pretrain_supervised(X, Y, (6, 5), settings, seed=3))
    (upper,) = pretrain_supervised(X, Y, (6, 5), settings, seed=3, done=both[:1])
    assert upper.layer == 2
    assert upper.weights.tobytes() == both[1].weights.tobytes()
    with pytest.raises(ValueError, match="are not the lowest layers"):
        pretrain_supervised(X, Y, (7, 5), settings, done=both[:1])


def test_a_warm_fit_keeps_the_stages_below_new_layers() -> None:
    model = classifier(warm_start=True).set_params(hidden_layer_sizes=(8,)).fit(X, CLASSES)
    lowest = model.stages_[0].weights.tobytes()
    model.set_params(hidden_layer_sizes=(8, 5), random_state=6).fit(X, CLASSES)
    assert [stage.weights.shape for stage in model.stages_] == [(6, 8), (8, 5)]
    assert model.stages_[0].weights.tobytes() == lowest
    assert [record.layer for record in model.history_] == [1, 1, 2, 2]


def classifier(**changes: object) -> PretrainedClassifier:
    options: dict = {
        "pretraining": SupervisedPretraining(epochs=2),
        "finetuning": FineTuning(epochs=0),
        "activation": "tanh",
        "random_state": 5,
    } | changes
    return PretrainedClassifier((8, 5), **options)


def test_the_classifier_pretrains_on_its_labelled_rows() -> None:
    y = np.where(np.arange(300) % 3 == 0, CLASSES, -1)
    model = classifier().fit(X, y)
    seed = checks.subkey(classifier()._seed(), 0)
    labelled = y >= 0
    settings = SupervisedPretraining(epochs=2)
    expected = list(pretrain_supervised(X[labelled], Y[labelled], (8, 5), settings, activation="tanh", seed=seed))
    for fitted, stage in zip(model.stages_, expected, strict=True):
        assert fitted.weights.tobytes() == stage.weights.tobytes()
    assert model.coefs_[1].tobytes() == expected[1].weights.tobytes()
    assert len(model.history_) == 4
    tuned = classifier(pretraining="supervised", finetuning=FineTuning(epochs=30, optimizer=Adam(0.02))).fit(X, CLASSES)
    assert tuned.score(X, CLASSES) > 0.9


def test_the_regressor_too() -> None:
    Z = np.stack([X[:, 0] + X[:, 1], X[:, 2]], axis=1)
    Z[:40, 1] = np.nan
    before = SupervisedPretraining(epochs=40, optimizer=Adam(0.01))
    model = PretrainedRegressor((8,), pretraining=before, activation="tanh", random_state=0).fit(X, Z)
    assert model.stages_[0].decoder.activation.name == "identity"
    assert model.stages_[0].skill > 0.5
    assert model.score(X[40:], Z[40:]) > 0.8


def test_files_keep_what_was_learned(tmp_path: Path) -> None:
    model = classifier(pretraining=SupervisedPretraining(epochs=[1, 0], schedule=[LinearDecay(0.1), "constant"])).fit(
        X, CLASSES
    )
    model.save(tmp_path / "model")
    back = load(tmp_path / "model")
    assert back.pretraining == model.pretraining
    assert [stage.settings for stage in back.stages_] == [stage.settings for stage in model.stages_]
    assert [repr(stage) for stage in back.stages_] == [repr(stage) for stage in model.stages_]
    assert back.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


def test_the_same_bits_on_any_number_of_threads() -> None:
    found = [
        [stage.weights.tobytes() for stage in pretrain_supervised(X, Y, (70, 40), threads=threads)]
        for threads in (1, 2, 3, 0)
    ]
    assert all(other == found[0] for other in found[1:])


@pytest.mark.parametrize(
    ("name", "bads"),
    [
        ("epochs", (-1, 1.5, None, [1])),
        ("batch_size", (0, "all", [10, 0])),
        ("optimizer", (None, "none", [Adam(0)] * 2)),
        ("schedule", (None, "none", LinearDecay(2.0))),
        ("alpha", (-1, None, [0.0] * 3)),
    ],
)
def test_bad_settings_are_named(name: str, bads: tuple) -> None:
    for bad in bads:
        with pytest.raises(InvalidParameterError, match=f"^The 'pretraining__{name}[a-z_]*' parameter of Pretrained"):
            classifier(pretraining=SupervisedPretraining(**{name: bad})).fit(X, CLASSES)


def test_an_autoencoder_has_no_targets() -> None:
    for settings in ("supervised", SupervisedPretraining()):
        with pytest.raises(InvalidParameterError, match="'pretraining' parameter of StackedAutoencoder"):
            StackedAutoencoder((4,), pretraining=settings).fit(X)


def test_bad_arguments_are_refused_at_the_call() -> None:
    with pytest.raises(InvalidParameterError, match="'output' parameter of pretrain_supervised"):
        pretrain_supervised(X, Y, 4, output="tanh")
    for targets in (CLASSES, Y[1:], Y[:, :0]):
        with pytest.raises(ValueError, match="Y must be a matrix with one row for each of the 300 rows"):
            pretrain_supervised(X, targets, 4)
    assert clone(classifier()).get_params()["pretraining__epochs"] == 2
