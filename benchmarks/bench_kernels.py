"""How fast each public kernel of `layerwise.kernels` is, beside its NumPy twin in `layerwise.reference`.

    python benchmarks/bench_kernels.py [--only WORD] [--repeats 9] [--threads 2]

Both sides must give the same result before either is timed. The products are compared at equal threads; the twin's
element-wise work runs on one thread, as NumPy's does, and the kernels that are functions of arrays alone (activations,
losses, optimiser steps) take one thread in Layerwise as well. Times are those of the array functions, allocation of the
result included. The limit is NumPy's product of large squares or, for element-wise work, its copy of as many bytes on
one thread, in the same run. One JSON line per kernel goes to ``benchmarks/results/kernels.jsonl``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import _timing
from layerwise import _core, kernels, reference

#: Largest difference allowed, as a part of the largest number in the twin's result: rounding in another order.
TOLERANCE = 2e-5
#: A sample calls the kernel until so much time has passed, so that the clock's own cost is nothing; before that as long
#: untimed, as cores and caches that were idle are slower for some milliseconds.
SAMPLE_SECONDS = 0.02
#: NumPy's threads go on spinning for so long after a product, and would take a core from what comes next.
PAUSE_SECONDS = 0.1


@dataclass
class Case:
    """One kernel at one size: the same call on both sides, and what it costs."""

    name: str
    call: Callable[[Any], Any]  # given kernels or reference
    flops: float = 0.0
    bytes: float = 0.0  # read and written, once each

    def results(self, module: Any) -> list[np.ndarray]:
        result = self.call(module)
        return [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


def cases(threads: int) -> Iterator[Case]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    jobs = {"n_jobs": None if threads == len(os.sched_getaffinity(0)) else threads}  # None: chosen by the size
    for m, k, n in ((1024, 1024, 1024), (128, 1000, 1000), (20, 1000, 1000), (1, 1000, 1000)):
        a, b, at, bt = normal(m, k), normal(k, n), normal(k, m), normal(n, k)
        name, flops = f"matmul {m}x{k}x{n}", 2.0 * m * k * n
        yield Case(name, lambda on, a=a, b=b: on.matmul(a, b, **jobs), flops)
        yield Case(f"{name}, a^T", lambda on, a=at, b=b: on.matmul(a, b, transpose_a=True, **jobs), flops)
        yield Case(f"{name}, b^T", lambda on, a=a, b=bt: on.matmul(a, b, transpose_b=True, **jobs), flops)

    X, W, b, G = normal(128, 1000), normal(1000, 1000) / 30, normal(1000), normal(128, 1000)
    z, _ = reference.dense_forward(X, W, b, "sigmoid")
    flops = 2.0 * X.size * W.shape[1]
    name = "128x1000x1000 sigmoid"
    yield Case(f"dense_forward {name}", lambda on: on.dense_forward(X, W, b, "sigmoid", **jobs), flops)
    yield Case(f"dense_backward {name}", lambda on: on.dense_backward(X, W, z, G, "sigmoid", **jobs), 2 * flops)

    z, g = normal(1000, 1000) * 2, normal(1000, 1000)
    for name in _core.ACTIVATIONS:
        yield Case(f"activation {name}", lambda on, name=name: on.activation(z, name), bytes=8.0 * z.size)
        yield Case(
            f"activation_backward {name}",
            lambda on, name=name: on.activation_backward(z, g, name),
            bytes=16.0 * z.size,
        )
    yield Case("softmax", lambda on: on.softmax(z), bytes=8.0 * z.size)

    p, share = normal(1000, 1000) * 2, rng.random((1000, 1000), np.float32)
    share /= share.sum(axis=1, keepdims=True)
    for name in _core.LOSSES:
        groups = [("number", 500), ("category", 500)] if name == "mixed" else ()
        yield Case(
            f"loss {name}",
            lambda on, name=name, groups=groups: on.loss(p, share, name, groups=groups),
            bytes=12.0 * p.size,
        )

    size = 1_000_000
    w, m, v, g = normal(size), normal(size), np.abs(normal(size)), normal(size)
    for name, moments, more in (
        ("sgd", (), {}),
        ("momentum", (m,), {}),
        ("nesterov", (m,), {}),
        ("adagrad", (v,), {}),
        ("rmsprop", (v,), {}),
        ("adam", (m, v), {"step": 3}),
        ("adamw", (m, v), {"step": 3}),
    ):
        # A rate so small that thousands of repeats leave the numbers where they are.
        settings = {"learning_rate": 1e-7, **more}
        yield Case(
            f"{name}_step",
            Stepper(f"{name}_step", w, moments, g, settings),
            bytes=4.0 * size * (3 + 2 * len(moments)),
        )


class Stepper:
    """Calls an optimiser's step on buffers of its own, which both sides start from equal."""

    def __init__(
        self, name: str, w: np.ndarray, moments: tuple[np.ndarray, ...], g: np.ndarray, settings: dict[str, Any]
    ) -> None:
        self.name, self.g, self.settings = name, g, settings
        self.buffers = {id(on): [buffer.copy() for buffer in (w, *moments)] for on in (kernels, reference)}

    def __call__(self, on: Any) -> tuple[np.ndarray, ...]:
        buffers = self.buffers[id(on)]
        getattr(on, self.name)(*buffers, self.g, **self.settings)
        return tuple(buffers)


