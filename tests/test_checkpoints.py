"""The files of checkpoints: when they are written, what is refused, and what ends a fit costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from standing import GIVEN, X, Y, make, state, written

import layerwise
from layerwise import (
    AnomalyDetector,
    Autoencoder,
    BestModel,
    Checkpoint,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    JSONLines,
    Normal,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    TimeLimitWarning,
    TrainingDiverged,
    _core,
    checkpoints,
    load,
)
from layerwise.keeping import Position
from layerwise.persistence import checkpoint as files

WHOLE = state(make().fit(X, Y))


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PretrainedClassifier, PretrainedRegressor, StackedAutoencoder, AnomalyDetector])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"'checkpoint' parameter of \w+ must be None, the path of a file, or a Checkpoint. Got 3 instead"),
        ("", "'checkpoint' parameter"),
        (b"bytes", "'checkpoint' parameter"),
        ("a\0b", "'checkpoint' parameter"),
        (".", "'checkpoint' parameter"),
        (["a"], "'checkpoint' parameter"),
        (Checkpoint(None), r"'checkpoint__path' parameter of \w+ must be the path of a file. Got None instead"),
        (Checkpoint("x", -1), r"'checkpoint__every_seconds' parameter of \w+ must be a finite number in \[0, inf\)"),
        (Checkpoint("x", float("nan")), "'checkpoint__every_seconds'"),
        (Checkpoint("x", "often"), "'checkpoint__every_seconds'"),
        (Checkpoint("x", True), "'checkpoint__every_seconds'"),
    ],
)
def test_bad_values_are_named_before_any_work(kind: Any, value: Any, message: str) -> None:
    model = kind(checkpoint=value)
    with pytest.raises(InvalidParameterError, match=message):
        model.fit(X, Y.astype(float) if kind is PretrainedRegressor else Y)
    assert not hasattr(model, "stages_")


def test_settings_of_a_checkpoint(tmp_path: Path) -> None:
    model = make(checkpoint=Checkpoint(tmp_path / "c"))
    assert clone(model).checkpoint == model.checkpoint
    assert model.set_params(checkpoint__every_seconds=5).checkpoint == Checkpoint(tmp_path / "c", 5)
    assert repr(Checkpoint("c", every_seconds=5)) == "Checkpoint(path='c', every_seconds=5)"
    model.fit(X, Y).save(tmp_path / "m")
    assert load(tmp_path / "m").checkpoint is None  # a place on this machine


def test_partial_fit_takes_no_checkpoint(tmp_path: Path) -> None:
    model = make(checkpoint=tmp_path / "c")
    with pytest.raises(AttributeError, match="partial_fit") as info:
        model.partial_fit(X, Y, classes=[0, 1, 2])
    assert "checkpoint" in str(info.value.__cause__)


# --- what must agree --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "data", "named"),
    [
        ({"pretraining": Autoencoder(epochs=3, batch_size=20)}, {}, r"pretraining__epochs \(then 2, now 3\)"),
        (
            {"pretraining": DenoisingAutoencoder(epochs=2, batch_size=20)},
            {},
            r"fit: pretraining \(then Autoencoder, now DenoisingAutoencoder\)\. One",  # and nothing of what is inside
        ),
        ({"pretraining": None}, {}, r"fit: pretraining \(then Autoencoder, now null\)\. One"),
        (
            {"pretraining": GIVEN["pretraining"].replace(optimizer=layerwise.SGD(0.1))},
            {},
            r"fit: pretraining__optimizer \(then Adam, now SGD\)\. One",
        ),
        (
            {"pretraining": GIVEN["pretraining"].replace(code_cache="float16")},
            {},
            r"fit: pretraining__code_cache \(then unknown, now \"float16\"\)\. One",
        ),
        ({"finetuning": FineTuning(epochs=3, batch_size=20, alpha=0.1)}, {}, "finetuning__alpha .then 0.0, now 0.1"),
        ({"hidden_layer_sizes": (5, 5)}, {}, r"hidden_layer_sizes \(then \[5, 4\], now \[5, 5\]\)"),
        ({"activation": "sigmoid"}, {}, 'activation .then "auto", now "sigmoid"'),
        ({"initializer": Normal(0.1)}, {}, 'initializer .then "auto", now Normal'),
        ({"class_weight": {0: 2.0}}, {}, "class_weight"),
        ({"random_state": 3}, {}, r"random_state \(then the key \d+, now the key \d+\)"),
        ({}, {"X": X + 1}, r"X \(then 60 x 6 float32, checksum \w+, now 60 x 6 float32"),
        ({}, {"X": X.astype(float)}, "X .*float64"),
        ({}, {"X": X[:, :5]}, "X .*now 60 x 5 float32"),
        ({}, {"y": np.where(Y == 1, 2, Y)}, "; y|: y"),
        ({}, {"sample_weight": np.arange(1, 61)}, r"sample_weight \(then None, now 60 float64"),
    ],
)
def test_another_fit_is_told_what_differs(params: Any, data: Any, named: str, tmp_path: Path) -> None:
    path = tmp_path / "c"
    make(checkpoint=path).fit(X, Y)
    before = path.read_bytes()
    model = make(checkpoint=path, **params)
    with pytest.raises(ValueError, match=named) as info:
        model.fit(**({"X": X, "y": Y} | data))
    assert str(info.value).endswith("Delete the file or give another path to begin anew.")
    assert not hasattr(model, "stages_")
    assert path.read_bytes() == before
    path.unlink()
    model.fit(**({"X": X, "y": Y} | data))


def test_the_memory_of_line_searches_counts(tmp_path: Path) -> None:
    path = tmp_path / "c"
    searching = GIVEN["pretraining"].replace(optimizer=layerwise.LBFGS(searches=6))
    make(checkpoint=path, pretraining=searching).fit(X, Y)
    made = make(checkpoint=path, pretraining=searching, memory=tmp_path / "cache").fit(X, Y)  # an estimator's does not
    with pytest.raises(ValueError, match=r"pretraining__optimizer__memory \(then 10, now 3\)\. One"):
        made.set_params(pretraining__optimizer__memory=3).fit(X, Y)
    before = state(make(memory=tmp_path / "cache", pretraining=searching).fit(X, Y))
    other = make(pretraining=searching.replace(optimizer__memory=1))
    assert state(clone(other).set_params(memory=tmp_path / "cache").fit(X, Y)) == state(other.fit(X, Y)) != before


def test_a_detector_whose_columns_were_scaled_otherwise_is_told_so(tmp_path: Path) -> None:
    detector = AnomalyDetector((3,), pretraining=GIVEN["pretraining"], random_state=2, checkpoint=tmp_path / "c")
    detector.fit(X)
    with pytest.raises(ValueError, match=r"of another fit: (X or )?standardize \(then [^;]*\. One"):
        detector.set_params(standardize=False).fit(X)


def test_one_file_serves_one_fit(tmp_path: Path) -> None:
    path = tmp_path / "c"
    model = make(checkpoint=path)
    known = Y >= 0
    told = "One file serves one fit: the clones of a search, a cross-validation"
    with pytest.raises(ValueError, match=f"of another fit: X .*{told}"):
        cross_val_score(model, X[known], Y[known], cv=2, error_score="raise")
    path.unlink()
    search = GridSearchCV(model, {"finetuning__alpha": [0.0, 0.1]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match=told):
        search.fit(X[known], Y[known])
    path.unlink()
    pattern = "'estimator__checkpoint' parameter of compare must be None: one file serves one fit.*`memory`"
    for whole in (model, make_pipeline(model)):
        with pytest.raises(InvalidParameterError, match=pattern):
            layerwise.compare(whole, X, Y, seeds=1)
    assert not path.exists()


def test_two_fits_at_the_same_time_notice_each_other(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def other(record: Any) -> None:
        if (record.layer, record.epoch) == (2, 1):
            path.unlink()  # before the other one looks
            make(random_state=7, checkpoint=path).fit(X, Y)

    model = make(checkpoint=Checkpoint(path, 0), callbacks=other)
    with pytest.raises(
        OSError, match=r"Another fit has written its checkpoint here since this one began\. One file"
    ) as info:
        model.fit(X, Y)
    assert "the 1 finished stages are kept" in info.value.__notes__[0]
    assert model.stages_
    assert state(make(random_state=7, checkpoint=path).fit(X, Y)) == state(make(random_state=7).fit(X, Y))


def test_another_version_estimator_or_processor_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    make(checkpoint=path).fit(X, Y)
    with pytest.raises(ValueError, match=r"estimator .then PretrainedClassifier, now StackedAutoencoder"):
        StackedAutoencoder(checkpoint=path, random_state=2).fit(X)
    old = type("Core", (), {"isa": staticmethod(lambda: "x86-64-v2")})
    for name, value in (("__version__", "9.9"), ("_core", old)):
        with monkeypatch.context() as patch:
            patch.setattr(layerwise.estimators.identity, name, value)
            if _core.isa() == "x86-64-v2" and name == "_core":
                continue
            with pytest.raises(ValueError, match=r"version .then .*, now 9.9|processor .then with fused"):
                make(checkpoint=path).fit(X, Y)


def test_what_changes_no_bit_may_change(tmp_path: Path) -> None:
    path = tmp_path / "c"
    make(checkpoint=path).fit(X, Y)
    other = make(checkpoint=Checkpoint(path, 1), n_jobs=1, max_seconds=1e9, callbacks=print, verbose=0)
    assert state(other.fit(X, Y)) == WHOLE
    for kept in ("memory", "file", "recompute"):
        settings = GIVEN["pretraining"].replace(code_cache=kept, code_cache_limit=3)
        assert state(make(checkpoint=path, pretraining=settings).fit(X, Y)) == WHOLE
    detector = AnomalyDetector((3,), pretraining=GIVEN["pretraining"], random_state=2, checkpoint=tmp_path / "d")
    threshold = detector.fit(X).offset_
    assert detector.set_params(contamination=0.3).fit(X).offset_ > threshold  # it counts after all training


def test_a_fit_without_a_seed_takes_that_of_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    model, copies = written(lambda **more: make(random_state=None, **more).fit(X, Y), path, monkeypatch)
    assert state(model) != WHOLE
    for copy in (copies[0], copies[len(copies) // 2], copies[-1]):
        path.write_bytes(copy)
        assert state(make(random_state=None, checkpoint=path).fit(X, Y)) == state(model)


def test_what_no_file_can_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    class Other(Autoencoder):
        """A user's own settings."""

    seen: list[Any] = []
    with pytest.raises(TypeError, match="'pretraining' cannot be saved"):
        make(pretraining=Other(), checkpoint=tmp_path / "c", callbacks=seen.append).fit(X, Y)
    assert seen == []


