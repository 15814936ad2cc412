"""How `csrc/net/pace.h` chooses the number of threads, on a simulated clock."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a compiler")

TEAM = 2


@dataclass(frozen=True)
class Stretch:
    """Some steps between two looks at the clock."""

    end: float
    steps: float
    threads: int
    seconds: float


Simulate = Callable[..., list[Stretch]]


def compiled(folder: Path, source: Path, *more: str | Path) -> Path:
    program = folder / source.stem
    command = ["c++", "-std=c++17", "-O1", f"-I{ROOT / 'csrc'}", source, *more, "-o", program]
    subprocess.run(list(map(str, command)), check=True)
    return program


@pytest.fixture(scope="module")
def simulate(tmp_path_factory: pytest.TempPathFactory) -> Simulate:
    program = compiled(tmp_path_factory.mktemp("pace"), ROOT / "tests" / "pace" / "simulate.cpp")

    def run(
        *world: tuple[float, ...],
        seconds: float = 20.0,
        epoch: int = 1000,
        last: float = 1.0,
        noise: float = 0.02,
        threads: int = TEAM,
        start: float = 0.0,
        wake: float = 0.0,
    ) -> list[Stretch]:
        """`world`: (until, a step's seconds with all threads, half of them, ..., one, and which parts of these a thread
        waits for a core)."""
        levels = threads.bit_length()
        lines = [
            f"{threads} {epoch} {last} {seconds} {noise} {start} {wake}",
            *(" ".join(map(str, (*times, *[0] * (1 + 2 * levels - len(times))))) for times in world),
        ]
        done = subprocess.run([str(program)], input="\n".join(lines), capture_output=True, text=True, check=True)
        rows = (line.split() for line in done.stdout.splitlines())
        return [Stretch(float(end), float(steps), int(threads), float(took)) for end, steps, threads, took in rows]

    return run


def share(stretches: list[Stretch], threads: int, begin: float, end: float) -> float:
    """Which part of the time between `begin` and `end` was spent on so many threads."""
    inside = [s for s in stretches if begin <= s.end <= end]
    return sum(s.seconds for s in inside if s.threads == threads) / sum(s.seconds for s in inside)


def loss(stretches: list[Stretch], best: float, begin: float, end: float) -> float:
    """How much longer the steps between `begin` and `end` took than at `best` seconds each."""
    inside = [s for s in stretches if begin <= s.end <= end]
    return sum(s.seconds for s in inside) / (best * sum(s.steps for s in inside)) - 1


# Seconds of a step with two threads and with one: tiny nets and large ones, and a second core that is there or gone.
WORLDS = {
    "tabular, two cores": (12e-6, 16e-6),
    "tabular, one core": (33e-6, 16e-6),
    "tabular, a core shared by five": (80e-6, 16e-6),
    "paper, two cores": (1e-3, 1.9e-3),
    "paper, one core": (2.2e-3, 1.9e-3),
    "wide, two cores": (4e-3, 7.6e-3),
    "large batches, two cores": (0.2, 0.39),
    "large batches, one core": (0.6, 0.39),
    "nearly equal": (1.04e-3, 1e-3),
}


@pytest.mark.parametrize("epoch", [3, 100, 100_000])
@pytest.mark.parametrize("world", WORLDS)
def test_it_finds_the_faster_within_half_a_second_and_probing_costs_little(
    simulate: Simulate, world: str, epoch: int
) -> None:
    team, alone = WORLDS[world]
    noise = 0.02
    stretches = simulate((1e9, team, alone), seconds=max(20, 150 * alone), epoch=epoch, noise=noise)
    best = min(team, alone) * (1 + noise / 2)
    settled = 0.5 + 3 * max(team, alone)
    end = stretches[-1].end
    assert loss(stretches, best, settled, end) < 0.05
    assert loss(stretches, best, 5 + settled, end) < 0.05
    if abs(team - alone) > 0.1 * alone:
        assert loss(stretches, best, 5 + settled, end) < 0.025
        assert share(stretches, TEAM if team < alone else 1, settled, end) > 0.9


@pytest.mark.parametrize("world", ["tabular, two cores", "tabular, one core", "paper, two cores", "paper, one core"])
@pytest.mark.parametrize("seconds", [0.05, 0.2, 1.0])
def test_short_fits_lose_little(simulate: Simulate, world: str, seconds: float) -> None:
    team, alone = WORLDS[world]
    stretches = simulate((1e9, team, alone), seconds=seconds, epoch=400, noise=0.0)
    spent = sum(s.seconds for s in stretches)
    lost = spent - min(team, alone) * sum(s.steps for s in stretches)
    assert lost < 0.005 + 0.03 * seconds


@pytest.mark.parametrize("start", [1e-3, 12e-3])
@pytest.mark.parametrize("world", ["tabular, two cores", "tabular, one core"])
def test_threads_that_are_slow_to_start_or_to_wake_are_not_taken_for_slow(
    simulate: Simulate, world: str, start: float
) -> None:
    team, alone = WORLDS[world]
    stretches = simulate((1e9, team, alone), seconds=1.5, start=start, wake=0.2e-3)
    assert share(stretches, TEAM if team < alone else 1, 0.05, 1.5) > 0.9
    assert loss(stretches, min(team, alone) * 1.01, 0.05, 1.5) < 0.05


@pytest.mark.parametrize("epoch", [2, 3, 5])
@pytest.mark.parametrize("world", ["paper, two cores", "large batches, two cores", "large batches, one core"])
def test_a_small_last_batch_is_not_taken_for_a_fast_step(simulate: Simulate, world: str, epoch: int) -> None:
    team, alone = WORLDS[world]
    stretches = simulate((1e9, team, alone), seconds=max(5, 200 * alone), epoch=epoch, last=0.1)
    assert share(stretches, TEAM if team < alone else 1, 0.5 + 3 * alone, stretches[-1].end) > 0.9


@pytest.mark.parametrize("period", [0.01, 0.03, 0.1])
def test_a_core_that_is_there_half_the_time_is_not_judged_by_its_best_moments(
    simulate: Simulate, period: float
) -> None:
    fast, slow, alone = 12e-6, 80e-6, 16e-6
    phases = [(0.5 * period * phase, slow if phase % 2 == 0 else fast, alone) for phase in range(1, int(12 / period))]
    stretches = simulate(*phases, seconds=5)
    assert share(stretches, 1, 1, 5) > 0.7
    assert loss(stretches, alone * 1.01, 1, 5) < 0.1


def test_what_disturbs_the_start_is_forgotten(simulate: Simulate) -> None:
    team, alone = WORLDS["tabular, two cores"]
    world = (0.008, team, alone), (0.09, 3 * team, alone), (1e9, team, alone)
    stretches = simulate(*world, seconds=1.5, epoch=100_000)
    assert share(stretches, TEAM, 0.35, 1.5) > 0.9


@pytest.mark.parametrize("epoch", [50, 20_000])
def test_it_follows_a_core_that_goes_and_comes_back(simulate: Simulate, epoch: int) -> None:
    fast, slow, alone = 0.5e-3, 1.6e-3, 0.95e-3
    stretches = simulate((10, fast, alone), (20, slow, alone), (1e9, fast, alone), seconds=30, epoch=epoch)
    assert share(stretches, TEAM, 1, 10) > 0.95
    assert share(stretches, 1, 10.5, 20) > 0.9  # slower steps are noticed at once
    assert share(stretches, TEAM, 24, 30) > 0.9  # that the other would be faster now, within the longest interval


# Seconds of a step with 16, 8, 4, 2 and 1 threads, and the best.
LARGE = {
    "large net": ((1.0e-3, 1.9e-3, 3.6e-3, 7.0e-3, 13.8e-3), 16),
    "one core of many is gone": ((3.0e-3, 1.9e-3, 3.6e-3, 7.0e-3, 13.8e-3), 8),
    "small net": ((90e-6, 60e-6, 45e-6, 30e-6, 40e-6), 2),
    "tiny net": ((90e-6, 60e-6, 45e-6, 30e-6, 16e-6), 1),
}


@pytest.mark.parametrize("world", LARGE)
def test_of_many_threads_it_finds_the_best_number(simulate: Simulate, world: str) -> None:
    steps, best = LARGE[world]
    stretches = simulate((1e9, *steps), threads=16, epoch=300)
    assert share(stretches, best, 0.5, 20) > 0.95
    assert loss(stretches, min(steps) * 1.01, 0.5, 20) < 0.03


def test_of_many_threads_it_follows_cores_that_go_and_come_back(simulate: Simulate) -> None:
    all_there, one_gone = (LARGE[world][0] for world in ("large net", "one core of many is gone"))
    stretches = simulate((10, *all_there), (20, *one_gone), (1e9, *all_there), threads=16, seconds=30)
    assert share(stretches, 16, 0.5, 10) > 0.9
    assert share(stretches, 8, 10.5, 20) > 0.9
    assert share(stretches, 16, 27, 30) > 0.9


def test_a_disturbed_stretch_does_not_change_the_choice_for_long(simulate: Simulate) -> None:
    fast, alone = 0.5e-3, 0.95e-3
    spikes = [(second + part, time, alone) for second in range(1, 20) for part, time in ((0.0, fast), (0.02, 4e-3))]
    stretches = simulate(*spikes, (1e9, fast, alone), seconds=20)
    assert share(stretches, TEAM, 1, 20) > 0.9


def test_a_process_that_was_stopped_soon_has_its_threads_again(simulate: Simulate) -> None:
    fast, alone = 12e-6, 16e-6
    stretches = simulate((2, fast, alone), (2.00001, 60.0, 60.0), (1e9, fast, alone), seconds=67)
    assert share(stretches, TEAM, 62.5, 67) > 0.8


@pytest.mark.parametrize("world", ["tabular, two cores", "paper, one core"])
def test_noise_on_every_step_does_not_mislead_it(simulate: Simulate, world: str) -> None:
    team, alone = WORLDS[world]
    stretches = simulate((1e9, team, alone), seconds=8, noise=3.0)
    assert share(stretches, TEAM if team < alone else 1, 0.5, 8) > 0.8


def test_whoever_asked_for_threads_gets_them(tmp_path: Path) -> None:
    source = tmp_path / "asked.cpp"
    source.write_text(
        '#include "net/pace.h"\n'
        "int main() { layerwise::Pace pace(3, false);"
        " for (int i = 0; i < 9; ++i) pace.took(pace.stretch(7, 5), 1, 0.5);"
        " return pace.threads() == 3 && pace.stretch(7, 5) == 7 ? 0 : 1; }\n"
    )
    program = compiled(tmp_path, source)
    assert subprocess.run([str(program)], check=False).returncode == 0


# How two fits share two cores: a step's seconds with two threads and with one, and steps an epoch.
SHARED = {"small": (13e-6, 16e-6, 400), "like a fit of a table": (18e-6, 16e-6, 400), "large": (4e-3, 7.6e-3, 20)}


@pytest.mark.parametrize("later", [0.0, 0.013, 0.2])
@pytest.mark.parametrize("kind", SHARED)
def test_two_fits_soon_have_a_core_each(tmp_path: Path, kind: str, later: float) -> None:
    team, alone, epoch = SHARED[kind]
    program = compiled(tmp_path, ROOT / "tests" / "pace" / "together.cpp")

    def fits(seconds: float) -> list[tuple[float, float]]:
        command = [str(program), *map(str, (team, alone, epoch, seconds, later))]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [(float(line.split()[0]), float(line.split()[1])) for line in lines]

    short, long = fits(1.0 + later), fits(8.0)
    for steps, _ in short:
        assert steps * alone > 0.87 * (1.0 + later if steps == short[0][0] else 1.0)
    for (steps, with_two), (before, with_two_before) in zip(long, short, strict=True):
        assert (steps - before) * alone > 0.95 * (7 - later)
        assert with_two - with_two_before < 0.2 * 7
    assert max(with_two for _, with_two in fits(0.15)) < 0.1


def test_a_team_that_waits_for_cores_is_halved_at_once(simulate: Simulate) -> None:
    """Though it is a little faster than half of it, which shares its core with others, too."""
    free, taken = (0.5e-3, 0.95e-3), (1.2e-3, 1.3e-3, 0.4, 0.3)
    stretches = simulate((5, *free), (15, *taken), (1e9, *free), seconds=25)
    assert share(stretches, TEAM, 0.5, 5) > 0.9
    assert share(stretches, 1, 5.2, 15) > 0.9
    assert share(stretches, TEAM, 19, 25) > 0.9


@pytest.mark.parametrize("step", [0.7e-3, 7e-3, 0.7])
def test_a_team_that_waits_but_is_clearly_faster_than_half_of_it_stays(simulate: Simulate, step: float) -> None:
    stretches = simulate((1e9, step, 1.6 * step, 0.4, 0.0), seconds=max(10, 100 * step))
    assert share(stretches, TEAM, 0.5 + 3 * step, stretches[-1].end) > 0.9


@pytest.mark.parametrize("step", [0.4e-3, 0.39, 1.0])
def test_trials_of_a_team_that_waits_are_as_rare_as_others(simulate: Simulate, step: float) -> None:
    stretches = simulate((1e9, 1.5 * step, step, 0.5, 0.0), seconds=max(10, 200 * step))
    assert loss(stretches, 1.01 * step, 0.5 + 3 * step, stretches[-1].end) < 0.05


@pytest.mark.parametrize("times", [(90e-3, 60e-3, 45e-3, 30e-3, 16e-3), (0.9e-3, 0.6e-3, 0.45e-3, 0.3e-3, 0.16e-3)])
def test_smaller_teams_are_tried_while_the_larger_ones_wait(simulate: Simulate, times: tuple[float, ...]) -> None:
    stretches = simulate((1e9, *times, 0.5), threads=16, seconds=30)
    assert share(stretches, 1, 3, 30) > 0.9


@pytest.mark.parametrize(("until", "forgotten"), [(0.1, 1.3), (0.3, 1.3)])
def test_a_crowd_at_the_start_is_forgotten(simulate: Simulate, until: float, forgotten: float) -> None:
    """The threads of a product before, perhaps, that still spin on the cores."""
    steps = [step / 100 for step in LARGE["large net"][0]]
    crowd = (160e-6, 150e-6, 140e-6, 139e-6, 138e-6, 0.9, 0.8, 0.7, 0.5, 0.0)
    for first in (0.0, 0.05):  # seconds before it
        world = (first, *steps), (first + until, *crowd), (1e9, *steps)
        stretches = simulate(*world, threads=16, seconds=5)
        assert share(stretches, 16, first + forgotten, 5) > 0.9


def test_a_trial_of_long_steps_ends_when_they_wait(simulate: Simulate) -> None:
    stretches = simulate((1e9, 25e-3, 10e-3, 0.6, 0.0), seconds=0.3)
    assert sum(s.steps for s in stretches if s.threads == TEAM) == 1


@pytest.mark.parametrize("period", [0.004, 0.008])
def test_a_larger_team_is_tried_seldom_where_cores_are_shared_by_turns(simulate: Simulate, period: float) -> None:
    """As a trial falls into a turn of its own half of the time, the team often looks better than it is."""
    phases = [
        (0.5 * period * n, *((12e-6, 16e-6) if n % 2 else (36e-6, 16e-6, 0.6, 0.0))) for n in range(1, int(20 / period))
    ]
    stretches = simulate(*phases, seconds=9)
    assert share(stretches, 1, 1, 9) > 0.95
    assert loss(stretches, 16.16e-6, 1, 9) < 0.02


def test_a_short_crowd_after_a_long_one_does_not_halve_for_long(simulate: Simulate) -> None:
    free, taken = (0.5e-3, 0.95e-3), (0.7e-3, 0.95e-3, 0.5, 0.0)
    stretches = simulate((15, *taken), (40, *free), (40.1, *taken), (1e9, *free), seconds=43)
    assert share(stretches, TEAM, 20, 40) > 0.95
    assert share(stretches, TEAM, 41, 43) > 0.9


@pytest.mark.parametrize("waited", [0.1, 0.2])
def test_a_team_that_waits_little_stays(simulate: Simulate, waited: float) -> None:
    stretches = simulate((1e9, 0.6e-3, 0.95e-3, waited, 0.0), seconds=10)
    assert share(stretches, TEAM, 0.5, 10) > 0.95


def test_a_thread_that_waits_now_and_then_does_not_halve_its_team(simulate: Simulate) -> None:
    """Not even where an epoch is so short that it has waited for most of it."""
    free, taken = (0.5e-3, 0.95e-3), (1.5e-3, 0.95e-3, 0.67, 0.0)
    phases = [(0.2 * n + part, *world) for n in range(50) for part, world in ((0.188, free), (0.2, taken))]
    stretches = simulate(*phases, seconds=10, epoch=4)
    assert share(stretches, TEAM, 0.5, 10) > 0.95


@pytest.mark.parametrize("epoch", [300, 100_000])
def test_of_many_threads_as_many_are_chosen_as_there_are_cores_free(simulate: Simulate, epoch: int) -> None:
    """Twelve cores of sixteen are other programs' every other 4 ms."""
    free, taken = LARGE["large net"][0], (8e-3, 6e-3, 3.6e-3, 7.0e-3, 13.8e-3, 0.85, 0.65)
    phases = [(0.004 * n, *(free if n % 2 else taken)) for n in range(1, 5000)]
    stretches = simulate(*phases, threads=16, epoch=epoch)
    assert share(stretches, 4, 3, 20) > 0.9


def test_how_long_threads_wait_for_a_core_is_measured(tmp_path: Path) -> None:
    sources = ROOT / "tests" / "pace" / "waiting.cpp", ROOT / "csrc" / "base" / "parallel.cpp"
    program = compiled(tmp_path, *sources, "-fopenmp")
    printed = subprocess.run([str(program)], capture_output=True, check=True).stdout
    working, sleeping, beside = map(float, printed.split())
    assert working > 0.05
    assert sleeping < 0.1
    assert beside > 0.05
