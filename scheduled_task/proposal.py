"""From a trained bundle to a champion, as far as the API lets it go: register, hand in the evidence, promote.

What passed is promoted as its refit, where there is one that holds. What the comparison alone refused is refitted, too:
it shadows the champion.

Each step may be asked twice: the same bytes are the same version, and a promotion carries the run as its key. So a
step whose answer was lost is simply repeated, also by the next attempt at the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduled_task.claim import Claim, Hold
from understudy.adapters.api_client import ApiClient
from understudy.errors import Conflict, Forbidden, NoGround, Unavailable, UnderstudyError
from understudy.events import Outcome


@dataclass(frozen=True)
class Ending:
    """How a run ends."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Made:
    """A bundle and the evidence for it, as digests of blobs in the store."""

    bundle: str
    evidence: str


def propose(api: ApiClient, hold: Hold, claim: Claim, candidate: Made, refit: Made | None) -> Ending:
    """Register the candidate, have its evidence judged, and promote what passed."""
    try:
        return _judged(api, hold, claim, candidate, refit)
    except Unavailable:
        raise
    except UnderstudyError as error:
        return Ending("failed", str(error))


def _judged(api: ApiClient, hold: Hold, claim: Claim, candidate: Made, refit: Made | None) -> Ending:
    version, trial = _registered(api, hold, claim, candidate.bundle)
    if trial is None or not trial["passed"]:
        return Ending("refused", f"trial: {trial['reason'] if trial else 'there was none'}")
    route, body = f"{_versions(claim)}/{version}/evidence", {"evidence": candidate.evidence, **claim.ticket}
    verdict = hold.until_answered(lambda: api.post(route, body))["verdict"]
    refused_by = [gate["name"] for gate in verdict["gates"] if not gate["passed"]]
    if refit is None or refused_by not in ([], ["comparison"]):
        return conclude(api, hold, claim, version, verdict)
    better, said = _refitted(api, hold, claim, version, refit)
    ended = conclude(api, hold, claim, better or version, verdict)
    return ended if better else Ending(ended.outcome, f"{ended.reason} Its refit does not stand: {said}")


def _versions(claim: Claim) -> str:
    return f"/models/{claim.model['name']}/versions"


def _registered(api: ApiClient, hold: Hold, claim: Claim, bundle: str) -> tuple[str, Mapping[str, Any] | None]:
    """The version that a bundle is, and its trial."""
    body = {"digest": bundle, **claim.ticket}
    version = hold.until_answered(lambda: api.post(_versions(claim), body))
    return version["version"], version["trial"]


def _refitted(api: ApiClient, hold: Hold, claim: Claim, of: str, refit: Made) -> tuple[str | None, str]:
    """The refit's version where it may stand on the verdict of `of`, or None; and what was said of it."""
    version, _ = _registered(api, hold, claim, refit.bundle)
    route, body = f"{_versions(claim)}/{version}/refit", {"of": of, "evidence": refit.evidence, **claim.ticket}
    said = hold.until_answered(lambda: api.post(route, body))
    return (version if said["passed"] else None), said["reason"]


def conclude(api: ApiClient, hold: Hold, claim: Claim, version: str, verdict: Mapping[str, Any]) -> Ending:
    """Promote a judged version, if its verdict and the policy say so."""
    if not verdict["passed"]:
        return Ending("refused", reasons(verdict))
    waits = Ending("succeeded", f"Version {version} passed and waits for a person.")
    if claim.model["definition"]["promotion"]["mode"] != "auto":
        return waits
    wish = {"model_name": claim.model["name"], "model_version_id": version, **claim.ticket}
    champion = None if claim.champion is None else f'"{claim.champion["version"]}"'
    headers = {"Idempotency-Key": claim.id, "If-Match": champion}
    try:
        hold.until_answered(lambda: api.post("/model/promote", wish, headers=headers))
    except Forbidden:
        return waits
    except (NoGround, Conflict) as error:
        return Ending("refused", str(error))
    return Ending("succeeded", f"Version {version} was promoted.")


def reasons(verdict: Mapping[str, Any]) -> str:
    """Why it was refused, in the words of the gates that failed."""
    return " ".join(gate["reason"] for gate in verdict["gates"] if not gate["passed"])
