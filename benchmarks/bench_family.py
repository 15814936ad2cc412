"""What each option costs: kinds of pretraining beside a denoising autoencoder, regularisers beside a plain run.

    python benchmarks/bench_family.py [--groups kinds dae wide] [--repeats 5] [--only WORD]

- kinds: one layer 784-1000 in batches of 100; every kind beside the denoising autoencoder (masking 0.25, untied, Adam)
  for the same number of multiply-adds: an autoencoder's step has five products of that size, CD-1's and that of
  persistent chains too (up, down, up, and two for the gradient).
- dae: that autoencoder with each penalty; wide: the ReLU classifier 784-1000-1000-1000-10 in batches of 128 with each
  regulariser of fine-tuning. The bar is 5 % more than without.

Epochs are timed through the estimators' `fit` (median of the later half), on threads of the engine's choice, each
option right after a plain run.
One JSON line per group goes to ``benchmarks/results/family.jsonl``, from which `tables.py` makes the table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

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

EPOCHS = 4
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
    "label_smoothing": {"label_smoothing": 0.1},
    "batch_norm": {"batch_norm": True},
}


def pretraining_epoch(given: Any) -> float:
    """The median epoch of a layer 784-1000, by settings, or by settings and the layer's `batch_norm`."""
    X = data_of(WORKLOADS["dae"]).X
    settings, batch_norm = given if isinstance(given, tuple) else (given, False)
    model = StackedAutoencoder(
        (1000,), activation="sigmoid", batch_norm=batch_norm, pretraining=settings, random_state=0
    ).fit(X)
    return later(model)


def finetuning_epoch(settings: Mapping[str, Any]) -> float:
    """The median epoch of `wide`, by settings of fine-tuning and the layers' `batch_norm`."""
    workload = WORKLOADS["wide"]
    X, y = data_of(workload)
    own = {"batch_norm": False, **settings}
    batch_norm = own.pop("batch_norm")
    tuning = FineTuning(epochs=EPOCHS, batch_size=workload.batch_size, **own)
    hidden = workload.sizes[1:-1]
    model = PretrainedClassifier(hidden, batch_norm=batch_norm, pretraining=None, finetuning=tuning, random_state=0)
    return later(model.fit(X, y))


def later(model: Any) -> float:
    """The median of the later half of a fit's epochs: the first ones choose the threads."""
    seconds = [record.seconds for record in model.history_]
    return statistics.median(seconds[len(seconds) // 2 :])


GROUPS: Mapping[str, tuple[Callable[[Any], float], Mapping[str, Any]]] = {
    "kinds": (pretraining_epoch, KINDS),
    "dae": (pretraining_epoch, DAE),
    "wide": (finetuning_epoch, WIDE),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", metavar="WORD", help="names that contain the word, and the plain")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    np.seterr(all="raise")
    for group in options.groups:
        epoch, every = GROUPS[group]
        plain, *options_of_group = every
        samples = {plain: partial(epoch, every[plain])}
        for name in options_of_group:
            if options.only in name:  # each right after a plain one: the machine may change its pace in between
                samples |= {f"before {name}": samples[plain], name: partial(epoch, every[name])}
        times, probes = _timing.interleaved(samples, options.repeats, len(os.sched_getaffinity(0)), probe_size=1024)
        results = {}
        for name in (name for name in samples if name in every):
            beside = times[plain if name == plain else f"before {name}"]
            results[name] = {
                **_timing.summary(times[name]),
                "times_plain": _timing.paired_ratio(times[name], beside),
                "ratios": [round(own / other, 3) for own, other in zip(times[name], beside, strict=True)],
            }
        for name, result in results.items():
            print(f"{group:6} {name:22} {result['median'] * 1e3:>8.1f} ms, {result['times_plain']:.3f}x", flush=True)
        if not options.no_record:
            _timing.record("family", machine=_timing.machine(), group=group, results=results, probes=probes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
