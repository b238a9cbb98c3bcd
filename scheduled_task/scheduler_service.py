"""The scheduler: `build_scheduler(settings)` wires it, `main()` runs it.

    definitions   every 10 s   the files under models/ → PUT /models/{name}, and a job for each model
    jobs          at each slot of a model's schedule → POST /runs
    the rest      every 3 s    first attempts at models that nothing serves yet, and what is owed → POST /runs
    live          every 3 s    newly labelled predictions, scored by the version in shadow → POST /models/{name}/live
    drift         every 4 s    recorded rows, measured once a minute in a process → POST /models/{name}/drift
    labels        every 5 s    what the source knows of rows with a key, looked up once a minute → POST /feedback
    arrivals      every 4 s    new rows of `on_new_rows`, counted once a minute in a process → POST /runs
    workers       always       POST /runs/claim → a process that trains → version, evidence, promotion, finish
    one more      always       the same for tests of gates: a process that sabotages → finish
    scratch       every 30 s   what a killed scheduler left, of any that shares our volumes, is swept

Any number may run at once, on one machine or several: see docs/decisions/0017-many-schedulers.md.

It keeps nothing: what was asked for, missed or done is in the log, which it knows through the API alone. So it may be
killed at any moment. Told to stop, it kills what trains and falls silent about it: the API gives such a run to the
next scheduler after ten seconds, which trains it on the same data.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from threading import Event, Thread
from time import monotonic
from types import FrameType
from typing import Any

from apscheduler.events import EVENT_SCHEDULER_SHUTDOWN, EVENT_SCHEDULER_STARTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.blocking import BlockingScheduler

from scheduled_task.arrivals import Arrivals
from scheduled_task.asking import Asking, utc_now
from scheduled_task.catalogue import Catalogue
from scheduled_task.drift import DriftWatch
from scheduled_task.keeper import ClockWatch, Every, Part
from scheduled_task.live import EVERY_S as LIVE_EVERY_S
from scheduled_task.live import LiveScoring
from scheduled_task.scratch import sweep
from scheduled_task.slots import SlotTrigger
from scheduled_task.source_labels import SourceLabels
from scheduled_task.worker import Worker
from understudy.adapters.api_client import ApiClient, token_of
from understudy.adapters.logging import configure_logging
from understudy.errors import UnderstudyError
from understudy.schedule import Schedule
from understudy.settings import Settings, read_settings

log = logging.getLogger(__name__)

DEFINITIONS_EVERY_S, REST_EVERY_S, CLOCK_EVERY_S, SWEEP_EVERY_S = 10.0, 3.0, 1.0, 30.0
WATCH_EVERY_S = 4.0
"""Most of these looks only read on; what is costly in them is done once a minute. The API lets go of a connection that
is not used for 5 s.
"""
STOP_WITHIN_S = 8.0
"""A container is given ten seconds."""
LATE_IS_BETTER_THAN_NEVER: Mapping[str, Any] = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
"""APScheduler's defaults lose a run after any pause."""


def build_scheduler(settings: Settings) -> BlockingScheduler:
    """Wire the scheduler that `settings` describe. Starting it starts all its parts; shutting it down ends them."""
    scheduler = BlockingScheduler(
        jobstores={"default": MemoryJobStore()},
        executors={"default": ThreadPoolExecutor(4)},
        job_defaults=dict(LATE_IS_BETTER_THAN_NEVER),
        timezone=UTC,
    )
    parts = Parts(settings, scheduler)
    scheduler.add_listener(lambda event: parts.start(), EVENT_SCHEDULER_STARTED)
    scheduler.add_listener(lambda event: parts.stop(), EVENT_SCHEDULER_SHUTDOWN)
    return scheduler


