"""The feed: real rows, in their order, one after the other, and the same everywhere."""

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from models.feed import Feed
from understudy.errors import SourceFailed

START = datetime(2026, 11, 21, 10, 0, 30, tzinfo=UTC)
PACE = timedelta(seconds=6)


class Clock:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    frame = pd.DataFrame({"hpa": [1000.0 + row for row in range(20)], "rain": [0, 1] * 10})
    frame.loc[3, "hpa"] = 5503.8
    frame.to_csv(tmp_path / "days.csv.gz", index=False)
    return tmp_path / "days.csv.gz"


@pytest.fixture
def feed(file: Path, clock: Clock, tmp_path: Path) -> Feed:
    """Ten rows are known; then one comes every six seconds."""
    return Feed(str(file), known_at_start=10, rows_per_minute=10, state=tmp_path / "state" / "first.json", clock=clock)


def test_known_rows_have_arrived_by_the_first_use_and_the_others_follow_at_their_pace(feed: Feed, clock: Clock) -> None:
    known = feed.get_dataframe(None)
    clock.moment += 2.5 * PACE
    later = feed.get_dataframe(None)

    assert len(known) == 10
    assert len(later) == 12
    assert later["arrived_at"].tolist() == [START + (row - 9) * PACE for row in range(12)]


def test_as_of_a_moment_the_feed_holds_what_had_arrived_by_then(feed: Feed) -> None:
    feed.get_dataframe(None)

    assert len(feed.get_dataframe(START - 3 * PACE)) == 7
    assert len(feed.get_dataframe(START + 4 * PACE)) == 14
    assert len(feed.get_dataframe(START + 4 * PACE - timedelta(microseconds=1))) == 13


def test_a_restart_changes_nothing(feed: Feed, clock: Clock, file: Path) -> None:
    before = feed.get_dataframe(None)
    clock.moment += timedelta(hours=5)
    restarted = Feed(str(file), known_at_start=10, rows_per_minute=10, state=feed.state, clock=clock)

    pd.testing.assert_frame_equal(restarted.get_dataframe(START), before)


def test_two_installations_get_the_same_rows_at_the_same_positions(file: Path, tmp_path: Path) -> None:
    feeds = [
        Feed(str(file), known_at_start=10, rows_per_minute=10, state=tmp_path / f"{n}.json", clock=Clock(start))
        for n, start in enumerate((START, START + timedelta(days=400)))
    ]

    one, other = (feed.get_dataframe(None).drop(columns="arrived_at") for feed in feeds)

    pd.testing.assert_frame_equal(one, other)


def test_whoever_is_first_decides_for_all(file: Path, tmp_path: Path) -> None:
    def first_use(n: int) -> datetime:
        clock = Clock(START + timedelta(seconds=n))
        feed = Feed(str(file), known_at_start=10, rows_per_minute=10, state=tmp_path / "first.json", clock=clock)
        return feed.ended_at()

    with ThreadPoolExecutor(8) as pool:
        ends = set(pool.map(first_use, range(8)))

    assert len(ends) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["days.csv.gz", "first.json"]


def test_the_feed_says_how_far_it_is_and_when_it_has_ended(
    feed: Feed, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    under_way = feed.get_dataframe(None).attrs["note"]
    clock.moment = START + timedelta(days=1)
    with caplog.at_level(logging.INFO):
        ended = feed.get_dataframe(None)

    assert under_way.startswith("10 of the 20 rows of ")
    assert feed.ended_at() == START + 10 * PACE == ended["arrived_at"].iloc[-1]
    assert "has ended: the last of its 20 rows arrived at 2026-11-21 10:01:30 UTC" in ended.attrs["note"]
    assert ended.attrs["note"] in caplog.text


def test_impossible_readings_become_null_and_stay_in_the_file(feed: Feed) -> None:
    feed.possible = {"hpa": (850, 1100)}

    frame = feed.get_dataframe(None)

    assert frame["hpa"].isna().tolist() == [row == 3 for row in range(10)]


def test_types_do_not_depend_on_how_much_has_arrived(file: Path, feed: Feed) -> None:
    frame = pd.read_csv(file)
    frame["rain"] = frame["rain"].where(frame.index != 15).astype("float64")
    frame.to_csv(file, index=False)

    assert str(feed.get_dataframe(None)["rain"].dtype) == "float64"


def test_before_the_first_row_there_is_nothing_and_that_is_said(feed: Feed) -> None:
    with pytest.raises(SourceFailed, match="had arrived by then"):
        feed.get_dataframe(START - timedelta(days=1))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    feed = Feed("nowhere.csv.gz", known_at_start=1, rows_per_minute=1, state=tmp_path / "first.json")

    with pytest.raises(SourceFailed, match=r"`nowhere\.csv\.gz` cannot be read"):
        feed.get_dataframe(None)


@pytest.mark.parametrize("text", ["", "{}", '{"first_use": "noon"}', '{"first_use": 3}', "[]"])
def test_a_damaged_memory_of_the_first_use_is_said_and_not_overwritten(text: str, feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "first.json").write_text(text)

    with pytest.raises(SourceFailed, match="can be neither read nor remembered"):
        feed.get_dataframe(None)

    assert (tmp_path / "state" / "first.json").read_text() == text


def test_the_first_use_is_remembered_in_the_state_of_the_scheduler(tmp_path: Path) -> None:
    code = "from models.rain import model; print(len(model.source.get_dataframe(None)))"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "UNDERSTUDY_HOME": str(tmp_path)}

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment
    )

    place = tmp_path / "scheduled_task" / "retrained_models" / "feeds" / "rain.csv.gz.json"
    assert answer.stdout.strip() == "3000"
    assert datetime.fromisoformat(json.loads(place.read_text())["first_use"]).tzinfo is not None
