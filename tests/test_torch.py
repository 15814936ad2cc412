"""A sample of the table of gradient cases against PyTorch's autograd; skipped where PyTorch is not installed.

PyTorch comes with ``pip install ".[bench]"``. Corruption and dropout are those of the reference, whose random numbers
other tests hold to the engine's; everything that is differentiated is written here in PyTorch's own functions.
"""

import itertools

import numpy as np
import pytest
from gradient_cases import LOSSES, NOISES, REGULARIZERS, STEP, all_cases
from networks import make_network, make_plan

from layerwise import reference
from layerwise.reference_groups import known_cells

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def activation(name, z, parameter):
    if name in ("prelu", "leaky_relu"):
        return torch.where(z > 0, z, parameter * z)
    if name == "elu":
        return torch.where(z > 0, z, parameter * torch.expm1(z))
    if name in ("swish", "silu"):
        return z * torch.sigmoid(parameter * z) if name == "swish" else functional.silu(z)
    if name in ("gelu", "gelu_tanh"):
        return functional.gelu(z, approximate="tanh" if name == "gelu_tanh" else "none")
    own = {
        "identity": lambda z: z,
        "softmax": lambda z: torch.softmax(z, 1),
        "softplus": functional.softplus,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }
    return own[name](z)


def cells(loss, z, value, target, groups):
    """The loss of each output, from its input z or from its value."""
    if loss == "mixed":
        kinds = {"number": "squared_error", "flag": "sigmoid_cross_entropy", "category": "softmax_cross_entropy"}
        parts = [part.split([count for _, count in groups], dim=1) for part in (z, target)]
        pairs = zip(groups, *parts, strict=True)
        return torch.cat([cells(kinds[kind], of_z, of_z, of_target, ()) for (kind, _), of_z, of_target in pairs], dim=1)
    if loss == "squared_error":
        return (value - target) ** 2
    if loss == "sigmoid_cross_entropy":
        return functional.binary_cross_entropy_with_logits(z, target, reduction="none")
    return -target * torch.log_softmax(z, 1)


def normalized(h, shares, norm, own):
    """PyTorch's own batch normalisation, or where rows differ in weight, the same with weighted statistics."""
    if (shares == shares[0]).all():
        return functional.batch_norm(h, None, None, own["scale"], own["b"], training=True, eps=norm.epsilon)
    mean = (shares[:, None] * h).sum(0)
    variance = (shares[:, None] * (h - mean) ** 2).sum(0)
    return own["scale"] * (h - mean) / torch.sqrt(variance + norm.epsilon) + own["b"]


def objective(case, X, T, layers, tensors):
    """Loss and penalties of a network of two layers, from its tensors; and the tensors in the engine's order."""
    options = case.reference_options(layers)
    rows = options["row_weights"]
    shares = torch.tensor(np.ones(len(X)) if rows is None else rows)
    shares = shares / shares.sum()
    weights = [tensors[0]["W"], tensors[0]["W"].T if case.tied else tensors[1].get("W")]
    value, codes, slopes = torch.tensor(X, requires_grad=True), None, None
    for index, layer in enumerate(layers):
        z = value @ weights[index]
        z = z + tensors[index]["b"] if layer.norm is None else normalized(z, shares, layer.norm, tensors[index])
        value = activation(layer.activation, z, tensors[index].get("parameter", torch.tensor(layer.parameter)))
        if index == 0:
            codes = value
            if "contraction" in options:
                ones = torch.ones_like(z)
                slopes = torch.autograd.grad(value, z, ones, create_graph=True)[0]  # each unit works on its own z
            scale = options["dropout"][0] if options["dropout"] else None
            value = value if scale is None else value * torch.tensor(scale)
    known = known_cells(T, layers[-1].groups)
    if case.loss == "softmax_cross_entropy":  # a row of probabilities is known as a whole or not at all
        known = np.repeat(known.all(axis=1, keepdims=True), T.shape[1], axis=1)
    target, factors = torch.nan_to_num(torch.tensor(T)), torch.tensor(options.get("cell_weights", np.ones_like(T)))
    weighted = torch.tensor([kind == "category" for kind, count in layers[-1].groups for _ in range(count)] or [False])
    target, factors = torch.where(weighted, factors * target, target), torch.where(weighted, 1, factors)
    found = factors * cells(case.loss, z, value, target, layers[-1].groups)
    total = (shares * torch.where(torch.tensor(known), found, 0).sum(1)).sum()
    own = [weights[0]] if case.tied else weights
    total = total + 0.5 * options.get("alpha", 0.0) * sum((W**2).sum() for W in own)
    total = total + options.get("l1", 0.0) * sum(W.abs().sum() for W in own)
    total = total + options.get("activation_l1", [0.0])[0] * (shares[:, None] * codes.abs()).sum()
    if "contraction" in options:
        jacobian = slopes**2 * (weights[0] ** 2).sum(0)
        total = total + options["contraction"][0] * (shares[:, None] * jacobian).sum()
    if "sparsity" in options:
        target = options["sparsity_target"]
        active = (1 + codes) / 2 if layers[0].activation == "tanh" else codes
        mean = (shares[:, None] * active).sum(0)
        divergence = target * torch.log(target / mean) + (1 - target) * torch.log((1 - target) / (1 - mean))
        total = total + options["sparsity"][0] * divergence.sum()
    return total


