"""Why layers were pretrained, and why they rarely are today: a figure of Erhan et al. 2010 in half a minute.

    python examples/depth_and_pretraining.py [--data FOLDER] [--depths 1,2,3,4,5] [--seeds 5] [--activation sigmoid]

Networks of one to five sigmoid layers on scikit-learn's digits (on MNIST with --data), trained by gradient descent with
momentum from three starts: the small random weights of that time, the same pretrained layer by layer as denoising
autoencoders, and the random weights of Glorot & Bengio 2010, which keep gradients alive. The folder --out gets
``run.json`` and, with the extra `plots`, pictures: the errors by depth (the README's), what the first layer looks for,
the curves. The formulas behind it stand in `layerwise.reference` (as code) and in docs/numerics.md (with their papers).

What it printed:

    test error in %, mean ± standard deviation over 5 seeds
    layers     random start of the time       pretrained   today's random start
         1                  2.80 ± 0.18      2.87 ± 0.14            2.67 ± 0.44
         2                  3.61 ± 0.48      3.64 ± 0.32            2.77 ± 0.37
         3                 26.84 ± 7.55      3.74 ± 0.33            2.90 ± 0.25
         4                 90.75 ± 0.82      4.54 ± 1.05            2.94 ± 0.25
         5                 90.75 ± 0.82      4.27 ± 0.81            2.74 ± 0.19
    With 1 layer pretraining changes the error by +0.07 points, with 5 by -86.48. Today's start has 2.74 % there.
"""

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import layerwise
from layerwise import DenoisingAutoencoder, FineTuning, Momentum, PretrainedClassifier, plots
from layerwise.datasets import load_digits, load_mnist

OLD, PRETRAINED, TODAY = "random start of the time", "pretrained", "today's random start"


def model_of(start: str, depth: int, seed: int, given: argparse.Namespace) -> PretrainedClassifier:
    """Return a network that is not trained yet."""
    return PretrainedClassifier(
        hidden_layer_sizes=(given.units,) * depth,
        activation=given.activation,
        initializer="auto" if start == TODAY else "fan_in_uniform",
        pretraining=DenoisingAutoencoder(epochs=given.epochs) if start == PRETRAINED else None,
        finetuning=FineTuning(epochs=given.finetuning_epochs, optimizer=Momentum(given.rate)),
        random_state=seed,
    )


def draw(folder: Path, errors: dict[str, dict[int, list[float]]], model: PretrainedClassifier, data: str) -> None:
    """Write the pictures."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for color, (start, by_depth) in enumerate(errors.items()):
        depths, means = list(by_depth), [np.mean(own) for own in by_depth.values()]
        ax.plot(depths, means, f"C{color}", label=start, gid=f"means-{color}")
        seeds = [(depth, error) for depth, own in by_depth.items() for error in own]
        ax.plot(*zip(*seeds, strict=True), f"C{color}o", markersize=4, alpha=0.5, gid=f"seeds-{color}")
    ax.set(xlabel="hidden layers", ylabel="test error in %", xticks=list(next(iter(errors.values()))), yscale="log")
    ticks = [2, 5, 10, 20, 50, 100]
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_title(f"{data}: lines are means, points are seeds")
    ax.legend(loc="center right")
    # Text stays text, and the same numbers make the same file.
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "layerwise"}):
        figure.savefig(folder / "errors.svg", metadata={"Date": None, "Creator": None})
    plots.filters(model, pretrained=True).figure.savefig(folder / "filters.png")
    plots.learning_curves(model)[0].figure.savefig(folder / "curves.png")
    pyplot.close("all")


def main(words: list[str] | None = None) -> None:
    """Train all networks, print the table, write the files."""
    parser = argparse.ArgumentParser(description="Errors by depth, with and without pretraining.")
    parser.add_argument("--data", help="folder with MNIST's IDX files; default: scikit-learn's digits")
    parser.add_argument("--depths", default="1,2,3,4,5", help="numbers of hidden layers")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--units", type=int, default=100, help="of each layer")
    parser.add_argument("--activation", default="sigmoid")
    parser.add_argument("--epochs", type=int, default=20, help="of pretraining, a layer")
    parser.add_argument("--finetuning-epochs", type=int, default=50)
    parser.add_argument("--rate", type=float, default=0.1, help="of fine-tuning; ReLU networks want 0.02")
    parser.add_argument("--out", type=Path, default=Path("depth_and_pretraining"))
    given = parser.parse_args(words)
    depths = [int(depth) for depth in given.depths.split(",")]
    if given.data:
        X, y, X_test, y_test = load_mnist(given.data)
    else:
        X, y = load_digits()
        test = np.arange(len(y)) % 3 == 0
        X, y, X_test, y_test = X[~test], y[~test], X[test], y[test]

    errors: dict[str, dict[int, list[float]]] = {start: {} for start in (OLD, PRETRAINED, TODAY)}
    runs: list[dict[str, Any]] = []
    deepest = None
    for depth in depths:
        for start in errors:
            for seed in range(given.seeds):
                begin = perf_counter()
                model = model_of(start, depth, seed, given).fit(X, y)
                error = 100 * (1 - float(model.score(X_test, y_test)))
                errors[start].setdefault(depth, []).append(error)
                skills = [round(stage.skill, 3) for stage in model.stages_]
                runs.append({"depth": depth, "start": start, "seed": seed, "error": error, "skills": skills})
                told = f"depth {depth}, {start}, seed {seed}: test error {error:.2f} % ({perf_counter() - begin:.1f} s)"
                print(told + (f", skill of the layers {skills}" if skills else ""), file=sys.stderr, flush=True)
                if start == PRETRAINED and seed == 0:
                    deepest = model

    print(f"test error in %, mean ± standard deviation over {given.seeds} seeds")
    print(f"layers {OLD:>28} {PRETRAINED:>16} {TODAY:>22}")
    for depth in depths:
        cells = [
            f"{np.mean(by[depth]):.2f} ± {np.std(by[depth], ddof=min(1, given.seeds - 1)):.2f}"
            for by in errors.values()
        ]
        print(f"{depth:6} {cells[0]:>28} {cells[1]:>16} {cells[2]:>22}")
    first, last = depths[0], depths[-1]
    gain = {depth: np.mean(errors[PRETRAINED][depth]) - np.mean(errors[OLD][depth]) for depth in (first, last)}
    print(
        f"With {first} layer{'s' * (first > 1)} pretraining changes the error by {gain[first]:+.2f} points, "
        f"with {last} by {gain[last]:+.2f}. Today's start has {np.mean(errors[TODAY][last]):.2f} % there."
    )

    given.out.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in vars(given).items() if name != "out"}
    found = {"layerwise": layerwise.__version__, "settings": settings, "runs": runs}
    (given.out / "run.json").write_text(json.dumps(found, indent=1) + "\n")
    try:
        draw(given.out, errors, deepest, "MNIST" if given.data else "scikit-learn's digits")
    except ImportError as missing:
        print(missing)
    print(f"files in {given.out}: {', '.join(sorted(file.name for file in given.out.iterdir()))}")


if __name__ == "__main__":
    main()
