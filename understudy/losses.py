"""The losses of a case, row by row: the candidate's, the champion's, and those of the constant predictor."""

from collections.abc import Mapping
from typing import Any

from understudy.case import Case
from understudy.compare import LOSSES, Comparison, compare, constant_outputs, row_losses, undecided
from understudy.evidence import Evidence
from understudy.metrics import FloatArray
from understudy.model import Loss, Promotion
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
    if evidence.champion_out is None:
        other = constant_losses(case, evidence)
    else:
        other = row_losses(_loss(case, evidence), evidence.champion_out, evidence.labels)
    return compare(losses(case, evidence), other, bar=Promotion.from_json(case.policy).bar)


def losses(case: Case, evidence: Evidence) -> FloatArray:
    """The candidate's, shape (n,). Raises ValueError where the owner's loss does not fit the task."""
    return row_losses(_loss(case, evidence), evidence.candidate_out, evidence.labels)


def constant_losses(case: Case, evidence: Evidence) -> FloatArray:
    """Those of the constant predictor, shape (n,). Raises ValueError where the profile does not tell what it says."""
    constant = constant_outputs(evidence.task, _baseline(case, evidence), evidence.n)
    return row_losses(_loss(case, evidence), constant, evidence.labels)


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


def _loss(case: Case, evidence: Evidence) -> Loss:
    loss = Promotion.from_json(case.policy).loss or LOSSES[evidence.task][0]
    if loss not in LOSSES[evidence.task]:
        raise ValueError(f"the loss {loss} does not fit a {evidence.task} task")
    return loss
