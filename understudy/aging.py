"""A champion that is older than its owner wants to serve with, as a decision: the state in, notes for a person out.

Its age counts from its registration: a version that comes back is as old as it is.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from understudy.drift_words import span
from understudy.events import AttentionNeeded
from understudy.state import Model, Registry

REMEDY = "See why no version has followed it: `understudy status` shows the last run and its reason."


def overaged(state: Registry, now: datetime) -> tuple[AttentionNeeded, ...]:
    """One note for each champion that has grown too old and has none yet."""
    return tuple(note for model in state.models.values() for note in _noted(state, model, now))


def max_age(model: Model) -> timedelta | None:
    """What the definition allows; None: it may grow old."""
    seconds = (model.definition or {}).get("max_age_s")
    return timedelta(seconds=seconds) if isinstance(seconds, int | float) and 0 < seconds < 1e10 else None


def _noted(state: Registry, model: Model, now: datetime) -> Iterator[AttentionNeeded]:
    allowed, champion = max_age(model), state.champion(model.name)
    if allowed is None or champion is None or now - champion.registered_at <= allowed:
        return
    if any(note.version == champion.id and "`max_age`" in note.reason for note in model.attention):
        return
    age = span((now - champion.registered_at).total_seconds())
    limit = span(allowed.total_seconds())
    reason = f"Version {champion.id} of {model.name} is {age} old, and `max_age` allows {limit}."
    yield AttentionNeeded(model=model.name, version=champion.id, run=None, reason=reason, remedy=REMEDY)
