"""State is a fold of facts.

`fold(entries, since)` never changes what it was given. The state at a past moment is the fold of the entries up to it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from understudy import pairs, stages
from understudy.events import (
    AttentionNeeded,
    DriftNoticed,
    Event,
    LiveCompared,
    ModelDefined,
    ProcessDied,
    PromotionAborted,
    PromotionStarted,
    Recorded,
    RunAbandoned,
    RunClaimed,
    RunFinished,
    RunRequested,
    SlotSkipped,
    SlotsMissed,
    VerdictReached,
    VersionPromoted,
    VersionRefitted,
    VersionRegistered,
    VersionTried,
    due_time,
)
from understudy.state import (
    Attention,
    Death,
    Judgement,
    Model,
    Pair,
    Pending,
    Promotion,
    Registry,
    Run,
    RunState,
    Stage,
    Trial,
    Version,
)


def fold(entries: Iterable[Recorded], since: Registry | None = None) -> Registry:
    """State after `entries`, which continue where `since` (default: the beginning) stands."""
    state = since or Registry()
    draft: Draft | None = None
    for entry in entries:
        draft = draft or Draft(state)
        draft.apply(entry)
        last = entry
    if draft is None:
        return state
    return replace(draft.maps(), position=last.position, hash=last.hash, time=last.time)


class Draft:
    """The maps that one fold writes to before anybody sees them; what they hold is frozen.

    They are copied once a fold and not once an event, or a year of minutes would take the square of it.
    """

    def __init__(self, state: Registry) -> None:
        self.models, self.versions, self.digests = dict(state.models), dict(state.versions), dict(state.digests)
        self.runs, self.slots, self.skipped = dict(state.runs), dict(state.slots), dict(state.skipped)

    def maps(self) -> Registry:
        return Registry(
            models=self.models,
            versions=self.versions,
            digests=self.digests,
            runs=self.runs,
            slots=self.slots,
            skipped=self.skipped,
        )

    def apply(self, entry: Recorded) -> None:
        try:
            APPLY[type(entry.event)](self, entry, entry.event)
        except KeyError as unknown:
            raise stages.impossible(entry, f"nothing before it is called {unknown}") from None

    def model(self, name: str) -> Model:
        return self.models.get(name) or Model(name=name)

    def change(self, model: str, **changes: Any) -> None:
        self.models[model] = replace(self.model(model), **changes)

    def pair(self, model: str, after: Callable[..., Pair | None], *about: Any, **more: Any) -> None:
        self.change(model, pair=after(self.model(model).pair, *about, **more))

    def change_version(self, model: str, version: str, **changes: Any) -> None:
        self.versions[model, version] = replace(self.versions[model, version], **changes)


def _defined(draft: Draft, entry: Recorded, event: ModelDefined) -> None:
    """A new definition may bring other columns: its first data are judged by themselves, and then again by the last."""
    known = draft.model(event.model)
    about = {"before": known.definition, "source": known.source_digest}
    draft.pair(event.model, pairs.after_definition, entry, event, **about)
    draft.change(
        event.model,
        definition=event.definition,
        source_digest=event.source_digest,
        sources=(*draft.model(event.model).sources, (entry.position, event.source_digest)),
        defined_at=entry.position,
        profile=None,
    )


def _registered(draft: Draft, entry: Recorded, event: VersionRegistered) -> None:
    known = draft.versions.get((event.model, event.version))
    draft.versions[event.model, event.version] = Version(
        model=event.model,
        id=event.version,
        digest=event.digest,
        size=event.size,
        summary=event.summary,
        run=event.run,
        registered_by=event.by,
        registered_at=entry.time,
        stage=stages.following(known.stage if known else None, VersionRegistered, entry),
    )
    draft.digests[event.model, event.digest] = event.version
    draft.change(event.model, version_count=draft.model(event.model).version_count + 1)
    if event.run in draft.runs and draft.runs[event.run].version is None:
        draft.runs[event.run] = replace(draft.runs[event.run], version=event.version)


def _tried(draft: Draft, entry: Recorded, event: VersionTried) -> None:
    trial = Trial(
        environment=event.environment,
        passed=event.passed,
        reason=event.reason,
        against=event.against,
        position=entry.position,
        time=entry.time,
    )
    trials = draft.versions[event.model, event.version].trials
    draft.change_version(event.model, event.version, trials={**trials, event.environment: trial})


def _judged(draft: Draft, entry: Recorded, event: VerdictReached) -> None:
    judgement = Judgement(
        position=entry.position,
        time=entry.time,
        passed=event.passed,
        champion=event.champion,
        evidence=event.evidence,
        rows=event.verdict.get("rows"),
        until=event.until,
        mode=(draft.model(event.model).definition or {}).get("promotion", {}).get("mode", "propose"),
        evidence_age=timedelta(seconds=max(0.0, event.facts.get("evidence_age_s", 0.0))),
        shadows=[gate["name"] for gate in event.verdict.get("gates", ()) if not gate["passed"]] == ["comparison"],
    )
    stage = draft.versions[event.model, event.version].stage
    if stage is not Stage.CHAMPION:
        stage = stages.following(stage, VerdictReached, entry, event.passed)
    draft.change_version(event.model, event.version, judgement=judgement, stage=stage)
    if event.until is not None:
        draft.change(event.model, judged=_newest_two(draft.model(event.model).judged, event.version, event.until))
    if event.profile is not None:
        draft.change(event.model, profile=event.profile)
    draft.pair(event.model, pairs.after_verdict, entry, event, shadows=judgement.shadows)


def _refitted(draft: Draft, entry: Recorded, event: VersionRefitted) -> None:
    """It stands on the verdict of its candidate, and takes that one's place in shadow."""
    candidate = draft.versions[event.model, event.of]
    passed = event.passed and candidate.judgement is not None and candidate.judgement.passed
    judgement = None if candidate.judgement is None else replace(candidate.judgement, passed=passed)
    stage = stages.following(draft.versions[event.model, event.version].stage, VersionRefitted, entry, passed)
    draft.change_version(event.model, event.version, judgement=judgement, stage=stage, refit_of=event.of)
    if not event.passed:
        return
    draft.pair(event.model, pairs.after_refit, entry, event.version, event.of)
    run = draft.versions[event.model, event.version].run
    if passed and run in draft.runs:
        draft.runs[run] = replace(draft.runs[run], version=event.version)


