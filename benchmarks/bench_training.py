"""How long a training epoch or a prediction takes: Layerwise's public API against NumPy, PyTorch, JAX, scikit-learn.

    python benchmarks/bench_training.py [--workloads dae wide ...] [--repeats 6] [--processes 2] [--resume]
        [--avx2] [--mnist]

Every contender runs in a process of its own (no library's threads disturb another's), one at a time, in turn; all start
afresh `--processes` times, because the addresses of buffers matter. Before any timing, all must report the same loss
after the same steps from the same weights, without noise; what a contender compiles, it has compiled by then. Each peer
runs at the better of one and `--threads` threads, tried first; Layerwise chooses by itself. Beside each sample the peak
of the processor and how far its cores are apart are probed; a contender is compared with ours in the rounds in which
both samples were undisturbed, in the three least disturbed ones at least. What takes longer than a
second or so an epoch is timed on a part of its batches. Peers that are not installed are skipped with a word. One JSON
line per workload goes to ``benchmarks/results/training.jsonl``, from which `tables.py` makes the tables of README.md;
with `--resume` a workload that has a line of this commit there is left out. With `--avx2` no contender uses AVX-512, as
on most processors; with `--mnist` the rows are MNIST's pictures, whose pixels are mostly 0, and not made-up numbers.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import _timing
from peers import CONTENDERS, ONE_THREAD, Contender
from workloads import WORKLOADS, Data, Workload, data_of, pictures_of, weights_of

CHECKED_STEPS = 8
PAUSE_SECONDS = 0.3  # after each sample: the threads of NumPy and PyTorch wait on the cores for a while
SAMPLE_SECONDS = 1.2  # a slower contender is timed on a part of its epoch
#: How each library is told to leave AVX-512 alone, which it must know before it is loaded.
WITHOUT_AVX512 = {
    "LAYERWISE_ISA": "x86-64-v3",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    # PyTorch takes what it once compiled for other vectors, too: results are NaN, or the process ends.
    "TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"torchinductor-avx2-{os.getuid()}"),
}


def work(pipe: Connection, name: str, workload: Workload, threads: int, data: Data | None) -> None:
    """A contender's own process: makes it, then answers what is asked."""
    try:
        if threads == 1:
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        file, kind, _ = CONTENDERS[name]
        make = getattr(importlib.import_module(file), kind)
        contender: Contender = make(workload, data or data_of(workload), weights_of(workload), threads)
        pipe.send(contender.refusal())
        while (order := pipe.recv()) is not None:
            method, *arguments = order
            pipe.send((getattr(contender, method)(*arguments), contender.tolerance))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception:
        pipe.send(("failed", traceback.format_exc()))


class Process:
    """A contender at a distance."""

    def __init__(self, name: str, workload: Workload, threads: int, data: Data | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, self.threads, self.share = name, threads, 1.0
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, name, workload, threads, data), daemon=True)
        self.process.start()
        other.close()
        self.refusal = self._receive()

    def ask(self, *order: Any) -> tuple[float, float]:
        self.pipe.send(order)
        answer: tuple[float, float] = self._receive()
        return answer

    def check(self) -> tuple[float, float]:
        """The loss, and how far it may be from the others'."""
        return self.ask("check", CHECKED_STEPS)

    def epoch(self) -> float:
        return self.ask("epoch", self.share)[0]

    def warm(self, steps: int) -> None:
        """Two batches to warm up, two more to see which part of an epoch a sample can be, and that part once."""
        self.ask("epoch", 2 / steps)
        self.share = min(1.0, SAMPLE_SECONDS / self.ask("epoch", 2 / steps)[0])
        self.share = min(1.0, SAMPLE_SECONDS / self.epoch())

    def close(self) -> None:
        self.pipe.send(None)
        self.process.join(10)

    def _receive(self) -> Any:
        answer = self.pipe.recv()
        if isinstance(answer, tuple) and answer[0] == "failed":
            raise RuntimeError(f"{self.name} failed:\n{answer[1]}")
        return answer


