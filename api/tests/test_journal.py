"""The log as the API uses it: clocks that jump, readers that ask for too much, damage that is found late."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.journal import Journal
from api.tests import given
from understudy.adapters.sqlite_log import SqliteLog
from understudy.errors import Conflict, LogTampered
from understudy.events import Event, SlotSkipped, VersionRefitted
from understudy.state import Registry


class Clock:
    """A wall clock that a test may set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def fact() -> SlotSkipped:
    return SlotSkipped(model="rain", job="train", slot="2026-01-01T00:00:00.000000Z", reason="a test")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    log = SqliteLog(tmp_path / "events.db", clock=clock)
    yield Journal(log, clock)
    log.close()


def test_time_goes_on_for_decisions_after_a_clock_that_ran_ahead_was_set_back(journal: Journal, clock: Clock) -> None:
    seen: list[datetime] = []

    def look(state: Registry, now: datetime) -> list[Event]:
        seen.append(now)
        return []

    clock.now += timedelta(days=365)
    journal.decide(lambda state, now: [fact()] if state.position == 0 else [])
    clock.now -= timedelta(days=365)
    journal.decide(look)
    journal.decide(look)

    ahead = clock.now + timedelta(days=365)
    assert ahead <= seen[0] < seen[1]
    assert journal.wall_clock() == clock.now


def test_the_log_goes_on_slowly_until_a_clock_that_was_set_back_has_caught_up(journal: Journal, clock: Clock) -> None:
    began = clock.now + timedelta(seconds=0.5)
    clock.now = began
    state = journal.decide(lambda state, now: [fact()])
    clock.now -= timedelta(seconds=0.5)
    for _ in range(3):
        time.sleep(0.1)
        state = journal.decide(lambda state, now: [fact()])

    assert state.time is not None
    assert state.time >= began + timedelta(seconds=0.15)  # whatever came in between, it has not stood still
    clock.now = began + timedelta(seconds=10)
    assert journal.decide(lambda state, now: [fact()]).time == clock.now


def test_a_page_after_the_end_of_the_log_is_empty_and_harms_nobody(api: given.Api) -> None:
    api.serve(given.bundle())

    page = api.client.get("/events", params={"after": 999_999})

    assert (page.status_code, page.json()) == (200, {"items": [], "next": 999_999})
    assert api.client.get("/ready").json()["ready"] is True
    assert api.promote("1", override="still writable").status_code == 200


def test_damage_that_only_a_reader_finds_makes_control_read_only(api: given.Api) -> None:
    api.serve(given.bundle())
    log = api.home / "var" / "events.db"
    with given.opened(log) as db:
        db.execute("DROP TRIGGER events_are_never_changed")
        db.execute("UPDATE events SET data = replace(data, 'made for', 'faked for') WHERE position = 1")

    page = api.client.get("/events")
    refused = api.client.put("/models/sun", json=given.definition("sun"), headers=api.token("scheduler"))

    assert page.status_code == 503
    assert (refused.status_code, refused.json()["code"]) == (503, LogTampered.code)
    assert api.client.get("/ready").status_code == 503
    assert api.client.post("/predict", json={"x": 0.1, "y": 0.1}).status_code == 200


def test_what_no_reader_could_follow_is_not_appended(journal: Journal) -> None:
    def impossible(state: Registry, now: datetime) -> list[Event]:
        about: dict[str, Any] = {"version": "1", "of": "2", "evidence": "e" * 64, "reason": "", "facts": {}}
        return [fact(), VersionRefitted(model="rain", passed=True, **about)]

    with pytest.raises(Conflict, match="rules this out"):
        journal.decide(impossible)

    assert journal.read() == []
    journal.decide(lambda state, now: [fact()])
    assert journal.state.position == 1
