"""Every case of the table in gradient_cases.py: the reference against finite differences, the engine against it."""

import re

import numpy as np
import pytest
from gradient_cases import (
    ACTIVATIONS,
    LAYER_OPTIONS,
    LOSSES,
    NOISES,
    REGULARIZERS,
    STEP,
    all_cases,
    cases_of,
)
from networks import assert_close, make_network, make_plan

from layerwise import _core, reference

every_kind = [
    pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda row: "-".join(map(str, row))),
    pytest.mark.parametrize("loss", LOSSES),
    pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"]),
]


def on_every_kind(test):
    for mark in every_kind:
        test = mark(test)
    return test


def check_gradient(X, T, layers, loss, message, h=1e-3, **options):
    """Each block of the gradient equals the fourth-order central difference to a relative 1e-8."""

    def objective():
        return reference.loss_and_gradients(X, T, layers, loss, **options)[1]

    gradient = reference.loss_and_gradients(X, T, layers, loss, **options)[2]
    blocks = zip(reference.learned_arrays(layers), reference.learned_arrays(gradient), strict=True)
    for (i, name, array), (_, _, analytic) in blocks:
        numeric = np.empty_like(array)
        for place in np.ndindex(array.shape):
            kept = array[place]
            value = {}
            for k in (-2, -1, 1, 2):
                array[place] = kept + k * h
                value[k] = objective()
            array[place] = kept
            numeric[place] = (value[-2] - 8 * value[-1] + 8 * value[1] - value[2]) / (12 * h)
        error = np.linalg.norm(numeric - analytic) / max(np.linalg.norm(analytic), 1e-4)
        assert error < 1e-8, f"{message}, layer {i}, {name}: relative error {error:.1e}"


@on_every_kind
def test_the_reference_is_the_finite_difference(activation, loss, tied):
    for case in cases_of(activation, loss, tied):
        X, T, layers = case.data
        check_gradient(case.corrupted(X), T, layers, loss, case, **case.reference_options(layers))


@on_every_kind
def test_the_engine_is_the_reference(activation, loss, tied):
    for case in cases_of(activation, loss, tied):
        X, T, layers = case.data
        for layer in layers:
            layer.parameter = reference._parameter(layer.parameter, layer.activation, layer.b)
        plan = make_plan(make_network(layers), loss, **case.recipe_options())
        value, gradient = plan.gradient(X, T, case.row_weights(), STEP)
        _, objective, expected = reference.loss_and_gradients(
            case.corrupted(X), T, layers, loss, **case.reference_options(layers)
        )
        assert abs(value - objective) <= 1e-14 * max(1, abs(objective)), case
        assert_close(gradient, reference.flatten(expected), 1e-13, case)


def keywords(kind):
    """The names of a class's settings, from the signature that its binding writes down."""
    return set(re.findall(r"(\w+): ", kind.__init__.__doc__.splitlines()[0])) - {"self"}


# Settings of a run that a gradient does not depend on, or that the other axes of the table stand for.
ELSEWHERE = {
    "loss", "noise", "missing_targets", "seed", "penalties",
    "optimizer", "batch_size", "frozen", "rate_scale", "shuffle", "threads", "bfloat16",
}  # fmt: skip
AXES = {"n_in", "n_out", "activation", "parameter", "learn", "tied_to", "groups"}  # of a layer
BOUNDS = {"clip_value", "clip_norm", "max_norm"}  # of a step, after the gradient: tests/test_penalties.py


def test_every_option_has_a_row():
    assert {name for name, _, _ in ACTIVATIONS} == set(_core.ACTIVATIONS) == set(reference._VALUE)
    assert {(name, learn) for name, _, learn in ACTIVATIONS} >= {
        (name, learn) for name in ("prelu", "swish") for learn in ("fixed", "shared", "unit")
    }
    assert set(LOSSES) == set(_core.LOSSES)
    assert {noise.get("kind", "none") for noise in NOISES.values()} == set(_core.NOISES)
    assert {name for noise in NOISES.values() for name in noise} == keywords(_core.Noise)
    options = {name for options in REGULARIZERS.values() for name in options}
    assert options == keywords(_core.Recipe) - ELSEWHERE | keywords(_core.Penalties) - BOUNDS
    assert LAYER_OPTIONS.keys() == keywords(_core.Layer) - AXES
    cases = all_cases()
    assert len(set(cases)) >= 1500
    for name in NOISES:
        assert any(case.noise == name and case.normalized for case in cases), name
    for name in REGULARIZERS:
        seen = {case.normalized for case in cases if case.regularizer == name}
        assert seen == ({False} if "contraction" in REGULARIZERS[name] else {False, True}), name
