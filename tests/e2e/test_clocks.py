"""Clocks that are set while both services run: by hours and by a year, forward and back, for one of them or for both.

libfaketime tells a process any time of day that a file names, from one moment to the next; time that is measured since
the process began (monotonic) goes on as it does when an administrator sets a clock.
"""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from sklearn.linear_model import LogisticRegression

from api.tests import given
from tests.conftest import need
from tests.services import Installation, installation
from tests.workers import paused, wait_until_all_answer, workers
from understudy.events import moment

API, SCHEDULER = "api.main", "scheduled_task.scheduler_service"
BOTH = (API, SCHEDULER)
EVERY_S = 3
HOURS, YEAR = 2 * 3600, 365 * 86400
PATIENCE_S = 120.0
"""Only ends a hang."""

DEFINITION = '''
"""A model whose rows and pace a test can set, by files beside it."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from understudy import Model, Promotion, Schedule

HERE = Path("{here}")


class Stream:
    def get_dataframe(self, as_of):
        while (HERE / "hold").exists():
            (HERE / "held").touch()
            time.sleep(0.05)
        n = int((HERE / "rows").read_text())
        rng = np.random.default_rng(1)
        x, noise = rng.random(20000)[:n], rng.random(20000)[:n]
        label = (x + 0.2 * (noise - 0.5) > 0.5).astype(int)
        at = pd.date_range("2020-01-01", periods=n, freq="min", tz="UTC")
        return pd.DataFrame({{"x": x, "y": noise[::-1], "label": label, "at": at}})


model = Model(
    name="rain",
    source=Stream(),
    time="at",
    target="label",
    estimator=LogisticRegression(),
    retrain=Schedule.every(seconds={every_s}),
    promotion=Promotion(refit="off"),
)
'''

T = TypeVar("T")

pytestmark = pytest.mark.timeout(900)


def library() -> Path | None:
    """The library, where its package has put it."""
    package = find_spec("libfaketime")
    found = [] if package is None else list(Path(str(package.origin)).parent.rglob("libfaketime.so.1"))
    return found[0] if found else None


def until(call: Callable[[], T | None], what: str) -> T:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := call():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} has not happened")


class Clocks:
    """An installation whose processes each have a clock that can be set."""

    def __init__(self, installed: Installation, folder: Path) -> None:
        self.installed, self.folder = installed, folder
        self.row_count = 1200
        self.more_rows(0)
        (folder / "rain.py").write_text(DEFINITION.format(here=folder, every_s=EVERY_S))

    def start(self, module: str, ahead_s: int = 0) -> None:
        self.set(ahead_s, [module])
        faked = variables(self.file(module))
        self.installed.environment |= faked
        if module == API:
            self.installed.start_api()
        else:
            self.installed.start(module)

    def file(self, module: str) -> Path:
        return self.folder / f"{module}.clock"

    def set(self, ahead_s: int, modules: Sequence[str] = BOTH) -> None:
        """Set the clocks of `modules` so far ahead of ours."""
        for module in modules:
            new = self.file(module).with_suffix(".new")
            new.write_text(f"{ahead_s:+d}")
            new.rename(self.file(module))

    def more_rows(self, number: int) -> None:
        self.row_count += number
        new = self.folder / "rows.new"
        new.write_text(str(self.row_count))
        new.rename(self.folder / "rows")

    def hold(self) -> None:
        """Stop the next run in the middle: it waits for its rows."""
        (self.folder / "held").unlink(missing_ok=True)
        (self.folder / "hold").touch()
        until(lambda: (self.folder / "held").exists(), "a run")

    def let_go(self) -> None:
        (self.folder / "hold").unlink()

    def events(self, kind: str | None = None, *, after: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while items := self.installed.get("/events", params={"after": after, "limit": 1000}).json()["items"]:
            found += items
            after = items[-1]["position"]
        return [item for item in found if kind in (None, item["kind"])]

    def position(self) -> int:
        return int(self.installed.get("/ready").json()["position"])

    def runs_ended(self, number: int, *, after: int) -> list[str]:
        """Slots of the first `number` runs that were asked for after a position, once they have ended."""

        def ended() -> list[str] | None:
            events = self.events(after=after)
            done = {item["data"]["run"] for item in events if item["kind"] == "run.finished"}
            asked = [item["data"] for item in events if item["kind"] == "run.requested"]
            slots = [run["slot"] for run in asked if run["run"] in done]
            return slots if len(slots) >= number else None

        return until(ended, "the end of runs")


def variables(file: Path) -> dict[str, str]:
    """What makes a process read its time of day off `file`, and nothing else."""
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


@pytest.fixture(scope="session")
def settable_clocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The library works here: the time of day is set, time since the start goes on, and a process may sleep.

    Debian's libfaketime 0.9.10 fails the last of these: see docs/decisions/0021-clocks-that-jump.md.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the package libfaketime has a library for Linux on x86-64 alone")
    file = tmp_path_factory.mktemp("clock") / "clock"
    file.write_text("+86400")
    look = "import time; time.sleep(0.01); print(time.time(), time.monotonic())"
    told = subprocess.run(
        [sys.executable, "-c", look], env={**os.environ, **variables(file)}, check=False, capture_output=True, text=True
    ).stdout.split()
    works = len(told) == 2 and float(told[0]) > time.time() + 80_000 and float(told[1]) < time.monotonic() + 60
    need(works, "libfaketime is not installed, or does not work here")
    yield
    for left in Path("/dev/shm").glob(
        "*faketime_s*_*"
    ):  # of those who were killed: another with their id fails to start
        if not Path("/proc", left.name.rpartition("_")[2]).exists():
            left.unlink(missing_ok=True)


@pytest.fixture
def clocks(settable_clocks: None, tmp_path: Path) -> Iterator[Clocks]:
    """Both services, and a first champion that serves."""
    with running(tmp_path) as started:
        yield started


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Clocks]:
    home, definitions = folder / "home", folder / "definitions"
    home.mkdir()
    definitions.mkdir()
    with installation(home, UNDERSTUDY_MODELS_DIR=str(definitions), **settings) as installed:
        started = Clocks(installed, definitions)
        started.start(API)
        started.start(SCHEDULER)
        until(lambda: installed.get("/current_model").status_code == 200, "a first champion")
        yield started


