"""Swaps under load: every answer is right for the version that it names, none older than an answered promotion."""

import http.client
import json
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from sklearn.linear_model import LogisticRegression

from api.tests import given
from tests.services import Installation, installation
from understudy.adapters.runtime import open_bundle
from understudy.fingerprint import digest_of

CLIENTS = 16
ROWS = [[i / 20, 1 - i / 25] for i in range(20)]


@dataclass
class Story:
    """What the promoter has asked for and heard, and what the clients found wrong. Lists only grow."""

    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
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
    story.asked.append(version)
    body = {"model_name": "rain", "model_version_id": version, "override": "a swap"}
    headers = installed.token("operator")
    requests.post(f"{installed.url}/model/promote", json=body, headers=headers, timeout=30).raise_for_status()
    story.answered.append(version)


def client(port: int, number: int, known: dict[str, Any], story: Story) -> None:
    """Ask on one kept connection until told to stop, and check every answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        i = number
        while not story.stop.is_set():
            i = (i + 1) % len(ROWS)
            answered = len(story.answered)
            try:
                body, header = ask(connection, i)
            except (OSError, http.client.HTTPException, ValueError) as error:
                story.wrong.append(f"failed: {error!r}")
                return
            check(story, known, i, answered, body, header)


def ask(connection: http.client.HTTPConnection, i: int) -> tuple[Any, str | None]:
    connection.request("POST", "/predict", json.dumps({"values": ROWS[i]}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return json.loads(response.read()), response.headers["Model-Version"]


def check(story: Story, known: dict[str, Any], i: int, answered: int, body: Any, header: str | None) -> None:
    """Any version that was asked for since the last answered promotion may answer, and must answer as it does."""
    version, allowed = body.get("version"), set(story.asked[answered - 1 :])
    if version not in allowed or header != version:
        story.wrong.append(f"{body} after {story.answered[answered - 1]} was answered")
    elif body["probabilities"] != known[version][i]:
        story.wrong.append(f"not what version {version} answers: {body}")
    else:
        story.right.append(i)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("swaps", [200])
def test_no_answer_is_wrong_or_outdated_over_swaps_under_many_clients(tmp_path: Path, swaps: int) -> None:
    with installation(tmp_path) as installed:
        installed.start_api()
        known, story = prepare(installed), Story()
        promote(installed, "1", story)
        clients = [
            threading.Thread(target=client, args=(installed.port, number, known, story)) for number in range(CLIENTS)
        ]
        for thread in clients:
            thread.start()

        for swap in range(swaps):
            promote(installed, "2" if swap % 2 == 0 else "1", story)
        story.stop.set()
        for thread in clients:
            thread.join()

    assert story.wrong == []
    assert len(story.right) > swaps * CLIENTS
    assert len(story.answered) == swaps + 1
