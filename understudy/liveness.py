"""Who is alive, judged by counters that move: no two clocks are ever compared."""

from collections.abc import Mapping

from understudy.ports import Beat

SILENT_AFTER_S = 10.0
"""A counter that has not moved for so long, on the reader's own monotonic clock, belongs to nobody alive."""


class Watch:
    """One reader's view of all pulses. Feed it what it read and its own monotonic time in seconds."""

    def __init__(self) -> None:
        self._moved: dict[str, tuple[int, float]] = {}

    def see(self, beats: Mapping[str, Beat], now_s: float) -> None:
        """Note which counters have moved since the last look."""
        self._moved = {
            who: known if (known := self._moved.get(who)) and known[0] == beat.counter else (beat.counter, now_s)
            for who, beat in beats.items()
        }

    def is_silent(self, who: str, now_s: float, *, since_s: float) -> bool:
        """True where `who` has not moved for SILENT_AFTER_S; `since_s`: when this reader began to expect it."""
        _, moved_s = self._moved.get(who, (0, since_s))
        return now_s - max(moved_s, since_s) >= SILENT_AFTER_S
