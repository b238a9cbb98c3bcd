"""Is this process alive, and is it ready: the routes, and the facts that a verdict rests on."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from api.door import Door
from api.journal import Journal
from api.serving import ServingTable

router = APIRouter(route_class=Door, tags=["health"])

FRESH_FOR_S = 5.0
"""How long after the last successful look at the log a process counts as ready."""


class Health:
    """Ready: the log was read within 5 s and extends what was read before, and every champion is loaded here."""

    def __init__(self, journal: Journal, table: ServingTable) -> None:
        self._journal, self._table = journal, table

    def reason(self) -> str | None:
        """Why this process is not ready; None where it is."""
        if self._journal.damage is not None:
            return self._journal.damage.problem
        if self._journal.age_s() > FRESH_FOR_S:
            return f"The log was last read {self._journal.age_s():.0f} s ago."
        serving = self._table.versions()
        for name, model in self._journal.state.models.items():
            if model.champion is not None and name not in serving:
                return f"The champion of {name} is not loaded. {self._table.lacks.get(name, '')}".rstrip()
        return None

    def facts(self) -> Mapping[str, Any]:
        reason = self.reason()
        return {"ready": reason is None, "reason": reason or "ready", "age_s": round(self._journal.age_s(), 3)}


@router.get("/health", name="health", summary="Does the process answer?")
async def health() -> dict[str, str]:
    return {"status": "ok"}


NOT_READY = {"description": "It is not, and says why", "content": {"application/json": {"schema": {"type": "object"}}}}


@router.get("/ready", name="ready", summary="Is it fit to answer predictions?", responses={503: NOT_READY})
async def ready(request: Request, response: Response) -> dict[str, Any]:
    service = request.app.state.service
    facts = service.health.facts()
    if service.stopping.is_set():
        facts = {**facts, "ready": False, "reason": "This process is stopping."}
    response.status_code = 200 if facts["ready"] else 503
    return {
        **facts,
        "position": service.journal.state.position,
        "models": service.table.versions(),
        "workers": [{"worker": sign.worker, **sign.to_json()} for sign in service.roster.last],
    }
