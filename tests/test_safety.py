"""Signals, forks, threads, floating-point mode, random state and environment stay the host application's own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

from layerwise import DenoisingAutoencoder, FineTuning, Masking, PretrainedClassifier, StackedAutoencoder, _core

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc or forks")

# A model large enough that two threads have something to share, and its data.
MAKE = """
import numpy as np
from layerwise import DenoisingAutoencoder, FineTuning, Masking, PretrainedClassifier

rng = np.random.default_rng(0)
X = rng.random((600, 64), dtype=np.float32)
y = (X[:, :32].sum(axis=1) > X[:, 32:].sum(axis=1)).astype(int)

def make(epochs=2, finetuning_epochs=2, width=200, n_jobs=2, batch_size=50):
    return PretrainedClassifier(
        hidden_layer_sizes=(width, width),
        pretraining=DenoisingAutoencoder(corruption=Masking(0.2), epochs=epochs, batch_size=batch_size),
        finetuning=FineTuning(epochs=finetuning_epochs, batch_size=batch_size),
        n_jobs=n_jobs,
        random_state=0,
    )
"""


def python(code: str, *, timeout: float = 120, **environment: str) -> str:
    """Run code in a new interpreter; a hang is a failure."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def small_model() -> tuple[PretrainedClassifier, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.random((300, 24), dtype=np.float32)
    y = (X[:, 0] > 0.5).astype(int)
    model = PretrainedClassifier(
        hidden_layer_sizes=(32, 16),
        pretraining=DenoisingAutoencoder(corruption=Masking(0.2), epochs=2),
        finetuning=FineTuning(epochs=3),
        random_state=0,
    )
    return model.fit(X, y), X


# ---- fork ------------------------------------------------------------------------------------------------------------


@linux
def test_forked_children_train_and_predict_the_same_bits() -> None:
    # libgomp's workers do not survive a fork; a child that waited for them would hang for ever.
    code = (
        MAKE
        + """
import os, warnings
warnings.simplefilter("ignore")  # Python's own warning about forking with threads
expected = make().fit(X, y).predict_proba(X)
children = []
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        same = np.array_equal(make().fit(X, y).predict_proba(X), expected)
        os._exit(0 if same else 1)
    children.append(pid)
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert np.array_equal(make().fit(X, y).predict_proba(X), expected)
print("done")
"""
    )
    assert python(code) == "done\n"


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import sys, time
X, y = np.tile(X, (COPIES, 4)), np.tile(y, COPIES)
reference = make().fit(X, y).predict_proba(X)
for line in sys.stdin:
    model = make(EPOCHS, 100000, width=WIDTH, batch_size=BATCH)
    print("started", flush=True)
    try:
        model.fit(X, y)
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)
    again = model.set_params(**make().get_params()).fit(X, y).predict_proba(X)
    assert np.array_equal(again, reference), "the estimator must be as good as new"
"""


def latencies(code: str, moments: list[float]) -> list[float]:
    """Seconds from SIGINT to KeyboardInterrupt, for a signal sent at each moment after `fit` has begun."""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    taken = []
    try:
        for moment in moments:
            child.stdin.write("next\n")
            child.stdin.flush()
            assert child.stdout.readline() == "started\n", child.stderr.read()
            time.sleep(moment)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            taken.append(float(child.stdout.readline()) - sent)
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    finally:
        child.kill()
        child.wait()
    return taken


@linux
@pytest.mark.parametrize(
    "run",
    [
        {"EPOCHS": 1, "WIDTH": 50, "BATCH": 1, "COPIES": 1},
        {"EPOCHS": 100000, "WIDTH": 400, "BATCH": 50, "COPIES": 1},
        {"EPOCHS": 100000, "WIDTH": 800, "BATCH": 6000, "COPIES": 10},
    ],
    ids=["fine-tuning on single rows", "pretraining on batches", "pretraining on all rows, in blocks"],
)
def test_ctrl_c_is_noticed_within_a_tenth_of_a_second(run: dict[str, int]) -> None:
    code = MAKE + INTERRUPTED
    for name, value in run.items():
        code = code.replace(name, str(value))
    taken = latencies(code, [0.02, 0.1, 0.25, 0.45, 0.7])
    # A machine busy with other work makes some of them long, never short.
    assert sorted(taken)[1] <= 0.1, taken
    assert max(taken) <= 0.5, taken


def test_the_interrupt_handler_stays_the_callers() -> None:
    before = signal.getsignal(signal.SIGINT)
    small_model()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_may_end_while_a_thread_trains() -> None:
    code = (
        MAKE
        + """
