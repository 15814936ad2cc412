"""Initialisers: bounds, variance, zeros, and numbers that depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from layerwise import Normal, Sparse, initializers
from layerwise.initializers import BY_NAME, draw

N_IN, N_OUT = 300, 200
BOUNDS = {
    "glorot_uniform": (6 / 500) ** 0.5,
    "glorot_uniform_sigmoid": 4 * (6 / 500) ** 0.5,
    "he_uniform": (6 / 300) ** 0.5,
    "lecun_uniform": (3 / 300) ** 0.5,
    "fan_in_uniform": (1 / 300) ** 0.5,
    "larochelle_uniform": (1 / 300) ** 0.5,
}
SCALES = {"glorot_normal": (2 / 500) ** 0.5, "he_normal": (2 / 300) ** 0.5, "lecun_normal": (1 / 300) ** 0.5}


def test_every_name_is_tested() -> None:
    assert set(BOUNDS) | set(SCALES) == set(BY_NAME)


@pytest.mark.parametrize("name", BOUNDS)
def test_uniform(name: str) -> None:
    weights = draw(name, "tanh", 7, N_IN, N_OUT)
    bound = BOUNDS[name]
    assert weights.shape == (N_IN, N_OUT)
    assert np.abs(weights).max() <= bound
    assert np.abs(weights).max() > 0.999 * bound
    assert abs(weights.mean()) < 5 * bound / (3 * weights.size) ** 0.5
    assert weights.var() == pytest.approx(bound**2 / 3, rel=0.03)


def test_larochelle_takes_the_larger_side() -> None:
    assert np.abs(draw("larochelle_uniform", "tanh", 0, 10, 1000)).max() <= 1000**-0.5
    assert np.abs(draw("larochelle_uniform", "tanh", 0, 1000, 10)).max() <= 1000**-0.5


@pytest.mark.parametrize("name", [*SCALES, "Normal"])
def test_normal(name: str) -> None:
    scale = SCALES.get(name, 0.3)
    weights = draw(Normal(0.3) if name == "Normal" else name, "tanh", 7, N_IN, N_OUT)
    assert weights.std() == pytest.approx(scale, rel=0.02)
    assert abs(weights.mean()) < 5 * scale / weights.size**0.5
    assert np.mean(np.abs(weights) < scale) == pytest.approx(0.6827, abs=0.01)


def test_sparse() -> None:
    weights = draw(Sparse(connections=15, scale=2.0), "tanh", 3, N_IN, N_OUT)
    assert ((weights != 0).sum(axis=0) == 15).all()
    assert weights[weights != 0].std() == pytest.approx(2.0, rel=0.05)
    used = (weights != 0).mean(axis=1)  # each input is used about as often
    assert used.max() < 0.2
    assert used.min() > 0.0
    assert (draw(Sparse(15), "tanh", 3, 4, 6) != 0).all()  # fewer inputs than connections: all of them


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("sigmoid", "glorot_uniform_sigmoid"),
        ("relu", "he_uniform"),
        ("prelu", "he_uniform"),
        ("gelu_tanh", "he_uniform"),
        ("tanh", "glorot_uniform"),
        ("softmax", "glorot_uniform"),
        ("identity", "glorot_uniform"),
    ],
)
def test_auto_follows_the_activation(activation: str, name: str) -> None:
    np.testing.assert_array_equal(draw("auto", activation, 1, 5, 4), draw(name, activation, 1, 5, 4))


@pytest.mark.parametrize("initializer", ["auto", *BY_NAME, Normal(), Sparse(2)], ids=str)
def test_the_seed_decides_alone(initializer: str | initializers.Initializer) -> None:
    first = draw(initializer, "relu", 1, 6, 5)
    np.random.seed(0)  # noqa: NPY002
    np.testing.assert_array_equal(first, draw(initializer, "relu", 1, 6, 5))
    assert not np.array_equal(first, draw(initializer, "relu", 2, 6, 5))
    assert first.dtype == np.float64
