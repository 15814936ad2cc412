"""Training by line searches: the optimum of convex problems, noise frozen while a batch is searched, same bits."""

import numpy as np
import pytest
from networks import make_network, make_plan
from scipy import optimize
from threadpoolctl import threadpool_limits

import layerwise
from layerwise import (
    LBFGS,
    Autoencoder,
    ConjugateGradient,
    DenoisingAutoencoder,
    FineTuning,
    PretrainedClassifier,
    PretrainedRegressor,
    SparseAutoencoder,
    StackedAutoencoder,
    SupervisedPretraining,
    TrainingDiverged,
    _core,
    line_search,
    reference,
)
from layerwise.datasets import load_digits
from layerwise.reference import Layer

METHODS = [ConjugateGradient(searches=40), LBFGS(searches=40)]
on_both = pytest.mark.parametrize("optimizer", METHODS, ids=lambda method: method.kind)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits()
    return X[:300], y[:300]


def network_of(layers, dtype="float64"):
    for layer in layers:
        layer.b = layer.b.astype(dtype)
        layer.W = None if layer.W is None else layer.W.astype(dtype)
        layer.parameter = reference._parameter(layer.parameter, layer.activation, layer.b)
    return make_network(layers)


def one_layer(rng, n_in, n_out, activation):
    return network_of([Layer(rng.normal(0, 0.1, (n_in, n_out)), np.zeros(n_out), activation)])


def plan_of(engine, optimizer, loss, batch_size, **options):
    return line_search.plan_for(optimizer, engine, _core.Recipe(loss, optimizer.engine(), batch_size, **options))


# --- the optimum ------------------------------------------------------------------------------------------------------


@on_both
def test_linear_regression_reaches_the_normal_equations(optimizer):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))
    weights = rng.uniform(0, 2, 60)
    engine = one_layer(rng, 5, 2, "identity")
    plan = plan_of(engine, optimizer, "squared_error", 60, alpha=0.3)
    plan.run(X, Y, 0, 4, row_weights=weights)
    ones = np.column_stack([X, np.ones(60)])
    share = weights / weights.sum()
    squares = 2 * (ones * share[:, None]).T @ ones + np.diag([0.3] * 5 + [0.0])
    wanted = np.linalg.solve(squares, 2 * (ones * share[:, None]).T @ Y)
    found = np.vstack([engine.weights(0), engine.bias(0)])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@on_both
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_logistic_regression_reaches_scipys_optimum(optimizer, activation):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 4))
    Y = np.eye(3)[rng.integers(0, 3, 80)]
    engine = one_layer(rng, 4, 3, activation)
    loss = f"{activation}_cross_entropy"
    plan = plan_of(engine, optimizer, loss, 80, alpha=0.05)

    def objective(flat):
        own = Layer(flat[:12].reshape(4, 3), flat[12:], activation)
        _, value, gradient = reference.loss_and_gradients(X, Y, [own], loss, alpha=0.05)
        return value, reference.flatten(gradient)

    wanted = optimize.minimize(objective, engine.parameters(), jac=True, method="BFGS", options={"gtol": 1e-9})
    stats = plan.run(X, Y, 0, 4)
    assert stats.finite
    np.testing.assert_allclose(engine.parameters(), wanted.x, atol=1e-5)
    assert objective(engine.parameters())[0] == pytest.approx(wanted.fun, abs=1e-10)
    penalty = 0.025 * (engine.weights(0) ** 2).sum()  # the reported loss is without it
    assert plan.evaluate(X, Y) == pytest.approx(wanted.fun - penalty, abs=1e-9)


@on_both
def test_rosenbrocks_valley_is_followed_to_its_end(optimizer):
    def objective(w):
        return float(optimize.rosen(w)), optimize.rosen_der(w)

    *_, last = line_search.descend(objective, np.array([1.3, 0.7, 0.8, 1.9]), line_search.method_of(optimizer), 400)
    np.testing.assert_allclose(last.w, 1.0, atol=1e-5)


