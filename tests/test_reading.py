"""Predictions: threads take blocks of rows, or all share a layer; which, and how many there are, changes no bit."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from layerwise import _core

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def network_of(sizes, dtype):
    layers = [_core.Layer(n_in, n_out, "tanh") for n_in, n_out in itertools.pairwise(sizes)]
    network = (_core.Network_float32 if dtype == np.float32 else _core.Network_float64)(layers)
    rng = np.random.default_rng(0)
    network.set_parameters(rng.normal(0, 0.1, network.n_parameters).astype(dtype))
    return network, rng.normal(size=(1100, sizes[0])).astype(dtype)


@both_dtypes
@pytest.mark.parametrize("sizes", [(3, 2), (40, 33, 5), (300, 500, 70)], ids=["tiny", "small", "large"])
def test_the_same_bits_however_the_rows_are_shared(sizes, dtype):
    network, X = network_of(sizes, dtype)
    whole = network.apply(X, threads=1)
    first = network.apply(X, 0, 1, threads=1)
    rows_alone = np.concatenate([network.apply(row[np.newaxis], threads=1) for row in X])
    assert rows_alone.tobytes() == whole.tobytes()
    for threads in (2, 3, 7):
        for rows in (1, 2, 7, 64, 127, 128, 129, 256, 257, 448, 513, 1100):
            assert network.apply(X[:rows], threads=threads).tobytes() == whole[:rows].tobytes()
            assert network.apply(X[:rows], 0, 1, threads=threads).tobytes() == first[:rows].tobytes()


def test_a_zero_has_the_same_sign_on_any_number_of_threads():
    network = _core.Network_float32([_core.Layer(40, 7, "identity")])
    network.set_bias(0, np.full(7, -0.0, np.float32))
    X = np.zeros((73, 40), np.float32)
    assert all(network.apply(X, threads=threads).tobytes() == network.apply(X).tobytes() for threads in range(1, 20))


@both_dtypes
def test_a_number_that_is_not_finite_is_found_wherever_it_is(dtype):
    for n in (1, 31, 32, 33, 100, 40_001):
        X = np.full((1, n), 3, dtype)
        assert _core.squares_are_finite(X)
        for place in {0, n // 3, n // 2, n - 1}:
            for value in (np.nan, np.inf, -np.inf):
                spoilt = X.copy()
                spoilt[0, place] = value
                assert not _core.squares_are_finite(spoilt)
    assert not _core.squares_are_finite(np.full((1, 64), np.sqrt(np.finfo(dtype).max) * 2, dtype))


def threads_woken(environment=None):
    """How many threads a process has more after calls of one row that come apart, and then after others in a row."""
    code = (
        "import os, time, numpy as np\n"
        "from layerwise import _core\n"
        "threads = lambda: len(os.listdir('/proc/self/task'))\n"
        "network, X = _core.Network_float32([_core.Layer(3000, 2000, 'tanh')]), np.zeros((1, 3000), np.float32)\n"
        "before = threads()\n"
        "for _ in range(5):\n"
        "    time.sleep(0.001)\n"
        "    network.apply(X)\n"
        "apart = threads() - before\n"
        "for _ in range(500):\n"
        "    network.apply(X)\n"
        "print(apart, threads() - before)\n"
    )
    others = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment = {**others, **(environment or {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return tuple(map(int, done.stdout.split()))


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
@pytest.mark.skipif(_core.default_threads() < 2, reason="there is one core")
def test_a_row_wakes_no_thread_unless_rows_follow_one_another():
    apart, together = threads_woken()
    assert apart == 0
    assert together >= 1
    for asleep in ({"OMP_WAIT_POLICY": "Passive"}, {"GOMP_SPINCOUNT": "0"}):
        assert threads_woken(asleep) == (0, 0)
