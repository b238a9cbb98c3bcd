"""The claim protocol, as decisions: state and a wish in, the events to append out.

    request   idempotent by (model, job, slot); a slot that comes due while a run of its model is at work is skipped
    claim     one queued run, never two of one model at once; its token is the position of its RunClaimed
    selftest  one run for each definition, once a champion serves; apart from all others, which never wait for it
    finish    only with the token that holds the run now
    abandon   what fell silent goes back to the queue, three times at most

An empty answer means that nothing has to change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from understudy.errors import BadInput, StaleClaim
from understudy.events import (
    Actor,
    AttentionNeeded,
    Event,
    JobKind,
    Outcome,
    RunAbandoned,
    RunClaimed,
    RunFinished,
    RunRequested,
    SlotSkipped,
    SlotsMissed,
    due_time,
    moment,
    timestamp,
)
from understudy.schedule import Schedule
from understudy.state import OPEN, Model, Registry, Run, RunState

RESOLUTION = timedelta(microseconds=1)

ROWS = "rows/"
"""Begins the slot of a run for new rows."""

SELFTEST = "selftest/"
"""Begins the slot of a run that tests the gates."""

ATTEMPTS = 3
"""A run whose process dies three times is the cause and not the victim."""

TRAINED = "See GET /runs and the scheduler's log; the version that serves goes on serving."
TESTED = "`understudy selftest` shows what each gate stops; the version that serves goes on serving."


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A run that somebody wants."""

    model: str
    job: JobKind
    slot: str
    by: Actor
    as_of: str | None = None
    params: Mapping[str, Any] | None = None
    start_date: str | None = None
    end_date: str | None = None
    like: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.model, self.job, self.slot


def request(state: Registry, wish: Wish, now: datetime) -> tuple[Event, ...]:
    """Say which events a wish for a run makes; none where its slot is served, skipped or pointless already."""
    model = state.model(wish.model)
    if wish.key in state.slots or wish.key in state.skipped:
        return ()
    if wish.job == "selftest" or wish.slot.startswith(SELFTEST):
        wanted = model.champion is not None and (wish.job, wish.slot) == ("selftest", selftest_slot(model))
        return (requested(model, wish, now),) if wanted else ()
    due, busy = due_time(wish.slot), at_work(state, model)
    if due is not None and model.last_slot is not None and wish.slot <= model.last_slot:
        return ()  # it was missed: a later run has stood for it since
    if due is not None and busy:
        reason = f"{busy[0]} was at work"
        skipped = SlotSkipped(model=wish.model, job=wish.job, slot=wish.slot, reason=reason)
        return (*missed(model, wish, due, reason), skipped)
    if wish.slot.startswith("first") and (busy or model.champion):
        return ()
    if wish.slot.startswith(ROWS) and (busy or wish.slot != rows_slot(model)):
        return ()  # the rows were counted before that run began, which may have seen them
    return (*missed(model, wish, due, f"the run of {wish.slot} stands for all"), requested(model, wish, now))


def at_work(state: Registry, model: Model) -> tuple[str, ...]:
    """Runs of a model that have not ended; a test of its gates is none that another one waits for."""
    return tuple(run for run in model.open_runs if state.runs[run].job != "selftest")


def selftest_slot(model: Model) -> str:
    """Of the run that tests the gates of the definition in force: where the log holds that."""
    return f"{SELFTEST}{model.defined_at}"


def rows_slot(model: Model) -> str:
    """Of a run for new rows: how many runs there were when the rows were counted, so that any number may ask."""
    return f"{ROWS}{model.run_count}"


def requested(model: Model, wish: Wish, now: datetime) -> RunRequested:
    return RunRequested(
        model=wish.model,
        run=f"{wish.model}-{model.run_count + 1}",
        job=wish.job,
        slot=wish.slot,
        as_of=wish.as_of or timestamp(now),
        params=wish.params or {},
        start_date=wish.start_date,
        end_date=wish.end_date,
        like=wish.like,
        by=wish.by,
    )


