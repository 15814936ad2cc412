"""`compare`: no test row in any training, the arithmetic of its verdict, what it says when it is no help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_diabetes
from sklearn.dummy import DummyClassifier
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.semi_supervised import LabelSpreading

from layerwise import (
    Comparison,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    SupervisedPretraining,
    compare,
    comparison,
)
from layerwise.comparison import PRETRAINED, RANDOM
from layerwise.datasets import load_digits
from layerwise.paired import Difference, duration, table
from layerwise.rivals import BOOSTING, LINEAR, RIDGE, SELF_TRAINING, SPREADING, Spreading

NETWORK = PretrainedClassifier((6, 5), pretraining=DenoisingAutoencoder(epochs=2), finetuning=FineTuning(epochs=5))
NUMBERS = PretrainedRegressor((6,), pretraining=DenoisingAutoencoder(epochs=2), finetuning=FineTuning(epochs=5))


def digits(n: int = 240) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits()
    rows = np.flatnonzero(y < 3)[:n]
    return X[rows], y[rows]


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return X[:200] * 10, y[:200]


# ---- no test row in any training -------------------------------------------------------------------------------------


class Recorder(TransformerMixin, BaseEstimator):
    """Takes the rows' numbers out of the first column, and remembers which rows it was fitted on and which it saw."""

    fitted: list[set[int]] = []  # noqa: RUF012 (shared by all clones)
    seen: list[tuple[set[int], set[int]]] = []  # noqa: RUF012

    def fit(self, X: np.ndarray, y: Any = None) -> Recorder:
        self.own_ = {int(number) for number in X[:, 0]}
        self.fitted.append(self.own_)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        self.seen.append((self.own_, {int(number) for number in X[:, 0]}))
        return X


