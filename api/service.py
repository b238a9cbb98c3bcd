"""Everything one API process holds, wired together once by `create_app`."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from fastapi import Request

from api.access import Access
from api.admission import Admission, Room, Turnstile
from api.answering import Answering
from api.breaker import Breakers
from api.cohorts import Cohorts
from api.conduct import Conduct
from api.counts import Counts
from api.health import Health
from api.housekeeping import Housekeeping
from api.journal import Journal
from api.judging import Judge
from api.manifests import Manifests
from api.mark import Marks
from api.metrics import Metrics
from api.promoting import Promoter
from api.readings import Readings
from api.recorder import Recorder, recorder_of
from api.references import References
from api.retention import Retention
from api.roster import Roster
from api.serving import Served, ServingTable
from api.switching import Switching
from api.tally import Tally
from api.vitals import Vitals, marks_of
from api.work import Work
from api.worker import Worker
from understudy.adapters.duty import Duty
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.folders import make_folders
from understudy.adapters.sqlite_labels import SqliteLabels
from understudy.adapters.sqlite_log import SqliteLog
from understudy.adapters.sqlite_pulse import SqlitePulse
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.adapters.sqlite_scores import SqliteScores
from understudy.adapters.trial import current_environment
from understudy.errors import NothingServes, StorageUnavailable
from understudy.events import Role
from understudy.ports import ArtifactStore, EventLog, Labels, Pulse, Records, Scores
from understudy.settings import Settings

UPLOADS_AT_ONCE = 2
LARGE_BODIES = Room(inside=2, waiting=8)
LARGE_JSON = Room(inside=12, waiting=24)
"""Each may be 16 MiB, and come slowly."""

LOOK_WAITS_S = 1.0
"""How long a look at the log waits for other processes; an append waits longer."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts, by name; `request.app.state.service` in a route."""

    settings: Settings
    access: Access
    log: EventLog
    reader: EventLog
    """The log over a connection of its own, for looks."""
    store: ArtifactStore
    records: Records
    labels: Labels
    cohorts: Cohorts
    scores: Scores
    tally: Tally
    references: References
    """Losses on the holdouts of verdicts, that labels are measured by."""
    pulse: Pulse
    journal: Journal
    table: ServingTable
    manifests: Manifests
    health: Health
    judge: Judge
    trials: Duty
    """Held while a version is tried."""
    answering: Answering
    promoter: Promoter
    recorder: Recorder
    counts: Counts
    metrics: Metrics
    work: Work
    roster: Roster
    worker: Worker
    housekeeping: Housekeeping
    vitals: Vitals
    large_bodies: Turnstile = field(default_factory=lambda: Turnstile("large bodies", LARGE_BODIES))
    """What other protocols send is read in threads, and may become 100 MB of values while it is."""
    large_json: Turnstile = field(default_factory=lambda: Turnstile("large bodies", LARGE_JSON))
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS_AT_ONCE))
    """Each upload may hold a bundle's 256 MiB in memory."""
    admission: Admission = field(default_factory=Admission)
    stopping: Event
    """Set when the process is told to stop: whoever waits for something answers now."""

    def serving(self, model: str) -> Served:
        """What answers for a model. Raises NotFound where there is none, NothingServes where none serves yet."""
        return self.answering.find(model)

    async def start(self) -> None:
        """Load every champion, then answer; told to stop meanwhile, wait no longer."""
        self.recorder.start(self.answering.identities.process)
        self.metrics.start()
        await self.vitals.start()
        self.worker.start()
        self.housekeeping.start()
        while not self.worker.started.is_set() and not self.stopping.is_set():
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        """Write what is waiting, end the threads, close what was opened; one that fails costs none of the others."""
        self.stopping.set()
        with ExitStack() as last:
            for port in (self.log, self.reader, self.labels, self.scores, self.records, self.pulse, self.trials):
                last.callback(port.close)
            last.callback(self.vitals.stop)
            last.callback(self.table.close)
            last.callback(self._leave)
            last.callback(self.worker.stop)
            last.callback(self.metrics.stop)
            last.callback(self.housekeeping.stop)
            last.callback(self.recorder.stop)
            last.callback(self.housekeeping.stop_soon)  # it waits for the same lock, if it does: not one after another
            last.callback(self.vitals.watchdog.stop)  # the loop stands still from now on

    def _leave(self) -> None:
        with suppress(StorageUnavailable):  # it falls silent then
            self.roster.leave()


