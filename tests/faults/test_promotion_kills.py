"""A process on its way from a bundle's bytes to a new champion is killed at every system call.

The next process finds the old version or the new one, never neither and never a half of one. The default suite takes a
sample of every name of call; `make faults` takes every single one.
"""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.committer import KEY, NEW, OLD, Way, digest_of
from tests.faults.kills import kill_at_points_of, tell
from understudy import promotion
from understudy.events import PromotionAborted, PromotionStarted, VersionPromoted, VersionRegistered
from understudy.promotion import VOID_AFTER
from understudy.registry import fold
from understudy.state import Registry

STEPS = ["stored", "registered", "tried", "started", "committed", "promoted"]


class Stage:
    """A home in which one version serves and another one is on its way; or a `new` one, where nothing is yet."""

    def __init__(self, folder: Path, *, new: bool) -> None:
        self.home, self.fresh, self.old = folder / "home", folder / "fresh", None if new else "1"
        self.trace, self.answers = folder / "trace", folder / "answers"
        self.better = "1" if new else "2"
        self.outcomes = Counter[str]()
        self.fresh.mkdir()
        if not new:
            way = Way(self.fresh)
            way.go(OLD, "the first")
            way.close()

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.fresh, self.home)

    def command(self) -> list[str]:
        return ["tests.faults.committer", str(self.home)]

    def check(self, acknowledged: list[str]) -> None:
        assert acknowledged == STEPS[: len(acknowledged)]
        way = Way(self.home)
        try:
            way.define()
            self.outcomes[self.found(way, set(acknowledged))] += 1
            self.begin_again(way)
        finally:
            way.close()

    def found(self, way: Way, acknowledged: set[str]) -> str:
        """Look at what is there; return whether it is the old version, the new one, or the old one with a start."""
        state = way.journal.state
        rain, new = state.models["rain"], state.models["rain"].champion == self.better
        assert rain.champion in (self.old, self.better)
        assert (promotion.done(rain, KEY) is not None) == new
        assert "stored" not in acknowledged or way.store.get(digest_of(NEW)) == NEW
        assert "registered" not in acknowledged or ("rain", digest_of(NEW)) in state.digests
        assert "started" not in acknowledged or rain.pending or new
        assert "committed" not in acknowledged or new
        for version in range(1, rain.version_count + 1):  # what was registered is in the store, and whole
            way.store.get(state.version("rain", str(version)).digest)
        if rain.pending is not None:
            self.void(way, state)
        return "new" if new else "started" if rain.pending else "old"

    def void(self, way: Way, state: Registry) -> None:
        """Were nobody to come back, the start would be void after a minute, and the old version champion."""
        facts = promotion.voided(state, way.journal.wall_clock() + VOID_AFTER)
        assert [type(fact) for fact in facts] == [PromotionAborted]
        assert state.models["rain"].champion == self.old

    def begin_again(self, way: Way) -> None:
        """What a restart does: serve what the log says, sweep, and do it all again under the same key."""
        way.look()
        answers = {self.old: OLD if self.old else None, self.better: NEW}[way.journal.state.models["rain"].champion]
        assert [worker.answers.get("rain") for worker in way.workers] == [answers] * 2
        way.store.sweep()
        assert list((self.home / "store" / "writing").iterdir()) == []

        way.go(NEW, KEY)

        entries = list(way.log.read())
        facts = [entry.event for entry in entries]
        assert fold(entries).models["rain"].champion == self.better
        assert [worker.answers["rain"] for worker in way.workers] == [NEW] * 2
        assert sum(isinstance(fact, VersionRegistered) for fact in facts) == int(self.better)
        assert sum(isinstance(fact, PromotionStarted) for fact in facts) == int(self.better)
        assert sum(isinstance(fact, VersionPromoted) and fact.key == KEY for fact in facts) == 1
        assert list((self.home / "store" / "writing").iterdir()) == []
        assert [file.stat().st_size for file in self.home.glob("*-journal")] in ([], [0], [0, 0])


@pytest.mark.fault(19)
def test_a_kill_at_any_class_of_system_call_leaves_the_old_version_or_the_new_one(tmp_path: Path, strace: None) -> None:
    stage = Stage(tmp_path, new=False)

    kills = kill_at_points_of(stage, each=2)

    assert {"openat", "pwrite64", "fdatasync", "ftruncate", "link", "unlink", "fsync", "write"} <= kills.keys()
    assert stage.outcomes["old"] > 0
    assert stage.outcomes["new"] > 1, "but for the child that nothing happens to"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.fault(19)
@pytest.mark.parametrize("new", [False, True], ids=["another champion", "a first champion"])
def test_a_kill_at_every_single_system_call_leaves_the_old_version_or_the_new_one(
    new: bool, tmp_path: Path, strace: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, new=new)

    kills = kill_at_points_of(stage)

    tell(capsys, f"a {'first ' if new else ''}promotion: {dict(stage.outcomes)}", kills)
    assert set(stage.outcomes) == {"old", "started", "new"}
