"""Versions on their way to a verdict: registered, tried, judged.

Nobody sends a verdict. What is sent is bytes and per-row evidence; the trial is run here, in a child process, and the
verdict is computed here, from what is stored.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.health import Health
from api.journal import Journal
from understudy import runs
from understudy.adapters import skops_form
from understudy.adapters.bundle import SKOPS, Parts, unpack
from understudy.adapters.cases import defined, load_case
from understudy.adapters.duty import Duty
from understudy.adapters.trial import TrialLimits, try_bundle
from understudy.errors import BadInput, BundleRefused, Forbidden, UncheckedContent
from understudy.events import AttentionNeeded, Event, Role, VerdictReached, VersionRegistered, VersionTried, moment
from understudy.evidence import Evidence
from understudy.gates import Case, judge
from understudy.ports import ArtifactStore
from understudy.state import Registry, Version
from understudy.verdict import Verdict

log = logging.getLogger(__name__)

SUMMARY = ("metric", "metrics", "params", "data", "serves", "why", "fingerprint", "libraries", "seed")


class Judge:
    """Registers, tries and judges versions."""

    def __init__(self, journal: Journal, store: ArtifactStore, environment: str, health: Health, trials: Duty) -> None:
        """`trials`: latency is measured, and two trials at once would measure each other."""
        self._journal, self._store, self._environment, self._health = journal, store, environment, health
        self._trials = trials

    def register(
        self, model: str, digest: str, by: Role, *, run: str | None = None, token: int | None = None
    ) -> tuple[Version, bool]:
        """Make the stored bundle `digest` a version and try it; True where it is new.

        The same digest is the same version. Raises BundleRefused, Forbidden, NotFound, StaleClaim.
        """
        data = self._store.get(digest)
        manifest = self.admitted(model, data, digest, by).manifest
        if manifest["model"] != model:
            raise BundleRefused(
                f"This bundle was trained for {manifest['model'][:64]!a}, not for {model}.", remedy="Register it there."
            )

        new: list[Event] = []

        def decide(state: Registry, now: datetime) -> list[Event]:
            held(state, model, run, token)
            known = (model, digest) in state.digests
            new[:] = [] if known else [registered(state, model, digest, len(data), manifest, run, by)]
            return new

        state = self._journal.decide(decide)
        version = state.digests[model, digest]
        self.tried(model, version)
        return self._journal.catch_up().version(model, version), bool(new)

    def admitted(self, model: str, data: bytes, digest: str, by: Role) -> Parts:
        """Take a bundle apart, and see that this role may bring what it holds; nothing of it is loaded.

        Raises BundleRefused; Forbidden where only the scheduler's role may bring such parts.
        """
        parts = unpack(data, digest=digest)
        if by != "scheduler" and SKOPS in parts.forms and (model, digest) not in self._journal.state.digests:
            try:
                skops_form.check(parts.forms[SKOPS], trees=False)
            except UncheckedContent as error:
                raise Forbidden(f"The {by} may not bring this. {error.problem}", remedy=error.remedy) from error
        return parts

    def tried(self, model: str, version: str) -> VersionTried:
        """The trial of a version in this environment, beside the version that serves now; run where there is none."""
        with self._trials.alone():
            state = self._journal.catch_up()
            found, champion = state.version(model, version), state.champion(model)
            known = found.trials.get(self._environment)
            against = champion.id if champion and champion.id != version else None
            # A failed trial may be run again: it can fail for want of time or memory on a busy machine.
            if known is not None and known.passed and against in (None, known.against):
                return self._trial_at(known.position)
            return self._try(found, champion if against else None)

    def _try(self, version: Version, champion: Version | None) -> VersionTried:
        report = try_bundle(
            self._store.get(version.digest),
            digest=version.digest,
            trees=version.registered_by == "scheduler",
            champion=None if champion is None else self._store.get(champion.digest),
            champion_digest=None if champion is None else champion.digest,
            limits=TrialLimits(),
        )
        event = VersionTried(
            model=version.model,
            version=version.id,
            digest=version.digest,
            environment=report.environment,
            passed=report.passed,
            reason=report.reason,
            report=report.report,
            against=None if champion is None else champion.id,
        )
        self._journal.decide(lambda state, now: [event])
        log.info(
            "trial of %s %s: %s",
            version.model,
            version.id,
            report.reason,
            extra={"action": "tried", "model": version.model, "version": version.id, "passed": report.passed},
        )
        return event

    def _trial_at(self, position: int) -> VersionTried:
        event = self._journal.entry(position).event
        assert isinstance(event, VersionTried)
        return event

    def judge(
        self, model: str, version: str, evidence: str, by: Role, *, run: str | None = None, token: int | None = None
    ) -> tuple[Verdict, int]:
        """Judge a version by stored evidence; return the verdict and its position.

        Raises BadInput where the evidence is none; NotFound; StaleClaim.
        """
        if by == "scheduler" and run is None:
            raise BadInput("The scheduler judges for a run.", remedy='Send "run" and "token" as it was claimed.')
        held(self._journal.catch_up(), model, run, token)  # whoever is late starts no trial either
        age = self._journal.wall_clock() - moment(Evidence.parse(self._store.get(evidence)).times_measured)
        measured = {
            "api": self._health.facts(),
            "environment": self._environment,
            "evidence_age_s": age.total_seconds(),
        }
        trial = self.tried(model, version)
        verdicts: list[Verdict] = []

        def decide(state: Registry, now: datetime) -> list[Event]:
            held(state, model, run, token)
            found = state.version(model, version).trials[self._environment]
            facts = {**measured, "trial": found.position}
            case = load_case(state, self._store, model, version, evidence=evidence, trial=trial, facts=facts)
            verdicts[:] = [judge(case)]
            event = reached(state, model, version, evidence, case, verdicts[0], facts)
            return [event, *attention(state, event, verdicts[0])]

        judgement = self._journal.decide(decide).version(model, version).judgement
        assert judgement is not None
        verdict = verdicts[0]
        self._tell(verdict, model, version)
        return verdict, judgement.position

    def _tell(self, verdict: Verdict, model: str, version: str) -> None:
        """Log the verdict; at WARNING what a person should look at."""
        waits = verdict.passed and not promotes_itself(self._journal.state, model)
        said = "passed" if verdict.passed else f"refused: {' '.join(verdict.reasons)}"
        log.log(
            logging.WARNING if waits or not verdict.passed else logging.INFO,
            "version %s of %s %s%s",
            version,
            model,
            said,
            ", and waits for a person" if waits else "",
            extra={"action": "judged", "model": model, "version": version, "passed": verdict.passed},
        )


def registered(
    state: Registry, model: str, digest: str, size: int, manifest: Mapping[str, Any], run: str | None, by: Role
) -> VersionRegistered:
    summary = {"task": manifest["signature"]["task"], **{key: manifest[key] for key in SUMMARY}}
    number = state.model(model).version_count + 1
    return VersionRegistered(
        model=model, version=str(number), digest=digest, size=size, summary=summary, run=run, by=by
    )


def reached(
    state: Registry, model: str, version: str, evidence: str, case: Case, verdict: Verdict, facts: Mapping[str, Any]
) -> VerdictReached:
    assert case.evidence is not None
    return VerdictReached(
        model=model,
        version=version,
        champion=state.model(model).champion,
        evidence=evidence,
        verdict=verdict.to_json(),
        facts=facts,
        until=case.evidence.end,
        profile=case.evidence.profile if verdict.gate("data").passed else None,
        passed=verdict.passed,
    )


def held(state: Registry, model: str, run: str | None, token: int | None) -> None:
    """Check the claim that a write of a run carries; a write by hand carries none."""
    state.model(model)
    runs.carried(state, model, run, token)


def promotes_itself(state: Registry, model: str) -> bool:
    return bool(defined(state, model)["promotion"]["mode"] == "auto")


def attention(state: Registry, event: VerdictReached, verdict: Verdict) -> list[Event]:
    """A refused version, and one that waits for a person, need somebody to look."""
    if verdict.passed and promotes_itself(state, event.model):
        return []
    name = f"Version {event.version} of {event.model}"
    return [
        AttentionNeeded(
            model=event.model,
            version=event.version,
            run=state.version(event.model, event.version).run,
            reason=f"{name} passed and waits for a person."
            if verdict.passed
            else f"{name}: " + " ".join(verdict.reasons),
            remedy=f"understudy promote {event.model} {event.version}"
            if verdict.passed
            else f"See `understudy why {event.model}`; to let it serve all the same, promote it with a --reason.",
        )
    ]
