"""Evidence in, verdict out: the gates that a candidate must pass before it may be promoted.

    data         nothing was wrong with the rows that it learnt from
    api          the service that would serve it is healthy
    trial        it was loaded and questioned in a limited process, with today's libraries
    signature    clients may go on sending what they send, and read the answers as they do
    holdout      both models answered the same fresh rows, which neither has seen, a moment ago
    sanity       its answers are finite, in range, and not always the same
    floors       it beats the constant predictor, and keeps the owner's limits
    latency      it is not much slower than the champion, and keeps the owner's limit
    comparison   its loss on those rows is lower than the champion's, and that is hardly chance

Everything here is a pure function of the stored evidence. Whatever is missing, broken, about something else or too old
counts as no.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from understudy import quality
from understudy.compare import LOSSES, MIN_ROWS, Comparison, Loss, compare, constant_outputs, row_losses, undecided
from understudy.compatibility import differences
from understudy.errors import BadInput
from understudy.events import VersionTried
from understudy.evidence import Clock, Evidence
from understudy.metrics import METRICS, FloatArray
from understudy.model import Promotion
from understudy.profile import Profile
from understudy.signature import Signature
from understudy.verdict import GateResult, Name, Scalar, Verdict

__all__ = ["GATES", "Case", "Champion", "GateResult", "Verdict", "judge"]

T = TypeVar("T")

STALE_S = 600.0
"""A fact that was measured longer ago says nothing about now."""
EARLY_S = -60.0
"""Two clocks may differ a little; a fact measured further in the future is no fact."""
ROUNDS = 5
"""Rounds of the trial in which candidate and champion answer in alternation."""
ROUNDS_NEEDED = 4
SLOWER = 1.5
"""Times the champion's latency. A ratio alone would veto by noise where an answer takes microseconds, hence: and"""
SLOWER_MS = 0.5
FAR = 10.0
"""Ranges of all labels that a prediction may lie outside of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The version that serves now."""

    version: str
    digest: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything a verdict is reached from. None: nobody has measured it, or there is none."""

    policy: Mapping[str, Any]
    """What `Promotion.to_json()` says."""
    ranges: quality.Ranges
    digest: str
    """Of the candidate's bundle."""
    size: int
    """Bytes of it."""
    manifest: Mapping[str, Any]
    champion: Champion | None
    trial: VersionTried | None
    """The candidate's newest trial."""
    environment: str
    """Fingerprint of the libraries that would serve it."""
    evidence: Evidence | None
    evidence_age_s: float | None
    profile: Profile | None
    """Of the snapshot that the candidate was trained on."""
    reference: Profile | None
    """Of the last accepted snapshot under the same definition."""
    judged_until: Clock | None
    """Clock of the last row that an earlier verdict of this model has used; they are never used twice."""
    api: Mapping[str, Any] | None
    """{"ready": bool, "reason": str, "age_s": float}"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition of a gate."""

    holds: bool
    observed: Scalar
    limit: Scalar
    reason: str
    """What is wrong where it does not hold."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What to say of a gate whose rules all hold."""

    observed: Scalar
    limit: Scalar
    reason: str


Rules = tuple[Sequence[Rule], Passed]


def judge(case: Case) -> Verdict:
    """Reach the verdict. Whatever was measured or sent, it does not raise: what cannot be judged fails its gate."""
    comparison = _safely(lambda: _compared(case), lambda why: undecided(0, why))
    gates = (*(_gate(name, case) for name in GATES), _comparison_gate(comparison))
    return Verdict(
        passed=all(gate.passed for gate in gates),
        rows=None if case.evidence is None else case.evidence.row_set,
        comparison=comparison,
        gates=gates,
    )


def _gate(name: Name, case: Case) -> GateResult:
    def no(why: str) -> GateResult:
        return GateResult(name=name, passed=False, observed=None, limit=None, reason=why)

    return _safely(lambda: _result(name, *GATES[name](case)), no)


def _safely(decide: Callable[[], T], no: Callable[[str], T]) -> T:
    try:
        return decide()
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, BadInput) as error:
        return no(f"This could not be judged ({type(error).__name__}: {str(error)[:120]}).")


