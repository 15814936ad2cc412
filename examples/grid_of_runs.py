"""A grid of runs overnight: resumable, on several processes, each run reproducible to the bit.

    python examples/grid_of_runs.py [--out runs.jsonl] [--jobs 2] [--seeds 10] [--depths 1,2,3,4]

Initialisation x depth x pretraining x seed on scikit-learn's digits, in the manner of Erhan et al. 2010. Each finished
run is a line of JSON in one file: its settings, versions and machine, its error, the loss of each epoch (kept by a
hook) and a hash of its weights. Started again, the script does the runs that are missing. In the end it prints the mean
and the spread of each cell, repeats a run with other numbers of threads to see that the weights are the same bytes, and
measures what the hook costs.
"""

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import platform
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import layerwise
from layerwise import Autoencoder, DenoisingAutoencoder, EpochRecord, FineTuning, Momentum, PretrainedClassifier
from layerwise.datasets import load_digits

X, y = load_digits()
TEST = np.arange(len(y)) % 3 == 0
PRETRAINING = {"none": None, "autoencoder": Autoencoder, "denoising": DenoisingAutoencoder}


class Losses:
    """A hook: a callable on each epoch's record."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def __call__(self, record: EpochRecord) -> None:
        """Keep the loss; returning True would end the stage."""
        self.losses.append(round(record.loss, 6))


def model_of(settings: dict[str, Any], threads: int | None = 1, hook: Any = None) -> PretrainedClassifier:
    """Return the network that the settings describe, not yet trained."""
    kind = PRETRAINING[settings["pretraining"]]
    return PretrainedClassifier(
        (settings["units"],) * settings["depth"],
        activation="sigmoid",
        initializer=settings["initializer"],
        pretraining=None if kind is None else kind(epochs=settings["epochs"]),
        finetuning=FineTuning(epochs=settings["finetuning_epochs"], optimizer=Momentum(0.1)),
        random_state=settings["seed"],
        n_jobs=threads,
        callbacks=hook,
    )


def hash_of(model: PretrainedClassifier) -> str:
    """Return a hash of all weights and biases, of their bytes."""
    digest = hashlib.sha256()
    for array in (*model.coefs_, *model.intercepts_):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Do one run, in a process of its own and on one thread."""
    hook, start = Losses(), perf_counter()
    model = model_of(settings, hook=hook).fit(X[~TEST], y[~TEST])
    return {
        "settings": settings,
        "test_error": 100 * (1 - float(model.score(X[TEST], y[TEST]))),
        "skills": [round(stage.skill, 4) for stage in model.stages_],
        "losses": hook.losses,
        "weights": hash_of(model),
        "seconds": round(perf_counter() - start, 3),
        "layerwise": layerwise.__version__,
        "engine": hashlib.sha256(Path(layerwise._core.__file__).read_bytes()).hexdigest(),
        "instruction_set": layerwise._core.isa(),
        "numpy": np.__version__,
        "machine": f"{platform.platform()}, {platform.processor() or platform.machine()}",
    }


def grid(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the settings of all runs."""
    depths = [int(depth) for depth in given.depths.split(",")]
    cells = itertools.product(("fan_in_uniform", "auto"), depths, PRETRAINING, range(given.seeds))
    names = ("initializer", "depth", "pretraining", "seed")
    fixed = {"units": given.units, "epochs": given.epochs, "finetuning_epochs": given.finetuning_epochs}
    return [dict(zip(names, cell, strict=True)) | fixed for cell in cells]


def finished(file: Path) -> list[dict[str, Any]]:
    """Return the runs in the file; a line that was cut short when the machine stopped is taken out of it."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    whole = [line for line in lines if line.endswith("}\n")]
    if len(whole) < len(lines):
        beside = file.with_suffix(".tmp")
        beside.write_text("".join(whole))
        beside.replace(file)
    return [json.loads(line) for line in whole]


def results(all_settings: list[dict[str, Any]], jobs: int) -> Iterator[dict[str, Any]]:
    """Yield each run as it ends."""
    if jobs == 1:
        yield from map(run, all_settings)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run, settings) for settings in all_settings]):
            yield future.result()


def do_missing(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Do the runs that are not in the file, adding each as it ends; return those of this grid."""
    wanted = grid(given)
    done = [one for one in finished(given.out) if one["settings"] in wanted]
    missing = [settings for settings in wanted if settings not in [one["settings"] for one in done]]
    print(f"{len(wanted)} runs, {len(done)} of them in {given.out}")
    if not missing:
        return done
    with open(given.out, "a") as file:
        for count, found in enumerate(results(missing, given.jobs), 1):
            done.append(found)
            file.write(json.dumps(done[-1]) + "\n")
            file.flush()
            os.fsync(file.fileno())
            if count % max(1, len(missing) // 10) == 0:
                print(f"{count} of {len(missing)} done", flush=True)
    return done


def main(words: list[str] | None = None) -> None:
    """Do what is missing, then tell what was found."""
    parser = argparse.ArgumentParser(description="A resumable grid of runs.")
    parser.add_argument("--out", type=Path, default=Path("runs.jsonl"))
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--depths", default="1,2,3,4")
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20, help="of pretraining, a layer")
    parser.add_argument("--finetuning-epochs", type=int, default=50)
    given = parser.parse_args(words)
    runs = do_missing(given)

    cells: dict[tuple[Any, ...], list[float]] = {}
    for one in sorted(runs, key=lambda one: json.dumps(one["settings"])):
        settings = one["settings"]
        cells.setdefault((settings["initializer"], settings["depth"], settings["pretraining"]), []).append(
            one["test_error"]
        )
    print("\ntest error in %, mean ± standard deviation")
    for (initializer, depth, kind), errors in sorted(cells.items()):
        spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
        print(f"{initializer:15} {depth} layers, {kind:12} {statistics.fmean(errors):6.2f} ± {spread:.2f}")

    one = runs[-1]
    for threads in (1, 2, 3):
        same = hash_of(model_of(one["settings"], threads).fit(X[~TEST], y[~TEST])) == one["weights"]
        print(f"the last run again on {threads} threads: {'the same bytes' if same else 'OTHER BYTES'}")
    times: dict[bool, list[float]] = {False: [], True: []}
    for hooked in [False, True] * 7:
        model, start = model_of(one["settings"], hook=Losses() if hooked else None), perf_counter()
        model.fit(X[~TEST], y[~TEST])
        times[hooked].append(perf_counter() - start)
    cost = min(times[True]) / min(times[False]) - 1
    print(f"a fit with the hook takes {100 * cost:+.1f} % (the best of 7 fits with and of 7 without it, in turn)")


if __name__ == "__main__":
    main()
