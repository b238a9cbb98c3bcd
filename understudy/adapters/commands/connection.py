"""Which API a command talks to, and as whom: it reads as a client and acts as the operator."""

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from understudy.adapters.api_client import ApiClient, TokenSource, token_of
from understudy.errors import NotFound, Unauthenticated
from understudy.settings import Settings, read_settings


def current_settings() -> Settings:
    """Raises BadSettings."""
    return read_settings(os.environ)


def address(settings: Settings) -> str:
    return settings.api_address


def reading(settings: Settings, *, retries: int = 1) -> "closing[ApiClient]":
    """A client that looks and changes nothing. It sends a token only where there is one, since reading may be open."""
    return closing(ApiClient(address(settings), if_there(token_of("client", settings)), retries=retries))


def operating(settings: Settings) -> "closing[ApiClient]":
    """A client that may do what an operator may. Its first request raises Unauthenticated where there is no token."""
    return closing(ApiClient(address(settings), token_of("operator", settings)))


def if_there(token: TokenSource) -> TokenSource:
    def read() -> str | None:
        try:
            return token()
        except Unauthenticated:
            return None

    return read


def listed(client: ApiClient, path: str, **query: str | int) -> Iterator[dict[str, Any]]:
    """Every item of a list that answers page by page."""
    after: str | None = None
    while True:
        page = client.get(path, after=after, **query)
        yield from page["items"]
        after = page["next"]
        if after is None:
            return


def get_if_found(client: ApiClient, path: str, **query: str | int | None) -> Any:
    """The answer; None where there is no such thing."""
    try:
        return client.get(path, **query)
    except NotFound:
        return None
