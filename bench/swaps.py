"""Swaps under load: is any answer wrong, outdated or missing, how much slower is one, and what does memory do?

    .venv/bin/python -m bench.swaps --swaps 1000 --requests 1000000

Starts the API, promotes versions in turn while clients ask without pause, and goes on until both numbers are reached.
Phases without swaps lie between those with them, so that both are measured on the same machine. Every answer is
checked: its version in header and body, its content, and that it is no older than the last promotion that was answered
before its request was sent.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from api.tests import given
from bench.swap_clients import ANSWERED, ASKED, PHASE, Clients, World
from bench.swap_tally import PHASES, tell
from tests.resident import Held, held
from tests.services import Installation, installation
from tests.workers import workers
from understudy.adapters.runtime import open_bundle
from understudy.fingerprint import digest_of

ROWS = [[i / 20, 1 - i / 25] for i in range(20)]
VERSIONS = 5
"""More than two: a version of two promotions ago must not pass for the next one."""
ROUNDS = 5
MOST_GROWTH = 0.05
"""Of memory, from before the swaps to after them."""
WARM_SWAPS = 20
"""Before memory is looked at for the first time: the allocator has its arenas by then."""


def estimators(model: str) -> list[BaseEstimator]:
    if model == "forest":
        return [RandomForestClassifier(100, max_depth=3 + i, random_state=i) for i in range(VERSIONS)]
    return [LogisticRegression(C=0.001 * 5**i) for i in range(VERSIONS)]


def bundles(model: str, kept: Path | None) -> Iterator[bytes]:
    """Train the versions, or take them from where an earlier run has kept them: that takes seconds for each."""
    for number, estimator in enumerate(estimators(model)):
        file = kept and kept / f"{model}-{number}"
        if file is None or not file.exists():
            bundle = given.bundle(estimator)
            if file is not None:
                file.write_bytes(bundle)
        yield file.read_bytes() if file is not None else bundle


def prepare(installed: Installation, trained: Iterable[bytes]) -> World:
    """Register versions that answer differently, and promote each once, so that each has had its trial."""
    scheduler = installed.token("scheduler")
    requests.put(
        f"{installed.url}/models/rain", json=given.definition(), headers=scheduler, timeout=30
    ).raise_for_status()
    known = {}
    for bundle in trained:
        answer = requests.post(f"{installed.url}/models/rain/versions", data=bundle, headers=scheduler, timeout=60)
        version = answer.json()["version"]
        known[version] = open_bundle(bundle, digest=digest_of(bundle), trees=True).predict(ROWS).probabilities or []
    world = World(installed.port, "/predict", ROWS, list(known), known)
    for number, version in enumerate(world.versions):
        promote(installed, requests.Session(), version, f"first-{number}")
    return world


def promote(installed: Installation, session: requests.Session, version: str, key: str) -> None:
    body = {"model_name": "rain", "model_version_id": version, "override": "a swap"}
    headers = {**installed.token("operator"), "Idempotency-Key": key}
    answer = session.post(f"{installed.url}/model/promote", json=body, headers=headers, timeout=60)
    if answer.status_code != 200:
        raise SystemExit(f"a promotion was answered with {answer.status_code}: {answer.text}")


class Swapper:
    """Promotes the versions in turn, and tells the clients what it has asked for and heard."""

    def __init__(self, installed: Installation, world: World, clients: Clients) -> None:
        self._installed, self._world, self._clients = installed, world, clients
        self._session = requests.Session()
        self.took_s: list[float] = []

    def swap(self) -> None:
        board = self._clients.board
        version = self._world.versions[board[ASKED] % len(self._world.versions)]
        board[ASKED] += 1
        began_s = time.perf_counter()
        promote(self._installed, self._session, version, f"swap-{board[ASKED]}")
        board[ANSWERED] = board[ASKED]
        self.took_s.append(time.perf_counter() - began_s)


@contextmanager
def asked_by(world: World, connections: int, processes: int) -> Iterator[Clients]:
    clients = Clients(world, connections=connections, processes=processes)
    try:
        yield clients
    finally:
        clients.give_up()


def campaign(installed: Installation, asked_for: argparse.Namespace) -> bool:
    """Run it and print what was seen; True where nothing was wrong."""
    world = prepare(installed, bundles(asked_for.model, asked_for.keep))
    with asked_by(world, asked_for.clients, asked_for.processes) as clients:
        swapper = Swapper(installed, world, clients)
        swapper.swap()
        clients.start()
        while clients.answered < 100:
            time.sleep(0.05)
        for _ in range(WARM_SWAPS):
            swapper.swap()
        before = tell_memory(installed, "before")
        began_s, at_first = time.perf_counter(), clients.answered
        swaps_in = rounds(clients, swapper, asked_for)
        seconds, answered = time.perf_counter() - began_s, clients.answered - at_first
        after = tell_memory(installed, f"after {asked_for.swaps} swaps")
        tally = clients.stop()
    took = sorted(swapper.took_s[1 + WARM_SWAPS :])
    print(f"{answered:,} requests in {seconds:.0f} s ({answered / seconds:,.0f}/s), {tally.rows:,} rows in all")
    median, longest = 1e3 * took[len(took) // 2], 1e3 * took[-1]
    print(f"{len(took)} swaps in {swaps_in:.0f} s; one takes {median:.0f} ms, at most {longest:.0f}")
    flat = is_flat(before, after)
    return tell(tally) and flat


def rounds(clients: Clients, swapper: Swapper, asked_for: argparse.Namespace) -> float:
    """Steady phases and phases with swaps in turn; return the seconds of the latter."""
    swaps_in = 0.0
    first = clients.answered
    for number in range(ROUNDS):
        target = first + asked_for.requests * (number + 1) // ROUNDS
        clients.board[PHASE] = PHASES.index("swaps")
        began_s = time.perf_counter()
        for swap in range(asked_for.swaps * number // ROUNDS, asked_for.swaps * (number + 1) // ROUNDS):
            due_s = began_s + (swap - asked_for.swaps * number // ROUNDS) * asked_for.every_ms / 1e3
            time.sleep(max(0.0, due_s - time.perf_counter()))
            swapper.swap()
        swaps_in += time.perf_counter() - began_s
        clients.board[PHASE] = PHASES.index("steady")
        steady_until_s = time.perf_counter() + asked_for.steady_s / ROUNDS
        while clients.answered < target or time.perf_counter() < steady_until_s:
            time.sleep(0.05)
    clients.board[PHASE] = PHASES.index("warming up")
    return swaps_in


def tell_memory(installed: Installation, when: str) -> list[Held]:
    """What each worker holds, oldest first."""
    found = {pid: held(pid) for pid in sorted(workers(installed))}
    for pid, now in found.items():
        print(f"  {when}: worker {pid}: {now.mib:.1f} MiB, {now.files} files, {now.threads} threads")
    sys.stdout.flush()
    return list(found.values())


def is_flat(before: list[Held], after: list[Held]) -> bool:
    """Whether nobody holds much more than at first: memory, files beyond the connections, threads."""
    for one, other in zip(before, after, strict=True):
        print(f"  memory {100 * (other.mib / one.mib - 1):+.1f} %, {other.files - one.files:+} files, ", end="")
        print(f"{other.threads - one.threads:+} threads")
    return all(
        other.mib <= one.mib * (1 + MOST_GROWTH) and other.threads <= one.threads + 2 and other.files <= one.files + 8
        for one, other in zip(before, after, strict=True)
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--swaps", type=int, default=1000)
    options.add_argument("--requests", type=int, default=1_000_000)
    options.add_argument("--clients", type=int, default=64, help="connections that are kept")
    options.add_argument("--processes", type=int, default=2, help="among which the connections are shared out")
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--model", choices=("logistic", "forest"), default="logistic")
    options.add_argument("--keep", type=Path, help="a folder where the trained versions are kept for the next time")
    options.add_argument("--every-ms", type=float, default=0, help="least time from swap to swap; 0: without pause")
    options.add_argument("--steady-s", type=float, default=20, help="least seconds without swaps")
    options.add_argument("--setting", action="append", default=[], help="NAME=VALUE of the API's environment")
    asked_for = options.parse_args()
    settings = dict(text.split("=", 1) for text in asked_for.setting)
    with (
        tempfile.TemporaryDirectory() as home,
        installation(Path(home), UNDERSTUDY_API_WORKERS=str(asked_for.workers), **settings) as installed,
    ):
        installed.start_api()
        ok = campaign(installed, asked_for)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
