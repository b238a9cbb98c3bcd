"""Predictions on their way to the records: handed over on the request path, written by one thread.

The newest quarter of a second may be lost when the process is killed; nothing is lost when it stops.
"""

import logging
import threading

from understudy.errors import UnderstudyError
from understudy.ports import Prediction, Records

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.25
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
        while not self._stop.wait(WRITE_EVERY_S):
            self._flush()
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
