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
    """A home in which one version serves and another one is on its way."""

    def __init__(self, folder: Path, *, opened: str) -> None:
        self.home, self.fresh, self.opened = folder / "home", folder / "fresh", opened
        self.trace, self.answers = folder / "trace", folder / "answers"
        self.outcomes = Counter[str]()
        self.fresh.mkdir()
        way = Way(self.fresh)
        way.begin()
        way.close()

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.fresh, self.home)

    def command(self) -> list[str]:
        return ["tests.faults.committer", str(self.home), self.opened]

    def check(self, acknowledged: list[str]) -> None:
        assert acknowledged == STEPS[: len(acknowledged)]
        way = Way(self.home)
        try:
            self.outcomes[self.found(way, set(acknowledged))] += 1
            self.begin_again(way)
        finally:
            way.close()

    def found(self, way: Way, acknowledged: set[str]) -> str:
        """Look at what is there; return whether it is the old version, the new one, or the old one with a start."""
        state = way.journal.state
        rain = state.models["rain"]
        assert rain.champion in ("1", "2")
        assert (promotion.done(rain, KEY) is not None) == (rain.champion == "2")
        assert "stored" not in acknowledged or way.store.get(digest_of(NEW)) == NEW
        assert "registered" not in acknowledged or ("rain", digest_of(NEW)) in state.digests
        assert "started" not in acknowledged or rain.pending or rain.champion == "2"
        assert "committed" not in acknowledged or rain.champion == "2"
        for version in range(1, rain.version_count + 1):  # what was registered is in the store, and whole
            way.store.get(state.version("rain", str(version)).digest)
        if rain.pending is not None:
            self.void(way, state)
        return "new" if rain.champion == "2" else "started" if rain.pending else "old"

    def void(self, way: Way, state: Registry) -> None:
        """Were nobody to come back, the start would be void after a minute, and the old version champion."""
        facts = promotion.voided(state, way.journal.wall_clock() + VOID_AFTER)
        assert [type(fact) for fact in facts] == [PromotionAborted]
        assert state.models["rain"].champion == "1"

    def begin_again(self, way: Way) -> None:
        """What a restart does: serve what the log says, sweep, and do it all again under the same key."""
        way.look()
        expected = NEW if way.journal.state.models["rain"].champion == "2" else OLD
        assert [worker.answers["rain"] for worker in way.workers] == [expected] * 2
        way.store.sweep()
        assert list((self.home / "store" / "writing").iterdir()) == []

        way.go(NEW, KEY)

        entries = list(way.log.read())
        facts = [entry.event for entry in entries]
        assert fold(entries).models["rain"].champion == "2"
        assert [worker.answers["rain"] for worker in way.workers] == [NEW] * 2
        assert sum(isinstance(fact, VersionRegistered) for fact in facts) == 2
        assert sum(isinstance(fact, PromotionStarted) for fact in facts) == 2
        assert sum(isinstance(fact, VersionPromoted) and fact.key == KEY for fact in facts) == 1
        assert list((self.home / "store" / "writing").iterdir()) == []
        assert [file.stat().st_size for file in self.home.glob("*-journal")] in ([], [0], [0, 0])


@pytest.mark.fault(19)
def test_a_kill_at_any_class_of_system_call_leaves_the_old_version_or_the_new_one(tmp_path: Path, strace: None) -> None:
    stage = Stage(tmp_path, opened="before")

    kills = kill_at_points_of(stage, each=3)

    assert {"openat", "pwrite64", "fdatasync", "ftruncate", "link", "unlink", "fsync", "write"} <= kills.keys()
    assert stage.outcomes["old"] > 0
    assert stage.outcomes["new"] > 1, "but for the child that nothing happens to"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.fault(19)
@pytest.mark.parametrize("opened", ["before", "within"])
def test_a_kill_at_every_single_system_call_leaves_the_old_version_or_the_new_one(
    opened: str, tmp_path: Path, strace: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, opened=opened)

    kills = kill_at_points_of(stage)

    tell(capsys, f"a promotion, files opened {opened}: {dict(stage.outcomes)}", kills)
    assert set(stage.outcomes) == {"old", "started", "new"}
