"""Boltzmann machines: the reference against enumeration and finite differences, the engine against the reference."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from machines import KINDS, difference, engine_of, machine_of, make_data, make_machine, make_plan

from layerwise import _core, reference_random, reference_rbm
from layerwise.reference_rbm import Activity, Machine

WITHOUT_FMA = {"x86-64-v2"}
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))


# --- the reference --------------------------------------------------------------------------------------------------


@every_kind
def test_the_exact_gradient_is_that_of_the_exact_log_likelihood(kind):
    m = make_machine(4, 3, kind)
    v, found = make_data(10, m), None
    found = reference_rbm.exact_gradient(m, v)
    for name in ("W", "b", "c"):
        numeric = np.zeros_like(getattr(m, name))
        for place in np.ndindex(numeric.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = replace(m, **{name: getattr(m, name).copy()})
                getattr(moved, name)[place] += step
                ends.append(-reference_rbm.log_likelihood(moved, v))
            numeric[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(getattr(found, name), numeric, rtol=1e-7, atol=1e-9)


def test_the_free_energy_sums_over_the_hidden_states():
    m = make_machine(4, 3)
    v, h = make_data(6, m), reference_rbm._all_states(3)
    energy = -(v @ m.b)[:, None] - h @ m.c - v @ m.W @ h.T
    np.testing.assert_allclose(reference_rbm.free_energy(m, v), -np.logaddexp.reduce(-energy, axis=1), rtol=1e-12)
    both = np.logaddexp.reduce(
        [v @ m.b + hidden @ m.c + v @ m.W @ hidden for v in reference_rbm._all_states(4) for hidden in h]
    )
    assert reference_rbm.log_partition(m) == pytest.approx(both, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS[1:], ids="-".join)
def test_the_free_energy_integrates_over_gaussian_units(kind):
    m = make_machine(2, 2, kind)
    grid = np.arange(-10, 10, 0.05)
    if kind[0] == "gaussian":  # log Z by the hidden states' weights = log of the integral of exp(-F) over v
        v = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
        integral = np.log(np.exp(-reference_rbm.free_energy(m, v)).sum() * 0.05**2 / (2 * np.pi))
        assert reference_rbm.log_partition(m) == pytest.approx(integral, rel=1e-9)
    else:
        v = reference_rbm._all_states(2)
        x = v @ m.W
        terms = np.exp(-0.5 * (grid[:, None, None] - m.c) ** 2 + grid[:, None, None] * x)
        expected = -v @ m.b - np.log(terms.sum(axis=0) * 0.05 / np.sqrt(2 * np.pi)).sum(axis=1)
        np.testing.assert_allclose(reference_rbm.free_energy(m, v), expected, rtol=1e-9, atol=1e-12)


def test_the_pseudo_likelihood_is_a_product_of_conditional_probabilities():
    m = make_machine(4, 3)
    states = reference_rbm._all_states(4)
    p = np.exp(-reference_rbm.free_energy(m, states) - reference_rbm.log_partition(m))
    number = {tuple(state): i for i, state in enumerate(states)}
    expected = []
    for state in states:
        flips = [tuple(np.where(np.arange(4) == i, 1 - state, state)) for i in range(4)]
        expected.append(sum(np.log(p[number[tuple(state)]] / (p[number[tuple(state)]] + p[number[f]])) for f in flips))
    np.testing.assert_allclose(reference_rbm.pseudo_log_likelihood(m, states), expected, rtol=1e-12)


# --- the engine against the reference -------------------------------------------------------------------------------

GIBBS = {
    "cd1": {},
    "cd3": {"k": 3},
    "cd2, sampled": {"k": 2, "sample_visible": True},
    "pcd": {"persistent": True, "sample_visible": True},
    "pcd2": {"k": 2, "persistent": True, "sample_visible": True},
    "sparse": {"sparsity_target": 0.05, "sparsity_cost": 0.3, "sparsity_decay": 0.8},
}
# A sparsity target needs binary hidden units.
CASES = [(kind, name) for kind in KINDS for name in GIBBS if name != "sparse" or kind[1] == "binary"]
SIZES = {"small": (5, 3, 7), "ragged": (33, 70, 19), "panels": (64, 32, 16), "one": (1, 1, 1), "wide": (7, 130, 40)}


def both(m, X, dtype, batch_size, steps, settings, weights=None, threads=0):
    """The engine's machine and losses, and the reference's, after some steps of momentum."""
    network = engine_of(m, dtype)
    start = machine_of(network, m)
    X = X.astype(dtype)
    rates, momenta = np.linspace(0.1, 0.05, steps), np.linspace(0.5, 0.9, steps)
    plan = make_plan(network, m, batch_size, "momentum", threads=threads, alpha=0.01, **settings)
    weights = None if weights is None else weights.astype(dtype)
    losses = [plan.run(X, t, 1, rates[t : t + 1], momenta[t : t + 1], weights).loss for t in range(steps)]
    epochs = -(-steps * batch_size // len(X)) + 1
    batches = [b for e in range(epochs) for b in reference_random.batches(3, len(X), batch_size, e)][:steps]
    sparse = {name: settings[f"sparsity_{name}"] for name in ("target", "cost", "decay") if "sparsity_cost" in settings}
    expected = reference_rbm.train(
        start, X.astype(np.float64), batches, rates, momenta, seed=3, alpha=0.01, k=settings.get("k", 1),
        n_chains=batch_size if settings.get("persistent") else 0, sample_visible=settings.get("sample_visible", False),
        activity=Activity(**sparse) if sparse else None,
        row_weights=None if weights is None else weights.astype(np.float64),
    )  # fmt: skip
    return machine_of(network, m), losses, start, expected


@both_dtypes
@pytest.mark.parametrize(("kind", "settings"), CASES, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_the_engine_does_what_the_reference_says(size, settings, kind, dtype):
    n_visible, n_hidden, batch_size = SIZES[size]
    m = make_machine(n_visible, n_hidden, kind, scale=0.1)
    X = make_data(2 * batch_size + batch_size // 2 + 1, m)  # the last batch is ragged
    found, losses, expected, expected_losses = both(m, X, dtype, batch_size, 6, GIBBS[settings])
    tolerance = 2e-5 if dtype == np.float32 else 1e-11
    assert difference(found, expected) < tolerance
    np.testing.assert_allclose(losses, expected_losses, rtol=tolerance)


@pytest.mark.parametrize("settings", ["cd1", "pcd", "sparse"])
def test_row_weights_count_as_the_reference_says(settings):
    m = make_machine(9, 5)
    X, weights = make_data(25, m), np.arange(25) % 4 + 0.5
    weights[3] = 0
    found, losses, expected, expected_losses = both(m, X, np.float64, 10, 6, GIBBS[settings], weights)
    assert difference(found, expected) < 1e-12
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)


@both_dtypes
@every_kind
def test_the_engines_gibbs_chains_are_the_references(kind, dtype):
    m = make_machine(35, 40, kind, scale=0.1)
    V = make_data(300, m).astype(dtype)
    network = engine_of(m, dtype)
    m = machine_of(network, m)
    for steps, means in ((0, False), (1, False), (3, False), (3, True)):
        found = _core.gibbs(network, V, steps, means, 8)
        expected = reference_rbm.gibbs(m, V.astype(np.float64), steps, 8, means=means)
        np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == np.float32 else 1e-11)


def test_the_chains_reach_the_machines_distribution():
    m = make_machine(4, 3, scale=1.0)
    chains = _core.gibbs(engine_of(m), np.zeros((40_000, 4)), 40, False, 5)
    states = reference_rbm._all_states(4)
    p = np.exp(-reference_rbm.free_energy(m, states) - reference_rbm.log_partition(m))
    counts = np.bincount((chains @ [8, 4, 2, 1]).astype(int), minlength=16)
    assert ((counts - 40_000 * p) ** 2 / (40_000 * p)).sum() < 37.7  # chi squared of 15 degrees, 0.1 %


@both_dtypes
def test_the_binary_units_have_their_probability(dtype):
    p = np.array([0.01, 0.3, 0.5, 0.97])
    m = Machine(np.zeros((6, 2)), np.concatenate([np.log(p / (1 - p)), [-200.0, 200.0]]), np.zeros(2))
    v = _core.gibbs(engine_of(m, dtype), np.zeros((50_000, 6), dtype), 1, False, 1)
    np.testing.assert_array_equal(v[:, 4:], np.tile([0, 1], (50_000, 1)))
    np.testing.assert_array_equal(np.unique(v), [0, 1])
    deviation = np.sqrt(p * (1 - p) / 50_000)
    assert (np.abs(v[:, :4].mean(axis=0, dtype=np.float64) - p) < 4 * deviation).all()
    assert np.abs(np.corrcoef(v[:, :4].T) - np.eye(4)).max() < 4 / np.sqrt(50_000)


def test_the_gaussian_units_have_variance_one():
    m = Machine(np.zeros((3, 2)), np.array([1.0, -2.0, 0.0]), np.zeros(2), "gaussian", "binary")
    v = _core.gibbs(engine_of(m), np.zeros((50_000, 3)), 1, False, 1)
    np.testing.assert_allclose(v.mean(axis=0), m.b, atol=0.02)
    np.testing.assert_allclose(np.cov(v.T), np.eye(3), atol=0.03)


# --- what it learns -------------------------------------------------------------------------------------------------


def estimate(m, X, repeats, **settings):
    """The engine's gradient estimate, a step of plain descent at rate 1 over many copies of the rows."""
    network = engine_of(m)
    data = np.ascontiguousarray(np.tile(X, (repeats, 1)))
    make_plan(network, m, len(data), shuffle=False, **settings).run(data, 0, 1, np.ones(1))
    end = machine_of(network, m)
    return Machine(m.W - end.W, m.b - end.b, m.c - end.c)


