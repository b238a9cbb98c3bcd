"""The API's processes: one server in this process, or several in children of it that share one socket.

A child that ends is replaced, and so is one that answers no ping for five seconds, or not its first for a minute. A
child whose parent has gone ends by itself, so that whoever starts the API again finds the port free.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors.multiprocess import Process

from api.roster import forget_process
from understudy.errors import UnderstudyError
from understudy.ports import Pulse

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
STARTS_WITHIN_S = 60.0
"""Imports take seconds on a busy machine: who was killed for them would be killed for ever."""
KILLED_AFTER_S = 5.0
"""Beyond the grace that a server has for its requests in flight."""

Build = Callable[[], FastAPI]
"""Makes the application in the process that serves it; a function of a module, for children are given its name."""


class Server(uvicorn.Server):
    """Tells whoever waits for something that it is time to answer: connections are drained only then."""

    def __init__(self, config: uvicorn.Config, build: Build) -> None:
        super().__init__(config)
        self._build, self._stopping = build, threading.Event()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Build the application and serve it until told to stop. Raises UnderstudyError where it cannot be built."""
        app = self._build()
        self.config.app, self._stopping = app, app.state.service.stopping
        super().run(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.set()
        super().handle_exit(sig, frame)


class Child(Process):
    """A process that serves; its parent pings it."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], build: Build) -> None:
        self._build = build
        self._asked_s: float | None = None
        self._heard = False
        super().__init__(config, sockets)

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
        self.parent_conn.close()  # our copy of the parent's end: with it open, nobody would see the parent go
        try:
            super().target(sockets)
        except UnderstudyError as error:
            sys.stderr.write(f"understudy api: {error}\n")
            sys.exit(1)

    def always_pong(self) -> None:
        try:
            super().always_pong()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Starts children and keeps their number."""

    def __init__(self, config: uvicorn.Config, build: Build, pulse: Pulse) -> None:
        self._config, self._build, self._pulse = config, build, pulse
        self._wanted = threading.Event()
        self._sockets: list[socket.socket] = []

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._wanted.set())
        self._sockets = [self._config.bind_socket()]
        children = [self._begun() for _ in range(self._config.workers)]
        while not self._wanted.wait(LOOK_EVERY_S):
            children = [self._replaced(child) for child in children]
        for child in children:
            child.terminate()
        for child in children:
            self._end(child)

    def _begun(self) -> Child:
        child = Child(self._config, self._sockets, self._build)
        child.start()
        return child

    def _replaced(self, child: Child) -> Child:
        if self._wanted.is_set() or child.is_alive(timeout=self._config.timeout_worker_healthcheck):
            return child
        child.kill()
        child.process.join()
        log.warning(
            "Worker process %s has ended (%s) and is replaced.",
            child.pid,
            child.exitcode,
            extra={"action": "worker.replaced", "ended": child.pid, "code": child.exitcode},
        )
        self._forget(child)
        return child if self._wanted.is_set() else self._begun()

    def _forget(self, child: Child) -> None:
        try:
            forget_process(self._pulse, child.pid or 0)
        except UnderstudyError as error:
            log.warning("%s", error, extra={"action": "worker.remembered"})  # it falls silent in ten seconds

    def _end(self, child: Child) -> None:
        child.process.join((self._config.timeout_graceful_shutdown or 0) + KILLED_AFTER_S)
        if child.process.is_alive():
            child.process.kill()
            child.process.join()
