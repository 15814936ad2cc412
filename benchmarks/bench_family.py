"""What each option costs: kinds of pretraining beside a denoising autoencoder, regularisers beside a plain run.

    python benchmarks/bench_family.py [--groups kinds dae wide] [--rounds 5] [--pairs 12] [--only WORD]

- kinds: one layer 784-1000 in batches of 100; every kind beside the denoising autoencoder (masking 0.25, untied, Adam)
  on as many rows: an autoencoder's step has five products of that size, CD-1's too (up, down, up, and two for the
  gradient), and that of persistent chains a sixth, for the loss that is reported.
- dae: that autoencoder with each penalty; wide: the ReLU classifier 784-1000-1000-1000-10 in batches of 128 with each
  regulariser of fine-tuning. The bar is 5 % more than without.

The machine changes its pace within seconds, so a plain fit and one with the option run side by side and take turns
after each short epoch, the other one waiting in its callback: both are whole `fit`s, on the same fixed number of
threads. An epoch's ratio is to the mean of the plain epochs before and after it. Each round begins both fits anew,
because where the system puts their memory stays for a whole fit. The first row of a group is a plain fit beside another
plain one: what it differs from 1 is noise. One JSON line per group goes to ``benchmarks/results/family.jsonl``, from
which `tables.py` makes the table.
"""

from __future__ import annotations

import argparse
import os
import queue
import statistics
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import _timing
from layerwise import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    FineTuning,
    Gaussian,
    Masking,
    PretrainedClassifier,
    RestrictedBoltzmannMachine,
    SaltAndPepper,
    SparseAutoencoder,
    StackedAutoencoder,
    Swap,
)
from workloads import WORKLOADS, data_of

EPOCHS = 10**6  # a fit goes on until its callback ends it
ROWS = {"dae": 1_500, "wide": 1_920}  # of an epoch: short ones take turns often
SHARED: Mapping[str, Any] = {"epochs": EPOCHS, "batch_size": 100}
UNTIED: Mapping[str, Any] = {**SHARED, "tied": False, "loss": "cross_entropy"}
PENALTIES: Mapping[str, Mapping[str, Any]] = {
    "alpha": {"alpha": 1e-4},
    "l1": {"l1": 1e-5},
    "max_norm": {"max_norm": 3.0},
    "clip_value": {"clip_value": 1.0},
    "clip_norm": {"clip_norm": 5.0},
}
KINDS: Mapping[str, Any] = {
    "denoising": DenoisingAutoencoder(**UNTIED, corruption=Masking(0.25)),
    "denoising, tied": DenoisingAutoencoder(**{**UNTIED, "tied": True}, corruption=Masking(0.25)),
    "basic": Autoencoder(**UNTIED),
    "Gaussian noise": DenoisingAutoencoder(**UNTIED, corruption=Gaussian(0.2)),
    "salt and pepper": DenoisingAutoencoder(**UNTIED, corruption=SaltAndPepper(0.25)),
    "swap": DenoisingAutoencoder(**UNTIED, corruption=Swap(0.15)),
    "emphasis": DenoisingAutoencoder(**UNTIED, corruption=Masking(0.25), emphasis="double"),
    "sparse, KL": SparseAutoencoder(**UNTIED),
    "sparse, L1": SparseAutoencoder(**UNTIED, sparsity=0.0, activation_l1=1e-3),
    "contractive": ContractiveAutoencoder(**UNTIED),
    "squared error": DenoisingAutoencoder(**SHARED, tied=False, loss="squared_error", corruption=Masking(0.25)),
    "RBM, CD-1": RestrictedBoltzmannMachine(**SHARED),
    "RBM, persistent": RestrictedBoltzmannMachine(**SHARED, persistent=True),
    "RBM, Gaussian inputs": RestrictedBoltzmannMachine(**SHARED, visible="gaussian"),
    "RBM, sparsity target": RestrictedBoltzmannMachine(**SHARED, sparsity_target=0.1),
}
DAE: Mapping[str, Any] = {
    "plain": KINDS["denoising"],
    **{name: DenoisingAutoencoder(**UNTIED, corruption=Masking(0.25), **how) for name, how in PENALTIES.items()},
    "sparsity": SparseAutoencoder(**UNTIED, corruption=Masking(0.25)),
    "activation_l1": SparseAutoencoder(**UNTIED, corruption=Masking(0.25), sparsity=0.0, activation_l1=1e-3),
    "contraction": ContractiveAutoencoder(**UNTIED, corruption=Masking(0.25)),
    "batch_norm": (KINDS["denoising"], True),
}
WIDE: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": 0.5},
    "input_dropout": {"input_dropout": 0.2},
    **PENALTIES,
    "clip_norm, always reached": {"clip_norm": 0.05},
    "label_smoothing": {"label_smoothing": 0.1},
    "batch_norm": {"batch_norm": True},
}


