"""The newest recorded rows of one version, kept in memory and read on from a cursor.

A scheduler that starts has no cursor. It looks back from now, farther each time, until it has enough or has come to the
promotion; and less far again where that is more than it reads in one go, because pages begin with the oldest rows. So
what it reads is bounded by what it keeps, and not by what is on record, and what it keeps is the newest.
"""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from understudy.adapters.api_client import ApiClient
from understudy.records import EPOCH, Identity

WINDOW = 5_000
"""Newest rows that are looked at."""
MOST_PAGES = 2
"""Read in one go; where more has come, the newest are looked for anew."""
FIRST_BACK_MS, WIDER = 3_000.0, 4
"""How far it looks back at first, and how much farther each time."""
NEAREST_MS = 100.0
"""Two looks that lie no farther apart are one: what came between them is read to the end."""


class RecentRows:
    """Of one version, since it serves; at most `window` of them."""

    def __init__(self, model: str, version: str, since: datetime, *, window: int = WINDOW) -> None:
        self.version = version
        self.items: deque[Mapping[str, Any]] = deque(maxlen=window)
        self.new = False
        """Whether any have come; for the reader to take back."""
        self._path, self._since_ms = f"/models/{model}/labelled", (since - EPOCH).total_seconds() * 1000
        self._window = window
        self._cursor = ""

    def read(self, api: ApiClient, now: datetime) -> None:
        """Take in what has been recorded since the last time."""
        if not self._cursor or self._read_on(api) is None:
            self._look_back(api, (now - EPOCH).total_seconds() * 1000)

    def _look_back(self, api: ApiClient, now_ms: float) -> None:
        near_ms, far_ms, back_ms = 0.0, float("inf"), FIRST_BACK_MS
        while True:
            start_ms = max(now_ms - back_ms, self._since_ms)
            seen = self._look(api, start_ms)
            if seen is None:
                far_ms = back_ms
                if far_ms - near_ms < NEAREST_MS:
                    return self._read_out(api)
            else:
                near_ms = back_ms
                enough = seen >= self._window and far_ms < float("inf")
                if enough or len(self.items) == self._window or start_ms == self._since_ms:
                    return None
            back_ms = _next(near_ms, far_ms)

    def _look(self, api: ApiClient, start_ms: float) -> int | None:
        """Forget what there is, and read from a moment on."""
        self.items.clear()
        self._cursor = f"{Identity(int(start_ms), 0, '000000')}/0"
        return self._read_on(api)

    def _read_out(self, api: ApiClient) -> None:
        while self._read_on(api) is None:
            pass

    def _read_on(self, api: ApiClient) -> int | None:
        """Read what came after the cursor: how many rows of any version; None where there may be more of them."""
        seen = 0
        for _ in range(MOST_PAGES):
            page = api.get(self._path, after=self._cursor, limit=self._window, labels="any")
            mine = [item for item in page["items"] if item["version"] == self.version]
            self.items.extend(mine)
            self.new = self.new or bool(mine)
            self._cursor, seen = page["next"], seen + len(page["items"])
            if len(page["items"]) < self._window:
                return seen
        return None


def _next(near_ms: float, far_ms: float) -> float:
    """How far to look back after a look that saw all, and another that did not."""
    if far_ms == float("inf"):
        return near_ms * WIDER
    return far_ms if far_ms - near_ms < NEAREST_MS else (near_ms + far_ms) / 2