def leaves(layers):
    """Each layer's learned numbers as tensors, in the engine's order; a shared parameter is one number."""
    found = []
    for layer in layers:
        own = {} if layer.W is None else {"W": torch.tensor(layer.W, requires_grad=True)}
        own["b"] = torch.tensor(layer.b, requires_grad=True)
        if layer.learn != "fixed":
            own["parameter"] = torch.tensor(layer.parameter, requires_grad=True)
        if layer.norm is not None:
            own["scale"] = torch.tensor(layer.norm.scale, requires_grad=True)
        found.append(own)
    return found


def sampled():
    """Every noise with every loss, and every regulariser and loss with every activation."""
    seen, chosen = set(), []
    for case in all_cases():
        keys = {
            ("noise", case.noise, case.loss),
            ("regularizer", case.regularizer, case.activation, case.tied),
            ("loss", case.loss, case.activation, case.weighted, case.missing),
            ("normalized", case.normalized, case.activation, case.loss, case.tied, case.weighted),
            ("normalized", case.normalized, case.regularizer, case.noise),
        }
        if not keys <= seen:
            seen |= keys
            chosen.append(case)
    return chosen


def test_the_sample_has_every_kind():
    cases = sampled()
    assert len(cases) >= 300
    for name, values in (("noise", NOISES), ("regularizer", REGULARIZERS), ("loss", LOSSES)):
        assert {getattr(case, name) for case in cases} == set(values)
    assert {case.activation for case in cases} == {case.activation for case in all_cases()}
    assert {(case.normalized, case.tied, case.weighted) for case in cases} == set(
        itertools.product([False, True], repeat=3)
    )
    assert {(case.tied, case.weighted, case.missing) for case in cases} == set(
        itertools.product([False, True], repeat=3)
    )


@pytest.mark.parametrize("case", sampled(), ids=str)
def test_the_engines_gradient_is_autograds(case):
    X, T, layers = case.data
    for layer in layers:
        layer.parameter = reference._parameter(layer.parameter, layer.activation, layer.b)
    value, gradient = make_plan(make_network(layers), case.loss, **case.recipe_options()).gradient(
        X, T, case.row_weights(), STEP
    )
    tensors = leaves(layers)
    total = objective(case, case.corrupted(X), T, layers, tensors)
    total.backward()
    wanted = []
    for own in tensors:
        wanted += [tensor.grad.numpy().ravel() for tensor in own.values()]
        wanted += [np.zeros(2 * own["scale"].numel())] if "scale" in own else []  # the running statistics
    wanted = np.concatenate(wanted)
    assert value == pytest.approx(total.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-11)