def _compared_live(draft: Draft, entry: Recorded, event: LiveCompared) -> None:
    judgement = Judgement(
        position=entry.position,
        time=entry.time,
        passed=True,
        champion=event.serving,
        evidence=event.evidence,
        rows=None,
        until=None,
        mode=(draft.model(event.model).definition or {}).get("promotion", {}).get("mode", "propose"),
        evidence_age=timedelta(0),
        live=True,
    )
    stage = stages.following(draft.versions[event.model, event.version].stage, LiveCompared, entry)
    draft.change_version(event.model, event.version, judgement=judgement, stage=stage)
    draft.pair(event.model, pairs.settled, entry, event.pair)


def _drifted(draft: Draft, entry: Recorded, event: DriftNoticed) -> None:
    """Known by its event alone."""


def _attention(draft: Draft, entry: Recorded, event: AttentionNeeded) -> None:
    note = Attention(
        position=entry.position,
        time=entry.time,
        version=event.version,
        run=event.run,
        reason=event.reason,
        remedy=event.remedy,
    )
    draft.change(event.model, attention=(*draft.model(event.model).attention[-99:], note))


def _started(draft: Draft, entry: Recorded, event: PromotionStarted) -> None:
    pending = Pending(
        key=event.key,
        version=event.version,
        replaces=event.replaces,
        how=event.how,
        by=event.by,
        reason=event.reason,
        position=entry.position,
        time=entry.time,
    )
    draft.change(event.model, pending=pending)


def _promoted(draft: Draft, entry: Recorded, event: VersionPromoted) -> None:
    model = draft.model(event.model)
    if model.champion is not None and model.champion != event.version:
        old = draft.versions[event.model, model.champion].stage
        draft.change_version(event.model, model.champion, stage=stages.following(old, stages.Replaced, entry))
    stage = stages.following(draft.versions[event.model, event.version].stage, VersionPromoted, entry)
    draft.change_version(event.model, event.version, stage=stage)
    promotion = Promotion(
        version=event.version,
        replaces=event.replaces,
        position=entry.position,
        time=entry.time,
        key=event.key,
        how=event.how,
        by=event.by,
        reason=event.reason,
        ground=event.ground,
        began=entry.position if model.pending is None else model.pending.position,
    )
    line = _walked_back(model.line, event) if event.how == "demotion" else (*model.line, event.version)
    if line[-1:] != (event.version,):
        raise stages.impossible(entry, f"a demotion to version {event.version}, which was not the champion before")
    draft.change(event.model, line=line, promotions=(*model.promotions, promotion), pending=None)
    judgement = draft.versions[event.model, event.version].judgement
    draft.pair(event.model, pairs.after_promotion, entry, event, judgement)


