"""What the clients saw, and whether a service that keeps its promises could have made them see it.

Every request is one `Exchange`, every fault one `Blow`; the log at the end is the third witness. `violations` compares
the three. Times are seconds on the monotonic clock of the process that all clients live in.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

from understudy.events import Recorded, RunRequested, VersionPromoted, VersionRegistered
from understudy.liveness import SILENT_AFTER_S

Outcome = Literal["ok", "fail", "unknown"]
"""It was done; it was refused; nobody knows."""

CHANGES = ("promote", "demote")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came of it."""

    client: str
    action: str
    outcome: Outcome
    sent_s: float
    ended_s: float
    asked: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    """The body of the answer, and what the client noticed about it; `error` where there was none."""
    opened_s: float = 0.0
    """When its connection was opened."""
    worker: int | None = None
    """The process at the other end of the connection, where that could be found out."""
    proxied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One fault: from when to when something was dead, asleep or cut off, and what."""

    kind: str
    began_s: float
    ended_s: float
    pids: frozenset[int] = frozenset()
    """The processes of the API that were hit."""
    cut: bool = False
    """The proxy cut its connections."""
    fatal: bool = True
    """Whoever was hit is gone, and every connection to it."""
    all: bool = False
    """No process of the API was left to answer."""


def violations(exchanges: Sequence[Exchange], blows: Sequence[Blow], log: Sequence[Recorded]) -> list[str]:
    """Every promise that was broken, as a sentence; `log` is all of it, oldest first."""
    return [
        *wrong(exchanges),
        *outdated(exchanges, log),
        *retold(exchanges, log),
        *lost(exchanges, log),
        *unexcused(exchanges, blows),
    ]


def wrong(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Answers that are not what the version they name would say."""
    known = [each for each in exchanges if each.outcome == "ok"]
    adds = {each.answer["version"]: each.asked["adds"] for each in known if each.action == "register"}
    for each in known:
        if each.action == "predict":
            if each.answer["header"] != each.answer["version"]:
                yield f"{each.client}: the header says {each.answer['header']}, the body {each.answer['version']}"
            if each.answer["prediction"] - each.asked["x"] != adds.get(each.answer["version"]):
                yield f"{each.client}: not what version {each.answer['version']} answers: {each}"


def retold(exchanges: Sequence[Exchange], log: Sequence[Recorded]) -> Iterator[str]:
    """Keys that were told of one promotion, and of another one when they were sent again.

    A key that asked for what served already has promoted nothing, and nothing remembers it.
    """
    keys = {entry.position: entry.event.key for entry in log if isinstance(entry.event, VersionPromoted)}
    told: dict[str, int] = {}
    for each in exchanges:
        if each.action in CHANGES and each.outcome == "ok":
            key, position = each.asked["key"], each.answer["position"]
            first = told.setdefault(key, position)
            if first != position and keys.get(first) == key:
                yield f"{each.client}: key {key} was told of promotion {first} first, and then of {position}"


def outdated(exchanges: Sequence[Exchange], log: Sequence[Recorded]) -> Iterator[str]:
    """Predictions by a version older than a promotion that had been answered before they were asked for.

    And by one that nobody had asked for yet.
    """
    changes = sorted((each for each in exchanges if each.action in CHANGES and each.outcome == "ok"), key=ended)
    heard_s = [each.ended_s for each in changes]
    newest = list(accumulate((each.answer["position"] for each in changes), max, initial=0))
    asked_s: dict[str, float] = {}
    for each in exchanges:
        if each.action in CHANGES:
            asked_s[each.asked["key"]] = min(each.sent_s, asked_s.get(each.asked["key"], each.sent_s))
    served: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for entry in log:
        if isinstance(entry.event, VersionPromoted) and entry.event.model == "rain":
            served[entry.event.version].append((entry.position, entry.event.key))
    for each in exchanges:
        if each.action != "predict" or each.outcome != "ok":
            continue
        known = newest[bisect_left(heard_s, each.sent_s)]
        periods = served[each.answer["version"]]
        since = bisect_left(periods, (known, ""))
        if any(asked_s.get(key, 0.0) <= each.ended_s for _, key in periods[since:]):
            continue
        if since:
            yield f"{each.client}: version {each.answer['version']} after promotion {known} was answered: {each}"
        else:
            yield f"{each.client}: version {each.answer['version']} before anybody asked for it: {each}"


def ended(exchange: Exchange) -> float:
    return exchange.ended_s


def lost(exchanges: Sequence[Exchange], log: Sequence[Recorded]) -> Iterator[str]:
    """Acknowledged facts that the log does not hold, or holds differently."""
    hashes = {entry.position: entry.hash for entry in log}
    promoted = {(entry.position, entry.event.version) for entry in log if isinstance(entry.event, VersionPromoted)}
    registered = {
        (entry.event.version, entry.event.digest) for entry in log if isinstance(entry.event, VersionRegistered)
    }
    requested = {entry.event.run for entry in log if isinstance(entry.event, RunRequested)}
    for each in exchanges:
        if each.outcome != "ok":
            continue
        match each.action, each.answer:
            case (("promote" | "demote"), {"position": position, "version": version}):
                kept = (position, version) in promoted
            case "register", {"version": version, "digest": digest}:
                kept = (version, digest) in registered and digest == each.asked["digest"]
            case "train", {"run_id": run}:
                kept = run in requested
            case "read", {"seen": seen}:
                kept = all(hashes.get(position) == hash for position, hash in seen)
            case _:
                kept = True
        if not kept:
            yield f"{each.client}: what was acknowledged is not in the log: {each}"


def unexcused(exchanges: Sequence[Exchange], blows: Sequence[Blow]) -> Iterator[str]:
    """Requests that failed although nothing had happened to whoever answered them."""
    for each in exchanges:
        failed = each.outcome == "unknown" or (each.action == "predict" and each.outcome != "ok")
        if failed and not any(excuses(blow, each) for blow in blows):
            yield f"{each.client}: failed for no reason: {each}"


def excuses(blow: Blow, each: Exchange) -> bool:
    """Whether a failure may come of a blow.

    A prediction may fail where its own process was hit, while it was in flight or earlier on its connection. A change
    waits for every worker, so any blow may end it, for as long as the dead are waited for.
    """
    if blow.began_s > each.ended_s:
        return False
    if each.action != "predict" and each.sent_s <= blow.ended_s + SILENT_AFTER_S:
        return True
    if blow.all and each.sent_s <= blow.ended_s:
        return True
    since_s = each.opened_s if blow.fatal else each.sent_s
    hit = (blow.cut and each.proxied) or bool(blow.pids and (each.worker is None or each.worker in blow.pids))
    return hit and since_s <= blow.ended_s