class Spy:
    """Stands for `fit` of a class; remembers the rows it got."""

    def __init__(self, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[tuple[set[int], list[Any]]] = []
        fit = kind.fit

        def spy(model: Any, X: Any, y: Any, *args: Any) -> Any:
            self.rows.append(({int(number) for number in np.asarray(X)[:, 0]}, list(y)))
            return fit(model, X, y, *args)

        monkeypatch.setattr(kind, "fit", spy)


@pytest.mark.filterwarnings("ignore::layerwise.ScaleWarning")
def test_no_contender_trains_on_a_test_row(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = digits()
    X = np.column_stack([np.arange(len(X)), X]).astype(np.float32)
    y[::4] = -1  # unlabelled rows of the user's own: never tested on
    network, spreading = Spy(PretrainedClassifier, monkeypatch), Spy(LabelSpreading, monkeypatch)
    Recorder.fitted.clear()
    Recorder.seen.clear()
    result = compare(make_pipeline(Recorder(), NETWORK), X, y, seeds=2, labels=60, rivals=[LINEAR, SPREADING])
    assert len(Recorder.fitted) == 2 * 3  # the two networks' pipelines, and once for the rivals
    tested = [(own, other) for own, other in Recorder.seen if own != other]
    assert len(tested) == 2 * 3
    for own, other in tested:
        assert not own & other
        assert len(own) + len(other) == len(X)
        assert all(y[i] != -1 for i in other)
        assert len(other) == result.rows["test"] == round(0.25 * 180)
    assert (
        len({frozenset(other) for _, other in tested}) == 2
    )  # another part for each seed, the same for all contenders
    for rows, labels in network.rows:
        assert rows in Recorder.fitted
        assert sum(label is not None for label in labels) == 60
    for rows, labels in spreading.rows:
        assert rows in Recorder.fitted
        assert sum(label != -1 for label in labels) == 60


def test_supervised_rivals_see_labelled_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = digits()
    X[:, 0] = np.arange(len(X))
    spy = Spy(DummyClassifier, monkeypatch)
    result = compare(
        make_pipeline(MinMaxScaler(), NETWORK), X, y, seeds=1, labels=30, rivals={"most": DummyClassifier()}
    )
    assert list(result.scores) == [PRETRAINED, RANDOM, "most"]
    ((_, labels),) = spy.rows
    assert sorted(labels) == sorted([0] * 10 + [1] * 10 + [2] * 10)


# ---- the numbers -----------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_same_networks_fitted_by_hand() -> None:
    X, y = digits()
    result = compare(NETWORK, X, y, seeds=[3, 5], labels=40, rivals=(), scoring="neg_log_loss", test_size=0.3)
    target = comparison._Target(NETWORK, y, True)
    for place, seed in enumerate((3, 5)):
        train, test, known = target.split(seed, 0.3, 40)
        marked = np.where(known, y[train], -1)
        for name, pretraining in ((PRETRAINED, NETWORK.pretraining), (RANDOM, None)):
            model = clone(NETWORK).set_params(pretraining=pretraining, random_state=seed).fit(X[train], marked)
            assert result.scores[name][place] == get_scorer("neg_log_loss")(model, X[test], y[test])
    assert result.seeds == (3, 5)
    assert result.scoring == "neg_log_loss"
    assert result.rows == {"labelled": 40, "unlabelled": 168 - 40, "test": 72}
    again = compare(NETWORK, X, y, seeds=[3, 5], labels=40, rivals=(), scoring="neg_log_loss", test_size=0.3)
    assert again.scores == result.scores


def test_all_rivals_of_a_classifier() -> None:
    X, y = digits()
    names = np.array(["zero", "one", "two"])[y].astype(object)
    names[::3] = None
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    before = NETWORK.get_params()
    result = compare(make_pipeline(MinMaxScaler().set_output(transform="pandas"), NETWORK), frame, names, seeds=2)
    assert list(result.scores) == [PRETRAINED, RANDOM, LINEAR, BOOSTING, SELF_TRAINING, SPREADING]
    assert result.left_out == {}
    assert result.rows == {"labelled": 120, "unlabelled": 80, "test": 40}
    assert min(result.scores[LINEAR]) > 0.9
    assert min(result.scores[SPREADING]) > 0.9
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result.seconds.values())
    assert NETWORK.get_params() == before
    assert not hasattr(NETWORK, "network_")
    text = repr(result)
    for name in result.scores:
        assert f"\n{name}" in text
    assert text.endswith(result.verdict)


@pytest.mark.parametrize("pretraining", ["supervised", SupervisedPretraining(epochs=2), "autoencoder", "rbm"])
def test_other_ways_to_pretrain(pretraining: Any) -> None:
    X, y = digits()
    model = clone(NETWORK).set_params(pretraining=pretraining, finetuning=FineTuning(epochs=5, start="histogram"))
    result = compare(model, X, y, seeds=1, labels=60, rivals=())
    train, test, known = comparison._Target(NETWORK, y, True).split(0, 0.25, 60)
    model.set_params(random_state=0).fit(X[train], np.where(known, y[train], -1))
    assert result.scores[PRETRAINED][0] == model.score(X[test], y[test])
    model.set_params(
        pretraining=None, finetuning=FineTuning(epochs=5), activation=model.network_.layers[0].activation.name
    )
    model.fit(X[train], np.where(known, y[train], -1))
    assert result.scores[RANDOM][0] == model.score(X[test], y[test])  # the same units, whatever "auto" means


def test_rivals_of_a_regressor(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = diabetes()
    result = compare(NUMBERS, X, y, labels=80, seeds=2, verbose=1)
    assert list(result.scores) == [PRETRAINED, RANDOM, RIDGE, BOOSTING]
    assert result.scoring == "r2"
    assert result.rows == {"labelled": 80, "unlabelled": 70, "test": 50}
    assert len(capsys.readouterr().out.splitlines()) == 8
    y[:20] = np.nan
    assert compare(NUMBERS, X, y, seeds=1, rivals=[RIDGE]).rows == {"labelled": 135, "unlabelled": 20, "test": 45}


def test_label_spreading_has_an_answer_for_rows_that_no_label_reaches() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(center, 0.1, (20, 2)) for center in (0, 5, 50)])  # the last group has no label
    y = np.full(60, -1)
    y[[0, 1, 2, 20]] = [0, 0, 0, 1]
    model = Spreading(kernel="knn", max_iter=100).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X)[40:], [[0.75, 0.25]] * 20)
    assert model.predict(X).tolist() == [0] * 20 + [1] * 20 + [0] * 20
    assert model.transduction_.tolist() == model.predict(X).tolist()


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = digits()
    result = compare(NETWORK, X, y, seeds=1)
    assert result.left_out == dict.fromkeys((SELF_TRAINING, SPREADING), "no training row is without a label")
    assert SPREADING not in result.scores
    assert "label spreading        left out: no training row is without a label" in repr(result)
    monkeypatch.setattr(comparison, "MOST_ROWS", 179)
    result = compare(NETWORK, X, y, seeds=1, labels=50)
    assert result.left_out == {SPREADING: "180 rows are more than the 179 that it can take"}
    assert SELF_TRAINING in result.scores
    monkeypatch.setattr(comparison, "MOST_ROWS", 180)
    assert compare(NETWORK, X, y, seeds=1, labels=50).left_out == {}


# ---- the verdict -----------------------------------------------------------------------------------------------------


def found(pretrained: list[float], random: list[float], **rivals: list[float]) -> Comparison:
    scores = {PRETRAINED: tuple(pretrained), RANDOM: tuple(random)}
    scores |= {name.replace("_", " "): tuple(own) for name, own in rivals.items()}
    seconds = {name: (1.0,) * len(own) for name, own in scores.items()}
    rows = {"labelled": 500, "unlabelled": 20000, "test": 100}
    return Comparison(scores, seconds, tuple(range(len(random))), "accuracy", rows, {"other": "too slow"})


