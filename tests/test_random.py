"""The engine's random numbers and noise against their definition in NumPy.

tests/test_reference.py holds that definition to the published answers of Philox; tests/test_engine.py looks at dropout
and shuffling. tests/test_instruction_sets.py runs this file once more under each instruction set.
"""

import numpy as np
import pytest

from layerwise import _core, reference_groups, reference_random


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 1000])
def test_random_streams(n):
    seed = (3 << 33) + 77
    np.testing.assert_array_equal(_core.random_words(seed, 5, n), reference_random.random_words(seed, 5, n))
    np.testing.assert_array_equal(_core.random_uniform(seed, 5, n), reference_random.random_uniform(seed, 5, n))
    np.testing.assert_allclose(_core.random_normal(seed, 5, n), reference_random.random_normal(seed, 5, n), rtol=1e-13)
    np.testing.assert_array_equal(_core.random_permutation(seed, 5, n), reference_random.random_permutation(seed, 5, n))


NOISES = [
    ("none", 0, {}),
    ("masking", 0.25, {}),
    ("masking", 0, {}),
    ("masking", 1, {}),
    ("masking", "by column", {}),
    ("masking", 0.25, {"exact": True}),
    ("masking", 1, {"exact": True}),
    ("gaussian", 0.5, {}),
    ("gaussian", "by column", {}),
    ("salt_and_pepper", 0.4, {}),
    ("salt_and_pepper", "by column", {}),
    ("dropout", 0, {}),
    ("dropout", 0.3, {}),
    ("swap", 0.3, {}),
    ("swap", 1, {}),
    ("swap", "by column", {}),
]


def make_noise(kind, level, **options):
    """The engine's noise; an array of levels has one a column."""
    own = {"levels": list(level)} if isinstance(level, np.ndarray) else {"level": level}
    return _core.Noise(kind, **own, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 70])
@pytest.mark.parametrize(("kind", "level", "options"), NOISES)
def test_noise_is_a_function_of_the_rows_position(kind, level, options, columns, dtype):
    rng = np.random.default_rng(10)
    level = np.linspace(0, 1, columns) if level == "by column" else level
    X, rows = rng.normal(size=(9, columns)).astype(dtype), rng.integers(0, 10**7, 9)
    rows[:4] = [2, 0, 8, 5]  # as far as swap noise is concerned, X is the data set
    noise = make_noise(kind, level, low=-1.0, high=2.0, **options)
    got = _core.corrupt(X, noise, rows, 9, 4)
    expected = reference_random.corrupt(
        X.astype(np.float64), kind, level, -1.0, 2.0, seed=9, rows=rows, step=4, **options
    )
    assert got.dtype == dtype
    rounded = kind in ("gaussian", "dropout")
    np.testing.assert_allclose(got, expected, rtol=0, atol=8 * np.finfo(dtype).eps if rounded else 0)
    if kind != "swap":
        np.testing.assert_array_equal(got[3:5], _core.corrupt(X[3:5], noise, rows[3:5], 9, 4))


def test_a_single_row_has_nothing_to_swap_with():
    X = np.arange(40.0).reshape(1, 40)
    np.testing.assert_array_equal(_core.corrupt(X, _core.Noise("swap", 1.0), np.zeros(1, int), 1, 0), X)
    np.testing.assert_array_equal(reference_random.corrupt(X, "swap", 1.0, seed=1, rows=np.zeros(1, int), step=0), X)


ROWS, COLUMNS = 2000, 50


def hits(step, level, kind="masking", seed=1, **options):
    """Which elements a noise fell on."""
    X = np.full((ROWS, COLUMNS), 0.5)
    return _core.corrupt(X, make_noise(kind, level, low=-1.0, **options), np.arange(ROWS), seed, step) != X


def test_input_dropout_keeps_the_mean():
    X = np.full((ROWS, COLUMNS), 0.5)
    found = _core.corrupt(X, _core.Noise("dropout", 0.2), np.arange(ROWS), 1, 0)
    assert near((found == 0).mean(), 0.2, ROWS * COLUMNS)
    np.testing.assert_allclose(found[found != 0], 0.5 / 0.8)


def near(found, expected, n):
    """Whether a share of n independent trials is within 5 standard deviations of what it should be."""
    return np.all(np.abs(found - expected) <= 5 * np.sqrt(np.maximum(expected * (1 - expected), 1e-12) / n))


