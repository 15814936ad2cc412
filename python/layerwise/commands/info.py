"""``layerwise info``: this installation, or what a model file holds."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from layerwise import _core
from layerwise.commands import targets, words
from layerwise.commands.files import load_model


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = words.command(
        commands,
        "info",
        "[MODEL]",
        "version, instruction set, threads; or what a model file holds",
        "Tell about this installation or, with MODEL, what that file holds.",
    )
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="a model file")
    parser.set_defaults(command=run_info)


def run_info(given: argparse.Namespace) -> int:
    """Print."""
    if given.model is None:
        _tell_installation()
    else:
        _tell_model(given.model)
    return 0


def _tell_installation() -> None:
    from layerwise import __version__

    supported = ", ".join(_core.supported_isas())
    chosen = " (by LAYERWISE_ISA)" if os.environ.get("LAYERWISE_ISA") else ""
    print(f"layerwise        {__version__}")
    print(f"instruction set  {_core.isa()}{chosen}; this processor can run {supported}")
    print(f"threads          {_core.default_threads()} of {os.cpu_count()} cores")
    print(f"python           {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("numpy", "scikit-learn", "safetensors", "tqdm", "pandas", "pyarrow", "matplotlib"):
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = "not installed"
        print(f"{package:16} {version}")


def _tell_model(file: Path) -> None:
    model = load_model(file)
    network = model.steps[-1][1] if hasattr(model, "steps") else model
    names = getattr(model, "feature_names_in_", None)
    sizes = [network.network_.layers[0].n_in, *(layer.n_out for layer in network.network_.layers)]
    kinds = dict.fromkeys(layer.activation.title for layer in network.network_.layers[:-1])
    print(f"estimator    {type(network).__name__}")
    print(f"columns      {model.n_features_in_}" + ("" if names is None else f": {', '.join(map(str, names))}"))
    if categories := _categories(model):
        print(f"categories   {len(categories)}: {words.listed(categories, most=50)}")
    if hasattr(network, "classes_"):
        print(f"classes      {', '.join(targets.text(label) for label in network.classes_)}")
    if hasattr(network, "offset_"):
        print(f"threshold    {float(network.offset_)}: rows with a score below it are anomalies (predicted as -1)")
    print(f"network      {'-'.join(map(str, sizes))}, {', '.join(kinds)}, {network.network_.dtype}")
    print(f"pretraining  {network.pretraining!r}")
    for stage in network.stages_:
        print(f"  layer {stage.layer}    {len(stage.history)} epochs, skill {stage.skill:.3f}")
    print(f"fine-tuning  {network.finetuning!r}")
    own = [record for record in network.history_ if record.stage == "finetuning"]
    if own:
        print(f"             {len(own)} epochs, loss {own[-1].loss:.4g}")
    if hasattr(network, "n_labeled_"):
        print(f"labels       {network.n_labeled_:,} rows had one")


def _categories(model: Any) -> list[Any]:
    """Return the columns of a table that are categories, by name if they have names."""
    if not hasattr(model, "steps"):
        return []
    places = [int(place) for name, _, own in model.steps[0][1].transformers_ if name == "categories" for place in own]
    names = getattr(model, "feature_names_in_", None)
    return places if names is None else [names[place] for place in places]
