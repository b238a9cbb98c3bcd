"""Processes that append are killed and refused at exact system calls: what they acknowledged is there, and chained.

The default suite takes a sample of every class of call; `make faults` takes every single one.
"""

import shutil
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.kills import tell
from tests.given import fact
from tests.tracing import calls_in, points, under_strace
from understudy.adapters.sqlite_log import SqliteLog
from understudy.events import Recorded, SlotSkipped

BEFORE = 14
"""Events that the log holds already; with them the child's own need a new page."""

APPENDS, EACH = 2, 3
"""What a child does: so many appends, of so many events each."""


@dataclass
class Bench:
    """A log that holds some events already, and children that append to it; each begins with the same bytes."""

    folder: Path

    def __post_init__(self) -> None:
        self.fresh, self.file = self.folder / "fresh.db", self.folder / "events.db"
        self.trace, self.answers = self.folder / "trace", self.folder / "answers"
        with closing(SqliteLog(self.fresh)) as log:
            log.append(*(fact("before") for _ in range(BEFORE)))

    def run(self, inject: str | None = None, *, new: bool = False, calls: str = "all") -> list[str]:
        """Let a child append; return its answers. `inject` counts only calls about the log and the child's answers."""
        for leftover in (self.file, Path(f"{self.file}-journal")):
            leftover.unlink(missing_ok=True)
        if not new:
            shutil.copy(self.fresh, self.file)
        paths = [self.file, Path(f"{self.file}-journal"), self.answers]
        with self.answers.open("wb") as answers:
            address = f"sqlite:///{self.file}"
            under_strace(
                "tests.appender", address, "child", APPENDS, EACH,
                calls=calls, paths=paths, trace=self.trace, inject=inject, stdout=answers,
            )  # fmt: skip
        return self.answers.read_text().split()

    def points(self, *, each: int | None = None, new: bool = False) -> list[tuple[str, int]]:
        """The calls of a child that nothing happens to."""
        answers = self.run(new=new)
        assert len(answers) == APPENDS
        return points(self.trace, each=each)

    def events(self) -> list[Recorded]:
        """What the next process finds, chain and all; it can also go on."""
        with closing(SqliteLog(self.file)) as log:
            entries = list(log.read())
            assert log.append(fact("after"))[0].position == len(entries) + 1
            return entries


@pytest.fixture
def bench(tmp_path: Path, strace: None) -> Bench:
    return Bench(tmp_path)


def appends_in(entries: list[Recorded], *, before: int) -> int:
    """How many of the child's appends are there; each must be there with all its events, and in its order."""
    slots = [entry.event.slot for entry in entries[before:] if isinstance(entry.event, SlotSkipped)]
    count, rest = divmod(len(slots), EACH)
    assert rest == 0, f"a part of an append is there: {slots}"
    assert slots == [f"child/{number}/{part}" for number in range(count) for part in range(EACH)]
    return count


def killed_at(bench: Bench, call: str, when: int, *, new: bool = False) -> int:
    """Kill a child at a call; return how many of its appends are there that it had not acknowledged."""
    acknowledged = bench.run(f"{call}:signal=KILL:when={when}", new=new, calls=f"{call}")
    before = 0 if new else BEFORE

    kept = appends_in(bench.events(), before=before)

    assert acknowledged == [str(before + EACH * number) for number in range(1, len(acknowledged) + 1)]
    assert 0 <= kept - len(acknowledged) <= 1, (call, when, acknowledged, kept)
    return kept - len(acknowledged)


@pytest.mark.fault(48)
def test_a_kill_at_any_class_of_system_call_loses_nothing_that_was_acknowledged(bench: Bench) -> None:
    sample = bench.points(each=2)

    extra = [killed_at(bench, call, when) for call, when in sample]

    assert {"pwrite64", "fdatasync", "ftruncate", "openat", "fcntl", "pread64", "write"} <= {call for call, _ in sample}
    assert 0 in extra
    assert 1 in extra, "the kill between the commit and its answer was never hit"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.fault(48)
