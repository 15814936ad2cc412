"""The pretraining cache: the same bits as without, found where all is the same and nowhere else."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import standing
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold
from standing import X, Y, state

import layerwise
from layerwise import (
    AnomalyDetector,
    Autoencoder,
    ColumnGroups,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    Normal,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    SeenRowsWarning,
    StackedAutoencoder,
    SupervisedPretraining,
    TimeLimitWarning,
    _core,
    load,
)
from layerwise.column_groups import with_groups

DENOISING = DenoisingAutoencoder(epochs=2, batch_size=20)
TUNING = FineTuning(epochs=2, batch_size=20)


def make(**params: Any) -> PretrainedClassifier:
    return standing.make(**({"pretraining": DENOISING, "finetuning": TUNING} | params))


def found(model: Any) -> list[bool]:
    return [stage.from_cache for stage in model.stages_]


@pytest.mark.parametrize("kind", [PretrainedClassifier, PretrainedRegressor, StackedAutoencoder, AnomalyDetector])
@pytest.mark.parametrize("value", [3, "", b"folder", ["a"], object(), joblib.Memory, "/dev/null", "a\0b"])
def test_bad_values_are_named_before_any_work(kind: Any, value: Any) -> None:
    model = kind(memory=value)
    with pytest.raises(InvalidParameterError, match=rf"'memory' parameter of {kind.__name__} must be None, the path"):
        model.fit(X, X[:, 0] if kind is PretrainedRegressor else Y)
    assert not hasattr(model, "stages_")


@pytest.mark.parametrize("form", [str, Path, lambda path: joblib.Memory(path, verbose=0)])
def test_the_second_fit_takes_the_layers_of_the_first(
    form: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = state(make().fit(X, Y))
    seen: list[Any] = []
    for times in range(3):
        model = make(memory=form(tmp_path / "cache"), verbose=1, callbacks=seen.append, n_jobs=1 + times % 2).fit(X, Y)
        assert state(model) == whole
        assert found(model) == [times > 0] * 2
        said = capsys.readouterr().out
        assert (
            "layer 2: taken from the pretraining cache" if times else "layer 2: not yet in the pretraining cache"
        ) in said
    assert [record.stage for record in seen] == ["pretraining"] * 4 + ["finetuning"] * 6
    assert "from the cache" in repr(model.stages_[0])
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").memory is None


@pytest.mark.parametrize(
    ("params", "data", "hits"),
    [
        ({"finetuning": FineTuning(epochs=1, alpha=0.1), "class_weight": "balanced", "warm_start": True}, {}, [1, 1]),
        ({}, {"y": np.roll(Y, 1)}, [1, 1]),
        ({}, {"X": np.asfortranarray(X)}, [1, 1]),
        ({"hidden_layer_sizes": (5, 4, 3)}, {}, [1, 1, 0]),
        ({"hidden_layer_sizes": (5, 3)}, {}, [1, 0]),
        ({"hidden_layer_sizes": 5}, {}, [1]),
        ({"hidden_layer_sizes": (6, 4)}, {}, [0, 0]),
        ({"activation": ["tanh", "sigmoid"]}, {}, [1, 0]),
        ({"initializer": Normal(0.1)}, {}, [0, 0]),
        ({"pretraining": DenoisingAutoencoder(epochs=[2, 3], batch_size=20)}, {}, [1, 0]),
        ({"pretraining": DenoisingAutoencoder(epochs=2, batch_size=20, corruption="gaussian")}, {}, [0, 0]),
        ({"pretraining": DenoisingAutoencoder(epochs=2, batch_size=20, validation_fraction=0.1)}, {}, [0, 0]),
        ({"pretraining": DenoisingAutoencoder(epochs=2, batch_size=20, simultaneous=True)}, {}, [0, 0]),
        ({"pretraining": Autoencoder(epochs=2, batch_size=20)}, {}, [0, 0]),
        ({"pretraining": SupervisedPretraining(epochs=2, batch_size=20)}, {}, [0, 0]),
        ({"random_state": 3}, {}, [0, 0]),
        ({}, {"X": X[:59], "y": Y[:59]}, [0, 0]),
        ({}, {"X": X[::-1]}, [0, 0]),
        ({}, {"X": X.astype(float)}, [0, 0]),
        ({}, {"sample_weight": np.arange(1, 61)}, [0, 0]),
    ],
)
def test_what_is_found(params: Any, data: Any, hits: list[int], tmp_path: Path) -> None:
    make(memory=tmp_path).fit(X, Y)
    with_cache = make(memory=tmp_path, **params).fit(**({"X": X, "y": Y} | data))
    assert found(with_cache) == [bool(hit) for hit in hits]
    data = {"X": X, "y": Y} | data
    assert state(with_cache, data["X"]) == state(make(**params).fit(**data), data["X"])


def test_labels_that_a_layer_has_seen_count(tmp_path: Path) -> None:
    def fit(y: Any) -> Any:
        return make(pretraining=DENOISING.replace(supervised_optimizer="adam"), memory=tmp_path).fit(X, y)

    fit(Y)
    assert found(fit(Y)) == [True, True]
    assert found(fit(np.where(Y == 1, 2, Y))) == [False, False]
    assert found(fit(np.where(np.arange(60) < 8, -1, Y))) == [False, False]


@pytest.mark.skipif(not _core.has_bfloat16(), reason="the instruction set in use has no bfloat16")
def test_the_precision_counts(tmp_path: Path) -> None:
    for precision, hit in (("auto", False), ("bfloat16", False), ("bfloat16", True)):
        assert found(make(memory=tmp_path, precision=precision).fit(X, Y)) == [hit] * 2


def test_what_a_table_says_of_its_columns_counts(tmp_path: Path) -> None:
    table = with_groups(X, ColumnGroups([("number", 4), ("flag", 2)]))
    for data, hit in ((X, False), (table, False), (X, True), (table, True)):
        model = make(memory=tmp_path).fit(data, Y)
        assert found(model) == [hit] * 2
        assert model.stages_[0].loss == ("mixed" if data is table else "cross_entropy")
    for data in (X, table):
        make(checkpoint=tmp_path / f"{data is X}.checkpoint").fit(data, Y)
    with pytest.raises(ValueError, match=r"column groups .then unknown, now .*flag"):
        make(checkpoint=tmp_path / "True.checkpoint").fit(table, Y)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_layers_between_found_ones(simultaneous: bool, tmp_path: Path) -> None:
    """A layer that is found after one that was not, and before one that is not."""
    settings = DENOISING.replace(simultaneous=simultaneous)
    make(pretraining=settings, memory=tmp_path, hidden_layer_sizes=(5, 4, 3)).fit(X, Y)
    entries = [path.parent for path in tmp_path.rglob("output.pkl")]
    if not simultaneous:
        assert len(entries) == 3
        for entry in entries:
            if joblib.load(entry / "output.pkl")[0].layer == 1:
                (entry / "output.pkl").unlink()
    deeper = make(pretraining=settings, memory=tmp_path, hidden_layer_sizes=(5, 4, 3, 2)).fit(X, Y)
    assert found(deeper) == [False] * 4 if simultaneous else [False, True, True, False]
    assert state(deeper) == state(make(pretraining=settings, hidden_layer_sizes=(5, 4, 3, 2)).fit(X, Y))
    again = make(pretraining=settings, memory=tmp_path, hidden_layer_sizes=(5, 4, 3, 2)).fit(X, Y)
    assert found(again) == [True] * 4


def test_labels_count_where_they_are_learned(tmp_path: Path) -> None:
    settings = SupervisedPretraining(epochs=2, batch_size=20)
    others = Y.copy()
    others[Y >= 0] = np.roll(Y[Y >= 0], 1)  # of the same rows
    for labels, hits in ((Y, False), (Y, True), (others, False)):
        model = make(pretraining=settings, memory=tmp_path).fit(X, labels)
        assert found(model) == [hits] * 2
        assert state(model) == state(make(pretraining=settings).fit(X, labels))


def test_other_estimators(tmp_path: Path) -> None:
    machine = RestrictedBoltzmannMachine(epochs=2, batch_size=20, persistent=True)
    for kind, data in ((StackedAutoencoder, (X,)), (AnomalyDetector, (X,)), (PretrainedRegressor, (X, X[:, 0]))):
        for settings in (machine, Autoencoder(epochs=1)) if kind is not AnomalyDetector else (Autoencoder(epochs=1),):
            models = [
                kind((4, 3), pretraining=settings, random_state=1, memory=memory).fit(*data)
                for memory in (None, tmp_path, tmp_path)
            ]
            assert state(models[0]) == state(models[1]) == state(models[2])
            assert found(models[2]) == [True, True]


def test_what_ended_early_is_not_remembered(tmp_path: Path) -> None:
    model = make(memory=tmp_path, callbacks=lambda record: (record.layer, record.epoch) == (2, 1)).fit(X, Y)
    assert [len(stage.history) for stage in model.stages_] == [2, 1]
    with pytest.warns(TimeLimitWarning):
        make(memory=tmp_path, max_seconds=1e-9, hidden_layer_sizes=(7,)).fit(X, Y)
    assert found(make(memory=tmp_path, hidden_layer_sizes=(7,)).fit(X, Y)) == [False]
    whole = make(memory=tmp_path).fit(X, Y)
    assert found(whole) == [True, False]
    assert state(whole) == state(make().fit(X, Y))


def test_an_interrupt_keeps_the_finished_layers(tmp_path: Path) -> None:
    def stop(record: Any) -> None:
        if (record.layer, record.epoch) == (2, 1):
            raise KeyboardInterrupt

    model = make(memory=tmp_path, callbacks=stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert len(model.stages_) == 1
    assert found(make(memory=tmp_path).fit(X, Y)) == [True, False]


def test_a_fit_that_goes_on_and_a_cache(tmp_path: Path) -> None:
    model = make(memory=tmp_path, hidden_layer_sizes=(5,), warm_start=True).fit(X, Y)
    bits = state(clone(model).set_params(memory=None).fit(X, Y).set_params(hidden_layer_sizes=(5, 4)).fit(X, Y))
    for hit in (False, True):
        model = make(memory=tmp_path, hidden_layer_sizes=(5,), warm_start=True).fit(X, Y)
        assert state(model.set_params(hidden_layer_sizes=(5, 4)).fit(X, Y)) == bits
        assert found(model) == [True, hit]
    longer = {"pretraining": Autoencoder(epochs=3, batch_size=20), "hidden_layer_sizes": (5,), "warm_start": True}
    shorter = {"pretraining": DENOISING, "hidden_layer_sizes": (5, 4)}
    on_another = [make(memory=memory, **longer).fit(X, Y) for memory in (None, tmp_path)]
    assert state(on_another[0].set_params(**shorter).fit(X, Y)) == state(on_another[1].set_params(**shorter).fit(X, Y))
    with_both = [make(memory=tmp_path / "m", checkpoint=tmp_path / "c").fit(X, Y) for _ in range(2)]
    assert state(with_both[0]) == state(with_both[1]) == state(make().fit(X, Y))
    first = make().set_params(memory=tmp_path / "p").partial_fit(X, Y, classes=[0, 1, 2])
    assert found(make().set_params(memory=tmp_path / "p").partial_fit(X, Y, classes=[0, 1, 2])) == [True, True]
    assert found(first) == [False, False]


def test_a_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    whole = state(make(memory=tmp_path).fit(X, Y))
    for path in tmp_path.rglob("output.pkl"):
        path.write_bytes(path.read_bytes()[:-9])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib's
        model = make(memory=tmp_path).fit(X, Y)
    assert found(model) == [False, False]
    assert state(model) == whole


def test_a_fit_without_a_seed_is_warned() -> None:
    with pytest.warns(UserWarning, match="memory finds nothing again with random_state=None") as record:
        make(memory=joblib.Memory(None), random_state=None).fit(X, Y)
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("n_jobs", "backend"), [(1, "loky"), (2, "threading"), pytest.param(2, "loky", marks=pytest.mark.slow)]
)
def test_a_search_pretrains_once_a_fold(
    n_jobs: int, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = np.arange(60) % 3
    grid = {"finetuning__epochs": [1, 2], "finetuning__alpha": [0, 0.1], "hidden_layer_sizes": [(5,), (5, 4)]}

    def search(memory: Any, n_jobs: int = 1) -> Any:
        with joblib.parallel_config(backend):
            return GridSearchCV(make(memory=memory), grid, cv=KFold(3), n_jobs=n_jobs).fit(X, known)

    with_cache, without = search(tmp_path, n_jobs), search(None)
    for name in ("mean_test_score", "split0_test_score", "split2_test_score"):
        assert with_cache.cv_results_[name].tolist() == without.cv_results_[name].tolist()
    assert state(with_cache.best_estimator_) == state(without.best_estimator_)
    # 3 folds and the whole; each its own rows, so that no fold's layers have seen its validation rows.
    depth = len(with_cache.best_params_["hidden_layer_sizes"])
    entries = [joblib.load(path)[0] for path in tmp_path.rglob("output.pkl")]
    assert sorted(stage.layer for stage in entries) == [1] * 4 + [2] * (3 + (depth == 2))
    assert len({stage.weights.tobytes() for stage in entries}) == len(entries)
    if n_jobs == 1:
        trained: list[int] = []
        real = layerwise.training.run
        monkeypatch.setattr(layerwise.training, "run", lambda *a, **k: (trained.append(k["layer"]), real(*a, **k))[1])
        search(tmp_path)
        assert set(trained) == {None}


def test_layers_that_have_seen_more_rows_are_told(tmp_path: Path) -> None:
    before = StackedAutoencoder((5, 4), pretraining=Autoencoder(epochs=1), random_state=0).fit(X)
    assert before.n_samples_seen_ == 60
    before.save(tmp_path / "b")
    for layers in (before, load(tmp_path / "b")):
        model = PretrainedClassifier(pretraining=FrozenEstimator(layers), finetuning=FineTuning(epochs=1))
        model.fit(X, Y)  # the same rows
        with pytest.warns(SeenRowsWarning, match="pretrained on 60 rows, this fit has 40") as record:
            model.fit(X[:40], Y[:40])
        assert record[0].filename == __file__
        model.set_params(pretraining=layers).fit(X[:40], Y[:40])  # pretrain on many, fine-tune on few: no search
    before.partial_fit(X[:10])
    assert before.n_samples_seen_ == 70
    assert before.set_params(warm_start=True).fit(X[:50]).n_samples_seen_ == 50
    with pytest.warns(SeenRowsWarning):
        GridSearchCV(model.set_params(pretraining=FrozenEstimator(layers)), {"finetuning__alpha": [0]}, cv=2).fit(X, Y)
