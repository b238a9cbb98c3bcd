"""Both services with no room for a log line, no folder to put it in, or nobody who reads what they print."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from scheduled_task.tests.given import DEFINITION, stream
from tests.conftest import need
from tests.services import Installation, installation
from tests.workers import wait_for

SCHEDULER = "scheduled_task.scheduler_service"
ROW = {"x": 0.2, "y": 24.0}

pytestmark = [pytest.mark.timeout(300), pytest.mark.fault(88), pytest.mark.slow]


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small volume of its own at `folder`; needs root."""
    need(os.geteuid() == 0, "only root may mount a volume")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True)
    need(done.returncode == 0, f"a volume cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a model of four hundred rows."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "stream.py").write_text(DEFINITION.replace("minutes=1", "days=300"))
    stream(400).to_csv(tmp_path / "models" / "rows.csv", index=False)
    return tmp_path


SETTINGS = {"UNDERSTUDY_DEFAULT_MODEL": "stream"}


def works(installed: Installation) -> None:
    """Train, promote, predict: the scheduler and the API do all that they are for."""
    headers = installed.token("operator")
    wait_for(lambda: installed.get("/current_model").status_code == 200, "a first champion")
    asked = {"model_name": "stream", "params": {"C": 0.5}}
    run = requests.post(f"{installed.url}/job/train", json=asked, headers=headers, timeout=30).json()["run_id"]
    ended = wait_for(lambda: ended_run(installed, run), "the run to end")
    assert ended["state"] in ("succeeded", "refused"), ended
    override = {"model_name": "stream", "model_version_id": ended["version"], "override": "a test says so"}
    promoted = requests.post(f"{installed.url}/model/promote", json=override, headers=headers, timeout=60)
    assert promoted.status_code == 200, promoted.text
    answer = requests.post(f"{installed.url}/predict", json=ROW, timeout=30)
    assert (answer.status_code, answer.json()["version"]) == (200, ended["version"])
    assert {name: process.poll() for name, process in installed.processes.items()} == {
        "api.main": None,
        SCHEDULER: None,
    }


def ended_run(installed: Installation, run: str) -> Any:
    found = installed.get(f"/runs/{run}").json()
    return found if found["finished_at"] else None


def test_full_logs_cost_lines_alone_and_lines_come_again_when_there_is_room(home: Path) -> None:
    with mounted(home / "logs", "64k") as logs, installation(home, **SETTINGS) as installed:
        ballast = filled(logs)
        installed.start_api()
        installed.start(SCHEDULER)
        works(installed)
        assert sum(path.stat().st_size for path in logs.glob("*.jsonl")) < 64 * 1024
        ballast.unlink()
        works_again = {"model_name": "stream", "reason": "a test goes back"}
        requests.post(
            f"{installed.url}/model/demote", json=works_again, headers=installed.token("operator"), timeout=60
        )
        wait_for(lambda: "swapped" in actions(logs / "api.jsonl"), "a line of the API")

        assert "log.lines_lost" in actions(logs / "api.jsonl")


def filled(volume: Path) -> Path:
    ballast = volume / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


def actions(file: Path) -> list[str]:
    """Of every line; each can be read."""
    return [json.loads(line)["action"] for line in file.read_text().splitlines()] if file.exists() else []


def test_logs_that_are_removed_at_work_are_made_again(home: Path) -> None:
    with installation(home, **SETTINGS) as installed:
        installed.start_api()
        installed.start(SCHEDULER)
        wait_for(lambda: installed.get("/current_model").status_code == 200, "a first champion")
        for file in (home / "logs").iterdir():
            file.unlink()
        (home / "logs").rmdir()
        (home / "logs").write_text("in the way")
        works(installed)
        (home / "logs").unlink()
        installed.processes[SCHEDULER].terminate()
        installed.processes[SCHEDULER].wait(30)

        assert actions(home / "logs" / "scheduler.jsonl") == ["log.lines_lost", "scheduler.stopped"]


@pytest.mark.parametrize("how", ["closed", "unread"])
def test_nobody_reads_what_the_services_print(home: Path, how: str) -> None:
    with installation(home, **SETTINGS) as installed:
        for module in ("api.main", SCHEDULER):
            installed.processes[module] = unheard(installed, module, how)
        wait_for(lambda: healthy(installed), "the API")
        works(installed)

        for module, process in installed.processes.items():
            assert_standard_streams_lead_nowhere(process.pid)
            process.terminate()
            assert process.wait(30) in (0, -15), module


def healthy(installed: Installation) -> bool:
    try:
        return installed.get("/health").status_code == 200
    except requests.ConnectionError:
        return False


def unheard(installed: Installation, module: str, how: str) -> "subprocess.Popen[bytes]":
    """A service whose streams are closed, or lead into a pipe that nobody reads any more."""
    environment = installed.environment
    if how == "closed":
        closing = "import os, sys; os.closerange(0, 3); os.execv(sys.executable, [sys.executable, '-m', sys.argv[1]])"
        return subprocess.Popen([sys.executable, "-c", closing, module], env=environment, start_new_session=True)
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    return process


def assert_standard_streams_lead_nowhere(pid: int) -> None:
    """Into no database, log or socket."""
    for number in range(3):
        leads_to = str(Path(f"/proc/{pid}/fd/{number}").readlink())
        assert leads_to == os.devnull or leads_to.startswith(("pipe:", "/dev/")), leads_to
        assert not leads_to.startswith(tempfile.gettempdir())
