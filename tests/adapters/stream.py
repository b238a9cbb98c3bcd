"""A stream of rows whose label can be learnt, and models that learn it: what tests of training begin with."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from understudy.model import Model

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    """When row number `minute` happens."""
    return START + timedelta(minutes=minute)


def rows(n: int, *, first: int = 0) -> pd.DataFrame:
    """n rows, one a minute: x and y are uniform, and the label is mostly where their sum is above 1."""
    i = np.arange(first, first + n)
    x, y, e = (np.modf(np.sin(i * k) * 43758.5453)[0] % 1 for k in (12.9898, 78.233, 39.425))
    frame = pd.DataFrame({"at": [at(minute) for minute in i.tolist()], "x": x, "y": y})
    return frame.assign(city=np.where(y > 0.7, "Oslo", "Rome"), label=(x + y + 0.6 * (e - 0.5) > 1).astype(int))


class Given:
    """A source that gives what a function says."""

    def __init__(self, give: Callable[[datetime | None], Any]) -> None:
        self.give = give

    def get_dataframe(self, as_of: datetime | None) -> Any:
        return self.give(as_of)


def model(source: object, **options: Any) -> Model:
    """A model of the stream; `source`: an object with `get_dataframe`, or a frame."""
    given = source if hasattr(source, "get_dataframe") else Given(lambda as_of: source)
    estimator = options.pop("estimator", LogisticRegression())
    defaults = {"name": "stream", "target": "label", "time": "at", "drop": ("city",)}
    return Model(source=given, estimator=estimator, **{**defaults, **options})
