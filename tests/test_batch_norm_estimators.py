"""Batch normalisation in pretraining and in the estimators: what its settings mean, keep and refuse."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altering import altered, assign
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from layerwise import (
    LBFGS,
    AnomalyDetector,
    Autoencoder,
    BatchNorm,
    ConjugateGradient,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    FineTuning,
    FormatError,
    InvalidParameterError,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    SparseAutoencoder,
    StackedAutoencoder,
    SupervisedPretraining,
    _core,
    diagnose,
    load,
    pretrain,
    pretrain_supervised,
)
from layerwise.activations import Activation
from layerwise.network import Network, start_layer
from layerwise.restarts import restarted

X = _core.random_uniform(5, 0, 61 * 6).reshape(61, 6).astype(np.float32)  # batches of 20 end with one of a single row
Y = np.where(np.arange(61) % 4 == 3, -1, np.arange(61) % 4)
PLAIN = DenoisingAutoencoder(epochs=2, batch_size=20)
BRIEF = FineTuning(epochs=2, batch_size=9)
KINDS = [PretrainedClassifier, PretrainedRegressor, StackedAutoencoder, AnomalyDetector]
PRETRAININGS = [
    None, PLAIN, PLAIN.replace(tied=False), PLAIN.replace(simultaneous=True),
    PLAIN.replace(supervised_optimizer="adam"), SparseAutoencoder(epochs=2, batch_size=20),
    SupervisedPretraining(epochs=2, batch_size=20),
]  # fmt: skip


def make(**params: Any) -> PretrainedClassifier:
    given = {"pretraining": PLAIN, "finetuning": BRIEF, "batch_norm": True, "random_state": 3}
    return PretrainedClassifier((5, 4), **(given | params))


def bits(model: Any) -> list[Any]:
    layers = [*model.network_.layers, *(stage.encoder for stage in model.stages_)]
    arrays = [a for one in layers for a in (one.weights, one.bias, one.parameter, one.normalization)]
    return [None if array is None else array.tobytes() for array in arrays]


def fitted(kind: Any, **params: Any) -> Any:
    model = kind((5, 4), pretraining=PLAIN, finetuning=BRIEF, random_state=3, **params)
    return model.fit(X, X[:, 0] if kind is PretrainedRegressor else Y)


# What it means.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stage_gives_codes_by_the_running_statistics(dtype: type) -> None:
    rows = X.astype(dtype)
    settings = PLAIN.replace(epochs=3, tied=[True, False])
    lower, upper = pretrain(rows, (8, 4), settings, activation="relu", batch_norm=[BatchNorm(0.3, 0.01), True])
    for stage, rate, epsilon, inputs in ((lower, 0.3, 0.01, rows), (upper, 0.1, 1e-5, lower.encode(rows))):
        encoder = stage.encoder
        assert encoder.activation.batch_norm == (rate, epsilon)
        assert encoder.normalization is not None
        assert encoder.normalization.dtype == dtype
        gamma, mean, variance = encoder.normalization
        z = gamma * (inputs @ encoder.weights - mean) / np.sqrt(variance + epsilon) + encoder.bias
        np.testing.assert_allclose(stage.encode(inputs), np.maximum(z, 0), atol=1e-5)
        weights, bias = encoder.affine()
        np.testing.assert_allclose(inputs @ weights + bias, z, atol=1e-5)
        assert (mean != 0).all()  # they have moved, and so has what is learned
        assert (gamma != 1).all()
        assert stage.decoder.normalization is None
        assert (encoder.bias != 0).all()


def test_the_running_statistics_are_those_of_what_is_learned_from() -> None:
    rows = _core.random_normal(1, 0, 4000 * 5).reshape(4000, 5) * [0.1, 1, 2, 5, 10] + 3
    (stage,) = pretrain(rows, 6, Autoencoder(epochs=20, batch_size=100, optimizer="sgd", schedule="linear"),
                        batch_norm=BatchNorm(momentum=0.02), activation="tanh")  # fmt: skip
    sums = rows @ stage.weights
    _, mean, variance = stage.encoder.normalization
    np.testing.assert_allclose(mean, sums.mean(axis=0), atol=0.1 * sums.std(axis=0).max())
    np.testing.assert_allclose(variance, sums.var(axis=0), rtol=0.15)


@pytest.mark.parametrize("pretraining", PRETRAININGS, ids=str)
def test_with_every_kind_of_pretraining(pretraining: Any) -> None:
    model = make(pretraining=pretraining).fit(X, Y)
    norms = [layer.activation.batch_norm for layer in model.network_.layers]
    assert norms == [(0.1, 1e-5), (0.1, 1e-5), None]
    for layer in model.network_.layers[:2]:
        start = np.repeat([[1], [0], [1]], layer.n_out, axis=1)
        assert (layer.normalization != start).all()
    assert "tanh with batch_norm" in repr(model.network_)
    assert np.isfinite(model.predict_proba(X)).all()
    assert bits(clone(model).fit(X, Y)) == bits(model)
    assert bits(clone(model).set_params(n_jobs=2).fit(X, Y)) == bits(model)
    np.testing.assert_array_equal(model.predict_proba(X[7:8]), model.predict_proba(X)[7:8])


@pytest.mark.parametrize("kind", KINDS)
def test_false_and_auto_change_nothing(kind: Any) -> None:
    plain = fitted(kind)
    assert bits(fitted(kind, batch_norm=False)) == bits(plain)
    assert bits(fitted(kind, batch_norm=[False, False])) == bits(plain)
    other = fitted(kind, batch_norm=[False, True])
    assert bits(other)[0] != bits(plain)[0]
    assert [layer.normalization is None for layer in other.network_.layers[:2]] == [True, False]
    assert all(layer.normalization is None for layer in other.network_.layers[2:])


def test_it_helps_where_sums_have_bad_scales() -> None:
    rows = _core.random_normal(1, 0, 600 * 8).reshape(600, 8).astype(np.float32)
    labels = (rows[:, 0] > rows[:, 1]).astype(int)
    rows = rows * 30 + 100
    scores = [
        make(pretraining=None, batch_norm=on, finetuning=FineTuning(epochs=30)).set_params(hidden_layer_sizes=(30, 30))
        .fit(rows[:400], labels[:400]).score(rows[400:], labels[400:])
        for on in (False, True)
    ]  # fmt: skip
    assert 1 - scores[1] < 0.5 * (1 - scores[0])


def test_weights_of_rows_and_a_single_row() -> None:
    weights = np.ones(61)
    weights[:40] = 0
    model = make(finetuning=BRIEF.replace(batch_size=20)).fit(X, Y, sample_weight=weights)
    alone = make(finetuning=BRIEF.replace(batch_size=20)).fit(X[40:], Y[40:])
    assert bits(model) == bits(alone)  # as if they were not there
    before = model.network_
    model.partial_fit(X[:1], Y[:1])  # by the running statistics
    for old, new in zip(before.layers[:2], model.network_.layers[:2], strict=True):
        np.testing.assert_array_equal(new.normalization[1:], old.normalization[1:])
        assert (new.weights != old.weights).any()
        assert (new.normalization[0] != old.normalization[0]).any()


# What is kept.


def test_frozen_layers_keep_their_bits_and_thaw() -> None:
    before = make(finetuning=BRIEF.replace(epochs=0)).fit(X, Y).network_
    frozen = make(finetuning=BRIEF.replace(frozen_layers=1)).fit(X, Y).network_
    for name in ("weights", "bias", "normalization"):
        assert getattr(frozen.layers[0], name).tobytes() == getattr(before.layers[0], name).tobytes()
        assert (getattr(frozen.layers[1], name) != getattr(before.layers[1], name)).all()
    thawed = make(finetuning=BRIEF.replace(frozen_layers=1, thaw_after=1)).fit(X, Y).network_
    assert (thawed.layers[0].normalization != before.layers[0].normalization).all()


def test_early_stopping_restores_the_statistics_too() -> None:
    stopping = BRIEF.replace(epochs=12, early_stopping=True, validation_fraction=0.3, optimizer__learning_rate=0.3)
    model = make(finetuning=stopping).fit(X, Y)
    losses = [record.validation_loss for record in model.history_ if record.stage == "finetuning"]
    best = int(np.argmin(losses)) + 1
    assert best < len(losses)
    at_best = make(finetuning=stopping.replace(epochs=best)).fit(X, Y)
    assert bits(at_best) == bits(model)


@pytest.mark.parametrize("kind", KINDS)
def test_files_copies_and_pickles(kind: Any, tmp_path: Path) -> None:
    model = fitted(kind, batch_norm=BatchNorm(0.2))
    model.save(tmp_path / "m")
    for again in (load(tmp_path / "m"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert again.batch_norm == BatchNorm(0.2)
        assert bits(again) == bits(model)
        name = "score_samples" if kind is AnomalyDetector else "transform"
        np.testing.assert_array_equal(getattr(again, name)(X), getattr(model, name)(X))
        if kind is PretrainedClassifier:
            assert bits(again.partial_fit(X, Y)) == bits(copy.deepcopy(model).partial_fit(X, Y))


LAYER = ("fitted", "network_", 0)


def changed_array(change: Any) -> Any:
    def apply(_: Any, tensors: Any) -> None:
        tensors["network.0.normalization"] = change(tensors["network.0.normalization"])

    return apply


@pytest.mark.parametrize(
    "change",
    [
        assign(*LAYER, "normalization", None),
        assign(*LAYER, "normalization", "network.0.bias"),
        assign(*LAYER, "normalization", "nothing"),
        assign(*LAYER, "activation", "batch_norm", None),
        assign(*LAYER, "activation", "batch_norm", [0.1]),
        assign(*LAYER, "activation", "batch_norm", [0.0, 1e-5]),
        assign(*LAYER, "activation", "batch_norm", [0.1, "x"]),
        assign(*LAYER, "activation", "batch_norm", [0.1, -1.0]),
        assign("fitted", "network_", 2, "activation", "batch_norm", [0.1, 1e-5]),
        changed_array(lambda norm: -norm),
        changed_array(lambda norm: norm[:2]),
        changed_array(lambda norm: norm[:, 1:]),
        changed_array(lambda norm: norm * np.inf),
    ],
)  # fmt: skip
def test_files_whose_normalization_does_not_fit_are_refused(change: Any, tmp_path: Path) -> None:
    make(finetuning=BRIEF.replace(epochs=1)).fit(X, Y).save(tmp_path / "m")
    (tmp_path / "m").write_bytes(altered((tmp_path / "m").read_bytes(), change))
    with pytest.raises(FormatError):
        load(tmp_path / "m")


def test_files_without_it_are_as_before(tmp_path: Path) -> None:
    make(batch_norm="auto").fit(X, Y).save(tmp_path / "m")
    content = (tmp_path / "m").read_bytes()
    assert b"normalization" not in content
    assert content.count(b"batch_norm") == 1  # the parameter


def test_fits_that_go_on() -> None:
    model = make(warm_start=True).fit(X, Y)
    moved = [layer.normalization for layer in model.network_.layers[:2]]
    model.fit(X, Y)
    assert len(model.history_) == 8
    for before, layer in zip(moved, model.network_.layers, strict=False):
        assert (layer.normalization != before).all()
    deeper = make(warm_start=True).fit(X, Y).set_params(hidden_layer_sizes=(5, 4, 3)).fit(X, Y)
    assert bits(deeper) == bits(make().set_params(hidden_layer_sizes=(5, 4, 3)).fit(X, Y))
    with pytest.raises(
        InvalidParameterError, match=r"'batch_norm' .* must be that of the fit before \(5 tanh with bat"
    ):
        model.set_params(batch_norm=False).fit(X, Y)
    with pytest.raises(InvalidParameterError, match=r"'activation' .* must be that of the fit before"):
        model.set_params(activation="relu", batch_norm=True).fit(X, Y)


def test_unrolled_and_untied_autoencoders() -> None:
    model = StackedAutoencoder((5, 4), pretraining=PLAIN, finetuning=BRIEF, batch_norm=True, random_state=0).fit(X)
    assert [layer.normalization is None for layer in model.network_.layers] == [False, False, True, True]
    codes = model.transform(X)
    np.testing.assert_allclose(model.inverse_transform(codes), model.reconstruct(X), atol=1e-6)
    untied = clone(model).set_params(finetuning=BRIEF.replace(untie=True)).fit(X)
    assert [layer.tied_to for layer in untied.network_.layers] == [-1] * 4
    assert (untied.network_.layers[0].normalization != model.network_.layers[0].normalization).any()
    assert untied.network_.layers[0].activation.batch_norm


def test_a_fitted_autoencoder_brings_its_normalisation() -> None:
    before = StackedAutoencoder((5, 4), pretraining=PLAIN, batch_norm=[True, False], random_state=0).fit(X)
    none = FineTuning(epochs=0)
    for given in ("auto", [True, False]):
        model = PretrainedClassifier(pretraining=FrozenEstimator(before), finetuning=none, batch_norm=given).fit(X, Y)
        np.testing.assert_array_equal(model.network_.layers[0].normalization, before.network_.layers[0].normalization)
        np.testing.assert_array_equal(model.transform(X), before.transform(X))
    for given in (True, False, BatchNorm(0.3)):
        with pytest.raises(
            InvalidParameterError, match=r"'batch_norm' .*that of the StackedAutoencoder .*tanh with batch_norm, tanh"
        ):
            PretrainedClassifier((5, 4), pretraining=before, activation="tanh", batch_norm=given).fit(X, Y)


def test_stages_done_must_have_it_too() -> None:
    done = list(pretrain(X, 5, PLAIN, batch_norm=True))
    again = list(pretrain(X, (5, 4), PLAIN, batch_norm=True, done=done))
    whole = list(pretrain(X, (5, 4), PLAIN, batch_norm=True))
    assert again[0].encoder.normalization.tobytes() == whole[1].encoder.normalization.tobytes()
    with pytest.raises(ValueError, match="are not the lowest layers"):
        next(pretrain(X, (5, 4), PLAIN, done=done))


def test_starts_of_fine_tuning() -> None:
    encoder = next(pretrain(X, 40, PLAIN.replace(epochs=5), batch_norm=True)).encoder
    histogram, random = (restarted([encoder], [start], ["auto"], 1)[0] for start in ("histogram", "random"))
    start = np.repeat(np.float32([[1], [0], [1]]), 40, axis=1)
    np.testing.assert_array_equal(histogram.normalization[1:], start[1:])
    assert np.isin(histogram.normalization[0], encoder.normalization[0]).all()
    assert (histogram.normalization[0] != encoder.normalization[0]).any()
    np.testing.assert_array_equal(random.normalization, start)
    for layer in (histogram, random):
        assert layer.activation == encoder.activation
        Network([layer, start_layer(np.ones((40, 2)), Activation("identity"), np.dtype(np.float32))]).engine()


def test_the_cache_and_what_makes_a_fit_another(tmp_path: Path) -> None:
    model = make(memory=tmp_path / "cache").fit(X, Y)
    assert bits(model) == bits(make().fit(X, Y))
    again = make(memory=tmp_path / "cache").fit(X, Y)
    assert [stage.from_cache for stage in again.stages_] == [True, True]
    assert bits(again) == bits(model)
    for other, hits in (([True, False], [True, False]), (BatchNorm(0.2), [False, False]), (False, [False, False])):
        found = make(memory=tmp_path / "cache", batch_norm=other).fit(X, Y)
        assert [stage.from_cache for stage in found.stages_] == hits, other
    make(checkpoint=tmp_path / "c").fit(X, Y)
    with pytest.raises(ValueError, match=r"batch_norm \(then true, now BatchNorm\)"):
        make(checkpoint=tmp_path / "c", batch_norm=BatchNorm()).fit(X, Y)


def test_a_diagnosis_sees_what_predictions_do() -> None:
    model = make(finetuning=BRIEF.replace(epochs=20)).fit(X, Y)
    layers = [replace(layer, weights=layer.affine()[0], bias=layer.affine()[1], activation=layer.activation.bare,
                      normalization=None) for layer in model.network_.layers]  # fmt: skip
    folded = copy.copy(model)
    folded.network_ = Network(layers)
    with pytest.warns(UserWarning, match="Remedy"):
        sizes = [[of.gradient for of in diagnose(one, X).layers] for one in (model, folded)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=1e-4)


# Settings and refusals.


def test_settings_are_reached_by_name() -> None:
    model = make(batch_norm=BatchNorm()).set_params(batch_norm__momentum=0.5)
    assert model.batch_norm == BatchNorm(0.5)
    assert model.get_params()["batch_norm__epsilon"] == 1e-5
    assert model.fit(X, Y).network_.layers[0].activation.batch_norm == (0.5, 1e-5)
    assert repr(BatchNorm(epsilon=0.001)) == "BatchNorm(epsilon=0.001)"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"'batch_norm' parameter of \w+ must be \"auto\", True, False or BatchNorm\(\)"),
        (1, r"'batch_norm' parameter of \w+ must be \"auto\", True, False or BatchNorm\(\)"),
        ("yes", "'batch_norm' parameter of"),
        ([True], r"'batch_norm' parameter of \w+ must be one value, or a list of 2 values"),
        ([True, None], "'batch_norm' parameter of"),
        (BatchNorm(0), r"'batch_norm__momentum' parameter of \w+ must be a finite number in \(0, 1\]. Got 0 instead"),
        (BatchNorm(1.1), "'batch_norm__momentum'"),
        (BatchNorm(True), "'batch_norm__momentum'"),
        (BatchNorm(epsilon=0), "'batch_norm__epsilon'"),
        (BatchNorm(epsilon=np.inf), "'batch_norm__epsilon'"),
        ([BatchNorm(epsilon="x"), False], "'batch_norm__epsilon'"),
    ],
)
def test_bad_values_are_named_before_any_work(kind: Any, value: Any, message: str) -> None:
    model = kind((5, 4), batch_norm=value)
    with pytest.raises(InvalidParameterError, match=message):
        model.fit(X, X[:, 0] if kind is PretrainedRegressor else Y)
    assert not hasattr(model, "stages_")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pretraining": RestrictedBoltzmannMachine()}, "'batch_norm' .* must be False with a RestrictedBoltzmann"),
        ({"pretraining": ContractiveAutoencoder()}, "'pretraining__contraction' .* must be 0 for layers with batch"),
        ({"pretraining": PLAIN.replace(batch_size=1)}, "'pretraining__batch_size' .* must be at least 2, or \"auto\""),
        ({"pretraining": PLAIN.replace(optimizer=LBFGS())}, "'pretraining__optimizer' .* with batch_norm: line sear"),
        ({"pretraining": SupervisedPretraining(batch_size=1)}, "'pretraining__batch_size' .* at least 2"),
        ({"pretraining": SupervisedPretraining(optimizer=LBFGS())}, "'pretraining__optimizer' .* with batch_norm"),
        ({"finetuning": BRIEF.replace(batch_size=1)}, "'finetuning__batch_size' .* must be at least 2"),
        ({"finetuning": BRIEF.replace(optimizer=ConjugateGradient())}, "'finetuning__optimizer' .* with batch_norm"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_refused(params: Any, message: str) -> None:
    model = make(**params)
    with pytest.raises(InvalidParameterError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "stages_")
    if not isinstance(model.pretraining, SupervisedPretraining):
        model = StackedAutoencoder((5, 4), batch_norm=[False, True], **({"pretraining": PLAIN} | params))
        with pytest.raises(InvalidParameterError, match=message):
            model.fit(X)


def test_layers_that_are_not_normalised_may_have_all() -> None:
    kinds = [ContractiveAutoencoder(epochs=1, contraction=[0.1, 0]), PLAIN.replace(batch_size=[1, 20], epochs=1)]
    for settings in kinds:
        stages = list(pretrain(X, (5, 4), settings, batch_norm=[False, True]))
        assert [stage.encoder.normalization is None for stage in stages] == [True, False]
    targets = np.eye(3, dtype=np.float32)[np.maximum(Y, 0)]
    stage = next(pretrain_supervised(X, targets, 5, SupervisedPretraining(epochs=1), batch_norm=True))
    assert stage.encoder.normalization is not None
    with pytest.raises(InvalidParameterError, match="'batch_norm' parameter of pretrain_supervised"):
        pretrain_supervised(X, targets, 5, batch_norm="on")
    with pytest.raises(InvalidParameterError, match="'batch_norm' parameter of pretrain must be"):
        pretrain(X, 5, batch_norm=0)
