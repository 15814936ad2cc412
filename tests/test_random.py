"""The engine's random numbers and noise against their definition in NumPy.

tests/test_reference.py holds that definition to the published answers of Philox; tests/test_engine.py looks at dropout
and shuffling. tests/test_instruction_sets.py runs this file once more under each instruction set.
"""

import numpy as np
import pytest

from layerwise import _core, reference_random


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 1000])
def test_random_streams(n):
    seed = (3 << 33) + 77
    np.testing.assert_array_equal(_core.random_words(seed, 5, n), reference_random.random_words(seed, 5, n))
    np.testing.assert_array_equal(_core.random_uniform(seed, 5, n), reference_random.random_uniform(seed, 5, n))
    np.testing.assert_allclose(_core.random_normal(seed, 5, n), reference_random.random_normal(seed, 5, n), rtol=1e-13)
    np.testing.assert_array_equal(_core.random_permutation(seed, 5, n), reference_random.random_permutation(seed, 5, n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 70])
@pytest.mark.parametrize(
    ("kind", "level"),
    [("none", 0), ("masking", 0.25), ("masking", 0), ("masking", 1), ("gaussian", 0.5), ("salt_and_pepper", 0.4)],
)
def test_noise_is_a_function_of_the_rows_position(kind, level, columns, dtype):
    rng = np.random.default_rng(10)
    X, rows = rng.normal(size=(9, columns)).astype(dtype), rng.integers(0, 10**7, 9)
    noise = _core.Noise(kind, level, -1.0, 2.0)
    got = _core.corrupt(X, noise, rows, 9, 4)
    expected = reference_random.corrupt(X.astype(np.float64), kind, level, -1.0, 2.0, seed=9, rows=rows, step=4)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=8 * np.finfo(dtype).eps if kind == "gaussian" else 0)
    np.testing.assert_array_equal(got[3:5], _core.corrupt(X[3:5], noise, rows[3:5], 9, 4))


def test_noise_has_the_asked_frequency_and_spread():
    X, rows = np.full((2000, 50), 0.5), np.arange(2000)
    masked = _core.corrupt(X, _core.Noise("masking", 0.25), rows, 1, 0) == 0
    assert abs(masked.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / X.size)
    pepper = _core.corrupt(X, _core.Noise("salt_and_pepper", 0.4, 0.0, 1.0), rows, 1, 0)
    for value, share in ((0, 0.2), (1, 0.2), (0.5, 0.6)):
        assert abs((pepper == value).mean() - share) < 5 * np.sqrt(share * (1 - share) / X.size)
    noise = (_core.corrupt(X, _core.Noise("gaussian", 2.0), rows, 1, 0) - X) / 2
    assert abs(noise.mean()) < 5 / np.sqrt(X.size)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * X.size)
    other_step = _core.corrupt(X, _core.Noise("masking", 0.25), rows, 1, 1) == 0
    assert abs((masked & other_step).mean() - 0.0625) < 5 * np.sqrt(0.0625 / X.size)  # independent
