"""What the recorder's thread does: puts calls into the form in which they are stored, and commits them."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.shelf import Shelf
from understudy.chunks import chunks, narrowed
from understudy.errors import UnderstudyError
from understudy.ports import Records
from understudy.records import Chunk, Identity, Keyed, Layout, Progress, is_sampled, withheld

if TYPE_CHECKING:
    from api.answered import Answered

log = logging.getLogger(__name__)

MOST_WAITING = 64 * 2**20
"""Bytes of predictions that wait while the disk does not answer; beyond it the newest are dropped and counted."""
TURN_S = 0.0005
"""How long this thread computes before it lets the event loop have the interpreter: whenever it does, it may wait 5 ms
until it is its turn again."""
LATE_TURN_S = 0.003
"""The same, once the oldest prediction has waited for `LATE_S`."""
LATE_S = 0.5

Definitions = Callable[[str], Mapping[str, Any]]
"""Model -> its definition, as the log holds it now."""
Seen = Callable[["Sequence[Answered]", int], object]
"""Is shown the calls of one version that were answered, and how many requests that were."""
Added = tuple[float, int, "Answered"]
"""When a call was added (s, monotonic), and its size in bytes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is recorded, and when."""

    durable: bool = False
    share: float = 1.0
    """Of the requests that are recorded."""
    withhold: Collection[str] = frozenset({"personal"})
    """Tags of the columns that are not."""
    most_waiting: int = MOST_WAITING


DEFAULT = Plan()


class Scribe:
    """For one thread; others may read the numbers."""

    def __init__(self, records: Records, plan: Plan, definition: Definitions, seen: Seen) -> None:
        self._records, self._plan, self._definition, self._seen = records, plan, definition, seen
        self.process = ""
        self.shelf = Shelf()
        self.settled = 0
        """Requests that are written, or left out on purpose."""
        self.accounted = 0
        """The same, and those in gaps that are written."""
        self.written = 0
        """Requests on record."""
        self.failed = 0
        """Requests that could not be put into the form, or not be written for a reason that would stay."""
        self.longest_s = 0.0
        """The longest that anything has waited until it was on record."""

    def take(self, calls: Sequence[Added]) -> None:
        """Put calls into chunks; what cannot be is a gap, and costs no other version's."""
        if not calls:
            return
        self.shelf.oldest_s = self.shelf.oldest_s or calls[0][0]
        by_version: dict[int, list[Answered]] = {}
        for _, _, call in calls:
            by_version.setdefault(id(call.served), []).append(call)
        for group in by_version.values():
            requests = sum(len(call.latencies_s) for call in group)
            self._seen(group, requests)
            try:
                shaped, keyed = self._shaped(group), self._keyed(group)
            except Exception:
                log.exception("predictions could not be put into chunks", extra={"action": "bug", "lost": requests})
                self._fail(int(group[0].stamp, 16), requests)
            else:
                self.shelf.put(shaped, requests, int(group[-1].stamp, 16), keyed)

    def _shaped(self, calls: "Sequence[Answered]") -> list[Chunk]:
        """Calls of one version in chunks, made a little at a time: other threads want their turn."""
        served, shaped, began_s = calls[0].served, list[Chunk](), time.monotonic()
        made = chunks(
            calls,
            process=self.process,
            model=served.model,
            version=served.version,
            layout=Layout.of(served.runtime.signature, self._withheld(served.model)),
            share=self._plan.share,
        )
        for chunk in made:
            shaped.append(chunk)
            late = began_s - (self.shelf.oldest_s or began_s) > LATE_S
            began_s = give_way(began_s, LATE_TURN_S if late else TURN_S)
        return shaped

    def _keyed(self, calls: "Sequence[Answered]") -> list[Keyed]:
        """The keys of rows that are recorded."""
        some = [call for call in calls if getattr(call, "keys", None) is not None]
        if not some or self._is_key_withheld(model := some[0].served.model):
            return []
        found = []
        for call in some:
            request = Identity(int(call.stamp, 16), call.first, self.process)
            if is_sampled(str(request).encode(), self._plan.share):
                found += [Keyed(model, key, request, row) for row, key in enumerate(call.keys or ()) if key is not None]
        return found

    def commit(self) -> None:
        """Write what is on the shelf. Raises StorageUnavailable or StorageFull; then all of it stays there."""
        try:
            with self.shelf.losses() as gaps:
                lost = sum(gap.lost or 0 for gap in gaps)
                if self.shelf.requests or gaps:
                    stored = [narrowed(chunk, self._withheld(chunk.model)) for chunk in self.shelf.chunks]
                    keyed = [one for one in self.shelf.keyed if not self._is_key_withheld(one.model)]
                    accounted = self.accounted + self.shelf.requests + lost
                    newest_ms = max(self.shelf.newest_ms, *(gap.until_ms for gap in gaps), 0)
                    progress = Progress(self.process, accounted, newest_ms)
                    self._records.append(stored, gaps=gaps, progress=progress, keyed=keyed)
                    self._count(accounted, sum(chunk.requests for chunk in stored))
        except UnderstudyError:
            raise
        except Exception:
            requests = self.shelf.requests
            log.exception("predictions could not be recorded", extra={"action": "bug", "lost": requests})
            self._fail(self.shelf.newest_ms, requests)
            self.shelf.clear()
        if self.shelf.oldest_s is not None:
            self.longest_s = max(self.longest_s, time.monotonic() - self.shelf.oldest_s)
            self.shelf.oldest_s = None

    def _count(self, accounted: int, written: int) -> None:
        self.accounted = accounted
        self.settled += self.shelf.requests
        self.written += written
        self.shelf.clear()

    def _withheld(self, model: str) -> frozenset[str]:
        return withheld(self._definition(model), self._plan.withhold)

    def _is_key_withheld(self, model: str) -> bool:
        return self._definition(model).get("key") in self._withheld(model)

    def _fail(self, ms: int, requests: int) -> None:
        self.failed += requests
        self.shelf.lose("failed", self.process, ms, requests)


def give_way(began_s: float, turn_s: float) -> float:
    """Let other threads run where this one has for long enough; return when its turn began."""
    if time.monotonic() - began_s < turn_s:
        return began_s
    time.sleep(0)
    return time.monotonic()