def _result(name: Name, rules: Sequence[Rule], passed: Passed) -> GateResult:
    """The numbers of the first rule that fails, and the reasons of all that do."""
    failed = [rule for rule in rules if not rule.holds]
    said = failed[0] if failed else passed
    reason = " ".join(rule.reason for rule in failed) or passed.reason
    return GateResult(name=name, passed=not failed, observed=said.observed, limit=said.limit, reason=reason)


def _missing(what: str) -> Rules:
    return [Rule(False, None, "present", what)], Passed(None, None, "")


# ── the gates ────────────────────────────────────────────────────────────────────────────────────


def _data(case: Case) -> Rules:
    profile = case.profile
    if profile is None:
        return _missing("Nobody has measured the data that it learnt from.")
    findings = quality.check(profile, case.reference, case.ranges)
    end = profile.end if case.evidence is None else case.evidence.end
    other = "The profile is that of another snapshot: the judged rows are not in it."
    return [
        Rule(end <= profile.end, profile.end, end, other),  # type: ignore[operator]  # times or row numbers, both
        *(Rule(False, finding.observed, finding.limit, finding.reason) for finding in findings),
    ], Passed(0, 0, _data_in_words(case, profile))


def _data_in_words(case: Case, profile: Profile) -> str:
    new = 0 if profile.new is None else profile.new.rows
    fine = f"Nothing is wrong with {profile.whole.rows} rows, {new} of them new."
    names = () if case.reference else quality.suspicious(profile)
    return " ".join([fine, *(f"But is `{n}`, which alone tells the label, known beforehand?" for n in names)])


def _api(case: Case) -> Rules:
    api = case.api
    if api is None:
        return _missing("Nobody has looked whether the API is healthy.")
    ready = api["ready"] is True
    return [
        _fresh(api["age_s"], "The API's health"),
        Rule(ready, "not ready", "ready", f"The API is not ready: {str(api['reason'])[:200]}"),
    ], Passed("ready", "ready", "The API is healthy and ready.")


def _fresh(age_s: float | None, what: str) -> Rule:
    if age_s is None or not math.isfinite(age_s):
        return Rule(False, None, STALE_S, f"{what} has no age.")
    reason = f"{what} was measured {age_s:.0f} s ago; at most {STALE_S:.0f} s ago counts."
    return Rule(EARLY_S <= age_s <= STALE_S, float(age_s), STALE_S, reason)


def _trial(case: Case) -> Rules:
    trial = case.trial
    if trial is None:
        return _missing("It has not been tried.")
    libraries = "It was tried with other libraries than those that would serve it."
    return [
        Rule(trial.digest == case.digest, trial.digest[:12], case.digest[:12], "The trial is that of another bundle."),
        Rule(trial.environment == case.environment, trial.environment[:12], case.environment[:12], libraries),
        Rule(trial.passed is True, "failed", "passed", f"The trial failed: {trial.reason}"),
    ], Passed("passed", "passed", "It loads and answers its golden rows.")


def _signature(case: Case) -> Rules:
    if case.champion is None:
        return [], Passed(None, None, "There is no champion to be compatible with.")
    before, now = (Signature.from_json(one["signature"]) for one in (case.champion.manifest, case.manifest))
    noticed = differences(before, now)
    if noticed:
        noticed.append("Clients would notice: promote it by hand, with a reason, once they are ready.")
    rules = [Rule(False, "changed", "compatible", difference) for difference in noticed]
    return rules, Passed("compatible", "compatible", "Clients may go on as they do.")