# --- ends of a fit ----------------------------------------------------------------------------------------------------


def test_a_finished_fit_is_there_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    path = tmp_path / "c"
    make(checkpoint=path, callbacks=seen.append).fit(X, Y)
    assert len(seen) == 7
    model = make(checkpoint=path, callbacks=seen.append, verbose=1).fit(X, Y)
    assert len(seen) == 7
    assert state(model) == WHOLE
    assert "going on from the checkpoint: after 2 pretrained layers, finetuning: 3 epochs" in capsys.readouterr().out


@pytest.mark.parametrize(("layer", "epoch"), [(1, 1), (1, 2), (2, 1), (None, 1), (None, 3)])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_interrupt_the_same_call_goes_on(layer: Any, epoch: int, error: Any, tmp_path: Path) -> None:
    def stop(record: Any) -> None:
        if (record.layer, record.epoch) == (layer, epoch):
            raise error

    path = tmp_path / "c"
    with pytest.raises(error):
        make(checkpoint=Checkpoint(path, 0), callbacks=stop).fit(X, Y)
    seen: list[Any] = []
    assert state(make(checkpoint=path, callbacks=seen.append).fit(X, Y)) == WHOLE
    assert (seen[0].layer, seen[0].epoch) == (layer, epoch)  # what was not written is done again


