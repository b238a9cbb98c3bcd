"""The doctor at a running installation whose promises break one after the other."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from api.tests import given
from tests.services import Installation, installation
from tests.workers import signs, wait_for, wait_until_all_answer, workers
from understudy.fingerprint import digest_of

pytestmark = pytest.mark.timeout(240)


def problems(installed: Installation) -> dict[str, str]:
    """What `understudy doctor` calls a problem, by name."""
    command = [sys.executable, "-m", "understudy.adapters.cli", "doctor", "--json"]
    said = subprocess.run(command, env=installed.environment, capture_output=True, text=True, check=False)
    found = json.loads(said.stdout)
    assert said.returncode == int(not found["ok"]), said.stderr
    return {check["name"]: check["found"] for check in found["checks"] if not check["ok"]}


def test_a_champion_whose_bundle_is_gone_is_missed_by_the_worker_that_starts_next(tmp_path: Path) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as installed:
        installed.start_api()
        wait_until_all_answer(installed, 2)
        bundle = given.bundle()
        put_on(installed, bundle)
        well = problems(installed)

        digest = digest_of(bundle)
        (tmp_path / "api" / "prod_models" / "sha256" / digest[:2] / digest).unlink()
        os.kill(workers(installed)[0], signal.SIGKILL)
        wait_for(lambda: any(sign["lacks"] for sign in signs(installed)), "a worker that lacks its champion")
        broken = problems(installed)

    assert well.keys() <= {"scheduler"}  # there is none
    assert "does not serve rain: " in broken["promise 1: no request fails"]
    assert broken["store"].startswith("version 1 of rain")


def put_on(installed: Installation, bundle: bytes) -> None:
    """Make `bundle` the champion, by override."""
    url, headers = installed.url, installed.token("operator")
    wish = {"model_name": "rain", "model_version_id": "1", "override": "a test"}
    requests.put(f"{url}/models/rain", json=given.definition(), headers=headers, timeout=120).raise_for_status()
    requests.post(f"{url}/models/rain/versions", data=bundle, headers=headers, timeout=120).raise_for_status()
    requests.post(f"{url}/model/promote", json=wish, headers=headers, timeout=120).raise_for_status()
