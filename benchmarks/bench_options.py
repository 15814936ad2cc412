"""What an option costs: batch normalisation, dropout, penalties and bounds, as a part of a training step.

    python benchmarks/bench_options.py [--workloads dae wide] [--threads 0] [--rounds 21]

The engine's own steps on the workloads of `bench_training.py`, with an option and without, in turn; before any timing
each option's gradient must be the reference's. One JSON line per workload goes to ``benchmarks/results/options.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import _timing
from layerwise import _core, reference, reference_random
from layerwise.reference import Layer, Normalization
from workloads import WORKLOADS, Workload, data_of, weights_of

RATE, SEED, NORM = 0.3, 7, (0.1, 1e-5)
OPTIONS: dict[str, dict[str, float]] = {
    "batch norm": {"batch_norm": 1},
    "dropout": {"dropout": RATE},
    "alpha": {"alpha": 1e-4},
    "l1": {"l1": 1e-6},
    "max norm": {"max_norm": 3.0},
    "clipped norm": {"clip_norm": 100.0},
}
STEPS = 8  # of a sample


class Training:
    """A network in training on a workload, with an option or without."""

    def __init__(self, workload: Workload, option: dict[str, float], threads: int) -> None:
        rebuilds = workload.rebuilds_input
        self.loss = "sigmoid_cross_entropy" if rebuilds else "softmax_cross_entropy"
        kinds = [workload.activation] * (len(workload.sizes) - 2) + [workload.loss]
        self.layers = [Layer(W, b, kind) for kind, (W, b) in zip(kinds, weights_of(workload), strict=True)]
        for layer in self.layers[:-1] if "batch_norm" in option else ():
            zeros = np.zeros_like(layer.b)
            layer.norm = Normalization(zeros + 1, zeros, zeros + 1, *NORM)
        norms = [None if layer.norm is None else NORM for layer in self.layers]
        engine = _core.Network_float32(
            [
                _core.Layer(*layer.W.shape, layer.activation, batch_norm=norm)
                for layer, norm in zip(self.layers, norms, strict=True)
            ]
        )
        engine.set_parameters(reference.flatten(self.layers))
        self.option = option
        recipe = _core.Recipe(
            self.loss,
            _core.Optimizer(workload.optimizer),
            workload.batch_size,
            seed=SEED,
            noise=_core.Noise("masking", workload.masking) if workload.masking else _core.Noise(),
            alpha=option.get("alpha", 0.0),
            dropout=[RATE] * (len(kinds) - 1) + [0.0] if "dropout" in option else [],
            penalties=_core.Penalties(**{k: option[k] for k in ("l1", "max_norm", "clip_norm") if k in option}),
            threads=threads,
        )
        self.plan = _core.Plan_float32(engine, recipe)
        data = data_of(workload)
        self.X = data.X[: STEPS * workload.batch_size]
        self.Y = None if rebuilds else np.eye(workload.sizes[-1], dtype=np.float32)[data.y[: len(self.X)]]
        self.rates, self.done, self.workload = np.full(STEPS, workload.rate), 0, workload

    def check(self) -> None:
        """Raise AssertionError if the first batch's objective or gradient is not the reference's."""
        n, masking = self.workload.batch_size, self.workload.masking
        X, rows = self.X[:n], np.arange(n)
        Y = X if self.Y is None else self.Y[:n]
        kind = "masking" if masking else "none"
        noisy = reference_random.corrupt(X, kind, masking, seed=SEED, rows=rows, step=0)
        dropout: list[Any] = []
        for i, layer in enumerate(self.layers[:-1] if "dropout" in self.option else ()):
            dropout.append(reference_random.dropout_scale(SEED, rows, len(layer.b), 0, i, RATE).astype(np.float32))
        dropout += [None] if dropout else []
        _, objective, gradient = reference.loss_and_gradients(
            noisy.astype(np.float32),
            Y,
            self.layers,
            self.loss,
            alpha=self.option.get("alpha", 0.0),
            l1=self.option.get("l1", 0.0),
            dropout=dropout,
        )
        value, found = self.plan.gradient(X, None if self.Y is None else Y, None, 0)
        wanted = reference.flatten(gradient)
        assert abs(value - objective) <= 1e-4 * objective, (value, objective)
        assert np.linalg.norm(found - wanted) <= 1e-4 * np.linalg.norm(wanted)

    def sample(self) -> float:
        """The seconds of a step."""

        def run() -> None:
            self.plan.run(self.X, self.Y, self.done, STEPS, self.rates)

        self.done += STEPS
        return _timing.seconds(run) / STEPS


def measure(workload: Workload, threads: int, rounds: int) -> dict[str, float]:
    """Return by how much each option makes a step longer: the median over rounds of with / without, less 1."""
    plain = Training(workload, {}, threads)
    trainings = {name: Training(workload, option, threads) for name, option in OPTIONS.items()}
    for training in (plain, *trainings.values()):
        training.check()
        training.sample()
    times: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(rounds):
        before = plain.sample()
        for name, training in trainings.items():
            own, after = training.sample(), plain.sample()
            times[name].append(2 * own / (before + after) - 1)
            before = after
    return {name: float(np.median(costs)) for name, costs in times.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=("dae", "wide"), default=["dae", "wide"])
    parser.add_argument("--threads", type=int, default=0, help="0: as many as pay")
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args(arguments)
    for name in options.workloads:
        costs = measure(WORKLOADS[name], options.threads, options.rounds)
        print(name, ", ".join(f"{option} {cost:+.1%}" for option, cost in costs.items()), flush=True)
        _timing.record("options", workload=name, threads=options.threads, costs=costs, machine=_timing.machine())


if __name__ == "__main__":
    main()