@pytest.mark.parametrize("kind", ["masking", "salt_and_pepper"])
def test_noise_has_the_asked_frequency(kind):
    for level in (0.0, 0.1, 0.25, 1.0):
        assert near(hits(0, level, kind).mean(), level, ROWS * COLUMNS)
    levels = np.linspace(0, 1, COLUMNS)
    assert near(hits(0, levels, kind).mean(axis=0), levels, ROWS)


def test_presentations_rows_and_columns_are_independent():
    for options in ({}, {"exact": True}):
        masked, other_step, other_seed = (
            hits(0, 0.2, **options),
            hits(1, 0.2, **options),
            hits(0, 0.2, seed=2, **options),
        )
        for other in (other_step, other_seed, np.roll(masked, 1, axis=0)):
            assert near((masked & other).mean(), 0.04, ROWS * COLUMNS)
    masked = hits(0, 0.2).astype(float)
    together = masked.T @ masked / ROWS
    assert near(together[~np.eye(COLUMNS, dtype=bool)], 0.04, ROWS)


def test_salt_is_as_frequent_as_pepper():
    X = np.full((ROWS, COLUMNS), 0.5)
    for level in (0.4, np.linspace(0, 1, COLUMNS)):
        noise = make_noise("salt_and_pepper", level, low=0.0, high=1.0)
        found = _core.corrupt(X, noise, np.arange(ROWS), 1, 0)
        for value in (0, 1):
            assert near((found == value).mean(axis=0), np.broadcast_to(level, COLUMNS) / 2, ROWS)


def test_gaussian_noise_has_the_asked_spread():
    X, levels = np.full((ROWS, COLUMNS), 0.5), np.linspace(0.5, 3, COLUMNS)
    for level in (np.full(COLUMNS, 2.0), levels):
        noise = (_core.corrupt(X, make_noise("gaussian", level), np.arange(ROWS), 1, 0) - X) / level
        assert abs(noise.mean()) < 5 / np.sqrt(X.size)
        assert abs(noise.std() - 1) < 5 / np.sqrt(2 * X.size)
        assert (np.abs(noise.std(axis=0) - 1) < 5 / np.sqrt(2 * ROWS)).all()
    one, same = (_core.corrupt(X, noise, np.arange(ROWS), 1, 0) for noise in (
        make_noise("gaussian", 2.0), make_noise("gaussian", np.full(COLUMNS, 2.0))
    ))  # fmt: skip
    np.testing.assert_allclose(one, same, rtol=0, atol=1e-14)


@pytest.mark.parametrize("columns", [1, 2, 7, 32, 50, 100])
def test_exact_masking_hits_the_same_number_in_each_row_and_each_set_alike(columns):
    X, rows = np.ones((ROWS, columns)), np.arange(ROWS)
    for rate in (0.0, 0.1, 0.25, 0.5, 0.99, 1.0):
        masked = _core.corrupt(X, _core.Noise("masking", rate, exact=True), rows, 1, 0) == 0
        count = int(np.floor(rate * columns + 0.5))
        assert (masked.sum(axis=1) == count).all()
        assert near(masked.mean(axis=0), count / columns, ROWS)
    if columns == 7:  # the 35 sets of 3 of 7 columns, by the chi-squared statistic (34 degrees of freedom, p = 1e-6)
        masked = (
            _core.corrupt(np.ones((50_000, 7)), _core.Noise("masking", 0.43, exact=True), np.arange(50_000), 1, 0) == 0
        )
        _, counts = np.unique(masked @ (2 ** np.arange(7)), return_counts=True)
        assert len(counts) == 35
        assert ((counts - 50_000 / 35) ** 2 / (50_000 / 35)).sum() < 84.0