def _walked_back(line: tuple[str, ...], event: VersionPromoted) -> tuple[str, ...]:
    """The champions up to the one before; where nobody asked for it, some are stepped over."""
    if event.by != "api":
        return line[:-1]
    places = range(len(line) - 1, 0, -1)
    return next((line[:place] for place in places if line[place - 1] == event.version), ())


def _aborted(draft: Draft, entry: Recorded, event: PromotionAborted) -> None:
    pending = draft.model(event.model).pending
    if pending is not None and pending.key == event.key:
        draft.change(event.model, pending=None)


def _requested(draft: Draft, entry: Recorded, event: RunRequested) -> None:
    model = draft.model(event.model)
    draft.runs[event.run] = Run(
        id=event.run,
        model=event.model,
        job=event.job,
        slot=event.slot,
        as_of=event.as_of,
        params=event.params,
        start_date=event.start_date,
        end_date=event.end_date,
        like=event.like,
        requested_by=event.by,
        requested_at=entry.time,
    )
    draft.slots[event.model, event.job, event.slot] = event.run
    draft.change(
        event.model,
        first=event.run if event.slot.startswith("first") else model.first,
        open_runs=(*model.open_runs, event.run),
        run_count=model.run_count + 1,
        last_slot=_later(model.last_slot, event.slot),
    )


def _claimed(draft: Draft, entry: Recorded, event: RunClaimed) -> None:
    draft.runs[event.run] = replace(
        draft.runs[event.run],
        state=RunState.RUNNING,
        token=entry.position,
        attempt=event.attempt,
        claimant=event.claimant,
        claimed_at=entry.time,
    )


def _abandoned(draft: Draft, entry: Recorded, event: RunAbandoned) -> None:
    draft.runs[event.run] = replace(
        draft.runs[event.run], state=RunState.QUEUED, token=None, claimant=None, reason=event.why
    )


def _finished(draft: Draft, entry: Recorded, event: RunFinished) -> None:
    draft.runs[event.run] = replace(
        draft.runs[event.run],
        state=RunState(event.outcome),
        token=None,
        ended_by=event.token,
        finished_at=entry.time,
        reason=event.reason,
        version=event.version or draft.runs[event.run].version,
        result=event.result,
    )
    left = tuple(run for run in draft.model(event.model).open_runs if run != event.run)
    draft.change(event.model, open_runs=left)


def _missed(draft: Draft, entry: Recorded, event: SlotsMissed) -> None:
    draft.change(event.model, last_slot=_later(draft.model(event.model).last_slot, event.last))


def _skipped(draft: Draft, entry: Recorded, event: SlotSkipped) -> None:
    draft.skipped[event.model, event.job, event.slot] = event.reason
    draft.change(event.model, last_slot=_later(draft.model(event.model).last_slot, event.slot))


def _died(draft: Draft, entry: Recorded, event: ProcessDied) -> None:
    """A process that was calling no version is known by its event alone."""
    if event.version is None or draft.model(event.model).knows(event):
        return
    death = Death(position=entry.position, time=entry.time, version=event.version, how=event.how, mark=event.mark)
    draft.change(event.model, deaths=(*draft.model(event.model).deaths[-19:], death))


APPLY: Mapping[type[Event], Callable[[Draft, Recorded, Any], None]] = {
    ModelDefined: _defined,
    VersionRegistered: _registered,
    VersionTried: _tried,
    VerdictReached: _judged,
    VersionRefitted: _refitted,
    LiveCompared: _compared_live,
    DriftNoticed: _drifted,
    AttentionNeeded: _attention,
    PromotionStarted: _started,
    VersionPromoted: _promoted,
    PromotionAborted: _aborted,
    RunRequested: _requested,
    RunClaimed: _claimed,
    RunAbandoned: _abandoned,
    RunFinished: _finished,
    SlotsMissed: _missed,
    SlotSkipped: _skipped,
    ProcessDied: _died,
}


def _later(known: str | None, slot: str) -> str | None:
    """The newer of two slots; `first/2` and what was named by hand are no times."""
    if due_time(slot) is None:
        return known
    return slot if known is None else max(known, slot)


def _newest_two(
    judged: tuple[tuple[str, str | int], ...], version: str, until: str | int
) -> tuple[tuple[str, str | int], ...]:
    """The two latest ends of a holdout, of different versions, oldest first.

    A model that was given a time column has clocks of two kinds in its history; the newest verdict says which counts.
    """
    others = [(other, end) for other, end in judged if other != version and type(end) is type(until)]
    return tuple(sorted([*others, (version, until)], key=lambda end: end[1])[-2:])