def pretraining_of(given: Any, watch: Callable[[Any], object], threads: int) -> Callable[[], Any]:
    """Return a fit of a layer 784-1000, by settings, or by settings and the layer's `batch_norm`."""
    X = data_of(WORKLOADS["dae"]).X[: ROWS["dae"]]
    settings, batch_norm = given if isinstance(given, tuple) else (given, False)
    model = StackedAutoencoder(
        (1000,),
        activation="sigmoid",
        batch_norm=batch_norm,
        pretraining=settings,
        callbacks=watch,
        n_jobs=threads,
        random_state=0,
    )
    return lambda: model.fit(X)


def finetuning_of(settings: Mapping[str, Any], watch: Callable[[Any], object], threads: int) -> Callable[[], Any]:
    """Return a fit of `wide`, by settings of fine-tuning and the layers' `batch_norm`."""
    workload = WORKLOADS["wide"]
    X, y = (array[: ROWS["wide"]] for array in data_of(workload))
    own = {"batch_norm": False, **settings}
    batch_norm = own.pop("batch_norm")
    model = PretrainedClassifier(
        workload.sizes[1:-1],
        batch_norm=batch_norm,
        pretraining=None,
        finetuning=FineTuning(epochs=EPOCHS, batch_size=workload.batch_size, schedule="constant", **own),
        callbacks=watch,
        n_jobs=threads,
        random_state=0,
    )
    return lambda: model.fit(X, y)


GROUPS: Mapping[str, tuple[Callable[..., Callable[[], Any]], Mapping[str, Any]]] = {
    "kinds": (pretraining_of, KINDS),
    "dae": (pretraining_of, DAE),
    "wide": (finetuning_of, WIDE),
}


class Turns:
    """A fit on a thread of its own that waits after each epoch until it is asked for the next one.

    `make` gets the callback that waits and returns the fit as a function.
    """

    def __init__(self, make: Callable[[Callable[[Any], object]], Callable[[], Any]]) -> None:
        self._go, self._seconds = queue.SimpleQueue[bool](), queue.SimpleQueue[float | BaseException]()
        self._fit = make(self._watch)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def epoch(self) -> float:
        """Let the fit do an epoch; return its seconds."""
        self._go.put(True)
        seconds = self._seconds.get()
        if isinstance(seconds, BaseException):
            raise seconds
        return seconds

    def end(self) -> None:
        """End the fit."""
        self._go.put(False)
        self._thread.join()

    def _watch(self, record: Any) -> bool:
        self._seconds.put(record.seconds)
        return not self._go.get()

    def _run(self) -> None:
        try:
            if self._go.get():
                self._fit()
        except BaseException as error:  # whoever asks for the next epoch shall have it
            self._seconds.put(error)


def take_turns(plain: Turns, option: Turns, pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the option's epochs, and of each how many times those of the plain ones around it."""
    for fit in (plain, option, plain, option):
        fit.epoch()  # the first ones touch memory for the first time
    around, times = [plain.epoch()], []
    for _ in range(pairs):
        times.append(option.epoch())
        around.append(plain.epoch())
    return times, [2 * own / (before + after) for own, (before, after) in zip(times, pairwise(around), strict=True)]


def measure(
    make: Callable[..., Callable[[], Any]], plain: Any, option: Any, rounds: int, pairs: int, threads: int
) -> Any:
    """Return an option's result: its epochs, the ratios' median, and each round's median."""
    times: list[float] = []
    ratios: list[list[float]] = []
    for _ in range(rounds):
        fits = [Turns(lambda watch, how=how: make(how, watch, threads)) for how in (plain, option)]
        try:
            seconds, of_round = take_turns(*fits, pairs)
        finally:
            for fit in fits:
                fit.end()
        times += seconds
        ratios.append(of_round)
    return {
        **_timing.summary(times),
        "times_plain": statistics.median(ratio for of_round in ratios for ratio in of_round),
        "ratios": [round(statistics.median(of_round), 3) for of_round in ratios],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=12, help="epochs of each round")
    parser.add_argument("--only", default="", metavar="WORD", help="names that contain the word, and the plain")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    for group in options.groups:
        make, every = GROUPS[group]
        plain = next(iter(every))
        probes = [_timing.probe(threads)]
        results = {}
        for name, how in every.items():
            if name != plain and options.only not in name:
                continue
            result = results[name] = measure(make, every[plain], how, options.rounds, options.pairs, threads)
            low, high = min(result["ratios"]), max(result["ratios"])
            line = f"{result['median'] * 1e3:>8.1f} ms, {result['times_plain']:.3f}x, rounds {low:.3f} to {high:.3f}"
            print(f"{group:6} {name:22} {line}", flush=True)
            probes.append(_timing.probe(threads))
        if not options.no_record:
            _timing.record(
                "family", machine=_timing.machine(), group=group, threads=threads, results=results, probes=probes
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
