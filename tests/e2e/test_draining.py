"""A process that is told to stop, or is replaced, answers everything that it has taken."""

import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import Installation, installation
from tests.wires import answer, asked, connected, many, serve_rain, told
from tests.workers import wait_for, wait_until_all_answer, workers

PREDICT = asked("POST", "/predict", {"values": [0.1, 0.2]})
CLIENTS = 6


@contextmanager
def load(installed: Installation) -> Iterator[Counter[str]]:
    """What clients meet who predict as fast as they can, every other one on a new connection each time."""
    stop, met = threading.Event(), Counter[str]()

    def client(number: int) -> None:
        while not stop.wait(0.002):
            try:
                connection = connected(installed)
            except ConnectionRefusedError:
                met["nobody listens"] += 1
                continue
            with connection:
                met[kept(connection, stop, once=bool(number % 2))] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            wait_for(lambda: met["answered and left"] > CLIENTS, "the first answers")
            yield met
        finally:
            stop.set()
        for done in clients:
            done.result()


def kept(connection: socket.socket, stop: threading.Event, *, once: bool) -> str:
    """How a connection ended; once: after one answer."""
    try:
        while not stop.is_set():
            connection.sendall(PREDICT)
            status, text = answer(connection)
            if status != 200:
                return f"{status}: {text!r}"
            if once or b"\r\nconnection: close" in text.lower():
                return "answered and left"
    except OSError as error:
        return f"failed: {error!r}"
    return "answered and left"


@pytest.mark.fault(45)
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("count", "number", "rounds"),
    [
        (1, signal.SIGTERM, 1),
        *(pytest.param(*case, 33, marks=pytest.mark.slow) for case in [(1, signal.SIGTERM), (3, signal.SIGTERM)]),
        pytest.param(1, signal.SIGHUP, 33, marks=pytest.mark.slow),
    ],
)
def test_a_stop_under_load_fails_no_request_that_was_taken(
    tmp_path: Path, count: int, number: signal.Signals, rounds: int
) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS=str(count)) as installed:
        serve_rain(installed)
        claim = asked("POST", "/runs/claim", {"claimant": "one", "wait_s": 20}, **installed.token("scheduler"))
        for n in range(rounds):
            if n:
                installed.start_api()
            wait_until_all_answer(installed, count)
            with load(installed) as met, many(installed, 3), connected(installed, claim) as poll:
                half = connected(installed, PREDICT[:-5])
                told(installed, asked("GET", "/health"))  # what came before it has been taken

                installed.processes["api.main"].send_signal(number)
                wait_for(lambda met=met: met["nobody listens"], "the end of listening")  # type: ignore[misc]
                with half:
                    half.sendall(PREDICT[-5:])
                    assert answer(half)[0] == 200
                assert answer(poll)[0] == 204
                installed.processes["api.main"].wait(60)

            assert set(met) == {"answered and left", "nobody listens"}


@pytest.mark.fault(45)
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("count", "rounds"), [(2, 1), pytest.param(3, 10, marks=pytest.mark.slow)])
def test_a_reload_replaces_every_process_and_fails_no_request(tmp_path: Path, count: int, rounds: int) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS=str(count)) as installed:
        serve_rain(installed)
        for _ in range(rounds):
            wait_until_all_answer(installed, count)
            before = set(workers(installed))

            with load(installed) as met:
                installed.processes["api.main"].send_signal(signal.SIGHUP)
                wait_for(lambda before=before: before.isdisjoint(workers(installed)), "new processes")  # type: ignore[misc]
                wait_until_all_answer(installed, count)

            assert set(met) == {"answered and left"}
            assert installed.processes["api.main"].poll() is None


def test_a_process_that_stops_says_that_it_is_not_ready_and_takes_its_connections_one_answer_further(
    tmp_path: Path,
) -> None:
    with installation(tmp_path) as installed:
        serve_rain(installed)
        ready, claim = asked("GET", "/ready"), {"claimant": "one", "wait_s": 20}
        with connected(installed, ready) as kept, connected(installed, PREDICT[:-5]) as half:
            assert answer(kept)[0] == 200
            told(installed, asked("POST", "/runs/claim", {**claim, "wait_s": 0}, **installed.token("scheduler")))

            installed.processes["api.main"].terminate()
            wait_for(lambda: "Shutting down" in installed.said("api.main"), "the stop")
            kept.sendall(ready)
            status, text = answer(kept)
            half.sendall(PREDICT[-5:])

            assert status == 503
            assert b"This process is stopping." in text
            assert b"\r\nconnection: close\r\n" in text.lower()
            assert answer(half)[0] == 200
        installed.processes["api.main"].wait(60)
