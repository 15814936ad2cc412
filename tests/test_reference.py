"""The reference against finite differences, published facts and known answers.

tests/test_gradients.py has the table of gradients of single autoencoders.
"""

import copy
import itertools
import math

import numpy as np
import pytest
from gradient_cases import GROUPS, KINKED, LOSSES, make_layer, make_targets
from test_gradients import check_gradient

from layerwise import reference, reference_penalties, reference_random
from layerwise.reference import Layer


def away_from_kinks(make, dropout=(), margin=0.02):
    """The first of make(rng) none of whose kinked layers has a sum near 0, where there is no derivative."""
    for seed in itertools.count():
        X, layers = make(np.random.default_rng(seed))
        trace = zip(reference.forward(X, layers, dropout), layers, strict=True)
        if all(np.abs(z).min() > margin for (_, z, _), layer in trace if layer.activation in KINKED):
            return X, layers
    raise AssertionError


@pytest.mark.parametrize("missing", [False, True], ids=["known", "missing"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_an_unrolled_stack_with_row_weights_and_missing_targets(loss, missing):
    def make(rng):
        layers = [
            make_layer(rng, 4, 3, "prelu", 0.25, "unit"),
            make_layer(rng, 3, 2, "tanh"),
            make_layer(rng, 2, 3, "swish", 1.0, "shared", tied_to=1),
            make_layer(rng, 3, 4, LOSSES[loss] or "softplus", tied_to=0),
        ]
        layers[-1].groups = GROUPS if loss == "mixed" else ()
        return rng.normal(size=(5, 4)), layers

    X, layers = away_from_kinks(make)
    T = make_targets(np.random.default_rng(3), loss, 5, 4)
    if missing:
        T[1, 2] = T[3, 0] = T[3, 3] = np.nan
    row_weights = np.array([1.0, 0.5, 0.0, 3.0, 2.0])
    check_gradient(X, T, layers, loss, loss, alpha=0.05, row_weights=row_weights, missing_targets=missing)


def test_loss_is_the_mean_over_rows_of_the_sum_over_outputs():
    p, t = np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(reference.loss(p, t, "squared_error")[0], [5.0, 2.0])
    layers = [Layer(np.eye(2), np.zeros(2))]
    value, objective, _ = reference.loss_and_gradients(p, t, layers, "squared_error", alpha=0.5)
    assert value == 3.5
    assert objective == 3.5 + 0.5 * 0.5 * 2
    s = 1 / (1 + np.exp(-p))
    by_hand = -np.sum(t * np.log(s) + (1 - t) * np.log(1 - s), axis=1)
    np.testing.assert_allclose(reference.loss(p, t, "sigmoid_cross_entropy")[0], by_hand)
    mixed = reference.loss(p, t, "mixed", groups=(("number", 1), ("flag", 1)))[0]
    np.testing.assert_allclose(mixed, [1, 1] - np.log(1 - s[:, 1]))
    q = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(reference.loss(p, t, "softmax_cross_entropy")[0], -np.sum(t * np.log(q), axis=1))
    np.testing.assert_allclose(reference.loss(p, t, "softmax_cross_entropy")[1][1], (q - t)[1])


def test_a_cross_entropy_refuses_another_output():
    one = np.ones((1, 1))
    with pytest.raises(ValueError, match="does not fit"):
        reference.loss_and_gradients(one, one, [Layer(one, np.zeros(1))], "sigmoid_cross_entropy")
    with pytest.raises(ValueError, match="unknown loss"):
        reference.loss(one, one, "hinge")


def test_weighted_rows_count_as_repeated_rows():
    rng = np.random.default_rng(0)
    layers = [make_layer(rng, 3, 4, "tanh"), make_layer(rng, 4, 2)]
    X, T, times = rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), np.array([2, 0, 1, 3])
    weighted = reference.loss_and_gradients(X, T, layers, "squared_error", row_weights=times.astype(float))
    repeated = reference.loss_and_gradients(np.repeat(X, times, 0), np.repeat(T, times, 0), layers, "squared_error")
    assert math.isclose(weighted[0], repeated[0], rel_tol=1e-13)
    np.testing.assert_allclose(reference.flatten(weighted[2]), reference.flatten(repeated[2]), rtol=1e-12, atol=1e-14)


def test_dtype_follows_the_input():
    for name in reference._VALUE:
        z = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
        assert reference.activation(z, name).dtype == np.float32, name
        assert [a.dtype for a in reference.activation_backward(z, z, name)] == [np.float32, np.float32], name
    rng = np.random.default_rng(0)
    layers = [make_layer(rng, 3, 4, "prelu", 0.25, "unit"), make_layer(rng, 4, 3, "softmax")]
    for i, name, array in reference.learned_arrays(layers):
        setattr(layers[i], name, array.astype(np.float32))
    X = rng.normal(size=(5, 3)).astype(np.float32)
    gradient = reference.loss_and_gradients(X, X, layers, "softmax_cross_entropy", alpha=0.1)[2]
    assert {array.dtype for _, _, array in reference.learned_arrays(gradient)} == {np.dtype(np.float32)}


# Facts about activations (docs/numerics.md).


def slope(name, z, parameter=None):
    return reference.activation_backward(z, np.ones_like(z), name, parameter=parameter)[0]


@pytest.mark.parametrize(
    ("name", "parameter", "place", "value"),
    [("gelu", None, -0.7518, -0.16997), ("silu", None, -1.27846, -0.27846), ("swish", 2.0, -1.27846 / 2, -0.27846 / 2)],
)
def test_gelu_silu_and_swish_have_one_minimum_and_no_maximum(name, parameter, place, value):
    z = np.linspace(-12, 12, 240_001)
    sign = np.sign(slope(name, z, parameter))
    changes = np.flatnonzero(np.diff(sign[sign != 0]))
    assert len(changes) == 1
    lowest = z[np.argmin(reference.activation(z, name, parameter=parameter))]
    assert abs(lowest - place) < 1e-4
    assert abs(reference.activation(np.array([lowest]), name, parameter=parameter)[0] - value) < 5e-6


@pytest.mark.parametrize(("name", "place", "steepest"), [("gelu", math.sqrt(2), 1.1289), ("silu", 2.3994, 1.0998)])
def test_steepest_slope(name, place, steepest):
    z = np.linspace(-12, 12, 240_001)
    assert abs(slope(name, z).max() - steepest) < 5e-5
    assert abs(z[np.argmax(slope(name, z))] - place) < 1e-3


@pytest.mark.parametrize("alpha", [-2.0, -0.5, 0.0, 0.1, 1.0, 1.5])
def test_prelu_is_two_lines_for_every_alpha(alpha):
    z = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    expected = np.array([alpha * -3.0, alpha * -0.5, 0.0, 0.5, 3.0])
    np.testing.assert_array_equal(reference.activation(z, "prelu", parameter=alpha), expected)
    np.testing.assert_array_equal(slope("prelu", z, alpha), [alpha, alpha, alpha, 1, 1])
    by_alpha = reference.activation_backward(z, np.ones_like(z), "prelu", parameter=alpha)[1]
    np.testing.assert_array_equal(by_alpha, [-3.0, -0.5, 0, 0, 0])


def test_activations_that_are_one_another():
    z = np.linspace(-20, 20, 401)
    np.testing.assert_array_equal(reference.activation(z, "swish", parameter=1.0), reference.activation(z, "silu"))
    np.testing.assert_array_equal(slope("swish", z, 1.0), slope("silu", z))
    np.testing.assert_allclose(reference.activation(z, "sigmoid"), (1 + np.tanh(z / 2)) / 2, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(slope("softplus", z), reference.activation(z, "sigmoid"))
    tanh_form = 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    np.testing.assert_allclose(reference.activation(z, "gelu_tanh"), tanh_form, rtol=1e-9, atol=1e-14)
    assert np.abs(reference.activation(z, "gelu_tanh") - reference.activation(z, "gelu")).max() < 5e-4
    below = z[z < 0]
    elu = reference.activation(below, "elu", parameter=0.7)
    np.testing.assert_allclose(slope("elu", below, 0.7), elu + 0.7, atol=1e-15)


def test_slopes_at_zero():
    zero = np.zeros(1)
    assert slope("relu", zero) == 0
    assert slope("leaky_relu", zero, 0.01) == 0.01
    assert slope("elu", zero, 1.0) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "swish"])
