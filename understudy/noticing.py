"""What a report of drift leads to, as a decision: state and report in, the events to append out. Never a promotion."""

from collections.abc import Collection
from datetime import datetime

from understudy import drift, drift_words
from understudy.drift import Kind, Report
from understudy.events import AttentionNeeded, DriftNoticed, Event
from understudy.runs import Wish, at_work, requested
from understudy.schedule import Schedule
from understudy.state import Model, Registry, RunState

ASKED = "A training is asked for, as the schedule says; it is judged like any other."
NOT_ASKED = "Look at it with `understudy drift`; train now, or let the schedule say `| Schedule.on_drift()`."


def noticed(state: Registry, model: str, report: Report, news: Collection[Kind], now: datetime) -> tuple[Event, ...]:
    """One event and one note for each kind of drift that is news, and one run for all where the schedule wants it.

    Empty where another version serves by now.
    """
    found = state.model(model)
    if not news or found.champion != report.version:
        return ()
    wants = found.definition is not None and Schedule.from_json(found.definition["schedule"]).drift
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
        wish = Wish(model=model, job="train", slot=f"drift/{state.position + 1}", by="api")
        events.append(requested(found, wish, now))
    return tuple(events)


def _waits(state: Registry, model: Model) -> bool:
    """Whether a run is queued already: its data will be newer than this report."""
    return any(state.runs[run].state is RunState.QUEUED for run in at_work(state, model))
