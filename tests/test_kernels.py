"""The engine's kernels against their NumPy twins, exact integers, and mpmath.

tests/test_instruction_sets.py runs this file once more under each instruction set the processor supports.
"""

import inspect
import itertools

import mpmath
import numpy as np
import pytest

from layerwise import _core, kernels, reference, reference_activations

DTYPES = [np.float32, np.float64]
# One parameter each for those that have one, exact in float32.
PARAMETER = {"leaky_relu": 0.25, "prelu": -0.5, "elu": 0.75, "swish": 1.5}
# Around the widths of vectors (4 to 16), of a panel (32) and of the register tile.
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129]
RAGGED = [(1, 1), (2, 31), (3, 32), (5, 33), (17, 64), (33, 7), (70, 65)]

both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
every_activation = pytest.mark.parametrize("name", _core.ACTIVATIONS)


def normal(rng, *shape, dtype=np.float64, scale=1.0):
    return rng.normal(0, scale, shape).astype(dtype)


def parameters(rng, name, columns, dtype):
    return (PARAMETER.get(name, 0.0) + rng.uniform(0, 0.2, columns)).astype(dtype)


def exactly(function, *arrays, **options):
    """The reference in float64, whatever the dtype of the arrays."""
    options = {k: v.astype(np.float64) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    return function(*[a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arrays], **options)


def assert_near(got, expected, dtype, ulps, scale=1.0):
    """Within `ulps` roundings of `scale`, the size of the terms that were added up."""
    assert got.dtype == dtype
    assert got.shape == expected.shape
    error = np.abs(got.astype(np.float64) - expected)
    bound = ulps * np.finfo(dtype).eps * np.maximum(scale, np.abs(expected))
    assert np.all(error <= bound), f"{(error / bound).max() * ulps:.1f} ULP"


# Names and signatures.


def test_the_reference_has_a_twin_of_every_name():
    assert set(reference_activations._VALUE) == set(_core.ACTIVATIONS)
    assert set(reference._STEPS) == set(_core.OPTIMIZERS)
    assert reference_activations._DEFAULT_PARAMETER == kernels._DEFAULT_PARAMETER
    for name in kernels.__all__:
        ours, twin = (inspect.signature(getattr(module, name)).parameters for module in (kernels, reference))
        for one, other in zip(ours.values(), twin.values(), strict=True):
            assert (one.name, one.default, one.kind) == (other.name, other.default, other.kind), name


# Products.


def integer_products(sizes):
    """Small integers, whose products every dtype and every order of summation gives exactly."""
    for (m, n, k), (ta, tb), dtype in itertools.product(sizes, [(0, 0), (0, 1), (1, 0), (1, 1)], DTYPES):
        rng = np.random.default_rng([m, n, k])
        a, b = (rng.integers(-8, 9, shape).astype(dtype) for shape in ((m, k), (k, n)))
        expected = a @ b
        a, b = np.ascontiguousarray(a.T) if ta else a, np.ascontiguousarray(b.T) if tb else b
        for threads in (1, 2, 3, 8):
            got = kernels.matmul(a, b, transpose_a=bool(ta), transpose_b=bool(tb), n_jobs=threads)
            np.testing.assert_array_equal(got, expected, err_msg=f"{(m, n, k)} {ta} {tb} {threads}")


def test_integer_products_are_exact_at_tail_sizes():
    rng = np.random.default_rng(0)
    # Each size stands in each place, beside itself and others; the slow test below has all 5,832.
    n = len(SIZES)
    places = itertools.product((0, 1, 5, 11), range(n))
    integer_products((SIZES[i], SIZES[(i + shift) % n], SIZES[rng.integers(n)]) for shift, i in places)


@pytest.mark.slow
def test_integer_products_are_exact_at_all_tail_sizes():
    integer_products(itertools.product(SIZES, SIZES, SIZES))


@both_dtypes
def test_product_is_near_the_exact_one_and_its_bits_depend_on_no_layout(dtype):
    rng = np.random.default_rng(1)
    for m, k, n in [(1, 1500, 40), (13, 300, 65), (129, 33, 31)]:
        a, b = normal(rng, m, k, dtype=dtype), normal(rng, k, n, dtype=dtype)
        got = kernels.matmul(a, b, n_jobs=1)
        assert_near(got, exactly(np.matmul, a, b), dtype, k, scale=exactly(np.matmul, abs(a), abs(b)) / np.sqrt(k))
        others = [
            kernels.matmul(np.ascontiguousarray(a.T), b, transpose_a=True, n_jobs=2),
            kernels.matmul(a, np.ascontiguousarray(b.T), transpose_b=True, n_jobs=3),
            kernels.matmul(np.asfortranarray(a), b[::-1][::-1], n_jobs=8),  # strided arguments are copied
            np.concatenate([kernels.matmul(a[i : i + 1], b) for i in range(m)]),
            kernels.dense_forward(a, b, np.zeros(n, dtype))[0],
        ]
        for other in others:
            np.testing.assert_array_equal(got, other)


@both_dtypes
@every_activation
def test_dense_layer(name, dtype):
    rng = np.random.default_rng(2)
    for (rows, n_out), n_in in zip(RAGGED, [1, 3, 33, 64, 70, 16, 100], strict=True):
        X, W, b = (normal(rng, *s, dtype=dtype, scale=0.5) for s in ((rows, n_in), (n_in, n_out), (n_out,)))
        G, p = normal(rng, rows, n_out, dtype=dtype), parameters(rng, name, n_out, dtype)
        z, a = kernels.dense_forward(X, W, b, name, parameter=p)
        z_exact = exactly(reference.dense_forward, X, W, b, name, parameter=p)[0]
        assert_near(z, z_exact, dtype, n_in + 1, scale=np.abs(z_exact).max())
        np.testing.assert_array_equal(a, kernels.activation(z, name, parameter=p))
        exact = exactly(reference.dense_backward, X, W, z, G, name, parameter=p)
        for got, expected in zip(kernels.dense_backward(X, W, z, G, name, parameter=p), exact, strict=True):
            assert_near(got, expected, dtype, 8 + 2 * max(rows, n_out), scale=np.abs(expected).max())


# Activations.

# Worst error of the value in units in the last place, while the value is a normal number.
ULPS = {
    "identity": 0, "relu": 0, "leaky_relu": 0.51, "prelu": 0.51, "sigmoid": 2.5, "tanh": 3, "elu": 2, "softplus": 2,
    "gelu": 6, "gelu_tanh": 4, "silu": 3.5, "swish": 4,
}  # fmt: skip


def argument_of_exponential(name, z):
    """Where a rounded z is multiplied before the exponential, its rounding counts as often as it is large."""
    if name == "gelu_tanh":
        return np.abs(2 * np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
    return np.abs(PARAMETER[name] * z) if name == "swish" else np.zeros_like(z)


def test_every_activation_has_an_error_bound():
    assert set(ULPS) | {"softmax"} == set(_core.ACTIVATIONS)


def sample(dtype):
    rng = np.random.default_rng(3)
    sizes = 10.0 ** rng.uniform(-12, 1, 800)
    z = [rng.uniform(-100, 100, 1000), rng.uniform(-15, 15, 2000), rng.normal(0, 2, 2000), sizes, -sizes, [0.0, -0.0]]
    return np.concatenate(z).astype(dtype)


def assert_value_accurate(name, z, got, exact):
    error = abs((got.astype(np.float64) if exact.dtype == np.float64 else got) - exact).astype(np.float64)
    size = np.abs(np.asarray(exact, dtype=np.float64)).astype(z.dtype)
    bound = (ULPS[name] + 3 * argument_of_exponential(name, z.astype(np.float64))) * np.spacing(size).astype(np.float64)
    worst = np.argmax(error - bound)
    assert np.all(error <= bound), f"{name}({z[worst]}): {error[worst] / np.spacing(size)[worst]:.1f} ULP"


@pytest.mark.parametrize("name", ULPS)
def test_float32_value_against_the_float64_reference(name):
    z = sample(np.float32)
    exact = reference.activation(z.astype(np.float64), name, parameter=PARAMETER.get(name))
    got, kept = kernels.activation(z, name, parameter=PARAMETER.get(name)), (np.abs(exact) > 1e-37) | (z == 0)
    assert_value_accurate(name, z[kept], got[kept], exact[kept])


EXACT = {
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "tanh": mpmath.tanh,
    "elu": lambda z: z if z > 0 else PARAMETER["elu"] * mpmath.expm1(z),
    "softplus": lambda z: max(z, 0) + mpmath.log1p(mpmath.exp(-abs(z))),
    "gelu": lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda z: z / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3))),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "swish": lambda z: z / (1 + mpmath.exp(-PARAMETER["swish"] * z)),
}


