"""A child that is killed at every system call of its work, and what the next process finds."""

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Protocol

import pytest

from tests.tracing import FILES, points, under_strace


class Bench(Protocol):
    """Some work in a folder: begun anew each time, done by a child, and looked at after its death."""

    trace: Path
    answers: Path

    def prepare(self) -> None:
        """Put everything back to how it is before the work."""

    def command(self) -> list[str]:
        """The module of the child, and its arguments."""

    def check(self, acknowledged: list[str]) -> None:
        """Be the next process: raise unless all is exactly old or new, and nothing acknowledged is lost."""


def work(bench: Bench, *, inject: str | None = None, calls: str = FILES) -> tuple[list[str], bool]:
    """Let a child do the work; return what it acknowledged, and whether it was killed."""
    bench.prepare()
    module, *arguments = bench.command()
    with bench.answers.open("wb") as answers:
        ended = under_strace(module, *arguments, calls=calls, trace=bench.trace, inject=inject, stdout=answers)
    assert inject or ended.returncode == 0, ended.stderr.decode()
    return bench.answers.read_text().split(), ended.returncode == -signal.SIGKILL


def kill_at_points_of(bench: Bench, *, each: int | None = None) -> Counter[str]:
    """Kill a child at each system call of its work, or at `each` of every name; return how many of which name."""
    bench.check(work(bench)[0])
    found = points(bench.trace, each=each)
    kills = Counter[str]()
    for call, when in found:
        acknowledged, killed = work(bench, inject=f"{call}:signal=KILL:when={when}", calls=call)
        try:
            bench.check(acknowledged)
        except Exception as error:
            error.add_note(f"killed at {call} number {when}, after {acknowledged}")
            raise
        kills[call] += killed
    assert kills.total() > 0.95 * len(found), "children do not make the same calls each time"
    return kills


def tell(capsys: pytest.CaptureFixture[str], what: str, kills: Counter[str]) -> None:
    """Say how many points there were, also where all went well."""
    with capsys.disabled():
        sys.stdout.write(f"\n{kills.total()} kills at system calls of {what}: {dict(sorted(kills.items()))}\n")
