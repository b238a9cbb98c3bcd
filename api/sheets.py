"""Sheets: the numbers of each process of the API, in files that every one of them reads.

The form of the files, the way in which they are summed, and the text that is made of them are those of
prometheus_client in its mode for several processes. Its metric objects are left out. They want one folder for a whole
process, named in the environment before they are imported, and a lock and a write for every request.

A process holds a lock on a file of its own for as long as it lives. The system takes the lock from a process that dies,
so whoever reads knows exactly whose gauges still count. Counters of the dead stay until the API as a whole starts
again; `api/estate.py` reads them all.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import IO

from prometheus_client.mmap_dict import MmapedDict

from api.counts import Latencies
from api.families import BY_NAME, Family, Labels

Values = Mapping[str, Mapping[Labels, float | Latencies]]
"""Name of a family -> labels -> number."""

FIRST_SIZE = 64 * 1024
HEAD = 8
"""Bytes before the first number of a file; its own number and the length of its key are `CELL`."""
CELL = 32
ALIVE = ".alive"


class Sheet:
    """What one process writes: one file for each way of summing.

    Room on the disk is taken before a number is put there: a mapped page that finds none would end the process.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.name, self._alive = claimed(folder)
        self._pages: dict[str, Page] = {}
        self._keys: dict[tuple[str, Labels], tuple[str, ...]] = {}

    def write(self, values: Values) -> None:
        """Put down every number. Raises OSError where there is no room for those that were not there before."""
        cells: dict[str, dict[str, float]] = {}
        for name, found in values.items():
            page = cells.setdefault(BY_NAME[name].file, {})
            for labels, value in found.items():
                page.update(self._cells(BY_NAME[name], labels, value))
        with ExitStack() as each:  # what fails in one file is raised when all have been written
            for file, found_cells in cells.items():
                each.callback(self._write, file, found_cells)

    def _cells(self, family: Family, labels: Labels, value: float | Latencies) -> Iterator[tuple[str, float]]:
        """As `Family.cells`; the keys are made once."""
        keys = self._keys.get((family.name, labels))
        if keys is None:
            keys = self._keys[family.name, labels] = tuple(family.cells(labels, value))
        numbers = (*value.buckets, value.sum_s) if isinstance(value, Latencies) else (value,)
        return zip(keys, map(float, numbers), strict=True)

    def _write(self, file: str, cells: Mapping[str, float]) -> None:
        """Write to a file; to a new one where the old one holds a gauge that is no more."""
        page = self._pages.get(file)
        if page is not None and not (file.startswith("gauge") and page.cells.keys() - cells.keys()):
            page.write(cells)
            return
        self._pages[file] = Page(self._folder / f"{file}_{self.name}.db", cells)
        if page is not None:
            page.close()
            self._keys.clear()  # or those of every version that ever served would stay

    def close(self) -> None:
        """Take the gauges away; the counters stay."""
        for page in self._pages.values():
            page.close()
        remove(self._folder, f"gauge_*_{self.name}.db")
        self._alive.close()


class Page:
    """One mapped file."""

    def __init__(self, path: Path, cells: Mapping[str, float]) -> None:
        self.cells: dict[str, float] = {}
        new = path.with_suffix(".new")
        self._size, self._used = FIRST_SIZE, HEAD
        with ExitStack() as undo:
            self._file = undo.enter_context(new.open("w+b"))
            undo.callback(new.unlink)
            os.posix_fallocate(self._file.fileno(), 0, FIRST_SIZE)
            self._mapped = MmapedDict(str(new))  # type: ignore[no-untyped-call]  # the library gives it no types
            undo.callback(self._mapped.close)
            self.write(cells)
            new.replace(path)  # readers find the old one or the new one, and both are whole
            undo.pop_all()

    def write(self, cells: Mapping[str, float]) -> None:
        for key, number in sorted(cells.items(), key=lambda cell: cell[0] not in self.cells):  # what needs room: last
            if self.cells.get(key) != number:
                self._make_room(key)
                self._mapped.write_value(key, number, 0.0)  # type: ignore[no-untyped-call]  # as above
                self.cells[key] = number

    def _make_room(self, key: str) -> None:
        """Let the file have the size that the library gives it when it doubles, and blocks for all of it."""
        if key in self.cells:
            return
        needs = len(key.encode()) + CELL
        while self._used + needs > self._size:
            os.posix_fallocate(self._file.fileno(), 0, 2 * self._size)
            self._size *= 2
        self._used += needs

    def close(self) -> None:
        self._mapped.close()  # type: ignore[no-untyped-call]  # as above
        self._file.close()


def claimed(folder: Path) -> tuple[str, IO[bytes]]:
    """A name that no process has written under, and the lock that says that its owner lives."""
    for name in names(os.getpid()):
        path = folder / f"{name}{ALIVE}"
        with suppress(FileExistsError):
            file = path.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return name, file
            file.close()  # swept away before it was locked
    raise AssertionError("there is always another name")


def names(pid: int) -> Iterator[str]:
    """The process id; where a former process has left counters under it, `ID.1` and so on."""
    yield str(pid)
    for again in count(1):
        yield f"{pid}.{again}"


def lives(folder: Path, name: str) -> bool:
    """Whether the owner of a name holds its lock. Many may ask at once."""
    try:
        with (folder / f"{name}{ALIVE}").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def owner(file: Path) -> str:
    """Whose a file is; the part of its name behind the last `_`."""
    return file.name.removesuffix(file.suffix).rpartition("_")[2]


def owners(folder: Path, *files: str) -> set[str]:
    """Whose there are, of the files whose names begin so."""
    return {owner(file) for begins in files for file in folder.glob(f"{begins}_*.db")}


def remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink(missing_ok=True)