def assert_equal(case: Case) -> None:
    """Both sides agree, NaN and infinity not occurring."""
    for ours, theirs in zip(case.results(kernels), case.results(reference), strict=True):
        difference = np.abs(ours.astype(np.float64) - theirs).max()
        if not difference <= TOLERANCE * max(1e-30, np.abs(theirs).max()):
            raise AssertionError(f"{case.name}: the kernel differs from its twin by {difference}")


def sample(case: Case, module: Any) -> Callable[[], float]:
    """A function that times enough calls and returns the seconds of one, when the other side's threads are asleep."""

    def take() -> float:
        time.sleep(PAUSE_SECONDS)
        for _ in ("untimed", "timed"):
            calls, start = 0, time.perf_counter()
            while (passed := time.perf_counter() - start) < SAMPLE_SECONDS:
                case.call(module)
                calls += 1
        return passed / calls

    return take


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="kernels whose name contains the word")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    machine = _timing.machine()
    print(f"{'kernel':42} {'layerwise':>11} {'numpy':>11} {'ratio':>7}   speed")
    with _timing.blas_threads(options.threads):
        for case in cases(options.threads):
            if options.only not in case.name:
                continue
            assert_equal(case)
            samples = {"layerwise": sample(case, kernels), "numpy": sample(case, reference)}
            times, probes = _timing.interleaved(samples, options.repeats, options.threads, probe_size=512)
            ours, theirs = (_timing.summary(times[name]) for name in samples)
            unit, work = ("GFLOP/s", case.flops) if case.flops else ("GB/s", case.bytes)
            line = {
                "kernel": case.name,
                "threads": options.threads,
                "layerwise": ours,
                "numpy": theirs,
                "ratio": _timing.paired_ratio(times["numpy"], times["layerwise"]),
                "unit": unit,
                "speed": work / ours["median"] / 1e9,
                "limit": max(max(probe.values()) for probe in probes)
                if case.flops
                else _timing.bandwidth(int(case.bytes)),
            }
            both = f"{ours['median'] * 1e6:8.1f} us {theirs['median'] * 1e6:8.1f} us"
            speed = f"{line['speed']:.1f} {unit}, {line['speed'] / line['limit']:.0%}"
            print(f"{case.name:42} {both} {line['ratio']:6.2f}x   {speed}", flush=True)
            if not options.no_record:
                _timing.record("kernels", machine=machine, **line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