def test_gates_reach_their_limits_at_infinity(name, dtype):
    z = np.array([-np.inf, np.inf], dtype)
    slopes, by_parameter = reference.activation_backward(z, np.ones_like(z), name)
    np.testing.assert_array_equal([reference.activation(z, name), slopes, by_parameter], [[0, np.inf], [0, 1], [0, 0]])
    assert (reference.activation_backward(z, np.ones_like(z), "swish", parameter=0.0)[0] == 0.5).all()


def test_nan_stays_nan_in_that_place_alone():
    for name in set(reference._VALUE) - {"softmax"}:
        z = np.array([1.0, np.nan, -1.0])
        assert np.isnan(reference.activation(z, name)).tolist() == [False, True, False], name
        if name != "identity":
            assert np.isnan(slope(name, z)).tolist() == [False, True, False], name


def test_softmax():
    z = np.random.default_rng(0).normal(size=(3, 5))
    a = reference.softmax(z)
    np.testing.assert_allclose(a.sum(axis=1), 1)
    np.testing.assert_allclose(reference.softmax(z + 1e4), a, rtol=1e-10)  # shift-invariant, without overflow
    g = np.random.default_rng(1).normal(size=z.shape)
    by_jacobian = [(np.diag(row) - np.outer(row, row)) @ g_row for row, g_row in zip(a, g, strict=True)]
    np.testing.assert_allclose(reference.activation_backward(z, g, "softmax")[0], by_jacobian, atol=1e-15)


