"""A running API is sent the hostile files by both roles that may register; it refuses them, and is none the worse."""

import json
import subprocess
import sys
import tempfile
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
from tests.services import Installation
from tests.tracing import Call, calls_in
from understudy.adapters.bundle import MAX_BYTES
from understudy.adapters.trial import FOLDER

ROOT = Path(__file__).parents[2]
MODEL = "by_hand"
OUT_OF_TIME = "did not end within"
"""On a busy machine the clock strikes before the CPU time is used up."""
GROWTH_MB = 512
"""What an API may have grown by: two bodies of 16 MiB in many forms, and the libraries that it loads with the first."""


class Traced(Installation):
    """An installation whose API is traced, with all its children, and runs in a folder that hostile names lead out of.

    The tracer is told to stop nobody for other calls than those that it writes down, or an import would take a minute.
    """

    folder: Path
    trace: Path

    def start(self, module: str, *, name: str | None = None, **settings: str) -> "subprocess.Popen[bytes]":
        calls = "open,openat,openat2,creat,execve,execveat,connect,rename,renameat2,link,linkat,symlink,mkdir"
        tracer = [
            "strace",
            "-D",
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-s",
            "300",
            "-o",
            str(self.trace),
            "-e",
            f"trace={calls}",
        ]
        with (self.home / f"{module}.out").open("ab") as output:
            self.processes[name or module] = subprocess.Popen(
                [*tracer, sys.executable, "-m", module],
                cwd=self.folder,
                env={**self.environment, **settings},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.processes[name or module]


@contextmanager
def watched(home: Path, targets: Targets) -> Iterator[Traced]:
    """An API that serves a sound version."""
    targets.make()
    home.mkdir()
    installed = Traced(home, PYTHONPATH=str(ROOT))
    installed.folder, installed.trace = targets.folder / "work", home.parent / "trace"
    try:
        installed.start_api()
        champion(installed)
        yield installed
    finally:
        installed.stop()


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
        if len(data) > MAX_BYTES:  # the answer comes before the body has been sent, which not every client hears
            continue
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
        right = answer.status_code == status and expected in told["detail"] and told["remedy"]
        return f"{answer.status_code} {told['code']}" if right else "wrong answer"
    says = (hostile.says, OUT_OF_TIME) if hostile.layer == "limits" else (hostile.says,)
    if told["trial"]["passed"] or not any(words in told["trial"]["reason"] for words in says):
        return "wrong trial"
    again = promoted(installed, told["version"])
    refused = again.status_code == 409 and "failed its trial" in again.json()["detail"]
    return f"failed its trial by {hostile.layer}" if refused else "wrong promotion"


def files_in(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def logged(home: Path) -> list[Mapping[str, Any]]:
    lines = (line for file in (home / "logs").glob("*") for line in file.read_text().splitlines())
    return [json.loads(line) for line in lines]


def check(installed: Traced, targets: Targets, before: set[str]) -> None:
    """Nobody opened what a file named or started anything, and the API's folders hold what they should."""
    assert not targets.canary.exists()
    assert [entry["version"] for entry in logged(installed.home) if entry.get("action") == "swapped"] == ["1"]
    fresh = {name for name in files_in(installed.home) - before if not name.startswith(("logs/", "var/"))}
    assert all(name.startswith("api/prod_models/sha256/") for name in fresh), fresh
    calls = list(calls_in(installed.trace))
    started = [call.line for call in calls if call.name.startswith("execve")]
    assert started
    assert all("understudy.adapters.trial_child" in line for line in started), started
    foreign = sorted(
        {call.path for call in calls if call.name.startswith(("open", "creat")) and is_foreign(call, installed)}
    )
    assert foreign == []
    assert not [call.line for call in calls if "secret.bin" in call.line or "canary" in call.line]
    looked_up = Counter(call.line.split()[0] for call in calls if call.path == "/etc/passwd")
    assert len(set(looked_up.values())) == 1  # Python asks where its user's packages are, in each child alike
    assert not [call.line for call in calls if call.name == "connect" and "AF_INET" in call.line]


SYSTEM = (
    "/usr/",
    "/lib",
    "/proc/",
    "/sys/",
    "/dev/",
    "/etc/ld.so",
    "/etc/localtime",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/ssl/openssl.cnf",
    "/etc/nsswitch.conf",
)


def is_foreign(call: Call, installed: Installation) -> bool:
    """Whether a file lies elsewhere than the interpreter, the libraries, the API's home and the system's own."""
    if any(flag in call.line for flag in ("O_DIRECTORY", "O_TMPFILE", "O_PATH")):  # no file is read by these
        return False
    if "/proc/self/environ" in call.line:
        return True
    trials = str(Path(tempfile.gettempdir()) / FOLDER)
    ours = (str(installed.home), sys.prefix, sys.base_prefix, str(ROOT), trials, *SYSTEM)
    return call.path.startswith("/") and not call.path.startswith(ours)


def sample() -> list[tuple[Hostile, str]]:
    """One of each form for each layer that refuses it, of those that end quickly, and those that are named below."""
    fit = [one for one in corpus() if "CPU time" not in one.says and "external" not in one.kind]
    first = {(form_of(one), one.layer): one for one in reversed(fit)}
    named = [one for one in corpus() if one.name in NAMED]
    uploads = [one for one in corpus() if one.name in UPLOADED]
    chosen = {one.name: one for one in (*first.values(), *named) if "256 MiB" not in one.says}
    return [*((one, "scheduler") for one in chosen.values()), *((one, "operator") for one in uploads)]


def form_of(hostile: Hostile) -> str:
    form = hostile.kind.split()[0]
    return form if form in ("onnx", "skops") else "others"


NAMED = {"onnx external initializer/absolute", "onnx external loop/passwords"}
UPLOADED = {"skops trees/out of bounds", "skops beside/tree beside another twin"}


def survived(tmp_path: Path, files: list[tuple[Hostile, str]]) -> None:
    targets = Targets(tmp_path / "targets")
    with watched(tmp_path / "home", targets) as installed:
        pid = installed.processes["api.main"].pid
        before, memory, start = files_in(installed.home), memory_mb(pid), installed.trace.stat().st_size
        outcome = campaign(installed, files, targets)
        after = memory_mb(pid)
        assert installed.processes["api.main"].poll() is None
        assert installed.get("/health").status_code == 200
    sys.stderr.write(f"{len(files)} files; API {memory:.0f} MiB before, {after:.0f} after; {dict(outcome.answers)}\n")
    assert outcome.wrong == []
    assert after - memory < GROWTH_MB
    installed.trace.write_bytes(installed.trace.read_bytes()[start:])
    check(installed, targets, before)


@pytest.mark.usefixtures("strace")
@pytest.mark.fault(4)
@pytest.mark.fault(8)
@pytest.mark.fault(9)
@pytest.mark.fault(11)
@pytest.mark.timeout(400)
def test_one_file_for_each_that_refuses_leaves_a_running_api_as_it_was(tmp_path: Path) -> None:
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