def test_swapped_values_come_from_any_other_row_of_the_same_column():
    n = 20
    X = np.arange(n * COLUMNS, dtype=float).reshape(n, COLUMNS)
    rows, seen = np.arange(n), np.zeros((n, n))
    for step in range(200):
        swapped = _core.corrupt(X, _core.Noise("swap", 1.0), rows, 1, step)
        source, column = np.divmod(swapped.astype(int), COLUMNS)
        assert (column == np.arange(COLUMNS)).all()
        for row in range(n):
            seen[row] += np.bincount(source[row], minlength=n)
    assert (np.diag(seen) == 0).all()  # another row's, always
    others = seen[~np.eye(n, dtype=bool)] / seen.sum(axis=1).mean()
    assert near(others, 1 / (n - 1), 200 * COLUMNS)
    part = _core.corrupt(X, _core.Noise("swap", 0.15), rows, 1, 0) != X
    assert near(part.mean(), 0.15, X.size)
    levels = np.linspace(0, 1, COLUMNS)
    counts = sum(_core.corrupt(X, make_noise("swap", levels), rows, 1, step) != X for step in range(100))
    assert near(counts.mean(axis=0) / 100, levels, 100 * n)


WRONG = [
    ("masking", {"level": 1.5}),
    ("masking", {"level": float("nan")}),
    ("gaussian", {"level": -1.0}),
    ("gaussian", {"level": float("inf")}),
    ("swap", {"levels": [0.5, 0.5, 1.5]}),
    ("swap", {"levels": [0.5, 0.5]}),
    ("masking", {"levels": [0.5] * 3, "exact": True}),
    ("swap", {"level": 0.5, "exact": True}),
    ("gaussian", {"level": 0.5, "clean_weight": 0.5}),
    ("none", {"clean_weight": 0.5}),
    ("dropout", {"level": 1.0}),
    ("dropout", {"levels": [0.5] * 3}),
    ("masking", {"corrupted_weight": -1.0}),
    ("masking", {"corrupted_weight": float("inf")}),
]


@pytest.mark.parametrize(("kind", "options"), WRONG, ids=str)
def test_a_noise_that_cannot_be_is_refused(kind, options):
    with pytest.raises(ValueError, match=r"noise|weights|exact"):
        _core.corrupt(np.ones((2, 3)), _core.Noise(kind, **options), np.arange(2), 1, 0)
    network = _core.Network_float64([_core.Layer(3, 3, "identity")])
    recipe = _core.Recipe("squared_error", _core.Optimizer("sgd"), 1, noise=_core.Noise(kind, **options))
    with pytest.raises(ValueError, match=r"noise|weights|exact"):
        _core.Plan_float64(network, recipe)


def test_emphasis_needs_outputs_that_are_the_inputs():
    noise = _core.Noise("masking", 0.5, clean_weight=0.5)
    for layer, loss in (
        (_core.Layer(3, 2, "identity"), "squared_error"),
        (_core.Layer(3, 3, "softmax"), "softmax_cross_entropy"),
    ):
        with pytest.raises(ValueError, match="emphasi"):
            _core.Plan_float64(
                _core.Network_float64([layer]), _core.Recipe(loss, _core.Optimizer("sgd"), 1, noise=noise)
            )


GROUPS = (("number", 3), ("category", 2), ("flag", 2), ("category", 29), ("category", 40), ("number", 1))


@pytest.mark.parametrize("level", [0.3, 1.0, "by column"])
def test_swap_noise_replaces_a_category_whole(level):
    rng, columns = np.random.default_rng(3), sum(count for _, count in GROUPS)
    X, rows = np.arange(ROWS)[:, None] + np.zeros(columns), np.arange(ROWS)
    levels = rng.uniform(size=columns) if level == "by column" else level
    noise = make_noise("swap", levels, groups=GROUPS)
    got = _core.corrupt(X, noise, rows, 9, 4)
    expected = reference_random.corrupt(X, "swap", levels, seed=9, rows=rows, step=4, groups=GROUPS)
    np.testing.assert_array_equal(got, expected)
    rates = np.broadcast_to(levels, columns)
    for kind, own in reference_groups.columns(GROUPS):
        part = got[:, own]
        if kind == "category":
            assert (part == part[:, :1]).all()
            assert near((part[:, 0] != rows).mean(), rates[own.start], ROWS)
        elif part.shape[1] > 1:  # each by itself
            assert (part.std(axis=1) > 0).any()
    for bad in ({"kind": "masking"}, {"groups": GROUPS[:-1]}):
        with pytest.raises(ValueError, match="groups, which must cover all columns"):
            _core.corrupt(X, _core.Noise(**{"kind": "swap", "level": 0.5, "groups": GROUPS} | bad), rows, 9, 4)
