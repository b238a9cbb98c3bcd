"""Everything one API process holds, wired together once by `create_app`."""

import asyncio
from dataclasses import dataclass, field
from threading import Event

from fastapi import Request

from api.access import Access
from api.health import Health
from api.journal import Follower, Journal
from api.judging import Judge
from api.manifests import Manifests
from api.promoting import Promoter
from api.recorder import Recorder
from api.serving import Served, ServingTable
from api.work import Work
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.folders import make_folders
from understudy.adapters.sqlite_log import SqliteLog
from understudy.adapters.sqlite_pulse import SqlitePulse
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.adapters.trial import current_environment
from understudy.errors import NothingServes
from understudy.events import Role
from understudy.ports import ArtifactStore, EventLog, Pulse, Records
from understudy.settings import Settings

UPLOADS_AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts, by name; `request.app.state.service` in a route."""

    settings: Settings
    access: Access
    log: EventLog
    store: ArtifactStore
    records: Records
    pulse: Pulse
    journal: Journal
    table: ServingTable
    manifests: Manifests
    health: Health
    judge: Judge
    promoter: Promoter
    recorder: Recorder
    work: Work
    follower: Follower
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS_AT_ONCE))
    """Each upload may hold a bundle's 256 MiB in memory."""
    stopping: Event = field(default_factory=Event)
    """Set when the process is told to stop: whoever waits for something answers now."""

    def serving(self, model: str) -> Served:
        """What answers for a model. Raises NotFound where there is none, NothingServes where none serves yet."""
        try:
            return self.table.get(model)
        except NothingServes:
            if model != self.settings.default_model:
                self.journal.state.model(model)
            raise

    def start(self) -> None:
        """Load every champion, then follow the log."""
        self.store.sweep()
        self.table.converge(self.journal.state)
        self.recorder.start()
        self.follower.start()
        self.work.start()

    def stop(self) -> None:
        """End the threads, write what is waiting, close what was opened."""
        self.work.stop()
        self.follower.stop()
        self.recorder.stop()
        self.table.close()
        for port in (self.log, self.records, self.pulse):
            port.close()


def open_service(settings: Settings) -> Service:
    """Open the files that `settings` name and wire the parts. Raises what opening them raises."""
    make_folders(settings.var, settings.secrets, settings.store)
    access = Access(settings)
    log, records = SqliteLog(settings.events_file), SqliteRecords(settings.records_file)
    pulse, store = SqlitePulse(settings.var / "pulse.db"), FolderStore(settings.store)
    journal, table, environment = Journal(log), ServingTable(store), current_environment()
    health = Health(journal, table)
    judge = Judge(journal, store, environment, health)
    return Service(
        settings=settings,
        access=access,
        log=log,
        store=store,
        records=records,
        pulse=pulse,
        journal=journal,
        table=table,
        manifests=Manifests(store),
        health=health,
        judge=judge,
        promoter=Promoter(journal, table, judge, environment),
        recorder=Recorder(records),
        work=Work(journal, pulse, settings.runs_at_once),
        follower=Follower(journal, table.converge),
    )


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def role_of(request: Request) -> Role:
    """The role that `authorise` found; only for routes that need a token."""
    role: Role = request.state.role
    return role
