"""Two models as clients of other protocols meet them: eight numbers of the weather, and a mixed table of customers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.bundles import CUT, ROWS, Recipe, customers, facts, fit
from understudy.adapters import frames, training
from understudy.rows import Row

RAIN = Path(__file__).parents[1] / "models" / "rain.csv.gz"


@dataclass(frozen=True)
class Table:
    """A model, its bundle, and rows to ask it about."""

    model: str
    target: str
    bundle: bytes
    names: Sequence[str]
    rows: list[Row]


@cache
def rain() -> Table:
    """Eight columns of numbers, in which nulls are imputed."""
    frame = pd.read_csv(RAIN, nrows=ROWS)
    names = [name for name in frame.columns if name != "rain"]
    estimator = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    table = made("rain", Recipe(estimator, names, "rain", "binary"), frame)
    return replace(table, rows=[*table.rows[:20], (None, *table.rows[20][1:])])


@cache
def mixed() -> Table:
    """A number with nulls, an integer, a boolean, a text with nulls; three classes that are texts."""
    frame = customers()
    features = make_column_transformer(
        (SimpleImputer(), ["age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ("passthrough", ["visits", "said"]),
    )
    recipe = Recipe(
        make_pipeline(features, LogisticRegression(max_iter=2000)),
        ["age", "visits", "said", "city"],
        "segment",
        "multiclass",
    )
    return made("customers", recipe, frame)


def made(model: str, recipe: Recipe, frame: pd.DataFrame) -> Table:
    features = frames.feature_frame(frame, recipe.columns)
    data = training.make_bundle(
        fit(recipe, frame),
        facts=replace(facts(), model=model, metric="log_loss"),
        task=recipe.task,
        target=recipe.target,
        features=features.iloc[:CUT],
        labels=frames.target_of(frame[recipe.target].iloc[:CUT], task=recipe.task),
        holdout=features.iloc[CUT:],
        holdout_labels=frames.target_of(frame[recipe.target].iloc[CUT:], task=recipe.task),
    )
    rows = [tuple(row) for row in frames.rows_of(features.iloc[:40])]
    return Table(model, recipe.target, data, recipe.columns, rows)
