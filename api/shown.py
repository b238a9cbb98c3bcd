"""The registry as JSON: one function a thing, so that every route shows it alike."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from understudy.events import VerdictReached, timestamp
from understudy.runs import at_work, selftest_slot
from understudy.state import Attention, Model, Promotion, Registry, Run, Version

T = TypeVar("T")

NO_BARS: Mapping[str, str] = {}


def page(items: Sequence[T], *, after: int | None, limit: int, show: Any) -> dict[str, Any]:
    """One page, newest first. `items` are oldest first and only grow: a place in them is a cursor that stays true."""
    end = len(items) if after is None else min(after, len(items))
    start = max(0, end - limit)
    return {"items": [show(item) for item in items[start:end][::-1]], "next": str(start) if start else None}


def model(state: Registry, found: Model, *, default: str) -> dict[str, Any]:
    champion = state.champion(found.name)
    return {
        "name": found.name,
        "description": (found.definition or {}).get("description", ""),
        "default": found.name == default,
        "champion": found.champion,
        "champion_digest": champion.digest if champion else None,
        "definition": found.definition,
        "source_digest": found.source_digest,
        "versions": found.version_count,
        "last_slot": found.last_slot,
        "open_runs": list(at_work(state, found)),
        "judged_until": found.judged_until(None),
        "profile": found.profile,
        "runs": found.run_count,
        "first": first_slot(state, found),
        "selftest": None if found.definition is None else selftest(state, found),
    }


def first_slot(state: Registry, found: Model) -> dict[str, Any] | None:
    """The newest attempt at a first champion."""
    if found.first is None:
        return None
    last = state.runs[found.first]
    waiting = last.version is not None and state.version(found.name, last.version).stage == "passed"
    return {
        "slot": last.slot,
        "state": last.state,
        "finished_at": None if last.finished_at is None else timestamp(last.finished_at),
        "waits_for_a_person": waiting,
    }


def selftest(state: Registry, found: Model) -> dict[str, Any]:
    """The test of the gates that belongs to the definition in force: its slot, and the run, once there is one."""
    slot = selftest_slot(found)
    run = state.slots.get((found.name, "selftest", slot))
    state_of = {} if run is None else {"state": state.runs[run].state, "reason": state.runs[run].reason}
    return {"slot": slot, "run": run, **state_of}


def version(found: Version, bars: Mapping[str, str] = NO_BARS) -> dict[str, Any]:
    """`bars`: which versions of the model never become champion by themselves, with why."""
    return {
        "model": found.model,
        "version": found.id,
        "digest": found.digest,
        "size": found.size,
        "stage": found.stage,
        "barred": bars.get(found.id),
        "run": found.run,
        "refit_of": found.refit_of,
        "registered_at": timestamp(found.registered_at),
        "registered_by": found.registered_by,
        "summary": found.summary,
        "trial": trial(found),
        "verdict": None
        if found.judgement is None
        else {
            "passed": found.judgement.passed,
            "champion": found.judgement.champion,
            "evidence": found.judgement.evidence,
            "position": found.judgement.position,
            "time": timestamp(found.judgement.time),
            "live": found.judgement.live,
        },
    }


def trial(found: Version) -> dict[str, Any] | None:
    """The newest trial, in whatever environment."""
    newest = max(found.trials.values(), key=lambda trial: trial.position, default=None)
    if newest is None:
        return None
    return {
        "passed": newest.passed,
        "reason": newest.reason,
        "environment": newest.environment,
        "against": newest.against,
        "position": newest.position,
        "time": timestamp(newest.time),
    }


def verdict(event: VerdictReached) -> dict[str, Any]:
    """The verdict itself, with every gate."""
    return dict(event.verdict)


def promotion(found: Promotion, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "version": found.version,
        "replaces": found.replaces,
        "promoted_at": timestamp(found.time),
        "promoted_by": found.by,
        "how": found.how,
        "reason": found.reason,
        "ground": found.ground,
        "position": found.position,
    }


def run(found: Run) -> dict[str, Any]:
    return {
        "id": found.id,
        "model": found.model,
        "kind": found.job,
        "slot": found.slot,
        "state": found.state,
        "reason": found.reason,
        "version": found.version,
        "as_of": found.as_of,
        "params": found.params,
        "start_date": found.start_date,
        "end_date": found.end_date,
        "like": found.like,
        "requested_by": found.requested_by,
        "requested_at": timestamp(found.requested_at),
        "claimed_at": None if found.claimed_at is None else timestamp(found.claimed_at),
        "finished_at": None if found.finished_at is None else timestamp(found.finished_at),
        "attempt": found.attempt,
        "result": found.result,
    }


def attention(found: Attention) -> Mapping[str, Any]:
    return {
        "position": found.position,
        "time": timestamp(found.time),
        "version": found.version,
        "run": found.run,
        "reason": found.reason,
        "remedy": found.remedy,
    }
