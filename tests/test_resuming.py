"""A fit that goes on from a checkpoint has the bits of one that was never ended, wherever that was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standing import X, state, written

from layerwise import (
    LBFGS,
    SGD,
    Adagrad,
    AdamW,
    AnomalyDetector,
    Autoencoder,
    ColumnGroups,
    ConjugateGradient,
    ContractiveAutoencoder,
    CosineDecay,
    DenoisingAutoencoder,
    FineTuning,
    LinearDecay,
    Masking,
    Momentum,
    MomentumRamp,
    MomentumSwitch,
    Nesterov,
    PReLU,
    PretrainedClassifier,
    PretrainedRegressor,
    ReduceOnPlateau,
    RestrictedBoltzmannMachine,
    RMSProp,
    SparseAutoencoder,
    StackedAutoencoder,
    SupervisedPretraining,
    Swish,
    _core,
    activations,
    keeping,
    rbm,
    training,
)
from layerwise.network import DenseLayer, Network
from layerwise.persistence import checkpoint as files

Y = np.where(np.arange(60) % 4 == 3, -1, np.arange(60) % 4)
WEIGHTS = 0.5 + _core.random_uniform(5, 1, 60)
BRIEF = FineTuning(epochs=2, batch_size=15)
PLAIN = Autoencoder(epochs=1, batch_size=30)
GROUPS = ColumnGroups([("number", 2), ("flag", 1), ("category", 3)])


def boltzmann(**settings: Any) -> RestrictedBoltzmannMachine:
    return RestrictedBoltzmannMachine(epochs=2, batch_size=20, sparsity_target=0.2, **settings)


def classifier(pretraining: Any = PLAIN, finetuning: Any = BRIEF, **params: Any) -> Callable[..., Any]:
    given = {"hidden_layer_sizes": (5, 4), "pretraining": pretraining, "finetuning": finetuning, "random_state": 3}
    return lambda **more: PretrainedClassifier(**(given | params | more)).fit(X, Y, sample_weight=WEIGHTS)


def autoencoder(pretraining: Any, finetuning: Any = None, data: Any = X, **params: Any) -> Callable[..., Any]:
    given = {"hidden_layer_sizes": (5, 4, 3), "pretraining": pretraining, "finetuning": finetuning, "random_state": 3}
    return lambda **more: StackedAutoencoder(**(given | params | more)).fit(data)


def regressor(**more: Any) -> Any:
    targets = np.stack([X[:, 0], np.where(X[:, 1] > 0.5, np.nan, X[:, 2])], 1)
    settings = SupervisedPretraining(epochs=2, batch_size=20, schedule=LinearDecay(), optimizer=AdamW(0.01))
    return PretrainedRegressor((5, 4), pretraining=settings, finetuning=BRIEF, random_state=3, **more).fit(X, targets)


def several_labels(**more: Any) -> Any:
    labels = np.stack([Y % 2, np.where(Y < 0, -1, Y > 1)], 1)
    model = PretrainedClassifier(5, pretraining=SupervisedPretraining(epochs=1), finetuning=BRIEF, **more)
    return model.set_params(random_state=3).fit(X, labels)


def detector(**more: Any) -> Any:
    return AnomalyDetector((4, 2), pretraining=PLAIN, finetuning=BRIEF, random_state=3, **more).fit(X)


def warm(**more: Any) -> Any:
    model = PretrainedClassifier((5, 4), pretraining=PLAIN, finetuning=BRIEF, random_state=3, warm_start=True).fit(X, Y)
    return model.set_params(**more).fit(X, Y)


def deeper(**more: Any) -> Any:
    model = PretrainedClassifier((5,), pretraining=PLAIN, finetuning=BRIEF, random_state=3, warm_start=True).fit(X, Y)
    return model.set_params(hidden_layer_sizes=(5, 4), **more).fit(X, Y)


def ends_early(record: Any) -> bool:
    return (record.layer, record.epoch) in ((1, 2), (None, 1))


THAWING = FineTuning(
    epochs=4, batch_size=15, frozen_layers=2, thaw_after=[3, 1], schedule=CosineDecay(warm_up=0.5), dropout=0.2
)
STOPPING = FineTuning(
    epochs=30, batch_size=15, early_stopping=True, validation_fraction=0.2, n_iter_no_change=2, optimizer=RMSProp(0.1)
)
PLATEAU = FineTuning(
    epochs=6,
    batch_size=20,
    schedule=ReduceOnPlateau(n_iter_no_change=1, tol=0.3),
    optimizer=Nesterov(0.05, MomentumRamp()),
)
FITS: dict[str, Callable[..., Any]] = {
    "denoising": classifier(
        DenoisingAutoencoder(epochs=2, batch_size=20, corruption=Masking(0.3), validation_fraction=0.2)
    ),
    "float64": autoencoder(PLAIN, BRIEF, X.astype(np.float64)),
    "sparse": autoencoder(SparseAutoencoder(epochs=2, batch_size=20, optimizer=Adagrad(0.1)), activation="sigmoid"),
    "contractive": autoencoder(ContractiveAutoencoder(epochs=2, batch_size=20, schedule="cosine"), BRIEF),
    "boltzmann": autoencoder(boltzmann(monitor=True, validation_fraction=0.1), BRIEF),
    "persistent": classifier(boltzmann(persistent=True, optimizer=Momentum(0.05, MomentumSwitch(epochs=1)))),
    "supervised": regressor,
    "several labels": several_labels,
    "simultaneous": autoencoder(
        DenoisingAutoencoder(epochs=[4, 2, 3], batch_size=20, simultaneous=True, validation_fraction=0.2), BRIEF
    ),
    "early stopping": classifier(finetuning=STOPPING),
    "thawing": classifier(finetuning=THAWING),
    "held": classifier(finetuning=FineTuning(epochs=3, batch_size=15, schedule=LinearDecay(hold=1.2))),
    "plateau": classifier(finetuning=PLATEAU),
    "learned activations": classifier(activation=[PReLU(), Swish(shared=True)]),
    "batch norm": classifier(
        Autoencoder(epochs=2, batch_size=20, supervised_optimizer="adam"), STOPPING, batch_norm=True
    ),
    "partially supervised": classifier(
        Autoencoder(epochs=1, batch_size=5, supervised_optimizer=Momentum(0.05, MomentumRamp())),
        BRIEF.replace(epochs=1),
    ),
    "supervised machine": classifier(boltzmann(supervised_optimizer="adam"), BRIEF.replace(epochs=1)),
    "line searches": classifier(
        Autoencoder(epochs=2, batch_size=20, optimizer=LBFGS(searches=1)),
        FineTuning(epochs=2, batch_size=20, optimizer=ConjugateGradient(searches=1), frozen_layers=1, thaw_after=1),
    ),
    "codes made again": autoencoder(DenoisingAutoencoder(epochs=2, batch_size=15, code_cache="recompute"), BRIEF),
    "halves": autoencoder(Autoencoder(epochs=2, batch_size=20, code_cache="bfloat16", validation_fraction=0.2)),
    "machines on codes in parts": autoencoder(boltzmann(persistent=True, code_cache="recompute")),
    "columns in groups": autoencoder(Autoencoder(epochs=2, batch_size=20, loss=GROUPS), BRIEF),
    "no pretraining": classifier(None, BRIEF.replace(optimizer=SGD(0.1), clip_norm=1.0, max_norm=2.0, l1=1e-4)),
    "histogram": classifier(finetuning=BRIEF.replace(start=["histogram", "random"], input_dropout=0.1)),
    "a callback ends": classifier(PLAIN.replace(epochs=4), callbacks=ends_early),
    "detector": detector,
    "warm start": warm,
    "deeper": deeper,
}


@pytest.mark.parametrize("name", FITS)
def test_going_on_from_any_step_gives_the_same_bits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, path = FITS[name], tmp_path / "fit"
    whole = state(fit())
    model, copies = written(fit, path, monkeypatch, n_jobs=1)
    assert state(model) == whole
    places = {tuple((key, at.step > 0) for key, at in files._decode(copy).positions.items()) for copy in copies}
    assert len(places) >= 3  # between epochs and within them, in each stage
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for copy in copies if len(copies) < 24 else copies[::2] + copies[-2::-5]:  # at each place of an epoch
        path.write_bytes(copy)
        assert state(fit(checkpoint=path, n_jobs=2)) == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit"]


@pytest.mark.parametrize("batch_size", [7, 1500])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_of_a_run_in_pieces_is_that_of_the_whole(batch_size: int, weighted: bool, dtype: Any) -> None:
    rows = _core.random_uniform(1, 0, 3100 * 4).reshape(3100, 4).astype(dtype)
    weights = _core.random_uniform(1, 1, 3100).astype(dtype) if weighted else None
    steps = -(-len(rows) // batch_size)
    network = machine_of(dtype)
    recipe = _core.Recipe("sigmoid_cross_entropy", _core.Optimizer("momentum"), batch_size, seed=3)
    plans: list[Any] = [
        lambda engine: training.plan_for(engine, recipe),
        lambda engine: rbm.Plan(engine, recipe, boltzmann(persistent=True, sample_visible=True)),
    ]
    for make in plans:
        whole, pieces = network.engine(), network.engine()
        stats = make(whole).run(rows, None, 0, steps, np.full(steps, 0.1), None, weights)
        plan, done, sums = make(pieces), 0, (0.0, 0.0)
        for count in (1, steps // 3, steps):
            count = min(count, steps - done)
            part = plan.run(rows, None, done, count, np.full(count, 0.1), None, weights, sums)
            done, sums = done + count, part.sums
            later = make(pieces)
            keeping.set_memory(later, keeping.memory_of(plan))
            plan = later
        assert done == steps
        assert (part.loss, part.sums) == (stats.loss, stats.sums)
        assert part.loss == sums[0] / sums[1]
        assert pieces.parameters().tobytes() == whole.parameters().tobytes()


def test_the_memory_of_a_machine_has_its_size() -> None:
    recipe = _core.Recipe("sigmoid_cross_entropy", _core.Optimizer("sgd"), 4)
    for persistent, cost, size in ((False, 0.0, 0), (True, 0.0, 12), (False, 0.1, 4), (True, 0.1, 16)):
        plan = _core.RbmPlan_float32(machine_of(np.float32).engine(), recipe, persistent=persistent, sparsity_cost=cost)
        assert plan.memory().shape == (size,)
        values = np.arange(size, dtype=np.float32) > 0
        plan.set_memory(values.astype(np.float32))
        assert plan.memory().tolist() == values.tolist()
        with pytest.raises(ValueError, match=rf"values must have shape \({size},\)"):
            plan.set_memory(np.zeros(size + 1, np.float32))


def machine_of(dtype: Any) -> Network:
    """A machine of 4 visible and 3 hidden units."""
    weights = (_core.random_normal(1, 2, 12).reshape(4, 3) * 0.1).astype(dtype)
    sigmoid = activations.Activation("sigmoid")
    up = DenseLayer(weights, np.zeros(3, dtype), sigmoid)
    return Network([up, DenseLayer(weights.T, np.zeros(4, dtype), sigmoid, tied_to=0)])