@pytest.mark.parametrize("name", EXACT)
def test_float64_value_against_mpmath(name):
    z = sample(np.float64)[::11]
    with mpmath.workdps(50):
        exact = np.array([EXACT[name](mpmath.mpf(float(x))) for x in z])
        assert_value_accurate(name, z, kernels.activation(z, name, parameter=PARAMETER.get(name)), exact)


@both_dtypes
@every_activation
def test_activation_at_ragged_sizes_with_a_parameter_per_column(name, dtype):
    rng = np.random.default_rng(4)
    for shape in RAGGED:
        z, g = normal(rng, *shape, dtype=dtype, scale=3), normal(rng, *shape, dtype=dtype)
        p = parameters(rng, name, shape[1], dtype)
        exact = exactly(reference.activation, z, name, parameter=p)
        assert_near(kernels.activation(z, name, parameter=p), exact, dtype, 8)
        exact = exactly(reference.activation_backward, z, g, name, parameter=p)
        for got, expected in zip(kernels.activation_backward(z, g, name, parameter=p), exact, strict=True):
            assert_near(got, expected, dtype, 16, scale=np.maximum(1, np.abs(g)))


@every_activation
def test_defaults_vectors_and_softmax(name):
    z, g = normal(np.random.default_rng(5), 2, 40)
    np.testing.assert_allclose(kernels.activation(z, name), reference.activation(z, name), rtol=1e-13)
    expected = reference.activation_backward(z, g, name)
    for got, exact in zip(kernels.activation_backward(z, g, name), expected, strict=True):
        np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(kernels.softmax(z), kernels.activation(z, "softmax"))