def measure(workload: Workload, names: list[str], options: argparse.Namespace, data: Data | None) -> dict[str, Any]:
    """One line of results: every contender's times for the workload, on these rows or made-up ones."""
    started, threads = time.monotonic(), options.threads
    chosen: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    peaks: list[list[float]] = []
    distances: list[list[float]] = []
    limits: list[dict[str, float]] = []
    starting = 0.0  # the time that starting took, compilation above all, which is no part of what `--seconds` bounds
    for life in range(options.processes):
        begun = time.monotonic()
        processes = start(workload, list(times) or names, chosen, threads, data)
        losses = agreed(workload, processes)
        starting += time.monotonic() - begun
        if life == 0:
            print(f"  losses agree: {next(iter(losses.values())):.6g} ({time.monotonic() - started:.0f} s)", flush=True)
            times = {name: [] for name in processes}
        for round_ in range(-(-options.repeats // options.processes)):
            spent = (time.monotonic() - started - starting) / options.seconds
            if round_ > 1 and spent > (life + 1) / options.processes:
                break
            limits.append({f"limit_{count}": round(_timing.limit(count, repeats=2), 1) for count in {1, threads}})
            samples = {name: process.epoch for name, process in processes.items()}
            taken, of_round, apart = _timing.probed_round(samples, threads, PAUSE_SECONDS)
            peaks.append(of_round)
            distances.append(apart)
            for name, seconds in taken.items():
                times[name].append(seconds)
        for process in processes.values():
            process.close()
    disturbed, place = _timing.disturbances(peaks, distances), {name: number for number, name in enumerate(times)}
    results = {}
    for name, every in times.items():
        rounds = _timing.kept(disturbed, place[name], place["layerwise"])
        own = [every[i] for i in rounds]
        results[name] = {
            "threads": chosen[name] or "own choice",
            **_timing.summary(own),
            "gflops": workload.flops / _timing.summary(own)["median"] / 1e9,
            "times_layerwise": _timing.paired_ratio(own, [times["layerwise"][i] for i in rounds]),
            "all_seconds": [float(f"{seconds:.4g}") for seconds in every],
        }
    return {
        "workload": workload.name,
        "sizes": workload.sizes,
        "batch_size": workload.batch_size,
        "rows": workload.rows,
        "predicts": workload.predicts,
        "gflop_per_epoch": workload.flops / 1e9,
        "checked_loss": {name: round(loss, 6) for name, loss in losses.items()},
        "peaks": [[round(gflops, 1) for gflops in of_round] for of_round in peaks],
        "distances": [[round(nanoseconds) for nanoseconds in of_round] for of_round in distances],
        "probes": limits,
        "processes": options.processes,
        "seconds": round(time.monotonic() - started, 1),
        "results": results,
    }


def start(
    workload: Workload, names: list[str], chosen: dict[str, int], threads: int, data: Data | None = None
) -> dict[str, Process]:
    """Start the contenders, warm; the first time at each number of threads, of which `chosen` keeps the better."""
    processes = {}
    for name in names:
        if name in chosen:
            tried = [chosen[name]]
        elif name.startswith("layerwise"):
            tried = [1 if threads == 1 or name == ONE_THREAD else 0]
        else:
            tried = sorted({1, threads})
        trials = []
        for count in tried:
            process = Process(name, workload, count, data)
            if process.refusal:
                print(f"  {name} {process.refusal}: skipped", flush=True)
                process.close()
                break
            process.check()
            process.warm(workload.steps)
            trials.append(process)
        if len(trials) > 1:  # in turn, since the machine may change its pace between them
            rounds = [[rested(process.epoch) for process in trials] for _ in range(3)]
            trials.sort(key=dict(zip(trials, map(min, zip(*rounds, strict=True)), strict=True)).__getitem__)
        for process in trials[1:]:
            process.close()
        if trials:
            processes[name] = trials[0]
            chosen[name] = trials[0].threads
    return processes


def rested(sample: Callable[[], float]) -> float:
    """A sample once the threads of the one before have left the cores."""
    time.sleep(PAUSE_SECONDS)
    return sample()


def agreed(workload: Workload, processes: dict[str, Process]) -> dict[str, float]:
    """Each contender's loss, which must be NumPy's."""
    answers = {name: process.check() for name, process in processes.items() if name != "layerwise tied"}
    first = answers["numpy"][0]
    for name, (loss, tolerance) in answers.items():
        if not abs(loss - first) <= tolerance * abs(first):
            raise AssertionError(f"{workload.name}: {name} has a loss of {loss} where numpy has {first}")
    return {name: loss for name, (loss, _) in answers.items()}


def available(name: str) -> bool:
    """Whether the contender's package is installed; says so when not."""
    if importlib.util.find_spec(CONTENDERS[name][2]) is not None:
        return True
    print(f"  {name} is not installed: skipped", flush=True)
    return False


def show(line: dict[str, Any]) -> None:
    limit = max(max(probe.values()) for probe in line["probes"])
    heads = (
        f"{'threads':>10} {'median':>12} {'best':>12} {'spread':>7} {'GFLOP/s':>8} {'x layerwise':>12} {'rounds':>7}"
    )
    print(f"  {'':18} {heads}")
    for name, result in line["results"].items():
        print(
            f"  {name:18} {result['threads']!s:>10} {result['median'] * 1e3:>9.2f} ms {result['best'] * 1e3:>9.2f} ms "
            f"{result['spread']:>6.0%} {result['gflops']:>8.1f} {result['times_layerwise']:>11.2f}x "
            f"{result['samples']:>7}",
        )
    apart = sorted(itertools.chain.from_iterable(line["distances"]))
    cores = f"cores {apart[0]:.0f} to {apart[-1]:.0f} ns apart, {apart[len(apart) // 2]:.0f} in the median"
    print(f"  limit (NumPy's large product): {limit:.0f} GFLOP/s; {cores}; {line['seconds']} s", flush=True)


def finished(threads: int, mnist: bool) -> set[str]:
    """The workloads that have a line of this very commit, number of threads and data."""
    commit = _timing.machine()["commit"]
    lines = _timing.records("training")
    own = {"commit": commit, "isa": _timing.machine()["isa"]}
    return {
        line["workload"]
        for line in lines
        if line["machine"].items() >= own.items()
        and (line.get("threads"), line.get("mnist", False)) == (threads, mnist)
        and not commit.endswith("+")
    }


def restart_without_avx512() -> None:
    """Begin again with the variables that the libraries read when they are loaded, unless they are set already."""
    if all(value in os.environ.get(name, "") for name, value in WITHOUT_AVX512.items()):
        return
    flags = f"{os.environ.get('XLA_FLAGS', '')} {WITHOUT_AVX512['XLA_FLAGS']}".strip()  # which may hold others
    sys.stdout.flush()
    os.execve(sys.executable, sys.orig_argv, {**os.environ, **WITHOUT_AVX512, "XLA_FLAGS": flags})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=6, help="rounds, over all processes")
    parser.add_argument("--processes", type=int, default=2, help="how often every contender starts afresh")
    parser.add_argument(
        "--seconds", type=float, default=170, help="of a workload's rounds: then it stops at two a process"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--resume", action="store_true", help="leave out workloads that this commit has a line of")
    parser.add_argument("--avx2", action="store_true", help="no contender uses AVX-512")
    parser.add_argument("--mnist", action="store_true", help="on MNIST's pictures, which LAYERWISE_DATA has")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    if options.avx2:
        restart_without_avx512()
    done = finished(options.threads, options.mnist) if options.resume else set()
    # Imported here: the contenders' processes import this file, and no peer should run beside our library.
    pictures = importlib.import_module("layerwise.datasets").load_mnist() if options.mnist else None
    for workload in (WORKLOADS[name] for name in options.workloads if name not in done):
        print(f"{workload.name}: {'-'.join(map(str, workload.sizes))}, batch {workload.batch_size}", flush=True)
        wanted = ["layerwise", "numpy", *options.contenders]  # what the others are compared with always runs
        names = [name for name in CONTENDERS if name in wanted and available(name)]
        data = None if pictures is None else pictures_of(workload, pictures.X_train, pictures.y_train)
        line = measure(workload, names, options, data)
        show(line)
        if not options.no_record:
            _timing.record("training", machine=_timing.machine(), threads=options.threads, mnist=options.mnist, **line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
