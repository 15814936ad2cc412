"""Make the tables of benchmarks/README.md from ``benchmarks/results/*.jsonl``.

python benchmarks/tables.py          print them
python benchmarks/tables.py --write  put them between their marks in README.md
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Callable
from typing import Any

import _experiment
import _timing
from bench_neighbours import MACHINE
from layerwise.paired import Difference
from peers import CONTENDERS

Line = dict[str, Any]


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its heading, numbers stand to the right."""
    head, *body = rows
    return "\n".join(
        [f"| {' | '.join(head)} |", "|" + " --- |" + " ---: |" * (len(head) - 1)]
        + [f"| {' | '.join(row)} |" for row in body]
    )


def latest(lines: list[Line], name: str) -> list[Line]:
    """The newest line of each workload or kernel, in the order in which they first came."""
    newest: dict[str, Line] = {}
    for line in lines:
        newest[line[name]] = line
    return list(newest.values())


def origin(lines: list[Line]) -> str:
    """Where the numbers of a table come from."""
    machine = lines[-1]["machine"]
    cores = f"{machine['cores']} core" + "s" * (machine["cores"] > 1)
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    commits = " and ".join(dict.fromkeys(line["machine"]["commit"].rstrip("+") for line in lines))
    commands = "; ".join(f"`{command}`" for command in dict.fromkeys(line["command"] for line in lines))
    return (
        f"{machine['cpu']}, {cores}, {machine['isa']}, Python {machine['python']}, {versions}; "
        f"commit {commits}; {commands}."
    )


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, size = next((known for known in units if seconds >= known[1]), units[-1])
    value = seconds / size
    return f"{value:.{max(0, 2 - int(math.log10(max(value, 1))))}f} {unit}"


def training(avx2: bool = False, mnist: bool = False) -> str:
    """Time of an epoch (or a prediction) and how many times ours, by workload and contender."""
    records = [
        line
        for line in _timing.records("training")
        if (line["machine"]["isa"] == "x86-64-v3", line.get("mnist", False)) == (avx2, mnist)
    ]
    lines = latest(records, "workload")
    if not lines:
        return ""
    took_part = {name for line in lines for name in line["results"]}
    names = [name for name in CONTENDERS if name in took_part]
    rows = [["workload", *names, "ours, GFLOP/s", "of the limit"]]
    for line in lines:
        results = line["results"]
        calls = line["rows"] // line["batch_size"] if line.get("predicts") else 1  # of a prediction: the time of a call
        cells = []
        for name in names:
            if name not in results:
                cells.append("")
                continue
            times = "" if name == "layerwise" else f", **{results[name]['times_layerwise']:.2f}×**"
            cells.append(duration(results[name]["median"] / calls) + times)
        limit = max(max(probe.values()) for probe in line["probes"])
        speed = results["layerwise"]["gflops"]
        label = f"`{line['workload']}` {'-'.join(map(str, line['sizes']))}, {line['batch_size']}"
        rows.append([label, *cells, f"{speed:.0f}", f"{speed / limit:.0%}"])
    return f"{markdown(rows)}\n\n{origin(lines)}"


def kernels() -> str:
    """Time of each kernel, its twin's, and the speed reached."""
    lines = latest(_timing.records("kernels"), "kernel")
    rows = [["kernel", "layerwise", "NumPy twin", "ratio", "speed", "of the limit"]]
    for line in lines:
        times = [f"{line[side]['median'] * 1e6:.0f} µs" for side in ("layerwise", "numpy")]
        speed = [f"{line['speed']:.0f} {line['unit']}", f"{line['speed'] / line['limit']:.0%}"]
        rows.append([line["kernel"], *times, f"{line['ratio']:.1f}×", *speed])
    return f"{markdown(rows)}\n\n{origin(lines)}"


def growth() -> str:
    """Time, operations and speed along each axis; draws the plot where matplotlib is."""
    lines = latest(_timing.records("growth"), "axis")
    rows = [["setting", "value", "GFLOP", "an epoch", "GFLOP/s", "time grows as operations to the power of"]]
    for line in lines:
        for place, point in enumerate(line["points"]):
            power = f"{line['exponent']:.2f}" if place == 0 and line["exponent"] is not None else ""
            numbers = [f"{point['value']:,}", f"{point['gflop']:.3g}", duration(point["median"])]
            rows.append([line["axis"], *numbers, f"{point['gflops']:.0f}", power])
    plotted = "\n\n![time of an epoch against the count of operations](growth.svg)" if plot_growth(lines) else ""
    return f"{markdown(rows)}{plotted}\n\n{origin(lines)}"