@both_dtypes
@pytest.mark.parametrize("name", ULPS)
def test_nan_in_any_lane_stays_in_its_place(name, dtype):
    n = 67
    z = normal(np.random.default_rng(6), n, n, dtype=dtype)
    g, p, lanes = np.ones_like(z), PARAMETER.get(name), np.eye(n, dtype=bool)
    value, slopes = kernels.activation(z, name, parameter=p), kernels.activation_backward(z, g, name, parameter=p)
    z_nan, g_nan = np.where(lanes, np.nan, z).astype(dtype), np.where(lanes, np.nan, g).astype(dtype)
    got = kernels.activation(z_nan, name, parameter=p)
    np.testing.assert_array_equal(np.isnan(got), lanes)
    np.testing.assert_array_equal(got[~lanes], value[~lanes])
    for arguments, always in (((z_nan, g), name != "identity"), ((z, g_nan), True)):
        got = kernels.activation_backward(*arguments, name, parameter=p)[0]
        if always:
            np.testing.assert_array_equal(np.isnan(got), lanes)
        np.testing.assert_array_equal(got[~lanes], slopes[0][~lanes])


@both_dtypes
def test_nan_stays_in_its_row_of_a_product_and_of_softmax(dtype):
    rng = np.random.default_rng(7)
    X, W = normal(rng, 40, 33, dtype=dtype), normal(rng, 33, 35, dtype=dtype)
    clean = kernels.matmul(X, W)
    X[7, 32] = np.nan
    got, soft = kernels.matmul(X, W), kernels.softmax(X)
    assert np.isnan(got[7]).all()
    np.testing.assert_array_equal(np.delete(got, 7, 0), np.delete(clean, 7, 0))
    assert np.isnan(soft[7]).all()
    assert np.isfinite(np.delete(soft, 7, 0)).all()


@both_dtypes
def test_limits(dtype):
    z = np.array([-np.inf, -np.finfo(dtype).max, -200, 0, 200, np.finfo(dtype).max, np.inf], dtype)
    top = z[-3:].tolist()
    expected = {
        "sigmoid": [0, 0, None, 0.5, 1, 1, 1],
        "tanh": [-1, -1, -1, 0, 1, 1, 1],
        "relu": [0, 0, 0, 0, *top],
        "elu": [-0.75, -0.75, -0.75, 0, *top],
        "softplus": [0, 0, None, None, *top],
        "gelu": [0, 0, 0, 0, *top],
        "gelu_tanh": [0, 0, 0, 0, *top],
        "silu": [0, 0, None, 0, *top],
        "swish": [0, 0, None, 0, *top],
    }
    for name, values in expected.items():
        got = kernels.activation(z, name, parameter=PARAMETER.get(name))
        for place, value in enumerate(values):
            assert value is None or got[place] == value, f"{name}({z[place]}) = {got[place]}"
        slopes = kernels.activation_backward(z, np.ones_like(z), name, parameter=PARAMETER.get(name))[0]
        assert np.isfinite(slopes).all(), name


# Losses.


def groups_of(n_columns):
    """Groups of all kinds and of many widths, at any place in a panel, as far as there are columns."""
    kinds = ("category", "number", "flag", "category", "category", "number")
    groups, cycle = [], itertools.cycle(zip(kinds, (3, 1, 2, 1, 40, 5), strict=True))
    while left := n_columns - sum(count for _, count in groups):
        kind, count = next(cycle)
        groups.append((kind, min(count, left)))
    return groups


def targets(rng, name, shape, dtype):
    if name == "squared_error":
        return normal(rng, *shape, dtype=dtype)
    t = rng.uniform(size=shape)
    t[rng.uniform(size=shape) < 0.2] = 0  # sums other than 1 are allowed too
    return t.astype(dtype)


