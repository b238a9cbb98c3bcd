"""What every request passes before it reaches a route: a known Host, no foreign page behind it, and an id of its own.

Host names are a list and not a pattern, so a page on another name that resolves to this machine gets nothing. What a
proxy says in `X-Forwarded-…` is not read. A browser says with `Origin` whose page is asking: a foreign one is refused,
whatever it asks for and whatever token it holds.
"""

import re
import secrets
from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer
from understudy.errors import Forbidden, TooLarge, UnderstudyError

MAX_BODY = 16 * 2**20
MAX_BUNDLE = 256 * 2**20
TAKES_BUNDLES = re.compile(r"/models/[^/]+/versions")

HOST = re.compile(rb"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE)
ORIGIN = re.compile(rb"https?://(.+)", re.IGNORECASE)

NOTHING_INSIDE = b"default-src 'none'; frame-ancestors 'none'"
"""For answers that are no pages: whatever a browser takes them for, nothing in them is run or fetched."""


MOST_SEEN = 64

CAREFUL = ((b"x-content-type-options", b"nosniff"), (b"content-security-policy", NOTHING_INSIDE))
"""Headers of every answer that is no page."""


class Guard:
    """ASGI in front of the whole application."""

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self._app, self._hosts, self._origins = app, frozenset(hosts), frozenset(origins)
        self._seen: set[bytes] = set()
        """Headers that were found good: nearly all requests have one of two or three."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = new_request_id()
        send = marked(send, scope["request_id"])
        try:
            self.check(scope)
        except UnderstudyError as error:
            await answer(scope, error)(scope, receive, send)
        else:
            await self._app(scope, capped(receive, most(scope["path"])), send)

    def check(self, scope: Scope) -> None:
        """Raises Forbidden for a Host or an origin, TooLarge for an announced length."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self.is_known(hosts[0]):
            raise Forbidden(
                "This Host is not served here.", remedy="Set UNDERSTUDY_ALLOWED_HOSTS, or use a listed name."
            )
        for name, value in scope["headers"]:
            if name == b"origin" and not self._is_listed(value) and not is_own(value, hosts[0]):
                raise Forbidden("A page of another origin may not do that.", remedy="Set UNDERSTUDY_CORS_ORIGINS.")
        check_length(scope)

    def is_known(self, host: bytes) -> bool:
        """Whether a Host header is one that is answered."""
        if host in self._seen:
            return True
        known = name_of(host) in self._hosts
        if known and len(self._seen) < MOST_SEEN:
            self._seen.add(host)
        return known

    def _is_listed(self, origin: bytes) -> bool:
        return "*" in self._origins or origin.decode("latin-1") in self._origins


def new_request_id() -> str:
    return secrets.token_hex(8)


def name_of(host: bytes) -> str:
    """The name in a Host header, without a port; brackets of IPv6 stay. Empty where it is no host at all."""
    found = HOST.fullmatch(host)
    return found[1].decode().lower() if found else ""


def is_own(origin: bytes, host: bytes) -> bool:
    """True for a page of ours: the same name and port. A proxy that ends TLS hides the scheme from us."""
    found = ORIGIN.fullmatch(origin)
    return found is not None and found[1].lower() == host.lower()


def most(path: str) -> int:
    """Bytes that a body may have."""
    return MAX_BUNDLE if TAKES_BUNDLES.fullmatch(path) else MAX_BODY


def check_length(scope: Scope) -> None:
    """Refuse by its own words a body that would be cut off later."""
    said = b"0"
    for name, value in scope["headers"]:
        if name == b"content-length":
            said = value
            break
    if said.isdigit() and int(said) > most(scope["path"]):
        raise too_large(most(scope["path"]))


def capped(receive: Receive, limit: int) -> Receive:
    """Receive at most `limit` bytes, whatever was announced."""
    left = limit

    async def receive_capped() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(
                413, too_large(limit).problem
            )  # FastAPI lets only its own kind out of a body that it reads
        return message

    return receive_capped


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"A body here has at most {limit // 2**20} MiB.", remedy="Send less at a time.")


def marked(send: Send, request_id: str) -> Callable[[Message], Awaitable[None]]:
    """Send every answer with the request's id, and with what a browser must not guess."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = request_id
            headers["X-Content-Type-Options"] = "nosniff"
            if "Content-Security-Policy" not in headers:
                message["headers"].append((b"content-security-policy", NOTHING_INSIDE))
        await send(message)

    return send_marked