class Parts:
    """What runs beside APScheduler's own loop, and the jobs that it gives that loop."""

    def __init__(self, settings: Settings, scheduler: BlockingScheduler) -> None:
        self._settings, self._scheduler = settings, scheduler
        self._stop = Event()
        self._schedules: dict[str, Schedule] = {}
        self._watch = ClockWatch()
        tests = settings.selftest == "on"
        self._asking = Asking(self.connect(), selftests=tests)
        self._catalogue = Catalogue(settings, self.connect(), self._known)
        self._live = LiveScoring(settings, self.connect())
        self._labels = SourceLabels(settings, self.connect())
        self._drift, self._arrivals = DriftWatch(settings, self.connect()), Arrivals(settings, self.connect())
        repeated = [
            Every("definitions", self._catalogue.check, seconds=DEFINITIONS_EVERY_S),
            Every("slots", self._ask_for_the_rest, seconds=REST_EVERY_S),
            Every("live", self._live.look, seconds=LIVE_EVERY_S),
            Every("drift", lambda: self._drift.look(frozenset(self._schedules)), seconds=WATCH_EVERY_S),
            Every("labels", lambda: self._labels.look(frozenset(self._schedules)), seconds=WATCH_EVERY_S),
            Every("arrivals", lambda: self._arrivals.look(frozenset(self._schedules)), seconds=WATCH_EVERY_S),
        ]
        workers = [Worker(settings, self.connect, number=n + 1) for n in range(settings.runs_at_once)]
        testers = [Worker(settings, self.connect, number=0, kind="selftest")] if tests else []
        self._parts: list[Part] = [*repeated, *workers, *testers]
        self._own = [
            Every("clock", self._check_clock, seconds=CLOCK_EVERY_S),
            Every("scratch", self._sweep, seconds=SWEEP_EVERY_S),
        ]
        """What needs no API."""
        self._opening = Thread(target=self._open, name="opening", daemon=True)

    def connect(self, **options: Any) -> ApiClient:
        """A client for one thread, with the scheduler's token. `options`: as for ApiClient."""
        return ApiClient(self._settings.api_address, token_of("scheduler", self._settings), **options)

    def start(self) -> None:
        for part in self._own:
            part.start()
        self._opening.start()

    def stop(self) -> None:
        """Claim nothing more, kill what trains, and wait for the threads as long as a container may take."""
        self._stop.set()
        for part in (*self._parts, *self._own):
            part.stop()
        until_s = monotonic() + STOP_WITHIN_S
        self._opening.join(STOP_WITHIN_S)
        for part in (*self._parts, *self._own):
            part.join(max(0.0, until_s - monotonic()))
        self._asking.close()
        self._catalogue.close()
        self._live.close()
        self._drift.close()
        self._arrivals.close()
        self._labels.close()
        log.info("The scheduler has stopped.", extra={"action": "scheduler.stopped"})

    def _sweep(self) -> None:
        """Remove what a scheduler has left that was killed: this one's predecessor, or another on the same volumes."""
        for folder in (self._settings.scratch, self._settings.holdouts):
            if left := sweep(folder):
                log.warning("Swept what was left of %s.", ", ".join(left), extra={"action": "scratch.swept"})

    def _open(self) -> None:
        """Start the parts as soon as the API answers."""
        if self._wait_for_api():
            for part in self._parts:
                part.start()

    def _wait_for_api(self) -> bool:
        """False where we are told to stop before it answers."""
        api, pause_s = self.connect(retries=0, answer_s=5.0), 0.1
        while not self._stop.is_set():
            try:
                api.get("/health")
                log.info("The API answers at %s.", self._settings.api_address, extra={"action": "scheduler.started"})
                break
            except UnderstudyError as error:
                if pause_s > 1.0:
                    log.warning("Waiting for the API: %s", error.problem, extra={"action": "api.waited_for"})
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, 5.0)
        api.close()
        return not self._stop.is_set()

    def _known(self, schedules: Mapping[str, Schedule], changed: frozenset[str]) -> None:
        """Have one job a model; each looks at once whether something is due, for we may have been away."""
        timed = {name: schedule for name, schedule in schedules.items() if schedule.rule is not None}
        for name in self._schedules.keys() - timed.keys():
            with suppress(JobLookupError):  # it had no nominal times
                self._scheduler.remove_job(name)
        for name, schedule in timed.items():
            if self._schedules.get(name) != schedule:
                job = {"id": name, "args": [name], "replace_existing": True, "next_run_time": utc_now()}
                self._scheduler.add_job(self._ask, SlotTrigger(schedule), **job)
        self._schedules = dict(schedules)
        for name in changed:
            self._asking.hurry(name)

    def _ask(self, name: str) -> None:
        """The job of one model."""
        try:
            self._asking.timed(name)
        except UnderstudyError as error:
            log.warning("The slot of %s is owed: %s", name, error.problem, extra={"action": "slot.owed", "model": name})

    def _ask_for_the_rest(self) -> None:
        self._asking.rest(frozenset(self._schedules))

    def _check_clock(self) -> None:
        self._scheduler.wakeup()  # a signal that came just before it fell asleep is not seen until it wakes
        jumped_s = self._watch.jumped_s()
        if not jumped_s:
            return
        log.warning("The clock was set by %.0f s.", jumped_s, extra={"action": "clock.jumped", "seconds": jumped_s})
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=utc_now())


class Shutdown:
    """Shuts a scheduler down on SIGTERM and SIGINT, from a thread of its own: the main one may be doing anything."""

    def __init__(self, scheduler: BlockingScheduler) -> None:
        self._thread = Thread(target=scheduler.shutdown, kwargs={"wait": False}, name="shutdown")
        scheduler.add_listener(self._listen, EVENT_SCHEDULER_STARTED)

    def join(self) -> None:
        """Wait for its end."""
        if self._thread.ident is not None:
            self._thread.join()

    def _listen(self, event: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._thread.ident is None:
            self._thread.start()


def main() -> int:
    """Run until told to stop; a setting that is wrong ends it with one line."""
    try:
        settings = read_settings(os.environ)
    except UnderstudyError as error:
        sys.stderr.write(f"understudy scheduler: {error}\n")
        return 2
    logs = configure_logging(settings.logs, process="scheduler")
    scheduler = build_scheduler(settings)
    shutdown = Shutdown(scheduler)
    scheduler.start()
    shutdown.join()
    logs.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
