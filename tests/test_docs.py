"""The documents: links lead somewhere, and the code they show runs."""

from __future__ import annotations

import re
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

import layerwise

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "decisions", ROOT / "benchmarks")
    for path in folder.glob("*.md")
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower().replace("`", "")).replace(" ", "-")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_pages_that_must_be_are_there() -> None:
    expected = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/numerics.md"}
    assert expected <= {name(page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        file, _, fragment = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{name(page)}: {target}"
        if fragment:
            titles = re.findall(r"^#+ (.+)$", there.read_text(), flags=re.MULTILINE)
            assert fragment in {anchor(title) for title in titles}, f"{name(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_named_in_the_text_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # history may name what is gone
    for path in re.findall(r"`((?:csrc|python|tests|docs|benchmarks|examples)/[\w./-]*[\w/])`", page.read_text()):
        if not path.startswith("benchmarks/results"):  # the benchmarks make it, and an sdist leaves it out
            assert (ROOT / path).exists(), f"{name(page)} names {path}"


def test_the_readme_shows_exactly_the_two_commands_of_ci() -> None:
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert len([command for command in commands if "pytest" in command]) == 1
    assert len([command for command in commands if "layerwise demo" in command]) == 1


def test_the_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    code = blocks(ROOT / "README.md", "python")
    assert code
    for block in code:
        exec(compile(block, "README.md", "exec"), scope)


def test_the_call_of_the_readme_at_full_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own way of saying what the papers did, as one call."""
    from layerwise import DenoisingAutoencoder, FineTuning, Masking, PretrainedClassifier, load

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.random((120, 20), dtype=np.float32)
    y = (X[:, 0] > 0.5).astype(int) + 1
    y[60:] = -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PretrainedClassifier(
            hidden_layer_sizes=(1000, 1000, 1000),
            pretraining=DenoisingAutoencoder(corruption=Masking(0.25), epochs=15),
            finetuning=FineTuning(epochs=50, early_stopping=True),
            random_state=0,
        ).fit(X, y)
    assert 0 <= model.score(X, y) <= 1
    assert model.transform(X, layer=2).shape == (120, 1000)
    model.save("digits.layerwise")
    np.testing.assert_array_equal(load("digits.layerwise").predict_proba(X), model.predict_proba(X))


BRIEF = ["--depths", "1,2", "--seeds", "2", "--units", "20", "--epochs", "2", "--finetuning-epochs", "3"]
SMALL = {
    "adult.py": ["--rows", "4000", "--labels", "200", "--seeds", "2", "--epochs", "2", "--search"],
    "depth_and_pretraining.py": BRIEF,
    "grid_of_runs.py": [*BRIEF, "--jobs", "1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=name)
def test_examples_run(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [path.name, *SMALL.get(path.name, [])])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


def test_every_public_name_is_on_the_page_of_names() -> None:
    text = (ROOT / "docs" / "names.md").read_text()
    on_the_page = {
        name for row in text.splitlines() if row.startswith("|") for name in re.findall(r"`([A-Za-z_]+)`", row)
    }
    assert on_the_page - {"save", "max_seconds"} == set(layerwise.__all__) - {"__version__"}
