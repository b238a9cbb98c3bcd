"""One client's connection to the API: kept open, opened anew where it broke, and everything on it written down."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.faults.history import Exchange, Outcome

PATIENCE_S = 60.0
"""Ends a hang; the longest honest answer waits 30 s for workers to be ready, and 30 s for them to serve."""

Whose = Callable[[int], int | None]
"""Local port of a connection -> the process at its other end, where that can be found out."""

Answer = Mapping[str, Any]
Keep = Callable[[Answer, Mapping[str, str]], Answer]
"""What is kept of an answer: of its body and headers."""


class Line:
    """Speaks to one port, for one thread. What it sees goes to `history`, a list that only grows."""

    def __init__(
        self, client: str, port: int, history: list[Exchange], whose: Whose | None, headers: Mapping[str, str]
    ) -> None:
        """`whose`: None for a connection through the proxy."""
        self.client = client
        self._port, self._history, self._whose, self._headers = port, history, whose, headers
        self._connection: http.client.HTTPConnection | None = None
        self._opened_s = 0.0
        self._worker: int | None = None

    def ask(
        self,
        action: str,
        method: str,
        route: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        asked: Mapping[str, Any] | None = None,
        keep: Keep = lambda body, headers: body,
        key: str | None = None,
    ) -> Exchange:
        """Send one request; return what came of it. `key`: the Idempotency-Key."""
        sent_s, headers = time.monotonic(), {} if key is None else {"Idempotency-Key": key}
        outcome: Outcome
        try:
            outcome, answer = self._answered(method, route, body, headers, keep)
        except (OSError, http.client.HTTPException, ValueError) as error:
            outcome, answer = "unknown", {"error": repr(error)}
        exchange = Exchange(
            client=self.client,
            action=action,
            outcome=outcome,
            sent_s=sent_s,
            ended_s=time.monotonic(),
            asked=asked or {},
            answer=answer,
            opened_s=self._opened_s,
            worker=self._worker,
            proxied=self._whose is None,
        )
        if "error" in answer:
            self.close()
        self._history.append(exchange)
        return exchange

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._worker = None

    def _answered(
        self, method: str, route: str, body: Any, headers: Mapping[str, str], keep: Keep
    ) -> tuple[Outcome, Answer]:
        connection = self._connected()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, route, data, {**self._headers, "Content-Type": kind, **headers})
        response = connection.getresponse()
        found = json.loads(response.read() or b"null")
        if self._worker is None and self._whose is not None:
            self._worker = self._whose(connection.sock.getsockname()[1]) if connection.sock else None
        if response.status < 300:
            return "ok", keep(found, dict(response.headers.items()))
        refused = {"status": response.status, "code": found.get("code"), "detail": found.get("detail")}
        return "fail" if response.status < 500 else "unknown", refused

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._opened_s = time.monotonic()
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
            self._connection.connect()
        return self._connection
