"""What a report of drift leads to, as a decision: state and report in, the events to append out. Never a promotion."""

from collections.abc import Collection
from datetime import datetime, timedelta

from understudy import drift, drift_words
from understudy.drift import Kind, Report
from understudy.events import AttentionNeeded, DriftNoticed, Event
from understudy.runs import Wish, at_work, requested
from understudy.schedule import Schedule
from understudy.state import Model, Registry, RunState

DRIFT = "drift/"
"""Begins the slot of a run for drift: the position at which it was noticed follows, and from the second try its number.
"""
UNDONE = frozenset({RunState.SKIPPED, RunState.FAILED})
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=6)

ASKED = "A training is asked for, as the schedule says; it is judged like any other."
NOT_ASKED = "Look at it with `understudy drift`; train now, or let the schedule say `| Schedule.on_drift()`."


def noticed(state: Registry, model: str, report: Report, news: Collection[Kind], now: datetime) -> tuple[Event, ...]:
    """One event and one note for each kind of drift that is news, and one run for all where the schedule wants it.

    Empty where another version serves by now.
    """
    found = state.model(model)
    if not news or found.champion != report.version:
        return ()
    wants = _wants(found)
    events: list[Event] = []
    for kind in sorted(news):
        reason = drift_words.reason(report, kind)
        events.append(
            DriftNoticed(model=model, version=report.version, report=drift.excerpt(report, kind), reason=reason)
        )
        events.append(
            AttentionNeeded(
                model=model, version=report.version, run=None, reason=reason, remedy=ASKED if wants else NOT_ASKED
            )
        )
    if wants and not _waits(state, found):
        wish = Wish(model=model, job="train", slot=f"{DRIFT}{state.position + 1}", by="api")
        events.append(requested(found, wish, now))
    return tuple(events)


def again(state: Registry, model: str, version: str, now: datetime) -> tuple[Event, ...]:
    """The run for drift once more, where the last one had nothing to learn from yet: labels come after the drift.

    For a version whose drift goes on. Empty while a pause lasts that doubles each time.
    """
    found = state.model(model)
    if found.champion != version or not _wants(found) or found.open_runs:
        return ()
    since = found.promotions[-1].time
    runs = [run for run in state.runs.values() if run.model == model and run.slot.startswith(DRIFT)]
    runs = [run for run in runs if run.requested_at >= since]
    if not runs or runs[-1].state not in UNDONE or runs[-1].finished_at is None:
        return ()
    times = len(runs)
    if now - runs[-1].finished_at < min(FIRST_PAUSE * 2.0 ** min(times - 1, 20), LONGEST_PAUSE):
        return ()
    slot = f"{'/'.join(runs[-1].slot.split('/')[:2])}/{times + 1}"
    return (requested(found, Wish(model=model, job="train", slot=slot, by="api"), now),)


def _wants(model: Model) -> bool:
    return model.definition is not None and Schedule.from_json(model.definition["schedule"]).drift


def _waits(state: Registry, model: Model) -> bool:
    """Whether a run is queued already: its data will be newer than this report."""
    return any(state.runs[run].state is RunState.QUEUED for run in at_work(state, model))
