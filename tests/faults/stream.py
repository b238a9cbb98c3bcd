"""A model that is trained while a campaign lasts: its rows arrive twenty a second, most of them in the future yet."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

EVERY_S = 15
KNOWN = 2000
"""Rows that have arrived at the start."""
ROWS_PER_S = 20

TEXT = f"""
from sklearn.linear_model import LogisticRegression
from understudy import Model, Promotion, Schedule
from understudy.adapters.sources import Csv

model = Model(
    "stream",
    source=Csv("stream.csv.gz", time="at"),
    target="label",
    time="at",
    estimator=LogisticRegression(),
    retrain=Schedule.every(seconds={EVERY_S}),
    promotion=Promotion(refit="off"),
)
"""


def define(folder: Path, *, for_s: float) -> None:
    """Write the definition and rows for so long."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    n = KNOWN + int(ROWS_PER_S * for_s)
    first = datetime.now(UTC) - timedelta(seconds=KNOWN / ROWS_PER_S)
    x, y, noise = rng.uniform(size=(3, n))
    at = pd.date_range(first, periods=n, freq=timedelta(seconds=1 / ROWS_PER_S))
    frame = pd.DataFrame({"at": at, "x": x.round(4), "y": y.round(4), "label": (x + y + noise > 1.5).astype(int)})
    frame.to_csv(folder / "stream.csv.gz", index=False)
    (folder / "stream.py").write_text(TEXT)
