"""What a trained Boltzmann machine says, and machines in the estimators and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from test_rbm_pretraining import binary_data, digits, machine

from layerwise import (
    Autoencoder,
    EpochRecord,
    FineTuning,
    FormatError,
    InvalidParameterError,
    Momentum,
    PretrainedClassifier,
    PretrainedRegressor,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    boltzmann,
    checks,
    load,
    pretrain,
    reference_rbm,
)
from layerwise.persistence import schema

KINDS = {
    "binary-binary": ("binary", "binary"),
    "gaussian-binary": ("gaussian", "binary"),
    "binary-gaussian": ("binary", "gaussian"),
}


def trained(kind: tuple[str, str], dtype: type = np.float64) -> tuple[object, np.ndarray]:
    X = binary_data() if kind[0] == "binary" else binary_data() * 2 - 0.7
    activation = "sigmoid" if kind[1] == "binary" else "identity"
    settings = RestrictedBoltzmannMachine(epochs=40, optimizer=Momentum(0.02))
    return next(iter(pretrain(X.astype(dtype), [5], settings, activation=activation))), X.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_the_free_energy_is_the_references(kind: str, dtype: type) -> None:
    stage, X = trained(KINDS[kind], dtype)
    expected = reference_rbm.free_energy(machine(stage, *KINDS[kind]), X.astype(np.float64))
    np.testing.assert_allclose(boltzmann.free_energy(stage, X), expected, rtol=1e-5 if dtype == np.float32 else 1e-11)
    many = np.tile(X, (40, 1))  # several blocks
    np.testing.assert_array_equal(boltzmann.free_energy(stage, many), np.tile(boltzmann.free_energy(stage, X), 40))


@pytest.mark.parametrize("kind", ["binary-binary", "binary-gaussian"])
def test_the_pseudo_likelihood_is_the_references_on_average(kind: str) -> None:
    stage, X = trained(KINDS[kind])
    expected = reference_rbm.pseudo_log_likelihood(machine(stage, *KINDS[kind]), X)
    draws = np.array([boltzmann.pseudo_likelihood(stage, X, seed=seed) for seed in range(400)])
    spread = draws.std(axis=0) / 20
    assert (np.abs(draws.mean(axis=0) - expected) < 4.5 * spread).all()
    one = boltzmann.pseudo_likelihood(stage, np.clip(X * 0.8 + 0.1, 0, 1))  # rounded
    np.testing.assert_array_equal(one, boltzmann.pseudo_likelihood(stage, X))
    long = boltzmann.pseudo_likelihood(stage, np.tile(X, (40, 1)))
    np.testing.assert_allclose(long.mean(), expected.mean(), rtol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_gibbs_sampling_is_the_references(kind: str) -> None:
    stage, X = trained(KINDS[kind])
    for means in (False, True):
        expected = reference_rbm.gibbs(machine(stage, *KINDS[kind]), X, 3, 7, means=means)
        np.testing.assert_allclose(boltzmann.gibbs(stage, X, 3, means=means, seed=7), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(boltzmann.gibbs(stage, X, 2, threads=1), boltzmann.gibbs(stage, X, 2, threads=2))


def test_a_deep_belief_network_generates_what_it_learned() -> None:
    X = binary_data(500)
    settings = RestrictedBoltzmannMachine(epochs=60, optimizer=Momentum(0.02), batch_size=20)
    stages = list(pretrain(X, (8, 6, 4), settings, seed=1))
    start = np.full((3000, 8), 0.5)
    found = boltzmann.generate(stages, start, 200, seed=3)
    assert found.shape == (3000, 8)
    assert 0 < found.min() < 0.5 < found.max() < 1
    np.testing.assert_allclose(found.mean(axis=0), X.mean(axis=0), atol=0.15)
    correlation = np.corrcoef(found.T)
    assert correlation[0, 1:4].min() > 0.5  # one cause
    assert np.abs(correlation[0, 4:]).max() < 0.3  # the other
    np.testing.assert_array_equal(found, boltzmann.generate(stages, start, 200, seed=3, threads=2))
    assert not np.array_equal(found, boltzmann.generate(stages, start, 200, seed=4))


def test_a_machine_alone_generates_by_its_own_chains() -> None:
    stage, X = trained(KINDS["binary-binary"])
    expected = boltzmann.gibbs(stage, X, 5, means=True, seed=checks.subkey(2, 0))
    np.testing.assert_array_equal(boltzmann.generate([stage], X, 5, seed=2), expected)


def test_two_machines_generate_by_the_upper_ones_chains_and_a_step_down() -> None:
    first, second = pretrain(binary_data(), (6, 4), RestrictedBoltzmannMachine(epochs=2))
    states = reference_rbm.gibbs(machine(second), first.encode(binary_data()), 3, checks.subkey(2, 0))
    expected = reference_rbm.visible_mean(machine(first), states)
    np.testing.assert_allclose(boltzmann.generate([first, second], binary_data(), 3, seed=2), expected, rtol=1e-10)


def test_a_monitored_machine_has_its_measures_in_the_history(tmp_path: Path) -> None:
    X = digits(np.float32)
    settings = RestrictedBoltzmannMachine(epochs=[2, 1], monitor=[True, False], validation_fraction=0.2)
    model = StackedAutoencoder((30, 10), pretraining=settings, random_state=0).fit(X)
    stage, record = model.stages_[0], model.stages_[0].history[-1]
    plain = StackedAutoencoder((30, 10), pretraining=settings.replace(monitor=False), random_state=0).fit(X)
    np.testing.assert_array_equal(plain.stages_[0].weights, stage.weights)
    assert {plain.history_[0].free_energy, model.stages_[1].history[0].free_energy} == {None}

    energies = boltzmann.free_energy(stage, X)
    for found in (record.free_energy, record.validation_free_energy):
        assert found == pytest.approx(energies.mean(), abs=4 * energies.std() / np.sqrt(300))
    assert record.free_energy != record.validation_free_energy
    likelihood = boltzmann.pseudo_likelihood(stage, X)
    assert record.pseudo_likelihood == pytest.approx(likelihood.mean(), abs=5 * likelihood.std() / np.sqrt(700))
    assert record.pseudo_likelihood > model.history_[0].pseudo_likelihood
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").history_ == model.history_


def test_epochs_of_older_files_lack_the_measures() -> None:
    data = ["pretraining", 1, 2, 3, 0.5, None, 0.1, 0.2]
    assert schema.decode_record(data) == EpochRecord(*data)
    for wrong in (data[:7], [*data, None, None, None, None], [*data, "x"]):
        with pytest.raises(FormatError):
            schema.decode_record(wrong)


def test_a_gaussian_machine_has_no_pseudo_likelihood_in_its_history() -> None:
    settings = RestrictedBoltzmannMachine(epochs=1, monitor=True)
    (stage,) = pretrain(binary_data() * 2 - 0.7, [5], settings)
    expected = boltzmann.free_energy(stage, binary_data() * 2 - 0.7).mean()
    assert stage.history[0].free_energy == pytest.approx(expected, rel=1e-12)
    assert (stage.history[0].validation_free_energy, stage.history[0].pseudo_likelihood) == (None, None)


def test_what_is_no_machine_is_refused() -> None:
    (stage,) = pretrain(binary_data(), [3], Autoencoder(epochs=1))
    for function in (boltzmann.free_energy, boltzmann.pseudo_likelihood, boltzmann.gibbs):
        with pytest.raises(TypeError, match="RestrictedBoltzmannMachine"):
            function(stage, binary_data())
    stage, X = trained(KINDS["gaussian-binary"])
    with pytest.raises(TypeError, match="binary visible units"):
        boltzmann.pseudo_likelihood(stage, X)
    with pytest.raises(TypeError, match="RestrictedBoltzmannMachine"):
        boltzmann.generate([stage, *pretrain(binary_data(), [3], Autoencoder(epochs=1))], X)
    for other in (StackedAutoencoder(2), stage):
        with pytest.raises(TypeError, match=rf"^generate takes a list .* stages_\. Got a {type(other).__name__}\.$"):
            boltzmann.generate(other, X, 5)
    with pytest.raises(TypeError, match=r"^A Stage is needed, as stages_\[0\] .* Got a StackedAutoencoder\.$"):
        boltzmann.free_energy(StackedAutoencoder(2), X)
    with pytest.raises(ValueError, match="no stage"):
        boltzmann.generate([], X)
    with pytest.raises(InvalidParameterError, match="'n_steps' parameter of generate"):
        boltzmann.generate([stage], X, 0)
    for name, value in (("n_steps", -1), ("threads", -1), ("means", 1)):
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of gibbs"):
            boltzmann.gibbs(stage, X, **{name: value})
    with pytest.raises(ValueError, match="NaN"):
        boltzmann.free_energy(stage, np.full((2, 8), np.nan))


# --- in the estimators ----------------------------------------------------------------------------------------------


def test_pretraining_beats_the_random_start_with_few_labels() -> None:
    X, y = digits(np.float32), load_digits().target
    scores = {"rbm": [], None: []}
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(X))
        labels = np.where(np.isin(np.arange(len(X)), order[:100]), y, -1)
        test = order[1000:]
        labels[test] = -1
        for name in scores:
            settings = RestrictedBoltzmannMachine(epochs=30) if name else None
            model = PretrainedClassifier(
                (100, 100),
                pretraining=settings,
                activation="sigmoid",
                finetuning=FineTuning(epochs=50),
                random_state=seed,
            ).fit(X, labels)
            scores[name].append(model.score(X[test], y[test]))
    assert np.mean(scores["rbm"]) > np.mean(scores[None]) + 0.01, scores
    assert np.mean(scores["rbm"]) > 0.85, scores


@pytest.mark.parametrize("estimator", [PretrainedClassifier, PretrainedRegressor, StackedAutoencoder])
def test_every_estimator_takes_them_by_name_and_in_files(estimator: type, tmp_path: Path) -> None:
    X = digits()[:200]
    y = load_digits().target[:200].astype(float if estimator is PretrainedRegressor else int)
    model = estimator((20, 10), pretraining="rbm", random_state=0).fit(X, y)
    assert [stage.encoder.activation.name for stage in model.stages_] == ["sigmoid", "sigmoid"]
    assert all(isinstance(stage.settings, RestrictedBoltzmannMachine) for stage in model.stages_)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.pretraining == "rbm"
    assert [stage.settings for stage in again.stages_] == [stage.settings for stage in model.stages_]
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(
        boltzmann.free_energy(again.stages_[0], X), boltzmann.free_energy(model.stages_[0], X)
    )


def test_a_deep_autoencoder_of_machines_with_a_gaussian_code(tmp_path: Path) -> None:
    X = digits(np.float32)
    settings = RestrictedBoltzmannMachine(epochs=[20, 20], optimizer=["auto", Momentum(0.01)])
    model = StackedAutoencoder(
        (64, 8),
        pretraining=settings,
        activation=["sigmoid", "identity"],
        finetuning=FineTuning(epochs=5),
        random_state=0,
    ).fit(X)
    errors = ((model.reconstruct(X) - X) ** 2).sum(axis=1).mean()
    assert errors < 0.4 * X.var(axis=0).sum()
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").pretraining == settings


def test_searches_reach_their_settings() -> None:
    X, y = digits()[:120], load_digits().target[:120]
    model = PretrainedClassifier(10, pretraining=RestrictedBoltzmannMachine(epochs=1), finetuning=FineTuning(epochs=1))
    assert clone(model).get_params()["pretraining__k"] == 1
    search = GridSearchCV(model, {"pretraining__k": [1, 2]}, cv=2).fit(X, y)
    assert search.best_params_["pretraining__k"] in (1, 2)
    with pytest.raises(InvalidParameterError, match="'pretraining__k' parameter of PretrainedClassifier"):
        model.set_params(pretraining__k=0).fit(X, y)
    with pytest.raises(InvalidParameterError, match="'activation' parameter of PretrainedClassifier"):
        PretrainedClassifier(10, pretraining="rbm", activation="tanh").fit(X, y)