@every_kind
def test_contrastive_divergence_tends_to_the_exact_gradient(kind):
    m = make_machine(4, 3, kind, scale=1.0 if kind[1] == "binary" else 0.5, seed=4)
    X = make_data(5, m)
    exact = reference_rbm.exact_gradient(m, X)
    distance = [difference(estimate(m, X, 8000, k=k, sample_visible=True), exact) for k in (1, 2, 40)]
    assert distance[2] < distance[1] < distance[0], distance
    assert distance[2] < 0.02 < 0.05 < distance[0], distance


def test_means_of_the_visible_units_are_not_the_exact_gradient():
    m = make_machine(4, 3, scale=1.5, seed=4)
    X = make_data(5, m)
    exact = reference_rbm.exact_gradient(m, X)
    assert difference(estimate(m, X, 8000, k=40), exact) > 2 * difference(
        estimate(m, X, 8000, k=40, sample_visible=True), exact
    )


@both_dtypes
@every_kind
@pytest.mark.parametrize("settings", ["cd1", "pcd"])
def test_the_exact_log_likelihood_rises(settings, kind, dtype):
    rng = np.random.default_rng(0)
    cause = rng.integers(0, 2, (400, 2)).astype(float)
    X = np.repeat(cause, 3, axis=1)
    X = np.where(rng.random(X.shape) < 0.1, 1 - X, X) if kind[0] == "binary" else 2 * X + rng.normal(size=X.shape)
    m = Machine(rng.normal(0, 0.01, (6, 4)), np.zeros(6), np.zeros(4), *kind)
    network = engine_of(m, dtype)
    plan = make_plan(network, m, 20, "momentum", 0.5, **GIBBS[settings])
    rate, reached = (0.05 if kind == ("binary", "binary") else 0.02), [reference_rbm.log_likelihood(m, X)]
    for epoch in range(0, 60, 20):
        plan.run(X.astype(dtype), epoch * 20, 400, np.full(400, rate))
        reached.append(reference_rbm.log_likelihood(machine_of(network, m), X))
    assert reached[0] < reached[1] < reached[3]
    best = Machine(np.zeros((6, 4)), np.zeros(6), np.zeros(4), *kind)  # what biases alone can reach
    best.b = X.mean(axis=0) if kind[0] == "gaussian" else np.log(X.mean(axis=0) / (1 - X.mean(axis=0)))
    assert reached[3] > reference_rbm.log_likelihood(best, X) + 0.5


