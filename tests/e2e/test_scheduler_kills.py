"""Schedulers and what they start are killed at exact system calls: the run goes on or ends with its reason, once.

The default suite takes a few points; `make faults` takes every one. Points are counted in each thread by itself.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from scheduled_task.scratch import sweep
from scheduled_task.tests.given import DEFINITION, stream
from scheduled_task.tests.site import Site, working
from tests.services import Installation, installation
from tests.tracing import calls_in, points, under_strace

SCRATCHER = "scheduled_task.tests.scratcher"


@pytest.mark.fault(62)
def test_a_kill_at_any_call_that_makes_or_removes_a_folder_leaves_nothing_that_a_sweep_leaves(
    tmp_path: Path, strace: None
) -> None:
    calls, trace, root = "mkdir,openat,flock,unlink,unlinkat,rmdir,write", tmp_path / "trace", tmp_path / "root"
    under_strace(SCRATCHER, root, calls=calls, trace=trace)
    ours = {call for call in calls.split(",") if call != "openat"}  # thousands of files are opened by the imports
    kills = [(call, when) for call, when in points(trace) if call in ours]

    left = 0
    for call, when in kills:
        under_strace(SCRATCHER, root, calls=calls, trace=trace, inject=f"{call}:signal=KILL:when={when}")
        left += bool(list(root.glob("*")))
        sweep(root)
        assert list(root.glob("*")) == [], (call, when)

    assert {call for call, _ in kills} >= {"mkdir", "flock", "rmdir"}
    assert left > 0


@pytest.mark.fault(59)
def test_a_folder_that_is_swept_before_it_is_locked_is_made_once_more(tmp_path: Path, strace: None) -> None:
    root, swept, done = tmp_path / "root", list[str](), Event()

    def sweeping() -> None:
        while not done.wait(0.001):
            swept.extend(sweep(root))

    sweeper = Thread(target=sweeping)
    sweeper.start()
    try:
        late = "flock:delay_enter=300000:when=1"
        ended = under_strace(SCRATCHER, root, calls="flock", trace=tmp_path / "trace", inject=late)
    finally:
        done.set()
        sweeper.join()

    assert ended.returncode == 0, ended.stderr
    assert swept
    assert list(root.iterdir()) == []


# Claim, train, check, promote, finish

CALLS = (
    "mkdir,rename,link,linkat,unlink,unlinkat,rmdir,fsync,fdatasync,flock,fchmod,ftruncate,write,sendto,recvfrom,"
    "connect,socket,pipe2,vfork,execve,kill,exit_group"
)
"""What has an effect, or hears of one; not the thousands of calls by which libraries are read."""
MOST_SAID = 8
"""Of what a thread sends and hears: a run says less, and heartbeats go on for as long as the machine takes."""
AT_ONCE = 6
Point = tuple[str, int]


class Victims:
    """One API, and a model of its own for each claimant that is killed."""

    def __init__(self, installed: Installation, folder: Path) -> None:
        self.installed, self.folder, self.site, self.count = installed, folder, Site(installed), 0

    def points(self) -> list[Point]:
        """Every call of a claimant that nothing happens to and of its children: its name, and which of a thread's."""
        name = self.asked()
        self.claim(name, None)
        assert self.site.run(f"{name}-1")["state"] == "succeeded"
        counts = Counter((call.line.split()[0], call.name) for call in calls_in(self.folder / name))
        longest: dict[str, int] = {}
        for (_, call), count in counts.items():
            longest[call] = max(count, longest.get(call, 0))
        longest |= {call: min(longest[call], MOST_SAID) for call in ("sendto", "recvfrom")}
        return [(call, number) for call, count in sorted(longest.items()) for number in range(1, count + 1)]

    def killed(self, points: Sequence[Point]) -> list[dict[str, Any]]:
        """Kill a claimant at each point, let others work off what is left; the runs, checked, in any order."""
        names = [self.asked() for _ in points]
        with ThreadPoolExecutor(len(points)) as pool:
            list(pool.map(self.claim, names, points))
        with working(self.site), working(self.site):
            runs = [self.site.ended(f"{name}-1") for name in names]
        sweep(self.site.settings.scratch)
        sweep(self.site.settings.holdouts)
        for name, run in zip(names, runs, strict=True):
            self.check(name, run)
        assert self.site.scratch_folders() == []
        assert list(self.site.settings.holdouts.glob("*.work")) == []
        return runs

    def asked(self) -> str:
        """A new model, and its first run."""
        self.count += 1
        name = f"victim-{self.count}"
        self.site.arrive(stream(1000), name)
        self.site.define(name, DEFINITION.replace("every(minutes=1)", "every(days=36500)"))
        self.site.ask(name, "first")
        return name

    def claim(self, name: str, point: Point | None) -> None:
        """Let a claimant take a run: any that waits, so `name` is no more than the name of its trace."""
        inject = None if point is None else f"{point[0]}:signal=KILL:when={point[1]}"
        under_strace(
            "tests.claimant", calls=CALLS, trace=self.folder / name, inject=inject, env=self.installed.environment
        )

    def check(self, name: str, run: dict[str, Any]) -> None:
        """Nothing twice, and an end with its reason."""
        made = len(self.site.events("version.registered", name))
        promoted = self.site.events("version.promoted", name)
        assert len(self.site.events("run.finished", name)) == 1
        assert run["attempt"] <= 2, run
        if run["state"] == "succeeded":
            assert (made, len(promoted), run["reason"]) == (1, 1, "Version 1 was promoted.")
            assert promoted[0]["key"] == run["id"]
        else:
            assert (run["state"], made, promoted) == ("failed", 0, []), run
            assert "was ended by SIGKILL" in run["reason"]


@pytest.fixture
def victims(tmp_path: Path, strace: None) -> Iterator[Victims]:
    (tmp_path / "home").mkdir()
    (tmp_path / "traces").mkdir()
    with installation(tmp_path / "home", UNDERSTUDY_RUNS_AT_ONCE=str(AT_ONCE)) as installed:
        installed.start_api()
        made = Victims(installed, tmp_path / "traces")
        yield made
        made.site.api.close()


@pytest.mark.fault(62)
@pytest.mark.timeout(300)
def test_a_run_whose_scheduler_or_child_is_killed_goes_on_or_ends_with_its_reason_once(victims: Victims) -> None:
    """Where the child leaves its answer, and in the middle of what its scheduler says to the API."""
    runs = victims.killed([("rename", 1), ("sendto", 4)])

    assert Counter(run["attempt"] for run in runs)[2] >= 1


@pytest.mark.slow
@pytest.mark.fault(62)
@pytest.mark.timeout(7200)
def test_a_run_is_killed_at_every_point_of_its_way(victims: Victims, capsys: pytest.CaptureFixture[str]) -> None:
    points = victims.points()
    runs = [run for first in range(0, len(points), AT_ONCE) for run in victims.killed(points[first : first + AT_ONCE])]

    found = Counter((run["state"], f"attempt {run['attempt']}") for run in runs)
    with capsys.disabled():
        print(len(points), "points:", dict(found))  # noqa: T201 - the figure
    assert len(points) > 100
    assert found["succeeded", "attempt 2"] > 0
    assert sum(count for (state, _), count in found.items() if state == "failed") > 0