@both_dtypes
@pytest.mark.parametrize("name", _core.LOSSES)
def test_loss(name, dtype):
    rng = np.random.default_rng(8)
    for shape in RAGGED:
        p, t = normal(rng, *shape, dtype=dtype, scale=4), targets(rng, name, shape, dtype)
        groups = {"groups": groups_of(shape[1])} if name == "mixed" else {}
        rows, delta = kernels.loss(p, t, name, **groups)
        rows_exact, delta_exact = exactly(reference.loss, p, t, name, **groups)
        assert rows.dtype == np.float64
        np.testing.assert_allclose(rows, rows_exact, rtol=16 * np.finfo(dtype).eps, atol=16 * np.finfo(dtype).eps)
        assert_near(delta, delta_exact, dtype, 16, scale=np.maximum(1, t.sum(axis=1, keepdims=True)))


@both_dtypes
def test_losses_of_extreme_logits(dtype):
    p, t = np.array([[1e4, -1e4, 0]], dtype), np.array([[0, 1, 0]], dtype)
    for name, expected in (("sigmoid_cross_entropy", 2e4 + np.log(2)), ("softmax_cross_entropy", 2e4)):
        rows, delta = kernels.loss(p, t, name)
        np.testing.assert_allclose(rows, expected, rtol=1e-6)
        assert np.isfinite(delta).all()
    sure = kernels.loss(np.array([[30]], dtype), np.ones((1, 1), dtype), "sigmoid_cross_entropy")[0]
    np.testing.assert_allclose(sure, np.log1p(np.exp(-30.0)), rtol=1e-6)


@both_dtypes
@pytest.mark.parametrize("cols", range(1, 10))
def test_few_classes_have_the_bits_of_many(cols, dtype):
    # Up to 8 have a loop of their own. Classes that cannot be change nothing.
    rng = np.random.default_rng(9)
    for rows in (1, 2, 15, 16, 17, 40):
        p, t = normal(rng, rows, cols, dtype=dtype, scale=4), rng.uniform(size=(rows, cols)).astype(dtype)
        t[rng.uniform(size=t.shape) < 0.3] = 0
        p[rng.uniform(size=p.shape) < 0.1] = -np.inf
        p[:, 0] = 3
        t[p == -np.inf] = 0
        many = [np.pad(x, ((0, 0), (0, 10)), constant_values=fill) for x, fill in ((p, -np.inf), (t, 0))]
        losses, delta = kernels.loss(p, t, "softmax_cross_entropy")
        losses_of_many, delta_of_many = kernels.loss(*many, "softmax_cross_entropy")
        assert np.isfinite(losses).all()
        assert losses.tobytes() == losses_of_many.tobytes()
        assert delta.tobytes() == delta_of_many[:, :cols].tobytes()
        assert not delta_of_many[:, cols:].any()


# Optimisers.

INSIDE = {"epsilon_inside_sqrt": True, "epsilon": 1e-3, "alpha": 0.1}
ADAM = [{}, {"bias_correction": False}, INSIDE, {"beta_1": 0.5, "beta_2": 0.9}]
STEPS = [
    *[("sgd", 0, o) for o in ({}, {"alpha": 0.1})],
    *[(name, 1, o) for name in ("momentum", "nesterov") for o in ({}, {"momentum": 0.3, "alpha": 0.1})],
    *[("adagrad", 1, o) for o in ({}, INSIDE)],
    *[("rmsprop", 1, o) for o in ({}, {"decay": 0.5, **INSIDE})],
    *[("adam", 2, o) for o in ADAM],
    *[("adamw", 2, o) for o in (*ADAM, {"weight_decay": 0.3})],
]


def test_every_optimiser_has_steps():
    assert {name for name, _, _ in STEPS} == set(_core.OPTIMIZERS)


@both_dtypes
@pytest.mark.parametrize(("name", "n_moments", "options"), STEPS, ids=lambda v: str(v) if isinstance(v, str) else "")
def test_optimiser_steps(name, n_moments, options, dtype):
    rng = np.random.default_rng(9)
    for shape in [(1,), (7,), (16,), (3, 11), (70,)]:
        ours = [normal(rng, *shape, dtype=dtype), *(np.zeros(shape, dtype) for _ in range(n_moments))]
        exact = [a.astype(np.float64) for a in ours]
        for t in range(1, 6):
            g = normal(rng, *shape, dtype=dtype)
            counted = {"step": t} if name.startswith("adam") else {}
            getattr(kernels, f"{name}_step")(*ours, g, learning_rate=0.01, **counted, **options)
            getattr(reference, f"{name}_step")(*exact, g.astype(np.float64), learning_rate=0.01, **counted, **options)
        for got, expected in zip(ours, exact, strict=True):
            # In float32, 1 - 0.999 carries a relative error of 3e-5 into v, and half of it into the step.
            rtol, atol = (1e-13, 1e-14) if dtype == np.float64 else (6e-5, 3e-6)
            np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
