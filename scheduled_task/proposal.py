"""From a trained bundle to a champion, as far as the API lets it go: register, hand in the evidence, promote.

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


def propose(api: ApiClient, hold: Hold, claim: Claim, bundle: str, evidence: str) -> Ending:
    """Register `bundle`, have `evidence` judged and promote what passed. Both are digests of blobs in the store."""
    try:
        return _judged(api, hold, claim, bundle, evidence)
    except Unavailable:
        raise
    except UnderstudyError as error:
        return Ending("failed", str(error))


def _judged(api: ApiClient, hold: Hold, claim: Claim, bundle: str, evidence: str) -> Ending:
    route = f"/models/{claim.model['name']}/versions"
    version = hold.until_answered(lambda: api.post(route, {"digest": bundle, **claim.ticket}))
    trial = version["trial"]
    if trial is None or not trial["passed"]:
        return Ending("refused", f"trial: {trial['reason'] if trial else 'there was none'}")
    judged = hold.until_answered(
        lambda: api.post(f"{route}/{version['version']}/evidence", {"evidence": evidence, **claim.ticket})
    )
    return conclude(api, hold, claim, version["version"], judged["verdict"])


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
