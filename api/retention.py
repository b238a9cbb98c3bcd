"""What becomes of prediction records: the oldest go, by age and by size, and what a killed process lost is noted."""

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from understudy.adapters.handover import left_behind
from understudy.ports import Labels, Records
from understudy.records import EPOCH
from understudy.settings import Settings

log = logging.getLogger(__name__)

TRIM_EVERY_S = 60.0
PACE = 8
"""Records are trimmed at so many times the pace at which they grow old, whatever the clock says; so one that is a year
ahead costs about a hundredth of thirty days in an hour."""


class Retention:
    """Chores of the process that has the duty."""

    def __init__(self, records: Records, settings: Settings, labels: Labels | None = None) -> None:
        self._records, self._labels, self._folder = records, labels, handed_over(settings)
        self._keep_for = timedelta(days=settings.records_days)
        self._max_bytes = settings.records_mb * 10**6
        self._trimmed_s = float("-inf")
        self.lost = 0
        """Predictions that killed processes lost, found by this one; where nobody can know how many, one."""

    def trim(self) -> None:
        """Drop what is too much, and once a minute what is too old."""
        if time.monotonic() - self._trimmed_s < TRIM_EVERY_S:
            self._records.trim(before=EPOCH, max_bytes=self._max_bytes)
            return
        self._trimmed_s = time.monotonic()
        share = min(1.0, PACE * TRIM_EVERY_S / self._keep_for.total_seconds())
        self._records.trim(before=datetime.now(UTC) - self._keep_for, max_bytes=self._max_bytes, share=share)
        if self._labels is not None:
            self._labels.trim()

    def mourn(self) -> None:
        """Put on record what killed processes had not written."""
        with left_behind(self._folder) as found:
            for left in found:
                gap = self._records.mourn(
                    left.process, handed=left.handed, since_ms=left.since_ms, until_ms=left.until_ms
                )
                if gap is not None:
                    self.lost += 1 if gap.lost is None else gap.lost
                    log.warning(
                        "A process was killed; %s of its predictions are not on record.",
                        "some" if gap.lost is None else gap.lost,
                        extra={"action": "records.gap", "of_process": gap.process, "lost": gap.lost},
                    )
        for left in found:
            self._records.leave(left.process)


def handed_over(settings: Settings) -> Path:
    """Where each process says how many predictions it has handed to its recorder."""
    return settings.var / "recorders"