def make_ready(settings: Settings) -> None:
    """Make folders, tokens and tables, so that processes that start at once find them. Raises what that raises."""
    make_folders(settings.var, settings.secrets, settings.store)
    Access(settings)
    for port in (
        SqliteLog(settings.events_file),
        SqliteRecords(settings.records_file),
        SqlitePulse(pulse_of(settings)),
    ):
        port.close()


def finder(table: ServingTable, journal: Journal, default_model: str) -> Callable[[str], Served]:
    """How a model's version is found; the default model need not have been defined yet."""

    def find(model: str) -> Served:
        try:
            return table.get(model)
        except NothingServes:
            if model != default_model:
                journal.state.model(model)
            raise

    return find


def key_of(journal: Journal, model: str) -> str | None:
    """The column by which a model's rows may be named, by its newest definition."""
    known = journal.state.models.get(model)
    key = None if known is None or known.definition is None else known.definition.get("key")
    return key if isinstance(key, str) else None


def pulse_of(settings: Settings) -> Path:
    return settings.var / "pulse.db"


def metrics_of(settings: Settings) -> Path:
    return settings.var / "metrics"


def table_of(settings: Settings, store: ArtifactStore, breakers: Breakers) -> ServingTable:
    limit_s = settings.loop_limit_ms / 1e3
    return ServingTable(store, loop_limit_s=limit_s, default_model=settings.default_model, breakers=breakers)


def open_service(settings: Settings) -> Service:
    """Open the files that `settings` name and wire the parts. Raises what opening them raises."""
    make_folders(settings.var, settings.secrets, settings.store)
    access, stopping = Access(settings), Event()
    pulse, store = SqlitePulse(pulse_of(settings)), FolderStore(settings.store)
    roster = Roster(pulse)  # before the log is read: see `understudy/rollout.py`
    log, reader = SqliteLog(settings.events_file), SqliteLog(settings.events_file, wait_s=LOOK_WAITS_S)
    records, trials = SqliteRecords(settings.records_file), Duty(settings.var / "trial.lock")
    labels, scores = SqliteLabels(settings.records_file), SqliteScores(settings.records_file)
    journal, environment = Journal(log, reader=reader), current_environment()
    marks = Marks(marks_of(settings), roster.me)  # now that little can fail: what it leaves is taken for a dead process
    breakers = Breakers(marks)
    table = table_of(settings, store, breakers)
    worker = Worker(journal, table, roster)
    conduct, retention = Conduct(breakers, journal, store), Retention(records, settings, labels)
    recorder = recorder_of(settings, records, journal, conduct.seen)
    health, counts = Health(journal, table), Counts(known=lambda: journal.state.models)
    find = finder(table, journal, settings.default_model)
    answering = Answering(
        find, worker, recorder, counts, lambda served: served.breaker.late(), lambda model: key_of(journal, model)
    )
    readings = Readings(
        counts=counts, journal=journal, table=table, health=health, recorder=recorder, retention=retention
    )
    judge = Judge(journal, store, environment, health, trials)
    work = Work(journal, pulse, settings.runs_at_once)
    promoter = Promoter(journal, table, judge, environment, worker=worker, roster=roster, stopping=stopping)
    switching = Switching(journal, promoter, stopping)
    return Service(
        settings=settings,
        access=access,
        log=log,
        reader=reader,
        store=store,
        records=records,
        labels=labels,
        cohorts=Cohorts(labels, journal, store),
        scores=scores,
        tally=Tally(scores),
        references=References(store),
        pulse=pulse,
        journal=journal,
        table=table,
        manifests=Manifests(store),
        health=health,
        judge=judge,
        trials=trials,
        answering=answering,
        promoter=promoter,
        recorder=recorder,
        counts=counts,
        metrics=Metrics(metrics_of(settings), readings.take),
        work=work,
        roster=roster,
        worker=worker,
        housekeeping=Housekeeping(
            Duty(settings.var / "duty.lock"), journal, work, roster, retention, store, switching=switching
        ),
        vitals=Vitals(
            settings, marks, breakers, conduct, journal=journal, promoter=promoter, roster=roster, stopping=stopping
        ),
        stopping=stopping,
    )


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def role_of(request: Request) -> Role:
    """The role that `authorise` found; only for routes that need a token."""
    role: Role = request.state.role
    return role
