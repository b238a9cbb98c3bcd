"""Swaps under load: every answer is right for the version that it names, none older than an answered promotion."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from sklearn.linear_model import LogisticRegression

from api.tests import given
from bench.swap_clients import alike
from bench.swap_tally import KINDS
from bench.swaps import Swapper, asked_by
from bench.swaps import prepare as prepared
from tests.services import Installation, installation
from tests.workers import answering, wait_for, workers
from understudy.adapters.runtime import open_bundle
from understudy.fingerprint import digest_of

CLIENTS = 16
ROWS = [[i / 20, 1 - i / 25] for i in range(20)]


@dataclass
class Story:
    """What the promoter has asked for and heard, and what the clients found wrong. Lists only grow."""

    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    """Requests in flight on a process that was killed."""
    stop: threading.Event = field(default_factory=threading.Event)


def prepare(installed: Installation) -> dict[str, Any]:
    """Register two models that answer differently; return version -> its probabilities for ROWS."""
    scheduler = installed.token("scheduler")
    requests.put(
        f"{installed.url}/models/rain", json=given.definition(), headers=scheduler, timeout=30
    ).raise_for_status()
    known = {}
    for bundle in (given.bundle(), given.bundle(LogisticRegression(C=0.01))):
        answer = requests.post(f"{installed.url}/models/rain/versions", data=bundle, headers=scheduler, timeout=60)
        runtime = open_bundle(bundle, digest=digest_of(bundle), trees=True)
        known[answer.json()["version"]] = [runtime.predict([row]).probabilities for row in ROWS]
    return known


def promote(installed: Installation, version: str, story: Story) -> None:
    """Send it until it is answered: the promoter may be killed, and its key makes sending it again safe."""
    story.asked.append(version)
    body = {"model_name": "rain", "model_version_id": version, "override": "a swap"}
    headers = {**installed.token("operator"), "Idempotency-Key": f"swap-{len(story.asked)}"}
    while True:
        try:
            answer = requests.post(f"{installed.url}/model/promote", json=body, headers=headers, timeout=60)
        except requests.ConnectionError:
            assert story.killed, "nobody was killed"
            continue
        assert answer.status_code == 200, answer.text
        story.answered.append(version)
        return


def client(installed: Installation, number: int, known: dict[str, Any], story: Story) -> None:
    """Ask until told to stop, on connections that are kept for as long as their process lives; check every answer."""
    i = number
    while not story.stop.is_set():
        with closing(http.client.HTTPConnection("127.0.0.1", installed.port, timeout=60)) as connection:
            connection.connect()
            process = None
            try:
                while not story.stop.is_set():
                    i = (i + 1) % len(ROWS)
                    answered = len(story.answered)
                    body, header = ask(connection, i)
                    process = process or answering(installed, connection)
                    check(story, known, i, answered, body, header)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if process not in story.killed and not (process is None and story.killed):
                    story.wrong.append(f"failed on {process}: {error!r}")
                story.lost.append(i)


def ask(connection: http.client.HTTPConnection, i: int) -> tuple[Any, str | None]:
    connection.request("POST", "/predict", json.dumps({"values": ROWS[i]}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return json.loads(response.read()), response.headers["Model-Version"]


def check(story: Story, known: dict[str, Any], i: int, answered: int, body: Any, header: str | None) -> None:
    """Any version that was asked for since the last answered promotion may answer, and must answer as it does."""
    version, allowed = body.get("version"), set(story.asked[answered - 1 :])
    if version not in allowed or header != version:
        story.wrong.append(f"{body} after {story.answered[answered - 1]} was answered")
    elif not alike(*body["probabilities"], *known[version][i]):  # whoever shares its call may change its last digits
        story.wrong.append(f"not what version {version} answers: {body}")
    else:
        story.right.append(i)


def swap_under_load(installed: Installation, swaps: int, *, kills: random.Random | None = None) -> Story:
    """Swap back and forth under many clients; with `kills`, a worker is killed before about every fourth swap."""
    known, story = prepare(installed), Story()
    promote(installed, "1", story)
    clients = [threading.Thread(target=client, args=(installed, number, known, story)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for swap in range(swaps):
        if kills is not None and kills.random() < 0.25:
            story.killed.append(kills.choice(workers(installed)))
            os.kill(story.killed[-1], signal.SIGKILL)
        promote(installed, "2" if swap % 2 == 0 else "1", story)
    story.stop.set()
    for thread in clients:
        thread.join()
    lost = f"{len(story.killed)} kills, {len(story.lost)} requests lost with them"
    sys.stdout.write(f"{swaps} swaps, {len(story.right)} right answers, {lost}\n")
    return story


@pytest.mark.fault(25)
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("count", "swaps"), [(1, 60), (3, 40), *(pytest.param(n, 200, marks=pytest.mark.slow) for n in (1, 3))]
)
def test_no_answer_is_wrong_or_outdated_over_swaps_under_many_clients(tmp_path: Path, count: int, swaps: int) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS=str(count)) as installed:
        installed.start_api()

        story = swap_under_load(installed, swaps)

    assert (story.wrong, story.lost) == ([], [])
    assert len(story.right) > swaps * CLIENTS / count
    assert len(story.answered) == swaps + 1


@pytest.mark.fault(25)
def test_single_rows_batches_and_pipelined_pairs_are_answered_rightly_on_both_paths_amid_swaps(tmp_path: Path) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as installed:
        installed.start_api()
        world = prepared(installed, [given.bundle(), given.bundle(LogisticRegression(C=0.01))])
        with asked_by(world, 16, 1) as clients:
            swapper = Swapper(installed, world, clients)
            swapper.swap()
            clients.start()
            wait_for(lambda: clients.answered > 100, "the clients")
            for _ in range(12):
                swapper.swap()
            tally = clients.stop()

    assert (tally.failed, tally.wrong, tally.outdated) == ({}, {}, {})
    assert {kind for _, kind, _ in tally.latencies} == set(KINDS)


@pytest.mark.slow
@pytest.mark.fault(25)
@pytest.mark.fault(29)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("model", ["logistic", "forest"])
def test_a_thousand_swaps_under_a_million_requests(model: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "bench.swaps", "--model", model], check=False)

    assert ended.returncode == 0, "its figures say what was wrong"


@pytest.mark.fault(43)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("swaps", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_workers_that_are_killed_amid_swaps_lose_only_what_they_were_answering(tmp_path: Path, swaps: int) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="3") as installed:
        installed.start_api()

        story = swap_under_load(installed, swaps, kills=random.Random(1))

    assert story.wrong == []
    assert len(story.lost) <= len(story.killed) * CLIENTS
    assert story.killed
    assert len(story.answered) == swaps + 1
