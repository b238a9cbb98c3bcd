"""Tokens are replaced while both services are at work: the old one ends, the new one counts, nobody is restarted."""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from scheduled_task.tests.given import DEFINITION, stream
from tests.services import START_S, Installation, installation
from tests.workers import wait_for

SCHEDULER = "scheduled_task.scheduler_service"
ROW = {"x": 0.2, "y": 24.0}
ASKED_AGAIN = 8
"""Times on new connections: most likely each worker is asked."""
PAUSE_S = 0.002

pytestmark = pytest.mark.timeout(300)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def renamed(file: Path, token: str) -> None:
    """As one should."""
    fresh = file.with_name("fresh")
    fresh.write_text(token + "\n")
    fresh.chmod(0o600)
    fresh.rename(file)


def written_over(file: Path, token: str) -> None:
    """As an editor does, interrupted: it is empty, then half there."""
    with file.open("w") as opened:
        for part in ("", token[:20], token[20:], "\n"):
            opened.write(part)
            opened.flush()
            time.sleep(0.05)


def removed_first(file: Path, token: str) -> None:
    file.unlink()
    time.sleep(0.1)
    renamed(file, token)


def open_at_first(file: Path, token: str) -> None:
    """With the mode that most people's files get, and mended then."""
    fresh = file.with_name("fresh")
    fresh.write_text(token)
    fresh.chmod(0o644)
    fresh.rename(file)
    time.sleep(0.1)
    file.chmod(0o600)


Way = Callable[[Path, str], None]
WAYS: tuple[Way, ...] = (renamed, written_over, removed_first, open_at_first)


@dataclass
class Ring:
    """The tokens that count. `turning` is odd while one is being replaced: either may count then."""

    installed: Installation
    turning: int = 0
    wrong: list[str] = field(default_factory=list)
    answered: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def file(self, role: str) -> Path:
        return self.installed.home / ("secrets" if role == "scheduler" else "var") / f"{role}.token"

    def turn(self, role: str, way: Way) -> None:
        """Replace a token, and see that every worker minds from the next request on."""
        old, new = self.file(role).read_text().strip(), secrets.token_urlsafe(32)
        self.turning += 1
        way(self.file(role), new)
        self.turning += 1
        for _ in range(ASKED_AGAIN):
            assert self.status(old) == 401, (role, way.__name__)
            assert self.status(new) == 200, (role, way.__name__)

    def status(self, token: str) -> int:
        return self.installed.get("/models", headers=bearer(token)).status_code

    def ask(self) -> None:
        """Predict on kept connections, with the token that counts, until told to stop."""
        with requests.Session() as session:
            while not self.stop.is_set():
                turning = self.turning
                try:
                    token = self.file("client").read_text().strip()
                    answer = session.post(f"{self.installed.url}/predict", json=ROW, headers=bearer(token), timeout=30)
                except (
                    OSError,
                    ValueError,
                ) as error:  # no file at this moment, or half a token: no matter of the API's
                    if isinstance(error, requests.ConnectionError):
                        self.wrong.append(repr(error))
                    continue
                self.answered += answer.status_code == 200
                self.stop.wait(PAUSE_S)
                still = turning == self.turning and turning % 2 == 0
                if answer.status_code != 200 and (still or answer.status_code != 401):
                    self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")

    @contextmanager
    def asking(self, threads: int) -> Iterator[None]:
        clients = [threading.Thread(target=self.ask) for _ in range(threads)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self.stop.set()
            for client in clients:
                client.join()

    def operator(self) -> dict[str, str]:
        return dict(self.installed.token("operator"))


def runs(installed: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = installed.get("/runs", headers=installed.token("operator")).json()["items"]
    return found


def train(installed: Installation) -> str:
    answer = requests.post(
        f"{installed.url}/job/train", json={"model_name": "stream"}, headers=installed.token("operator"), timeout=30
    )
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["run_id"])


@contextmanager
def both_services(home: Path, workers: int) -> Iterator[Installation]:
    """Both at work on a model of four hundred rows, with nothing open."""
    (home / "models").mkdir()
    (home / "models" / "stream.py").write_text(DEFINITION.replace("minutes=1", "days=300"))
    stream(400).to_csv(home / "models" / "rows.csv", index=False)
    settings = {"UNDERSTUDY_OPEN": "", "UNDERSTUDY_DEFAULT_MODEL": "stream", "UNDERSTUDY_API_WORKERS": str(workers)}
    with installation(home, **settings) as installed:
        installed.start_api()
        installed.start(SCHEDULER)
        serves = lambda: installed.get("/current_model", headers=installed.token("client")).status_code == 200  # noqa: E731
        wait_for(serves, "a first champion")
        yield installed


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    ("workers", "ways"),
    [
        pytest.param(3, WAYS[:2], id="3"),
        pytest.param(3, WAYS * 3, id="3-long", marks=pytest.mark.slow),
        pytest.param(1, WAYS * 3, id="1-long", marks=pytest.mark.slow),
    ],
)
def test_tokens_are_replaced_under_load_and_no_run_is_lost(tmp_path: Path, workers: int, ways: tuple[Way, ...]) -> None:
    with both_services(tmp_path, workers) as installed:
        started = {module: process.pid for module, process in installed.processes.items()}
        ring, asked = Ring(installed), []
        with ring.asking(2):
            for way in ways:
                asked.append(train(installed))
                for role in ("scheduler", "operator", "client"):
                    ring.turn(role, way)
            ended = wait_for(lambda: all_ended(installed, asked), "the runs to end")

        assert ring.wrong == []
        assert ring.answered > 0
        assert {run["attempt"] for run in ended} == {1}
        assert {run["state"] for run in ended} <= {"succeeded", "skipped", "refused"}
        events = installed.get("/events?limit=1000", headers=ring.operator()).json()["items"]
        assert "run.abandoned" not in {event["kind"] for event in events}
        assert {name: process.poll() for name, process in installed.processes.items()} == dict.fromkeys(started)
    for file in (tmp_path / "logs").glob("*.jsonl"):
        assert_no_flood(file, turns=3 * len(ways))


def all_ended(installed: Installation, asked: list[str]) -> list[dict[str, Any]]:
    """The runs that were asked for, once all of them have ended."""
    found = [run for run in runs(installed) if run["id"] in asked]
    return found if len(found) == len(asked) and all(run["finished_at"] for run in found) else []


def assert_no_flood(file: Path, turns: int) -> None:
    """A token that cannot be used is told of when it begins, and not with each of some thousand requests."""
    actions = [json.loads(line)["action"] for line in file.read_text().splitlines()]
    assert actions.count("token.unusable") <= turns * 2


@pytest.mark.fault(5)
def test_two_apis_that_start_on_an_empty_folder_agree_on_their_tokens(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(installation(tmp_path)) for _ in range(2))
        first.start("api.main", name="first")
        second.start("api.main", name="second")
        for installed, name in ((first, "first"), (second, "second")):
            wait_until_healthy(installed, name)
        for installed in (first, second):
            for role in ("operator", "scheduler", "client"):
                artifact = installed.get("/models/rain/versions/1/artifact", headers=installed.token(role))
                assert artifact.status_code == 404


def wait_until_healthy(installed: Installation, name: str) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert installed.processes[name].poll() is None, installed.said(name)
        try:
            if installed.get("/health").status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(installed.said(name))
