"""Both services as containers, by a real engine: from nothing to a first model, and on through the death of either.

`make containers` runs this. The image is built from the work tree; the Compose file is the project's own but for the
port on the host, and everything it made is removed again.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.shared_slots import Told
from understudy.events import Event, Recorded, decode, moment
from understudy.schedule import Schedule

ROOT = Path(__file__).parents[2]
FIRST_MODEL_WITHIN_S = 60
NEXT_RUN_WITHIN_S = 180
"""One slot of a minute, a run, and the ten seconds after which a silent claim is given up, thrice over."""

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("TEST_CONTAINERS" not in os.environ, reason="builds an image: `make containers` runs it"),
]

SERVICES = {"api": "api.main", "scheduler": "scheduled_task.scheduler_service"}
STATE = {
    "api": {"/app/api/prod_models": True, "/app/secrets": True, "/app/var": True, "/app/logs": True},
    "scheduler": {
        "/app/api/prod_models": True,
        "/app/secrets": False,
        "/app/scheduled_task/retrained_models": True,
        "/app/scheduled_task/test_data": True,
        "/app/logs": True,
    },
}
"""Where each service keeps what, and whether it may write there."""


@dataclass(frozen=True)
class Stack:
    """Both services under Compose, seen from outside."""

    command: tuple[str, ...]
    url: str

    def compose(self, *arguments: str) -> str:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command).strip()

    def inspect(self, service: str) -> Mapping[str, Any]:
        (container,) = json.loads(docker("inspect", self.compose("ps", "-q", service).strip()))
        return dict(container)

    def get(self, path: str) -> Any:
        answer = requests.get(self.url + path, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """Everything in the log past a position, page by page."""
        items = self.get(f"/events?after={after}&limit=1000")["items"]
        return items + self.events(items[-1]["position"]) if items else []

    def predict(self) -> requests.Response:
        """Send the example that the documentation shows for the model that serves."""
        body = self.get("/openapi.json")["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        return requests.post(self.url + "/predict", json=body["schema"]["example"], timeout=10)

    def wait(self, what: str, is_so: Callable[[], object], *, within_s: float) -> float:
        """Wait until something is so and return the seconds; fail with the services' last words."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            try:
                if is_so():
                    return time.monotonic() - began
            except requests.RequestException:
                pass  # not up yet, or just killed
            time.sleep(0.2)
        pytest.fail(f"not within {within_s} s: {what}\n{self.compose('logs', '--tail', '60')[-8000:]}")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def compose_command() -> list[str]:
    """Today's plugin of docker, or the program of its own that came before it."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.fail("no Docker engine answers; start one, or point DOCKER_HOST at it")
    port = free_port()
    text = (ROOT / "docker-compose.yml").read_text()
    assert "127.0.0.1:8000:8000" in text
    file = tmp_path_factory.mktemp("compose") / "docker-compose.yml"
    file.write_text(text.replace("127.0.0.1:8000:8000", f"127.0.0.1:{port}:8000"))
    places = ["--project-name", f"understudy-test-{port}", "--project-directory", str(ROOT), "--file", str(file)]
    stack = Stack((*compose_command(), *places), f"http://127.0.0.1:{port}")
    try:
        stack.compose("up", "--build", "--detach")
        stack.wait("a first model serves", lambda: stack.get("/current_model"), within_s=FIRST_MODEL_WITHIN_S)
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "30")


def test_a_first_model_answers_from_outside_within_a_minute(stack: Stack) -> None:
    answer = stack.predict()

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 1
    assert int(answer.headers["Model-Version"]) >= 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_own_state_and_no_more_rights_than_it_needs(stack: Stack, service: str) -> None:
    container = stack.inspect(service)

    assert {mount["Destination"]: mount["RW"] for mount in container["Mounts"]} == STATE[service]
    assert int(stack.inside(service, "id", "-u")) >= 1000
    host = container["HostConfig"]
    assert (host["ReadonlyRootfs"], host["Privileged"], host["CapDrop"]) == (True, False, ["ALL"])


@pytest.mark.parametrize("service", SERVICES)
def test_killing_a_container_and_starting_it_again_loses_nothing(stack: Stack, service: str) -> None:
    before, champion = stack.events(), stack.get("/current_model")["version"]

    stack.compose("kill", service)
    if service == "scheduler":
        assert stack.predict().status_code == 200
    stack.compose("start", service)

    stack.wait("it predicts again", lambda: stack.predict().status_code == 200, within_s=60)
    assert stack.events()[: len(before)] == before
    assert int(stack.get("/current_model")["version"]) >= int(champion)
    stack.wait("a run ends", lambda: run_ended_after(stack, before[-1]["position"]), within_s=NEXT_RUN_WITHIN_S)
    assert stack.inside("api", "understudy", "verify", "log")


KILL = """\
import os, pathlib, signal
for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    words = line.read_bytes().split(b"\\0")
    if words[1:3] == [b"-m", b"{module}"]:
        os.kill(int(line.parent.name), signal.SIGKILL)
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_dies_is_started_again_by_the_engine(stack: Stack, service: str) -> None:
    starts = stack.inspect(service)["RestartCount"]

    # SIGKILL from within; to the engine that is a crash, where `docker kill` would be somebody's wish.
    program = KILL.format(module=SERVICES[service])
    subprocess.run([*stack.command, "exec", "-T", service, "python", "-c", program], capture_output=True, check=False)

    stack.wait("it is started", lambda: stack.inspect(service)["RestartCount"] > starts, within_s=30)
    stack.wait("it predicts again", lambda: stack.predict().status_code == 200, within_s=60)


