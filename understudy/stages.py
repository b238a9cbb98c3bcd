"""The stages of a version, and the events that lead from one to the next."""

from collections.abc import Mapping

from understudy.errors import LogTampered
from understudy.events import (
    LiveCompared,
    Recorded,
    VerdictReached,
    VersionPromoted,
    VersionRefitted,
    VersionRegistered,
)
from understudy.state import Stage


class Replaced:
    """Part of folding the successor's VersionPromoted."""


#: (stage, event) -> next stage. What is not listed cannot happen.
TRANSITIONS: Mapping[tuple[Stage | None, type, bool | None], Stage] = {
    (None, VersionRegistered, None): Stage.CANDIDATE,
    (Stage.CANDIDATE, VerdictReached, True): Stage.PASSED,
    (Stage.CANDIDATE, VerdictReached, False): Stage.REFUSED,
    (Stage.PASSED, VerdictReached, True): Stage.PASSED,
    (Stage.PASSED, VerdictReached, False): Stage.REFUSED,
    (Stage.REFUSED, VerdictReached, True): Stage.PASSED,
    (Stage.REFUSED, VerdictReached, False): Stage.REFUSED,
    (Stage.RETIRED, VerdictReached, True): Stage.RETIRED,  # judged again after it served: it stays what it was
    (Stage.RETIRED, VerdictReached, False): Stage.RETIRED,
    (Stage.CANDIDATE, VersionRefitted, True): Stage.PASSED,
    (Stage.CANDIDATE, VersionRefitted, False): Stage.REFUSED,
    (Stage.CANDIDATE, LiveCompared, None): Stage.PASSED,
    (Stage.PASSED, LiveCompared, None): Stage.PASSED,
    (Stage.REFUSED, LiveCompared, None): Stage.PASSED,
    (Stage.RETIRED, LiveCompared, None): Stage.RETIRED,  # it comes back by a demotion, which needs no ground
    (Stage.CANDIDATE, VersionPromoted, None): Stage.CHAMPION,  # an override before any verdict
    (Stage.PASSED, VersionPromoted, None): Stage.CHAMPION,
    (Stage.REFUSED, VersionPromoted, None): Stage.CHAMPION,  # an override
    (Stage.RETIRED, VersionPromoted, None): Stage.CHAMPION,  # a rollback is a promotion
    (Stage.CHAMPION, Replaced, None): Stage.RETIRED,
}


def following(stage: Stage | None, event: type, entry: Recorded, passed: bool | None = None) -> Stage:
    try:
        return TRANSITIONS[stage, event, passed]
    except KeyError:
        raise impossible(entry, f"{entry.event.kind} for a version that is {stage}") from None


def impossible(entry: Recorded, why: str) -> LogTampered:
    return LogTampered(
        f"Event {entry.position} of the log is impossible: {why}.",
        remedy="Run `understudy verify log`; use the release that wrote it.",
    )