def _holdout(case: Case) -> Rules:
    evidence = case.evidence
    if evidence is None:
        return _missing("There is no evidence.")
    said = case.manifest["signature"]
    same_task = evidence.task == said["task"] and evidence.classes == _tuple(said["classes"])
    seen = [("the candidate was trained on", case.manifest["data"]["cut"])]
    if case.champion is not None:
        seen.append(("the champion was trained on", case.champion.manifest["data"]["cut"]))
    if case.judged_until is not None:
        seen.append(("an earlier verdict has used", case.judged_until))
    about_other = "The evidence is about another candidate."
    return [
        Rule(evidence.model == case.manifest["model"], evidence.model, case.manifest["model"], about_other),
        Rule(evidence.candidate == case.digest, evidence.candidate[:12], case.digest[:12], about_other),
        _same_champion(evidence, case.champion),
        Rule(same_task, evidence.task, said["task"], "The evidence is about another task or other classes."),
        _fresh(case.evidence_age_s, "The evidence"),
        _enough(evidence.n),
        *(_later(evidence.start, moment, who) for who, moment in seen),
    ], Passed(evidence.n, MIN_ROWS, f"{evidence.n} fresh rows, from {evidence.start} to {evidence.end}.")


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _same_champion(evidence: Evidence, champion: Champion | None) -> Rule:
    now = None if champion is None else champion.digest
    observed, limit = (digest and digest[:12] for digest in (evidence.champion, now))
    reason = "The evidence is against another champion than the one that serves now."
    return Rule(evidence.champion == now, observed, limit, reason)


def _enough(n: int) -> Rule:
    return Rule(n >= MIN_ROWS, n, MIN_ROWS, f"There are {n} rows to judge by, at least {MIN_ROWS} are needed.")


def _later(start: Clock, seen: Clock, who: str) -> Rule:
    later = type(start) is type(seen) and start > seen  # type: ignore[operator]  # both are times or both are numbers
    return Rule(later, start, seen, f"The rows begin at {start}, and {who} those up to {seen}.")


def _sanity(case: Case) -> Rules:
    evidence = case.evidence
    if evidence is None:
        return _missing("There is no evidence.")
    out = evidence.candidate_out
    finite = np.isfinite(out) if out.ndim == 1 else np.isfinite(out).all(axis=1)
    silent = int((~finite).sum())
    outside = int((~_in_range(case, evidence)[finite]).sum())
    constant = bool(finite.any()) and np.ptp(out[finite], axis=0).max() <= 1e-12 and np.ptp(evidence.labels) > 0
    return [
        Rule(silent == 0, silent, 0, f"It gave no finite answer to {silent} of {evidence.n} rows."),
        Rule(outside == 0, outside, 0, f"Its answers to {outside} rows are out of all range."),
        Rule(not constant, "constant", "varies", "It answers the same to every row."),
    ], Passed(evidence.n, evidence.n, "All answers are finite and in range, and they vary.")


def _in_range(case: Case, evidence: Evidence) -> npt.NDArray[np.bool_]:
    """Which answers can be true at all: probabilities; or numbers not too far from any label ever seen."""
    out = evidence.candidate_out
    if evidence.task != "regression":
        within = ((out >= -1e-6) & (out <= 1 + 1e-6)).all(axis=1)
        return np.asarray(within & (abs(out.sum(axis=1) - 1) <= 1e-3))
    known = [*evidence.labels.tolist(), *((case.profile and case.profile.whole.label.quantiles) or [])]
    low, high = min(known), max(known)
    far = FAR * (high - low)
    return np.asarray((out >= low - far) & (out <= high + far)) if far else np.isfinite(out)


def _floors(case: Case) -> Rules:
    policy, evidence = Promotion.from_json(case.policy), case.evidence
    if evidence is None:
        return _missing("There is no evidence.")
    if not np.isfinite(evidence.candidate_out).all():
        return _missing("Not every answer is a finite number, so nothing can be measured.")
    own, constant = (float(losses.mean()) for losses in (_losses(case, evidence), _constant_losses(case, evidence)))
    worse = f"Its loss, {own:.4g}, is not below that of the constant predictor, {constant:.4g}."
    size, most = case.size / 1e6, policy.max_size_mb
    return [
        Rule(own < constant, own, constant, worse),
        *(_floor(metric, limit, evidence) for metric, limit in policy.floors.items()),
        Rule(most is None or size <= most, size, most, f"The bundle has {size:.1f} MB, at most {most} are allowed."),
    ], Passed(
        own, constant, f"Its loss, {own:.4g}, is below the constant predictor's, {constant:.4g}; limits are kept."
    )


def _floor(name: str, limit: float, evidence: Evidence) -> Rule:
    metric = METRICS[name]
    if evidence.task not in metric.tasks:
        return Rule(False, None, limit, f"A floor is set on `{name}`, which does not fit a {evidence.task} task.")
    value = metric.of(evidence.candidate_out, evidence.labels)
    kept = value >= limit if metric.higher_is_better else value <= limit
    least = "at least" if metric.higher_is_better else "at most"
    return Rule(kept, value, limit, f"Its {name} is {value:.4g}; the owner wants {least} {limit:g}.")


