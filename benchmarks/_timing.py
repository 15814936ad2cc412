"""What every benchmark shares: a description of the machine, its limit, interleaved samples, and lines of JSON."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PEAK_SECONDS = 0.015  # of a probe of the processor's peak, for each number of threads
DISTANCE_SECONDS = 0.005  # of a probe of how far the cores are apart
#: A sample with less than this part of the best peak of the run beside it was disturbed,
DISTURBED = 0.9
#: and so was one beside which the cores were so many times as far apart as in the best moment of the run.
FAR = 2
#: So many count at least: what happened between two probes shows in neither.
FEWEST_ROUNDS = 3


def machine() -> dict[str, Any]:
    """Say where a result was measured: processor, cores, instruction set, versions; never a path or a host's name."""
    import layerwise

    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "isa": layerwise._core.isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
    }


PACKAGES = ("layerwise", "numpy", "scipy", "scikit-learn", "torch", "jax", "pyod")


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    if name == "layerwise":
        import layerwise

        return layerwise.__version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Short commit, with a + when the sources of the package differ from it."""

    def git(*command: str) -> str:
        done = subprocess.run(["git", "-C", str(HERE), *command], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../csrc", "../python")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@contextlib.contextmanager
def blas_threads(threads: int) -> Iterator[None]:
    """NumPy's products on that many threads."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads, user_api="blas"):
        yield


def limit(threads: int, size: int = 2048, repeats: int = 3) -> float:
    """Best GFLOP/s of NumPy's float32 product of two large squares: what this machine gives at this moment."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size), np.float32) for _ in range(2))
    out = np.empty_like(a)
    with blas_threads(threads):
        return 2 * size**3 / min(seconds(lambda: np.matmul(a, b, out=out)) for _ in range(repeats)) / 1e9


def bandwidth(size: int, repeats: int = 9) -> float:
    """Best GB/s, read and written, of one thread copying so many bytes: half of them are read, half written."""
    source, target = np.ones(max(1, size // 8), np.float32), np.empty(max(1, size // 8), np.float32)
    calls = max(1, 2**23 // size)

    def copies() -> None:
        for _ in range(calls):
            np.copyto(target, source)

    return 2 * source.nbytes * calls / min(seconds(copies) for _ in range(repeats)) / 1e9


@functools.cache
def _probes() -> ctypes.CDLL | None:
    """The compiled probes of ``peak.cpp``, or None on a machine without a compiler."""
    compiler = shutil.which("c++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        options = ["-O2", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread"]
        subprocess.run([compiler, *options, str(HERE / "peak.cpp"), "-o", str(library)], check=True)
        probes = ctypes.CDLL(str(library))
    probes.fma_gflops.argtypes, probes.fma_gflops.restype = [ctypes.c_int, ctypes.c_double], ctypes.c_double
    probes.line_round_trip.argtypes, probes.line_round_trip.restype = [ctypes.c_double], ctypes.c_double
    return probes


def peak(threads: int) -> float:
    """GFLOP/s of fused multiply-adds in registers at this moment; of NumPy's product where there is no compiler."""
    probes = _probes()
    return float(probes.fma_gflops(threads, PEAK_SECONDS)) if probes else limit(threads, 512)


def distance(threads: int) -> float:
    """Nanoseconds for a cache line from one core to another and back; 0 for one thread, and without a compiler."""
    probes = _probes()
    return 1e9 * float(probes.line_round_trip(DISTANCE_SECONDS)) if probes and threads > 1 else 0.0


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def probe(threads: int, size: int = 1024) -> dict[str, float]:
    """Return the limit at this moment, on one thread and on all."""
    one, many = limit(1, size), limit(threads, size)
    return {"limit_1": round(one, 1), f"limit_{threads}": round(many, 1)}


def interleaved(
    samples: Mapping[str, Callable[[], float]], repeats: int, threads: int = 2, probe_size: int = 2048
) -> tuple[dict[str, list[float]], list[dict[str, float]]]:
    """Take `repeats` samples of each in turn, each round beside a probe of the machine's limit.

    Each sample is a function that returns its own time in seconds. A machine that is lent to others slows everyone in
    the round alike, so ratios are to be taken within rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in samples}
    probes = []
    for _ in range(repeats):
        probes.append(probe(threads, probe_size))
        for name, sample in samples.items():
            times[name].append(sample())
    return times, probes


def summary(times: list[float]) -> dict[str, Any]:
    """Median, minimum and the spread between quartiles, as a fraction of the median."""
    middle = statistics.median(times)
    low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else (middle, middle, middle)
    return {"median": middle, "best": min(times), "spread": (high - low) / middle, "samples": len(times)}


def paired_ratio(slow: list[float], fast: list[float]) -> float:
    """Median over rounds of how many times longer `slow` took."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def record(benchmark: str, **fields: Any) -> dict[str, Any]:
    """Append one line to ``results/<benchmark>.jsonl`` and return it."""
    line = {
        "benchmark": benchmark,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        **fields,
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{benchmark}.jsonl").open("a") as file:
        file.write(json.dumps(line, default=float) + "\n")
    return line


def records(benchmark: str) -> list[dict[str, Any]]:
    """All lines of ``results/<benchmark>.jsonl``, oldest first."""
    file = RESULTS / f"{benchmark}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def probed_round(
    samples: Mapping[Any, Callable[[], float]], threads: int, pause: float = 0.0
) -> tuple[dict[Any, float], list[float], list[float]]:
    """One sample of each in turn, and the peak and the cores' distance before the first and after each.

    `pause`: seconds before each probe, for threads of a library that wait on the cores after its work: they would be
    taken for a disturbed machine, and slow down who comes next.
    """

    def probe() -> None:
        time.sleep(pause)
        peaks.append(peak(threads))
        distances.append(distance(threads))

    times: dict[Any, float] = {}
    peaks: list[float] = []
    distances: list[float] = []
    probe()
    for name, sample in samples.items():
        times[name] = sample()
        probe()
    return times, peaks, distances


def disturbances(peaks: list[list[float]], distances: list[list[float]]) -> list[list[float]]:
    """How far from its best the machine was beside each sample of each round; up to 1 counts as undisturbed.

    A round has one probe before its first sample and one after each; of the two beside a sample the worse counts, by
    the best peak and the least distance of all.
    """
    best, least = max(max(of_round) for of_round in peaks), min(min(of_round) for of_round in distances)
    off = [
        [
            max(DISTURBED * best / gflops, nanoseconds / (FAR * least) if least > 0 else 0.0)
            for gflops, nanoseconds in zip(*probes, strict=True)
        ]
        for probes in zip(peaks, distances, strict=True)
    ]
    return [[max(pair) for pair in itertools.pairwise(of_round)] for of_round in off]


def kept(disturbed: list[list[float]], first: int, second: int) -> list[int]:
    """The rounds in which both samples are undisturbed, three at least: the least disturbed ones."""
    worse = [max(of_round[first], of_round[second]) for of_round in disturbed]
    count = max(FEWEST_ROUNDS, sum(one <= 1 for one in worse))
    return sorted(sorted(range(len(worse)), key=worse.__getitem__)[:count])


def _command() -> str:
    """The command line without folders, so that a result names no place on the machine."""
    return " ".join(
        ["python", f"benchmarks/{Path(sys.argv[0]).name}", *(Path(word).name or word for word in sys.argv[1:])]
    )
