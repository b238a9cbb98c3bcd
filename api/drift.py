"""`/models/{model}/drift`: what the scheduler has measured without labels, and what follows. Never a promotion."""

import logging
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request

from api.door import Door
from api.schemas import Drift
from api.service import Service, service_of
from understudy import drift_words
from understudy.adapters.drift_file import DriftFile
from understudy.drift import Kind, Report, settle
from understudy.errors import NotFound
from understudy.events import timestamp
from understudy.noticing import again, noticed

log = logging.getLogger(__name__)

router = APIRouter(route_class=Door, tags=["models"])


@router.post("/models/{model}/drift", name="report_drift", summary="Tell what has been measured of recent rows")
def report_drift(model: str, body: Drift, request: Request) -> dict[str, Any]:
    """The newest report is kept. Drift is noticed once for a version and kind of it, until it has calmed."""
    service, report = service_of(request), Report.from_json({**body.report, "version": body.version})
    if service.journal.newest().model(model).champion != report.version:
        return {"kept": False, "noticed": []}
    file = file_of(service, model)
    with file.held():
        before = file.read() or {}
        known = before["noticed"] if before.get("version") == report.version else []
        news, now_noticed = settle(report, known)
        if news:
            service.journal.decide(lambda state, now: noticed(state, model, report, news, now))
        elif now_noticed and again(service.journal.state, model, report.version, service.journal.now()):
            service.journal.decide(lambda state, now: again(state, model, report.version, now))
        file.write(
            {
                "version": report.version,
                "time": timestamp(service.journal.wall_clock()),
                "noticed": sorted(now_noticed),
                "report": report.to_json(),
            }
        )
    _tell(model, report, news)
    return {"kept": True, "noticed": sorted(news)}


def _tell(model: str, report: Report, news: Iterable[Kind]) -> None:
    """On the console too: whoever reads no events hears of it once, as of a refused run."""
    for kind in sorted(news):
        about = {"action": "drift.noticed", "model": model, "version": report.version, "drift": kind}
        log.warning("drift of %s: %s", model, drift_words.reason(report, kind), extra=about)


@router.get("/models/{model}/drift", name="drift", summary="How far recent rows lie from those of the training")
def drift(model: str, request: Request) -> dict[str, Any]:
    """The newest report, and what it says in words. Effects are shares of the rows, from 0 to 1."""
    service = service_of(request)
    service.journal.newest().model(model)
    found = file_of(service, model).read()
    if found is None:
        raise NotFound(
            f"Nothing has been measured of {model} yet.",
            remedy="A scheduler looks once a minute, where predictions are recorded.",
        )
    report = Report.from_json(found["report"])
    beyond = [{"name": one.name, "measure": one.measure} for one in report.columns if one.beyond]
    return {"model": model, **found, "beyond": beyond, "words": list(drift_words.of_report(report))}


def file_of(service: Service, model: str) -> DriftFile:
    return DriftFile(service.settings.var / "drift", model)
