"""Both services as children of one process, for one machine and one terminal: what `make run` runs.

Each child has a session of its own, so that Ctrl-C reaches this process alone: it tells them to stop, waits until they
have, and leaves nothing behind. When either ends by itself, so does the other; but one that has crashed, or has given
up, is started again.
"""

import errno
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from understudy.adapters.api_client import ApiClient, token_of
from understudy.adapters.commands.connection import address, get_if_found, if_there
from understudy.errors import BadSettings, Conflict, Unavailable, UnderstudyError
from understudy.failures import BLOCKED, RETIRED, STILL
from understudy.settings import PREFIX, Settings

LOOK_EVERY_S = 0.2
HEALTHY_WITHIN_S = 120.0
"""Generous: on a cold disk the libraries alone take a while."""
FIRST_MODEL_WITHIN_S = 90.0
STOPPED_WITHIN_S = 15.0
"""The API gives requests in flight 8 s; whoever takes longer than this is killed."""

CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
COMES_BACK = frozenset({BLOCKED, RETIRED, STILL, *(-number for number in CRASHES)})
"""How a service ends that is started again: it knows then what it died of, and goes back from a model that did it."""
AGAIN, WITHIN_S = 5, 60.0
"""More starts in so many seconds mend nothing."""

Say = Callable[..., None]
"""Tells people one or more lines, all in one piece."""


@dataclass(frozen=True)
class Child:
    """One service at work."""

    name: str
    module: str
    process: "subprocess.Popen[bytes]"


class Signals:
    """Remembers that somebody wants an end, instead of ending at once. Closing the terminal counts."""

    WANTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> "Signals":
        self._before = {number: signal.signal(number, self._note) for number in self.WANTED}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True


class Services:
    """The children, from the start of the first to the end of the last."""

    def __init__(self, environment: dict[str, str], say: Say) -> None:
        self._environment, self._say, self._children = environment, say, list[Child]()
        self._again_s = deque[float](maxlen=AGAIN)

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, module: str) -> None:
        self._children.append(self._started(name, module))

    def _started(self, name: str, module: str) -> Child:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        return Child(name, module, process)

    def check(self) -> None:
        """Start a service again that has crashed or given up. Raises UnderstudyError where one has ended otherwise."""
        for place, child in enumerate(self._children):
            code = child.process.poll()
            if code in COMES_BACK and self._may_begin_again():
                self._say(f"The {child.name} has ended ({how(code)}) and is started again; its log says why.")
                self._children[place] = self._started(child.name, child.module)
            elif code is not None:
                raise UnderstudyError(
                    f"The {child.name} ended by itself ({how(code)}), so everything is stopped.", remedy=where_why(code)
                )

    def _may_begin_again(self) -> bool:
        now_s = time.monotonic()
        if len(self._again_s) == AGAIN and now_s - self._again_s[0] < WITHIN_S:
            return False
        self._again_s.append(now_s)
        return True

    def stop(self) -> None:
        """End the children, the last one first: a scheduler at work still finds its API."""
        until = time.monotonic() + STOPPED_WITHIN_S
        for child in reversed(self._children):
            end(child.process, signal.SIGTERM)
            try:
                child.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
        self._children.clear()


def end(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)


def how(code: int) -> str:
    """What an exit code says, for people."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def where_why(code: int) -> str:
    """Where it stands why a service has ended."""
    if code == -signal.SIGKILL:  # it could leave no line
        return "A person did that, or the system for want of memory: `dmesg` tells of that."
    return "Its last lines above, and in logs/, say why."


def run_services(settings: Settings, say: Say) -> None:
    """Run the API and the scheduler until somebody wants an end.

    Raises:
        Conflict: the port is taken.
        BadSettings: it can never be listened on.
        UnderstudyError: a service ended by itself; the other one has been stopped.
    """
    check_port(settings)
    client = ApiClient(address(settings), if_there(token_of("client", settings)), retries=0, answer_s=2)
    with Signals() as signals, Services({**os.environ, f"{PREFIX}API_URL": address(settings)}, say) as services:
        story = told(settings, services, client, say)
        while not signals.came:
            next(story, None)
            services.check()
            time.sleep(LOOK_EVERY_S)
        say("Stopping both.")
    client.close()


def told(settings: Settings, services: Services, client: ApiClient, say: Say) -> Iterator[None]:
    """Start one after the other and say what has come true; each step looks once and never waits."""
    services.start("API", "api.main")
    yield from until_healthy(client)
    services.start("scheduler", "scheduled_task.scheduler_service")
    say(f"The API answers at {address(settings)}; what it can do is shown at {address(settings)}/docs")
    say(f"The operator's token {where_token(settings)}")
    say("Ctrl-C stops both. The first model needs up to a minute.")
    until_s = time.monotonic() + FIRST_MODEL_WITHIN_S
    while (lines := first_lines(settings, client)) is None:
        if time.monotonic() > until_s:
            say(f"No model serves yet after {FIRST_MODEL_WITHIN_S:.0f} s; `understudy status` says why.")
            return
        yield
    say(*lines)


def until_healthy(client: ApiClient) -> Iterator[None]:
    until_s = time.monotonic() + HEALTHY_WITHIN_S
    while True:
        try:
            client.get("/health")
        except Unavailable:
            if time.monotonic() > until_s:
                raise
            yield
        else:
            return


def first_lines(settings: Settings, client: ApiClient) -> tuple[str, str] | None:
    """What serves, and the request to try; None: nothing yet."""
    try:
        champion = get_if_found(client, "/current_model")
        command = None if champion is None else curl(settings, client.get("/openapi.json"), program())
    except Unavailable:
        return None
    if command is None:
        return None
    return f"Model {champion['model']} serves, version {champion['version']}. Ask it:", command


def where_token(settings: Settings) -> str:
    if settings.operator_token is not None:
        return f"is the one in {PREFIX}OPERATOR_TOKEN."
    return f"lies in {(settings.var / 'operator.token').absolute()}"


def program() -> str:
    """How the command line is called here: by its name where that is found, else by its place beside Python."""
    return "understudy" if shutil.which("understudy") else str(Path(sys.executable).with_name("understudy"))


def curl(settings: Settings, openapi: Any, program: str) -> str | None:
    """The request that `/docs` shows, as a line for a terminal; None where the process that answered shows none yet."""
    schema = openapi["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    if "example" not in schema:
        return None
    bearer = f'-H "Authorization: Bearer $({shlex.quote(program)} token --role client)" '
    token = "" if "predict" in settings.open else bearer
    return (
        f"curl -X POST {address(settings)}/predict {token}-H 'Content-Type: application/json' "
        f"-d {shlex.quote(json.dumps(schema['example']))}"
    )


def check_port(settings: Settings) -> None:
    """Raises Conflict where something listens already: /health would be answered by it."""
    host, port = settings.api_host, settings.api_port
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"Port {port} of {host} is taken.",
                remedy=f"Stop what listens there, or choose another port with {PREFIX}API_PORT.",
            ) from error
        raise BadSettings(
            f"{host} port {port} cannot be listened on: {error.strerror}.",
            remedy=f"Correct {PREFIX}API_HOST or {PREFIX}API_PORT.",
        ) from error
