"""A fit that is killed at any moment and begun again ends with the bits of one that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from layerwise.persistence import checkpoint as files

KINDS = ("classifier", "machine", "simultaneous", "detector")


class Fits:
    """Fits in processes of their own."""

    def __init__(self, process: Any, folder: Path) -> None:
        self.process, self.folder = process, folder

    def run(self, kind: str, threads: int, checkpoint: str, kill_after: float | None = None) -> tuple[int, str, float]:
        """Fit, or kill the fit after so many seconds; return its exit code, its result and how long it took."""
        result = self.folder / "result"
        result.unlink(missing_ok=True)
        seconds = "never" if kill_after is None else kill_after
        start = time.perf_counter()
        self.process.stdin.write(f"{kind} {threads} {self.folder / checkpoint} {result} {seconds}\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, result.read_text() if result.exists() else "", time.perf_counter() - start


@contextmanager
def fits(folder: Path) -> Iterator[Fits]:
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Fits(process, folder)
        process.stdin.close()


def kill(times: int, folder: Path, seed: int) -> tuple[int, int, int]:
    """Kill so many fits, each at a moment of its own, and begin each again; more, until two in five were midway.

    Return how many were killed, how many then ended with the same result, and how many had a step to go on from.
    """
    moments = random.Random(seed)
    killed = midway = same = 0
    with fits(folder) as fit:
        fit.run(KINDS[0], 1, "first")  # the process begins, which takes its time
        whole = {kind: fit.run(kind, 1, f"whole.{kind}") for kind in KINDS}
        for number in range(4 * times):
            kind, path = KINDS[number % len(KINDS)], folder / str(number)
            _, expected, seconds = whole[kind]
            code, _, _ = fit.run(kind, 1, path.name, kill_after=moments.uniform(0, 0.9 * seconds))
            if code == -signal.SIGKILL:  # not over before
                killed += 1
                if path.exists():
                    found = files.load(path)  # it is whole, whenever that was
                    midway += bool(found.stages or found.positions)
                code, result, _ = fit.run(kind, 1, path.name)
                same += code == 0 and result == expected != ""
            path.unlink(missing_ok=True)
            if killed >= times and midway >= 0.4 * times:
                break
    assert killed >= times
    assert not list(folder.glob(".*.tmp"))
    return killed, same, midway


def test_twenty_fits_killed(tmp_path: Path) -> None:
    killed, same, midway = kill(20, tmp_path, seed=time.time_ns())
    assert same == killed
    assert midway >= 8, f"{midway} of {killed} had a step to go on from"


@pytest.mark.slow
def test_two_hundred_fits_killed(tmp_path: Path) -> None:
    killed, same, midway = kill(200, tmp_path, seed=time.time_ns())
    print(f"{same} of {killed} killed fits gave the same; {midway} had a step to go on from")
    assert same == killed
    assert midway >= 80
