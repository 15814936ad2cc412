"""What the tests of the commands share: small tables in files, and ways to run a command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from layerwise import cli

ROWS = 80
QUICK = ["--layers", "6,4", "--epochs", "1", "--finetuning-epochs", "2"]


def people() -> pd.DataFrame:
    """Numbers, categories and holes; half of the rows have no label."""
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, ROWS).astype(float)
    income = np.where(age + rng.normal(0, 5, ROWS) > 48, "high", "low").astype(object)
    age[5] = np.nan
    income[::2] = None
    jobs = np.array(["cook", "clerk", "?", "smith"], object)[rng.integers(0, 4, ROWS)]
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "age": age,
            "job": jobs,
            "code": np.array(["07", "8", "A"], object)[rng.integers(0, 3, ROWS)],
            "owner": rng.integers(0, 2, ROWS).astype(bool),
            "income": income,
        }
    )


def write_tables(folder: Path) -> None:
    """Write people.csv, some.npz (X, y, size) and some.npy (X, and y as its last column)."""
    people().to_csv(folder / "people.csv", index=False)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    np.savez(folder / "some.npz", X=X, y=(X[:, 0] > 0).astype(int), size=3 * X[:, 0])
    np.save(folder / "some.npy", np.column_stack([X, X[:, 0] > 0]))


def run(*words: str) -> int:
    return cli.main(list(words))


def train(*words: str) -> None:
    assert run("train", *words, *QUICK) == 0


def complaint_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a failing command says."""
    assert run(*words) == 1
    said = capsys.readouterr().err
    assert said.startswith("layerwise: ")
    assert said.count("\n") == 1
    return said


def table_of(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class Terminal:
    """A stream that looks like a terminal and keeps what is written."""

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None:
        pass
