"""When nothing changes by itself: for a while after a change was taken back, and for good where too many were.

A loop of promoting and going back has two sides that are each right by their own rules. So what is limited is the pair:
an automatic change of champion that was taken back by itself.

    taken back once                    no automatic change for ten minutes
    5 within a day, and half of them   none until a person acts: promotes, goes back, or changes the definition

Going back itself is never held up. The numbers are argued for in `docs/decisions/0036-barred-and-calm.md`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from understudy.events import AttentionNeeded, VersionPromoted
from understudy.state import Model, Promotion

COOL_DOWN = timedelta(minutes=10)
"""As long as evidence is fresh: nothing that was measured before a way back may undo it by itself."""

DAY = timedelta(days=1)
MOST_TAKEN_BACK, SHARE = 5, 0.5
"""So many automatic changes taken back within a day, and such a share of the automatic changes of that day. A gate that
is mostly right, however often it is asked, stays below the share; a loop is the whole of it."""
NEWEST = 30
"""Of many changes a day only the newest count, or a long stretch of good ones would hide a loop."""

REMEDY = "Look at what was taken back; promote a version by its id, or change the definition, to let it go on."


def unrest(model: Model, now: datetime) -> str | None:
    """Why automatic changes of a model's champion must wait, as a sentence; None where they need not."""
    places = [*ways_back(model)]
    if any(too_many(model, place) for place in places):
        return f"{counted(model)} Nothing changes by itself until a person acts."
    if cools_down(model, now):
        minutes = COOL_DOWN.total_seconds() / 60
        return (
            f"Version {model.promotions[-1].replaces} of {model.name} has just been taken back, and nothing changes by "
            f"itself for {minutes:.0f} minutes after that."
        )
    return None


def cools_down(model: Model, now: datetime) -> bool:
    """Whether the champion has just been taken back, and what is trained now could not be promoted yet."""
    return next(ways_back(model), None) is not None and now - model.promotions[-1].time < COOL_DOWN


def alarm(model: Model, made: VersionPromoted, now: datetime) -> tuple[AttentionNeeded, ...]:
    """Tell a person, once: for the append in which `made` is the way back that is one too many."""
    if not is_way_back(made) or any(too_many(model, place) for place in ways_back(model)):
        return ()
    after = replace(model, promotions=(*model.promotions, as_promotion(made, now)))
    if not too_many(after, len(model.promotions)):
        return ()
    reason = f"{counted(after)} Nothing changes by itself until a person acts."
    return (AttentionNeeded(model=model.name, version=made.replaces, run=None, reason=reason, remedy=REMEDY),)


def is_way_back(change: Promotion | VersionPromoted) -> bool:
    """Whether nobody asked for it and it took the champion back."""
    return change.by == "api" and change.how == "demotion"


def is_automatic(change: Promotion) -> bool:
    """Whether it put a version on that no person had chosen."""
    return change.by in ("scheduler", "api") and not is_way_back(change)


def ways_back(model: Model) -> Iterator[int]:
    """Places in `promotions` of the automatic ways back that nothing has followed, newest first."""
    for place in range(len(model.promotions) - 1, -1, -1):
        if not is_way_back(model.promotions[place]) or model.promotions[place].position < (model.defined_at or 0):
            return
        yield place


def too_many(model: Model, place: int) -> bool:
    """Whether the way back at `place` was the one after which a person has to act."""
    taken_back, changes = taken_back_by(model, place)
    return taken_back >= MOST_TAKEN_BACK and taken_back >= SHARE * changes


def taken_back_by(model: Model, place: int) -> tuple[int, int]:
    """The newest automatic changes in the day up to `place`, since a person acted: those taken back, and all."""
    taken_back = changes = 0
    since = model.promotions[place].time - DAY
    for at in range(place, -1, -1):
        change = model.promotions[at]
        acted = change.by == "operator" or change.position < (model.defined_at or 0)
        if acted or change.time < since or changes == NEWEST:
            break
        changes += is_automatic(change)
        taken_back += is_way_back(change) and at > 0 and is_automatic(model.promotions[at - 1])
    return taken_back, changes


def counted(model: Model) -> str:
    taken_back, changes = max(taken_back_by(model, place) for place in ways_back(model))
    return f"{taken_back} of the newest {changes} automatic changes of {model.name} within a day were taken back."


def as_promotion(made: VersionPromoted, now: datetime) -> Promotion:
    """The promotion as the fold will have it; its positions are not known yet, and count as the newest."""
    return Promotion(
        version=made.version,
        replaces=made.replaces,
        position=2**63,
        time=now,
        key=made.key,
        how=made.how,
        by=made.by,
        reason=made.reason,
        ground=made.ground,
        began=2**63,
    )
