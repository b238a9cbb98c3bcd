"""A running API is sent the hostile files by both roles that may register; it refuses them, and is none the worse."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from api.tests.given import definition
from tests.bundles import by_hand, identity
from tests.hostile.corpus import corpus
from tests.hostile.hostile import Hostile, Targets
from tests.services import Installation, installation
from tests.tracing import Call, calls_in
from understudy.adapters.trial import FOLDER

ROOT = Path(__file__).parents[2]
MODEL = "by_hand"
GROWTH_MB = 512
"""What an API may have grown by: two bodies of 16 MiB in many forms, and the libraries that it loads with the first."""


@contextmanager
def watched(home: Path, targets: Targets) -> Iterator[tuple[Installation, int, Path]]:
    """An API that serves a sound version, in the folder that hostile names lead out of; its calls go to a trace."""
    trace = home.parent / "trace"
    targets.make()
    home.mkdir()
    with installation(home, PYTHONPATH=str(ROOT)) as installed, at(targets.folder / "work"):
        api = installed.start_api()
        champion(installed)
        tracer = attached(api.pid, trace)
        try:
            yield installed, api.pid, trace
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()


@contextmanager
def at(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def attached(pid: int, trace: Path) -> "subprocess.Popen[bytes]":
    """Trace what a process and its children open and start from now on."""
    calls = "open,openat,openat2,creat,execve,execveat,connect,rename,renameat2,link,linkat,symlink,mkdir"
    command = ["strace", "-f", "-s", "300", "-o", str(trace), "-e", f"trace={calls}", "-p", str(pid)]
    tracer = subprocess.Popen([*command, "-qq"], stderr=subprocess.DEVNULL)
    while not all(is_traced(thread) for thread in Path(f"/proc/{pid}/task").iterdir()):
        assert tracer.poll() is None, "strace could not attach"
        time.sleep(0.05)
    return tracer


def is_traced(thread: Path) -> bool:
    return (thread / "status").read_text().partition("TracerPid:")[2].split()[0] != "0"


def champion(installed: Installation) -> None:
    """Version 1 answers its one number."""
    headers = installed.token("scheduler")
    requests.put(
        f"{installed.url}/models/{MODEL}", json=definition(MODEL), headers=headers, timeout=30
    ).raise_for_status()
    answer = send(installed, by_hand({"model.onnx": identity()}), "scheduler")
    assert answer.json()["trial"]["passed"], answer.text
    assert promoted(installed, "1").status_code == 200


def send(installed: Installation, data: bytes, role: str) -> requests.Response:
    return requests.post(
        f"{installed.url}/models/{MODEL}/versions", data=data, headers=installed.token(role), timeout=120
    )


def promoted(installed: Installation, version: str) -> requests.Response:
    body = {"model_name": MODEL, "model_version_id": version, "override": "I insist"}
    return requests.post(f"{installed.url}/model/promote", json=body, headers=installed.token("operator"), timeout=120)


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@dataclass
class Outcome:
    """How a campaign went."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def campaign(installed: Installation, files: Iterable[tuple[Hostile, str]], targets: Targets) -> Outcome:
    outcome = Outcome()
    for hostile, role in files:
        data = hostile.make(targets)
        answer = send(installed, data, role)
        told = ending(installed, hostile, role, answer)
        outcome.answers[f"{role}: {told}"] += 1
        if told.startswith("wrong"):
            outcome.wrong.append(f"{hostile.name}, {role}: {answer.status_code} {answer.text[:300]}")
        served = requests.post(f"{installed.url}/models/{MODEL}/predict", json={"x": 3.5}, timeout=30, headers={})
        if (served.status_code, served.json().get("predictions"), served.json().get("version")) != (200, [3.5], "1"):
            outcome.wrong.append(f"after {hostile.name}: {served.status_code} {served.text[:300]}")
    return outcome


def ending(installed: Installation, hostile: Hostile, role: str, answer: requests.Response) -> str:
    """What became of a file, in words for a table."""
    told = answer.json()
    if answer.status_code >= 400:
        status, expected = 422, hostile.says
        if role != "scheduler" and hostile.uploaded is not None:
            status, expected = 403, hostile.uploaded
        if hostile.name == "files/more than 256 MiB":
            status, expected = 413, ""
        right = answer.status_code == status and expected in told["detail"] and told["remedy"]
        return f"{answer.status_code} {told['code']}" if right else "wrong answer"
    if told["trial"]["passed"] or hostile.says not in told["trial"]["reason"]:
        return "wrong trial"
    again = promoted(installed, told["version"])
    refused = again.status_code == 409 and "failed its trial" in again.json()["detail"]
    return f"failed its trial by {hostile.layer}" if refused else "wrong promotion"