@pytest.mark.parametrize("new", [False, True], ids=["a log in use", "a log being made"])
def test_a_kill_at_every_single_system_call_loses_nothing_that_was_acknowledged(
    bench: Bench, new: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = bench.points(new=new)

    for call, when in everything:
        killed_at(bench, call, when, new=new)

    tell(capsys, "a new log" if new else "a log in use", Counter(call for call, _ in everything))
    assert len(everything) > 100


REFUSALS = {
    "pwrite64": ["EIO", "ENOSPC", "EROFS"],
    "fdatasync": ["EIO", "ENOSPC"],
    "ftruncate": ["EIO"],
    "openat": ["EIO", "EACCES", "EMFILE"],
    "pread64": ["EIO"],
    "fcntl": ["EIO", "ENOLCK"],
}


OPENING = ("openat", 1)
"""Where SQLite may not open a file for writing, it opens it for reading, and stays with that."""


def refused_at(bench: Bench, call: str, when: int, error: str) -> list[str]:
    """Let one call of a child fail; return its answers. The child goes on: what it says of the rest is true too."""
    answers = bench.run(f"{call}:error={error}:when={when}", calls=call)
    slots = [entry.event.slot for entry in bench.events()[BEFORE:] if isinstance(entry.event, SlotSkipped)]

    for number, answer in enumerate(answers):
        its = [f"child/{number}/{part}" for part in range(EACH)]
        kept = [slot for slot in slots if slot in its]
        assert kept in (its, []), f"a part of an append is there: {kept}"
        assert answer.isdigit() or answer in ("StorageUnavailable", "StorageFull"), (call, when, error, answer)
        assert kept == its or not answer.isdigit(), f"an acknowledged append is gone: {call} {when} {error}"
    assert len(slots) == len(set(slots))
    return answers


def test_a_system_call_that_fails_costs_at_most_its_own_append_and_the_log_recovers(bench: Bench) -> None:
    """The storage's part of fault 52."""
    sample = [point for point in bench.points(each=2) if point[0] in REFUSALS and point != OPENING]

    answers = [refused_at(bench, call, when, REFUSALS[call][0]) for call, when in sample]

    failed = [answer for given in answers for answer in given if not answer.isdigit()]
    assert "StorageUnavailable" in failed
    for given in answers:
        assert len(given) in (0, APPENDS), "the child ended in the middle"
        assert sum(not answer.isdigit() for answer in given) <= 1, "one call failed, and more than one append with it"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_single_system_call_may_fail_in_every_way(bench: Bench) -> None:
    for call, when in bench.points():
        for error in REFUSALS.get(call, []):
            answers = refused_at(bench, call, when, error)
            assert sum(not answer.isdigit() for answer in answers) <= 1 or (call, when) == OPENING


def test_what_could_not_be_written_to_when_it_was_opened_is_only_read(bench: Bench) -> None:
    call, when = OPENING

    assert refused_at(bench, call, when, "EROFS") == ["StorageUnavailable"] * APPENDS


# What a power loss would leave: the order of syncs


def test_a_fact_is_synced_before_it_is_acknowledged_and_its_journal_is_gone_for_good(bench: Bench) -> None:
    """The cheap form of fault 49: the order that survives a power loss, read from the system calls."""
    bench.run(calls="pwrite64,fdatasync,fsync,ftruncate,write")

    steps = [f"{call.name} {Path(call.path).suffix}" for call in calls_in(bench.trace)]
    one_append = [step for step, before in zip(steps, ["", *steps], strict=False) if step != before]
    assert one_append == APPENDS * [
        "pwrite64 .db-journal",
        "fdatasync .db-journal",
        "pwrite64 .db-journal",
        "fdatasync .db-journal",
        "pwrite64 .db",
        "fdatasync .db",
        "ftruncate .db-journal",
        "fdatasync .db-journal",
        "write ",
    ]