class Client:
    """Asks for predictions all the while, and keeps what was not answered."""

    def __init__(self, url: str) -> None:
        self.answers, self.failures = 0, list[str]()
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.wait(0.05):
            try:
                answer = requests.post(f"{self._url}/predict", json={"x": 0.2, "y": 0.5}, timeout=30)
            except requests.RequestException as error:
                self.failures.append(str(error))
                continue
            self.answers += 1
            if answer.status_code != 200:
                self.failures.append(answer.text)


def jump(clocks: Clocks, ahead_s: int, modules: Sequence[str], *, runs: int = 2) -> list[dict[str, Any]]:
    """Set clocks in the middle of a run, see that neither it nor any other stalls or bursts; what was recorded."""
    clocks.hold()
    before, began_s = clocks.position(), time.monotonic()
    held = clocks.events("run.claimed")[-1]["data"]
    clocks.set(ahead_s, modules)
    time.sleep(2.5)  # the API looks for silent claims once a second, the scheduler at its clock
    clocks.let_go()
    until(lambda: held["run"] in ended(clocks), f"the end of {held['run']}")
    slots = clocks.runs_ended(runs, after=before)
    recorded = clocks.events(after=before)
    assert [item for item in recorded if item["kind"] == "run.abandoned"] == []
    assert len(slots) == len(set(slots)) <= (time.monotonic() - began_s) / EVERY_S + 2
    return recorded


def ended(clocks: Clocks) -> set[str]:
    return {item["data"]["run"] for item in clocks.events("run.finished")}


def large_gaps(recorded: list[dict[str, Any]]) -> list[int]:
    """Slots that were missed at once, leaving out those that a busy machine misses."""
    return [
        item["data"]["count"] for item in recorded if item["kind"] == "slots.missed" and item["data"]["count"] > 100
    ]


def asked_for(recorded: list[dict[str, Any]]) -> list[str]:
    return [item["data"]["slot"] for item in recorded if item["kind"] == "run.requested"]


def assert_whole(clocks: Clocks, client: Client) -> None:
    """No prediction failed, time in the log never went back, each slot was served once, and the API is ready."""
    times = [moment(item["time"]) for item in clocks.events()]
    slots = asked_for(clocks.events())
    assert client.failures == []
    assert client.answers > 0
    assert times == sorted(times)
    assert len(slots) == len(set(slots))
    assert clocks.installed.get("/ready").status_code == 200


@pytest.mark.fault(64)
@pytest.mark.fault(65)
def test_two_hours_forward_and_back_neither_stall_nor_burst_anything(clocks: Clocks) -> None:
    with Client(clocks.installed.url) as client:
        ahead = jump(clocks, HOURS, BOTH, runs=1)
        back = jump(clocks, 0, BOTH)

    assert [abs(count - HOURS / EVERY_S) < 100 for count in large_gaps(ahead)] == [True]
    assert large_gaps(back) == []
    assert asked_for(back)[-1].startswith("again/")
    assert moment(back[-1]["time"]) > moment(back[0]["time"])  # the log goes on, though it is hours ahead
    assert_whole(clocks, client)


