"""Adult with few labels: the same network with and without pretraining, with each reconstruction loss, beside others.

    python benchmarks/adult.py [--data FOLDER] [--labels 500] [--seeds 0 1 2 ...]

A quarter of the 32,561 rows are test rows, drawn anew for each seed as are the labelled ones; all other rows pretrain.
Each finished seed is a line of ``results/adult.jsonl`` and is not run again for the same settings. These were chosen on
seeds from 100 on, which are not among those that the table has.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import _timing
from layerwise import DenoisingAutoencoder, FineTuning, Masking, PretrainedClassifier, compare, tabular_pipeline
from layerwise.datasets import load_adult

NAME = "adult"
SQUARED = "pretrained, squared error"  # of all columns, instead of each kind by its own loss


def model(settings: dict[str, Any], loss: str) -> Any:
    """The pipeline with an untrained network."""
    network = PretrainedClassifier(
        hidden_layer_sizes=tuple(settings["hidden"]),
        pretraining=DenoisingAutoencoder(corruption=Masking(settings["masking"]), epochs=settings["epochs"], loss=loss),
        finetuning=FineTuning(
            epochs=settings["finetuning_epochs"], dropout=settings["dropout"], alpha=settings["alpha"]
        ),
    )
    return tabular_pipeline(network)


def measure(X: Any, y: Any, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Area under the ROC curve and seconds of training, by contender."""
    options: dict[str, Any] = {"labels": settings["labels"], "seeds": [seed], "scoring": "roc_auc"}
    whole = compare(model(settings, "auto"), X, y, **options)
    squared = compare(model(settings, "squared_error"), X, y, rivals=(), **options)
    auc = {name: own[0] for name, own in whole.scores.items()} | {SQUARED: squared.scores["pretrained"][0]}
    seconds = {name: own[0] for name, own in whole.seconds.items()} | {SQUARED: squared.seconds["pretrained"][0]}
    return {"rows": whole.rows, "auc": auc, "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="Adult's file or its folder; default: LAYERWISE_DATA")
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), metavar="SEED")
    parser.add_argument("--hidden", type=int, nargs="+", default=[200, 100])
    parser.add_argument("--masking", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=30, help="of pretraining, a layer")
    parser.add_argument("--finetuning-epochs", type=int, default=30)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--alpha", type=float, default=0.03)
    options = parser.parse_args()
    settings = {name: value for name, value in vars(options).items() if name not in ("data", "seeds")}
    X, y = load_adult(options.data)
    machine = _timing.machine()
    done = {line["seed"] for line in _timing.records(NAME) if line["settings"] == settings}
    for seed in options.seeds:
        if seed in done:
            print(f"seed {seed} is there already")
            continue
        found = measure(X, y, settings, seed)
        _timing.record(NAME, settings=settings, seed=seed, **found, machine=machine)
        shown = ", ".join(f"{name} {area:.3f} ({found['seconds'][name]:.1f} s)" for name, area in found["auc"].items())
        print(f"seed {seed}: {shown}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
