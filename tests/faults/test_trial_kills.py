"""Whoever dies while it tries a version leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.fleet import children, command, send, until
from understudy.adapters import trial


@pytest.mark.fault(19)
def test_a_parent_that_is_killed_during_a_trial_leaves_no_folder(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-m", "tests.faults.trier"], env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        until(lambda: any("trial_child" in command(pid) for pid in children(parent.pid)), "a trial")
        tried = children(parent.pid)
        until(lambda: list(tmp_path.iterdir()) == [], "the child to be alone in its folder")
        assert parent.poll() is None
    finally:
        parent.kill()
        parent.wait()

    send(signal.SIGKILL, *tried)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_trial_that_was_never_started_is_swept_before_the_next_one(tmp_path: Path) -> None:
    old, new, others = (tmp_path / name for name in (f"{trial.FOLDER}old", f"{trial.FOLDER}new", "somebody's"))
    for folder in (old, new, others):
        folder.mkdir()
    os.utime(old, (time.time() - trial.STARTED_WITHIN_S - 1,) * 2)

    trial.sweep(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([new, others])
