"""The roster: who lives is waited for, who is silent is not, and whoever cannot be heard trusts no silence."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.roster import Roster, forget_process
from understudy.adapters.sqlite_pulse import SqlitePulse
from understudy.errors import StorageUnavailable
from understudy.liveness import SILENT_AFTER_S
from understudy.rollout import Sign


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[SqlitePulse]:
    opened = SqlitePulse(tmp_path / "pulse.db")
    yield opened
    opened.close()


def test_a_worker_is_in_the_roster_from_its_first_moment_as_one_that_starts(pulse: SqlitePulse) -> None:
    roster = Roster(pulse)

    assert roster.signs() == (Sign(worker=roster.me, starting=True),)


def test_what_a_worker_says_is_what_the_others_read(pulse: SqlitePulse) -> None:
    one, other = Roster(pulse), Roster(pulse)
    sign = Sign(
        worker=one.me,
        position=12,
        serves={"rain": 9},
        ready=frozenset({11}),
        unable={10: "The store has no such blob."},
        lacks={"bike_demand": "Its bytes are gone."},
    )

    one.tell(sign)

    assert sorted(other.signs(), key=lambda one: one.starting) == [sign, Sign(worker=other.me, starting=True)]
    assert other.last == other.signs()


def test_who_has_been_silent_for_ten_seconds_of_the_readers_clock_is_not_among_the_living(pulse: SqlitePulse) -> None:
    clock = Clock()
    silent, reader = Roster(pulse), Roster(pulse, clock=clock)
    assert len(reader.signs()) == 2

    clock.now_s += SILENT_AFTER_S
    reader.tell(Sign(worker=reader.me))

    assert [sign.worker for sign in reader.signs()] == [reader.me]
    silent.tell(Sign(worker=silent.me))
    assert len(reader.signs()) == 2, "one sign of life is enough"


def test_who_is_not_heard_himself_does_not_take_others_for_dead(pulse: SqlitePulse) -> None:
    clock = Clock()
    reader = Roster(pulse, clock=clock)
    reader.signs()

    clock.now_s += SILENT_AFTER_S

    with pytest.raises(StorageUnavailable, match="cannot see each other"):
        reader.signs()


def test_what_the_dead_have_left_is_forgotten(pulse: SqlitePulse) -> None:
    clock = Clock()
    dead, reader = Roster(pulse), Roster(pulse, clock=clock)
    pulse.beat("claim/rain-1/5", {})
    reader.signs()
    clock.now_s += SILENT_AFTER_S
    reader.tell(Sign(worker=reader.me))

    reader.forget_silent()

    assert dead.me != reader.me
    assert set(pulse.read()) == {f"worker/{reader.me}", "claim/rain-1/5"}


def test_a_parent_forgets_the_process_that_it_has_seen_end_and_no_other(pulse: SqlitePulse) -> None:
    roster = Roster(pulse)
    pulse.beat(f"worker/{roster.me.split('/')[0]}/{os.getpid()}1/abcd", Sign(worker="another").to_json())

    forget_process(pulse, os.getpid())

    assert len(pulse.read()) == 1
    assert f"worker/{roster.me}" not in pulse.read()


def test_who_leaves_is_waited_for_no_longer(pulse: SqlitePulse) -> None:
    leaving, staying = Roster(pulse), Roster(pulse)

    leaving.leave()

    assert [sign.worker for sign in staying.signs()] == [staying.me]