import threading, time
threading.Thread(target=lambda: make(epochs=100000).fit(X, y), daemon=True).start()
time.sleep(0.3)
print("leaving")
"""
    )
    assert python(code, timeout=60) == "leaving\n"


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_many_threads_may_use_one_model() -> None:
    model, X = small_model()
    expected = {n: (model.predict_proba(X[:n]), model.transform(X[:n])) for n in (1, 17, 300)}

    def use(seed: int) -> bool:
        sizes = random.Random(seed).choices([1, 17, 300], k=40)
        return all(
            np.array_equal(model.predict_proba(X[:n]), expected[n][0])
            and np.array_equal(model.transform(X[:n]), expected[n][1])
            for n in sizes
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))


def test_models_trained_side_by_side_do_not_meet() -> None:
    expected = small_model()[0].coefs_
    with ThreadPoolExecutor(4) as pool:
        for model, _ in pool.map(lambda _: small_model(), range(8)):
            assert all(np.array_equal(a, b) for a, b in zip(model.coefs_, expected, strict=True))


@linux
def test_omp_num_threads_is_honoured() -> None:
    code = (
        MAKE
        + """
import os
from layerwise import _core
before = len(os.listdir("/proc/self/task"))
assert _core.default_threads() == 1
make(n_jobs=None).fit(X, y)
assert len(os.listdir("/proc/self/task")) == before
"""
    )
    python(code, OMP_NUM_THREADS="1")


@linux
def test_affinity_is_honoured() -> None:
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from layerwise import _core
assert _core.default_threads() == 1
"""
    python(code)


@linux
def test_threads_that_leave_the_callers_core_keep_their_affinity() -> None:
    code = (
        MAKE
        + """
import os
allowed = os.sched_getaffinity(0)
make(n_jobs=len(allowed) + 2).fit(X, y)  # more threads than cores: some must start on the caller's
tasks = os.listdir("/proc/self/task")
assert len(tasks) > len(allowed)
assert all(os.sched_getaffinity(int(task)) == allowed for task in tasks)
"""
    )
    python(code)


def test_threadpoolctl_is_honoured() -> None:
    small_model()
    with threadpoolctl.threadpool_limits(limits=1):
        assert _core.default_threads() == 1
    assert any(pool["user_api"] == "openmp" for pool in threadpoolctl.threadpool_info())


# ---- floating-point mode, random state, environment ------------------------------------------------------------------


def subnormals_survive() -> bool:
    tiny = np.array([1e-40], np.float32)
    return bool((tiny * np.float32(1.0))[0] == tiny[0] and (np.float32(1e-30) * np.array([1e-10], np.float32))[0] != 0)


def test_subnormal_numbers_survive_in_every_thread_of_the_caller() -> None:
    answers: list[bool] = []
    trained = threading.Event()

    def older_thread() -> None:
        trained.wait(60)
        answers.append(subnormals_survive())

    thread = threading.Thread(target=older_thread)
    thread.start()
    model, X = small_model()
    StackedAutoencoder(hidden_layer_sizes=(8,), random_state=0).fit(X)
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, 1:])
    trained.set()
    thread.join()
    assert answers == [True]
    assert subnormals_survive()


def test_global_random_state_is_neither_read_nor_changed() -> None:
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    numpy_state, python_state = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first = small_model()[0].coefs_[0]
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002
    assert random.getstate() == python_state
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(small_model()[0].coefs_[0], first)


@linux
@pytest.mark.parametrize(
    "user",
    [{}, {"GOMP_SPINCOUNT": "5000"}, {"OMP_WAIT_POLICY": "PASSIVE"}],
    ids=["nothing set", "spin count", "wait policy"],
)
def test_import_leaves_nothing_behind(user: dict[str, str]) -> None:
    code = """
import ctypes, os, sys, threading
import numpy
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
names = [*os.environ, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"]
before = dict(os.environ), [getenv(name.encode()) for name in names], len(os.listdir("/proc/self/task"))
import layerwise, layerwise._core
assert (dict(os.environ), [getenv(name.encode()) for name in names], len(os.listdir("/proc/self/task"))) == before
assert not {"sklearn", "tqdm", "safetensors", "pandas", "matplotlib", "torch"} & sys.modules.keys()
"""
    assert python(code, **user) == ""


def test_import_is_light() -> None:
    code = "import time, numpy; start = time.perf_counter(); import layerwise; print(time.perf_counter() - start)"
    # A machine busy with other work makes single measurements long, never short.
    assert min(float(python(code)) for _ in range(7)) <= 0.2
