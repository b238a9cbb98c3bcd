"""Several workers: one that sleeps, starts, cannot load or dies amid a promotion costs nobody a wrong answer."""

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import requests
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from api.tests import given
from tests.services import Installation, installation
from tests.workers import (
    WITHIN_S,
    ask,
    connection_to,
    is_calm,
    paused,
    receive,
    send,
    signs,
    wait_for,
    wait_until_all_answer,
    workers,
)
from understudy.fingerprint import digest_of

WORKERS = 3
ROW = [0.1, 0.2]

OTHER = given.bundle(LogisticRegression(C=0.01))
LARGE = given.bundle(MLPClassifier((1500, 1500), max_iter=3, n_iter_no_change=1, tol=1e9, random_state=1))
"""Some 27 MB."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Three workers, and versions 1, 2 and 3."""
    with installation(tmp_path_factory.mktemp("workers"), UNDERSTUDY_API_WORKERS=str(WORKERS)) as found:
        found.start_api()
        define(found)
        assert [register(found, bundle) for bundle in (given.bundle(), OTHER, LARGE)] == ["1", "2", "3"]
        yield found


@pytest.fixture
def installed(started: Installation) -> Installation:
    """All workers are well, and version 1 serves."""
    wait_until_all_answer(started, WORKERS)
    assert promote(started, "1").status_code == 200
    return started


def define(installed: Installation) -> None:
    url, headers = f"{installed.url}/models/rain", installed.token("scheduler")
    requests.put(url, json=given.definition(), headers=headers, timeout=60).raise_for_status()


def register(installed: Installation, bundle: bytes) -> str:
    answer = requests.post(
        f"{installed.url}/models/rain/versions", data=bundle, headers=installed.token("scheduler"), timeout=120
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["version"])


def promote(installed: Installation, version: str, key: str | None = None) -> requests.Response:
    body = {"model_name": "rain", "model_version_id": version, "override": "a test"}
    headers = {**installed.token("operator"), **({} if key is None else {"Idempotency-Key": key})}
    return requests.post(f"{installed.url}/model/promote", json=body, headers=headers, timeout=120)


def kinds(installed: Installation) -> Counter[str]:
    items = installed.get("/events?limit=1000").json()["items"]
    return Counter(item["kind"] for item in items)


def started_since(installed: Installation, before: Counter[str]) -> bool:
    return kinds(installed)["promotion.started"] > before["promotion.started"]


def serving(installed: Installation) -> set[str]:
    """The versions that the workers answer with, each asked over a connection of its own."""
    found = set()
    for pid in workers(installed):
        with closing(connection_to(installed, pid)) as connection:
            found.add(ask(connection, ROW)[1]["version"])
    return found


def test_a_promotion_is_answered_when_every_worker_serves_it(installed: Installation) -> None:
    wait_until_all_answer(installed, WORKERS)  # and the sign of one that a test has killed is forgotten
    answer = promote(installed, "2")

    assert answer.status_code == 200
    assert serving(installed) == {"2"}
    assert {sign["serves"]["rain"] for sign in signs(installed)} == {answer.json()["position"]}


def test_a_worker_that_slept_through_a_promotion_looks_before_it_answers(installed: Installation, strace: None) -> None:
    """Its looks are made slow, or it might have looked already when it comes to the request."""
    parent, (sleeper, *_) = installed.processes["api.main"].pid, workers(installed)
    with ExitStack() as open_:
        connection = open_.enter_context(closing(connection_to(installed, sleeper)))
        open_.enter_context(paused(parent))  # it would replace the sleeper
        open_.enter_context(slow(sleeper, "fcntl", installed.home / "var/events.db", ms=20))
        with paused(sleeper):
            assert promote(installed, "2").status_code == 200, "silent for ten seconds, it is not waited for"
            send(connection, ROW)
        status, body = receive(connection)

    assert (status, body["version"]) == (200, "2")


