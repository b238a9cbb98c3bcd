"""What must hold of a log by itself, whoever wrote it and whatever befell them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from understudy.events import (
    PromotionAborted,
    PromotionStarted,
    Recorded,
    RunAbandoned,
    RunClaimed,
    RunFinished,
    RunRequested,
    VersionPromoted,
    VersionRegistered,
)


def flaws(log: Sequence[Recorded]) -> list[str]:
    """Everything in a whole log, oldest event first, that could not have come of the protocol, as sentences."""
    return [*half_promoted(log), *promoted_twice(log), *registered_twice(log), *worked_twice(log)]


def half_promoted(log: Sequence[Recorded]) -> Iterator[str]:
    """Promotions without a start, starts without an outcome, and promotions that replace another than they say."""
    pending: dict[str, str] = {}
    champions: dict[str, str | None] = {}
    for entry in log:
        event = entry.event
        match event:
            case PromotionStarted():
                if event.model in pending:
                    yield f"event {entry.position} starts a promotion of {event.model} beside another one"
                pending[event.model] = event.key
            case VersionPromoted() | PromotionAborted():
                if pending.pop(event.model, None) != event.key:
                    yield f"event {entry.position} ends a promotion that was not under way"
        if isinstance(event, VersionPromoted):
            if champions.get(event.model) != event.replaces:
                yield f"event {entry.position} replaces {event.replaces}, not {champions.get(event.model)}"
            champions[event.model] = event.version
    for model, key in pending.items():
        yield f"the promotion {key} of {model} has no outcome"


def promoted_twice(log: Sequence[Recorded]) -> Iterator[str]:
    keys = Counter((entry.event.model, entry.event.key) for entry in log if isinstance(entry.event, VersionPromoted))
    for (model, key), count in keys.items():
        if count > 1:
            yield f"key {key} promoted {count} versions of {model}"


def registered_twice(log: Sequence[Recorded]) -> Iterator[str]:
    digests = Counter(
        (entry.event.model, entry.event.digest) for entry in log if isinstance(entry.event, VersionRegistered)
    )
    for (model, digest), count in digests.items():
        if count > 1:
            yield f"the bytes {digest[:12]} are {count} versions of {model}"


def worked_twice(log: Sequence[Recorded]) -> Iterator[str]:
    """Slots with two runs, runs with two ends, two runs of one model at once, and writes of whoever held none."""
    slots, ends, at_work = Counter[tuple[str, str, str]](), Counter[str](), dict[str, tuple[str, int]]()
    for entry in log:
        event = entry.event
        match event:
            case RunRequested():
                slots[event.model, event.job, event.slot] += 1
            case RunClaimed():
                if event.model in at_work:
                    yield f"event {entry.position} claims {event.run} while {at_work[event.model][0]} is at work"
                if ends[event.run]:
                    yield f"event {entry.position} claims {event.run}, which has ended"
                at_work[event.model] = event.run, entry.position
            case RunAbandoned():
                if at_work.pop(event.model, None) != (event.run, event.token):
                    yield f"event {entry.position} gives {event.run} back, which nobody held so"
            case RunFinished():
                ends[event.run] += 1
                if event.token is not None and at_work.pop(event.model, None) != (event.run, event.token):
                    yield f"event {entry.position} ends {event.run} by who does not hold it"
            case VersionRegistered() if event.run is not None:
                if at_work.get(event.model, ("", 0))[0] != event.run:
                    yield f"event {entry.position} registers a version of {event.run}, which is not at work"
    yield from (f"slot {slot} has {count} runs" for slot, count in slots.items() if count > 1)
    yield from (f"run {run} ended {count} times" for run, count in ends.items() if count > 1)
