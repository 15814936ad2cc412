"""`diagnose`: each warning has a network that triggers it and one that does not; the measurements by other means."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise import (
    SGD,
    Adam,
    AnomalyDetector,
    Autoencoder,
    ColumnGroups,
    DeadUnitsWarning,
    DenoisingAutoencoder,
    Diagnosis,
    FineTuning,
    HealthWarning,
    IdentityWarning,
    InvalidParameterError,
    Masking,
    NoSkillWarning,
    PretrainedClassifier,
    PretrainedRegressor,
    SaturatedUnitsWarning,
    ScaleWarning,
    StackedAutoencoder,
    VanishingGradientWarning,
    diagnose,
    health,
    measurements,
)
from layerwise.datasets import load_digits

NONE = FineTuning(epochs=0)
SLOW = Autoencoder(epochs=1, optimizer=SGD(1e-9))


def digits(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits()
    return X[:n], y[:n]


def plain(*sizes: int, **settings: Any) -> PretrainedClassifier:
    return PretrainedClassifier(sizes, **{"pretraining": None, "finetuning": NONE, "random_state": 0} | settings)


def curve(n: int = 800) -> np.ndarray:
    """A one-dimensional curve that winds through eight dimensions."""
    t = np.random.default_rng(0).uniform(0, 1, n)
    return np.column_stack([np.sin(k * 2.5 * t + k) for k in range(1, 9)])


def told(model: Any, X: np.ndarray, y: Any = None) -> tuple[Diagnosis, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        diagnosis = diagnose(model.fit(X, y), X)
    said = [f"{type(w.message).__name__}: {w.message}" for w in caught if "Remedy" in str(w.message)]
    assert said == [f"{found.category.__name__}: {found.message} Remedy: {found.remedy}" for found in diagnosis]
    for line in said:
        assert line in repr(diagnosis)
    return diagnosis, said


def named(diagnosis: Diagnosis, category: type[Warning]) -> list[int | None]:
    """The layers of which the warning speaks."""
    return [found.layer for found in diagnosis if found.category is category]


# ---- each warning, and a like network without it ---------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "dead"), [(1.0, True), (1e-3, False)])
def test_dead_units(rate: float, dead: bool) -> None:
    X, y = digits()
    model = plain(30, activation="relu", finetuning=FineTuning(epochs=5, optimizer=Adam(rate)))
    diagnosis, _ = told(model, X, y)
    assert (named(diagnosis, DeadUnitsWarning) == [1]) == dead
    outputs = model.transform(X)
    assert diagnosis.layers[0].dead == (np.ptp(outputs, axis=0) == 0).sum()
    assert (diagnosis.layers[0].dead > 3) == dead


@pytest.mark.parametrize(("factor", "saturated"), [(300.0, True), (1.0, False)])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_saturated_units(activation: str, factor: float, saturated: bool) -> None:
    X, y = digits()
    model = plain(30, activation=activation)
    diagnosis, _ = told(model, X * np.float32(factor), y)
    assert (named(diagnosis, SaturatedUnitsWarning) == [1]) == saturated
    a = model.transform(X * np.float32(factor)).astype(np.float64)
    slopes = 4 * a * (1 - a) if activation == "sigmoid" else 1 - a**2
    flat = np.quantile(slopes, 0.9, axis=0, method="inverted_cdf") < 0.1
    assert diagnosis.layers[0].saturated == flat.sum()


def test_other_activations_do_not_saturate() -> None:
    X, y = digits()
    diagnosis, _ = told(plain(30, activation="relu"), X * np.float32(300), y)
    assert diagnosis.layers[0].saturated is None
    assert named(diagnosis, SaturatedUnitsWarning) == []


@pytest.mark.parametrize(("settings", "skilled"), [(SLOW, False), (Autoencoder(epochs=10), True)])
def test_no_better_than_the_column_means(settings: Autoencoder, skilled: bool) -> None:
    X, _ = digits()
    model = StackedAutoencoder(80, pretraining=settings, random_state=0)
    diagnosis, said = told(model, X)
    assert named(diagnosis, NoSkillWarning) == ([] if skilled else [1])
    assert skilled or "no better than the column means" in said[0]
    assert (diagnosis.layers[0].skill > 0) == skilled
    X = X[1::2]
    error = np.square(X - model.reconstruct(X)).sum() / np.square(X - X.mean(axis=0)).sum()
    assert diagnosis.layers[0].skill == pytest.approx(1 - error, rel=1e-5)


LONG = Autoencoder(epochs=300, optimizer=Adam(0.01), decoder="identity", loss="squared_error")


@pytest.mark.parametrize(
    ("settings", "close"), [(LONG, True), (DenoisingAutoencoder(corruption=Masking(0.4), epochs=12), False)]
)
def test_a_layer_beside_principal_components(settings: Autoencoder, close: bool) -> None:
    X, _ = digits()
    model = StackedAutoencoder(10, pretraining=settings, activation="identity", random_state=0)
    diagnosis, said = told(model, X)
    assert named(diagnosis, NoSkillWarning) == ([] if close else [1])
    assert close or "over twice that of 10 principal components" in said[0]
    fit, rest = X[::2].astype(np.float64), X[1::2].astype(np.float64)
    components = PCA(10, svd_solver="full").fit(fit)
    rebuilt = components.inverse_transform(components.transform(rest))
    expected = 1 - np.square(rest - rebuilt).sum() / np.square(rest - rest.mean(axis=0)).sum()
    assert diagnosis.layers[0].pca_skill == pytest.approx(expected, rel=1e-3)
    assert (diagnosis.skill, diagnosis.pca_skill) == (None, None)  # one layer is no deep autoencoder


def test_as_many_units_as_columns_have_no_components_beside_them() -> None:
    X, _ = digits()
    diagnosis, _ = told(StackedAutoencoder((64, 63), pretraining=Autoencoder(epochs=2)), X)
    assert diagnosis.layers[0].pca_skill is None
    assert diagnosis.layers[1].pca_skill is not None
    few, _ = told(StackedAutoencoder(20, pretraining=Autoencoder(epochs=2)), X[:40])
    assert few.layers[0].pca_skill is None


@pytest.mark.parametrize(("epochs", "skilled"), [(400, True), (1, False)])
def test_a_whole_autoencoder_beside_principal_components(epochs: int, skilled: bool) -> None:
    X = curve()
    finetuning = FineTuning(epochs=epochs, optimizer=Adam(0.003))
    model = StackedAutoencoder((30, 2), pretraining=Autoencoder(epochs=20), finetuning=finetuning, random_state=0)
    diagnosis, said = told(model, X)
    assert (None in named(diagnosis, NoSkillWarning)) == (not skilled)
    assert (diagnosis.skill > diagnosis.pca_skill) == skilled
    assert skilled or any(
        "whole autoencoder rebuilds the rows no better than 2 principal comp" in line for line in said
    )
    assert "\nwhole " in repr(diagnosis)


def test_a_whole_autoencoder_worse_than_the_column_means() -> None:
    X = curve() + 3  # no bias has learned that yet
    diagnosis, said = told(StackedAutoencoder((12, 9), pretraining=SLOW, random_state=0), X)
    assert diagnosis.skill < 0
    assert any("whole autoencoder rebuilds the rows no better than the column means" in line for line in said)


@pytest.mark.parametrize(
    ("settings", "copies"),
    [(LONG, True), (DenoisingAutoencoder(corruption=Masking(0.5), epochs=30), False)],
)
def test_copying(settings: Autoencoder, copies: bool) -> None:
    X, _ = digits()
    model = StackedAutoencoder(100, pretraining=settings, random_state=0)
    diagnosis, _ = told(model, X)
    assert named(diagnosis, IdentityWarning) == ([1] if copies else [])
    assert (diagnosis.layers[0].copying > 0.9) == copies
    assert copies or diagnosis.layers[0].copying < diagnosis.layers[0].skill - 0.2  # real rows are rebuilt better
    assert diagnosis.layers[0].skill > 0.6


@pytest.mark.filterwarnings("ignore::layerwise.ScaleWarning")  # fit says it as well
@pytest.mark.parametrize(("factor", "outside"), [(2.0, True), (1.0, False)])
def test_values_outside_the_decoder_s_range(factor: float, outside: bool) -> None:
    X, _ = digits()
    model = StackedAutoencoder(30, pretraining=Autoencoder(epochs=2), random_state=0).fit(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        diagnosis = diagnose(model, X * np.float32(factor))
    assert named(diagnosis, ScaleWarning) == ([1] if outside else [])
    assert any("sigmoid decoder yields values in [0, 1]" in str(warning.message) for warning in caught) == outside


@pytest.mark.parametrize(("scale", "uneven"), [(1e4, True), (10.0, False)])
def test_one_column_that_outweighs_all(scale: float, uneven: bool) -> None:
    X = curve()
    X[:, 3] *= scale
    X[:, 5] = 7  # a constant says nothing
    model = StackedAutoencoder(12, pretraining=Autoencoder(epochs=2), random_state=0)
    diagnosis, said = told(model, X)
    assert named(diagnosis, ScaleWarning) == ([None] if uneven else [])
    assert not uneven or any("standard deviation of column 3 is " in line for line in said)
    detector = AnomalyDetector(pretraining=Autoencoder(epochs=2), finetuning=None, random_state=0)
    assert named(told(detector, X)[0], ScaleWarning) == []  # it standardises
    pipe = make_pipeline(StandardScaler(), model)
    assert named(told(pipe, X)[0], ScaleWarning) == []


@pytest.mark.parametrize(("activation", "vanishing"), [("sigmoid", True), ("tanh", False)])
def test_vanishing_gradients(activation: str, vanishing: bool) -> None:
    X, y = digits()
    model = plain(*[50] * 6, activation=activation, initializer="glorot_uniform")
    diagnosis, _ = told(model, X, y)
    assert (1 in named(diagnosis, VanishingGradientWarning)) == vanishing
    gradients = [layer.gradient for layer in diagnosis.layers]
    assert not vanishing or gradients == sorted(gradients)


def test_layers_that_learned_labels_or_nothing_are_not_judged_by_their_skill() -> None:
    X, y = digits()
    supervised = PretrainedClassifier((20, 9), pretraining="supervised", finetuning=NONE, random_state=0)
    half = PretrainedClassifier((20, 9), pretraining=Autoencoder(epochs=[5, 0]), finetuning=NONE, random_state=0)
    machines = PretrainedClassifier((20, 9), pretraining="rbm", finetuning=NONE, random_state=0)
    for model, judged in ((machines, [True, True]), (supervised, [False, False]), (half, [True, False])):
        diagnosis, _ = told(model, X, y)
        assert [layer.skill is not None for layer in diagnosis.layers] == judged
        assert [layer.copying is not None for layer in diagnosis.layers] == judged


# ---- the measurements ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PretrainedClassifier, PretrainedRegressor])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "swish", "gelu"])
def test_gradient_norms_are_finite_differences(kind: Any, activation: str, batch_norm: bool) -> None:
    X, y = digits(20)
    model = kind((6, 5), pretraining=None, activation=activation, finetuning=FineTuning(epochs=2), random_state=0)
    model.set_params(batch_norm=batch_norm)
    network = model.fit(X.astype(np.float64), y).network_
    row = X[:1].astype(np.float64)
    sizes = measurements.gradient_norms(network, row)
    assert len(sizes) == 3
    assert sizes[-1] == 1
    n_out = network.layers[-1].n_out
    signs = np.where(measurements._core.random_uniform(0, 0, n_out) < 0.5, -1, 1)

    def output(layer: int, shift: np.ndarray) -> float:
        """signs . logits when `shift` is added to the sums of a layer: its bias is what shifts them."""
        layers = list(network.layers)
        old = layers[layer]
        layers[layer] = replace(old, bias=old.bias + shift)
        return float((type(network)(layers).apply(row, logits=True) @ signs)[0])

    for layer in (0, 1):
        width, step = network.layers[layer].n_out, 1e-6
        slopes = [(output(layer, step * e) - output(layer, -step * e)) / (2 * step) for e in np.eye(width)]
        assert sizes[layer] == pytest.approx(np.linalg.norm(slopes) / np.sqrt(n_out), rel=1e-5)


def test_copying_is_measured_on_columns_shuffled_apart() -> None:
    X = np.column_stack([np.arange(50.0), np.arange(50.0), np.arange(50.0)])
    seen: list[np.ndarray] = []
    assert measurements.copying(X, lambda rows: seen.append(rows) or rows) == 1
    (rows,) = seen
    np.testing.assert_array_equal(np.sort(rows, axis=0), X)
    assert all((rows[:, i] != rows[:, j]).mean() > 0.8 for i, j in ((0, 1), (0, 2), (1, 2)))
    assert (
        measurements.copying(X, lambda rows: rows[:, :1].repeat(3, axis=1)) < 0.5
    )  # relations of the rows help no more


def test_the_columns_of_a_category_are_shuffled_together() -> None:
    levels = np.eye(4)[np.arange(60) % 4]
    X = np.column_stack([np.arange(60.0), levels, np.arange(60) % 2])
    groups = ColumnGroups([("number", 1), ("category", 4), ("flag", 1)])
    seen: list[np.ndarray] = []
    assert measurements.copying(X, lambda rows: seen.append(rows) or rows, groups) == 1
    (rows,) = seen
    np.testing.assert_array_equal(rows[:, 1:5].sum(axis=1), 1)  # each row still has one level
    assert (rows[:, 1:5] != levels).any(axis=1).mean() > 0.5
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(X, axis=0))


def test_an_autoencoder_of_a_table_that_copies_is_found_out() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(600, 2)), np.eye(6)[rng.integers(0, 6, 600)]]).astype(np.float32)
    settings = LONG.replace(decoder="auto", loss=ColumnGroups([("number", 2), ("category", 6)]))
    diagnosis, _ = told(StackedAutoencoder(60, pretraining=settings, random_state=0), X)
    assert named(diagnosis, IdentityWarning) == [1]


def test_the_same_network_gives_the_same_diagnosis() -> None:
    X, _ = digits()
    model = StackedAutoencoder((30, 10), pretraining=DenoisingAutoencoder(epochs=2), random_state=0)
    first, second = told(model, X)[0], told(model, X)[0]
    assert first == second
    assert first.layers == second.layers


def test_many_rows_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = digits()
    model = PretrainedClassifier((20,), pretraining=DenoisingAutoencoder(epochs=2), random_state=0)
    monkeypatch.setattr(health, "MOST_ROWS", 200)
    thinned = told(model, X, y)[0].layers
    assert thinned == told(model, X, y)[0].layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert thinned == diagnose(model, X[::3]).layers


def test_a_sound_network_and_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = digits()
    diagnosis, said = told(PretrainedClassifier((80, 80), random_state=0), X, y)
    assert said == []
    assert len(diagnosis) == 0
    assert repr(diagnosis).endswith("nothing wrong was found")
    assert [(layer.layer, layer.units) for layer in diagnosis.layers] == [(1, 80), (2, 80)]
    plainly, _ = told(plain(80), X, y)
    assert (plainly.layers[0].skill, plainly.layers[0].copying) == (None, None)
    assert capsys.readouterr().out == ""


def test_names_and_refusals() -> None:
    X, y = digits()
    names = (DeadUnitsWarning, SaturatedUnitsWarning, NoSkillWarning, IdentityWarning, VanishingGradientWarning)
    assert all(issubclass(name, HealthWarning) and issubclass(name, UserWarning) for name in names)
    with pytest.raises(NotFittedError):
        diagnose(StackedAutoencoder(), X)
    for bad in (LinearRegression(), make_pipeline(StandardScaler(), LinearRegression()), None, X):
        with pytest.raises(InvalidParameterError, match="'estimator' parameter of diagnose"):
            diagnose(bad, X)
    model = plain(5).fit(X, y)
    with pytest.raises(ValueError, match="64 features"):
        diagnose(model, X[:, :3])
    with pytest.raises(ValueError, match=r"diagnose needs at least 4 rows\. Got 3"):
        diagnose(model, X[:3])
    assert len(diagnose(model, X[:4]).layers) == 1
