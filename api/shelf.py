"""What the recorder has in hand: put into its form already, and not committed yet."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock

from understudy.records import Chunk, Gap, Keyed, Reason


@dataclass
class Shelf:
    """For the writer's thread; `lose` is for any."""

    chunks: list[Chunk] = field(default_factory=list)
    keyed: list[Keyed] = field(default_factory=list)
    """Rows in them that have a key."""
    requests: int = 0
    """That the chunks stand for: those that they hold, and those that were left out on purpose."""
    bytes: int = 0
    newest_ms: int = 0
    oldest_s: float | None = None
    """When the oldest of them was added, by the monotonic clock."""
    _gaps: dict[Reason, Gap] = field(default_factory=dict)
    _losing: Lock = field(default_factory=Lock)

    def put(self, chunks: Sequence[Chunk], requests: int, newest_ms: int, keyed: Sequence[Keyed] = ()) -> None:
        self.chunks.extend(chunks)
        self.keyed.extend(keyed)
        self.requests += requests
        self.bytes += sum(len(chunk.content) for chunk in chunks)
        self.newest_ms = max(self.newest_ms, newest_ms)

    def clear(self) -> None:
        self.chunks, self.keyed, self.requests, self.bytes = [], [], 0, 0

    def lose(self, reason: Reason, process: str, ms: int, requests: int) -> None:
        """Note that so many requests of that time are lost."""
        with self._losing:
            gap = self._gaps.get(reason) or Gap(process, ms, ms, 0, reason)
            first, last = min(gap.since_ms, ms), max(gap.until_ms, ms)
            self._gaps[reason] = replace(gap, since_ms=first, until_ms=last, lost=(gap.lost or 0) + requests)

    @contextmanager
    def losses(self) -> Iterator[list[Gap]]:
        """The gaps so far; forgotten after the block, where it does not raise."""
        with self._losing:
            gaps, self._gaps = self._gaps, {}
        try:
            yield list(gaps.values())
        except BaseException:
            for gap in gaps.values():
                for ms, lost in ((gap.since_ms, gap.lost), (gap.until_ms, 0)):
                    self.lose(gap.reason, gap.process, ms, lost or 0)
            raise