def test_numbers_that_are_not_finite_can_be_written(tmp_path: Path) -> None:
    record = layerwise.EpochRecord("pretraining", 1, 1, 2, 0.5, None, 0.1, 1.0, float("inf"), float("nan"), -1.0)
    at = Position([record], 3, (1.0, 2.0), 0.5, False, {"parameters": np.ones(3, np.float32)})
    files.save(files.Snapshot({"X": "1"}, 7, [], {("pretraining", 1): at}), tmp_path / "c")
    back = files.load(tmp_path / "c").positions["pretraining", 1]
    assert repr(back) == repr(at)


@pytest.mark.parametrize("stops_early", [False, True])
@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_fit_in_several_sittings(
    simultaneous: bool, stops_early: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "pretraining": GIVEN["pretraining"].replace(simultaneous=simultaneous),
        "finetuning": FineTuning(
            epochs=9, batch_size=20, early_stopping=stops_early, n_iter_no_change=9, optimizer=layerwise.Adam(0.3)
        ),
    }
    model = make(**settings).fit(X, Y)
    whole = state(model)
    if stops_early:  # a sitting ends with other weights than the best so far, which the estimator keeps
        losses = [record.validation_loss for record in model.history_ if record.stage == "finetuning"]
        assert any(losses[end] > min(losses[:end]) for end in range(1, len(losses), 2))
    asked: list[int] = []

    def out_of_time(watch: Any) -> bool:
        asked.append(1)
        watch.cut = watch.cut or len(asked) > 2
        return bool(watch.cut)

    monkeypatch.setattr(layerwise.estimators.watching.Watch, "out_of_time", out_of_time)
    sittings = 0
    for sittings in range(1, 20):  # noqa: B007 (counted)
        asked.clear()
        model = make(**settings, checkpoint=tmp_path / "c", max_seconds=1)
        try:
            with pytest.warns(
                TimeLimitWarning, match="Run the same again to go on from the checkpoint .*/c: the end is"
            ):
                model.fit(X, Y)
        except pytest.fail.Exception:
            break
    assert sittings > 2
    assert state(model) == whole


