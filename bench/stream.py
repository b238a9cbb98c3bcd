"""A drifting stream, played through real predictions and real feedback: what goes wrong with it, and how it is mended.

    .venv/bin/python -m bench.stream

Starts both services on an empty folder. Days at a weather station are asked about in their order, each label is sent
back, and each row arrives at the source. Then the world changes: thermometers tell Celsius instead of Fahrenheit, which
the gate cannot have known of, and later Fahrenheit again. Nobody acts. Prints what the log tells, in its order, with
the number of the row that had been played by then, and the Brier score of what was answered, before and after.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from tests.services import Installation, installation

DATA = Path(__file__).parents[1] / "models" / "rain.csv.gz"
KNOWN = 1500
AT_ONCE = 50
PAUSE_S = 0.4
PATIENCE_S = 240.0
TOLD = (
    "version.promoted",
    "version.judged",
    "version.refitted",
    "live.compared",
    "attention.needed",
    "run.requested",
    "run.finished",
)
DEFINITION = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler
from understudy import Model, Schedule
from understudy.adapters.sources import Csv


class Newest:
    \"\"\"The newest rows of a file that grows.\"\"\"

    def __init__(self):
        self.file = Csv("rain.csv", time="at")

    def get_dataframe(self, as_of):
        return self.file.get_dataframe(as_of).tail(1500)


model = Model(
    name="rain",
    source=Newest(),
    time="at",
    target="rain",
    estimator=make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000)),
    retrain=Schedule.every(days=1),
)
"""


