"""The pictures: what their axes hold is what the network holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from layerwise import (
    AnomalyDetector,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    plots,
    tabular_pipeline,
)
from layerwise.datasets import load_digits

mpl.use("Agg")
from matplotlib import pyplot as plt

X, Y = (part[:120] for part in load_digits())
QUICK = {"pretraining": DenoisingAutoencoder(epochs=[2, 3]), "finetuning": FineTuning(epochs=4), "random_state": 0}


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def autoencoder(*sizes: int, **settings: Any) -> StackedAutoencoder:
    return StackedAutoencoder(sizes or (9, 2), **QUICK | settings).fit(X)


def classifier(**settings: Any) -> PretrainedClassifier:
    return PretrainedClassifier((9, 5), **QUICK | settings).fit(X, Y)


def image(ax: Any) -> np.ndarray:
    (shown,) = ax.get_images()
    return np.asarray(shown.get_array())


# ---- filters ---------------------------------------------------------------------------------------------------------


def test_filters() -> None:
    model = classifier()
    for pretrained, weights in ((False, model.coefs_[0]), (True, model.stages_[0].weights)):
        grid = image(plots.filters(model, pretrained=pretrained))
        assert grid.shape == (3 * 9 - 1, 3 * 9 - 1)
        for unit in range(9):
            top, left = unit // 3 * 9, unit % 3 * 9
            expected = weights[:, unit].reshape(8, 8).astype(np.float64)
            np.testing.assert_allclose(grid[top : top + 8, left : left + 8], expected / abs(expected).max(), rtol=1e-12)
        assert (grid[8] == -1).all()
        assert (grid[:, 8] == -1).all()
    np.testing.assert_array_equal(image(plots.filters(model.stages_[0])), grid)
    assert not np.array_equal(image(plots.filters(model)), grid)  # fine-tuned


def test_filters_few_and_oblong() -> None:
    model = autoencoder()
    _, own = plt.subplots()
    ax = plots.filters(model, n=3, shape=(4, 16), ax=own)
    assert ax is own
    assert image(ax).shape == (2 * 5 - 1, 2 * 17 - 1)
    assert (image(ax)[5:, 17:] == -1).all()  # three of four places
    assert ax.get_title() == "3 of 9 units of layer 1"
    shown = ax.get_images()[0]
    assert (shown.norm.vmin, shown.norm.vmax) == (-1, 1)


# ---- curves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [False, True])
def test_learning_curves(validation: bool) -> None:
    pretraining = DenoisingAutoencoder(epochs=[2, 3], validation_fraction=0.2 * validation)
    model = classifier(pretraining=pretraining, finetuning=FineTuning(epochs=4, early_stopping=validation))
    axes = plots.learning_curves(model)
    assert [ax.get_title() for ax in axes] == ["pretraining of layer 1", "pretraining of layer 2", "fine-tuning"]
    places = [("pretraining", 1), ("pretraining", 2), ("finetuning", None)]
    for ax, place in zip(axes, places, strict=True):
        records = [record for record in model.history_ if (record.stage, record.layer) == place]
        lines = ax.get_lines()
        assert [line.get_label() for line in lines] == ["training", "validation"][: 1 + validation]
        assert list(lines[0].get_xdata()) == [record.epoch for record in records]
        assert list(lines[0].get_ydata()) == [record.loss for record in records]
        if validation:
            assert list(lines[1].get_ydata()) == [record.validation_loss for record in records]
            assert ax.get_legend() is not None


def test_the_curve_of_one_stage_and_on_given_axes() -> None:
    model = classifier()
    (ax,) = plots.learning_curves(model.stages_[1])
    assert list(ax.get_lines()[0].get_ydata()) == [record.loss for record in model.stages_[1].history]
    _, own = plt.subplots(1, 3)
    assert list(plots.learning_curves(model, axes=own)) == list(own)
    with pytest.raises(InvalidParameterError, match=r"'axes' parameter of learning_curves must be None or 3 axes"):
        plots.learning_curves(model, axes=own[:2])
    plain = classifier(pretraining=None, finetuning=FineTuning(epochs=0))
    with pytest.raises(InvalidParameterError, match="trained for one epoch at least"):
        plots.learning_curves(plain)


# ---- reconstructions, codes, histograms, errors ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StackedAutoencoder, AnomalyDetector])
def test_reconstructions(kind: Any) -> None:
    model = kind((9, 2), **QUICK).fit(X)
    grid = image(plots.reconstructions(model, X, n=4))
    assert grid.shape == (2 * 9 - 1, 4 * 9 - 1)
    rebuilt = model.reconstruct(X)
    for i in range(4):
        np.testing.assert_array_equal(grid[:8, 9 * i : 9 * i + 8], X[i].reshape(8, 8))
        np.testing.assert_array_equal(grid[9:, 9 * i : 9 * i + 8], rebuilt[i].reshape(8, 8))
    shown = plots.reconstructions(model, X[:2], n=9).get_images()[0]
    assert shown.get_array().shape == (17, 17)
    assert (shown.norm.vmin, shown.norm.vmax) == (X[:2].min(), X[:2].max())


def points(ax: Any) -> list[np.ndarray]:
    return [np.asarray(scatter.get_offsets()) for scatter in ax.collections]


def test_codes_of_two_units() -> None:
    model = autoencoder()
    (all_points,) = points(plots.codes(model, X))
    np.testing.assert_allclose(all_points, model.transform(X), rtol=1e-6)
    ax = plots.codes(model, X, Y.astype(str))
    by_label = points(ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [str(label) for label in range(10)]
    for label, own in enumerate(by_label):
        np.testing.assert_allclose(own, model.transform(X)[label == Y], rtol=1e-6)
    assert ax.get_xlabel() == "unit 1"


def legend(ax: Any) -> list[str]:
    return [] if ax.get_legend() is None else [text.get_text() for text in ax.get_legend().get_texts()]


def shades(ax: Any) -> set[tuple[float, ...]]:
    return {tuple(scatter.get_facecolor()[0]) for scatter in ax.collections}


@pytest.mark.parametrize("count", [10, 11, 20, 21, 60])
@pytest.mark.parametrize("hole", [False, True])
def test_codes_have_a_colour_for_each_label(count: int, hole: bool) -> None:
    labels = np.arange(len(X)) % count
    y = np.where(np.arange(len(X)) == 119, np.nan, labels) if hole else labels
    ax = plots.codes(autoencoder(), X, y)
    names = [str(label) for label in (np.arange(count) * 1.0 if hole else range(count))]
    assert legend(ax) == names + ["unknown"] * hole
    assert len(shades(ax)) == count + hole
    if hole:
        assert sum(len(set(color[:3])) == 1 for color in shades(ax)) == 1


def test_codes_of_unknown_labels_are_grey() -> None:
    model = autoencoder()
    found = model.transform(X)
    strings = [None if i % 3 else str(label) for i, label in enumerate(Y)]
    for y, first in (
        (strings, "0"),
        (np.array([np.nan if label is None else float(label) for label in strings]), "0.0"),
        (pd.Series(strings, dtype="string"), "0"),
    ):
        ax = plots.codes(model, X, y)
        assert [legend(ax)[0], legend(ax)[-1]] == [first, "unknown"]
        np.testing.assert_allclose(points(ax)[-1], found[np.arange(len(X)) % 3 > 0], rtol=1e-6)
        red, green, blue, _ = ax.collections[-1].get_facecolor()[0]
        assert red == green == blue
        assert ax.collections[-1].get_zorder() < ax.collections[0].get_zorder()
    assert legend(plots.codes(model, X, [None] * len(X))) == ["unknown"]
    assert legend(plots.codes(model, X, ["a", None, 2] * 40)) == ["2", "a", "unknown"]
    with pytest.raises(ValueError, match=r"one label a row\. Got an array of shape \(120, 2\)"):
        plots.codes(model, X, np.ones((120, 2)))
    assert legend(plots.codes(model, X, Y[:, None])) == [str(label) for label in range(10)]


def test_codes_where_minus_one_is_unknown_and_where_not() -> None:
    y = np.where(np.arange(len(X)) % 2, Y, -1)
    assert legend(plots.codes(classifier(), X, y))[-1] == "unknown"
    own = PretrainedClassifier((9, 5), unlabeled=None, **QUICK).fit(X, y)
    assert legend(plots.codes(own, X, y))[0] == "-1"
    two = PretrainedClassifier((9, 5), **QUICK).fit(X, np.where(Y > 4, 1, -1))
    assert legend(plots.codes(two, X, np.where(Y > 4, 1, -1))) == ["-1", "1"]
    detector = AnomalyDetector((9, 2), **QUICK).fit(X)
    assert legend(plots.codes(detector, X, y))[0] == "-1"


def test_codes_of_numbers_have_a_colour_bar() -> None:
    target = X.mean(axis=1).astype(np.float64)
    target[::4] = np.nan
    target[1] = -1
    for unlabeled in ("auto", -1):
        model = PretrainedRegressor((9, 5), unlabeled=unlabeled, **QUICK).fit(X, target)
        ax = plots.codes(model, X, target)
        known = np.isfinite(target) & ((target != -1) | (unlabeled == "auto"))
        np.testing.assert_array_equal(ax.collections[0].get_array(), target[known])
        assert len(points(ax)[1]) == (~known).sum()
        assert legend(ax) == ["unknown"]
        assert [own.get_ylabel() for own in ax.figure.axes] == ["component 2", "y"]
    assert legend(plots.codes(model, X, Y)) == []  # whole numbers, too
    ax = plots.codes(autoencoder(), X, target)
    assert legend(ax) == ["unknown"]
    assert len(ax.figure.axes) == 2
    assert legend(plots.codes(autoencoder(), X, Y / 2)) == [str(label / 2) for label in range(10)]
    whole = plots.codes(autoencoder(), X, np.arange(120) % 30 * 1.0)
    assert len(legend(whole)) == 30


def test_codes_of_other_widths() -> None:
    model = classifier()
    for layer in (None, 0, 1):
        ax = plots.codes(model, X, layer=layer)
        expected = PCA(2, svd_solver="full").fit_transform(model.transform(X, layer=layer).astype(np.float64))
        np.testing.assert_allclose(points(ax)[0], expected, atol=1e-9)
        assert ax.get_ylabel() == "component 2"
    narrow = autoencoder(9, 1)
    (flat,) = points(plots.codes(narrow, X))
    np.testing.assert_allclose(flat[:, 0], narrow.transform(X)[:, 0], rtol=1e-6)
    assert (flat[:, 1] == 0).all()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plots.codes(model, X, Y[1:])
    with pytest.raises(InvalidParameterError, match="'layer'"):
        plots.codes(model, X, layer=3)


@pytest.mark.parametrize("kind", [StackedAutoencoder, AnomalyDetector])
def test_activation_histograms(kind: Any) -> None:
    model = kind((9, 2), **QUICK).fit(X)
    axes = plots.activation_histograms(model, X, bins=7)
    assert len(axes) == 2
    for layer, ax in enumerate(axes, 1):
        heights, edges = np.histogram(model.transform(X, layer=layer).ravel(), bins=7, density=True)
        assert [bar.get_height() for bar in ax.patches] == pytest.approx(list(heights))
        assert [bar.get_x() for bar in ax.patches] == pytest.approx(list(edges[:-1]))
        assert ax.get_title() == f"layer {layer}: tanh"


def test_column_errors() -> None:
    model = autoencoder()
    ax = plots.column_errors(model, X, top=5)
    rebuilt = model.reconstruct(X).astype(np.float64)
    spread = X.var(axis=0, dtype=np.float64)
    errors = ((X - rebuilt) ** 2).mean(axis=0) / np.where(spread > 0, spread, 1)
    worst = np.argsort(-errors)[:5]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(list(errors[worst]))
    assert [text.get_text() for text in ax.get_yticklabels()] == [str(i) for i in worst]
    low, high = ax.get_ylim()
    assert low > high  # the greatest on top

    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    detector = AnomalyDetector((9, 2), **QUICK).fit(frame)
    ax = plots.column_errors(detector, frame)
    errors = -detector.score_features(frame).mean(axis=0)
    assert len(ax.patches) == 20
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(sorted(errors, reverse=True)[:20])
    assert ax.get_yticklabels()[0].get_text() == f"pixel {errors.argmax()}"


def test_columns_with_names_are_handed_on_with_them() -> None:
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)], index=np.linspace(5, 9, len(X)))
    for model in (StackedAutoencoder((9, 2), **QUICK), AnomalyDetector((9, 2), **QUICK)):
        bare = clone(model).fit(X)
        model.fit(frame)
        np.testing.assert_array_equal(
            image(plots.reconstructions(model, frame, n=4)), image(plots.reconstructions(bare, X, n=4))
        )
        named, plain = (plots.column_errors(*pair) for pair in ((model, frame), (bare, X)))
        assert [bar.get_width() for bar in named.patches] == [bar.get_width() for bar in plain.patches]


def test_learning_curves_of_fits_that_went_on() -> None:
    model = autoencoder(warm_start=True).fit(X)
    for _ in range(3):
        model.partial_fit(X)
    line = plots.learning_curves(model)[-1].get_lines()[0]
    assert list(line.get_xdata()) == list(range(1, 4 + 4 + 3 + 1))


def test_column_errors_of_a_table() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 12, 200),
            "owner": rng.integers(0, 2, 200).astype(bool),
            "job": rng.choice(["cook", "clerk", "smith"], 200),
        }
    )
    frame.loc[::7, "age"] = np.nan
    names = ["age", "age missing", "owner", "job"]
    variables = [slice(0, 1), slice(1, 2), slice(2, 4), slice(4, 7)]

    model = tabular_pipeline(AnomalyDetector((4, 2), **QUICK)).fit(frame)
    columns = model[:-1].transform(frame)
    errors = -model[-1].score_features(columns).mean(axis=0)
    own = dict(zip(names, [errors[one].sum() for one in variables], strict=True))
    ax = plots.column_errors(model, frame)
    shown = {text.get_text(): bar.get_width() for text, bar in zip(ax.get_yticklabels(), ax.patches, strict=True)}
    assert shown == pytest.approx(own)
    assert list(shown) == sorted(own, key=lambda name: -own[name])
    assert ax.get_xlabel() == (
        "mean squared error, in variances of the training rows\n(flags and categories: cross-entropy)"
    )
    plain = AnomalyDetector((4, 2), standardize=False, **QUICK).fit(X)
    assert plots.column_errors(plain, X).get_xlabel() == "mean squared error"

    model = tabular_pipeline(StackedAutoencoder((4, 2), **QUICK)).fit(frame)
    columns = np.asarray(model[:-1].transform(frame), np.float64)
    squares = np.square(columns - model[-1].reconstruct(columns)).mean(axis=0)
    own = {
        name: squares[one].sum() / columns[:, one].var(axis=0).sum() for name, one in zip(names, variables, strict=True)
    }
    ax = plots.column_errors(model, frame, top=3)
    shown = {text.get_text(): bar.get_width() for text, bar in zip(ax.get_yticklabels(), ax.patches, strict=True)}
    worst = sorted(own, key=lambda name: -own[name])[:3]
    assert shown == pytest.approx({name: own[name] for name in worst})
    assert ax.get_xlabel() == "mean squared error / variance of the column"


# ---- what is taken and what is refused -------------------------------------------------------------------------------


def test_pipelines_show_what_their_last_step_sees() -> None:
    pipe = make_pipeline(MinMaxScaler(), StackedAutoencoder((9, 2), **QUICK)).fit(X * 40)
    np.testing.assert_array_equal(image(plots.filters(pipe)), image(plots.filters(pipe[-1])))
    scaled = pipe[:-1].transform(X * 40)
    np.testing.assert_array_equal(
        image(plots.reconstructions(pipe, X * 40)), image(plots.reconstructions(pipe[-1], scaled))
    )
    np.testing.assert_array_equal(points(plots.codes(pipe, X * 40))[0], points(plots.codes(pipe[-1], scaled))[0])
    assert len(plots.learning_curves(pipe)) == 3


@pytest.mark.parametrize(
    ("call", "name"),
    [
        *((lambda model, bad=bad: plots.filters(model, n=bad), "n") for bad in (0, 1.5, None)),
        *((lambda model, bad=bad: plots.filters(model, pretrained=bad), "pretrained") for bad in (1, None, "yes")),
        *(
            (lambda model, bad=bad: plots.filters(model, shape=bad), "shape")
            for bad in ((8, 9), (8,), 64, (-8, -8), (8.0, 8.0), "8x8")
        ),
        (lambda model: plots.reconstructions(model, X, n=0), "n"),
        (lambda model: plots.reconstructions(model, X, shape=(1, 1)), "shape"),
        (lambda model: plots.activation_histograms(model, X, bins=0), "bins"),
        (lambda model: plots.activation_histograms(model, X, axes=[]), "axes"),
        (lambda model: plots.column_errors(model, X, top=0), "top"),
    ],
)
def test_bad_values_are_named(call: Any, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^The '{name}' parameter of \w+ must be (.|\n)*Got "):
        call(autoencoder())


def test_bad_estimators() -> None:
    for function in (plots.codes, plots.column_errors, plots.activation_histograms, plots.reconstructions):
        with pytest.raises(InvalidParameterError, match="'estimator' parameter"):
            function(LinearRegression(), X)
        with pytest.raises(NotFittedError):
            function(StackedAutoencoder(), X)
    for function in (plots.column_errors, plots.reconstructions):
        with pytest.raises(InvalidParameterError, match="must be a StackedAutoencoder or an AnomalyDetector"):
            function(classifier(), X)
    plain = classifier(pretraining=None)
    with pytest.raises(InvalidParameterError, match="False for a network without pretraining"):
        plots.filters(plain, pretrained=True)
    wide = StackedAutoencoder(3, pretraining=DenoisingAutoencoder(epochs=1)).fit(X[:, :7])
    with pytest.raises(InvalidParameterError, match=r"product 7, of which no square image can .* Got None"):
        plots.filters(wide)
    with pytest.raises(InvalidParameterError, match=r"two numbers \(rows, columns\) with the product 7\. Got \(2, 3\)"):
        plots.filters(wide, shape=(2, 3))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    model = autoencoder()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'plots need matplotlib: pip install "layerwise\[plots\]"'):
        plots.filters(model)