def test_callbacks_go_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, best, path = tmp_path / "log", tmp_path / "best", tmp_path / "c"

    def fit(**more: Any) -> Any:
        return make(callbacks=[JSONLines(log), BestModel(best)], **more).fit(X, Y)

    model, copies = written(fit, path, monkeypatch)
    losses = [record.loss for record in model.history_ if record.stage == "finetuning"]
    assert min(losses) == losses[-1]
    content = state(load(best))
    none = Position()
    tuned = [len(files._decode(copy).positions.get(("finetuning", None), none).records) for copy in copies]
    path.write_bytes(copies[tuned.index(2)])
    callback = BestModel(best)
    taken: list[float] = []
    make(checkpoint=path, callbacks=[lambda _: taken.append(callback.best_loss), callback]).fit(X, Y)
    assert taken == [losses[1]]  # not infinity: the file stood for the epochs before
    assert callback.best_loss == losses[2]
    assert state(load(best)) == content
    assert len(log.read_text().splitlines()) == 7


def test_diverging_leaves_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    wild = FineTuning(epochs=60, batch_size=20, optimizer=layerwise.SGD(1e30))
    for _ in range(2):
        with pytest.raises(TrainingDiverged):
            make(finetuning=wild, checkpoint=Checkpoint(path, 0), activation="relu").fit(X, Y)
    assert files.load(path).stages


# --- when -------------------------------------------------------------------------------------------------------------


def test_checkpoints_come_when_they_are_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, saves = [0.0], list[float]()
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(files, "save", lambda *_: saves.append(clock[0]))
    keeper = checkpoints.FileKeeper(Checkpoint(tmp_path / "c", every_seconds=10), {}, 0, any_seed=False)
    keeper.follow("finetuning", None, Position)
    done = 0
    while done < 5000:  # an epoch of 50 seconds
        count = keeper.stretch(5000 - done)
        assert count == 1 or done
        clock[0] += 0.01 * count
        done += count
        keeper.look()
    assert len(saves) == 6
    assert all(0 <= late < 0.5 for late in np.diff(saves) - 10)
    keeper.finish()
    keeper.finish()
    assert len(saves) == 6  # the last step's look wrote it
    keeper.stretch(1)
    keeper.finish()
    assert len(saves) == 7


def test_a_checkpoint_may_be_due_in_no_time_that_counts(tmp_path: Path) -> None:
    assert state(make(checkpoint=Checkpoint(tmp_path / "c", 1.7e308)).fit(X, Y)) == WHOLE


def test_an_epoch_is_cut_only_where_a_checkpoint_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    real = layerwise.training.plan_for

    def plan_for(engine: Any, recipe: Any) -> Any:
        plan = real(engine, recipe)

        class Counting:
            moments, set_moments, evaluate = plan.moments, plan.set_moments, plan.evaluate
            standing = None

            def run(self, *args: Any) -> Any:
                runs.append(args[3])
                return plan.run(*args)

        return Counting()

    monkeypatch.setattr(layerwise.training, "plan_for", plan_for)
    make(finetuning=FineTuning(epochs=50, batch_size=1)).fit(X, Y)
    assert runs == [3] * 4 + [45] * 50
    runs.clear()
    make(finetuning=FineTuning(epochs=50, batch_size=1), checkpoint=tmp_path / "c").fit(X, Y)
    assert runs.count(45) > 40  # once the speed is known