def test_a_worker_that_sleeps_shortly_is_waited_for(installed: Installation) -> None:
    parent, sleeper = installed.processes["api.main"].pid, workers(installed)[0]
    before = kinds(installed)
    with paused(parent, sleeper), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(promote, installed, "2")
        wait_for(lambda: started_since(installed, before), "the start")
        time.sleep(1)
        assert not answer.done()
        assert kinds(installed)["version.promoted"] == before["version.promoted"]
        os.kill(sleeper, signal.SIGCONT)
        assert answer.result().status_code == 200

    assert serving(installed) == {"2"}


@pytest.mark.fault(26)
def test_a_version_that_one_worker_cannot_load_is_put_on_nowhere_and_the_answer_names_the_worker(
    installed: Installation,
) -> None:
    poor, aborted = workers(installed)[0], kinds(installed)["promotion.aborted"]
    with little_memory(poor):
        answer = promote(installed, "3")

    assert answer.status_code == 409
    assert f"/{poor}/" in answer.json()["detail"]
    assert "cannot load version 3" in answer.json()["detail"]
    assert kinds(installed)["promotion.aborted"] == aborted + 1
    assert serving(installed) == {"1"}
    assert promote(installed, "3").status_code == 200, "with memory it can"
    assert serving(installed) == {"3"}


@pytest.mark.fault(23)
def test_a_load_that_is_given_up_half_way_is_forgotten(installed: Installation, strace: None) -> None:
    poor, dawdling, _ = workers(installed)
    blob = next((installed.home / "api/prod_models/sha256").glob(f"*/{digest_of(LARGE)}"))
    with slow(dawdling, "openat", blob, ms=2000), little_memory(poor):
        assert promote(installed, "3").status_code == 409
        assert serving(installed) == {"1"}

    wait_for(lambda: is_calm(signs(installed)) and not any(sign["ready"] for sign in signs(installed)), "no spare")
    assert serving(installed) == {"1"}
    assert promote(installed, "3").status_code == 200
    assert serving(installed) == {"3"}


@pytest.mark.fault(27)
def test_workers_that_start_in_the_middle_of_promotions_serve_the_committed_version_only(
    installed: Installation,
) -> None:
    seen, wrong = 0, []
    for number in range(6):
        version = "2" if number % 2 == 0 else "1"
        wait_for(lambda: len(workers(installed)) == WORKERS, "all workers")
        victim = workers(installed)[number % WORKERS]
        os.kill(victim, signal.SIGKILL)
        assert promote(installed, version).status_code == 200
        wait_for(lambda gone=victim: gone not in workers(installed), "a new worker")  # type: ignore[misc]
        newcomer = workers(installed)[-1]
        with closing(connection_to(installed, newcomer)) as connection:  # its first answers
            for _ in range(5):
                seen += 1
                if (answered := ask(connection, ROW)[1]["version"]) != version:
                    wrong.append((number, answered))

    assert wrong == []
    assert seen == 30
    wait_until_all_answer(installed, WORKERS)


def test_a_worker_that_hangs_is_replaced(installed: Installation) -> None:
    hanging = workers(installed)[0]

    os.kill(hanging, signal.SIGSTOP)

    wait_for(lambda: hanging not in workers(installed), "its end")
    wait_until_all_answer(installed, WORKERS)
    assert serving(installed) == {"1"}


def test_workers_whose_parent_was_killed_end_and_leave_the_port_free(installed: Installation) -> None:
    orphans = workers(installed)

    installed.kill("api.main")

    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), "the end of the orphans")
    installed.start_api()
    wait_until_all_answer(installed, WORKERS)
    assert serving(installed) == {"1"}


