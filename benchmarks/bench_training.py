"""How long one training epoch takes: Layerwise through its public API against NumPy, PyTorch and JAX.

    python benchmarks/bench_training.py [--workloads dae wide ...] [--repeats 9] [--threads 2]

Every contender runs in a process of its own (no library's threads disturb another's, buffer addresses vary), one at a
time, in turn, beside a probe of the machine's limit. Before any timing, all must report the same loss after the same
steps from the same weights, without noise. NumPy, PyTorch and JAX run at the better of one and `--threads` threads,
tried first. Peers that are not installed are skipped with a word. One JSON line per workload goes to
``benchmarks/results/training.jsonl``; `tables.py` makes the table of README.md from it.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import _timing
import peers
from workloads import WORKLOADS, Workload, data_of, weights_of

CHECKED_STEPS = 8
#: Agreement asked of the mean loss over the checked steps: float32 sums in another order, and what ReLU makes of them.
TOLERANCE = 1e-3

CONTENDERS = {
    "layerwise": "Layerwise",
    "layerwise tied": "LayerwiseTied",
    "numpy": "NumPy",
    "torch": "PyTorch",
    "jax": "Jax",
}


def work(pipe: Connection, name: str, workload: Workload, threads: int) -> None:
    """A contender's own process: makes it, then answers "check" and "epoch"."""
    try:
        if threads == 1:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        contender: peers.Contender = getattr(peers, CONTENDERS[name])(
            workload, data_of(workload), weights_of(workload), threads
        )
        while (order := pipe.recv()) is not None:
            pipe.send(contender.check(CHECKED_STEPS) if order == "check" else contender.epoch())
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception:
        pipe.send(traceback.format_exc())


class Process:
    """A contender at a distance."""

    def __init__(self, name: str, workload: Workload, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, self.threads = name, threads
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, name, workload, threads), daemon=True)
        self.process.start()
        other.close()

    def ask(self, order: str) -> float:
        self.pipe.send(order)
        answer = self.pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(f"{self.name} failed:\n{answer}")
        return float(answer)

    def close(self) -> None:
        self.pipe.send(None)
        self.process.join(10)


def measure(workload: Workload, names: list[str], repeats: int, threads: int) -> dict[str, Any]:
    """One line of results: every contender's times for the workload."""
    started = {}
    for name in names:
        started[name] = best_threads(name, workload, threads)
    losses = {name: process.ask("check") for name, process in started.items() if name != "layerwise tied"}
    first = losses["numpy"]
    for name, loss in losses.items():
        if not abs(loss - first) <= TOLERANCE * abs(first):
            raise AssertionError(f"{workload.name}: {name} has a loss of {loss} where numpy has {first}")
    print(f"  losses agree: {first:.6g} after {CHECKED_STEPS} steps", flush=True)

    for process in started.values():
        process.ask("epoch")
    samples = {name: (lambda process=process: process.ask("epoch")) for name, process in started.items()}
    times, probes = _timing.interleaved(samples, repeats, threads)
    for process in started.values():
        process.close()
    good = [i for i, probe in enumerate(probes) if threads == 1 or not _timing.halved(probe)] or range(repeats)
    results = {}
    for name, all_times in times.items():
        kept = [all_times[i] for i in good]
        results[name] = {
            "threads": started[name].threads or "own choice",
            **_timing.summary(kept),
            "gflops": workload.flops / _timing.summary(kept)["median"] / 1e9,
            "times_layerwise": _timing.paired_ratio(kept, [times["layerwise"][i] for i in good]),
            "all_seconds": [round(seconds, 5) for seconds in all_times],
        }
    return {
        "workload": workload.name,
        "sizes": workload.sizes,
        "batch_size": workload.batch_size,
        "rows": workload.rows,
        "gflop_per_epoch": workload.flops / 1e9,
        "checked_loss": {name: round(loss, 6) for name, loss in losses.items()},
        "probes": probes,
        "rounds_kept": len(good),
        "results": results,
    }


def best_threads(name: str, workload: Workload, threads: int) -> Process:
    """The contender at its better number of threads; ours chooses by itself."""
    if name.startswith("layerwise") or threads == 1:
        return Process(name, workload, 0 if name.startswith("layerwise") and threads > 1 else threads)
    tried = []
    for count in (1, threads):
        process = Process(name, workload, count)
        process.ask("epoch")
        tried.append((min(process.ask("epoch") for _ in range(2)), count, process))
    tried.sort(key=lambda trial: trial[0])
    for _, _, process in tried[1:]:
        process.close()
    return tried[0][2]


def available(name: str, workload: Workload) -> bool:
    """Whether the contender can take part; says so when not."""
    if name == "layerwise tied":
        return workload.name == "dae"
    missing = importlib.util.find_spec(name) is None
    if missing:
        print(f"  {name} is not installed: skipped", flush=True)
    return not missing


def show(line: dict[str, Any]) -> None:
    limit = max(max(probe.values()) for probe in line["probes"])
    print(f"  {'':16} {'threads':>10} {'median':>10} {'best':>10} {'spread':>7} {'GFLOP/s':>8} {'x layerwise':>12}")
    for name, result in line["results"].items():
        print(
            f"  {name:16} {result['threads']!s:>10} {result['median'] * 1e3:>7.1f} ms {result['best'] * 1e3:>7.1f} ms "
            f"{result['spread']:>6.0%} {result['gflops']:>8.1f} {result['times_layerwise']:>11.2f}x",
        )
    print(f"  limit (NumPy's large product): {limit:.0f} GFLOP/s; {line['rounds_kept']} rounds kept", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    for workload in (WORKLOADS[name] for name in options.workloads):
        print(f"{workload.name}: {'-'.join(map(str, workload.sizes))}, batch {workload.batch_size}", flush=True)
        wanted = ["layerwise", "numpy", *options.contenders]  # what the others are compared with always runs
        names = [name for name in CONTENDERS if name in wanted and available(name, workload)]
        line = measure(workload, names, options.repeats, options.threads)
        show(line)
        if not options.no_record:
            _timing.record("training", machine=_timing.machine(), **line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
