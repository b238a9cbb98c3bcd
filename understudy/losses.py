"""The losses of a case, row by row: the candidate's, the champion's, and those of the constant predictor.

By the loss that the policy names: one of ours, computed here from what both models answered; or the owner's own, which
the scheduler has computed, for the API never has the function.
"""

from collections.abc import Mapping
from typing import Any

from understudy.case import Case
from understudy.compare import LOSSES, Comparison, compare, constant_outputs, row_losses, undecided
from understudy.evidence import Evidence, OwnLosses
from understudy.metrics import FloatArray
from understudy.policy import OWN, Loss, Promotion
from understudy.profile import QUANTILES


def compared(case: Case) -> Comparison:
    """Candidate against champion, or against the constant predictor where none serves.

    Raises what `losses` and `constant_losses` raise.
    """
    evidence = case.evidence
    if evidence is None:
        return undecided(0, "There is no evidence.")
    if evidence.candidate != case.digest or evidence.champion != case.champion_digest:
        return undecided(evidence.n, "The evidence is not about this candidate and this champion.")
    policy = Promotion.from_json(case.policy)
    return compare(*both_losses(case, evidence), bar=policy.bar, cannot_tell=policy.cannot_tell)


def paired(policy: Mapping[str, Any], evidence: Evidence) -> tuple[FloatArray, FloatArray | None]:
    """Candidate's and champion's losses by a policy, each of shape (n,); None where the evidence has no champion.

    Raises ValueError where the owner's loss does not fit the task, or is not there.
    """
    own, there = _own(policy, evidence), evidence.champion_out is not None
    if own is None:
        loss, labels = _loss(policy, evidence), evidence.labels
        other = None if evidence.champion_out is None else row_losses(loss, evidence.champion_out, labels)
        return row_losses(loss, evidence.candidate_out, labels), other
    if there and own.champion is None:
        raise ValueError(f"the champion's losses by `{own.name}` are missing")
    return own.candidate, own.champion if there else None


def losses(case: Case, evidence: Evidence) -> FloatArray:
    """The candidate's, shape (n,). Raises as `paired` does."""
    return paired(case.policy, evidence)[0]


def both_losses(case: Case, evidence: Evidence) -> tuple[FloatArray, FloatArray]:
    """The candidate's, and the champion's or the constant predictor's where there is none. Raises as both do."""
    candidate, champion = paired(case.policy, evidence)
    return candidate, constant_losses(case, evidence) if champion is None else champion


def constant_losses(case: Case, evidence: Evidence) -> FloatArray:
    """Those of the constant predictor, shape (n,). Raises ValueError where the profile does not tell what it says."""
    own = _own(case.policy, evidence)
    if own is not None:
        return own.constant
    constant = constant_outputs(evidence.task, _baseline(case, evidence), evidence.n)
    return row_losses(_loss(case.policy, evidence), constant, evidence.labels)


def _own(policy: Mapping[str, Any], evidence: Evidence) -> OwnLosses | None:
    """The losses by the owner's function; None where the policy names none."""
    name = Promotion.from_json(policy).loss_name
    if name is None or not name.startswith(OWN):
        return None
    if evidence.own is None or f"{OWN}{evidence.own.name}" != name:
        raise ValueError(f"the evidence does not hold the losses by `{name.removeprefix(OWN)}`")
    return evidence.own


def _baseline(case: Case, evidence: Evidence) -> Mapping[str, Any]:
    """What the fitted rows say, as they were measured: what the candidate's own manifest says of them is a claim."""
    if case.profile is None:
        raise ValueError("nobody has measured the data that it learnt from, so there is no constant predictor")
    label = (case.profile.fitted or case.profile.whole).label
    if evidence.classes is None and label.quantiles is not None:
        return {"median": label.quantiles[QUANTILES // 2]}
    names, counts = [str(name) for name in evidence.classes or ()], label.counts
    if counts is None or not counts.keys() <= set(names):
        raise ValueError("the profile is about another task or other classes")
    return {"shares": [counts.get(name, 0) / sum(counts.values()) for name in names]}


def _loss(policy: Mapping[str, Any], evidence: Evidence) -> Loss:
    fitting = LOSSES[evidence.task]
    name = Promotion.from_json(policy).loss_name or fitting[0]
    for loss in fitting:
        if loss == name:
            return loss
    raise ValueError(f"the loss {name} does not fit a {evidence.task} task")
