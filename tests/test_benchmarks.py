"""The benchmarks' own parts that need no clock: the contenders do the same work, and disturbed rounds are left out."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_scripts import script

from layerwise import _core

_timing, peers, workloads, growth, tables = map(script, ("_timing", "peers", "workloads", "growth", "tables"))

# What the test extra has.
HERE = ["layerwise", peers.ONE_THREAD, "layerwise network", "numpy", "numpy reference", "scikit-learn"]
SMALL = {
    "dae": (20, 33, 20),
    "wide": (20, 33, 17, 10),
    "paper": (20, 33, 17, 10),
    "online": (20, 33, 17, 10),
    "deep-ae": (20, 33, 5, 33, 20),
    "tabular": (8, 33, 17, 2),
    "predict": (20, 33, 17, 10),
    "predict-one": (20, 33, 17, 10),
    "predict-rested": (20, 33, 17, 10),
}


def contender(name: str, workload: workloads.Workload) -> peers.Contender:
    file, kind, _ = peers.CONTENDERS[name]
    make = getattr(script(file), kind)
    return make(workload, workloads.data_of(workload), workloads.weights_of(workload), 1)


def small(name: str) -> workloads.Workload:
    whole = workloads.WORKLOADS[name]
    rows = 4 * max(whole.batch_size // 10, 1) if not whole.predicts else 256
    batch_size = max(whole.batch_size // 10, 1) if not whole.predicts else min(whole.batch_size, 256)
    return replace(whole, sizes=SMALL[name], rows=rows, batch_size=batch_size, rate=whole.rate * 20)


@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test_contenders_do_the_same_work(name: str) -> None:
    workload = small(name)
    started = {each: contender(each, workload) for each in HERE}
    taking_part = {each: it for each, it in started.items() if not it.refusal()}
    assert {"layerwise", "numpy", "numpy reference"} <= taking_part.keys()
    losses = {each: it.check(4) for each, it in taking_part.items()}
    for each, loss in losses.items():
        assert loss == pytest.approx(losses["numpy"], rel=2e-4), each
        assert taking_part[each].check(4) == pytest.approx(loss, rel=1e-6), f"{each} starts elsewhere the second time"
        if not each.startswith("layerwise"):
            assert taking_part[each].epoch(0.5) > 0, each
    if not workload.predicts:  # the steps of the check are steps: without them the loss is another
        assert taking_part["numpy"].check(1) != pytest.approx(losses["numpy"], rel=1e-4)


def test_a_prediction_that_a_processor_cannot_make_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "has_bfloat16", lambda: False)
    assert contender("layerwise bf16", small("predict-one")).refusal() == "needs a processor with AVX512-BF16"


def test_a_rest_before_a_prediction_does_not_count() -> None:
    numpy = contender("numpy", replace(small("predict-rested"), rows=32, rest=0.1))
    began = time.perf_counter()
    taken = numpy.epoch()
    assert 0 < taken < 0.1 < time.perf_counter() - began - taken


def test_ours_chooses_its_threads_but_for_one_contender(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = script("bench_training")

    class Process:
        refusal = ""

        def __init__(self, name: str, workload: workloads.Workload, threads: int, data: None) -> None:
            self.threads = threads

        def warm(self, steps: int) -> None: ...
        def check(self) -> None: ...

    monkeypatch.setattr(bench, "Process", Process)
    chosen: dict[str, int] = {}
    bench.start(workloads.WORKLOADS["tabular"], ["layerwise", peers.ONE_THREAD, "layerwise bf16"], chosen, 2)
    assert chosen == {"layerwise": 0, peers.ONE_THREAD: 1, "layerwise bf16": 0}


def test_lines_of_pictures_have_a_table_and_a_resumption_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = script("bench_training")
    monkeypatch.setattr(_timing, "RESULTS", tmp_path)
    here = {"cpu": "one", "cores": 2, "python": "3", "versions": {}, "commit": "abc", "isa": "x86-64-v4"}
    line = {"sizes": [3, 2], "batch_size": 1, "rows": 1, "probes": [{"limit_2": 200.0}], "threads": 2, "machine": here}
    for mnist, workload, gflops in ((False, "wide", 190), (True, "dae", 220)):
        results = {"layerwise": {"median": 1.0, "gflops": float(gflops), "times_layerwise": 1.0}}
        _timing.record("training", workload=workload, results=results, mnist=mnist, **line)
    assert "`wide`" in tables.training()
    assert "`dae`" not in tables.training()
    assert "| 220 | 110% |" in tables.training(mnist=True)
    assert "`wide`" not in tables.training(mnist=True)
    monkeypatch.setattr(_timing, "machine", lambda: here)
    assert bench.finished(2, mnist=True) == {"dae"}


def test_pictures_take_the_place_of_made_up_rows() -> None:
    bench, workload = script("bench_training"), workloads.WORKLOADS["tabular"]
    X, y = np.eye(32, dtype=np.float32).repeat(500, axis=0), np.arange(16_000) % 2
    data = workloads.pictures_of(workload, X, y)
    assert (data.X.shape, data.X[5].tolist(), data.y[5]) == ((12_800, 32), X[5].tolist(), 1)
    with pytest.raises(ValueError, match="wide has 784 inputs, the pictures 32 pixels"):
        workloads.pictures_of(workloads.WORKLOADS["wide"], X, y)
    losses = []
    for rows in (None, data):
        ours, theirs = multiprocessing.Pipe()
        for order in (("check", 2), None):
            ours.send(order)
        bench.work(theirs, "numpy", workload, 2, rows)
        assert ours.recv() == ""  # taking part
        losses.append(ours.recv()[0])
    assert losses[0] != losses[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # PyTorch's compiler has some of its own
@pytest.mark.parametrize("name", ["dae", "online", "tabular", "predict"])
def test_pytorch_does_the_same_work(name: str) -> None:
    pytest.importorskip("torch")
    workload = small(name)
    expected = contender("numpy", workload).check(4)
    for each in ("torch", "torch compiled"):
        it = contender(each, workload)
        assert it.check(4) == pytest.approx(expected, rel=2e-4), each
        assert it.epoch(0.5) > 0, each  # with noise
        assert it.check(4) == pytest.approx(expected, rel=2e-4), f"{each} starts elsewhere the second time"


def test_without_avx512_all_libraries_know_it_before_they_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = script("bench_training")
    begun: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(bench.os, "execve", lambda _, command, environment: begun.append((command, environment)))
    for name in bench.WITHOUT_AVX512:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    bench.restart_without_avx512()
    command, environment = begun.pop()
    assert command == sys.orig_argv
    assert environment.pop("XLA_FLAGS") == f"--xla_dump_to=here {bench.WITHOUT_AVX512['XLA_FLAGS']}"
    others = {name: value for name, value in bench.WITHOUT_AVX512.items() if name != "XLA_FLAGS"}
    assert environment.items() >= others.items()
    for name, value in bench.WITHOUT_AVX512.items():
        monkeypatch.setenv(name, value)
    bench.restart_without_avx512()
    assert not begun


def test_lines_without_avx512_have_a_table_and_a_resumption_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = script("bench_training")
    monkeypatch.setattr(_timing, "RESULTS", tmp_path)
    here = {"cpu": "one", "cores": 2, "python": "3", "versions": {}, "commit": "abc"}
    line = {"sizes": [3, 2], "batch_size": 1, "rows": 1, "probes": [{"limit_2": 200.0}], "threads": 2}
    monkeypatch.setattr(sys, "argv", ["bench_training.py"])
    for isa, workload, gflops in (("x86-64-v4", "wide", 190), ("x86-64-v3", "dae", 150)):
        assert not tables.training(avx2=True)
        results = {"layerwise": {"median": 1.0, "gflops": float(gflops), "times_layerwise": 1.0}}
        _timing.record("training", machine={**here, "isa": isa}, workload=workload, results=results, **line)
    assert "| 190 | 95% |" in tables.training()
    assert "`dae`" not in tables.training()
    assert "| 150 | 75% |" in tables.training(avx2=True)
    assert "`wide`" not in tables.training(avx2=True)
    monkeypatch.setattr(_timing, "machine", lambda: {**here, "isa": "x86-64-v3"})
    assert bench.finished(2, mnist=False) == {"dae"}
    page = tmp_path / "README.md"
    monkeypatch.setattr(_timing, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["tables.py", "--write"])
    page.write_text("<!-- training --><!-- end of training -->")
    with pytest.raises(ValueError, match="one place for 'training with AVX2' between its marks"):
        tables.main()
    page.write_text(page.read_text() + "<!-- training with AVX2 --><!-- end of training with AVX2 -->")
    tables.main()
    assert page.read_text().index("| 190 |") < page.read_text().index("| 150 |")


def test_samples_beside_a_taken_core_or_a_far_one_are_left_out() -> None:
    near = [[60.0] * 3] * 3
    disturbed = _timing.disturbances([[200, 198, 199], [201, 200, 120], [199, 120, 199]], near)
    assert [[off <= 1 for off in of_round] for of_round in disturbed] == [[True, True], [True, False], [False, False]]
    assert _timing.kept(disturbed * 2, 0, 0) == [0, 1, 3, 4]
    assert _timing.kept(disturbed * 3, 0, 1) == [0, 3, 6]
    far = [[60.0, 70.0, 330.0], [300.0, 60.0, 60.0], [60.0, 60.0, 60.0]]
    disturbed = _timing.disturbances([[200.0] * 3] * 3, far)
    assert [[off <= 1 for off in of_round] for of_round in disturbed] == [[True, False], [False, True], [True, True]]
    assert _timing.kept(disturbed * 3, 0, 1) == [2, 5, 8]
    assert _timing.kept(disturbed, 0, 1) == [0, 1, 2]  # one is too few
    assert _timing.kept([[0.9], [3.0], [1.5], [2.0]], 0, 0) == [0, 2, 3]  # with those that were least disturbed
    assert _timing.kept([[0.9], [3.0]], 0, 0) == [0, 1]
    one_thread = _timing.disturbances([[100.0, 100.0]], [[0.0, 0.0]])
    assert one_thread[0][0] <= 1


def test_every_sample_stands_between_two_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(_timing.time, "sleep", lambda pause: seen.append(f"rest {pause}"))
    monkeypatch.setattr(_timing, "peak", lambda threads: seen.append("peak") or 100.0 * threads + len(seen))
    monkeypatch.setattr(_timing, "distance", lambda threads: seen.append("distance") or float(len(seen)))
    samples = {name: lambda name=name, time=time: seen.append(name) or time for name, time in (("a", 1.0), ("b", 2.0))}
    times, peaks, distances = _timing.probed_round(samples, 2, 0.3)
    probe = ["rest 0.3", "peak", "distance"]
    assert seen == [*probe, "a", *probe, "b", *probe]
    assert (times, peaks, distances) == ({"a": 1.0, "b": 2.0}, [202.0, 206.0, 210.0], [3.0, 7.0, 11.0])


def test_growth_counts_what_the_machine_at_its_best_took(monkeypatch: pytest.MonkeyPatch) -> None:
    class Contender:
        def __init__(self, workload: workloads.Workload, data: Any, weights: Any, threads: int) -> None:
            self.epoch = lambda: 1.0 + len(taken) * threads

    taken: list[int] = []
    lines: list[dict[str, Any]] = []

    def probed_round(samples: Any, threads: int) -> Any:
        times = {point: sample() for point, sample in samples.items()}
        taken.append(len(times))
        disturbed = [200.0, 200.0, 100.0] if len(taken) == 2 else [200.0] * 3
        return times, disturbed, [60.0] * 3

    for name, stub in {"Layerwise": Contender, "data_of": id, "weights_of": id}.items():
        monkeypatch.setattr(growth, name, stub)
    monkeypatch.setattr(_timing, "probed_round", probed_round)
    monkeypatch.setattr(_timing, "record", lambda _, **line: lines.append(line))
    monkeypatch.setattr(growth.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(sys, "argv", ["growth.py", "--axes", "threads", "--repeats", "4"])
    assert growth.main() == 0
    one, two = lines[0]["points"]
    assert taken == [2, 2, 2, 2]
    assert (one["samples"], one["median"]) == (4, 2.5)  # 1, 2, 3, 4 seconds
    assert (two["samples"], two["median"]) == (3, 5.0)  # 1, 3, 5, 7 seconds, of which a taken core stood beside 3


def test_the_machine_is_measured() -> None:
    for speed in (_timing.peak(1), _timing.bandwidth(1_000_000)):
        assert np.isfinite(speed)
        assert speed > 0.1
    assert _timing.distance(1) == 0
    if shutil.which("c++") and len(os.sched_getaffinity(0)) > 1:
        assert 5 < _timing.distance(2) < 1e9
        assert _timing._probes().line_round_trip(0.0) > 0  # even where the time was over before the first series began


def test_growth_is_measured_against_the_operations() -> None:
    for axis in growth.AXES:
        of_axis = growth.points(axis, cores=6)
        assert all(workload.rows % workload.batch_size == 0 for workload, _ in of_axis.values())
    assert list(growth.points("threads", cores=6)) == [1, 2, 4, 6]
    assert growth.exponent([1, 10, 100], [2, 40, 800]) == pytest.approx(1.301, abs=1e-3)
    assert np.isnan(growth.exponent([5, 5], [1, 2]))


def test_tables_are_made_from_the_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = {"cpu": "a", "cores": 2, "isa": "b", "python": "3", "versions": {"numpy": "2"}, "commit": "c+"}
    same = {"machine": machine, "command": "python x.py"}
    line = {**same, "axis": "rows", "exponent": 0.9}
    line["points"] = [{"value": 1000 * n, "gflop": n, "median": n / 50, "gflops": 50} for n in (1, 2)]
    calls = {**same, "calls": "numpy", "costs": {"theirs": 1e-4, "ours": 2e-3}}
    fits = {**same, "fits": "dae", "count": 2, "ratios": {"processes": 1.1, tables.MACHINE: 1.07}}
    busy = {**same, "busy": "dae", "ratios": {"free": 0.6, "busy": 1.02}}
    option = {"median": 0.51, "times_plain": 1.021, "ratios": [1.03, 0.99]}
    options = {"plain": {"median": 0.5, "times_plain": 1.0, "ratios": [1.0, 1.0]}, "l1": option}
    family = {**same, "group": "wide", "results": options}
    stored = {"growth": [line], "neighbours": [calls, fits, busy], "family": [family]}
    monkeypatch.setattr(_timing, "records", lambda name: stored.get(name, []))
    monkeypatch.setattr(_timing, "HERE", tmp_path)
    made = tables.growth()
    assert "| rows | 1,000 | 1 | 20.0 ms | 50 | 0.90 |" in made
    assert (tmp_path / "growth.svg").exists() == ("growth.svg" in made)
    assert "processes, beside one on one core | 1.10× | 1.15× |" in tables.neighbours()
    assert "one thread each, beside one on one core | 1.07× |  |" in tables.neighbours()
    assert "0.100 ms | 0.3 ms" in tables.neighbours()
    assert "busy | 1.02× | 1.05×" in tables.neighbours()
    assert "| wide | l1 | 510 ms | 1.02× | 0.99–1.03 |" in tables.family()
    assert [tables.duration(s) for s in (12.34, 0.1, 1.5e-3, 2e-8)] == ["12.3 s", "100 ms", "1.50 ms", "0.02 µs"]


def test_fits_that_take_turns_are_compared_with_the_epochs_around(monkeypatch: pytest.MonkeyPatch) -> None:
    family = script("bench_family")
    monkeypatch.setattr(family, "ROWS", {"dae": 200, "wide": 256})
    seen = []
    fits = [
        family.Turns(lambda watch, own=own: family.finetuning_of(own, lambda r: seen.append(own) or watch(r), 1))
        for own in ({}, {"clip_norm": 5.0})
    ]
    times, ratios = family.take_turns(*fits, 2)
    for fit in fits:
        fit.end()
    assert seen == [{}, {"clip_norm": 5.0}] * 4 + [{}]
    assert len(times) == len(ratios) == 2
    assert min(times) > 0
    clocks = [iter(seconds) for seconds in ([9, 9, 1, 3, 2], [9, 9, 4, 5])]
    ours = [type("Clock", (), {"epoch": lambda _, clock=clock: next(clock)})() for clock in clocks]
    assert family.take_turns(*ours, 2) == ([4, 5], [2.0, 2.0])
    failing = family.Turns(lambda watch: family.finetuning_of({"clip_norm": -1.0}, watch, 1))
    with pytest.raises(ValueError, match="clip_norm"):
        failing.epoch()