def test_a_promoter_that_dies_leaves_a_start_that_a_retry_with_its_key_completes(installed: Installation) -> None:
    parent, (sleeper, *others) = installed.processes["api.main"].pid, workers(installed)
    before = kinds(installed)
    with paused(parent, sleeper), ThreadPoolExecutor(1) as pool:
        lost = pool.submit(promote, installed, "2", "one-key")
        wait_for(lambda: started_since(installed, before), "the start")
        for pid in others:
            os.kill(pid, signal.SIGKILL)  # one of them is the promoter
        with pytest.raises(requests.ConnectionError):
            lost.result()
    wait_until_all_answer(installed, WORKERS)

    answer = promote(installed, "2", "one-key")

    assert answer.status_code == 200
    assert serving(installed) == {"2"}
    assert kinds(installed)["version.promoted"] == before["version.promoted"] + 1
    assert promote(installed, "2", "one-key").json() == answer.json()
    assert kinds(installed)["version.promoted"] == before["version.promoted"] + 1


def test_work_for_all_is_done_by_one(installed: Installation) -> None:
    """The system tells who holds the lock of the duty."""
    lock = (installed.home / "var/duty.lock").stat()

    def holders() -> list[int]:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return [int(line[4]) for line in lines if line[5].endswith(f":{lock.st_ino}") and line[0][-1] == ":"]

    (holder,) = wait_for(holders, "a holder")
    assert holder in workers(installed)

    os.kill(holder, signal.SIGKILL)

    wait_for(lambda: holders() and holders() != [holder], "another holder")
    assert len(holders()) == 1


@pytest.mark.slow
def test_a_worker_whose_last_look_failed_before_it_slept_looks_again_before_it_answers(installed: Installation) -> None:
    parent, (sleeper, *_) = installed.processes["api.main"].pid, workers(installed)
    with closing(connection_to(installed, sleeper)) as connection, paused(parent):
        with closing(sqlite3.connect(installed.home / "var/events.db", isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            time.sleep(2.6)  # a look fails after one second
            os.kill(sleeper, signal.SIGSTOP)
            db.execute("ROLLBACK")
        try:
            assert promote(installed, "2").status_code == 200
            send(connection, ROW)
        finally:
            os.kill(sleeper, signal.SIGCONT)
        status, body = receive(connection)

    assert (status, body["version"]) == (200, "2")


def test_workers_that_can_never_serve_end_the_api_with_one_line_each(tmp_path: Path) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as spoilt:
        spoilt.start_api()
        define(spoilt)
        spoilt.stop()
        with closing(sqlite3.connect(tmp_path / "var/events.db")) as db, db:
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {name}")
            db.execute("UPDATE events SET time = '2020-01-01T00:00:00.000000Z' WHERE position = 1")

        process = spoilt.start("api.main")

        assert process.wait(WITHIN_S) == 2
        assert "understudy api: The event log was changed at event 1." in spoilt.said("api.main")
        assert "Traceback" not in spoilt.said("api.main")


@pytest.mark.slow
@pytest.mark.parametrize("count", ["1", "2"])
def test_an_api_that_hangs_in_its_start_can_be_stopped(tmp_path: Path, count: str) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS=count) as hanging:
        hanging.start_api()
        define(hanging)
        register(hanging, OTHER)
        assert promote(hanging, "1").status_code == 200
        hanging.stop()
        blob = next((tmp_path / "api/prod_models/sha256").glob(f"*/{digest_of(OTHER)}"))
        blob.unlink()
        os.mkfifo(blob)

        process = hanging.start("api.main")
        time.sleep(5)
        process.terminate()

        assert process.wait(WITHIN_S) in (0, -signal.SIGTERM)


@contextmanager
def little_memory(pid: int) -> Iterator[None]:
    """Let a process ask for no more memory than it has, but for a little."""
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + 4 * 2**20, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)


@contextmanager
def slow(pid: int, call: str, file: Path, *, ms: int) -> Iterator[None]:
    """Delay each such system call of a process about a file."""
    inject = f"inject={call}:delay_enter={1000 * ms}"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-p", str(pid), "-P", str(file), "-e", f"trace={call}", "-e", inject, "-o", "/dev/null"]
    )
    wait_for(lambda: f"TracerPid:\t{tracer.pid}" in Path(f"/proc/{pid}/status").read_text(), "the tracer")
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait()