def test_a_sparsity_target_is_approached():
    rng = np.random.default_rng(0)
    X = (rng.random((500, 20)) < 0.3).astype(np.float64)
    activity = []
    for cost in (0.0, 1.0):
        m = Machine(rng.normal(0, 0.01, (20, 10)), np.zeros(20), np.zeros(10))
        network = engine_of(m)
        plan = make_plan(network, m, 50, sparsity_target=0.1, sparsity_cost=cost)
        plan.run(X, 0, 1000, np.full(1000, 0.1))
        activity.append(network.apply(X, 0, 1).mean())
    assert activity[0] > 0.3
    assert activity[1] == pytest.approx(0.1, abs=0.02)


# --- the same bits --------------------------------------------------------------------------------------------------


def bits(dtype, threads, kind, settings, pieces=((0, 9),)):
    m = make_machine(45, 70, kind, scale=0.1)
    X = make_data(130, m).astype(dtype)
    network = engine_of(m, dtype)
    plan = make_plan(network, m, 33, "adam", threads=threads, alpha=0.01, **GIBBS[settings])
    rates = np.full(9, 0.01)
    losses = [
        plan.run(X, first, n, rates[:n].copy(), None, np.linspace(0.5, 2, 130).astype(dtype)).loss
        for first, n in pieces
    ]
    chains = _core.gibbs(network, X, 2, False, 4, threads)
    return [network.parameters().tobytes(), chains.tobytes()] + (losses if len(pieces) == 1 else [])


