"""Three workers count as one, whichever is asked, and go on doing so when one of them is killed."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

from api.tests import given
from tests.services import Installation, installation
from tests.workers import ask, connection_to, wait_for, wait_until_all_answer, workers

WORKERS = 3
GOOD, BAD = [0.1, 0.2], [0.1]

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Series:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def value(found: Series, name: str, **labels: str) -> float:
    return found.get((f"understudy_{name}", frozenset(labels.items())), 0.0)


def totals(found: Series) -> tuple[float, float, float]:
    """Requests answered, rows, and requests refused."""
    answered = value(found, "requests_total", model="rain", version="1", code="ok")
    assert value(found, "request_duration_seconds_count", model="rain") == answered
    return (
        answered,
        value(found, "rows_total", model="rain"),
        value(found, "errors_total", model="rain", code="bad_row"),
    )


class Watch:
    """Scrapes all the time, from whoever answers, and notes what has gone down."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.fallen: list[tuple[str, Mapping[str, str], float, float]] = []
        self.scrapes = 0

    def _watch(self) -> None:
        highest: Series = {}
        while not self._stop.wait(0.1):
            try:
                answer = requests.get(f"{self._url}/metrics", timeout=30)
            except requests.ConnectionError:
                continue  # the worker that had the connection was killed
            assert answer.status_code == 200
            self.scrapes += 1
            found = {key: number for key, number in parsed(answer.text).items() if counts(key[0])}
            down = [(key, highest[key], found.get(key, 0.0)) for key in highest if found.get(key, 0.0) < highest[key]]
            self.fallen += [(name, dict(labels), before, now) for (name, labels), before, now in down]
            highest |= found

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def counts(name: str) -> bool:
    return name.endswith(("_total", "_bucket", "_count", "_sum"))


@contextmanager
def three_workers(home: Path) -> Iterator[Installation]:
    """They serve version 1."""
    with installation(home, UNDERSTUDY_API_WORKERS=str(WORKERS)) as installed:
        installed.start_api()
        scheduler, operator = installed.token("scheduler"), installed.token("operator")
        model = f"{installed.url}/models/rain"
        requests.put(model, json=given.definition(), headers=scheduler, timeout=60).raise_for_status()
        requests.post(f"{model}/versions", data=given.bundle(), headers=scheduler, timeout=60).raise_for_status()
        wait_until_all_answer(installed, WORKERS)
        body = {"model_name": "rain", "model_version_id": "1", "override": "a test"}
        requests.post(f"{installed.url}/model/promote", json=body, headers=operator, timeout=60).raise_for_status()
        yield installed


def answers(installed: Installation, pid: int, rows: list[list[float]]) -> list[int]:
    """Statuses of a worker's answers to requests of one row each."""
    with closing(connection_to(installed, pid)) as connection:
        return [ask(connection, row)[0] for row in rows]


def says(installed: Installation, pid: int, expected: tuple[float, float, float]) -> Series:
    """What a worker says, once its totals are as expected: the others may be half a second behind."""
    with closing(connection_to(installed, pid)) as connection:

        def complete() -> Series | None:
            connection.request("GET", "/metrics")
            found = parsed(connection.getresponse().read().decode())
            return found if totals(found) == expected else None

        found: Series = wait_for(complete, f"{expected} from {pid}")
        return found


def test_all_workers_count_as_one_and_the_count_stays_right_when_one_is_killed(tmp_path: Path) -> None:
    with three_workers(tmp_path) as installed, Watch(installed.url) as watch:
        pids = workers(installed)
        for share, pid in enumerate(pids, start=1):
            statuses = answers(installed, pid, [GOOD] * 10 * share + [BAD])
            assert statuses == [200] * 10 * share + [422]

        for pid in pids:
            says(installed, pid, (60, 60, 3))
        os.kill(pids[0], signal.SIGKILL)
        wait_for(lambda: pids[0] not in workers(installed), "the end of one")
        wait_until_all_answer(installed, WORKERS)

        now = workers(installed)
        assert len({*now} - {*pids}) == 1
        for pid in now:
            assert answers(installed, pid, [GOOD]) == [200]
        for pid in now:
            found = says(installed, pid, (63, 63, 3))
            processes = {dict(labels)["pid"] for name, labels in found if name.endswith("_open_fds")}
            assert processes == {str(one) for one in now}
            assert (value(found, "workers"), value(found, "ready")) == (WORKERS, 1)
            assert value(found, "swaps_total", model="rain") == WORKERS + 1, "the dead one's too"

    assert watch.fallen == []
    assert watch.scrapes > 0
