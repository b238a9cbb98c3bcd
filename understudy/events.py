"""Facts, in the past tense: all that the log may hold.

Each event is a frozen dataclass with a stable `kind` and a `schema` number; its first docstring line can be shown to a
user. Nothing is updated in place; what is true now is `registry.fold(events)`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from understudy.errors import LogTampered

Role = Literal["client", "scheduler", "operator"]
Actor = Role | Literal["api"]
"""Who wants something done; the API itself goes back from what fails, and asks for what its watching calls for."""
JobKind = Literal["train", "predict", "selftest"]
Outcome = Literal["succeeded", "refused", "failed", "skipped"]
How = Literal["promotion", "override", "demotion"]
Ended = Literal["crashed", "out_of_memory", "hung", "silent", "stopped", "killed", "exited"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a model."""

    kind: ClassVar[str]
    schema: ClassVar[int] = 1

    model: str


@dataclass(frozen=True, kw_only=True)
class ModelDefined(Event):
    """A model was defined, or its definition or policy changed."""

    kind = "model.defined"
    definition: Mapping[str, Any]
    """What `Model.to_json()` says: columns' roles, schedule, policy; no code."""
    source_digest: str
    """Where the store keeps the source of the definition and its helpers."""
    by: Role


@dataclass(frozen=True, kw_only=True)
class VersionRegistered(Event):
    """A trained version was registered as a candidate."""

    kind = "version.registered"
    version: str
    digest: str
    size: int
    summary: Mapping[str, Any]
    """What lists show of its manifest: task, metrics, data, params, libraries; the whole is in the bundle."""
    run: str | None
    by: Role


@dataclass(frozen=True, kw_only=True)
class VersionTried(Event):
    """A version was loaded and questioned in a limited process of its own."""

    kind = "version.tried"
    version: str
    digest: str
    environment: str
    """Fingerprint of the libraries that it was tried with."""
    passed: bool
    reason: str
    report: Mapping[str, Any]
    """What the trial measured: formats, peak memory, parity, and latency beside `against`."""
    against: str | None
    """The version whose latency was measured in alternation, if one served."""


@dataclass(frozen=True, kw_only=True)
class VerdictReached(Event):
    """The evidence for a version was judged."""

    kind = "version.judged"
    version: str
    champion: str | None
    """The version it was compared with; None: the constant predictor."""
    evidence: str
    """Digest of the stored evidence."""
    verdict: Mapping[str, Any]
    """`gates.Verdict.to_json()`: the comparison and every gate, with observed value, limit and reason."""
    facts: Mapping[str, Any]
    """What was measured for the verdict and is stored nowhere else, so that it can be computed again."""
    until: str | int | None
    """Clock of the last row it was judged on: the next holdout begins after it."""
    profile: str | None
    """Digest of the data's profile, where the data were accepted."""
    passed: bool


@dataclass(frozen=True, kw_only=True)
class VersionRefitted(Event):
    """A version was made by a judged candidate's recipe from all rows, and checked on that candidate's holdout."""

    kind = "version.refitted"
    version: str
    of: str
    """The candidate whose verdict it stands on."""
    evidence: str
    """Digest of the stored evidence: both versions' answers on the rows of that verdict."""
    passed: bool
    reason: str
    facts: Mapping[str, Any]
    """Losses, and the position of its trial."""


@dataclass(frozen=True, kw_only=True)
class LiveCompared(Event):
    """Labels of what was predicted said that the other version should serve."""

    kind = "live.compared"
    version: str
    """The one that should: a candidate in shadow, or the champion before."""
    serving: str
    pair: int
    """Position since which these two are compared."""
    rows: int
    evidence: str
    """Digest of the stored rows: label and both versions' answers."""
    standing: Mapping[str, Any]
    """`eprocess.Standing.to_json()`."""
    facts: Mapping[str, Any]
    """Both mean losses, and the evidence whose holdout the scale was taken from."""


