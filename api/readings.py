"""What the parts of this process say of themselves, as metrics: read when asked, for nobody keeps it up to date."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from resource import getpagesize

from api.counts import Counts, Totals
from api.health import Health
from api.journal import Journal
from api.recorder import Recorder
from api.retention import Retention
from api.serving import ServingTable
from api.sheets import Values

CHAMPION = "champion"
"""The role of whatever answers by default."""

PROCESS = Path("/proc/self")


@dataclass(frozen=True, kw_only=True)
class Readings:
    """The parts that are asked."""

    counts: Counts
    journal: Journal
    table: ServingTable
    health: Health
    recorder: Recorder
    retention: Retention
    began_s: float = field(default_factory=time.time)

    def take(self) -> Values:
        """Every family of `api/families.py`."""
        return {**counted(self.counts.fold()), **self._models(), **self._parts(), **of_process(self.began_s)}

    def _models(self) -> dict[str, dict[tuple[str, ...], float]]:
        now, models = self.journal.wall_clock(), self.journal.state.models
        served = self.table.versions()
        return {
            "queue_length": {(model,): waiting for model, waiting in self.table.queues().items()},
            "serves": {(model, version, CHAMPION): 1 for model, version in served.items()},
            "swaps": {(model,): swaps for model, swaps in self.table.swaps.items()},
            "champion_age_seconds": {
                (name,): max(0.0, (now - model.promotions[-1].time).total_seconds())
                for name, model in models.items()
                if model.promotions
            },
        }

    def _parts(self) -> dict[str, dict[tuple[str, ...], float]]:
        return {
            "event_lag_seconds": {(): self.journal.age_s()},
            "records_written": {(): self.recorder.written},
            "records_dropped": {(): self.recorder.dropped + self.retention.lost},
            "records_waiting": {(): self.recorder.waiting},
            "record_lag_seconds": {(): self.recorder.lag_s},
            "ready": {(): float(self.health.reason() is None)},
            "workers": {(): 1},
        }


def of_process(began_s: float) -> dict[str, dict[tuple[str, ...], float]]:
    """What the system says of this process; less where no file can be opened, for the counters are needed then."""
    found: dict[str, dict[tuple[str, ...], float]] = {"process_start_time_seconds": {(): began_s}}
    with suppress(OSError):
        resident = int((PROCESS / "statm").read_text().split()[1]) * getpagesize()
        found["process_resident_memory_bytes"] = {(): resident}
        found["process_open_fds"] = {(): sum(1 for _ in (PROCESS / "fd").iterdir())}
    return found


def counted(totals: Totals) -> Values:
    """What `Counts` has found; copied first, for the event loop may go on counting meanwhile."""
    return {
        "requests": {**totals.requests},
        "request_duration_seconds": {(model,): found for model, found in {**totals.latencies}.items()},
        "rows": {(model,): rows for model, rows in {**totals.rows}.items()},
        "errors": {**totals.errors},
        "shed": {(model,): shed for model, shed in {**totals.shed}.items()},
    }
