"""A process that stores is killed at every system call: a blob is there whole, or it is not there.

The default suite takes a sample of every name of call; `make faults` takes every single one.
"""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.faults.kills import kill_at_points_of, tell
from understudy.adapters.folder_store import FolderStore

TEXT, OTHER = "the bytes of a bundle", b"what another process has stored"
MEGABYTE = 50_000
"""TEXT so many times."""


class Shelf:
    """A store with another blob in it, and with what the case is about."""

    def __init__(self, folder: Path, case: str) -> None:
        self.folder, self.case = folder / "store", case
        self.trace, self.answers = folder / "trace", folder / "answers"
        self.repeated = MEGABYTE if "large" in case else 1
        self.data = TEXT.encode() * self.repeated
        self.digest = hashlib.sha256(self.data).hexdigest()

    @property
    def blob(self) -> Path:
        return self.folder / "sha256" / self.digest[:2] / self.digest

    @property
    def temporary(self) -> list[Path]:
        return list((self.folder / "writing").iterdir()) if (self.folder / "writing").exists() else []

    def prepare(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.case == "a new store":
            return
        self.other = FolderStore(self.folder).put(OTHER)
        if "damaged" in self.case or "stored already" in self.case:
            FolderStore(self.folder).put(self.data)
        if "damaged" in self.case:
            self.blob.chmod(0o644)
            self.blob.write_bytes(b"rubbish")
        if "dead writer" in self.case:
            for name in ("one", "two", "three"):
                (self.folder / "writing" / name).write_bytes(b"half")

    def command(self) -> list[str]:
        deeds = "sweep,put" if "dead writer" in self.case else "put"
        return ["tests.storer", str(self.folder), TEXT, "1", str(self.repeated), deeds]

    def check(self, acknowledged: list[str]) -> None:
        assert len(self.temporary) <= (4 if "dead writer" in self.case else 1)
        if "swept" in acknowledged:
            assert len(self.temporary) <= 1
        damaged = "damaged" in self.case and self.digest not in acknowledged
        if self.blob.exists():
            assert self.blob.read_bytes() == self.data or (damaged and self.blob.read_bytes() == b"rubbish")
        else:
            assert self.digest not in acknowledged
            assert self.case not in ("a blob that is stored already", "a damaged blob")
        self.begin_again()

    def begin_again(self) -> None:
        """What a restart does: open, sweep, and store what was not acknowledged once more."""
        store = FolderStore(self.folder)
        store.sweep()
        assert self.temporary == []
        assert store.put(self.data) == self.digest
        assert store.get(self.digest) == self.data
        assert self.case == "a new store" or store.get(self.other) == OTHER
        assert self.temporary == []


CASES = [
    "a small new blob",
    "a large new blob",
    "a blob that is stored already",
    "a damaged blob",
    "a new store",
    "a small new blob after a dead writer",
]


@pytest.mark.fault(19)
def test_a_kill_at_any_class_of_system_call_leaves_a_blob_whole_or_not_there(tmp_path: Path, strace: None) -> None:
    kills = kill_at_points_of(Shelf(tmp_path, "a small new blob after a dead writer"), each=2)

    assert {"openat", "write", "fsync", "unlink", "flock"} <= kills.keys()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.fault(19)
@pytest.mark.parametrize("case", CASES)
def test_a_kill_at_every_single_system_call_leaves_a_blob_whole_or_not_there(
    case: str, tmp_path: Path, strace: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(capsys, f"storing {case}", kill_at_points_of(Shelf(tmp_path, case)))