def test_losses_do_not_overflow():
    p, t = np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]])
    assert reference.loss(p, t, "sigmoid_cross_entropy")[0] == 2e4
    assert reference.loss(p, t, "softmax_cross_entropy")[0] == 2e4


# Penalties.


@pytest.mark.parametrize("name", sorted(set(reference._VALUE) - {"softmax"}))
def test_contraction_is_the_squared_norm_of_the_jacobian(name):
    rng = np.random.default_rng(0)
    layer, X, h = make_layer(rng, 3, 4, name, 0.7), rng.normal(size=(5, 3)), 1e-4
    share = np.array([0.1, 0.2, 0.3, 0.4, 0.0])

    def code(x):
        return reference.dense_forward(x, layer.W, layer.b, name, parameter=0.7)[1]

    jacobian = np.stack([(code(X + h * e) - code(X - h * e)) / (2 * h) for e in np.eye(3)])
    z = X @ layer.W + layer.b
    value = reference_penalties.contraction(layer.W, z, share, name, 0.7)[0]
    assert math.isclose(value, share @ (jacobian**2).sum(axis=(0, 2)), rel_tol=1e-6)


def test_contraction_of_a_sigmoid_is_the_papers_closed_form():
    rng = np.random.default_rng(1)
    W, z = rng.normal(size=(3, 4)), rng.normal(size=(1, 4))
    a = 1 / (1 + np.exp(-z))
    by_hand = np.sum((a * (1 - a)) ** 2 * (W**2).sum(axis=0))
    assert math.isclose(reference_penalties.contraction(W, z, np.ones(1), "sigmoid")[0], by_hand, rel_tol=1e-14)


def test_sparsity_is_least_at_its_target():
    share = np.full(4, 0.25)
    at = lambda mean: reference_penalties.kl_sparsity(np.full((4, 2), mean), share, 0.2)  # noqa: E731
    assert at(0.2)[0] == 0
    np.testing.assert_allclose(at(0.2)[1], 0, atol=1e-15)
    by_hand = 2 * (0.2 * math.log(0.2 / 0.5) + 0.8 * math.log(0.8 / 0.5))
    assert math.isclose(at(0.5)[0], by_hand, rel_tol=1e-14)
    assert np.isfinite([at(0.0)[0], at(1.0)[0]]).all()
    assert (at(0.0)[1] < 0).all()
    assert (at(1.0)[1] > 0).all()


def test_bounds():
    g = [np.array([3.0, -4.0]), np.array([[12.0]])]
    reference_penalties.clip_by_norm(g, 20.0)
    assert g[0].tolist() == [3, -4]
    reference_penalties.clip_by_norm(g, 6.5)  # the norm is 13
    np.testing.assert_allclose(np.concatenate([g[0], g[1][0]]), [1.5, -2, 6])
    reference_penalties.clip_by_value(g, 1.75)
    np.testing.assert_allclose(np.concatenate([g[0], g[1][0]]), [1.5, -1.75, 1.75])
    W = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])
    reference_penalties.bound_norms(W, 1.0)
    np.testing.assert_allclose(W, [[0.6, 0.3, 0], [0.8, 0.4, 0]])


# Optimisers: each step against the published formula, worked out by hand for two steps of one number.

G1, G2, RATE, EPSILON = 0.3, -0.2, 0.1, 1e-8


def two_steps(step, n_moments, counted=False, **settings):
    w, moments = np.array([1.0]), [np.zeros(1) for _ in range(n_moments)]
    for t, g in enumerate((G1, G2), start=1):
        step(w, *moments, np.array([g]), learning_rate=RATE, **(settings | ({"step": t} if counted else {})))
    return w[0]


def scaled_by_roots(first, second):
    return 1 - RATE * G1 / (first + EPSILON) - RATE * G2 / (second + EPSILON)


