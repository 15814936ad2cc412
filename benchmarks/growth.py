"""How the time of an epoch grows with rows, width, depth, batch size and threads, against the count of operations.

    python benchmarks/growth.py [--axes rows width ...] [--repeats 5]

One setting changes at a time, around a ReLU classifier 256-512-512-10 with 4,000 rows in batches of 100 and Adam.
Epochs are timed through the estimator's `fit`, as in `bench_training.py`; all points are measured in turn, `--repeats`
times, and of each point the samples count that were taken while the machine was at its best (the three least disturbed
ones at least). One JSON line per axis goes to ``benchmarks/results/growth.jsonl``; `tables.py` makes a table and, with
matplotlib, the plot ``benchmarks/growth.svg`` from them.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from dataclasses import replace
from typing import Any

import numpy as np

import _timing
from peers import Layerwise
from workloads import Workload, data_of, weights_of

BASE = Workload("growth", (256, 512, 512, 10), 100, "relu", "softmax", "adam", 1e-3, 4_000)


def points(axis: str, cores: int) -> dict[int, tuple[Workload, int]]:
    """The values of an axis: what is trained, and on how many threads (0: the engine's choice)."""
    first, *hidden, last = BASE.sizes
    if axis == "rows":
        return {n: (replace(BASE, rows=n), 0) for n in (500, 1_000, 4_000, 16_000, 64_000)}
    if axis == "width":
        return {n: (replace(BASE, sizes=(first, n, n, last)), 0) for n in (32, 64, 128, 256, 512, 1024, 2048)}
    if axis == "depth":
        return {n: (replace(BASE, sizes=(first, *[hidden[0]] * n, last)), 0) for n in (1, 2, 4, 8)}
    if axis == "batch":
        return {n: (replace(BASE, batch_size=n), 0) for n in (1, 4, 16, 50, 200, 1_000, 4_000)}
    counts = sorted({1, cores, *(2**k for k in range(1, cores.bit_length()) if 2**k < cores)})
    return {n: (BASE, n) for n in counts}


AXES = ("rows", "width", "depth", "batch", "threads")


def exponent(flops: list[float], seconds: list[float]) -> float:
    """The slope of log time over log operations: 1 where time grows as the work does."""
    if len(set(flops)) < 2:
        return math.nan
    return float(np.polyfit(np.log(flops), np.log(seconds), 1)[0])


def line_of(value: int, workload: Workload, summary: dict[str, Any]) -> dict[str, Any]:
    gflop = workload.flops / 1e9
    return {"value": value, "gflop": gflop, **summary, "gflops": gflop / summary["median"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=AXES, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    values = {axis: points(axis, cores) for axis in options.axes}
    # A setting that lies on several axes is measured once.
    trained = dict.fromkeys(point for of_axis in values.values() for point in of_axis.values())
    samples = {point: Layerwise(point[0], data_of(point[0]), weights_of(point[0]), point[1]).epoch for point in trained}
    rounds = [_timing.probed_round(samples, cores) for _ in range(options.repeats)]
    disturbed = _timing.disturbances([peaks for _, peaks, _ in rounds], [apart for _, _, apart in rounds])
    summaries = {
        point: _timing.summary([rounds[i][0][point] for i in _timing.kept(disturbed, place, place)])
        for place, point in enumerate(samples)
    }
    for axis, of_axis in values.items():
        lines = [line_of(n, point[0], summaries[point]) for n, point in of_axis.items()]
        for line in lines:
            print(
                f"{axis:8} {line['value']:>7}: {line['gflop']:>9.3f} GFLOP, {line['median'] * 1e3:>9.2f} ms an epoch "
                f"({line['samples']} samples, spread {line['spread']:.0%}), {line['gflops']:.1f} GFLOP/s"
            )
        slope = exponent([line["gflop"] for line in lines], [line["median"] for line in lines])
        known = slope if math.isfinite(slope) else None
        if known is not None:
            print(f"{axis:8} time grows as operations to the power of {slope:.2f}", flush=True)
        if not options.no_record:
            _timing.record("growth", axis=axis, points=lines, exponent=known, machine=_timing.machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