def test_conjugate_gradients_need_as_many_searches_as_there_are_directions():
    """Of a quadratic, with searches that are nearly exact (Hestenes & Stiefel 1952); steepest descent needs many."""
    rng = np.random.default_rng(2)
    A = rng.normal(size=(6, 6))
    A = A @ A.T + 0.5 * np.eye(6)
    method = line_search.PolakRibiere()
    method.decrease, method.curvature = 1e-5, 1e-4
    points = list(line_search.descend(lambda w: (0.5 * w @ A @ w, A @ w), np.ones(6), method, 7))
    assert points[-1].value < 1e-6 * points[0].value


def test_the_direction_of_lbfgs_is_that_of_the_bfgs_matrix():
    rng = np.random.default_rng(3)
    A = rng.normal(size=(5, 5))
    A = A @ A.T + np.eye(5)
    method = line_search.LimitedMemory(3)
    pairs = []
    for _ in range(4):  # the first is forgotten
        direction = rng.normal(size=5)
        before = rng.normal(size=5)
        method.learn(0.5, direction, -1.0, before, before + A @ (0.5 * direction))
        pairs.append((0.5 * direction, A @ (0.5 * direction)))
    s, y = pairs[-1]
    H = np.eye(5) * (s @ y) / (y @ y)
    for s, y in pairs[1:]:
        V = np.eye(5) - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    gradient = rng.normal(size=5)
    np.testing.assert_allclose(method.direction(gradient), -H @ gradient, rtol=1e-10)
    method.learn(1.0, direction, -1.0, before, before - direction)  # negative curvature: left out
    np.testing.assert_allclose(method.direction(gradient), -H @ gradient, rtol=1e-10)


@on_both
def test_a_search_needs_no_more_than_its_evaluations(optimizer, monkeypatch):
    """Along a staircase no step meets the conditions; the lowest point looked at is taken."""
    asked = []

    def objective(w):
        asked.append(float(w[0]))
        return float(np.floor(50 * w[0]) / 50), np.array([1.0])

    monkeypatch.setattr(line_search, "MOST_EVALUATIONS", 5)
    start = line_search.Point(np.zeros(1), *objective(np.zeros(1)), 0.0)
    found = line_search.search(objective, start, np.array([-1.0]), -1.0, 1e-3, line_search.method_of(optimizer))
    assert found.value == min(np.floor(50 * w) / 50 for w in asked)
    assert len(asked) - 1 == 5
    unknown = line_search.search(
        lambda w: (-1.0, w * np.nan), start, np.array([-1.0]), -1.0, 1.0, line_search.method_of(optimizer)
    )
    assert unknown.step == 0  # lower, but without a gradient to go on from
    for hostile in (np.nan, np.inf):  # everywhere but at the start
        bad = line_search.search(
            lambda w, v=hostile: (v, w), start, np.array([-1.0]), -1.0, 1.0, line_search.method_of(optimizer)
        )
        assert bad.step == 0


# --- batches and their noise ------------------------------------------------------------------------------------------


def noisy(rng, optimizer, dtype="float64", **options):
    layers = [Layer(rng.normal(0, 0.5, (6, 4)), np.zeros(4), "tanh"), Layer(None, np.zeros(6), "identity", tied_to=0)]
    engine = network_of(layers, dtype)
    options = {"seed": 5, "noise": _core.Noise("masking", 0.3), "dropout": [0.2, 0.0]} | options
    return engine, plan_of(engine, optimizer, "squared_error", 20, **options)


@on_both
def test_the_noise_is_that_of_the_step_while_a_batch_is_searched(optimizer):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(20, 6))
    engine, plan = noisy(rng, optimizer)
    twin, _ = noisy(np.random.default_rng(4), optimizer)
    twin.set_parameters(engine.parameters())
    measured = make_plan(twin, "squared_error", seed=5, noise=_core.Noise("masking", 0.3), dropout=[0.2, 0.0])
    falls = []
    for step in range(3):  # a fall under the step's own noise, whatever it is under another
        before = measured.gradient(X, None, None, step)[0]
        stats = plan.run(X, None, step, 1)
        twin.set_parameters(engine.parameters())
        after = measured.gradient(X, None, None, step)[0]
        assert after < before
        assert stats.loss == pytest.approx(before, rel=1e-12)
        falls.append(before - after)
        assert measured.gradient(X, None, None, step + 1)[0] != pytest.approx(after, rel=1e-3)
    assert falls[0] > 0.1


