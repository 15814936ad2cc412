"""Columns of several kinds: the settings that say so, tables that know it, and what it changes down to explanations."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from column_tables import GROUPS, QUICK, ROWS, frame, table
from scipy.special import log_softmax, logsumexp
from test_persistence import altered, assign

from layerwise import (
    AnomalyDetector,
    Autoencoder,
    ColumnGroups,
    DenoisingAutoencoder,
    FineTuning,
    FormatError,
    InvalidParameterError,
    Masking,
    PretrainedClassifier,
    ScaleWarning,
    StackedAutoencoder,
    diagnose,
    load,
    pretrain,
    tabular_pipeline,
)
from layerwise.checks import Parameter

# --- the settings -----------------------------------------------------------------------------------------------------


def test_the_variables_are_in_order() -> None:
    named = ColumnGroups(GROUPS.groups, ["w", "h", "f", "k", "s"], [["a", "b", "c"], ["no", "yes"]]).check(
        Parameter("x")
    )
    assert [tuple(variable) for variable in named.variables()] == [
        ("number", slice(0, 1), "w", None),
        ("number", slice(1, 2), "h", None),
        ("flag", slice(2, 3), "f", None),
        ("category", slice(3, 6), "k", ("a", "b", "c")),
        ("category", slice(6, 8), "s", ("no", "yes")),
    ]
    assert named.n_columns == 8
    assert named.of_kind("category").tolist() == [False] * 3 + [True] * 5
    assert named.categories() == [slice(3, 6), slice(6, 8)]
    assert [variable.name for variable in GROUPS.variables()] == [None] * 5
    assert eval(repr(GROUPS)) == GROUPS
    assert hash(named) == hash(copy.deepcopy(named))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(
            ("groups", bad)
            for bad in ((), None, "number", [("number",)], [("word", 2)], [("flag", 0)], [("flag", 1.0)])
        ),
        *(("groups", bad) for bad in ([("flag", True)], [("flag", 2**31)], [3], {"number": 3})),
        *(("names", bad) for bad in (["a"] * 4, "abcde", [1, 2, 3, 4, 5], 5)),
        *(("levels", bad) for bad in ([["a", "b", "c"]], [["a"], ["b"]], [["a", "b", "c"], [1, 2]], "ab", [2, 3])),
    ],
)
def test_bad_values_are_named(name: str, bad: Any) -> None:
    groups = GROUPS.replace(**{name: bad})
    pattern = rf"^The 'pretraining__loss__{name}' parameter of StackedAutoencoder must be (.|\n)*Got "
    with pytest.raises(InvalidParameterError, match=pattern):
        StackedAutoencoder((4,), pretraining=Autoencoder(loss=groups)).fit(table())


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (Autoencoder(loss=ColumnGroups((("number", 7),))), "loss"),
        (Autoencoder(loss=["auto", GROUPS]), "loss"),
        (Autoencoder(loss="mixed"), "loss"),
        (Autoencoder(loss=GROUPS, decoder="identity"), "decoder"),
        (DenoisingAutoencoder(loss=ColumnGroups((("number", 9),))), "loss"),
    ],
)
def test_settings_that_do_not_fit(settings: Any, name: str) -> None:
    for estimator in (StackedAutoencoder, AnomalyDetector):
        with pytest.raises(InvalidParameterError, match=rf"'pretraining__{name}' parameter of {estimator.__name__}"):
            estimator((4, 3), pretraining=settings).fit(table())


def test_targets_outside_of_0_and_1_are_warned_of() -> None:
    X = table()
    with pytest.warns(ScaleWarning, match=r"flags and levels of categories are rebuilt as probabilities.*\[-1, 1\]"):
        StackedAutoencoder((4,), pretraining=QUICK.replace(loss=GROUPS)).fit(2 * X - 1)
    far = X * np.where(GROUPS.of_kind("number"), 9, 1)  # numbers may lie anywhere
    StackedAutoencoder((4,), pretraining=QUICK.replace(loss=GROUPS)).fit(far)


def test_groups_hold_for_the_first_layer() -> None:
    for loss in (GROUPS, [GROUPS, "squared_error"], [GROUPS, "auto"]):
        stages = list(pretrain(table(), (6, 3), QUICK.replace(loss=loss), activation="tanh"))
        assert [stage.loss for stage in stages] == ["mixed", "squared_error"]
        assert [stage.decoder.activation.name for stage in stages] == ["mixed", "identity"]
        assert stages[0].decoder.activation.groups == GROUPS.groups


# --- what it changes --------------------------------------------------------------------------------------------------


def loss_of(model: StackedAutoencoder, X: np.ndarray[Any, Any]) -> float:
    """The mean loss of the rows, from the reconstructions."""
    p = model.reconstruct(X)
    losses = np.square(X[:, :2] - p[:, :2]).sum(axis=1)
    losses -= np.log(np.where(X[:, 2] == 1, p[:, 2], 1 - p[:, 2]))
    losses -= sum(np.log((X[:, own] * p[:, own]).sum(axis=1)) for own in GROUPS.categories())
    return float(losses.mean())


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_is_that_of_the_reconstructions(tied: bool) -> None:
    X = table()
    settings = Autoencoder(epochs=3, loss=GROUPS, tied=tied, validation_fraction=0.25)
    model = StackedAutoencoder((5,), pretraining=settings.replace(validation_fraction=0.0), random_state=0).fit(X)
    p = model.reconstruct(X)
    for own in GROUPS.categories():
        np.testing.assert_allclose(p[:, own].sum(axis=1), 1, rtol=1e-12)
    assert ((p[:, 2:] > 0) & (p[:, 2:] < 1)).all()
    plan_loss = loss_of(model, X)
    frequencies = X.mean(axis=0)
    least = np.square(X[:, :2] - frequencies[:2]).sum(axis=1).mean()
    least -= (X[:, 2:3] * np.log(frequencies[2]) + (1 - X[:, 2:3]) * np.log(1 - frequencies[2])).mean()
    least -= (frequencies[3:] * np.log(frequencies[3:])).sum()
    assert model.stages_[0].skill == pytest.approx(1 - plan_loss / least, rel=1e-9)
    codes = model.transform(X)
    np.testing.assert_array_equal(model.inverse_transform(codes), p)
    np.testing.assert_array_equal(model.stages_[0].decode(codes), p)


def test_skill_of_predicting_the_frequencies_is_0_and_of_rebuilding_all_is_1() -> None:
    X = table()
    X[::11, 3:6] = 0  # levels that are not known
    stage = next(pretrain(X, (5,), Autoencoder(epochs=0, loss=GROUPS)))
    network = stage.network().engine()
    network.set_weights(0, np.zeros((8, 5)))
    known = X[:, 3:6].mean(axis=0)
    shares = X.mean(axis=0)
    bias = np.concatenate([shares[:2], [np.log(shares[2] / (1 - shares[2]))], np.log(known), np.log(shares[6:])])
    network.set_bias(1, bias)
    from layerwise import _core, skill, training

    recipe = _core.Recipe("mixed", _core.Optimizer("sgd"), 10)
    assert skill.measure(network, recipe, X, None, GROUPS) == pytest.approx(0, abs=1e-12)
    weights = np.random.default_rng(0).uniform(size=ROWS)
    assert skill.measure(network, recipe, X, weights, GROUPS) < -1e-6  # other rows, other frequencies
    assert training.plan_for(network, recipe).evaluate(X, None, None) > 0
    for columns in (slice(0, 2), slice(2, 3), slice(3, 6)):  # what does not vary has no room
        assert skill._least_and_room(np.repeat(X[:1, columns], 7, axis=0), None, "softmax")[1] == 0


def test_a_level_that_is_not_known_teaches_nothing() -> None:
    X = table()
    X[:, 3:6] = 0
    one, other = (
        StackedAutoencoder((5,), pretraining=Autoencoder(epochs=3, loss=groups, tied=False), random_state=0).fit(X)
        for groups in (GROUPS, ColumnGroups((("number", 2), ("flag", 1), ("category", 3), ("category", 2)), None, None))
    )
    start = StackedAutoencoder((5,), pretraining=Autoencoder(epochs=0, loss=GROUPS, tied=False), random_state=0).fit(X)
    np.testing.assert_array_equal(one.coefs_[1], other.coefs_[1])
    np.testing.assert_array_equal(one.coefs_[1][:, 3:6], start.coefs_[1][:, 3:6])
    assert (one.coefs_[1][:, 6:] != start.coefs_[1][:, 6:]).all()


def test_each_kind_is_rebuilt_better_by_its_own_loss() -> None:
    X = table(1000)
    own, squared = (
        StackedAutoencoder((6,), pretraining=Autoencoder(epochs=40, loss=loss), random_state=0).fit(X)
        for loss in (GROUPS, "squared_error")
    )
    assert loss_of(own, X) < 1.0
    p = np.clip(squared.reconstruct(X), 1e-3, 1 - 1e-3)  # which need not be probabilities
    wrong = (p[:, 3:6].argmax(axis=1) != X[:, 3:6].argmax(axis=1)).mean()
    assert (own.reconstruct(X)[:, 3:6].argmax(axis=1) != X[:, 3:6].argmax(axis=1)).mean() <= wrong


def test_fine_tuning_of_the_unrolled_network_has_the_same_loss() -> None:
    X = table()
    settings = Autoencoder(epochs=5, loss=GROUPS)
    model = StackedAutoencoder((6, 4), pretraining=settings, finetuning=FineTuning(epochs=20), random_state=0).fit(X)
    assert model.network_.layers[-1].activation.groups == GROUPS.groups
    records = [record.loss for record in model.history_ if record.stage == "finetuning"]
    assert loss_of(model, X) == pytest.approx(records[-1], rel=0.1)
    assert loss_of(model, X) < loss_of(StackedAutoencoder((6, 4), pretraining=settings, random_state=0).fit(X), X)
    model.partial_fit(X)
    assert np.isfinite(loss_of(model, X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of so short a training is not the question
        health = diagnose(model, X).layers[0]
    assert health.skill is not None
    assert np.isfinite(health.gradient)


def test_emphasis_counts_a_category_by_the_level_it_has() -> None:
    X = table()
    settings = DenoisingAutoencoder(corruption=Masking(1.0), epochs=2, loss=GROUPS, tied=False)
    plain, full = (
        StackedAutoencoder((5,), pretraining=settings.replace(emphasis=emphasis), random_state=0).fit(X)
        for emphasis in (None, "full")
    )
    np.testing.assert_array_equal(plain.coefs_[0], full.coefs_[0])  # the noise fell on all
    rates = np.zeros(8)
    rates[3] = 1.0  # on the first level of the first category alone
    settings = settings.replace(corruption=Masking(rates), emphasis="full")
    model = StackedAutoencoder((5,), pretraining=settings, random_state=0).fit(X[X[:, 3] == 0])
    start = StackedAutoencoder((5,), pretraining=settings.replace(epochs=0), random_state=0).fit(X)
    np.testing.assert_array_equal(model.coefs_[1], start.coefs_[1])  # which none of these rows has
    model = StackedAutoencoder((5,), pretraining=settings, random_state=0).fit(X)
    changed = (model.coefs_[1] != start.coefs_[1]).any(axis=0)
    assert changed.tolist() == [False] * 3 + [True] * 3 + [False] * 2


def test_classifiers_pretrain_by_it() -> None:
    y = np.where(np.arange(ROWS) < 50, table()[:, 5] == 1, -1)
    model = tabular_pipeline(PretrainedClassifier((6, 4), pretraining=QUICK, finetuning=FineTuning(epochs=2)))
    model.fit(frame(), y)
    assert [stage.loss for stage in model[-1].stages_] == ["mixed", "squared_error"]
    assert model.predict_proba(frame()).shape == (ROWS, 2)


# --- anomalies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standardize", [True, False])
def test_a_detector_judges_each_kind_by_its_loss(standardize: bool) -> None:
    X = table() * np.where(GROUPS.of_kind("number"), 10, 1)
    detector = AnomalyDetector((5,), pretraining=Autoencoder(loss=GROUPS), standardize=standardize, random_state=0)
    detector.fit(X)
    others = ~GROUPS.of_kind("number")
    assert (detector.mean_[others] == 0).all()
    assert (detector.scale_[others] == 1).all()
    assert (detector.scale_[:2] > 5).all() == standardize
    Z = (X - detector.mean_) / detector.scale_
    z = detector.network_.apply(Z, logits=True)
    expected = np.square(Z - z)
    expected[:, 2] = np.logaddexp(0, np.where(X[:, 2] == 1, -1, 1) * z[:, 2])
    for own in GROUPS.categories():
        expected[:, own] = -X[:, own] * log_softmax(z[:, own], axis=1)
    np.testing.assert_allclose(-detector.score_features(X), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(detector.score_samples(X), -expected.mean(axis=1), rtol=1e-9)


def test_a_level_that_training_did_not_have_counts_as_the_least_likely() -> None:
    X = table()
    detector = AnomalyDetector((5,), pretraining=Autoencoder(loss=GROUPS, epochs=30), random_state=0).fit(X)
    new = X[:1].copy()
    new[0, 3:6] = 0
    z = detector.network_.apply((new - detector.mean_) / detector.scale_, logits=True)[0, 3:6]
    worst = logsumexp(z) - z.min()
    np.testing.assert_allclose(-detector.score_features(new)[0, 3:6], worst / 3, rtol=1e-9)
    assert worst > -detector.score_features(X[:1])[0, 3:6].sum()
    assert detector.explain(new)[0][:2] == ("3 to 5", "unknown")


def test_explanations_speak_of_the_table_s_own_columns(tmp_path: Path) -> None:
    rows = frame()
    settings = DenoisingAutoencoder(corruption=Masking(0.3), epochs=200)
    model = tabular_pipeline(AnomalyDetector((4,), pretraining=settings, finetuning=None, random_state=0)).fit(rows)
    odd = rows.iloc[[1]].assign(kind="high")  # but not sold, and of middle width
    before, detector = model[:-1], model[-1]
    explanation = detector.explain(before.transform(odd))
    assert {line.column for line in explanation} == {"width", "height", "height missing", "kind", "sold"}
    line = next(line for line in explanation if line.column == "kind")
    assert line.observed == odd["kind"].iloc[0]
    assert line.expected == rows["kind"][1] == "middle"
    assert line == explanation[0]
    assert sum(line.share for line in explanation) == pytest.approx(1)
    assert explanation.score == pytest.approx(model.score_samples(odd)[0], rel=1e-12)
    assert f"{line.observed:>12} {line.expected:>12}" in repr(explanation)
    assert detector.explain(before.transform(odd), top=1) == explanation[:1]

    detector.save(tmp_path / "detector.layerwise")
    again = load(tmp_path / "detector.layerwise")
    np.testing.assert_array_equal(again.score_samples(before.transform(odd)), model.score_samples(odd))
    assert again.explain(before.transform(odd)) == explanation


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_keep_the_groups(tmp_path: Path) -> None:
    X = table()
    model = StackedAutoencoder((5, 3), pretraining=QUICK.replace(loss=GROUPS), finetuning=FineTuning(epochs=1)).fit(X)
    model.save(tmp_path / "model.layerwise")
    again = load(tmp_path / "model.layerwise")
    assert again.pretraining == model.pretraining
    assert again.stages_[0].decoder.activation == model.stages_[0].decoder.activation
    np.testing.assert_array_equal(again.reconstruct(X), model.reconstruct(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).reconstruct(X), model.reconstruct(X))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("fitted", "network_", -1, "activation", "groups"), [["number", 7]]),
        (("fitted", "network_", -1, "activation", "groups"), [["number", 9]]),
        (("fitted", "network_", -1, "activation", "groups"), [["number", 8]]),
        (("fitted", "network_", -1, "activation", "groups"), [["word", 8]]),
        (("fitted", "network_", -1, "activation", "groups"), []),
        (("fitted", "network_", -1, "activation", "groups"), "number"),
        (("fitted", "network_", -1, "activation", "name"), "identity"),
        (("fitted", "network_", 0, "activation", "groups"), [["number", 5]]),
        (("fitted", "stages_", 0, "loss"), "squared_error"),
        (("fitted", "stages_", 0, "settings", "values", "loss"), "auto"),
        (("fitted", "stages_", 0, "settings", "values", "loss", "values", "groups"), {"tuple": []}),
        (("fitted", "stages_", 0, "settings", "values", "loss", "values", "names"), {"tuple": ["a"]}),
    ],
)
def test_crafted_groups_are_refused(path: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    file = tmp_path / "detector.layerwise"
    AnomalyDetector((5,), pretraining=QUICK.replace(loss=GROUPS), finetuning=None).fit(table()).save(file)
    original = file.read_bytes()
    for change in (lambda config, tensors: None, assign(*path, value)):
        file.write_bytes(altered(original, change))
        if change.__name__ == "<lambda>":
            load(file)
    with pytest.raises(FormatError):
        load(file)


def test_rare_levels_are_no_uneven_scale() -> None:
    rng = np.random.default_rng(0)
    levels = np.zeros((4000, 60))
    levels[np.arange(4000), np.r_[np.arange(60), np.zeros(3940, int)]] = 1
    X = np.hstack([100 * rng.normal(size=(4000, 2)), levels])
    groups = ColumnGroups((("number", 2), ("category", 60)))

    def warned(loss: Any) -> bool:
        model = StackedAutoencoder((3,), pretraining=Autoencoder(epochs=1, loss=loss), random_state=0).fit(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return any("alone decides" in finding.message for finding in diagnose(model, X))

    assert warned("squared_error")
    assert not warned(groups)