def _latency(case: Case) -> Rules:
    trial, most = case.trial, Promotion.from_json(case.policy).max_latency_ms
    if trial is None or trial.digest != case.digest:
        return _missing("Its latency was not measured.")
    own = _rounds(trial.report["latency"]["candidate_ms"])
    middle = median(own)
    slow = f"An answer takes {middle:.3g} ms, at most {most} are allowed."
    rules = [Rule(most is None or middle <= most, middle, most, slow)]
    if case.champion is None:
        return rules, Passed(middle, most, f"An answer takes {middle:.3g} ms.")
    other = f"Its latency was measured beside version {trial.against}, and {case.champion.version} serves now."
    if trial.against != case.champion.version:
        return [*rules, Rule(False, trial.against, case.champion.version, other)], Passed(None, None, "")
    champion = _rounds(trial.report["latency"]["champion_ms"])
    limit = max(SLOWER * median(champion), median(champion) + SLOWER_MS)
    rounds = sum(a - b > SLOWER_MS for a, b in zip(own, champion, strict=True))
    veto = middle > SLOWER * median(champion) and rounds >= ROUNDS_NEEDED
    beside = f"An answer takes {middle:.3g} ms, the champion's {median(champion):.3g} ms"
    slower = (
        f"{beside}: more than {SLOWER:g} times that, and over {SLOWER_MS:g} ms more in {rounds} of {ROUNDS} rounds."
    )
    return [*rules, Rule(not veto, middle, limit, slower)], Passed(middle, limit, f"{beside}.")


def _rounds(measured: Any) -> list[float]:
    found = [float(one) for one in measured or ()]
    if len(found) != ROUNDS or not all(math.isfinite(one) and one >= 0 for one in found):
        raise ValueError(f"{ROUNDS} rounds of latency are needed")
    return found


GATES: Mapping[Name, Callable[[Case], Rules]] = {
    "data": _data,
    "api": _api,
    "trial": _trial,
    "signature": _signature,
    "holdout": _holdout,
    "sanity": _sanity,
    "floors": _floors,
    "latency": _latency,
}
"""In the order of the record; the comparison comes last."""


# ── the comparison ───────────────────────────────────────────────────────────────────────────────


def _compared(case: Case) -> Comparison:
    """Candidate against champion, or against the constant predictor where none serves."""
    evidence = case.evidence
    if evidence is None:
        return undecided(0, "There is no evidence.")
    if evidence.candidate != case.digest or not _same_champion(evidence, case.champion).holds:
        return undecided(evidence.n, "The evidence is not about this candidate and this champion.")
    if evidence.champion_out is None:
        other = _constant_losses(case, evidence)
    else:
        other = row_losses(_loss(case, evidence), evidence.champion_out, evidence.labels)
    return compare(_losses(case, evidence), other, bar=Promotion.from_json(case.policy).bar)


def _comparison_gate(found: Comparison) -> GateResult:
    return GateResult(
        name="comparison",
        passed=found.answer == "better",
        observed=found.answer,
        limit="better",
        reason=found.reason,
    )


def _loss(case: Case, evidence: Evidence) -> Loss:
    """Raises ValueError where the owner's loss does not fit the task."""
    loss = Promotion.from_json(case.policy).loss or LOSSES[evidence.task][0]
    if loss not in LOSSES[evidence.task]:
        raise ValueError(f"the loss {loss} does not fit a {evidence.task} task")
    return loss


def _losses(case: Case, evidence: Evidence) -> FloatArray:
    return row_losses(_loss(case, evidence), evidence.candidate_out, evidence.labels)


def _constant_losses(case: Case, evidence: Evidence) -> FloatArray:
    constant = constant_outputs(evidence.task, case.manifest["baseline"], evidence.n)
    if constant.shape != evidence.candidate_out.shape:
        raise ValueError("the baseline in the manifest is not that of this task")
    return row_losses(_loss(case, evidence), constant, evidence.labels)