@pytest.mark.slow
@pytest.mark.fault(65)
@pytest.mark.parametrize("modules", [BOTH, (API,), (SCHEDULER,)], ids=["both", "api", "scheduler"])
def test_no_jump_of_hours_or_a_year_stalls_or_bursts_anything(clocks: Clocks, modules: Sequence[str]) -> None:
    with Client(clocks.installed.url) as client:
        for ahead_s in (HOURS, 0, -HOURS, 0, YEAR, 0, -YEAR, 0):
            recorded = jump(clocks, ahead_s, modules)
            forward = SCHEDULER in modules and (ahead_s > 0 or (ahead_s == 0 and large_gaps(recorded) != []))
            assert len(large_gaps(recorded)) == int(forward), ahead_s

    assert_whole(clocks, client)


@pytest.mark.slow
@pytest.mark.fault(65)
@pytest.mark.parametrize(
    ("modules", "ahead_s", "said"),
    [
        (BOTH, YEAR, None),
        (BOTH, -YEAR, None),
        ((API,), HOURS, "s ago; at most 600 s ago counts"),
        ((SCHEDULER,), HOURS, "in the future: set the clocks of both services by one time server"),
    ],
)
def test_evidence_is_of_now_unless_the_clocks_of_the_services_differ(
    clocks: Clocks, modules: Sequence[str], ahead_s: int, said: str | None
) -> None:
    jump(clocks, ahead_s, modules, runs=1)
    before = clocks.position()
    clocks.more_rows(600)

    (verdict, *_) = until(lambda: clocks.events("version.judged", after=before) or None, "a verdict")

    (gate,) = [gate for gate in verdict["data"]["verdict"]["gates"] if gate["name"] == "holdout"]
    assert gate["passed"] is (said is None), gate
    assert said is None or said in gate["reason"]


@pytest.mark.slow
@pytest.mark.fault(65)
@pytest.mark.parametrize("ahead_s", [YEAR, -YEAR])
def test_a_silent_claim_is_given_up_after_ten_seconds_whatever_the_clocks_say(clocks: Clocks, ahead_s: int) -> None:
    clocks.hold()
    before = clocks.position()
    clocks.installed.kill(SCHEDULER)
    killed_s = time.monotonic()

    clocks.set(ahead_s)
    (given_up, *_) = until(lambda: clocks.events("run.abandoned", after=before) or None, "the end of a claim")
    silent_s = time.monotonic() - killed_s
    clocks.let_go()
    clocks.start(SCHEDULER, ahead_s)

    assert silent_s > 7  # ten, less one heartbeat and what it took to kill it
    until(lambda: given_up["data"]["run"] in ended(clocks), "the end of the run")
    assert [item["data"]["attempt"] for item in clocks.events("run.claimed", after=before)][:1] == [2]


@pytest.mark.slow
@pytest.mark.fault(65)
@pytest.mark.parametrize(("ahead_s", "statuses"), [(YEAR, (409, 200)), (-YEAR, (200, 200))])
def test_a_promotion_that_a_jump_divides_is_made_or_void_and_the_next_one_is_made(
    settable_clocks: None, tmp_path: Path, ahead_s: int, statuses: tuple[int, int]
) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as installed:
        clocks = Clocks(installed, tmp_path)
        clocks.start(API)
        wait_until_all_answer(installed, 2)
        body = given.definition()
        requests.put(f"{installed.url}/models/rain", json=body, headers=installed.token("scheduler"), timeout=30)
        for bundle in (given.bundle(), given.bundle(LogisticRegression(C=0.01))):
            assert added(installed, bundle) == 201
        assert promoted(installed, "1") == 200
        before = clocks.position()

        with ThreadPoolExecutor(1) as pool:
            with paused(workers(installed)[0]):  # a promoter waits for it
                answer = pool.submit(promoted, installed, "2")
                until(lambda: clocks.events("promotion.started", after=before), "a start")
                clocks.set(ahead_s, [API])
                time.sleep(2.5)  # starts without outcome are looked at once a second
            divided = answer.result(timeout=PATIENCE_S)
        again = promoted(installed, "2")

        served = installed.get("/current_model").json()["version"]
        times = [moment(item["time"]) for item in clocks.events()]
    assert (divided, again, served) == (*statuses, "2")
    assert times == sorted(times)


def added(installed: Installation, bundle: bytes) -> int:
    headers = installed.token("scheduler")
    return requests.post(
        f"{installed.url}/models/rain/versions", data=bundle, headers=headers, timeout=PATIENCE_S
    ).status_code


def promoted(installed: Installation, version: str) -> int:
    body = {"model_name": "rain", "model_version_id": version, "override": "a test"}
    headers = installed.token("operator")
    return requests.post(f"{installed.url}/model/promote", json=body, headers=headers, timeout=PATIENCE_S).status_code