@on_both
def test_steps_may_be_cut_anywhere(optimizer):
    rng = np.random.default_rng(6)
    X = rng.normal(size=(50, 6)).astype("float32")
    optimizer = optimizer.replace(searches=3)
    whole, plan = noisy(rng, optimizer, "float32")
    start = whole.parameters()
    plan.run(X, None, 0, 7)
    pieces, _ = noisy(rng, optimizer, "float32")
    pieces.set_parameters(start)
    for first, steps in ((0, 2), (2, 3), (5, 2)):
        noisy_plan = plan_of(
            pieces, optimizer, "squared_error", 20, seed=5, noise=_core.Noise("masking", 0.3), dropout=[0.2, 0.0]
        )
        noisy_plan.run(X, None, first, steps)
    np.testing.assert_array_equal(whole.parameters(), pieces.parameters())


def test_an_epoch_takes_every_row_once():
    rng = np.random.default_rng(7)
    _, plan = noisy(rng, METHODS[0])
    X, Y, weights = np.arange(50.0)[:, None], np.arange(50.0)[:, None], np.arange(50.0)
    for epoch in range(2):
        batches = [plan._rows(3 * epoch + place, X, Y, weights) for place in range(3)]
        assert [len(batch[0]) for batch in batches] == [20, 20, 10]
        seen = np.concatenate([batch[0][:, 0] for batch in batches])
        np.testing.assert_array_equal(np.sort(seen), X[:, 0])
        assert not np.array_equal(seen, X[:, 0])
        np.testing.assert_array_equal(np.concatenate([batch[1][:, 0] for batch in batches]), seen)
        np.testing.assert_array_equal(np.concatenate([batch[2] for batch in batches]), seen)
    assert not np.array_equal(plan._rows(0, X, Y, None)[0], plan._rows(3, X, Y, None)[0])


@on_both
def test_same_bits_on_any_number_of_threads(optimizer, digits):
    X, y = digits
    found = []
    for threads, blas in ((1, 1), (2, 2), (3, 1)):
        with threadpool_limits(blas):
            model = PretrainedClassifier(
                (300, 150),  # so many parameters that a BLAS would divide its sums among threads
                pretraining=DenoisingAutoencoder(epochs=1, optimizer=optimizer.replace(searches=3)),
                finetuning=FineTuning(epochs=1, optimizer=optimizer.replace(searches=3), dropout=0.2, batch_size=100),
                random_state=0,
                n_jobs=threads,
            ).fit(X, y)
        found.append(model.coefs_)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_inner_product_is_the_sum():
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(2, 3 * line_search.BLOCK + 17)).astype("float32")
    assert line_search.inner(a, b) == pytest.approx(float(a.astype(float) @ b.astype(float)), rel=1e-9)


# --- in the estimators ------------------------------------------------------------------------------------------------


@on_both
def test_pretraining_and_finetuning(optimizer, digits):
    X, y = digits
    optimizer = optimizer.replace(searches=3)
    stages = {
        "denoising": DenoisingAutoencoder(epochs=3, optimizer=optimizer, batch_size=100, validation_fraction=0.1),
        "sparse": SparseAutoencoder(epochs=3, optimizer=optimizer, sparsity=0.5, alpha=1e-3, l1=1e-4),
        "simultaneous": Autoencoder(epochs=3, optimizer=[optimizer, "adam"], simultaneous=True),
        "supervised": SupervisedPretraining(epochs=3, optimizer=optimizer),
    }
    for name, pretraining in stages.items():
        model = PretrainedClassifier(
            (30, 20),
            activation="sigmoid",
            pretraining=pretraining,
            finetuning=FineTuning(epochs=4, optimizer=optimizer, early_stopping=True, alpha=1e-4),
            random_state=0,
        ).fit(X, y)
        for stage in model.stages_:
            assert stage.history[-1].loss < stage.history[0].loss, name
        history = [record for record in model.history_ if record.stage == "finetuning"]
        assert history[-1].validation_loss < history[0].validation_loss, name
        assert history[-1].learning_rate > 0
        assert model.score(X, y) > 0.7, name


