"""Traces, where `UNDERSTUDY_TRACES` names a collector: one span a request, by the hooks that FastAPI carries.

A span says which route was asked, how it ended, and which version answered. What was sent stays here: no body, no
query, no path as it was written, no header. With traces on, predictions go through the documented routes, where the
hooks are: see `wanted`.

A collector that is down costs nobody an answer: spans wait in a short queue, and are dropped when it is full.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy import __version__
from understudy.errors import MissingExtra
from understudy.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

OFF = "off"

SAID = frozenset({"http.request.method", "url.scheme", "network.protocol.version"})
"""What a span may say of a request from its beginning; FastAPI adds route and status at its end."""

SEND_WITHIN_S = 3.0
"""How long a collector is waited for, also when the process stops."""


def wanted(settings: Settings) -> bool:
    """Whether every request has to pass the documented routes, for its trace."""
    return settings.traces != OFF


@dataclass(frozen=True)
class Traces:
    """What an application is given, and what ends with it."""

    telemetry: TelemetryConfig
    close: Callable[[], None]
    """Send what waits, for `SEND_WITHIN_S` at most."""


def open_traces(settings: Settings) -> Traces:
    """Traces as `settings` want them. Raises MissingExtra where the libraries for it are not installed."""
    silent = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)
    if not wanted(settings):
        return Traces(silent, lambda: None)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra(
            "UNDERSTUDY_TRACES needs a library that is not installed.",
            remedy="pip install 'understudy[otel]', or set UNDERSTUDY_TRACES=off.",
        ) from error
    provider = TracerProvider(
        sampler=sparing(),
        resource=Resource.create({"service.name": "understudy", "service.version": __version__}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=endpoint(settings.traces), timeout=SEND_WITHIN_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    telemetry = TelemetryConfig(
        **{**silent, "tracing": True, "tracer_provider": provider, "operation_spans": False},
    )
    return Traces(telemetry, lambda: within(SEND_WITHIN_S, provider.shutdown))


def within(seconds: float, act: Callable[[], None]) -> None:
    """Do it, and wait no longer: the library would try each batch for as long again."""
    thread = Thread(target=act, name="traces", daemon=True)
    thread.start()
    thread.join(seconds)


def endpoint(url: str) -> str:
    """Where spans are posted: the URL, with the usual path where it has none."""
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1/traces"


def sparing() -> "Sampler":
    """Sample as the caller does, or everything; and keep of a request only what is listed in `SAID`."""
    from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler, SamplingResult

    class Sparing(Sampler):
        def should_sample(self, *given: Any, **named: Any) -> SamplingResult:
            found = DEFAULT_ON.should_sample(*given, **named)
            said = {key: value for key, value in (found.attributes or {}).items() if key in SAID}
            return SamplingResult(found.decision, said, found.trace_state)

        def get_description(self) -> str:
            return "Sparing"

    return Sparing()


class Answerer:
    """ASGI inside the hooks: adds to the span of a prediction which model and version answered.

    Args:
        serving: the names of models that serve; no other name is said.
    """

    def __init__(self, app: ASGIApp, *, serving: Callable[[], Collection[str]], default_model: str) -> None:
        self._app, self._serving, self._default = app, serving, default_model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = trace.get_current_span()
        if scope["type"] != "http" or not span.is_recording():
            await self._app(scope, receive, send)
            return

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attributes(self._answer(scope, message))
            await send(message)

        await self._app(scope, receive, send_and_tell)

    def _answer(self, scope: Scope, message: Message) -> Mapping[str, str]:
        version = Headers(raw=message["headers"]).get("model-version")
        request = Request(scope)
        model = request.path_params.get("model") or request.query_params.get("model") or self._default
        if version is None or model not in self._serving():
            return {}
        return {"understudy.model": model, "understudy.version": version}
