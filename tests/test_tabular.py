"""Tables with categories and holes: what the columns become, levels nobody has seen, and Adult."""

from __future__ import annotations

import gzip
import pickle
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

from layerwise import (
    AnomalyDetector,
    DenoisingAutoencoder,
    FineTuning,
    InvalidParameterError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    datasets,
    tabular,
    tabular_pipeline,
)

QUICK = {"pretraining": DenoisingAutoencoder(epochs=1), "finetuning": FineTuning(epochs=2), "random_state": 0}
ROWS = 60


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, ROWS),
            "income": np.where(np.arange(ROWS) % 7 == 0, np.nan, np.exp(rng.normal(10, 2, ROWS))),
            "zip": rng.integers(0, 3, ROWS) * 1000,
            "job": np.array(["cook", "clerk", None, "smith"], object)[np.arange(ROWS) % 4],
            "owner": np.arange(ROWS) % 3 == 0,
            "size": pd.Categorical(np.array(["S", "L"])[np.arange(ROWS) % 2]),
            "one": pd.array([1, None, 3] * (ROWS // 3), dtype="Int64"),
        }
    )


Y = np.arange(ROWS) % 2


def columns_of(table: Any, fitted_on: Any = None, **settings: Any) -> pd.DataFrame:
    """What the estimator of the pipeline gets to see."""
    before = tabular_pipeline(StackedAutoencoder(), **settings)[:-1]
    before.fit(table if fitted_on is None else fitted_on)
    out = before.transform(table)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    names = [name.split("__")[1].replace("job_nan", "job_None") for name in before.get_feature_names_out()]
    return pd.DataFrame(out, columns=names)