def adam_by_hand(corrected=True, inside=False, decay=0.0):
    w, m, v = 1.0, 0.0, 0.0
    for t, g in enumerate((G1, G2), start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat, v_hat = (m / (1 - 0.9**t), v / (1 - 0.999**t)) if corrected else (m, v)
        w = w - RATE * decay * w - RATE * m_hat / (math.sqrt(v_hat + EPSILON) if inside else math.sqrt(v_hat) + EPSILON)
    return w


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (two_steps(reference.sgd_step, 0), 1 - RATE * (G1 + G2)),
        (two_steps(reference.momentum_step, 1), 1 - RATE * G1 - RATE * (0.9 * G1 + G2)),
        (two_steps(reference.nesterov_step, 1), 1 - RATE * 1.9 * G1 - RATE * (0.9 * (0.9 * G1 + G2) + G2)),
        (two_steps(reference.adagrad_step, 1), scaled_by_roots(abs(G1), math.hypot(G1, G2))),
        (
            two_steps(reference.rmsprop_step, 1),
            scaled_by_roots(math.sqrt(0.1 * G1**2), math.sqrt(0.09 * G1**2 + 0.1 * G2**2)),
        ),
        (two_steps(reference.adam_step, 2, counted=True), adam_by_hand()),
        (two_steps(reference.adam_step, 2, counted=True, bias_correction=False), adam_by_hand(corrected=False)),
        (two_steps(reference.adam_step, 2, counted=True, epsilon_inside_sqrt=True), adam_by_hand(inside=True)),
        (two_steps(reference.adamw_step, 2, counted=True, weight_decay=0.02), adam_by_hand(decay=0.02)),
    ],
    ids=["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adam-uncorrected", "adam-inside", "adamw"],
)
def test_optimiser_by_hand(got, expected):
    assert math.isclose(got, expected, rel_tol=1e-14)


def test_first_uncorrected_adam_step_is_3_16_times_the_rate():
    w, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    reference.adam_step(w, m, v, np.array([5.0]), learning_rate=1e-3, step=1, bias_correction=False)
    assert math.isclose(-w[0], 1e-3 * (1 - 0.9) / math.sqrt(1 - 0.999), rel_tol=1e-6)
    assert abs(-w[0] / 1e-3 - 3.16) < 5e-3
    w[:] = m[:] = v[:] = 0
    reference.adam_step(w, m, v, np.array([5.0]), learning_rate=1e-3, step=1)
    assert math.isclose(-w[0], 1e-3, rel_tol=1e-8)


def test_nesterov_is_the_gradient_at_the_point_looked_ahead_to():
    """Sutskever 2013: u <- mu u - rate grad(theta + mu u), theta <- theta + u; our w is theta + mu u."""
    curvature, mu, theta, u = 3.0, 0.8, 1.0, 0.0
    w, m = np.array([theta]), np.zeros(1)
    for _ in range(10):
        u = mu * u - 0.05 * curvature * (theta + mu * u)
        theta += u
        reference.nesterov_step(w, m, curvature * w, learning_rate=0.05, momentum=mu)
        assert math.isclose(w[0], theta + mu * u, rel_tol=1e-12)


def test_alpha_is_part_of_the_gradient():
    w, same = np.array([2.0, -1.0]), np.array([2.0, -1.0])
    m, v, m2, v2 = np.zeros((4, 2))
    g = np.array([0.5, 0.25])
    reference.adam_step(w, m, v, g, learning_rate=0.1, step=1, alpha=0.3)
    reference.adam_step(same, m2, v2, g + 0.3 * same, learning_rate=0.1, step=1)
    np.testing.assert_array_equal(w, same)


def test_train_is_a_step_of_every_array_on_every_batch_except_frozen_ones():
    rng = np.random.default_rng(0)
    layers = [make_layer(rng, 3, 2, "prelu", 0.25, "unit"), make_layer(rng, 2, 3, tied_to=0)]
    X = rng.normal(size=(6, 3))
    by_hand = copy.deepcopy(layers)
    batches, rates = [np.array([0, 1, 2]), np.array([5, 3])], [0.1, 0.05]
    settings = [{"learning_rate": rate} for rate in rates]
    losses = reference.train(X, X, layers, "squared_error", batches, "sgd", settings, alpha=0.1, frozen=[False, True])
    for rows, rate, loss in zip(batches, rates, losses, strict=True):
        value, _, gradient = reference.loss_and_gradients(X[rows], X[rows], by_hand, "squared_error", alpha=0.1)
        assert value == loss
        by_hand[0].W -= rate * gradient[0].W
        by_hand[0].b -= rate * gradient[0].b
        by_hand[0].parameter -= rate * gradient[0].parameter
    np.testing.assert_array_equal(reference.flatten(layers), reference.flatten(by_hand))


# Random numbers.

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_known_answers(counter, key, words):
    assert reference_random.philox4x32(counter, key).tolist() == words


def test_group_words_are_blocks_by_column():
    seed, group, step, stream = (7 << 32) | 5, (1 << 40) + 3, 11, 2
    words = reference_random.group_words(seed, group, step, stream)
    assert words.shape == (32,)
    for b in range(8):
        block = 8 * group + b
        expected = reference_random.philox4x32([block & ONES, block >> 32, step, stream], [5, 7])
        assert words[b::8].tolist() == expected.tolist()
