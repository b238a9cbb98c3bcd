"""What every artifact store promises, on every adapter; below it, what only a folder can do."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest

from tests.conftest import nobody
from tests.given import meanwhile
from tests.tracing import Call, calls_in, under_strace
from understudy.adapters import folder_store
from understudy.adapters.folder_store import FolderStore
from understudy.errors import DigestMismatch, NotFound, StorageFull, StorageUnavailable, UnderstudyError
from understudy.ports import ArtifactStore

DATA = b"the bytes of a bundle"
DIGEST = hashlib.sha256(DATA).hexdigest()


class StoreSite(Protocol):
    """Where an adapter keeps its blobs."""

    def open(self) -> ArtifactStore: ...

    def damage(self, digest: str, data: bytes) -> None:
        """Change a stored blob behind the store's back."""

    def blobs(self) -> list[str]:
        """The names of all that a reader could get."""


class FolderSite:
    """A store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"

    def open(self) -> ArtifactStore:
        return FolderStore(self.folder)

    def damage(self, digest: str, data: bytes) -> None:
        path = self.path(digest)
        path.chmod(0o644)
        path.write_bytes(data)

    def blobs(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "sha256").rglob("*") if path.is_file())

    def path(self, digest: str) -> Path:
        return self.folder / "sha256" / digest[:2] / digest

    def temporary(self) -> list[Path]:
        return list((self.folder / "writing").iterdir())


SITES: list[Callable[[Path], StoreSite]] = [FolderSite]


@pytest.fixture(params=SITES, ids=lambda site: site.__name__)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSite:
    made: StoreSite = request.param(tmp_path)
    return made


@pytest.fixture
def store(site: StoreSite) -> ArtifactStore:
    return site.open()


@pytest.fixture
def folder(tmp_path: Path) -> FolderSite:
    return FolderSite(tmp_path)


# Every store


@pytest.mark.parametrize("data", [DATA, b"", bytes(range(256)) * 4096], ids=["text", "nothing", "a megabyte"])
def test_what_is_stored_comes_back_under_its_sha256(store: ArtifactStore, data: bytes) -> None:
    digest = store.put(data)

    assert digest == hashlib.sha256(data).hexdigest()
    assert store.get(digest) == data
    assert store.has(digest)


def test_storing_the_same_bytes_again_changes_nothing(site: StoreSite, store: ArtifactStore) -> None:
    assert store.put(DATA) == store.put(DATA) == site.open().put(DATA) == DIGEST
    assert site.blobs() == [DIGEST]


def test_a_digest_that_was_never_stored_is_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match=r"no blob 'a{64}'"):
        store.get("a" * 64)
    assert not store.has("a" * 64)


NO_DIGESTS = [
    "",
    "..",
    "../../../etc/passwd",
    "/etc/passwd",
    f"../{DIGEST}",
    f"{DIGEST[:62]}/x",
    f"{DIGEST}/../{DIGEST}",
    f"{DIGEST}\n",
    f"{DIGEST}\0",
    f" {DIGEST}",
    DIGEST.upper(),
    DIGEST[:63],
    DIGEST + "0",
    "%2e%2e%2f" * 8,
    "．．／" * 21,  # full-width dots and slashes
    "٠" * 64,  # digits, but not ours
    "a" * 5000,
    "\ud800" * 64,
]


@pytest.mark.parametrize("name", NO_DIGESTS, ids=lambda name: ascii(name[:20]))
def test_a_name_that_is_no_digest_names_nothing(store: ArtifactStore, name: str) -> None:
    store.put(DATA)

    with pytest.raises(NotFound) as refused:
        store.get(name)
    assert not store.has(name)
    assert str(refused.value).isascii()
    assert len(str(refused.value)) < 1000
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "damage", [b"", DATA[:-1], DATA + b"\0", b"T" + DATA[1:]], ids=["emptied", "cut", "longer", "changed"]
)
def test_a_blob_that_changed_on_disk_is_found_and_never_given_out(site: StoreSite, damage: bytes) -> None:
    store = site.open()
    store.put(DATA)
    site.damage(DIGEST, damage)

    with pytest.raises(DigestMismatch, match=DIGEST[:12]):
        store.get(DIGEST)


def test_storing_the_right_bytes_again_mends_a_damaged_blob(site: StoreSite) -> None:
    store = site.open()
    store.put(DATA)
    site.damage(DIGEST, b"rubbish")

    assert store.put(DATA) == DIGEST
    assert store.get(DIGEST) == DATA
    assert site.blobs() == [DIGEST]


def test_eight_threads_that_store_the_same_bytes_at_once_leave_one_blob(site: StoreSite) -> None:
    data = b"x" * 200_000
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda _: site.open().put(data), range(40)))

    assert set(digests) == {hashlib.sha256(data).hexdigest()}
    assert site.blobs() == digests[:1]
    assert site.open().get(digests[0]) == data


def test_a_reader_sees_a_whole_blob_or_none(site: StoreSite) -> None:
    store, seen = site.open(), set[object]()
    data = [bytes([number]) * 1_000_000 for number in range(6)]
    digests = [hashlib.sha256(each).hexdigest() for each in data]

    def read() -> None:
        for digest in digests:
            try:
                store.get(digest)
            except UnderstudyError as error:
                seen.add(type(error))

    with meanwhile(read):
        for each in data:
            store.put(each)

    assert seen <= {NotFound}


# A folder


def test_eight_processes_that_store_the_same_bytes_at_once_leave_one_blob(folder: FolderSite) -> None:
    command = [sys.executable, "-m", "tests.storer", str(folder.folder), DATA.decode(), "10"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = {line for writer in writers for line in writer.communicate()[0].split()}

    assert [writer.returncode for writer in writers] == [0] * 8
    assert answers == {DIGEST}
    assert folder.blobs() == [DIGEST]
    assert folder.temporary() == []


def test_a_blob_is_read_only_and_the_first_writer_s_file_stays(folder: FolderSite) -> None:
    folder.open().put(DATA)
    first = folder.path(DIGEST).stat()

    folder.open().put(DATA)

    assert folder.path(DIGEST).stat().st_ino == first.st_ino
    assert first.st_mode & 0o777 == 0o444


def test_mending_never_leaves_a_moment_without_the_blob(folder: FolderSite) -> None:
    """Two that mend at once must not take the right bytes away from each other, or from a reader."""
    store, seen = folder.open(), list[str]()
    store.put(DATA)

    def read() -> None:
        try:
            store.get(DIGEST)
        except NotFound:
            seen.append("nothing there")
        except DigestMismatch:
            return

    with meanwhile(read), ThreadPoolExecutor(4) as pool:
        for _ in range(30):
            folder.damage(DIGEST, b"rubbish")
            assert set(pool.map(store.put, [DATA] * 4)) == {DIGEST}

    assert seen == []
    assert store.get(DIGEST) == DATA
    assert folder.temporary() == []


def test_sweeping_removes_what_dead_writers_left_and_leaves_the_living_alone(folder: FolderSite) -> None:
    store = folder.open()
    store.put(DATA)
    (folder.folder / "writing" / "dead").write_bytes(b"half")

    with folder_store.temporary(folder.folder / "writing") as (_, alive):
        assert store.sweep() == 1
        assert folder.temporary() == [alive]
        assert store.sweep() == 0

    assert folder.temporary() == []
    assert store.get(DIGEST) == DATA


def test_a_writer_that_is_killed_is_known_to_be_dead_at_once(folder: FolderSite, tmp_path: Path, strace: None) -> None:
    folder.open()
    kill = "fsync:signal=KILL:when=2"  # the first is that of the folder, when the store is opened

    ended = under_strace("tests.storer", folder.folder, "x", calls="fsync", trace=tmp_path / "trace", inject=kill)

    assert ended.stdout == b""
    assert len(folder.temporary()) == 1
    assert folder.open().sweep() == 1
    assert folder.temporary() == []


def test_a_file_that_was_swept_before_its_writer_could_lock_it_is_made_again(folder: FolderSite) -> None:
    store, made = folder.open(), list[Path]()
    writing = folder.folder / "writing"

    with meanwhile(store.sweep):
        for _ in range(300):
            with folder_store.temporary(writing) as (handle, path):
                assert path.samefile(f"/proc/self/fd/{handle}")
                made.append(path)

    assert len(made) == 300
    assert folder.temporary() == []


def test_sweeping_while_others_write_disturbs_nobody(folder: FolderSite) -> None:
    store = folder.open()

    with meanwhile(store.sweep), ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: store.put(str(number).encode()), range(180)))

    assert len(folder.blobs()) == 180
    assert folder.temporary() == []


def test_bytes_and_folders_are_synced_before_a_put_is_acknowledged(
    folder: FolderSite, tmp_path: Path, strace: None
) -> None:
    trace = tmp_path / "trace"

    under_strace("tests.storer", folder.folder, "durable", calls="fsync,link,linkat,mkdir,write", trace=trace)

    steps = [step for call in calls_in(trace) if (step := role(call, folder.folder))]
    assert steps[-6:] == ["bytes synced", "folder made", "linked", "folder synced", "folders synced", "acknowledged"]
    assert steps.index("store synced") < steps.index("bytes synced")


def test_a_put_that_finds_the_blob_there_still_makes_sure_that_it_lasts(
    folder: FolderSite, tmp_path: Path, strace: None
) -> None:
    """Whoever linked it may be dead, or not have come to the sync yet."""
    folder.open().put(b"durable")
    trace = tmp_path / "trace"

    under_strace("tests.storer", folder.folder, "durable", calls="fsync,link,linkat,write", trace=trace)

    steps = [step for call in calls_in(trace) if (step := role(call, folder.folder))]
    assert steps[-3:] == ["folder synced", "folders synced", "acknowledged"]
    assert "linked" not in steps


def role(call: Call, folder: Path) -> str | None:
    """What a system call is in a put; None for those of Python itself."""
    inside = call.path.removeprefix(str(folder))
    match call.name, inside.strip("/").split("/"):
        case "write", _ if call.line.partition("(")[2].startswith("1<"):
            return "acknowledged"
        case _ if inside == call.path:
            return None
        case "fsync", ["writing", _]:
            return "bytes synced"
        case "fsync", ["sha256", _]:
            return "folder synced"
        case "fsync", ["sha256"]:
            return "folders synced"
        case "fsync", [""]:
            return "store synced"
        case "mkdir", ["sha256", _]:
            return "folder made"
        case (("link" | "linkat"), ["sha256", _, _]):
            return "linked"
    return None


# A volume in trouble: the storage's part of faults 17 and 18


def test_a_full_volume_keeps_no_part_of_what_did_not_fit(small_volume: Path) -> None:
    site = FolderSite(small_volume)
    store = site.open()
    store.put(DATA)
    large = os.urandom(2_000_000)

    with pytest.raises(StorageFull, match="no room left"):
        store.put(large)

    assert site.temporary() == []
    assert site.blobs() == [DIGEST]
    assert store.get(DIGEST) == DATA
    assert store.get(store.put(b"small again")) == b"small again"


def test_a_read_only_volume_gives_what_it_has_and_says_that_it_takes_nothing(small_volume: Path) -> None:
    site = FolderSite(small_volume)
    store = site.open()
    store.put(DATA)
    mount("-o", "remount,ro", str(small_volume))

    assert store.get(DIGEST) == DATA
    with pytest.raises(StorageUnavailable, match="Read-only"):
        store.put(b"new")
    with pytest.raises(StorageUnavailable, match="Read-only"):
        FolderSite(small_volume / "elsewhere").open()

    mount("-o", "remount,rw", str(small_volume))
    assert store.has(store.put(b"new"))


def test_a_damaged_blob_on_a_read_only_volume_is_said_to_be_beyond_mending(small_volume: Path) -> None:
    site = FolderSite(small_volume)
    store = site.open()
    store.put(DATA)
    site.damage(DIGEST, b"rubbish")
    mount("-o", "remount,ro", str(small_volume))

    with pytest.raises(StorageUnavailable, match="Read-only"):
        store.put(DATA)


def test_a_volume_that_was_unmounted_is_not_written_beside(small_volume: Path) -> None:
    store = FolderSite(small_volume).open()
    store.put(DATA)
    subprocess.run(["umount", str(small_volume)], check=True)

    with pytest.raises(NotFound, match="restore the store"):
        store.get(DIGEST)
    with pytest.raises(StorageUnavailable, match="mounted"):
        store.put(b"new")
    with pytest.raises(StorageUnavailable, match="mounted"):
        store.sweep()
    assert not store.has(DIGEST)
    assert list(small_volume.iterdir()) == []


def test_an_empty_volume_takes_new_blobs_once_the_store_is_opened_again(small_volume: Path) -> None:
    site = FolderSite(small_volume)
    site.open().put(DATA)
    subprocess.run(["umount", str(small_volume)], check=True)
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small_volume))

    store = site.open()

    with pytest.raises(NotFound):
        store.get(DIGEST)
    assert store.get(store.put(b"new")) == b"new"


def test_a_store_that_its_account_may_not_enter_is_unavailable_and_not_empty(small_volume: Path) -> None:
    site = FolderSite(small_volume)
    store = site.open()
    store.put(DATA)
    site.folder.chmod(0o000)

    with nobody():
        uses = (lambda: store.get(DIGEST), lambda: store.has(DIGEST), lambda: store.put(b"new"), store.sweep, site.open)
        for use in uses:
            with pytest.raises(StorageUnavailable, match="Permission denied"):
                use()


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
