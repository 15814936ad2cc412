"""Settings are values: frozen, comparable, printed as the call that makes them, reached into by name."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from sklearn.base import clone

import layerwise
from layerwise import (
    ELU,
    GELU,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Autoencoder,
    BatchNorm,
    ColumnGroups,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    Emphasis,
    FineTuning,
    Gaussian,
    InvalidParameterError,
    LeakyReLU,
    Masking,
    Momentum,
    Nesterov,
    Normal,
    PReLU,
    RestrictedBoltzmannMachine,
    RMSProp,
    SaltAndPepper,
    Sparse,
    SparseAutoencoder,
    SupervisedPretraining,
    Swap,
    Swish,
    activations,
    checks,
    corruption,
    finetuning,
    initializers,
    momentum_schedules,
    optimizers,
    pretraining,
    schedules,
)
from layerwise.activations import Activation
from layerwise.checks import Parameter
from layerwise.persistence import known
from layerwise.settings import Settings

KINDS = [
    SGD, Momentum, Nesterov, Adagrad, RMSProp, Adam, AdamW, Masking, Gaussian, SaltAndPepper, Swap, Emphasis, LeakyReLU,
    PReLU, ELU, GELU, Swish, Normal, Sparse, Autoencoder, DenoisingAutoencoder, SparseAutoencoder,
    ContractiveAutoencoder, RestrictedBoltzmannMachine, FineTuning, *schedules.BY_NAME.values(),
    *momentum_schedules.MOMENTUM_SCHEDULES, SupervisedPretraining, ColumnGroups, BatchNorm,
]  # fmt: skip
WHERE = Parameter("Thing", "setting")
BAD_NUMBERS = [None, "x", True, [1], np.nan, np.inf, -np.inf, -1.0, 1 + 1j, object()]


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_values(kind: type[Settings]) -> None:
    settings = kind()
    assert settings == kind()
    assert hash(settings) == hash(kind())
    assert clone(settings) == settings
    assert copy.deepcopy(settings) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert (
        eval(repr(settings), vars(layerwise) | {name: getattr(layerwise, name) for name in layerwise.__all__})
        == settings
    )
    assert settings.replace(**settings.get_params(deep=False)) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, next(iter(settings.get_params())), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_each_setting_changes_value_and_repr(kind: type[Settings]) -> None:
    for name in kind().get_params(deep=False):
        other = kind().replace(**{name: "something else"})
        assert other != kind()
        assert repr(other) == f"{kind.__name__}({name}='something else')"
        assert getattr(other, name) == "something else"  # nothing is checked before fit


def test_repr_of_nested_settings() -> None:
    settings = DenoisingAutoencoder(corruption=Gaussian(0.3), epochs=2, optimizer=Adam(learning_rate=0.01))
    assert eval(repr(settings)) == settings
    assert "Gaussian(scale=0.3)" in repr(settings)
    assert repr(Masking(rate=0.25)) == "Masking()"


def test_names_reach_into_settings() -> None:
    settings = DenoisingAutoencoder()
    assert settings.get_params()["corruption__rate"] == 0.25
    changed = settings.replace(corruption__rate=0.4, optimizer__learning_rate=0.1, epochs=3)
    assert (changed.corruption, changed.optimizer, changed.epochs) == (Masking(0.4), Adam(learning_rate=0.1), 3)
    assert settings == DenoisingAutoencoder()
    swapped = settings.replace(corruption__scale=0.7, corruption=Gaussian())
    assert swapped.corruption == Gaussian(0.7)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Invalid parameter 'rates' for .*Valid parameters are.*'alpha'"):
        DenoisingAutoencoder().replace(rates=1)
    with pytest.raises(ValueError, match="corruption is 'masking', which has no settings"):
        DenoisingAutoencoder(corruption="masking").replace(corruption__rate=0.1)
    with pytest.raises(TypeError):
        Masking(level=0.1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", list(optimizers.BY_NAME))
def test_optimizers_by_name_are_those_of_the_engine(name: str) -> None:
    settings = optimizers.resolve(WHERE, name)
    assert settings == optimizers.BY_NAME[name]()
    settings.engine()


def test_a_model_file_may_name_the_settings_of_every_activation() -> None:
    ours = {kind for kind in activations.ActivationSettings.__subclasses__() if kind.__module__ == activations.__name__}
    assert ours == {LeakyReLU, PReLU, ELU, GELU, Swish}
    assert ours <= set(known.SETTINGS.values())


def test_every_engine_name_has_settings() -> None:
    assert tuple(optimizers.BY_NAME) == optimizers._core.OPTIMIZERS
    assert ("none", *corruption.BY_NAME, "dropout") == corruption._core.NOISES  # dropout: FineTuning.input_dropout


@pytest.mark.parametrize("name", activations.NAMES)
def test_activations_by_name(name: str) -> None:
    assert activations.resolve(WHERE, name).name == name


def test_activation_settings() -> None:
    assert activations.resolve(WHERE, LeakyReLU(0.2)) == activations.Activation("leaky_relu", 0.2)
    assert activations.resolve(WHERE, PReLU(0.1)) == activations.Activation("prelu", 0.1, "unit")
    assert activations.resolve(WHERE, PReLU(shared=True)) == activations.Activation("prelu", 0.25, "shared")
    assert activations.resolve(WHERE, ELU(0.5)) == activations.Activation("elu", 0.5)
    assert activations.resolve(WHERE, GELU()).name == "gelu"
    assert activations.resolve(WHERE, GELU(approximate=True)).name == "gelu_tanh"
    assert activations.resolve(WHERE, Swish(2.0, shared=True)) == activations.Activation("swish", 2.0, "shared")
    with pytest.raises(InvalidParameterError, match=r"called 'sigmoid' here\. Got 'logistic'"):
        activations.resolve(WHERE, "logistic")


@pytest.mark.parametrize(
    ("resolve", "settings", "name"),
    [
        (optimizers.resolve, SGD, "learning_rate"),
        (optimizers.resolve, Momentum, "momentum"),
        (optimizers.resolve, Nesterov, "momentum"),
        (optimizers.resolve, Adagrad, "epsilon"),
        (optimizers.resolve, RMSProp, "decay"),
        (optimizers.resolve, Adam, "beta_1"),
        (optimizers.resolve, Adam, "beta_2"),
        (optimizers.resolve, Adam, "epsilon"),
        (optimizers.resolve, AdamW, "weight_decay"),
        (corruption.resolve_emphasis, Emphasis, "corrupted"),
        (corruption.resolve_emphasis, Emphasis, "clean"),
        (initializers.resolve, Normal, "scale"),
        (initializers.resolve, Sparse, "scale"),
        (initializers.resolve, Sparse, "connections"),
    ],
)
@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=repr)
def test_bad_numbers_are_named(resolve: object, settings: type[Settings], name: str, bad: object) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^The 'setting__{name}' parameter of Thing must be .* Got "):
        resolve(WHERE, settings(**{name: bad}))  # type: ignore[operator]


PENALTIES = [
    (SparseAutoencoder, "sparsity"),
    (SparseAutoencoder, "sparsity_target"),
    (SparseAutoencoder, "activation_l1"),
    (ContractiveAutoencoder, "contraction"),
]


@pytest.mark.parametrize(("settings", "name"), PENALTIES)
@pytest.mark.parametrize("bad", [*[b for b in BAD_NUMBERS if b != [1]], [0.1, -1.0], [0.1]], ids=repr)
def test_bad_penalties_are_named(settings: type[Autoencoder], name: str, bad: object) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^The 'setting__{name}' parameter of Thing must be .* Got "):
        settings(**{name: bad}).check(WHERE, 2)


def test_penalties_must_fit_the_activation() -> None:
    (sparse,) = SparseAutoencoder().check(WHERE, 1)
    for name in activations.NAMES:
        if name in ("sigmoid", "tanh", "softmax"):
            sparse.check_activation(WHERE, Activation(name))
        else:
            with pytest.raises(InvalidParameterError, match=rf"'setting__sparsity' .* 0 for {name} units"):
                sparse.check_activation(WHERE, Activation(name))
            SparseAutoencoder(sparsity=0, activation_l1=0.1).check_activation(WHERE, Activation(name))
    for bad in (0, 1):
        with pytest.raises(InvalidParameterError, match=r"'setting__sparsity_target' .* \(0, 1\)"):
            SparseAutoencoder(sparsity_target=bad).check(WHERE, 1)
    ContractiveAutoencoder().check_activation(WHERE, Activation("gelu_tanh"))
    ContractiveAutoencoder(contraction=0).check_activation(WHERE, Activation("softmax"))
    with pytest.raises(InvalidParameterError, match=r"'setting__contraction' .* 0 for softmax units"):
        ContractiveAutoencoder().check_activation(WHERE, Activation("softmax"))


@pytest.mark.parametrize("name", pretraining.BY_NAME)
def test_pretraining_by_name(name: str) -> None:
    assert pretraining.resolve(WHERE, name) == pretraining.BY_NAME[name]()


LEVELS = [(Masking, "rate"), (Gaussian, "scale"), (SaltAndPepper, "rate"), (Swap, "rate")]


@pytest.mark.parametrize(("settings", "name"), LEVELS)
@pytest.mark.parametrize("bad", [*[b for b in BAD_NUMBERS if b != [1]], [0.1, -1.0], (0.5, "x"), [[0.5]]], ids=repr)
def test_bad_levels_are_named(settings: type[Settings], name: str, bad: object) -> None:
    with pytest.raises(InvalidParameterError, match=rf"^The 'setting__{name}' parameter of Thing must be .* Got "):
        corruption.resolve(WHERE, settings(**{name: bad}))


@pytest.mark.parametrize(("settings", "name"), LEVELS)
def test_levels_are_one_or_one_an_input(settings: type[corruption.Corruption], name: str) -> None:
    for level in (0.5, [0.5, 0.1, 1], (0.0, 0.0, 0.0), np.array([0.1, 0.2, 0.3])):
        noise = settings(**{name: level})
        assert corruption.resolve(WHERE, noise) is noise
        noise.check_inputs(WHERE, 3)
        noise.noise(0.0, 1.0)
    for level in ([0.5, 0.5], [0.5] * 4, []):
        with pytest.raises(InvalidParameterError, match=rf"'setting__{name}' .* sequence of 3 .one for each input"):
            settings(**{name: level}).check_inputs(WHERE, 3)


def test_exact_masking_has_one_rate() -> None:
    assert corruption.resolve(WHERE, Masking(0.25, exact=True)) == Masking(0.25, True)
    with pytest.raises(InvalidParameterError, match=r"'setting__rate' .* one number with exact=True"):
        corruption.resolve(WHERE, Masking([0.2, 0.3], exact=True))
    with pytest.raises(InvalidParameterError, match=r"'setting__exact' .* True or False"):
        corruption.resolve(WHERE, Masking(exact=1))  # type: ignore[arg-type]


def test_emphasis() -> None:
    assert corruption.resolve_emphasis(WHERE, "double") == Emphasis(1.0, 0.5)
    assert corruption.resolve_emphasis(WHERE, "full") == Emphasis(1.0, 0.0)
    assert corruption.resolve_emphasis(WHERE, None) is None
    for bad in ("triple", 0.5, (1, 0.5), Masking()):
        with pytest.raises(InvalidParameterError, match=r"'setting' parameter of Thing must be None, an Emphasis"):
            corruption.resolve_emphasis(WHERE, bad)
    with pytest.raises(InvalidParameterError, match=r"'setting__corrupted' .* positive"):
        corruption.resolve_emphasis(WHERE, Emphasis(0, 0))
    for noise in (None, Gaussian(), [Masking(), Gaussian()]):
        with pytest.raises(InvalidParameterError, match=r"'setting__emphasis' .* None where the corruption is"):
            DenoisingAutoencoder(corruption=noise, emphasis="full").check(WHERE, 2)
    first, second = DenoisingAutoencoder(corruption=["swap", None], emphasis=["full", None]).check(WHERE, 2)
    assert (first.emphasis, second.emphasis) == (Emphasis(1.0, 0.0), None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("bad", BAD_NUMBERS[:7], ids=repr)
def test_bad_activation_parameters_are_named(bad: object) -> None:
    for settings, name in ((LeakyReLU(bad), "alpha"), (PReLU(bad), "alpha"), (ELU(bad), "alpha"), (Swish(bad), "beta")):
        with pytest.raises(InvalidParameterError, match=f"'setting__{name}' parameter of Thing"):
            activations.resolve(WHERE, settings)


def test_slopes_that_would_fold_the_activation_are_refused() -> None:
    for bad in (LeakyReLU(-0.1), ELU(-1.0), ELU(0.0)):
        with pytest.raises(InvalidParameterError, match="'setting__alpha'"):
            activations.resolve(WHERE, bad)
    assert activations.resolve(WHERE, PReLU(-0.1)).parameter == -0.1


@pytest.mark.parametrize("bad", [None, 1, "Yes", np.array([True])], ids=repr)
def test_bad_flags_are_named(bad: object) -> None:
    for resolve, settings, name in (
        (optimizers.resolve, Adam(bias_correction=bad), "bias_correction"),
        (optimizers.resolve, Adam(epsilon_inside_sqrt=bad), "epsilon_inside_sqrt"),
        (activations.resolve, PReLU(shared=bad), "shared"),
        (activations.resolve, GELU(approximate=bad), "approximate"),
    ):
        with pytest.raises(InvalidParameterError, match=f"'setting__{name}' .* True or False"):
            resolve(WHERE, settings)  # type: ignore[operator]


@pytest.mark.parametrize(
    "resolve",
    [optimizers.resolve, activations.resolve, initializers.resolve, pretraining.resolve, finetuning.resolve],
)
@pytest.mark.parametrize("bad", [None, 0, "no such thing", Adam, object(), ["adam"]], ids=repr)
def test_other_things_are_refused(resolve: object, bad: object) -> None:
    with pytest.raises(InvalidParameterError, match="'setting' parameter of Thing must be"):
        resolve(WHERE, bad)  # type: ignore[operator]


def test_one_value_a_layer() -> None:
    settings = DenoisingAutoencoder(
        epochs=[1, 2], corruption=("masking", None), batch_size=(10, "auto"), tied=[True, False]
    )
    first, second = settings.check(WHERE, 2)
    assert (first.epochs, first.corruption, first.batch_size, first.tied) == (1, Masking(), 10, True)
    assert (second.epochs, second.corruption, second.batch_size, second.tied) == (2, None, "auto", False)
    with pytest.raises(InvalidParameterError, match=r"'setting__epochs' .* a list of 3 values .* Got \[1, 2\]"):
        settings.check(WHERE, 3)


def test_decoder_and_loss_must_fit() -> None:
    with pytest.raises(
        InvalidParameterError, match=r"'setting__decoder' .* with loss=.cross_entropy.\. Got 'identity'"
    ):
        Autoencoder(decoder="identity", loss="cross_entropy").check(WHERE, 1)


def test_frozen_layers_and_dropout() -> None:
    settings = FineTuning(frozen_layers=2, dropout=0.5).check(WHERE, 3)
    assert settings.frozen_layers == (1, 2)
    assert settings.dropout == (0.5, 0.5, 0.5)
    assert FineTuning(frozen_layers=[3, 1]).check(WHERE, 3).frozen_layers == (1, 3)
    for bad in (-1, 4, [4], [0], True, "all", None, 1.5):
        with pytest.raises(InvalidParameterError, match="'setting__frozen_layers'"):
            FineTuning(frozen_layers=bad).check(WHERE, 3)


def test_layer_sizes() -> None:
    assert checks.layer_sizes(WHERE, 5) == (5,)
    assert checks.layer_sizes(WHERE, np.array([5, 6])) == (5, 6)
    assert checks.layer_sizes(WHERE, [np.int32(5)]) == (5,)
    for bad in (0, -1, True, None, "100", 1.5, (), [5, 0], [5, "6"], [[5]], np.nan, 2**31, (3, None)):
        with pytest.raises(InvalidParameterError, match="'setting' parameter of Thing must be a positive integer"):
            checks.layer_sizes(WHERE, bad)


def test_threads() -> None:
    assert checks.threads(WHERE, None) == 0
    assert checks.threads(WHERE, 3) == 3
    assert checks.threads(WHERE, -1) == checks._core.default_threads()
    assert checks.threads(WHERE, -100) == 1
    assert checks.threads(WHERE, 32768) == 32768
    assert checks.threads(WHERE, -32768) == 1
    allowed = r"'setting' .* be None, an integer from 1 to 32768, or a negative one from -32768 on \(-1: .*\)"
    for bad in (0, 1.0, "all", True, 32769, -32769, 10**9):
        with pytest.raises(InvalidParameterError, match=rf"{allowed}\. Got {bad!r} instead"):
            checks.threads(WHERE, bad)


def test_subkeys_differ_and_repeat() -> None:
    keys = {
        checks.subkey(seed, *path) for seed in (0, 1, 2**64 - 1) for path in ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
    }
    assert len(keys) == 18
    assert checks.subkey(5, 1, 2) == checks.subkey(checks.subkey(5, 1), 2)
    assert all(0 <= key < 2**64 for key in keys)


def test_settings_with_arrays_compare_by_value() -> None:
    one, same, other = (DenoisingAutoencoder(corruption=Gaussian(np.array([0.1, scale]))) for scale in (0.2, 0.2, 0.3))
    assert one == same
    assert one != other
    assert one != Gaussian(np.array([0.1, 0.2]))
    assert DenoisingAutoencoder(epochs=np.array([1, 2])) != DenoisingAutoencoder(epochs=3)
    assert len({DenoisingAutoencoder(epochs=3), DenoisingAutoencoder(epochs=3)}) == 1