def missed(model: Model, wish: Wish, due: datetime | None, instead: str) -> tuple[SlotsMissed, ...]:
    """The slots between the last one in the log and this one: nobody asked for them in time."""
    if due is None or model.last_slot is None or model.definition is None:
        return ()
    schedule = Schedule.from_json(model.definition["schedule"])
    before = schedule.slots_between(moment(model.last_slot), due - RESOLUTION)
    if before is None:
        return ()
    return (
        SlotsMissed(
            model=wish.model,
            job=wish.job,
            first=timestamp(before.first),
            last=timestamp(before.last),
            count=before.count,
            reason=f"no scheduler asked for them in time; {instead}",
        ),
    )


def claim(state: Registry, claimant: str, *, at_once: int, selftest: bool = False) -> tuple[RunClaimed, ...]:
    """Take the oldest run that may start now. `selftest`: of those that test gates, one at a time; else of the others.

    Neither kind counts for the other: a training never waits for a test.
    """
    runs = [run for run in state.open_runs() if (run.job == "selftest") == selftest]
    running = [run for run in runs if run.state is RunState.RUNNING]
    if len(running) >= (1 if selftest else at_once):
        return ()
    busy = {run.model for run in running}
    for run in runs:
        if run.state is RunState.QUEUED and run.model not in busy:
            return (RunClaimed(model=run.model, run=run.id, attempt=run.attempt + 1, claimant=claimant),)
    return ()


def held(state: Registry, run: str, token: int) -> Run:
    """The run that `token` holds. Raises StaleClaim where somebody else holds it by now, or nobody."""
    found = state.run(run)
    if found.state is not RunState.RUNNING or found.token != token:
        raise StaleClaim(
            f"Token {token} no longer holds run {run}, which is {found.state}.",
            remedy="Stop working on it: another attempt has taken over, or it has ended.",
        )
    return found


def carried(state: Registry, model: str, run: str | None, token: int | None) -> None:
    """Check the claim that a write of a run carries; a write by hand carries none.

    Raises StaleClaim where the run is no longer held by `token`, BadInput where it is another model's.
    """
    if run is None:
        return
    if token is None:
        raise BadInput("A write of a run carries its token.", remedy='Send "token" as POST /runs/claim gave it.')
    if held(state, run, token).model != model:
        raise BadInput(f"Run {run} is not one of {model}.", remedy="Write to the model that the run is of.")


def finish(
    state: Registry, run: str, token: int, outcome: Outcome, reason: str, result: Mapping[str, Any]
) -> tuple[Event, ...]:
    """End a run; the same end said twice with the same token is one event."""
    ended = state.run(run)
    if ended.state not in OPEN and ended.state == RunState(outcome) and ended.ended_by == token:
        return ()
    found = held(state, run, token)
    end = RunFinished(
        model=found.model, run=run, token=token, outcome=outcome, reason=reason, version=found.version, result=result
    )
    return (end, *attention(found, outcome, reason))


def attention(run: Run, outcome: Outcome, reason: str) -> tuple[AttentionNeeded, ...]:
    """A run that made no version although it should have needs a person; a refused version has said so itself."""
    if outcome != "failed" and not (outcome == "refused" and run.version is None):
        return ()
    return (
        AttentionNeeded(
            model=run.model,
            version=None,
            run=run.id,
            reason=f"Run {run.id} {outcome}: {reason}",
            remedy=TESTED if run.job == "selftest" else TRAINED,
        ),
    )


def abandon(state: Registry, run: str, token: int, why: str) -> tuple[Event, ...]:
    """Take a run from a claimant that fell silent: back to the queue, or ended where it was the last attempt."""
    found = state.run(run)
    if found.state is not RunState.RUNNING or found.token != token:
        return ()
    gone = RunAbandoned(model=found.model, run=run, token=token, why=why)
    if found.attempt < ATTEMPTS:
        return (gone,)
    reason = f"its process died {found.attempt} times"
    end = RunFinished(
        model=found.model, run=run, token=None, outcome="failed", reason=reason, version=found.version, result={}
    )
    return (gone, end, *attention(found, "failed", reason))


def check_dates(*texts: str | None) -> None:
    """Raise BadInput unless each text that is given is a time with a zone."""
    for text in texts:
        if text is not None:
            try:
                moment(text)
            except ValueError:
                raise BadInput(
                    "A date is not an RFC 3339 time with a zone.", remedy="Write for example 2026-01-31T12:00:00Z."
                ) from None
