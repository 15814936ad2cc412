"""Experiments that can be stopped and taken up again: each finished (settings, seed) is one line of JSON."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import _timing

Settings = Mapping[str, Any]


def key(settings: Settings, seed: int) -> str:
    """What makes a run: its settings and its seed."""
    return json.dumps({"settings": settings, "seed": seed}, sort_keys=True)


def run(
    name: str,
    plans: Iterable[Settings],
    seeds: Sequence[int],
    work: Callable[[Settings, int], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Do the runs that ``results/<name>.jsonl`` does not have yet, seed by seed, and return those asked for.

    `work` returns what a run found; it is stored with the machine, the commit, the command and the seconds it took.
    """
    plans = [dict(plan) for plan in plans]
    done = {key(line["settings"], line["seed"]): line for line in _timing.records(name)}
    asked = [(plan, seed) for seed in seeds for plan in plans]
    missing = [(plan, seed) for plan, seed in asked if key(plan, seed) not in done]
    if len(missing) < len(asked):
        print(f"{len(asked) - len(missing)} of {len(asked)} runs are there already", flush=True)
    machine = _timing.machine() if missing else {}
    for number, (plan, seed) in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {plan['name']}, seed {seed}", flush=True)
        start = time.perf_counter()
        found = work(plan, seed)
        seconds = round(time.perf_counter() - start, 1)
        done[key(plan, seed)] = _timing.record(
            name, settings=plan, seed=seed, seconds=seconds, **found, machine=machine
        )
        print("    " + ", ".join(f"{what} {value}" for what, value in found.items() if not isinstance(value, list)))
    return [done[key(plan, seed)] for plan, seed in asked]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over the seeds."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def table(lines: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Mean ± standard deviation of each column (key in the lines: heading), one row for each settings' name."""
    names = list(dict.fromkeys(line["settings"]["name"] for line in lines))
    rows = [["", "seeds", *columns.values(), "minutes"]]
    for name in names:
        own = [line for line in lines if line["settings"]["name"] == name]
        cells = ["{:.2f} ± {:.2f}".format(*mean_and_spread([line[column] for line in own])) for column in columns]
        minutes = statistics.fmean(line["seconds"] for line in own) / 60
        rows.append([name, str(len(own)), *cells, f"{minutes:.1f}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines_out = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines_out)


def paired(lines: Sequence[Mapping[str, Any]], better: str, worse: str, column: str) -> tuple[float, float]:
    """Mean and standard deviation over the seeds of `worse` minus `better`."""
    by_seed = {(line["settings"]["name"], line["seed"]): line[column] for line in lines}
    seeds = sorted({line["seed"] for line in lines})
    return mean_and_spread([by_seed[worse, seed] - by_seed[better, seed] for seed in seeds])


def best(lines: Sequence[Mapping[str, Any]], column: str) -> str:
    """The name of the settings with the least mean of the column."""
    by_name: dict[str, list[float]] = {}
    for line in lines:
        by_name.setdefault(line["settings"]["name"], []).append(line[column])
    return min(by_name, key=lambda name: statistics.fmean(by_name[name]))