@dataclass
class Play:
    """What was played, and what came of it."""

    installed: Installation
    rows: pd.DataFrame
    played: int = KNOWN
    losses: list[float] = field(default_factory=list)
    """Squared error of each answer's probability, in the order of the rows."""
    story: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Rows played, and what the log told by then."""
    position: int = 0

    @property
    def file(self) -> Path:
        return self.installed.home / "models" / "rain.csv"

    def begin(self) -> None:
        self.file.parent.mkdir()
        self.rows[:KNOWN].to_csv(self.file, index=False)
        self.file.with_suffix(".py").write_text(DEFINITION)
        self.installed.start_api()
        self.installed.start("scheduled_task.scheduler_service")
        until_s = time.monotonic() + PATIENCE_S
        while not self.seen("version.promoted"):
            assert time.monotonic() < until_s, self.installed.said("scheduled_task.scheduler_service")
            time.sleep(0.2)

    def until(self, holds: Callable[[], Any], change: Callable[[pd.DataFrame], pd.DataFrame]) -> int:
        """Play rows, as `change` leaves them, until something holds; return how many it took."""
        first, until_s = self.played, time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until_s, [event["kind"] for _, event in self.story]
            self._next(change(self.rows[self.played : self.played + AT_ONCE].copy()))
            time.sleep(PAUSE_S)
        return self.played - first

    def seen(self, kind: str, **data: Any) -> list[dict[str, Any]]:
        """The events of a kind that say so, of those that the log has told by now."""
        page = self.installed.get("/events", params={"after": self.position, "limit": 1000}).json()
        self.story += [(self.played, event) for event in page["items"]]
        self.position = page["next"]
        found = [event for _, event in self.story if event["kind"] == kind]
        return [event for event in found if all(event["data"].get(name) == value for name, value in data.items())]

    def _next(self, rows: pd.DataFrame) -> None:
        features = rows.drop(columns=["at", "rain"]).astype(object)
        records = features.where(features.notna(), None).to_dict("records")
        answer = self.installed.post("/predict", json={"records": records}).json()
        labels = [int(label) for label in rows["rain"]]
        places = [f"{answer['prediction_id']}/{i}" for i in range(len(labels))]
        feedback = [{"prediction_id": at, "label": label} for at, label in zip(places, labels, strict=True)]
        said = self.installed.post("/feedback", json=feedback, headers=self.installed.token("client")).json()
        assert said["accepted"] == len(rows), said
        rows.to_csv(self.file, mode="a", header=False, index=False)
        self.losses += [(p[1] - label) ** 2 for p, label in zip(answer["probabilities"], labels, strict=True)]
        self.played += len(rows)


def days() -> pd.DataFrame:
    """Readings in their order, a second apart, that ended a week ago."""
    rows = pd.read_csv(DATA)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=7)
    return rows.assign(at=[(start + timedelta(seconds=i)).isoformat() for i in range(len(rows))])


def as_ever(rows: pd.DataFrame) -> pd.DataFrame:
    return rows


def in_celsius(rows: pd.DataFrame) -> pd.DataFrame:
    """A world in which thermometers tell another unit, and nobody has told the model."""
    warm = [name for name in rows.columns if name.endswith("temperature_f") or name == "dew_point_f"]
    return rows.assign(**{name: (rows[name] - 32) / 1.8 for name in warm})


@dataclass(frozen=True)
class Outcome:
    """How many rows each part took, and what was answered meanwhile."""

    play: Play
    noticed: int
    """Rows from the change until a training was asked for, with nothing better at hand."""
    mended: int
    """Rows from the change until its result served."""
    taken_back: int
    """Labelled rows of the comparison that brought the champion before back, once the old world had come back."""
    brier: dict[str, float]


def played(installed: Installation) -> Outcome:
    """The whole story."""
    play = Play(installed, days())
    play.begin()
    first = len(play.seen("version.promoted"))
    play.until(lambda: play.played >= KNOWN + 200, as_ever)
    calm = len(play.losses)
    noticed = play.until(lambda: asked_by_itself(play), in_celsius)
    mended = noticed + play.until(lambda: len(play.seen("version.promoted")) > first, in_celsius)
    changed = len(play.losses)
    play.until(lambda: len(play.losses) >= changed + 300, in_celsius)
    adapted = len(play.losses)
    play.until(lambda: play.seen("version.promoted", by="api"), as_ever)
    back = len(play.losses)
    play.until(lambda: len(play.losses) >= back + 300, as_ever)
    parts = {
        "before the change": play.losses[:calm],
        "in the changed world, until it was mended": play.losses[calm:changed],
        "after that": play.losses[changed:adapted],
        "in the old world again, until the champion before was back": play.losses[adapted:back],
        "after that, too": play.losses[back:],
    }
    brier = {name: sum(losses) / len(losses) for name, losses in parts.items()}
    (decided,) = play.seen("live.compared")
    return Outcome(play, noticed, mended, decided["data"]["rows"], brier)


def asked_by_itself(play: Play) -> bool:
    return any(event["data"]["by"] == "api" for event in play.seen("run.requested"))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = {"UNDERSTUDY_MODELS_DIR": str(Path(home) / "models"), "UNDERSTUDY_SELFTEST": "off"}
        with installation(Path(home), **settings) as installed:
            told(played(installed))


def told(outcome: Outcome) -> None:
    print("row    position  what happened")
    for at, event in outcome.play.story:
        if event["kind"] in TOLD:
            print(f"{at:5}  {event['position']:8}  {event['kind']}: {words(event['data'])}")
    print(f"\nnoticed after {outcome.noticed} rows, mended after {outcome.mended}")
    print(f"the champion before came back on {outcome.taken_back} labelled rows of the comparison")
    print("\nBrier score of what was answered")
    for name, value in outcome.brier.items():
        print(f"  {value:.3f}  {name}")


def words(data: dict[str, Any]) -> str:
    said = [
        data.get("version") and f"version {data['version']}",
        data.get("how"),
        data.get("slot"),
        data.get("outcome"),
    ]
    said += [data.get("by") and f"by {data['by']}", data.get("passed") is not None and f"passed {data['passed']}"]
    return ", ".join(str(part) for part in [*said, data.get("reason")] if part)[:200]


if __name__ == "__main__":
    main()
