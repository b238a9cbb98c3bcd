"""Which version a process is in the middle of calling, where others find it when the process is no more.

A process that dies in a call cannot say so. So it has a small file, `var/processes/PID-….mark`, mapped into its memory:
a byte for each version that it serves is 1 while that version is called. Two stores of a byte a call cost less than a
tenth of a microsecond, and what was stored there outlives a crash. A lock on the file tells the dead from the living:
the system takes it from whoever dies.

Beside it lies `PID-….stack`, into which the interpreter writes where its threads were when a signal killed it.

The file has all its blocks from the start: a store into a hole of a full disk would itself kill the process. Where it
cannot have them, the process marks memory that nobody will find.
"""

import fcntl
import json
import logging
import mmap
import os
import secrets
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import IO, Any

from api.memory import kills_for_memory
from understudy.events import Ended

log = logging.getLogger(__name__)

SLOTS = 1024
"""Versions loaded at a time; further ones share the last place, which names none."""
END, FLAGS, NAMES, NAME = 512, 1024, 2048, 64
"""Offsets in the file: how it ended, a byte for each version, their names; and bytes of a name."""
LOOKED = NAMES + NAME * SLOTS
"""When its watchdog last looked: a float64, seconds by the wall clock."""
SIZE = LOOKED + 8

WITNESSED_WITHIN_S = 3.0
"""How long a parent may take to say how a child has ended."""
LONGEST_STACK = 20_000
"""Characters that are kept of it."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """What a process says of itself when it begins."""

    worker: str
    parent: int | None
    """The process that replaces it; None where nobody does."""
    memory_kills: int | None
    """Processes that the system had ended here, by then, because memory was short."""


@dataclass(frozen=True, kw_only=True)
class End:
    """How a process ended, by whoever saw it."""

    how: Ended
    reason: str
    calling: Sequence[Sequence[str]] | None = None
    """The (model, version) whose calls it ended for; None: those that were under way."""


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What a dead process has left."""

    mark: str
    """Its name, which no other process has."""
    life: Life
    end: End | None
    calling: tuple[tuple[str, str], ...]
    """(model, version) that it was in the middle of calling."""
    stack: str
    still_s: float
    """From the last look of its watchdog to the writing of the stack; 0 where it did not come to either."""


class Marks:
    """The marks of this process."""

    def __init__(self, folder: Path | None, worker: str) -> None:
        """With no folder they are this process's own business."""
        self._files: list[IO[Any]] = []
        self.stack: IO[bytes] | None = None
        """Where the interpreter writes when it must end; None where there is no room for it."""
        self._path = None if folder is None else folder / f"{os.getpid()}-{secrets.token_hex(4)}.mark"
        self.memory = mmap.mmap(-1, SIZE)
        try:
            if self._path is not None:
                self.memory = self._mapped(self._path)
        except OSError as error:
            log.warning("Processes leave no marks: %s.", error.strerror, extra={"action": "marks.unavailable"})
            self._path = None
        parent = parent_process()
        life = Life(worker=worker, parent=parent.pid if parent else None, memory_kills=kills_for_memory())
        put(self.memory, 0, asdict(life))
        self._free: list[int] = [*range(SLOTS - 2, -1, -1)]

    def _mapped(self, path: Path) -> mmap.mmap:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = path.open("x+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(file.fileno(), 0, SIZE)
            self.stack = path.with_suffix(".stack").open("wb", buffering=0)
            memory = mmap.mmap(file.fileno(), SIZE)
        except OSError:
            path.unlink(missing_ok=True)
            file.close()
            raise
        self._files = [file, self.stack]
        return memory

    def take(self, model: str, version: str) -> int:
        """A place for a version: set `memory[place]` to 1 while it is called, and to 0 after."""
        name = f"{model}\n{version}".encode()
        if not self._free or len(name) > NAME:
            return FLAGS + SLOTS - 1
        slot = self._free.pop()
        self.memory[NAMES + slot * NAME : NAMES + (slot + 1) * NAME] = name.ljust(NAME, b"\0")
        return FLAGS + slot

    def give_back(self, place: int) -> None:
        """The version that had this place is no more."""
        self.memory[place] = 0
        if place < FLAGS + SLOTS - 1:
            self._free.append(place - FLAGS)

    def look(self) -> None:
        """Note that this process runs."""
        struct.pack_into("<d", self.memory, LOOKED, time.time())

    def end(self, end: End) -> None:
        """Say why this process is about to end."""
        put(self.memory, END, asdict(end))

    def close(self) -> None:
        """Nothing is left of a process that ends as it should. What still has a place may go on marking memory."""
        if self._path is not None and said(self.memory, END) is None:
            forget(self._path)
        for file in self._files:
            file.close()


def put(memory: mmap.mmap, place: int, value: dict[str, Any]) -> None:
    room = (END if place == 0 else FLAGS) - place
    text = json.dumps(value, ensure_ascii=True).encode()
    memory[place : place + room] = text.ljust(room, b"\0") if len(text) <= room else b"\0" * room


def forget(path: Path) -> None:
    path.with_suffix(".stack").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


@contextmanager
def dead(path: Path) -> Iterator[IO[bytes] | None]:
    """The file of a dead process, which is ours alone meanwhile; None where its process lives, or another has it."""
    try:
        file = path.open("r+b")
    except OSError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield file if path.exists() else None


def witness(folder: Path, pid: int, end: End) -> None:
    """Write down how a child ended, unless it has said so itself."""
    for path in folder.glob(f"{pid}-*.mark"):
        until_s = time.monotonic() + WITNESSED_WITHIN_S / 2
        while not written(path, end) and time.monotonic() < until_s:
            time.sleep(0.01)  # a worker has it in his hands: he looks whether we have been here


def written(path: Path, end: End) -> bool:
    with dead(path) as file:
        if file is None or os.fstat(file.fileno()).st_size != SIZE:
            return False
        with mmap.mmap(file.fileno(), SIZE) as memory:
            if said(memory, END) is None:
                put(memory, END, asdict(end))
    return True


def remains(file: IO[bytes], path: Path) -> Remains | None:
    """What a dead process has left; None where that cannot be read."""
    if os.fstat(file.fileno()).st_size != SIZE:
        return None
    with mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ) as memory:
        life, end = said(memory, 0), said(memory, END)
        called = [slot for slot in range(SLOTS) if memory[FLAGS + slot]]
        (looked_s,) = struct.unpack_from("<d", memory, LOOKED)
        names = [memory[NAMES + slot * NAME : NAMES + (slot + 1) * NAME].rstrip(b"\0") for slot in called]
    try:
        witnessed = None if end is None else End(**end)
        pairs: Sequence[Sequence[str]] = [name.decode().split("\n", 1) for name in names]
        if witnessed is not None and witnessed.calling is not None:
            pairs = witnessed.calling
        return Remains(
            mark=path.stem,
            life=Life(**life or {}),
            end=witnessed,
            calling=tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2),
            stack=stack_of(path.with_suffix(".stack")),
            still_s=written_s(path.with_suffix(".stack")) - looked_s if looked_s else 0.0,
        )
    except (TypeError, UnicodeDecodeError):
        return None


def said(memory: mmap.mmap, place: int) -> dict[str, Any] | None:
    text = memory[place : END if place == 0 else FLAGS].rstrip(b"\0")
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def written_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def stack_of(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(LONGEST_STACK)
    except OSError:
        return ""
