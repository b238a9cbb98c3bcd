"""Evidence in, verdict out: the gates that a candidate must pass before it may be promoted.

    data         nothing was wrong with the rows that it learnt from
    api          the service that would serve it is healthy
    trial        it was loaded and questioned in a limited process, with today's libraries
    signature    clients may go on sending what they send, and read the answers as they do
    holdout      both models answered the same fresh rows, which neither has seen, a moment ago
    sanity       its answers are finite, in range, and not always the same
    floors       it beats the constant predictor, and keeps the owner's limits
    latency      it is not much slower than the champion, and keeps the owner's limit
    slices       in no slice of those rows that the owner names is its loss higher, beyond chance
    comparison   its loss on those rows is lower than the champion's, and that is hardly chance

Everything here is a pure function of the stored evidence. Whatever is missing, broken, about something else or too old
counts as no.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from understudy import quality
from understudy.case import Case, Champion
from understudy.compare import Comparison, undecided
from understudy.compatibility import differences
from understudy.errors import BadInput
from understudy.evidence import Evidence
from understudy.harm import sliced, slices
from understudy.holdout import holdout
from understudy.losses import compared, constant_losses, losses
from understudy.metrics import METRICS
from understudy.policy import Promotion
from understudy.profile import Profile
from understudy.rules import Passed, Rule, Rules, fresh, missing
from understudy.signature import Signature
from understudy.verdict import GateResult, Name, Verdict

__all__ = ["GATES", "Case", "Champion", "GateResult", "Verdict", "judge"]

T = TypeVar("T")

ROUNDS = 5
"""Rounds of the trial in which candidate and champion answer in alternation."""
ROUNDS_NEEDED = 4
SLOWER = 1.5
"""Times the champion's latency. A ratio alone would veto by noise where an answer takes microseconds, hence: and"""
SLOWER_MS = 0.5
LENIENT = "The policy promotes where nobody can tell."
FAR = 10.0
"""Ranges of all labels that a prediction may lie outside of it."""


def judge(case: Case, *, without: Collection[Name] = ()) -> Verdict:
    """Reach the verdict. Whatever was measured or sent, it does not raise: what cannot be judged fails its gate.

    `without`: gates that are left out, as if there were none of that name; nothing that this verdict says is recorded,
    it only shows what the other gates would have stopped.
    """
    comparison = _safely(lambda: compared(case), lambda why: undecided(0, why))
    every = (*(_gate(name, case) for name in GATES if name not in without), _comparison_gate(case, comparison))
    gates = tuple(gate for gate in every if gate.name not in without)
    return Verdict(
        passed=all(gate.passed for gate in gates),
        rows=None if case.evidence is None else case.evidence.row_set,
        comparison=comparison,
        gates=gates,
        slices=_safely(lambda: sliced(case), lambda why: ()),
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


def _comparison_gate(case: Case, found: Comparison) -> GateResult:
    enough = found.answer == "cannot_tell" and found.blocks > 0  # so the policy makes sense: the comparison has read it
    lenient = enough and Promotion.from_json(case.policy).cannot_tell == "promote"
    return GateResult(
        name="comparison",
        passed=found.answer == "better" or lenient,
        observed=found.answer,
        limit="not worse" if lenient else "better",
        reason=f"{found.reason} {LENIENT}" if lenient else found.reason,
    )


# ── the gates ────────────────────────────────────────────────────────────────────────────────────


def _data(case: Case) -> Rules:
    profile = case.profile
    if profile is None:
        return missing("Nobody has measured the data that it learnt from.")
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
        return missing("Nobody has looked whether the API is healthy.")
    ready = api["ready"] is True
    return [
        fresh(api["age_s"], "The API's health"),
        Rule(ready, "not ready", "ready", f"The API is not ready: {str(api['reason'])[:200]}"),
    ], Passed("ready", "ready", "The API is healthy and ready.")


def _trial(case: Case) -> Rules:
    trial = case.trial
    if trial is None:
        return missing("It has not been tried.")
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


def _sanity(case: Case) -> Rules:
    evidence = case.evidence
    if evidence is None:
        return missing("There is no evidence.")
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
        return missing("There is no evidence.")
    if not np.isfinite(evidence.candidate_out).all():
        return missing("Not every answer is a finite number, so nothing can be measured.")
    own, constant = (float(each.mean()) for each in (losses(case, evidence), constant_losses(case, evidence)))
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
        return missing("Its latency was not measured.")
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
    "holdout": holdout,
    "sanity": _sanity,
    "floors": _floors,
    "latency": _latency,
    "slices": slices,
}
"""In the order of the record; the comparison comes last."""
