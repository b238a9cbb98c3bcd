"""The API: `create_app(settings)` reads, opens and wires; `main()` serves it."""

import os

# Before numpy is imported anywhere: scikit-learn's histogram trees start an OpenMP pool per call, 8 ms a row instead of
# 0.7.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import (
    docs,
    drift,
    errors,
    events,
    feedback,
    health,
    inference,
    invocations,
    labelled,
    live,
    metrics,
    models,
    predictions,
    promotions,
    recorded,
    refits,
    runs,
)
from api.door import Door, Walls
from api.estate import sweep
from api.fit import protocol_class
from api.front import Front
from api.guard import Guard
from api.processes import Server, Serving, Supervisor
from api.service import Service, make_ready, metrics_of, open_service, pulse_of
from api.tracing import Answerer, open_traces, wanted
from api.vitals import marks_of
from api.wire import Wire
from understudy import __version__
from understudy.adapters.logging import configure_logging
from understudy.adapters.memory import share_one_heap
from understudy.adapters.sqlite_pulse import SqlitePulse
from understudy.errors import UnderstudyError
from understudy.settings import Settings, read_settings

GRACE_S = 8
"""For requests in flight when the process is told to stop; after 10 s Docker ends it."""

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Open what `settings` name, and wire it to the routes. Everything is closed again when the app's lifespan ends."""
    traces = open_traces(settings)
    service = open_service(settings)
    log.info("operator's token: %s", settings.var / "operator.token", extra={"action": "started"})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            service.stop()
            traces.close()

    app = FastAPI(
        title="Understudy",
        version=__version__,
        description="Serves predictions, and puts a new model on only when it is proven better.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry=traces.telemetry,
    )
    app.state.service = service
    app.router.route_class = Door
    errors.install(app)
    for part in (
        predictions,
        invocations,
        inference,
        recorded,
        feedback,
        labelled,
        models,
        refits,
        drift,
        live,
        promotions,
        runs,
        events,
        health,
        metrics,
        docs,
    ):
        app.include_router(part.router)
    app.add_middleware(Walls)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    if wanted(settings):
        app.add_middleware(Answerer, serving=service.table.versions, default_model=settings.default_model)
    app.add_middleware(Guard, hosts=settings.allowed_hosts, origins=settings.cors_origins)
    return app


def in_front(app: FastAPI) -> Front:
    """What a server is given: the plain path of predictions, and `app` for everything else."""
    service: Service = app.state.service
    settings = service.settings
    return Front(
        app,
        guard=Guard(app, hosts=settings.allowed_hosts, origins=settings.cors_origins),
        access=service.access,
        answering=service.answering,
        table=service.table,
        large_bodies=service.large_json,
        default_model=settings.default_model,
    )


def served_here() -> Serving:
    """What this process serves by the settings of its environment; it begins to log."""
    share_one_heap()
    settings = read_settings(os.environ)
    configure_logging(settings.logs, process="api")
    app = create_app(settings)
    service: Service = app.state.service
    traced = wanted(settings)
    reasons = {
        "UNDERSTUDY_FAST_PATH is off": settings.fast_path == "off",
        "answers wait for the disk (UNDERSTUDY_RECORDS=durable)": service.recorder.durable,
        "requests are traced (UNDERSTUDY_TRACES)": traced,
    }
    against = next((reason for reason, holds in reasons.items() if holds), None)
    return Serving(app if traced else in_front(app), protocol_class(against), service.stopping, service.vitals.watchdog)


def main() -> int:
    """Serve until told to stop; a setting or file that is wrong ends it with one line."""
    try:
        settings = read_settings(os.environ)
        config = uvicorn.Config(
            "",
            host=settings.api_host,
            port=settings.api_port,
            workers=settings.api_workers,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nothing here asks who the client is or by which scheme it came
            server_header=False,
            http=Wire,
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
        )
        sweep(metrics_of(settings))
        if settings.api_workers == 1:
            Server(config, served_here).run()
        else:
            configure_logging(settings.logs, process="api")
            make_ready(settings)
            with closing(SqlitePulse(pulse_of(settings))) as pulse:
                return Supervisor(config, served_here, pulse, marks_of(settings)).run()
    except UnderstudyError as error:
        sys.stderr.write(f"understudy api: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