def plot_growth(lines: list[Line]) -> bool:
    """Draw the axes along which the work grows into growth.svg; says whether the plot is there."""
    picture = _timing.HERE / "growth.svg"
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        print("matplotlib is not installed: no plot", file=sys.stderr)
        return picture.exists()
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for line in lines:
        if line["exponent"] is not None:
            points = line["points"]
            axes.loglog([p["gflop"] for p in points], [p["median"] for p in points], "o-", label=line["axis"])
    axes.set(xlabel="operations of an epoch's products, GFLOP", ylabel="seconds an epoch")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    with rc_context({"svg.hashsalt": picture.name}):  # or the names inside it would be other ones each time
        figure.savefig(picture, metadata={"Date": None})
    return True


def neighbours() -> str:
    """Fits beside one another, and calls of other libraries between ours."""
    lines = _timing.records("neighbours")
    fits = latest([line for line in lines if "fits" in line], "fits")
    calls = latest([line for line in lines if "calls" in line], "calls")
    busy = latest([line for line in lines if "busy" in line], "busy")
    rows = [["", "measured", "bar"]]
    for line in fits:
        for way, ratio in line["ratios"].items():
            what, bar = f"{line['count']} fits of `{line['fits']}` in {way}", "" if way == MACHINE else "1.15×"
            rows.append([f"{what}, beside one on one core", f"{ratio:.2f}×", bar])
    for line in busy:
        for where, ratio in line["ratios"].items():
            what = f"`{line['busy']}` with threads of its own choice, beside one thread, last core {where}"
            rows.append([what, f"{ratio:.2f}×", "1.05×"])
    for line in calls:
        rows.append(
            [
                f"a product of {line['calls']} after ours, more than alone",
                f"{line['costs']['theirs'] * 1e3:.3f} ms",
                "0.3 ms",
            ]
        )
        rows.append(
            [f"ours after one of {line['calls']}, more than alone", f"{line['costs']['ours'] * 1e3:.3f} ms", ""]
        )
    return f"{markdown(rows)}\n\n{origin(fits + busy + calls)}"


def experiment(name: str) -> str:
    """Errors of an MNIST experiment: mean ± standard deviation over the seeds."""
    lines = _timing.records(name)
    rows = [["network", "seeds", "validation error %", "test error %", "minutes"]]
    for plan in dict.fromkeys(line["settings"]["name"] for line in lines):
        own = [line for line in lines if line["settings"]["name"] == plan]
        errors = [_experiment.shown([line[f"{kind}_error"] for line in own]) for kind in ("validation", "test")]
        rows.append([plan, str(len(own)), *errors, minutes(own)])
    return f"{markdown(rows)}\n\n{origin(lines)}"


def family() -> str:
    """Time of an epoch with each option, and how many times that of the plain run, by group."""
    lines = latest(_timing.records("family"), "group")
    rows = [["", "option", "an epoch", "times the plain one", "medians of the rounds"]]
    for line in lines:
        for name, result in line["results"].items():
            ratios = result.get("ratios")  # older lines have none
            cells = [f"{result['times_plain']:.2f}×", f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else ""]
            rows.append([line["group"], name, duration(result["median"]), *cells])
    return f"{markdown(rows)}\n\n{origin(lines)}"


def by_settings(lines: list[Line]) -> list[list[Line]]:
    """The lines of each plan, which differ in their seeds, in the order in which the plans first came."""
    plans: dict[str, list[Line]] = {}
    for line in lines:
        plans.setdefault(json.dumps(line["settings"], sort_keys=True), []).append(line)
    return list(plans.values())


def minutes(lines: list[Line]) -> str:
    """The mean time of a run's training."""
    return f"{statistics.mean(line['pretraining_seconds'] + line['finetuning_seconds'] for line in lines) / 60:.1f}"


def starts() -> str:
    """Errors of 500-500-2000 by start, beside those of Larochelle et al. 2009, table 1."""
    paper = {"machines": "1.20", "autoencoders": "1.41", "supervised": "2.04", "none": "2.40"}
    lines = _timing.records("mnist_500_500_2000")
    rows = [["start", "pretraining", "fine-tuning", "seeds", "validation error %", "test error %", "paper", "minutes"]]
    for own in sorted(by_settings(lines), key=lambda own: list(paper).index(own[0]["settings"]["name"])):
        settings, tuning = own[0]["settings"], own[0]["settings"]["tuning"]
        before = settings.get("pretraining")
        optimizer = {"machines": "momentum"}.get(settings["name"], before.get("optimizer", "adam") if before else "")
        how = [
            f"{name} {given['rate']:g}, {given['epochs']} epochs, batches of {given['batch_size']}" if given else ""
            for name, given in ((optimizer, before), (tuning["optimizer"], tuning))
        ]
        errors = [_experiment.shown([line[f"{kind}_error"] for line in own]) for kind in ("validation", "test")]
        rows.append([settings["name"], *how, str(len(own)), *errors, paper[settings["name"]], minutes(own)])
    return f"{markdown(rows)}\n\n{origin(lines)}"


