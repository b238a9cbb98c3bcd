"""The API's processes: one server in this process, or several in children of it that share one socket.

A child that ends is replaced, and so is one that answers no ping for five seconds, or not its first for a minute. A
child whose parent has gone ends by itself, so that whoever starts the API again finds the port free. On SIGHUP all
children are replaced, one after the other: the next one serves before an old one is told to stop.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors.multiprocess import Process

from api.burial import seen
from api.crowd import Crowd
from api.last_calls import second_handles, take_last
from api.mark import witness
from api.memory import Shortage, kills_for_memory
from api.patience import Patience
from api.roster import forget_process
from api.watchdog import Watchdog
from api.wire import Wire
from understudy.errors import UnderstudyError
from understudy.failures import RETIRED
from understudy.ports import Pulse

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
TICK_S = 0.1
"""Between two ticks of uvicorn's loop."""
PATIENT_LOOK_EVERY_S = 1.0
UNREAD_BYTES = 128 * 1024
"""Of an answer, in the system's hands beyond what a client is ready to take. It would hold some 4 MB for each client
that does not read, and we would not see that he does not."""
STARTS_WITHIN_S = 60.0
"""Imports take seconds on a busy machine: who was killed for them would be killed for ever."""
LONGEST_PAUSE_S = 30.0
"""Between starts of children that never come to serve."""
REFUSED = 2
"""Exit code of a process that has said in one line why it cannot serve."""
DYING_S = 1.0
KILLED_AFTER_S = 5.0
"""Beyond the grace that a server has for its requests in flight."""


@dataclass(frozen=True)
class Serving:
    """What one process serves."""

    app: ASGIApp
    protocol: type[Wire]
    stopping: threading.Event
    """To be set when the process is told to stop."""
    watchdog: Watchdog | None = None


Build = Callable[[], Serving]
"""Makes it in the process that serves it; a function of a module, for children are given its name."""


