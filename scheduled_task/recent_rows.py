"""The newest recorded rows of one version, kept in memory and read on from a cursor.

A scheduler that starts has no cursor. It looks back from now, farther each time, until it has enough or has come to the
promotion: so what it reads is bounded by what it keeps, and not by what is on record.
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
FIRST_BACK_MS, WIDER = 3_000, 4
"""How far it looks back at first, and how much farther each time."""


class RecentRows:
    """Of one version, since it serves."""

    def __init__(self, model: str, version: str, since: datetime) -> None:
        self.version = version
        self.items: deque[Mapping[str, Any]] = deque(maxlen=WINDOW)
        self.new = False
        """Whether any have come; for the reader to take back."""
        self._path, self._since_ms = f"/models/{model}/labelled", (since - EPOCH).total_seconds() * 1000
        self._cursor: str | None = None

    def read(self, api: ApiClient, now: datetime) -> None:
        """Take in what has been recorded since the last time."""
        if self._cursor is not None and self._read_on(api, self._cursor):
            return
        now_ms, back_ms = (now - EPOCH).total_seconds() * 1000, FIRST_BACK_MS
        while True:
            start_ms = max(now_ms - back_ms, self._since_ms)
            self.items.clear()
            self._read_on(api, f"{Identity(int(start_ms), 0, '000000')}/0")
            if len(self.items) == WINDOW or start_ms == self._since_ms:
                return
            back_ms *= WIDER

    def _read_on(self, api: ApiClient, cursor: str) -> bool:
        """Read what came after `cursor`; False where that is more than one reads in one go."""
        for _ in range(MOST_PAGES):
            page = api.get(self._path, after=cursor, limit=WINDOW, labels="any")
            mine = [item for item in page["items"] if item["version"] == self.version]
            self.items.extend(mine)
            self.new = self.new or bool(mine)
            cursor = self._cursor = page["next"]
            if len(page["items"]) < WINDOW:
                return True
        return False
