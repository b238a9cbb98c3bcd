"""Predictions on their way to the records: handed over on the request path, written by one thread.

The newest quarter of a second may be lost when the process is killed; nothing is lost when it stops.
"""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

from understudy.errors import UnderstudyError
from understudy.ports import Prediction, Records

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.25
TRIM_EVERY_S = 60.0
KEEP_FOR = timedelta(days=30)
KEEP_BYTES = 1_000_000_000
"""Records are trimmed, oldest first, to what a small disk can spare."""

MOST_WAITING = 64 * 2**20
"""Bytes of predictions that wait while the disk does not answer; beyond it the newest are dropped and counted."""


class Recorder:
    """`add` never waits."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._waiting: list[Prediction] = []
        self._bytes = 0
        self.dropped = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, prediction: Prediction) -> None:
        if self._bytes < MOST_WAITING:
            self._bytes += len(prediction.rows) + len(prediction.answer)
            self._waiting.append(prediction)
        else:
            self.dropped += 1

    def stop(self) -> None:
        """Write what is waiting, and end."""
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        trimmed_s = time.monotonic()
        while not self._stop.wait(WRITE_EVERY_S):
            self._flush()
            if time.monotonic() - trimmed_s > TRIM_EVERY_S:
                trimmed_s = time.monotonic()
                self._trim()
        self._flush()

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            self._records.append(batch)
            self._bytes = sum(len(waiting.rows) + len(waiting.answer) for waiting in self._waiting)
        except UnderstudyError as error:
            self._waiting = batch + self._waiting
            log.warning(
                "%s", error, extra={"action": "records_waiting", "waiting": len(self._waiting), "dropped": self.dropped}
            )
        except Exception:
            log.exception("a batch of predictions could not be recorded", extra={"action": "bug", "lost": len(batch)})

    def _trim(self) -> None:
        try:
            self._records.trim(before=datetime.now(UTC) - KEEP_FOR, max_bytes=KEEP_BYTES)
        except UnderstudyError as error:
            log.warning("%s", error, extra={"action": "records_not_trimmed"})