@both_dtypes
@pytest.mark.parametrize(
    ("kind", "settings"), [case for case in CASES if case[1] in ("cd3", "pcd2", "sparse")], ids=str
)
def test_same_bits_for_any_number_of_threads(settings, kind, dtype):
    one = bits(dtype, 1, kind, settings)
    assert all(bits(dtype, threads, kind, settings) == one for threads in (2, 3, 8))


@pytest.mark.parametrize("settings", ["cd1", "pcd", "sparse"])
def test_a_run_in_pieces_is_the_run_at_once(settings):
    whole = bits(np.float32, 1, KINDS[0], settings)[:-1]
    assert bits(np.float32, 2, KINDS[0], settings, ((0, 1), (1, 5), (6, 3))) == whole


def digest():
    found = {}
    for kind in KINDS:
        for dtype in (np.float32, np.float64):
            numbers = bits(dtype, 2, kind, "pcd2") + bits(dtype, 2, kind, "cd3")
            text = b"".join(b if isinstance(b, bytes) else np.float64(b).tobytes() for b in numbers)
            found[f"{kind} {dtype.__name__}"] = hashlib.sha256(text).hexdigest()
    return found


def test_same_bits_for_every_instruction_set():
    if _core.isa() != _core.supported_isas()[-1]:
        return  # one comparison is enough
    for isa in set(_core.supported_isas()) - WITHOUT_FMA - {_core.isa()}:
        done = subprocess.run(
            [sys.executable, "-c", "import json, test_rbm; print(json.dumps(test_rbm.digest()))"],
            cwd=os.path.dirname(__file__), env={**os.environ, "LAYERWISE_ISA": isa},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == digest(), isa


@pytest.mark.parametrize("settings", ["cd1", "pcd", "sparse"])
def test_a_batch_that_weighs_nothing_teaches_nothing(settings):
    m = make_machine(6, 5)
    network = engine_of(m)
    X, before, one = make_data(10, m), network.parameters(), np.full(1, 0.1)
    plan = make_plan(network, m, 10, **GIBBS[settings])
    stats = plan.run(X, 0, 1, one, None, np.zeros(10))
    assert stats.finite
    np.testing.assert_array_equal(network.parameters(), before)
    if settings == "sparse":  # nor does it start or move the running means
        fresh = engine_of(m)
        make_plan(fresh, m, 10, **GIBBS[settings]).run(X, 1, 1, one)
        plan.run(X, 1, 1, one)
        np.testing.assert_array_equal(network.parameters(), fresh.parameters())
