"""Whether fits are slowed down by one another or by a busy core, and the caller's own NumPy or PyTorch by ours.

    python benchmarks/bench_neighbours.py [--repeats 7] [--only fits | busy | calls]

*Fits.* As many fits as there are cores, at the same time, each free to choose its threads: in processes of their own
and in threads of one process. The last should be ready in 1.15 times what one fit takes alone on one core. What the
machine itself gives is measured beside them: as many processes whose fits ask for one thread each. What is together
is compared with what is alone in the rounds in which the machine was at its best beside both (the three least
disturbed ones at least).

*Busy.* A fit that may choose its threads against the same fit on one thread, with every core free and with another
process on the last core: the median epoch after the first half second should never take more than 1.05 times as long.

*Calls.* A threaded product of ours and one of the neighbour's (NumPy, PyTorch), alone and in turn. OpenMP's threads
spin for a while after a region and hold the core that the next library wants; ours should cost the neighbour at most
0.3 ms. What the neighbour's own spinning costs us is reported beside it. One JSON line per measurement goes to
``benchmarks/results/neighbours.jsonl``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import _timing
from workloads import WORKLOADS, data_of

FITS_BAR, BUSY_BAR, CALLS_BAR = 1.15, 1.05, 0.3e-3
SETTLED = 0.5  # seconds of a fit after which its epochs count in `busy`
FIT_ROWS = {"tabular": 12_800, "dae": 2_000}
EPOCHS = {"tabular": 320, "dae": 12}  # two seconds or so
MACHINE = "processes of one thread each"  # what two cores give that share nothing of ours


def model_of(name: str, jobs: int | None, epochs: int) -> tuple[Any, tuple[Any, Any]]:
    """An estimator and what it is fitted to."""
    from layerwise import Adam, DenoisingAutoencoder, FineTuning, PretrainedClassifier, StackedAutoencoder

    workload = WORKLOADS[name]
    data = data_of(workload)
    X, y = data.X[: FIT_ROWS[name]], data.y[: FIT_ROWS[name]]
    same = {"epochs": epochs, "batch_size": workload.batch_size, "optimizer": Adam(workload.rate)}
    shared = {"activation": workload.activation, "random_state": 0, "n_jobs": jobs}
    hidden = workload.sizes[1:-1]
    if workload.rebuilds_input:
        model = StackedAutoencoder(hidden, pretraining=DenoisingAutoencoder(tied=False, **same), **shared)
    else:
        model = PretrainedClassifier(
            hidden, pretraining=None, finetuning=FineTuning(schedule="constant", **same), **shared
        )
    return model, (X, y)


def fitter(name: str, jobs: int | None) -> Callable[[], float]:
    """A function that fits and returns its seconds."""
    model, data = model_of(name, jobs, EPOCHS[name])
    return lambda: _timing.seconds(lambda: model.fit(*data))


def epoch_timer(name: str, jobs: int | None) -> Callable[[], float]:
    """A function that fits for about three times SETTLED and returns the median epoch of what comes after SETTLED."""
    model, data = model_of(name, 1, 3)
    epoch = statistics.median(record.seconds for record in model.fit(*data).history_)
    model, data = model_of(name, jobs, math.ceil(3 * SETTLED / epoch))

    def settled() -> float:
        seconds = [record.seconds for record in model.fit(*data).history_]
        ends = np.cumsum(seconds)
        return float(np.median([s for s, end in zip(seconds, ends, strict=True) if end - s >= SETTLED] or seconds[-1:]))

    return settled


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process keeps the last core busy."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=occupy, args=(max(os.sched_getaffinity(0)), ready), daemon=True)
    process.start()
    ready.wait()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def occupy(core: int, ready: Any) -> None:
    os.sched_setaffinity(0, {core})
    ready.set()
    while True:
        pass


def fit_in_process(pipe: Connection, name: str, jobs: int | None) -> None:
    """A process that fits whenever it is told to."""
    fit = fitter(name, jobs)
    fit()
    pipe.send("ready")
    with contextlib.suppress(EOFError):  # who told it is gone
        while True:
            pipe.recv()
            pipe.send(fit())


def in_processes(name: str, count: int, jobs: int | None) -> Callable[[], float]:
    """Fits in `count` processes at the same time: the seconds until the last is ready."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(count):
        pipe, other = context.Pipe()
        context.Process(target=fit_in_process, args=(other, name, jobs), daemon=True).start()
        other.close()
        pipes.append(pipe)
    for pipe in pipes:
        pipe.recv()

    def together() -> float:
        start = time.perf_counter()
        for pipe in pipes:
            pipe.send("fit")
        for pipe in pipes:
            pipe.recv()
        return time.perf_counter() - start

    return together


def in_threads(name: str, count: int) -> Callable[[], float]:
    """The same in threads of this process."""
    every = [fitter(name, None) for _ in range(count)]

    def together() -> float:
        start = time.perf_counter()
        threads = [threading.Thread(target=fit) for fit in every]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    together()
    return together


def fits(name: str, count: int) -> dict[str, Callable[[], float]]:
    """One alone on one core, and `count` of them together."""
    alone = fitter(name, 1)
    alone()
    return {
        "alone": alone,
        "processes": in_processes(name, count, None),
        "threads": in_threads(name, count),
        MACHINE: in_processes(name, count, 1),
    }


