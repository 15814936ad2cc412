"""What a plan refuses: numbers that would read past an array, or that rounding to the dtype makes meaningless."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from layerwise import _core


def make_recipe():
    return _core.Recipe("squared_error", _core.Optimizer("sgd"), 1, threads=1)


def test_steps_beyond_the_counter_are_refused():
    plan = _core.Plan_float64(_core.Network_float64([_core.Layer(3, 3, "identity")]), make_recipe())
    for first in (2**63 - 2, 2**32 - 1):
        with pytest.raises(ValueError, match="first_step"):
            plan.run(np.ones((5, 3)), None, first, 4, np.zeros(4))


def test_no_network_is_refused():
    with pytest.raises(TypeError):
        _core.Plan_float64(None, make_recipe())


@pytest.mark.parametrize("setting", [{"epsilon": 1e-50}, {"decay": 0.99999999}, {"momentum": 0.99999999}])
def test_settings_count_as_rounded_to_the_dtype(setting):
    recipe = _core.Recipe("squared_error", _core.Optimizer("adam", **setting), 1)
    _core.Plan_float64(_core.Network_float64([_core.Layer(3, 3, "identity")]), recipe)
    with pytest.raises(ValueError, match=r"dtype"):
        _core.Plan_float32(_core.Network_float32([_core.Layer(3, 3, "identity")]), recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropout": [0.1]}, "dropout must be empty or have one value a layer"),
        ({"frozen": [True] * 3}, "frozen must be empty or have one value a layer"),
        ({"rate_scale": [1.0]}, "rate_scale must be empty or have one value a layer"),
        ({"dropout": [1.0, 0.0]}, r"dropout must be in \[0, 1\)"),
        ({"dropout": [np.nan, 0.0]}, r"dropout must be in \[0, 1\)"),
        ({"dropout": [0.0, 0.5]}, "dropout of the output layer must be 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"alpha": -1.0}, "alpha must be finite"),
        ({"alpha": np.inf}, "alpha must be finite"),
        ({"threads": -1}, "threads must not be negative"),
        ({"optimizer": _core.Optimizer("adam", epsilon=0.0)}, "epsilon must be positive"),
        ({"optimizer": _core.Optimizer("adamw", weight_decay=-1.0)}, "weight_decay must be finite"),
        ({"optimizer": _core.Optimizer("momentum", momentum=1.0)}, r"momentum \(beta_1\) must be in \[0, 1\)"),
        ({"optimizer": _core.Optimizer("rmsprop", decay=-0.1)}, r"decay \(beta_2\) must be in \[0, 1\)"),
        ({"loss": "sigmoid_cross_entropy"}, "needs the output activation sigmoid"),
        ({"loss": "softmax_cross_entropy"}, "needs the output activation softmax"),
        ({"loss": "mixed"}, "mixed needs an output layer with groups"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(change, message):
    network = _core.Network_float64([_core.Layer(3, 4, "sigmoid"), _core.Layer(4, 3, "identity")])
    allowed = {"loss": "squared_error", "optimizer": _core.Optimizer("sgd"), "batch_size": 2}
    _core.Plan_float64(network, _core.Recipe(**allowed))
    with pytest.raises(ValueError, match=message):
        _core.Plan_float64(network, _core.Recipe(**allowed | change))


def test_rates_are_checked():
    plan = _core.Plan_float64(_core.Network_float64([_core.Layer(3, 3, "identity")]), make_recipe())
    for rate in (np.nan, -1.0, np.inf):
        with pytest.raises(ValueError, match="rates"):
            plan.run(np.ones((5, 3)), None, 0, 1, np.array([rate]))
    with pytest.raises(ValueError, match="momenta"):
        plan.run(np.ones((5, 3)), None, 0, 1, np.ones(1), np.ones(1))
    single = _core.Plan_float32(_core.Network_float32([_core.Layer(3, 3, "identity")]), make_recipe())
    for rate, momentum in ((1e300, 0.5), (1.0, 0.99999999)):  # infinity and 1, as float32 rounds them
        with pytest.raises(ValueError, match="dtype"):
            single.run(np.ones((5, 3), np.float32), None, 0, 1, np.array([rate]), np.array([momentum]))


def test_a_wish_for_thousands_of_threads_does_not_end_the_process():
    # libgomp calls exit() when it cannot make a thread; 30,000 stacks do not fit into 4 GB of addresses, 64 do.
    program = """
        import resource
        import numpy as np
        from layerwise import _core
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, -1))
        ones = np.ones((50, 50))
        assert (_core.matmul(ones, ones, False, False, 30_000) == 50).all()
        print("alive")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([(3, 4, "identity", [("number", 4)]), (4, 3, "identity", [])], "only a last layer of activation identity"),
        ([(3, 4, "sigmoid", [("number", 4)])], "only a last layer of activation identity"),
        ([(3, 4, "identity", [("number", 3)])], "groups must cover n_out columns"),
        ([(3, 4, "identity", [("number", 3), ("flag", 2)])], "groups must cover n_out columns"),
        ([(3, 4, "identity", [("number", 3), ("flag", 0)])], "between 1 and 2"),
        ([(3, 4, "identity", [("number", 2**40)])], "between 1 and 2"),
        ([(3, 4, "identity", [("word", 4)])], "group must be one of number, flag, category"),
    ],
)
def test_groups_that_make_no_sense_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        _core.Network_float64([_core.Layer(n_in, n_out, f, groups=groups) for n_in, n_out, f, groups in layers])


def test_groups_need_the_loss_that_is_theirs():
    groups = [("number", 1), ("category", 2)]
    layers = [_core.Layer(3, 4, "sigmoid"), _core.Layer(4, 3, "identity", tied_to=0, groups=groups)]
    network = _core.Network_float64(layers)
    _core.Plan_float64(network, _core.Recipe("mixed", _core.Optimizer("sgd"), 1))
    with pytest.raises(ValueError, match="such a layer needs mixed"):
        _core.Plan_float64(network, make_recipe())
    with pytest.raises(ValueError, match="units are sigmoid"):
        _core.RbmPlan_float64(network, make_recipe())
