"""The main job on the shipped models: how long until the first model serves, and what a steady client sees meanwhile.

    .venv/bin/python -m bench.main_job --minutes 10

Starts both services on an empty folder, asks `/predict` twenty times a second on one connection from the first answer
on, and prints what happened: seconds to the first champion, requests, failures, and every verdict with its reason.
"""

import argparse
import http.client
import json
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.services import Installation, installation

MODELS = Path(__file__).parents[1] / "models"
PAUSE_S = 0.05


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10)
    minutes = options.parse_args().minutes
    with (
        tempfile.TemporaryDirectory() as home,
        installation(Path(home), UNDERSTUDY_MODELS_DIR=str(MODELS)) as installed,
    ):
        began_s = time.monotonic()
        installed.start_api()
        installed.start("scheduled_task.scheduler_service")
        while installed.get("/current_model").status_code != 200:
            time.sleep(0.1)
        print(f"first champion after {time.monotonic() - began_s:.1f} s")
        steady(installed, began_s + 60 * minutes)
        told(installed)


def steady(installed: Installation, until_s: float) -> None:
    """Ask on one kept connection, and count the answers by status and version."""
    operation = installed.get("/openapi.json").json()["paths"]["/predict"]["post"]
    body = json.dumps(operation["requestBody"]["content"]["application/json"]["schema"]["example"])
    seen: Counter[str] = Counter()
    with closing(http.client.HTTPConnection("127.0.0.1", installed.port, timeout=30)) as connection:
        while time.monotonic() < until_s:
            seen[asked(connection, body)] += 1
            time.sleep(PAUSE_S)
    failed = sum(n for answer, n in seen.items() if not answer.startswith("200"))
    print(f"{seen.total()} requests, {failed} failed")
    for answer, n in seen.items():
        print(f"  {n:6} × {answer}")


def asked(connection: http.client.HTTPConnection, body: str) -> str:
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        return f"failed: {type(error).__name__}"
    return f"{response.status}, version {response.headers['Model-Version']}"


def told(installed: Installation) -> None:
    """Every run and what became of it, oldest first."""
    runs: list[Any] = installed.get("/runs", params={"limit": 1000}).json()["items"]
    for run in reversed(runs):
        verdict = run["verdict"] or {"comparison": {"answer": "-", "reason": run["reason"]}}
        comparison = verdict["comparison"]
        said = f"{comparison['answer']}: {comparison['reason']}"
        print(f"{run['requested_at'][11:19]} {run['id']:15} {run['state']:10} {said}")
    events = installed.get("/events", params={"limit": 1000}).json()["items"]
    print("events:", dict(Counter(event["kind"] for event in events)))


if __name__ == "__main__":
    main()