@pytest.mark.parametrize(
    ("result", "helped", "said"),
    [
        (found([0.8, 0.81], [0.7, 0.71]), True, "Pretraining helped here: accuracy 0.705 without it, 0.805 with it"),
        (found([0.7, 0.71], [0.8, 0.81]), False, "Pretraining did not help here: "),
        (found([0.7, 0.71], [0.8, 0.81]), False, "it did harm."),
        (found([0.7, 0.9], [0.7, 0.8]), False, "Pretraining did not help here: "),
        (found([0.7, 0.9], [0.7, 0.8]), False, "the interval includes zero."),
        (found([0.7, 0.7], [0.7, 0.7]), False, "Pretraining did not help here: "),
        (found([0.9], [0.7]), False, "One seed cannot show whether pretraining helped here"),
        (found([0.8, 0.81], [0.7, 0.71], a_tree=[0.9, 0.9], b=[0, 0]), True, "A tree did better than either: 0.900."),
        (
            found([0.8, 0.81], [0.7, 0.71], gradient_boosting=[0.9, 0.9], b=[0, 0]),
            True,
            "Gradient boosting did better than either: 0.900. Try it on the columns and the network's codes",
        ),
        (found([0.8, 0.81], [0.7, 0.71], a_tree=[0.8, 0.7]), True, "The best of the others is a tree: 0.750."),
    ],
)
def test_verdicts(result: Comparison, helped: bool, said: str) -> None:
    assert result.helped == helped
    assert said in result.verdict
    assert ("did not help here" in result.verdict) == (not helped and len(result.seeds) > 1)


def test_the_interval_is_student_s() -> None:
    differences = [0.01, 0.03, -0.02, 0.05]
    difference = Difference.of(differences)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (difference.mean, difference.spread) == pytest.approx((np.mean(differences), np.std(differences, ddof=1)))
    assert difference.sign == 0
    assert Difference.of([1.0, 2.0]).sign == 0  # two values need more
    assert Difference.of([1.0, 1.01]).sign == 1
    assert Difference.of([-1.0, -1.01]).sign == -1
    assert Difference.of([5.0]).sign == 0
    assert Difference.of([0.0, 0.0]).sign == 0


def test_the_table() -> None:
    result = found([0.8, 0.9], [0.7, 0.7])
    lines = repr(result).splitlines()
    assert lines[0] == "rows: 500 labelled, 20,000 unlabelled, 100 test; seeds: 2"
    assert lines[1].split() == ["accuracy", "training"]
    assert lines[2].split() == ["pretrained", "0.850", "±", "0.071", "1.0", "s"]
    assert lines[4] == "other                  left out: too slow"
    assert "±" not in table({"a": [1.0]}, {"a": [1.0]}, "error", digits=1)
    assert [duration(s) for s in (0.04, 9.94, 9.96, 99.4, 100, 3600)] == [
        "0.0 s",
        "9.9 s",
        "10 s",
        "99 s",
        "2 min",
        "60 min",
    ]


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("seeds", bad) for bad in (0, -1, 1.5, [], [1, 1], [0.5], "three", True, None, [2**32])),
        *(("test_size", bad) for bad in (0, 1, -0.1, 20, "half", None, float("nan"))),
        *(("labels", bad) for bad in (0, 2, 181, 1.5, "few", True)),
        *(("rivals", bad) for bad in ("all", ["svm"], [RIDGE], {"x": 1}, {PRETRAINED: DummyClassifier()}, None, 3)),
        *(("scoring", bad) for bad in ("error", 1, len)),
        *(("verbose", bad) for bad in (-1, "yes", None)),
    ],
)
def test_bad_values_are_named(name: str, bad: Any) -> None:
    X, y = digits()
    with pytest.raises(InvalidParameterError, match=rf"^The '{name}' parameter of compare must be (.|\n)*Got "):
        compare(NETWORK, X, y, **{"seeds": 1, name: bad})


def test_bad_estimators_and_targets() -> None:
    X, y = digits()
    for bad in (StackedAutoencoder(), DummyClassifier(), make_pipeline(NETWORK, DummyClassifier()), None):
        with pytest.raises(InvalidParameterError, match="'estimator' parameter of compare"):
            compare(bad, X, y)
    fitted = StackedAutoencoder((4,), pretraining=DenoisingAutoencoder(epochs=1)).fit(X)
    for bad in (None, fitted, "something"):
        with pytest.raises(InvalidParameterError, match=r"'estimator__pretraining' .* may have seen the test rows"):
            compare(PretrainedClassifier(pretraining=bad), X, y)
    with pytest.raises(InvalidParameterError, match="must be None with unlabeled=None"):
        compare(clone(NETWORK).set_params(unlabeled=None), X, y, labels=20)
    with pytest.raises(ValueError, match=r"compare takes one target\. Got y of shape \(240, 2\)"):
        compare(NUMBERS, X, np.zeros((240, 2)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        compare(NETWORK, X, y[1:])
    with pytest.raises(ValueError, match="no label"):
        compare(NETWORK, X, np.full(len(X), None))


def test_seeds_and_targets_that_are_lists_of_lists_are_named() -> None:
    X, y = digits()
    with pytest.raises(InvalidParameterError, match="The 'seeds' parameter of compare must be"):
        compare(NETWORK, X, y, seeds=[[1]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"compare takes one target. Got y of shape \(240, 2\)"):
        compare(NETWORK, X, np.column_stack([y == 0, y == 1]))