def test_numbers_are_rank_gauss_with_flags_where_they_were_missing() -> None:
    table = frame()
    out = columns_of(table)
    assert list(out.columns) == [
        "age", "income", "zip", "one", "missingindicator_income", "missingindicator_one",
        "job_clerk", "job_cook", "job_smith", "job_None", "owner_False", "owner_True", "size_L", "size_S",
    ]  # fmt: skip
    present = table["income"].notna().to_numpy()
    np.testing.assert_array_equal(out["missingindicator_income"], ~present)
    np.testing.assert_array_equal(out["missingindicator_one"], table["one"].isna())
    filled = table["income"].fillna(table["income"].median())
    assert list(out["income"].argsort(kind="stable")) == list(filled.argsort(kind="stable"))
    middle = (stats.rankdata(table["age"]) - 1) / (ROWS - 1)
    inner = (middle > 0) & (middle < 1)
    inner &= (table["age"] > table["age"].min()).to_numpy()
    assert np.corrcoef(out["age"][inner], stats.norm.ppf(middle[inner]))[0, 1] > 0.999
    np.testing.assert_allclose(out[["age", "income", "zip", "one"]].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(out[["age", "income", "zip", "one"]].std(ddof=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(out["job_None"], table["job"].isna())
    assert (out[["job_clerk", "job_cook", "job_smith", "job_None"]].sum(axis=1) == 1).all()


def test_numbers_scaled_in_other_ways() -> None:
    table = frame()[["age", "income"]]
    filled = table.fillna(table.median())
    out = columns_of(table, numbers="range")[["age", "income"]]
    np.testing.assert_allclose(out, (filled - filled.min()) / (filled.max() - filled.min()), atol=1e-6)
    out = columns_of(table, numbers="standard")[["age", "income"]]
    np.testing.assert_allclose(out, (filled - filled.mean()) / filled.std(ddof=0), atol=1e-6)


def test_levels_and_holes_that_training_did_not_have() -> None:
    table = frame()
    new = table.iloc[:4].copy()
    new["job"] = ["pilot", "cook", None, "pilot"]
    new["age"] = [np.nan, 200, 30, 40]
    out = columns_of(new, table)
    levels = [name for name in out.columns if name.startswith("job")]
    assert out.loc[0, levels].sum() == out.loc[3, levels].sum() == 0
    assert out.loc[1, "job_cook"] == out.loc[2, "job_None"] == 1
    median = columns_of(table.assign(age=table["age"].median()).iloc[:1], table).loc[0, "age"]
    assert out.loc[0, "age"] == median
    assert out.loc[1, "age"] == columns_of(table)["age"].max()  # beyond the greatest counts as the greatest


def test_columns_are_found_by_name_in_any_order() -> None:
    table = frame()
    expected = columns_of(table)
    pd.testing.assert_frame_equal(columns_of(table[table.columns[::-1]], table), expected)
    pd.testing.assert_frame_equal(columns_of(table.assign(extra=1)[["extra", *table.columns]], table), expected)


def test_rare_levels_become_one() -> None:
    table = frame()
    table.loc[:1, "job"] = ["pilot", "diver"]
    out = columns_of(table, min_frequency=np.int64(5))
    assert [name for name in out.columns if name.startswith("job")] == [
        "job_clerk", "job_cook", "job_smith", "job_None", "job_infrequent_sklearn",
    ]  # fmt: skip
    assert out["job_infrequent_sklearn"].sum() == 2
    new = table.iloc[:1].assign(job="astronaut")
    assert columns_of(new, table, min_frequency=0.1).loc[0, "job_infrequent_sklearn"] == 1


@pytest.mark.parametrize("categorical", [["zip", "job", "owner", "size"], ("size", "owner", "job", "zip")])
def test_categories_by_name(categorical: Any) -> None:
    out = columns_of(frame(), categorical=categorical)
    assert [name for name in out.columns if name.startswith("zip")] == ["zip_0", "zip_1000", "zip_2000"]
    assert "age" in out.columns
    with pytest.raises(ValueError, match="X has no column 'town', which 'categorical' names"):
        columns_of(frame(), categorical=["town"])


def test_arrays_and_polars() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(ROWS, 3))
    X[3, 1] = np.nan
    out = columns_of(X)
    assert list(out.columns) == ["x0", "x1", "x2", "missingindicator_x1"]
    X[:, 2] = np.arange(ROWS) % 2
    assert list(columns_of(X, categorical=np.flatnonzero([0, 0, 1])).columns) == [
        "x0",
        "x1",
        "missingindicator_x1",
        "x2_0.0",
        "x2_1.0",
    ]
    objects = X.astype(object)
    objects[:, 2] = ["a", "b"] * (ROWS // 2)
    assert list(columns_of(objects).columns) == ["x0", "x1", "missingindicator_x1", "x2_a", "x2_b"]
    table = frame()[["age", "income", "job", "owner"]]
    jobs = [job if isinstance(job, str) else None for job in table["job"]]
    other = pl.DataFrame(
        {name: table[name].to_numpy() for name in ("age", "income")} | {"job": jobs, "owner": table["owner"].to_numpy()}
    )
    np.testing.assert_array_equal(columns_of(other).to_numpy(), columns_of(table).to_numpy())


def test_which_columns_are_categories() -> None:
    def is_category(*values: Any, dtype: Any = object) -> bool:
        return tabular._is_category(pd.Series(values, dtype=dtype))

    assert is_category("a", None)
    assert is_category("a", None, dtype="str")
    assert is_category(None, None, dtype="str")
    assert is_category(None, None)
    assert is_category(True, False)
    assert is_category(True, False, dtype=bool)
    assert is_category(1, "a")
    assert is_category(1, 2, dtype="category")
    assert not is_category(1, 2.5, None)
    assert not is_category(1, None, dtype="Int64")
    assert not is_category(1, 2, dtype="uint8")


def test_a_table_of_one_kind() -> None:
    assert list(columns_of(frame()[["age"]]).columns) == ["age"]
    assert list(columns_of(frame()[["size"]]).columns) == ["size_L", "size_S"]


@pytest.mark.parametrize(
    "estimator",
    [
        PretrainedClassifier((5,), **QUICK),
        PretrainedRegressor((5,), **QUICK),
        AnomalyDetector((5,), **QUICK),
        DecisionTreeClassifier(random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_estimators_behind_it(estimator: Any) -> None:
    model = tabular_pipeline(estimator)
    assert list(model.named_steps) == ["columns", "float32", type(estimator).__name__.lower()]
    assert model[-1] is estimator
    predicted = clone(model).fit(frame(), Y).predict(frame())
    again = clone(model).fit(frame(), Y)
    np.testing.assert_array_equal(again.predict(frame()), predicted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)).predict(frame()), predicted)
    if hasattr(again[-1], "network_"):
        assert again[-1].network_.dtype == np.float32


def test_a_search_reaches_the_network_s_settings() -> None:
    model = tabular_pipeline(PretrainedClassifier((5,), **QUICK))
    grid = {"pretrainedclassifier__pretraining__corruption__rate": [0.1, 0.5]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(frame(), Y)
    assert search.best_estimator_[-1].pretraining.corruption.rate in (0.1, 0.5)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("categorical", bad) for bad in ("some", None, [1.5], 3, [None], {"a"})),
        *(("min_frequency", bad) for bad in (0, -1, 1.0, 0.0, "few", True, [1], float("nan"))),
        *(("numbers", bad) for bad in ("none", "minmax", None, 3, ["range"])),
        *(("estimator", bad) for bad in (None, "network", PretrainedClassifier, 3)),
    ],
)
def test_bad_values_are_named(name: str, bad: Any) -> None:
    pattern = rf"^The '{name}' parameter of tabular_pipeline must be (.|\n)*Got "
    with pytest.raises(InvalidParameterError, match=pattern):
        tabular_pipeline(**{"estimator": LogisticRegression(), name: bad})


def test_the_choice_of_columns_is_readable() -> None:
    assert repr(tabular.Columns("auto", chosen=True)) == "Columns('auto', chosen=True)"


# ---- Adult -----------------------------------------------------------------------------------------------------------

LINES = """39, State-gov, 77516, Bachelors, 13, Divorced, Adm-clerical, Unmarried, White, Male, 2174, 0, 4, Cuba, <=50K
50, ?, 83311, Bachelors, 13, Married-civ-spouse, ?, Husband, White, Male, 0, 0, 13, United-States, >50K

"""


@pytest.mark.parametrize("place", ["adult.data", "adult/adult.data", "adult.data.gz", "adult/adult.data.gz"])
def test_adult_s_file_is_read(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(gzip.compress(LINES.encode()) if place.endswith(".gz") else LINES.encode())
    monkeypatch.setenv("LAYERWISE_DATA", str(tmp_path))
    for path in (None, tmp_path, file):
        X, y = datasets.load_adult(path)
        assert X.shape == (2, 14)
        assert y.tolist() == [0, 1]
        assert X["workclass"].isna().tolist() == [False, True]
        assert X.loc[0, "native-country"] == "Cuba"
        assert X["capital-gain"].tolist() == [2174, 0]


def test_adult_missing_or_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"Adult not found: looked for .*adult\.data.gz"):
        datasets.load_adult(tmp_path)
    monkeypatch.delenv("LAYERWISE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="LAYERWISE_DATA"):
        datasets.load_adult()
    for text in (LINES.replace(", <=50K", ""), LINES.replace("<=50K", "poor"), "a, b\nc, d\n"):
        (tmp_path / "adult.data").write_text(text)
        with pytest.raises(ValueError, match=r"is not Adult's training file"):
            datasets.load_adult(tmp_path)


def test_the_example_on_a_small_table_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    jobs = np.array(["Sales", "?", "Tech-support"])
    lines = []
    for _ in range(300):
        age, job, hours = rng.integers(18, 80), jobs[rng.integers(3)], rng.integers(10, 80)
        income = ">50K" if age + hours + rng.normal(0, 9) > 105 else "<=50K"
        lines.append(
            f"{age}, Private, 1, HS-grad, 9, Divorced, {job}, Wife, White, Male, 0, 0, {hours}, Cuba, {income}"
        )
    (tmp_path / "adult.data").write_text("\n".join(lines))
    script = str(Path(__file__).resolve().parents[1] / "examples" / "adult.py")
    words = ["adult.py", "--data", str(tmp_path), "--rows", "280", "--labels", "60", "--seeds", "2", "--epochs", "1"]
    monkeypatch.setattr("sys.argv", words)
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().out
    assert "rows: 60 labelled, 150 unlabelled, 70 test; seeds: 2" in said
    for method in ("pretrained", "not pretrained", "gradient boosting", "self-training", "label spreading"):
        assert f"\n{method} " in said
    monkeypatch.setattr("sys.argv", [*words[:4], "300", "--labels", "40", "--seeds", "1", "--epochs", "1", "--search"])
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().out
    assert said.startswith("searched 75 rows: best {'alpha': 0.0")
    assert "; 50 of 60 pretrained layers came from the cache\n" in said  # each of 5 folds pretrained its 2 once
    assert "rows: 40 labelled, 128 unlabelled, 57 test; seeds: 1" in said
    monkeypatch.setattr("sys.argv", ["adult.py", "--data", str(tmp_path / "nowhere")])
    runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().out.startswith("Adult not found")


def test_holes_of_pandas_own_strings_are_a_level() -> None:
    words = pd.Series(["a", None, "b", "a", None, "b"])
    plain = pd.DataFrame({"x": np.arange(6.0), "word": words.astype(object)})
    own = plain.assign(word=words.astype("string"))
    columns = [tabular_pipeline(StackedAutoencoder()).named_steps["columns"].fit(frame) for frame in (plain, own)]
    expected, found = (step.transform(frame) for step, frame in zip(columns, (plain, own), strict=True))
    assert expected.shape == (6, 4)  # x, and a, b, a hole
    np.testing.assert_array_equal(found, expected)
