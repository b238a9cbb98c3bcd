"""A file that is exchanged between its verification and its load: what answers are the bytes that were verified.

The loader is stopped by the system right after it has closed the file that it read, which is before it can have
computed a digest; by then another whole bundle lies under the same name. That this would be seen is proven on a copy of
the code with the flaws in it: one that reads the file again, and one whose second guard is gone too.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from api.tests import given
from tests.workers import wait_for
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.runtime import open_bundle
from understudy.fingerprint import digest_of

ROOT = Path(__file__).parents[2]
ROWS = [[0.2, 0.9], [0.7, 0.1]]

#: A line of ours -> what a careless hand would have written.
READS_AGAIN = {
    "understudy/adapters/folder_store.py": (
        "        return data\n\n    def has",
        "        return self._path(digest).read_bytes()\n\n    def has",
    )
}
TRUSTS_THE_STORE = {"understudy/adapters/bundle.py": ("    check_digest(data, digest)\n    members", "    members")}


@pytest.fixture(scope="module")
def bundles() -> tuple[bytes, bytes]:
    """Two versions that take the same rows and answer otherwise."""
    return given.bundle(), given.bundle(LogisticRegression(C=0.01))


def answers(data: bytes) -> str:
    return json.dumps(open_bundle(data, digest=digest_of(data), trees=True).predict(ROWS).probabilities)


def tree_with(folder: Path, flaws: Mapping[str, tuple[str, str]]) -> Path:
    """A copy of the code, with some places changed."""
    for package in ("understudy", "api"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "prod_models"))
    (folder / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "loader.py", folder / "tests")
    for name, (ours, careless) in flaws.items():
        source = (folder / name).read_text()
        assert source.count(ours) == 1, f"the flaw does not fit {name} any more"
        (folder / name).write_text(source.replace(ours, careless))
    return folder


def loaded_amid_an_exchange(tree: Path, folder: Path, ours: bytes, other: bytes) -> str:
    """Load `ours` in a process that is stopped once it has read the file, while `other` takes the file's place."""
    digest, trace = FolderStore(folder / "store").put(ours), folder / "trace"
    blob = folder / "store" / "sha256" / digest[:2] / digest
    watched = ["-P", str(blob), "-e", "trace=close", "-e", "inject=close:signal=STOP:when=1"]
    loader = [sys.executable, "-m", "tests.loader", str(folder / "store"), digest, json.dumps(ROWS)]
    process = subprocess.Popen(
        ["strace", "-f", "-o", str(trace), *watched, *loader],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(lambda: "stopped by SIGSTOP" in said(trace), "the loader to be stopped")
        (folder / "other").write_bytes(other)
        (folder / "other").replace(blob)
        os.kill(int(said(trace).split()[0]), signal.SIGCONT)
        return process.communicate(timeout=60)[0].decode()
    finally:
        process.kill()
        process.wait()


def said(trace: Path) -> str:
    return trace.read_text() if trace.exists() else ""


@pytest.mark.fault(6)
def test_a_file_exchanged_after_it_was_read_changes_no_answer(
    tmp_path: Path, strace: None, bundles: tuple[bytes, bytes]
) -> None:
    assert loaded_amid_an_exchange(ROOT, tmp_path, *bundles) == answers(bundles[0])


@pytest.mark.fault(6)
def test_a_loader_that_read_the_file_again_would_be_stopped_by_a_second_look_at_the_digest(
    tmp_path: Path, strace: None, bundles: tuple[bytes, bytes]
) -> None:
    tree = tree_with(tmp_path / "tree", READS_AGAIN)

    assert "cannot be loaded: These" in loaded_amid_an_exchange(tree, tmp_path, *bundles)


@pytest.mark.fault(6)
def test_a_loader_without_both_guards_would_be_seen_to_answer_from_the_other_file(
    tmp_path: Path, strace: None, bundles: tuple[bytes, bytes]
) -> None:
    tree = tree_with(tmp_path / "tree", {**READS_AGAIN, **TRUSTS_THE_STORE})

    assert loaded_amid_an_exchange(tree, tmp_path, *bundles) == answers(bundles[1])
