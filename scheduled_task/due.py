"""Which slot is due, given what the API says of a model. Slots come from the wall clock, and each is served once.

a champion serves     the last nominal time that has come since the last one in the log; the API records those between
none serves yet       `first`; after a failure `first/2`, `first/3` …, each a longer pause after the one before
the clock went back   `again/TIME`: the nominal times repeat, and each is served once more
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from understudy.events import moment, timestamp
from understudy.schedule import Schedule

TOLERANCE = timedelta(seconds=60)
"""The last slot may lie a little ahead of a clock that is being set, without the times repeating."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0


def timed_slot(model: Mapping[str, Any], *, since: datetime, now: datetime) -> str | None:
    """The slot that a model with a champion is due for; None where there is nothing to do.

    `since`: from when on slots count for a model that has had none yet.
    """
    if model["champion"] is None:
        return None
    schedule = Schedule.from_json(model["definition"]["schedule"])
    last = moment(model["last_slot"]) if model["last_slot"] else since
    if last - now > TOLERANCE:
        return _again(model, schedule, now)
    due = schedule.slots_between(last, now)
    return None if due is None else timestamp(due.last)


def _again(model: Mapping[str, Any], schedule: Schedule, now: datetime) -> str | None:
    """The slot of a time that the clock shows for the second time; never beside a run that is at work."""
    due = schedule.slots_between(now - TOLERANCE, now)
    return None if due is None or model["open_runs"] else f"again/{timestamp(due.last)}"


def first_slot(model: Mapping[str, Any]) -> tuple[str, float] | None:
    """The next attempt at a first champion, and how many seconds after the end of the one before it may begin."""
    last = model["first"]
    if model["champion"] is not None or model["open_runs"] or model["definition"] is None:
        return None
    if last is None:
        return "first", 0.0
    if last["waits_for_a_person"]:
        return None
    number = 1 + int(last["slot"].partition("/")[2] or 1)
    return f"first/{number}", min(FIRST_PAUSE_S * 2.0 ** min(number - 2, 20), LONGEST_PAUSE_S)
