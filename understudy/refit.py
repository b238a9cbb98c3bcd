"""The refit of a judged candidate: its recipe once more, on all rows with a label, the judged ones among them.

It has seen the rows of its candidate's verdict, so they cannot judge it; they can show that it is the same model,
only with more to learn from. It stands on that verdict if its loss on them is not above the candidate's by more than
2 %, and it passed a trial of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.compatibility import differences
from understudy.errors import BadInput
from understudy.evidence import Evidence
from understudy.losses import paired
from understudy.signature import Signature
from understudy.state import Judgement

MARGIN = 0.02
"""Of the candidate's loss, on rows that the refit has seen and the candidate has not."""
SAME_RECIPE = ("model", "params", "seed", "metric", "libraries")
"""What the manifests of both must say alike."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One of the two versions."""

    digest: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Whether the refit may stand on its candidate's verdict."""

    passed: bool
    reason: str
    loss: float | None
    candidate_loss: float | None

    def facts(self) -> dict[str, Any]:
        return {"loss": self.loss, "candidate_loss": self.candidate_loss, "margin": MARGIN}


def check(
    refit: Fitted,
    candidate: Fitted,
    *,
    policy: Mapping[str, Any],
    evidence: Evidence,
    judgement: Judgement | None,
    tried: tuple[bool, str],
) -> Checked:
    """Compare a refit with the candidate that it is made like.

    Args:
        evidence: the refit's answers beside the candidate's, on the rows of the candidate's verdict.
        judgement: that verdict.
        tried: whether the refit passed its trial, and what the trial said.
    """
    said = list(_differences(refit, candidate, evidence, judgement, tried))
    if said:
        return Checked(passed=False, reason=" ".join(said), loss=None, candidate_loss=None)
    try:
        own, other = paired(policy, evidence)
    except (ValueError, BadInput) as error:
        return Checked(passed=False, reason=f"It could not be judged: {error}.", loss=None, candidate_loss=None)
    assert other is not None  # the evidence is against the candidate
    return _held_against(float(own.mean()), float(other.mean()))


def _differences(
    refit: Fitted, candidate: Fitted, evidence: Evidence, judgement: Judgement | None, tried: tuple[bool, str]
) -> Iterator[str]:
    if judgement is None or judgement.live:
        yield "The version that it should be a refit of has no verdict."
    elif evidence.row_set != judgement.rows:
        yield "The evidence is not about the rows of that version's verdict."
    if (evidence.candidate, evidence.champion) != (refit.digest, candidate.digest):
        yield "The evidence is about other versions."
    if not tried[0]:
        yield f"Its trial failed: {tried[1]}"
    ours, theirs = refit.manifest, candidate.manifest
    for name in SAME_RECIPE:
        if ours[name] != theirs[name]:
            yield f"It was made with another `{name}`."
    if ours["data"]["digest"] != theirs["data"]["digest"]:
        yield "It was made from another snapshot."
    if ours["data"].get("judged_cut") != theirs["data"]["cut"]:
        yield "It was not made from the rows that its candidate was judged on."
    yield from differences(Signature.from_json(theirs["signature"]), Signature.from_json(ours["signature"]))
    if not np.isfinite(evidence.candidate_out).all():
        yield "It gave no finite answer to some of the rows."


def _held_against(loss: float, candidate: float) -> Checked:
    """Both losses, mean over the rows."""
    most = candidate * (1 + MARGIN) if candidate > 0 else candidate
    passed = loss <= most + 1e-12
    size = f"Its loss on the rows of that verdict, which it has learnt from since, is {loss:.4g}"
    limit = f"the candidate's was {candidate:.4g}, and {100 * MARGIN:g} % more are allowed"
    return Checked(passed=passed, reason=f"{size}; {limit}.", loss=loss, candidate_loss=candidate)
