"""What the log says of models, versions and runs: the shapes that `registry.fold` fills.

All frozen: whoever holds a `Registry` may read it from any thread, for as long as it likes. It is an index, not a copy:
verdicts and trials keep the position at which the log holds their numbers.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from understudy.errors import NotFound
from understudy.events import GENESIS, Actor, Ended, How, JobKind, ProcessDied, Role


class Stage(StrEnum):
    """Where a version stands."""

    CANDIDATE = "candidate"
    PASSED = "passed"
    REFUSED = "refused"
    CHAMPION = "champion"
    RETIRED = "retired"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How a version did in its limited process."""

    environment: str
    passed: bool
    reason: str
    against: str | None
    position: int
    """Where the log holds what it measured."""
    time: datetime


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, and where the log holds its numbers."""

    position: int
    time: datetime
    passed: bool
    champion: str | None
    evidence: str
    rows: str | None
    """Names the rows that were judged."""
    until: str | int | None
    mode: str
    """Who took the last step under the policy that was in force."""
    evidence_age: timedelta
    """How old the evidence was."""
    live: bool = False
    """Whether it was reached on labels of what was predicted; then the log holds a LiveCompared there."""
    shadows: bool = False
    """Whether nothing but the comparison spoke against the version."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One trained result."""

    model: str
    id: str
    digest: str
    size: int
    summary: Mapping[str, Any]
    run: str | None
    registered_by: Role
    registered_at: datetime
    stage: Stage
    trials: Mapping[str, Trial] = field(default_factory=dict)
    """The newest trial by environment."""
    judgement: Judgement | None = None
    """The newest verdict; of a refit, that of its candidate; of what won a live comparison, that."""
    refit_of: str | None = None
    """The candidate whose recipe it is made by."""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One change of champion."""

    version: str
    replaces: str | None
    position: int
    time: datetime
    key: str
    how: How
    by: Actor
    reason: str
    ground: int | None
    began: int
    """Position of the start that it is the outcome of."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The champion, and the version in shadow that it is compared with while it serves."""

    serving: str
    other: str | None
    """The champion before, or a candidate that the holdout did not prefer; None: the champion is watched alone."""
    evidence: str | None
    """Digest of the evidence on whose holdout both answered, or the champion did."""
    position: int
    """Since which they are compared; it names the pair."""
    time: datetime
    why: Literal["promotion", "refusal", "switch", "return"]
    """What made it: a promotion, a refusal, what labels or a person led back to. A pair of one follows a switch."""
    settled_at: int | None = None
    """Position where the log says that labels speak for the other."""


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A promotion that has begun and has no outcome yet."""

    key: str
    version: str
    replaces: str | None
    how: How
    by: Actor
    reason: str
    position: int
    time: datetime


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"


OPEN = frozenset({RunState.QUEUED, RunState.RUNNING})


@dataclass(frozen=True, kw_only=True)
class Run:
    """One piece of work and how it ended."""

    id: str
    model: str
    job: JobKind
    slot: str
    as_of: str
    params: Mapping[str, Any]
    start_date: str | None
    end_date: str | None
    like: str | None
    requested_by: Actor
    requested_at: datetime
    state: RunState = RunState.QUEUED
    token: int | None = None
    """Position of the RunClaimed that holds it now."""
    attempt: int = 0
    ended_by: int | None = None
    """The token that finished it."""
    claimant: str | None = None
    claimed_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str = ""
    version: str | None = None
    """What it made: the candidate; or its refit, once that has passed with it."""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Something that a person should look at."""

    position: int
    time: datetime
    version: str | None
    run: str | None
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Death:
    """A process that ended in the middle of calling a version."""

    position: int
    time: datetime
    version: str
    how: Ended
    mark: str
    """The death's own name; empty where it has none."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Everything the log says of one model."""

    name: str
    definition: Mapping[str, Any] | None = None
    source_digest: str | None = None
    sources: tuple[tuple[int, str], ...] = ()
    """Every source that was in force, with the position since which it was."""
    defined_at: int | None = None
    version_count: int = 0
    line: tuple[str, ...] = ()
    """The champions that a demotion walks back: a promotion adds one, a demotion takes the last away."""
    promotions: tuple[Promotion, ...] = ()
    pending: Pending | None = None
    last_slot: str | None = None
    """The newest nominal due time that was served, missed or skipped."""
    first: str | None = None
    """The newest run for the slot `first`, `first/2` …"""
    open_runs: tuple[str, ...] = ()
    run_count: int = 0
    judged: tuple[tuple[str, str | int], ...] = ()
    """The two newest ends of a holdout: version, and clock of the last row that it was judged on."""
    profile: str | None = None
    """Digest of the profile of the last data that were accepted."""
    attention: tuple[Attention, ...] = ()
    """The newest hundred."""
    deaths: tuple[Death, ...] = ()
    """The newest twenty."""
    pair: Pair | None = None
    """What labels compare now."""

    @property
    def champion(self) -> str | None:
        return self.line[-1] if self.line else None

    def knows(self, event: ProcessDied) -> bool:
        """Whether this death has been told already: whoever tells it may be killed before he has removed its mark."""
        return any((death.mark, death.version) == (event.mark, event.version) for death in self.deaths if death.mark)

    def promoted_by(self, moment: datetime | None) -> Promotion | None:
        """The promotion that was in force at `moment`; None as a moment: now."""
        if moment is None:
            return self.promotions[-1] if self.promotions else None
        place = bisect_right(self.promotions, moment, key=lambda promotion: promotion.time)
        return self.promotions[place - 1] if place else None

    def source_at(self, position: int) -> str | None:
        """Digest of the definition's source that was in force at a position of the log."""
        place = bisect_right(self.sources, position, key=lambda source: source[0])
        return self.sources[place - 1][1] if place else None

    def judged_until(self, version: str | None) -> str | int | None:
        """Clock of the last row that any version but `version` was judged on.

        What may not be judged on the same rows twice is a model, not a verdict: a retry is judged on its own rows
        again.
        """
        return next((until for other, until in reversed(self.judged) if other != version), None)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The fold up to `position`."""

    position: int = 0
    hash: str = GENESIS
    time: datetime | None = None
    models: Mapping[str, Model] = field(default_factory=dict)
    versions: Mapping[tuple[str, str], Version] = field(default_factory=dict)
    """By model and version."""
    digests: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(model, digest) -> version."""
    runs: Mapping[str, Run] = field(default_factory=dict)
    slots: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """(model, job, slot) -> the run that serves it."""
    skipped: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """(model, job, slot) -> why nothing does."""

    def model(self, name: str) -> Model:
        try:
            return self.models[name]
        except KeyError:
            raise NotFound(f"There is no model {name[:64]!a}.", remedy="See GET /models.") from None

    def version(self, model: str, version: str) -> Version:
        self.model(model)
        try:
            return self.versions[model, version]
        except KeyError:
            raise NotFound(
                f"Model {model} has no version {version[:20]!a}.", remedy=f"See GET /models/{model}/versions."
            ) from None

    def champion(self, model: str) -> Version | None:
        """The version of `model` that serves by default."""
        champion = self.model(model).champion
        return None if champion is None else self.versions[model, champion]

    def run(self, run: str) -> Run:
        try:
            return self.runs[run]
        except KeyError:
            raise NotFound(f"There is no run {run[:64]!a}.", remedy="See GET /runs.") from None

    def open_runs(self) -> Iterable[Run]:
        """Runs not finished yet, oldest first."""
        ids = [run for model in self.models.values() for run in model.open_runs]
        return sorted((self.runs[run] for run in ids), key=lambda run: run.requested_at)
