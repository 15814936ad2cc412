"""layerwise.kernels on large arrays: threads, pieces and ways of reading them change no bit."""

import numpy as np
import pytest
import threadpoolctl

from layerwise import _core, kernels

ROWS, COLUMNS = 301, 1_003  # pieces of several threads, with a rest everywhere


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)


def on_one_thread(call):
    with threadpoolctl.threadpool_limits(limits=1):
        return call()


def assert_same_bits(one, other):
    for first, second in zip(one, other, strict=True):
        assert first.tobytes() == second.tobytes()


CALLS = {
    "dense_forward": lambda x, y: kernels.dense_forward(x, numbers(3, COLUMNS, 70), numbers(4, 70), "tanh"),
    "dense_backward": lambda x, y: kernels.dense_backward(
        x, numbers(3, COLUMNS, 70), y[:, :70].copy(), y[:, 70:140].copy(), "prelu"
    ),
    "squared_error": lambda x, y: kernels.loss(x, y, "squared_error"),
    "softmax_cross_entropy": lambda x, y: kernels.loss(x, y, "softmax_cross_entropy"),
    "mixed": lambda x, y: kernels.loss(x, y, "mixed", groups=[("number", 400), ("flag", 3), ("category", 600)]),
}


@pytest.mark.parametrize("name", CALLS)
def test_threads_change_no_bit_of_a_layer_or_a_loss(name):
    x, y = numbers(1, ROWS, COLUMNS), np.abs(numbers(2, ROWS, COLUMNS))
    assert_same_bits(CALLS[name](x, y), on_one_thread(lambda: CALLS[name](x, y)))


@pytest.mark.parametrize("by_column", [False, True], ids=["one parameter", "by column"])
@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_threads_and_the_parameters_form_change_no_bit_of_an_activation(name, by_column):
    z, g = numbers(1, ROWS, COLUMNS), numbers(2, ROWS, COLUMNS)
    parameter = np.linspace(0.5, 1.5, COLUMNS) if by_column else 0.75

    def call(rows=slice(None)):
        value = kernels.activation(z[rows], name, parameter=parameter)
        return value, *kernels.activation_backward(z[rows], g[rows], name, parameter=parameter)

    whole = call()
    assert_same_bits(whole, on_one_thread(call))
    for row in (0, ROWS - 1):
        assert_same_bits([part[row] for part in whole], [part[0] for part in call(slice(row, row + 1))])


def test_threads_change_no_bit_of_an_optimizers_step():
    def step():
        w, m, v = numbers(1, 300_001), numbers(2, 300_001), np.abs(numbers(3, 300_001))
        kernels.adam_step(w, m, v, numbers(4, 300_001), learning_rate=0.1, step=3)
        return w, m, v

    assert_same_bits(step(), on_one_thread(step))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_a_row_of_a_product_is_the_product_of_that_row(transpose_b, dtype):
    a, b = numbers(1, ROWS, COLUMNS).astype(dtype), numbers(2, COLUMNS, 517).astype(dtype)
    a[130, :5], b[7:9, 3:6] = [0.0, -0.0, np.inf, -np.inf, np.finfo(dtype).tiny / 8], -0.0
    right = np.ascontiguousarray(b.T) if transpose_b else b
    whole = kernels.matmul(a, right, transpose_b=transpose_b)
    assert_same_numbers(whole, kernels.matmul(np.ascontiguousarray(a.T), b, transpose_a=True))
    for row in (0, 130, ROWS - 1):
        alone = kernels.matmul(a[row : row + 1], right, transpose_b=transpose_b, n_jobs=3)
        assert_same_numbers(alone, whole[row : row + 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [500, 511, 512, 1024, 1030, 1537])
def test_rows_of_any_distance_multiply_a_row_alike(depth, dtype):
    """Rows of b that compete for places in the cache are read in smaller groups."""
    a, b = numbers(1, 3, depth).astype(dtype), numbers(2, 61, depth).astype(dtype)
    alone = np.concatenate([kernels.matmul(row[None], b, transpose_b=True) for row in a])
    assert_same_numbers(alone, kernels.matmul(a, np.ascontiguousarray(b.T)))


def assert_same_numbers(one, other):
    """The same bits, but for which NaN it is."""
    assert np.isnan(one).tobytes() == np.isnan(other).tobytes()
    assert (
        np.nan_to_num(one, nan=1.0, posinf=np.inf, neginf=-np.inf).tobytes()
        == np.nan_to_num(other, nan=1.0, posinf=np.inf, neginf=-np.inf).tobytes()
    )


@pytest.mark.parametrize("depth", [3, 4200])
def test_a_product_of_several_blocks_of_rows(depth):
    rows = {3: 1030, 4200: 260}[
        depth
    ]  # of a block: at most 1,024, and as many as 2 ** 20 numbers of `a` have, but at least 256
    a, b = numbers(1, rows, depth), numbers(2, depth, 33)
    whole = kernels.matmul(a, b)
    assert whole.tobytes() == np.concatenate([kernels.matmul(a[i : i + 100], b) for i in range(0, rows, 100)]).tobytes()
    assert whole.tobytes() == kernels.matmul(np.ascontiguousarray(a.T), b, transpose_a=True, n_jobs=3).tobytes()


def test_subnormal_numbers_are_kept_by_every_thread():
    tiny = np.full((ROWS, COLUMNS), 1e-40, np.float32)
    assert np.array_equal(kernels.activation(tiny, "relu"), tiny)
    gz, _ = kernels.activation_backward(np.ones_like(tiny), tiny, "relu")
    assert np.array_equal(gz, tiny)


def test_nothing_at_all_is_a_result():
    assert np.array_equal(kernels.matmul(np.ones((3, 0)), np.ones((0, 4))), np.zeros((3, 4)))
    assert kernels.matmul(np.ones((0, 5)), np.ones((5, 4))).shape == (0, 4)
    assert kernels.matmul(np.ones((3, 5)), np.ones((5, 0))).shape == (3, 0)
    rows, delta = kernels.loss(np.ones((3, 0)), np.ones((3, 0)), "squared_error")
    assert np.array_equal(rows, np.zeros(3))
    assert delta.shape == (3, 0)
    assert kernels.activation(np.ones((0, 5)), "softmax").shape == (0, 5)