def neighbours() -> Iterator[tuple[str, Callable[[], object]]]:
    """A threaded product of each library there is."""
    rng = np.random.default_rng(1)
    a, b = rng.random((256, 784), np.float32), rng.random((784, 256), np.float32)
    out = np.empty((256, 256), np.float32)
    yield "numpy", lambda: np.matmul(a, b, out=out)
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: skipped", flush=True)
        return
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    yield "torch", lambda: torch.mm(left, right)


def calls(theirs: Callable[[], object], calls_each: int = 50) -> dict[str, Callable[[], float]]:
    """Seconds of one call of ours and of theirs, alone and after the other; each the median of some."""
    from layerwise import kernels

    rng = np.random.default_rng(0)
    a, b = rng.random((256, 784), np.float32), rng.random((784, 256), np.float32)
    jobs = len(os.sched_getaffinity(0))

    def ours() -> object:
        return kernels.matmul(a, b, n_jobs=jobs)

    def median(before: Callable[[], object], timed: Callable[[], object]) -> float:
        found = []
        for _ in range(calls_each):
            before()
            found.append(_timing.seconds(timed))
        return statistics.median(found)

    return {
        "ours alone": lambda: median(ours, ours),
        "theirs alone": lambda: median(theirs, theirs),
        "ours after theirs": lambda: median(theirs, ours),
        "theirs after ours": lambda: median(ours, theirs),
    }


def measure_fits(name: str, options: argparse.Namespace, cores: int) -> dict[str, Any]:
    samples = fits(name, cores)
    rounds = [_timing.probed_round(samples, cores) for _ in range(options.repeats)]
    times = {way: [of_round[way] for of_round, _, _ in rounds] for way in samples}
    peaks, distances = [of_round for _, of_round, _ in rounds], [apart for _, _, apart in rounds]
    disturbed, ways = _timing.disturbances(peaks, distances), list(samples)
    kept = {way: _timing.kept(disturbed, place, ways.index("alone")) for place, way in enumerate(ways)}
    ratios = {
        way: _timing.paired_ratio([times[way][i] for i in kept[way]], [times["alone"][i] for i in kept[way]])
        for way in ways
        if way != "alone"
    }
    for way, ratio in ratios.items():
        verdict = "" if way == MACHINE else f", {'within' if ratio <= FITS_BAR else 'ABOVE'} {FITS_BAR}"
        print(
            f"{name}: {cores} fits in {way} take {ratio:.2f} times one alone on one core"
            f"{verdict} ({len(kept[way])} rounds)",
            flush=True,
        )
    return {
        "fits": name,
        "count": cores,
        "ratios": ratios,
        "times": {way: _timing.summary([times[way][i] for i in kept[way]]) for way in ways},
        "all_seconds": times,
        "peaks": peaks,
        "distances": distances,
    }


def measure_busy(name: str, options: argparse.Namespace, cores: int) -> dict[str, Any]:
    one, free = epoch_timer(name, 1), epoch_timer(name, None)
    ratios, found = {}, {}
    for where in ("free", "busy"):
        with busy_core() if where == "busy" else contextlib.nullcontext():
            times, probes = _timing.interleaved({"one": one, "own": free}, options.repeats, cores, probe_size=1024)
        ratios[where] = _timing.paired_ratio(times["own"], times["one"])
        found[where] = {"times": {way: _timing.summary(every) for way, every in times.items()}, "probes": probes}
        verdict = "within" if ratios[where] <= BUSY_BAR else "ABOVE"
        print(f"{name}, last core {where}: own choice takes {ratios[where]:.2f} times one thread, {verdict} {BUSY_BAR}")
    return {"busy": name, "ratios": ratios, "last_core": found}


def measure_calls(name: str, theirs: Callable[[], object], options: argparse.Namespace, cores: int) -> dict[str, Any]:
    times, probes = _timing.interleaved(calls(theirs), options.repeats, cores, probe_size=1024)
    medians = {way: statistics.median(every) for way, every in times.items()}
    costs = {side: medians[f"{side} after {other}"] - medians[f"{side} alone"] for side, other in PAIRS}
    verdict = "within" if costs["theirs"] <= CALLS_BAR else "ABOVE"
    print(f"{name} after ours: {costs['theirs'] * 1e3:+.3f} ms, {verdict} {CALLS_BAR * 1e3} ms", end="; ")
    print(f"ours after {name}: {costs['ours'] * 1e3:+.3f} ms", flush=True)
    return {"calls": name, "seconds": medians, "costs": costs, "probes": probes}


PAIRS = (("ours", "theirs"), ("theirs", "ours"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=("fits", "busy", "calls"))
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    cores, lines = len(os.sched_getaffinity(0)), []
    import layerwise  # noqa: F401  (before PyTorch, as its own OpenMP settings ask for)

    if options.only in (None, "calls"):
        lines += [measure_calls(name, theirs, options, cores) for name, theirs in neighbours()]
    if options.only in (None, "fits"):
        lines += [measure_fits(name, options, cores) for name in FIT_ROWS]
    if options.only in (None, "busy"):
        lines += [measure_busy(name, options, cores) for name in FIT_ROWS]
    if not options.no_record:
        for line in lines:
            _timing.record("neighbours", machine=_timing.machine(), **line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
