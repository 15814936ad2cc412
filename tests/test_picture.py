"""The README's picture is what its command draws: its points are the errors of the networks that it names."""

from __future__ import annotations

import re
import runpy
from argparse import Namespace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from layerwise import _core
from layerwise.datasets import load_digits

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "errors_by_depth.svg"
DEPTHS, SEEDS = [1, 2, 3, 4, 5], 5
SVG = "{http://www.w3.org/2000/svg}"

mpl.use("agg")


def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "depth_and_pretraining.py"))


def group(root: Any, name: str) -> Any:
    (found,) = [one for one in root.iter(f"{SVG}g") if one.get("id") == name]
    return found


def places(root: Any, name: str) -> np.ndarray:
    """Where a group has its markers."""
    return np.array([[float(one.get("x")), float(one.get("y"))] for one in group(root, name).iter(f"{SVG}use")])


def axis(root: Any, letter: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the ticks of an axis are, and their numbers."""
    names = [one.get("id") for one in root.iter(f"{SVG}g") if re.match(rf"{letter}tick_\d+$", one.get("id", ""))]
    found = []
    for name in names:
        (place,) = places(root, name)
        (label,) = group(root, name).iter(f"{SVG}text")
        found.append((place["xy".index(letter)], float(label.text)))
    at, numbers = zip(*sorted(found), strict=True)
    return np.array(at), np.array(numbers)


def read(path: Path) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """The texts of the picture, and in its axes' units the points of each start and the corners of its line."""
    root = ElementTree.parse(path).getroot()
    (x_at, x), (y_at, y) = axis(root, "x"), axis(root, "y")

    def numbers(at: np.ndarray) -> np.ndarray:
        depths = np.polyval(np.polyfit(x_at, x, 1), at[:, 0])
        return np.column_stack([depths, np.exp(np.polyval(np.polyfit(y_at, np.log(y), 1), at[:, 1]))])

    seeds, means = [], []
    for kind in range(3):
        seeds.append(numbers(places(root, f"seeds-{kind}")))
        (line,) = group(root, f"means-{kind}").iter(f"{SVG}path")
        corners = re.findall(r"[ML] ([\d.]+) ([\d.]+)", line.get("d"))
        means.append(numbers(np.array(corners, float)))
    return [text.text for text in root.iter(f"{SVG}text")], seeds, means


def errors_of(picture: list[np.ndarray], starts: list[str]) -> dict[str, dict[int, list[float]]]:
    return {
        start: {depth: [float(e) for d, e in own if round(d) == depth] for depth in DEPTHS}
        for start, own in zip(starts, picture, strict=True)
    }


def test_the_readme_shows_it_beside_its_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert "](docs/pictures/errors_by_depth.svg)" in text
    assert "`python examples/depth_and_pretraining.py`" in text
    content = PICTURE.read_text()
    assert len(content) <= 40_000
    assert "date" not in content
    assert "<image" not in content


def test_its_points_are_what_the_networks_get() -> None:
    names = script()
    texts, seeds, means = read(PICTURE)
    starts = [names["OLD"], names["PRETRAINED"], names["TODAY"]]
    errors = errors_of(seeds, starts)
    assert {len(own) for by_depth in errors.values() for own in by_depth.values()} == {SEEDS}
    for start, line in zip(starts, means, strict=True):
        np.testing.assert_allclose(line[:, 0], DEPTHS, atol=1e-3)
        np.testing.assert_allclose(line[:, 1], [np.mean(own) for own in errors[start].values()], rtol=1e-3)
    X, y = load_digits()
    test = np.arange(len(y)) % 3 == 0
    given = Namespace(units=100, activation="sigmoid", epochs=20, finetuning_epochs=50, rate=0.1)
    # Without a fused multiply-add the last bits differ, and then a few of the 599 test rows.
    tolerance = 1.5 if _core.isa() == "x86-64-v2" else 1e-2
    for start in starts:
        for depth in (1, 5):
            model = names["model_of"](start, depth, 0, given).fit(X[~test], y[~test])
            error = 100 * (1 - model.score(X[test], y[test]))
            assert errors[start][depth][0] == pytest.approx(error, abs=tolerance), f"{start}, {depth} layers"
    assert texts[-3:] == starts


def test_the_same_errors_make_the_same_picture(tmp_path: Path) -> None:
    names = script()
    texts, seeds, means = read(PICTURE)
    errors = errors_of(seeds, [names["OLD"], names["PRETRAINED"], names["TODAY"]])
    X, y = load_digits()
    given = Namespace(units=10, activation="sigmoid", epochs=1, finetuning_epochs=1, rate=0.1)
    model = names["model_of"](names["PRETRAINED"], 1, 0, given).fit(X[:50], y[:50])
    drawn = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        names["draw"](folder, errors, model, "scikit-learn's digits")
        drawn.append((folder / "errors.svg").read_bytes())
    assert drawn[0] == drawn[1]
    again = read(tmp_path / "one" / "errors.svg")
    assert again[0] == texts
    for own, other in zip([*again[1], *again[2]], [*seeds, *means], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3)


@pytest.mark.slow
def test_the_whole_command_draws_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "examples" / "depth_and_pretraining.py"
    monkeypatch.setattr("sys.argv", [path.name, "--out", str(tmp_path)])
    runpy.run_path(str(path), run_name="__main__")
    texts, seeds, means = read(PICTURE)
    again = read(tmp_path / "errors.svg")
    assert again[0] == texts
    for own, other in zip([*again[1], *again[2]], [*seeds, *means], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3)
