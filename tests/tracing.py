"""A child under strace: what it asked of the system and in which order, killed or refused at an exact call."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MARK = Path("/the-work-begins")
"""A file that is never there: a child that asks for it has imported and opened what it needs."""

FILES = "%file,%desc"
"""The calls about files and descriptors; what lies between two of them changes nothing that outlives the process."""


@dataclass(frozen=True)
class Call:
    """One system call: its name, the file that it was about, and what it said about it."""

    name: str
    path: str
    line: str


def under_strace(
    module: str,
    *arguments: object,
    calls: str,
    trace: Path,
    paths: Sequence[Path] = (),
    inject: str | None = None,
    stdout: IO[bytes] | int = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m module arguments` and write the calls that it made to `trace`.

    Args:
        calls: names, with commas between; `all` for all.
        paths: only calls about these files count, for `inject` too.
        inject: what is done to a call, as strace says it: `pwrite64:signal=KILL:when=3`.
    """
    command = ["strace", "-f", "-y", "-qq", "-s", "300", "-o", str(trace), "-e", f"trace={calls}"]
    for path in paths:
        command += ["-P", str(path)]
    if inject is not None:
        command += ["-e", f"inject={inject}"]
    return subprocess.run(
        [*command, sys.executable, "-m", module, *map(str, arguments)],
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=env,
    )


LINE = re.compile(r"^\d+ +(?P<name>\w+)\((?P<rest>.*)$")
OPEN_FILE = re.compile(r"^\d+<(?P<path>[^>]*)>")
TEXT = re.compile(r'"(?P<text>[^"]*)"')


def calls_in(trace: Path) -> Iterator[Call]:
    """The calls of a trace, oldest first; the file is that of the descriptor, or the last path that is named."""
    for line in trace.read_text(errors="replace").splitlines():
        if found := LINE.match(line):
            descriptor, texts = OPEN_FILE.match(found["rest"]), TEXT.findall(found["rest"])
            path = descriptor["path"] if descriptor else (texts[-1] if texts else "")
            yield Call(found["name"], path, line)


def points(trace: Path, *, each: int | None = None) -> list[tuple[str, int]]:
    """Every call of a trace as what `inject` needs: its name, and which of that name it was.

    Those before the child's `MARK` are passed over. With `each`, at most so many of each name, spread from the first to
    the last.
    """
    counts, before = Counter[str](), Counter[str]()
    for call in calls_in(trace):
        counts[call.name] += 1
        if call.path == str(MARK):
            before = counts.copy()
    return [
        (name, before[name] + number)
        for name, count in sorted(counts.items())
        for number in spread(count - before[name], each or count)
    ]


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 1 … count, with the first and the last."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(step * (count - 1) / (most - 1)) for step in range(most)})
