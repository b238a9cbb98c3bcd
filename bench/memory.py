"""Memory of one API process: with its first model, with each further one, and after many swaps.

    .venv/bin/python -m bench.memory --models 8 --swaps 1000

All models are served as ONNX: logistic regressions, and forests of 100 trees beside the size of their ONNX form.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import requests
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from api.tests import given
from tests.resident import held, libraries
from tests.services import Installation, installation
from understudy.adapters import stored_zip

SETTLES_S = 1.0
"""Records are written, replaced versions are freed."""
SAMPLES = 10
ASKED = 3
"""Requests after each promotion."""
SWAPPED = "forest-0"
ROW = {"values": [0.2, 0.9]}


class Host:
    """One API process, spoken to over HTTP."""

    def __init__(self, installed: Installation) -> None:
        self._installed, self._session = installed, requests.Session()
        self.pid = installed.start_api().pid
        self._keys = 0

    def register(self, model: str, data: bytes) -> str:
        route, scheduler = f"{self._installed.url}/models/{model}", self._installed.token("scheduler")
        self._sent("put", route, json=given.definition(model), headers=scheduler)
        return str(self._sent("post", f"{route}/versions", data=data, headers=scheduler).json()["version"])

    def promote(self, model: str, version: str) -> None:
        self._keys += 1
        body = {"model_name": model, "model_version_id": version, "override": "for its memory"}
        headers = {**self._installed.token("operator"), "Idempotency-Key": f"memory-{self._keys}"}
        self._sent("post", f"{self._installed.url}/model/promote", json=body, headers=headers)
        for _ in range(ASKED):
            self._sent("post", f"{self._installed.url}/models/{model}/predict", json=ROW)

    def _sent(self, method: str, url: str, **more: object) -> requests.Response:
        answer = self._session.request(method, url, timeout=60, **more)  # type: ignore[arg-type]  # as they are given
        if not answer.ok:
            raise SystemExit(f"{url} was answered with {answer.status_code}: {answer.text}")
        return answer

    def tell(self, what: str) -> float:
        """Print what the process holds by now; return its MiB."""
        time.sleep(SETTLES_S)
        now = held(self.pid)
        print(f"{what:42} {now.mib:7.1f} MiB {now.files:4} files {now.threads:3} threads")
        sys.stdout.flush()
        return now.mib

    def unwanted(self) -> set[str]:
        return libraries(self.pid) & {"sklearn", "pandas", "scipy", "pyarrow", "skops", "onnx"}


def onnx_mib(data: bytes) -> float:
    return len(stored_zip.read(data, of="bundle")["model.onnx"]) / 2**20


def further(host: Host, count: int) -> None:
    """Each model beyond the first, beside the size of its ONNX form."""
    for name, estimators in families(count).items():
        made = {f"{name}-{i}": given.bundle(one, model=f"{name}-{i}") for i, one in enumerate(estimators)}
        before = host.tell(f"before {count} further of {name}")
        for model, data in made.items():
            host.promote(model, host.register(model, data))
        more = (host.tell(f"after {count} further of {name}") - before) / count
        size = sum(map(onnx_mib, made.values())) / count
        print(f"  each: {more:.2f} MiB for {size:.3f} MiB of ONNX; allowed are {1.5 * size + 1:.2f}")


def families(count: int) -> dict[str, list[BaseEstimator]]:
    return {
        "logistic": [LogisticRegression(C=10.0**-i) for i in range(count)],
        "forest": [RandomForestClassifier(100, random_state=i) for i in range(count)],
    }


def swapped(host: Host, swaps: int) -> None:
    forests = [given.bundle(RandomForestClassifier(100, random_state=i), model=SWAPPED) for i in (0, 1)]
    versions = [host.register(SWAPPED, data) for data in forests]
    for version in versions * 5:
        host.promote(SWAPPED, version)
    first = host.tell("before the swaps")
    for part in range(SAMPLES):
        for swap in range(swaps * part // SAMPLES, swaps * (part + 1) // SAMPLES):
            host.promote(SWAPPED, versions[swap % 2])
        last = host.tell(f"after {swaps * (part + 1) // SAMPLES} swaps")
    print(f"  {100 * (last / first - 1):+.1f} %")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", type=int, default=8, help="further models of each family")
    options.add_argument("--swaps", type=int, default=1000)
    asked_for = options.parse_args()
    with tempfile.TemporaryDirectory() as home, installation(Path(home)) as installed:
        host = Host(installed)
        host.tell("started, without a model")
        host.promote("rain", host.register("rain", given.bundle()))
        host.tell("with one logistic regression")
        further(host, asked_for.models)
        if asked_for.swaps:
            swapped(host, asked_for.swaps)
        print("loaded though nothing needs them:", *(host.unwanted() or ["none"]))


if __name__ == "__main__":
    main()
