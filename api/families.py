"""What is measured: every family of metrics, as one table. `docs/metrics.md` is compared with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.mmap_dict import mmap_key
from prometheus_client.utils import floatToGoString

from api.counts import BOUNDS_S, Latencies

Over = Literal["counter", "histogram", "livesum", "livemax", "livemin", "liveall"]
"""How the numbers of several processes become one. `counter` and `histogram` are summed, also over the dead; the others
are gauges, of the living: the sum, the greatest, the least, or each by its process id."""

Labels = tuple[str, ...]

BOUNDS = [*map(floatToGoString, (*BOUNDS_S, float("inf")))]


@dataclass(frozen=True)
class Family:
    """One line of the table; `name` without the beginning that all have in common."""

    name: str
    over: Over
    labels: Labels
    help: str

    @property
    def full_name(self) -> str:
        return f"understudy_{self.name}"

    @property
    def file(self) -> str:
        """What the names of the files begin with that hold it."""
        return self.over if self.over in ("counter", "histogram") else f"gauge_{self.over}"

    def key(self, name: str, labels: Mapping[str, str]) -> str:
        return mmap_key(self.full_name, name, [*labels], [*labels.values()], self.help)

    def cells(self, labels: Labels, value: float | Latencies) -> dict[str, float]:
        """What the files hold for one value: key -> number."""
        named = dict(zip(self.labels, labels, strict=True))
        if isinstance(value, Latencies):
            bucket, sum_ = f"{self.full_name}_bucket", f"{self.full_name}_sum"
            found = zip(BOUNDS, value.buckets, strict=True)
            cells = {self.key(bucket, {**named, "le": bound}): float(count) for bound, count in found}
            return cells | {self.key(sum_, named): value.sum_s}
        return {self.key(self.full_name + ("_total" if self.over == "counter" else ""), named): float(value)}


FAMILIES = (
    Family("requests", "counter", ("model", "version", "code"), "Prediction requests; code is ok where answered."),
    Family("request_duration_seconds", "histogram", ("model",), "From a request's last byte until its answer is made."),
    Family("rows", "counter", ("model",), "Rows that were predicted."),
    Family("errors", "counter", ("model", "code"), "Prediction requests that failed, by the code of their error."),
    Family("shed", "counter", ("model",), "Requests turned away because the queue of a model was full."),
    Family("queue_length", "livesum", ("model",), "Requests that wait for a model with a queue."),
    Family("serves", "livemax", ("model", "version", "role"), "1 for each version that a worker has loaded to answer."),
    Family("swaps", "counter", ("model",), "Versions put on, each worker and its first version counted."),
    Family("champion_age_seconds", "livemax", ("model",), "Since the promotion of the version that the log names."),
    Family("event_lag_seconds", "livemax", (), "Since the last look at the event log, in the worker furthest behind."),
    Family("records_written", "counter", (), "Predictions recorded."),
    Family("records_dropped", "counter", (), "Predictions that were answered and will not be recorded."),
    Family("records_waiting", "livesum", (), "Predictions that wait to be recorded."),
    Family("record_lag_seconds", "livemax", (), "How long the oldest of them has waited."),
    Family("ready", "livemin", (), "1 where every worker is fit to answer, as /ready says it."),
    Family("workers", "livesum", (), "Processes that answer."),
    Family("process_start_time_seconds", "liveall", (), "When a process began, in seconds since 1970."),
    Family("process_resident_memory_bytes", "liveall", (), "Memory that a process holds."),
    Family("process_open_fds", "liveall", (), "Files and connections that a process has open."),
)

BY_NAME = {family.name: family for family in FAMILIES}