def files_in(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def logged(home: Path) -> list[Mapping[str, Any]]:
    lines = (line for file in (home / "logs").glob("*") for line in file.read_text().splitlines())
    return [json.loads(line) for line in lines]


def check(installed: Installation, pid: int, trace: Path, targets: Targets, before: set[str]) -> None:
    """Nobody opened what a file named or started anything, and the API's folders hold what they should."""
    assert not targets.canary.exists()
    assert [entry["version"] for entry in logged(installed.home) if entry.get("action") == "swapped"] == ["1"]
    fresh = {name for name in files_in(installed.home) - before if not name.startswith(("logs/", "var/"))}
    assert all(name.startswith("api/prod_models/sha256/") for name in fresh), fresh
    calls = list(calls_in(trace))
    started = [call.line for call in calls if call.name.startswith("execve")]
    assert started
    assert all("understudy.adapters.trial_child" in line for line in started), started
    foreign = sorted(
        {call.path for call in calls if call.name.startswith(("open", "creat")) and is_foreign(call, installed)}
    )
    assert foreign == []
    assert not [call.line for call in calls if "secret.bin" in call.line or "canary" in call.line]
    passwords = sum(call.path == "/etc/passwd" for call in calls)
    assert passwords <= len(started)  # Python looks for the folder of its user, once in each child
    assert not [call.line for call in calls if call.name == "connect" and "AF_INET" in call.line]


SYSTEM = (
    "/usr/",
    "/lib",
    "/proc/",
    "/sys/",
    "/dev/",
    "/etc/ld.so",
    "/etc/localtime",
    "/etc/passwd",
    "/etc/nsswitch.conf",
)


def is_foreign(call: Call, installed: Installation) -> bool:
    """Whether a file lies elsewhere than the interpreter, the libraries, the API's home and the system's own."""
    if "O_DIRECTORY" in call.line or "O_TMPFILE" in call.line:
        return False
    if "/proc/self/environ" in call.line:
        return True
    trials = str(Path(tempfile.gettempdir()) / FOLDER)
    ours = (str(installed.home), sys.prefix, sys.base_prefix, str(ROOT), trials, *SYSTEM)
    return call.path.startswith("/") and not call.path.startswith(ours)


def sample() -> list[tuple[Hostile, str]]:
    """One file of each kind and layer that ends quickly, and each that another role may not bring."""
    fit = [one for one in corpus() if "CPU time" not in one.says and "256 MiB" not in one.says]
    quick = {(one.kind.partition(" ")[0] if "external" in one.kind else one.kind, one.layer): one for one in fit}
    uploads = {one.kind: one for one in corpus() if one.uploaded is not None}
    return [*((one, "scheduler") for one in quick.values()), *((one, "operator") for one in uploads.values())]


def survived(tmp_path: Path, files: list[tuple[Hostile, str]]) -> None:
    targets = Targets(tmp_path / "targets")
    with watched(tmp_path / "home", targets) as (installed, pid, trace):
        before, memory = files_in(installed.home), memory_mb(pid)
        outcome = campaign(installed, files, targets)
        after = memory_mb(pid)
        assert installed.processes["api.main"].poll() is None
        assert installed.get("/health").status_code == 200
    sys.stderr.write(f"{len(files)} files; API {memory:.0f} MiB before, {after:.0f} after; {dict(outcome.answers)}\n")
    assert outcome.wrong == []
    assert after - memory < GROWTH_MB
    check(installed, pid, trace, targets, before)


@pytest.mark.usefixtures("strace")
@pytest.mark.fault(4)
@pytest.mark.fault(8)
@pytest.mark.fault(9)
@pytest.mark.fault(11)
@pytest.mark.timeout(400)
def test_one_file_of_each_kind_leaves_a_running_api_as_it_was(tmp_path: Path) -> None:
    survived(tmp_path, sample())


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.fault(4)
@pytest.mark.fault(8)
@pytest.mark.fault(9)
@pytest.mark.fault(10)
@pytest.mark.fault(11)
@pytest.mark.fault(12)
@pytest.mark.fault(13)
@pytest.mark.timeout(3600)
def test_the_whole_corpus_by_both_roles_leaves_a_running_api_as_it_was(tmp_path: Path) -> None:
    survived(tmp_path, [(hostile, role) for hostile in corpus() for role in ("operator", "scheduler")])