def run_ended_after(stack: Stack, position: int) -> bool:
    return any(event["kind"] == "run.finished" for event in stack.events(position))


# Two schedulers


def schedulers(stack: Stack) -> list[str]:
    """The ids of the containers, which begin with their host names."""
    return stack.compose("ps", "-q", "scheduler").split()


def train(stack: Stack) -> str:
    """Ask for a run that has something to do, whatever rows have arrived; its id."""
    body = {"model_name": "rain", "params": {"logisticregression__C": 0.5}}
    token = {"Authorization": f"Bearer {stack.inside('api', 'understudy', 'token')}"}
    answer = requests.post(stack.url + "/job/train", json=body, headers=token, timeout=10)
    return str(answer.json()["run_id"])


def claimants(stack: Stack, run: str) -> list[str]:
    """The host names that held a run, the first one first."""
    claims = [event["data"] for event in stack.events() if event["kind"] == "run.claimed"]
    return [claim["claimant"].partition("/")[0] for claim in claims if claim["run"] == run]


def ended(stack: Stack, run: str) -> bool:
    return bool(stack.get(f"/runs/{run}")["finished_at"])


def told(stack: Stack, model: str, schedule: Schedule) -> Told:
    """What the log says of one model."""
    entries = [
        Recorded(event["position"], moment(event["time"]), as_fact(event), "")
        for event in stack.events()
        if event["model"] == model
    ]
    return Told(entries, schedule, at_once=1)


def as_fact(event: Mapping[str, Any]) -> Event:
    return decode(event["kind"], event["schema"], json.dumps(event["data"]), position=event["position"])


@pytest.fixture
def two(stack: Stack) -> Iterator[tuple[str, str]]:
    """A second scheduler on the volumes of the first."""
    stack.compose("up", "--detach", "--no-recreate", "--scale", "scheduler=2", "scheduler")
    try:
        one, other = schedulers(stack)
        yield one, other
    finally:
        stack.compose("up", "--detach", "--no-recreate", "--scale", "scheduler=1", "scheduler")


@pytest.mark.fault(59)
@pytest.mark.fault(60)
def test_two_schedulers_on_one_volume_share_the_slots_and_what_a_paused_one_held_is_done_by_the_other(
    stack: Stack, two: tuple[str, str]
) -> None:
    for paused, works in (two, two[::-1]):
        docker("pause", paused)
        run = train(stack)
        stack.wait("the other one works", lambda run=run: ended(stack, run), within_s=NEXT_RUN_WITHIN_S)  # type: ignore[misc]
        docker("unpause", paused)
        assert claimants(stack, run)[-1] == works[:12]

    taken_over = next(run for run in (paused_in_the_middle(stack, two) for _ in range(5)) if run is not None)

    first, second = claimants(stack, taken_over)
    assert {first, second} == {one[:12] for one in two}
    assert [event["data"]["run"] for event in stack.events() if event["kind"] == "run.finished"].count(taken_over) == 1
    for model in stack.get("/models")["items"]:
        log = told(stack, model["name"], Schedule.from_json(model["definition"]["schedule"]))
        log.check_slots()
        log.check_claims()
    stack.wait("nothing is left in the volume that both share", lambda: nothing_left(two), within_s=NEXT_RUN_WITHIN_S)
    assert {docker("exec", one, "ls", "/app/logs").count(".jsonl") for one in two} == {2}


def nothing_left(two: tuple[str, str]) -> bool:
    return {docker("exec", one, "ls", "/app/scheduled_task/retrained_models") for one in two} == {"feeds\n"}


def paused_in_the_middle(stack: Stack, two: tuple[str, str]) -> str | None:
    """Pause whoever holds a run until the other has ended it; None where it was over before that."""
    run = train(stack)
    stack.wait("it is claimed", lambda: claimants(stack, run), within_s=NEXT_RUN_WITHIN_S)
    holder = next(one for one in two if one.startswith(claimants(stack, run)[0]))
    docker("pause", holder)
    stack.wait("it ends", lambda: ended(stack, run), within_s=NEXT_RUN_WITHIN_S)
    docker("unpause", holder)
    if len(claimants(stack, run)) < 2:
        return None
    before = len(stack.events())
    stack.wait("it is let go of", lambda: f"Run {run} is let go of" in said(holder), within_s=60)
    late = [event for event in stack.events()[before:] if event["data"].get("run") == run]
    assert late == []
    return run


def said(container: str) -> str:
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