@on_both
def test_frozen_layers_keep_their_bits_and_thaw(optimizer, digits):
    X, y = digits
    optimizer = optimizer.replace(searches=2)
    model = PretrainedClassifier((20, 10), pretraining=Autoencoder(epochs=1), random_state=0)
    model.set_params(finetuning=FineTuning(epochs=2, optimizer=optimizer, frozen_layers=[1], alpha=0.1)).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], model.stages_[0].weights)
    assert not np.array_equal(model.coefs_[1], model.stages_[1].weights)
    seen = []
    model.set_params(finetuning__thaw_after=1, callbacks=lambda record: seen.append(record.loss)).fit(X, y)
    assert not np.array_equal(model.coefs_[0], model.stages_[0].weights)


@on_both
def test_row_weights_are_repetitions(optimizer, digits):
    X, y = digits[0].astype("float64")[:60], digits[1][:60].astype("float64")
    times = np.arange(60) % 3
    settings = FineTuning(epochs=2, optimizer=optimizer.replace(searches=4), batch_size=1000)
    model = PretrainedRegressor((10,), pretraining=None, finetuning=settings, random_state=0)
    weighted = model.fit(X, y, sample_weight=times).predict(X)
    repeated = model.fit(np.repeat(X, times, axis=0), np.repeat(y, times)).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)


def test_usual_batches():
    assert layerwise.training.batch_size_for("auto", 5000, ConjugateGradient().auto_rows) == 1000
    assert layerwise.training.batch_size_for("auto", 500, ConjugateGradient().auto_rows) == 500
    assert layerwise.training.batch_size_for("auto", 5000, LBFGS().auto_rows) == 5000
    assert layerwise.training.batch_size_for("auto", 5000, layerwise.Adam().auto_rows) == 100
    assert layerwise.training.batch_size_for(7, 5000, LBFGS().auto_rows) == 7


@on_both
def test_an_interrupted_search_keeps_the_last_finished_one(optimizer):
    rng = np.random.default_rng(9)
    X = rng.normal(size=(20, 6))
    engine, plan = noisy(rng, optimizer)
    plan.run(X, None, 0, 1)
    reached = engine.parameters()
    gradient, calls = plan._plan.gradient, []

    class Interrupted:
        loss = 0.0

        def gradient(self, *data):
            calls.append(engine.parameters())
            if len(calls) == 2:
                raise KeyboardInterrupt
            return gradient(*data)

    plan._plan = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        plan.run(X, None, 1, 1)
    assert not np.array_equal(calls[-1], reached)
    np.testing.assert_array_equal(engine.parameters(), reached)


@on_both
def test_going_on(optimizer, digits, tmp_path):
    X, y = digits
    settings = FineTuning(epochs=2, optimizer=optimizer.replace(searches=3))
    model = PretrainedClassifier((20,), pretraining=None, finetuning=settings, random_state=0, warm_start=True)
    first = model.fit(X, y).history_[-1].loss
    assert model.fit(X, y).history_[-1].loss < first
    assert len(model.history_) == 4
    model.partial_fit(X, y)
    model.partial_fit(X, y)
    assert len(model.history_) == 6
    model.save(tmp_path / "model.layerwise")
    loaded = layerwise.load(tmp_path / "model.layerwise")
    assert loaded.finetuning == settings
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    with pytest.warns(layerwise.TimeLimitWarning):
        model.set_params(warm_start=False, max_seconds=1e-9).fit(X, y)
    assert model.n_iter_ == 1


def test_divergence_names_no_rate():
    X = np.full((20, 3), 1e30, np.float32)
    model = StackedAutoencoder((4,), activation="identity", random_state=0)
    model.set_params(pretraining=Autoencoder(optimizer="lbfgs", loss="squared_error", tied=False))
    with pytest.raises(TrainingDiverged, match=r"layer 1 diverged in epoch 1: the loss is .*\. Scale the data"):
        model.fit(X * np.linspace(1, 2, 20, dtype=np.float32)[:, None])
