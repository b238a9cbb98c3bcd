import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scheduled_task.scheduler_service import build_scheduler
from scheduled_task.tests.given import DEFINITION, stream
from scheduled_task.tests.site import Site
from tests.services import Installation, environment, installation
from understudy.settings import Settings

SERVICE = "scheduled_task.scheduler_service"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as made:
        (tmp_path / "models").mkdir()
        yield made


def waiting() -> str:
    """A definition whose source never answers."""
    source = "import time\n\n\nclass Waits:\n    def get_dataframe(self, as_of):\n        time.sleep(3600)\n\n\n"
    return source + DEFINITION.replace('Csv("rows.csv", time="at")', "Waits()")


def eventually(holds: Callable[[], bool], *, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def actions(home: Path) -> list[str]:
    file = home / "logs" / "scheduler.jsonl"
    return [json.loads(line)["action"] for line in file.read_text().splitlines()] if file.exists() else []


def children(pid: int) -> list[int]:
    """Processes that any thread of `pid` has started."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_is_late_rather_than_lost_and_once_rather_than_often(tmp_path: Path) -> None:
    scheduler = build_scheduler(Settings(home=tmp_path))

    defaults = scheduler._job_defaults

    assert defaults == {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}


@pytest.mark.fault(62)
def test_it_waits_for_the_api_trains_stops_in_time_and_its_successor_takes_the_run_over(
    installed: Installation,
) -> None:
    home = installed.home
    scheduler = installed.start(SERVICE)
    eventually(lambda: "api.waited_for" in actions(home))
    installed.start_api()
    site = Site(installed)
    site.arrive(stream(1000))
    site.settings.definitions.joinpath("stream.py").write_text(waiting())
    eventually(lambda: bool(site.scratch_folders()) and "run.claimed" in actions(home))

    began_s = time.monotonic()
    scheduler.send_signal(signal.SIGTERM)
    scheduler.wait(10)

    assert time.monotonic() - began_s < 10
    assert site.scratch_folders() == []
    assert actions(home)[-1] == "scheduler.stopped"
    site.define()  # before the run is taken over, however long a scheduler needs to start
    installed.start(SERVICE)
    run = site.ended("stream-1")
    assert (run["attempt"], run["state"]) == (2, "succeeded")
    site.api.close()


@pytest.mark.fault(62)
def test_what_trains_dies_with_a_scheduler_that_is_killed(installed: Installation) -> None:
    installed.start_api()
    site = Site(installed)
    site.arrive(stream(1000))
    site.settings.definitions.joinpath("stream.py").write_text(waiting())
    scheduler = installed.start(SERVICE)
    eventually(lambda: "run.claimed" in actions(installed.home) and bool(children(scheduler.pid)))
    (child,) = children(scheduler.pid)

    scheduler.kill()
    scheduler.wait()

    eventually(lambda: not is_alive(child), within_s=10)
    site.api.close()


@pytest.mark.fault(87)
def test_a_setting_that_does_not_exist_refuses_to_start_with_one_line(tmp_path: Path) -> None:
    wrong = environment(tmp_path, 1, UNDERSTUDY_RUNS_AT_WONCE="2")

    ended = subprocess.run([sys.executable, "-m", SERVICE], env=wrong, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr == (
        "understudy scheduler: UNDERSTUDY_RUNS_AT_WONCE is no setting. See the settings table in README.md.\n"
    )


def test_importing_the_service_does_nothing() -> None:
    code = f"import threading, {SERVICE}; print(threading.active_count(), 'pandas' in __import__('sys').modules)"

    printed = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)

    assert printed.stdout == "1 False\n"
