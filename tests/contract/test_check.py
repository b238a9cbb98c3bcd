"""`check_definition` says in plain words what is wrong with a file, and keeps nothing."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from understudy.adapters.check import check_definition
from understudy.checks import Complaint

DEFINITION = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.compose import make_column_transformer
from understudy import Model, Schedule
from understudy.adapters.sources import Csv
from understudy.policy import Promotion
from models.parts import Squared, beside_the_mean, doubled, mean_cost

model = Model(
    name="rain",
    source=Csv("rain.csv", time="when"),
    time="when",
    target="rain",
    estimator=make_pipeline(StandardScaler(), LogisticRegression()),
)
"""

PARTS = """
from sklearn.base import BaseEstimator, TransformerMixin

class Squared(TransformerMixin, BaseEstimator):
    def fit(self, rows, labels=None):
        return self

    def transform(self, rows):
        return rows ** 2

def doubled(rows):
    return rows * 2

def squared(labels, outputs):
    return (outputs[:, 1] - labels) ** 2

def mean_cost(labels, outputs):
    return squared(labels, outputs).mean()

def beside_the_mean(labels, outputs):
    return squared(labels, outputs) - mean_cost(labels, outputs)
"""


def frame(rows: int = 400) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "when": pd.date_range("2020-01-01", periods=rows, freq="D"),
            "hpa": [1000 + (row * 7919) % 60 for row in range(rows)],
            "wind": [(row * 104729) % 37 / 2 for row in range(rows)],
            "rain": [int((row * 7919) % 60 < 20) for row in range(rows)],
        }
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    frame().to_csv(tmp_path / "rain.csv", index=False)
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "rain.py").write_text(DEFINITION)
    return tmp_path / "rain.py"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def problems(found: list[Complaint]) -> list[str]:
    return [complaint.problem for complaint in found]


def test_a_sound_definition_is_fitted_and_bundled_and_gets_no_complaint(file: Path) -> None:
    assert check_definition(file) == []


SCALER, TARGET, SOURCE = "StandardScaler(),", '    target="rain",', '"rain.csv", time="when"'
CODE = "Move what it does into the source"
COST = "array of shape (n,)"


@pytest.mark.parametrize(
    ("old", "new", "problem", "remedy"),
    [
        ("from understudy import", "from understdy import", "`rain.py`, line 6: ModuleNotFoundError", "Install"),
        ("model = Model(", "modell = Model(", "calls its model `modell`", "Call it `model`"),
        (TARGET, f'{TARGET} retrain=Schedule.cron("61 * * * *", zone="UTC"),', "the minute 61", "Give minute"),
        (TARGET, f'{TARGET} retrain=Schedule.cron("1 * * * *", zone="UTC+1"),', "`UTC+1` is no time", "Europe/Paris"),
        (SCALER, "FunctionTransformer(lambda rows: rows),", "is a lambda", CODE),
        (SCALER, "FunctionTransformer(doubled),", "is `doubled`, a function of your own", CODE),
        (SCALER, "Squared(),", "is a Squared, a class of your own", CODE),
        (TARGET, '    target="snow",', "The source gives no column `snow`, the model's target", "`hpa`"),
        (SOURCE, '"rainy.csv"', "There is no file `rainy.csv`", "folder of the definition"),
        (SOURCE, '"rain.csv", time="hpa"', "`hpa` of `rain.csv` holds numbers, not times", "2026-01-31"),
        (SCALER, 'make_column_transformer((OneHotEncoder(), ["town"])),', "cannot learn from these rows", "encoder"),
        (TARGET, f'{TARGET} ranges={{"hpa": (1010, None)}},', "outside its declared range", "A run would refuse"),
        (TARGET, f'{TARGET} slices=("town",),', "`slices` names a column `town`", "correct the name"),
        (TARGET, f'{TARGET} protected=("sex",),', "`protected` names a column `sex`", "correct the name"),
        (TARGET, f"{TARGET} promotion=Promotion(loss=mean_cost),", "`mean_cost` gave an array of shape ()", COST),
        (
            TARGET,
            f'{TARGET} slices=("hpa",), promotion=Promotion(loss=beside_the_mean),',
            "of a row changes with the rows beside it",
            "by itself",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(old: str, new: str, problem: str, remedy: str, file: Path) -> None:
    change(file, old, new)

    found = check_definition(file)

    assert len(found) == 1
    assert problem in found[0].problem
    assert remedy in found[0].remedy
    assert found[0].stops


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("records", 1.5, "A feature is named `records`, a word that a request uses for itself."),
        ("rain", 1, "The target `rain` always says the same."),
        ("day", "Monday", "`day` always says the same."),
        ("row", range(400), "`row` counts the rows: nothing can be learnt from it about rows to come."),
    ],
)
def test_what_is_wrong_with_the_columns_is_said(name: str, value: Any, problem: str, file: Path) -> None:
    frame().assign(**{name: value}).to_csv(file.parent / "rain.csv", index=False)

    assert problem in problems(check_definition(file))


def test_a_column_that_no_request_can_send_is_said(file: Path) -> None:
    tags: Any = [["a"]] * 400
    frame().assign(day=pd.Timestamp("2020-01-01"), tags=tags).to_parquet(file.parent / "rain.parquet")
    change(file, 'Csv("rain.csv", time="when")', 'Parquet("rain.parquet", time="when")')
    change(file, "import Csv", "import Parquet")

    found = problems(check_definition(file))

    assert [problem.split(" holds ")[0] for problem in found] == ["`day`", "`tags`"]


def test_too_few_rows_are_said(file: Path) -> None:
    frame(150).to_csv(file.parent / "rain.csv", index=False)

    assert problems(check_definition(file)) == [
        "150 rows have a label, 200 are the least: half to fit, half to judge by."
    ]


def test_an_estimator_without_an_onnx_form_is_said_and_does_not_stop(file: Path) -> None:
    change(file, "StandardScaler(),", "SplineTransformer(),")
    change(file, "OneHotEncoder, StandardScaler", "OneHotEncoder, SplineTransformer")

    [complaint] = check_definition(file)

    assert complaint.problem.startswith("A row will take milliseconds instead of microseconds. Served as scikit-learn")
    assert not complaint.stops


def test_a_source_that_raises_or_gives_something_else_is_said(file: Path) -> None:
    change(file, 'Csv("rain.csv", time="when")', "Odd()")
    change(
        file,
        "model = Model(",
        "class Odd:\n    def get_dataframe(self, as_of):\n        return 1 / 0\n\nmodel = Model(",
    )

    raised = check_definition(file)
    change(file, "return 1 / 0", "return [1, 2]")
    gave = check_definition(file)

    assert problems(raised) == ["The source raised ZeroDivisionError: division by zero."]
    assert problems(gave) == ["The source gave a list instead of a frame."]


def test_checking_does_not_start_the_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path))

    found = check_definition(Path(__file__).parents[2] / "models" / "rain.py")

    assert found == []
    assert list(tmp_path.iterdir()) == []
    assert os.environ["UNDERSTUDY_HOME"] == str(tmp_path)