class Server(uvicorn.Server):
    """Looks after its connections; told to stop, it tells whoever waits for something that it is time to answer."""

    def __init__(self, config: uvicorn.Config, build: Build) -> None:
        super().__init__(config)
        self._build, self._stopping = build, threading.Event()
        self._crowd = self.server_state = Crowd()
        self._patience, self._looked_s = Patience(keep_alive_s=config.timeout_keep_alive), 0.0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Build the application and serve it until told to stop. Raises UnderstudyError where it cannot be built."""
        serving = self._build()
        self.config.app, self.config.http, self._stopping = serving.app, serving.protocol, serving.stopping
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.handle_exit)
        if serving.watchdog is not None:
            serving.watchdog.arm(self.retire)
        super().run(sockets)
        if serving.watchdog is not None and serving.watchdog.retired:
            sys.exit(RETIRED)

    def retire(self) -> None:
        """Drain and end, to be started again; by any thread."""
        self._stopping.set()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # By a thread: a second signal amid `set` would wait for ever for the lock that the first one holds.
        threading.Thread(target=self._stopping.set, daemon=True).start()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in second_handles(self.servers):
            with listening, suppress(OSError):  # connections have it from the socket that they came by
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNREAD_BYTES)
        self._crowd.look()

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() - self._looked_s >= PATIENT_LOOK_EVERY_S:
            self._look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._patience.hurry()
        with suppress(OSError):
            self._taking = asyncio.create_task(take_last(second_handles(self.servers), self._wire))
        looking = asyncio.create_task(self._look_on())
        await super().shutdown(sockets)  # closes the sockets at once, and only then are the last calls taken
        looking.cancel()

    def _wire(self) -> Wire:
        loop, state = asyncio.get_running_loop(), self.lifespan.state
        wire = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn makes it
            config=self.config, server_state=self.server_state, app_state=state, _loop=loop
        )
        assert isinstance(wire, Wire)
        return wire

    async def _look_on(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(TICK_S)

    def _look(self) -> None:
        now_s = time.monotonic()
        self._patience.look(self._crowd.connections, now_s - self._looked_s)  # type: ignore[arg-type]  # all are `Wire`
        self._crowd.look()
        self._looked_s = now_s


class Child(Process):
    """A process that serves; its parent pings it."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], build: Build) -> None:
        self._build = build
        self._asked_s: float | None = None
        self._heard = False
        self.served = False
        """It has answered that it serves."""
        super().__init__(config, sockets)

    def _healthcheck(self, timeout: float) -> bool | None:
        """Ask whether it serves, and wait for the answer or for its end, whichever comes first."""
        found: bool | None = None
        try:
            self.parent_conn.send(b"ping")
            if self.parent_conn in wait([self.parent_conn, self.process.sentinel], timeout):
                found = self.parent_conn.recv()
        except Exception:  # noqa: BLE001 - it has gone, or died amid its answer: whatever is left says nothing
            return None
        self.served = self.served or found is True
        return found

    def is_alive(self, timeout: float = 5) -> bool:
        """Whether it answers a ping within `timeout` seconds, once it has answered its first."""
        if self._heard or not self.process.is_alive():
            return super().is_alive(timeout)
        try:
            self._heard = self._answers_first()
        except (OSError, EOFError):
            return False
        return self._heard or time.monotonic() < (self._asked_s or 0.0) + STARTS_WITHIN_S

    def _answers_first(self) -> bool:
        """Ask once, and look for the answer without waiting for it."""
        if self._asked_s is None:
            self._asked_s = time.monotonic()
            self.parent_conn.send(b"ping")
        if not self.parent_conn.poll(0):
            return False
        self.parent_conn.recv()
        return True

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config, self._build)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What the child does."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent says what it means
        self.parent_conn.close()  # our copy of the parent's end: with it open, nobody would see the parent go
        try:
            super().target(sockets)
        except UnderstudyError as error:
            sys.stderr.write(f"understudy api: {error}\n")
            sys.exit(REFUSED)

    def always_pong(self) -> None:
        try:
            super().always_pong()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Starts children and keeps their number."""

    def __init__(self, config: uvicorn.Config, build: Build, pulse: Pulse, marks: Path) -> None:
        """`marks` is the folder of what its children leave behind."""
        self._config, self._build, self._pulse, self._marks = config, build, pulse, marks
        self._shortage = Shortage(kills_for_memory() or 0)
        self._asked = False
        """A plain flag, for signal handlers may come at any moment, also into each other."""
        self._children: list[Child] = []
        self._sockets: list[socket.socket] = []
        self._has_served = False
        self._pause_s, self._next_s = 0.0, 0.0
        self._hung_up = False
        self._old: list[Child] = []
        """To be replaced, after SIGHUP."""
        self._stopping: dict[Child, float] = {}
        """Told to stop, and until when they may take."""
        self._at_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, or SIGHUP since the terminal was closed; an exit code.

        It is not 0 where no child ever came to serve, and one said why it never will.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)
        signal.signal(signal.SIGHUP, self._hang_up)
        self._sockets = [self._config.bind_socket()]
        try:
            while not self._asked:
                if self._is_refused():
                    return REFUSED
                self._fill()
                self._renew()
                self._shortage.note()
                time.sleep(LOOK_EVERY_S)
        finally:
            self._end()
        return 0

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._at_terminal and not has_terminal():
            self._asked = True
        self._hung_up = True

    def _is_refused(self) -> bool:
        """Let go of the children that have ended; True where starting more is of no use."""
        for child in [*self._children]:
            if self._asked or child.is_alive(timeout=self._config.timeout_worker_healthcheck):
                self._has_served = self._has_served or child.served
                continue
            self._children.remove(child)
            self._bury(child)
            if child.exitcode == REFUSED and not self._has_served:
                return True
            self._pause_s = 0.0 if child.served else min(max(1.0, 2 * self._pause_s), LONGEST_PAUSE_S)
            self._next_s = time.monotonic() + self._pause_s
        return False

    def _bury(self, child: Child) -> None:
        """End a child that answers no ping, and tell of its end."""
        child.process.join(DYING_S)  # one that is about to end has closed its pipe already
        silent = child.process.is_alive()
        is_stopped = state_of(child.pid or 0) in "Tt" if silent else None
        child.kill()
        child.process.join()
        how = "answered no ping and was killed" if silent else f"has ended ({child.exitcode})"
        facts = {"action": "worker.replaced", "ended": child.pid, "code": child.exitcode}
        log.warning("Worker process %s %s; another takes its place.", child.pid, how, extra=facts)
        self._witness(child, is_stopped)
        self._forget(child)

    def _forget(self, child: Child) -> None:
        try:
            forget_process(self._pulse, child.pid or 0)
        except (UnderstudyError, ValueError) as error:
            log.warning("%s", error, extra={"action": "worker.remembered"})  # it falls silent in ten seconds

    def _witness(self, child: Child, is_stopped: bool | None) -> None:
        """Leave word of how it ended to whoever buries it: only workers write to the log."""
        short = child.exitcode == -signal.SIGKILL and self._shortage.explains_one(kills_for_memory() or 0)
        end = seen(child.exitcode or 0, is_stopped=is_stopped, memory_was_short=short)
        try:
            witness(self._marks, child.pid or 0, end)
        except (OSError, ValueError) as error:
            log.warning("%s", error, extra={"action": "worker.unwitnessed"})

    def _fill(self) -> None:
        """Start what is missing, after a pause where the last one never came to serve."""
        wanted = self._config.workers + (1 if self._old else 0)
        while len(self._children) < wanted and time.monotonic() >= self._next_s:
            child = Child(self._config, self._sockets, self._build)
            try:
                child.start()
            except OSError as error:
                log.error("No worker can be started: %s", error, extra={"action": "worker.unstarted"})
                self._next_s = time.monotonic() + LONGEST_PAUSE_S
                return
            self._children.append(child)

    def _renew(self) -> None:
        """Tell an old child to stop once there is one more than is wanted, and all new ones serve."""
        if self._hung_up:
            self._hung_up, self._old = False, [*self._children]
            log.info("All worker processes are replaced, one by one.", extra={"action": "workers.renewed"})
        self._old = [child for child in self._old if child in self._children]
        new = [child for child in self._children if child not in self._old]
        if self._old and len(self._children) > self._config.workers and all(child.served for child in new):
            child = self._old.pop(0)
            self._children.remove(child)
            self._stop(child)
        for child, until_s in [*self._stopping.items()]:
            if not child.process.is_alive() or time.monotonic() > until_s:
                self._finish(child)

    def _stop(self, child: Child) -> None:
        child.terminate()
        self._stopping[child] = time.monotonic() + (self._config.timeout_graceful_shutdown or 0) + KILLED_AFTER_S

    def _finish(self, child: Child) -> None:
        """Wait for the end of a child that was told to stop, and see to it when its time is up."""
        child.process.join(max(0.0, self._stopping.pop(child) - time.monotonic()))
        if child.process.is_alive():
            child.process.kill()
            child.process.join()
            self._forget(child)

    def _end(self) -> None:
        for sock in self._sockets:
            sock.close()  # the children have it too: the last of them answers who has called by then
        for child in self._children:
            self._stop(child)
        for child in [*self._stopping]:
            self._finish(child)


def has_terminal() -> bool:
    """Whether closing a terminal would concern this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def state_of(pid: int) -> str:
    """The letter by which the system tells the state of a process: T where somebody has stopped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "?"
