"""What cannot stand together with optimisers that find their steps by line searches."""

import pytest

import layerwise
from layerwise import (
    LBFGS,
    Autoencoder,
    ConjugateGradient,
    CosineDecay,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    Masking,
    PretrainedClassifier,
    RestrictedBoltzmannMachine,
    StackedAutoencoder,
    SupervisedPretraining,
)
from layerwise.datasets import load_digits


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits()
    return X[:300], y[:300]


@pytest.mark.parametrize("optimizer", [ConjugateGradient(), LBFGS()], ids=lambda method: method.kind)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", CosineDecay()),
        ("clip_value", 1.0),
        ("clip_norm", 1.0),
        ("max_norm", 2.0),
        ("rate_scale", [1.0, 0.5]),
        ("layer_decay", 0.5),
        ("output_rate_scale", 2.0),
    ],
)
def test_what_rules_steps_is_refused(optimizer, name, value, digits):
    X, y = digits
    model = PretrainedClassifier((5, 5), pretraining=None, finetuning=FineTuning(optimizer=optimizer, **{name: value}))
    with pytest.raises(InvalidParameterError, match=f"finetuning__{name}.* {type(optimizer).__name__}, whose line"):
        model.fit(X, y)
    if name in ("schedule", "clip_value", "clip_norm", "max_norm"):
        model = StackedAutoencoder((5, 5), pretraining=Autoencoder(optimizer=["adam", optimizer], **{name: value}))
        with pytest.raises(InvalidParameterError, match=f"pretraining__{name}"):
            model.fit(X)
    if name == "schedule":
        model = PretrainedClassifier((5,), pretraining=SupervisedPretraining(optimizer=optimizer, schedule=value))
        with pytest.raises(InvalidParameterError, match="pretraining__schedule"):
            model.fit(X, y)


@pytest.mark.parametrize("optimizer", [ConjugateGradient(), LBFGS(), "lbfgs"])
def test_a_boltzmann_machine_has_no_objective_to_search(optimizer, digits):
    model = StackedAutoencoder((5,), pretraining=RestrictedBoltzmannMachine(optimizer=optimizer))
    with pytest.raises(InvalidParameterError, match="pretraining__optimizer"):
        model.fit(digits[0])


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (ConjugateGradient(searches=0), "searches"),
        (ConjugateGradient(searches=1.5), "searches"),
        (LBFGS(searches="many"), "searches"),
        (LBFGS(memory=0), "memory"),
    ],
)
def test_bad_values(optimizer, name, digits):
    model = StackedAutoencoder((5,), pretraining=DenoisingAutoencoder(optimizer=optimizer, corruption=Masking(0.1)))
    with pytest.raises(InvalidParameterError, match=f"pretraining__optimizer__{name}"):
        model.fit(digits[0])


def test_names():
    assert layerwise.optimizers.resolve(layerwise.checks.Parameter("x"), "conjugate_gradient") == ConjugateGradient()
    assert layerwise.optimizers.resolve(layerwise.checks.Parameter("x"), "lbfgs") == LBFGS()
    assert repr(LBFGS(memory=5)) == "LBFGS(memory=5)"
