"""Refits: made from all rows once their candidate was judged, and checked before they may stand on its verdict."""

import logging
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request

from api.door import Door
from api.judging import held
from api.schemas import RefitStored
from api.service import Service, role_of, service_of
from understudy.adapters.cases import defined
from understudy.errors import BadInput, Conflict
from understudy.events import Event, VersionRefitted
from understudy.evidence import Evidence
from understudy.refit import Fitted, check
from understudy.state import Registry, Stage, Version

router = APIRouter(route_class=Door, tags=["models"])
log = logging.getLogger(__name__)


@router.post("/models/{model}/versions/{version}/refit", name="refit", summary="Let a refit stand on a verdict")
def refit(model: str, version: str, body: RefitStored, request: Request) -> dict[str, Any]:
    """It does where it is the same recipe, no worse on the judged rows than its candidate, and passed its own trial."""
    if role_of(request) == "scheduler" and body.run is None:
        raise BadInput("The scheduler refits for a run.", remedy='Send "run" and "token" as it was claimed.')
    done = refitted(service_of(request), model, version, body)
    return {"model": model, "version": version, "of": done.of, "passed": done.passed, "reason": done.reason}


def refitted(service: Service, model: str, version: str, body: RefitStored) -> VersionRefitted:
    """Try and check it, and record what came of it."""
    held(service.journal.catch_up(), model, body.run, body.token)  # whoever is late starts no trial either
    trial = service.judge.tried(model, version)
    evidence = Evidence.parse(service.store.get(body.evidence))
    events: list[VersionRefitted] = []

    def decide(state: Registry, now: datetime) -> list[Event]:
        held(state, model, body.run, body.token)
        ours, candidate = state.version(model, version), state.version(model, body.of)
        check_free(ours, body.of)
        policy = defined(state, model)["promotion"]
        fitted = [Fitted(digest=one.digest, manifest=service.manifests.get(one.digest)) for one in (ours, candidate)]
        tried = trial.passed, trial.reason
        found = check(*fitted, policy=policy, evidence=evidence, judgement=candidate.judgement, tried=tried)
        events[:] = [
            VersionRefitted(
                model=model,
                version=version,
                of=body.of,
                evidence=body.evidence,
                passed=found.passed,
                reason=found.reason,
                facts=found.facts(),
            )
        ]
        return [*events] if ours.refit_of is None else []

    service.journal.decide(decide)
    done = events[0]
    log.log(
        logging.INFO if done.passed else logging.WARNING,
        "version %s of %s is the refit of %s%s: %s",
        version,
        model,
        done.of,
        "" if done.passed else ", and does not stand on its verdict",
        done.reason,
        extra={"action": "refitted", "model": model, "version": version, "passed": done.passed},
    )
    return done


def check_free(version: Version, of: str) -> None:
    """Raise Conflict where a version is something else already than a refit of `of`."""
    if version.refit_of == of:
        return
    if version.refit_of is not None or version.judgement is not None or version.stage is not Stage.CANDIDATE:
        raise Conflict(
            f"Version {version.id} of {version.model} is no refit of {of}: it was judged, promoted or refitted before.",
            remedy="Let it stand on what is recorded of it, or train again.",
        )