def deep_autoencoder() -> str:
    """Squared error of an image, by start and fine-tuning: mean ± standard deviation over the seeds."""
    lines = _timing.records("mnist_deep_autoencoder")
    rows = [["start", "fine-tuning", "seeds", "test error", "before fine-tuning", "training error", "minutes a seed"]]
    for own in by_settings(lines):
        settings, tuning = own[0]["settings"], own[0]["settings"].get("tuning")
        how = f"{tuning['optimizer']}, {tuning['epochs']} epochs of batches of {tuning['batch_size']}" if tuning else ""
        errors = {
            kind: _experiment.shown([line[f"{kind}_error"] for line in own]) if f"{kind}_error" in own[0] else ""
            for kind in ("test", "pretrained_test", "training")
        }
        start = f"{settings['name']}, σ = {settings['sigma']:g}" if "sigma" in settings else settings["name"]
        rows.append([start, how, str(len(own)), *errors.values(), minutes(own)])
    return f"{markdown(rows)}\n\n{origin(lines)}"


def anomaly() -> str:
    """ROC AUC in % (mean ± standard deviation over the seeds) and fit times beside ours, by data set."""
    lines = latest(_timing.records("anomaly"), "data")
    names = list(dict.fromkeys(name for line in lines for name in line["results"]))
    rows = [["normal rows", *names]]
    for line in lines:
        ours = line["results"]["layerwise"]["seconds"]
        cells = []
        for name in names:
            result = line["results"].get(name)
            if result is None:
                cells.append("")
                continue
            ratio = _timing.paired_ratio(result["seconds"], ours)
            time = f"{statistics.median(ours) * 1e3:.0f} ms" if name == "layerwise" else f"{ratio:.1f}×"
            cells.append(f"{_experiment.shown([100 * area for area in result['auc']])}, {time}")
        rows.append([line["data"], *cells])
    return f"{markdown(rows)}\n\n{origin(lines)}"


def adult() -> str:
    """ROC AUC in % of each contender on Adult, what sets it apart from the pretrained network, and its time."""
    lines = _timing.records("adult")
    lines = [line for line in lines if line["settings"] == lines[-1]["settings"]]
    rows = [["", "ROC AUC, %", "the pretrained network's is higher by", "95 % interval", "training"]]
    for name in lines[0]["auc"]:
        areas = [100 * line["auc"][name] for line in lines]
        time = duration(statistics.median(line["seconds"][name] for line in lines))
        row = [name, _experiment.shown(areas), "", "", time]
        if name != "pretrained":
            gaps = [100 * line["auc"]["pretrained"] - area for line, area in zip(lines, areas, strict=True)]
            gap = Difference.of(gaps)
            row[2:4] = [f"{gap.mean:+.2f}", f"{gap.low:+.2f} to {gap.high:+.2f}"]
        rows.append(row)
    known = lines[-1]["rows"]
    counts = ", ".join(f"{count:,} {kind}" for kind, count in known.items())
    return f"{markdown(rows)}\n\n{len(lines)} seeds; rows: {counts}. {origin(lines)}"


TABLES: dict[str, Callable[[], str]] = {
    "training": training,
    "training with AVX2": lambda: training(avx2=True),
    "training on MNIST": lambda: training(mnist=True),
    "training on MNIST with AVX2": lambda: training(avx2=True, mnist=True),
    "kernels": kernels,
    "growth": growth,
    "neighbours": neighbours,
    "family": family,
    "anomaly": anomaly,
    "adult": adult,
    "mnist_few_labels": lambda: experiment("mnist_few_labels"),
    "mnist_sda": lambda: experiment("mnist_sda"),
    "mnist_defaults": lambda: experiment("mnist_defaults"),
    "mnist_deep_autoencoder": deep_autoencoder,
    "mnist_500_500_2000": starts,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into benchmarks/README.md instead of the terminal")
    options = parser.parse_args()
    page = _timing.HERE / "README.md"
    text = page.read_text()
    for name, make in TABLES.items():
        if not _timing.records(name.partition(" ")[0]):  # its file
            continue
        made = make()
        if not made:
            continue
        if not options.write:
            print(f"{name}\n\n{made}\n")
        marked = f"<!-- {name} -->\n\n{made}\n\n<!-- end of {name} -->"
        whole = re.compile(rf"<!-- {name} -->.*?<!-- end of {name} -->", re.DOTALL)
        text, places = whole.subn(lambda _, marked=marked: marked, text)
        if places != 1:
            raise ValueError(f"{page.name} must have one place for {name!r} between its marks. Got {places}.")
    if options.write:
        page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
