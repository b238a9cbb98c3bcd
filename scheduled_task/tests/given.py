"""What the scheduler's tests begin with: a definition with its rows, and the jobs that are made of them."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from scheduled_task.job import Ended, Job
from scheduled_task.train import carry_out
from tests.adapters.stream import rows
from understudy.adapters import definitions
from understudy.adapters.folder_store import FolderStore
from understudy.events import timestamp
from understudy.evidence import Evidence

DEFINITION = """
from sklearn.linear_model import LogisticRegression
from understudy import Model, Promotion, Schedule
from understudy.adapters.sources import Csv

model = Model(
    "stream",
    source=Csv("rows.csv", time="at"),
    target="label",
    time="at",
    drop=("city",),
    estimator=LogisticRegression(),
    retrain=Schedule.every(minutes=1),
    promotion=Promotion(refit="off"),
)
"""


def stream(n: int, *, first: int = 0) -> pd.DataFrame:
    """Rows of the stream whose columns cannot be mistaken for each other."""
    return rows(n, first=first).assign(y=lambda frame: 20 + 10 * frame["y"])


@dataclass(frozen=True)
class Workshop:
    """A home folder without services: what a training is given, and where it leaves what it makes."""

    home: Path

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.home / "store")

    @property
    def definitions(self) -> Path:
        return self.home / "models"

    def arrive(self, frame: pd.DataFrame) -> None:
        """Let these be the rows that the source gives from now on."""
        self.definitions.mkdir(parents=True, exist_ok=True)
        frame.to_csv(self.definitions / "rows.csv", index=False)

    def define(self, text: str = DEFINITION) -> str:
        """Write the definition, and store its source; return the digest."""
        self.definitions.mkdir(parents=True, exist_ok=True)
        file = self.definitions / "stream.py"
        file.write_text(text)
        return self.store.put(definitions.load(file).source_bytes())

    def job(self, as_of: datetime, **run: Any) -> Job:
        """The job of a run that was asked for at `as_of`, of a model without a past."""
        asked: dict[str, Any] = {
            "slot": timestamp(as_of),
            "params": {},
            "start_date": None,
            "end_date": None,
            "like": None,
        }
        moments = {"as_of": timestamp(as_of), "requested_at": timestamp(as_of)}
        return Job(
            run={**asked, **moments, **run},
            model={"name": "stream", "judged_until": None, "profile": None},
            source_digest=self.define(),
            champion=None,
            store=str(self.home / "store"),
            definitions=str(self.definitions),
            holdouts=str(self.home / "test_data"),
            memory_mb=4096,
        )

    def carry_out(self, job: Job) -> Ended:
        return carry_out(job, self.store, self.home / "scratch")

    def evidence(self, ended: Ended) -> Evidence:
        assert ended.evidence is not None, ended.reason
        return Evidence.parse(self.store.get(ended.evidence))

    def after(self, job: Job, accepted: Ended) -> Job:
        """`job` of the same model once `accepted` has passed and serves."""
        evidence = self.evidence(accepted)
        past = {"judged_until": evidence.clock[-1], "profile": evidence.profile}
        return replace(job, model={**job.model, **past}, champion={"version": "1", "digest": str(accepted.bundle)})