@dataclass(frozen=True, kw_only=True)
class DriftNoticed(Event):
    """What a champion is asked, or what it answers, differs from what it was trained and judged on."""

    kind = "drift.noticed"
    version: str
    report: Mapping[str, Any]
    """`drift.Report.to_json()`: effects with their intervals."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class AttentionNeeded(Event):
    """A person should look at this."""

    kind = "attention.needed"
    version: str | None
    run: str | None
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class PromotionStarted(Event):
    """A promotion began: workers make the version ready."""

    kind = "promotion.started"
    key: str
    version: str
    replaces: str | None
    how: How
    by: Actor
    reason: str


@dataclass(frozen=True, kw_only=True)
class VersionPromoted(Event):
    """A version became the champion."""

    kind = "version.promoted"
    key: str
    version: str
    replaces: str | None
    how: How
    ground: int | None
    """Position of the verdict that it stands on; None: an override or a demotion, with its reason."""
    by: Actor
    reason: str


@dataclass(frozen=True, kw_only=True)
class PromotionAborted(Event):
    """A promotion was given up; the old version stays."""

    kind = "promotion.aborted"
    key: str
    version: str
    why: str


@dataclass(frozen=True, kw_only=True)
class RunRequested(Event):
    """A piece of work was asked for."""

    kind = "run.requested"
    run: str
    job: JobKind
    slot: str
    """A nominal due time, `first`, `first/2` …, or what a request by hand was named."""
    as_of: str
    """The data of the run is what had arrived by then."""
    params: Mapping[str, Any]
    start_date: str | None
    end_date: str | None
    like: str | None
    by: Actor


@dataclass(frozen=True, kw_only=True)
class RunClaimed(Event):
    """A scheduler took a run; the position of this event is its token."""

    kind = "run.claimed"
    run: str
    attempt: int
    claimant: str


@dataclass(frozen=True, kw_only=True)
class RunAbandoned(Event):
    """Whoever had claimed a run fell silent."""

    kind = "run.abandoned"
    run: str
    token: int
    why: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A run ended."""

    kind = "run.finished"
    run: str
    token: int | None
    outcome: Outcome
    reason: str
    version: str | None
    result: Mapping[str, Any]
    """What the run measured: rows, data digest, seconds per stage."""


@dataclass(frozen=True, kw_only=True)
class SlotsMissed(Event):
    """Due times passed with nobody to serve them; one later run stands for all."""

    kind = "slots.missed"
    job: JobKind
    first: str
    last: str
    count: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class SlotSkipped(Event):
    """A due time was passed over on purpose."""

    kind = "slot.skipped"
    job: JobKind
    slot: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ProcessDied(Event):
    """A process of the API ended otherwise than it should; `model` is empty where it was calling none."""

    kind = "process.died"
    version: str | None
    """The version that it was calling."""
    worker: str
    """Machine and process id."""
    how: Ended
    reason: str
    mark: str = ""
    """Name of what it left, by which one death is known however often it is told; empty in what was written before."""


KINDS: Mapping[str, type[Event]] = {
    event.kind: event
    for event in (
        ModelDefined,
        VersionRegistered,
        VersionTried,
        VerdictReached,
        VersionRefitted,
        LiveCompared,
        DriftNoticed,
        AttentionNeeded,
        PromotionStarted,
        VersionPromoted,
        PromotionAborted,
        RunRequested,
        RunClaimed,
        RunAbandoned,
        RunFinished,
        SlotsMissed,
        SlotSkipped,
        ProcessDied,
    )
}


@dataclass(frozen=True)
class Recorded:
    """An event in its place."""

    position: int
    time: datetime
    event: Event
    hash: str


GENESIS = "0" * 64
"""What the first row carries as the hash of the row before it."""


def encode(event: Event) -> str:
    """Write an event's fields as canonical JSON; raises ValueError for NaN and infinities."""
    return json.dumps(fields_of(event), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fields_of(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


def decode(kind: str, schema: int, data: str, *, position: int) -> Event:
    """Read an event back, or say which row of the log is not one."""
    try:
        event = KINDS[kind]
        if schema != event.schema:
            raise ValueError(f"schema {schema}")
        return event(**json.loads(data))
    except (KeyError, TypeError, ValueError) as error:
        raise LogTampered(
            f"Event {position} of the log cannot be read as `{kind[:40]}`.",
            remedy="Run `understudy verify log`; restore the log from a backup, or use the release that wrote it.",
        ) from error


def chain(previous: str, *, position: int, time: str, kind: str, schema: int, data: str) -> str:
    """The hash of a row: sha256 over the hash before it and everything the row says."""
    text = json.dumps([previous, position, time, kind, schema, data], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: text that sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """Read an RFC 3339 time; raises ValueError where it has no zone, or is out of range in UTC."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("a time needs a zone, for example 2026-01-31T12:00:00Z")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time needs a year from 1 to 9999 in UTC too") from None


def due_time(slot: str) -> datetime | None:
    """The nominal due time that a slot is; None for `first` and for what was named by hand.

    Only what `timestamp` writes is one: due times are compared as text.
    """
    try:
        due = moment(slot)
    except ValueError:
        return None
    return due if timestamp(due) == slot else None
