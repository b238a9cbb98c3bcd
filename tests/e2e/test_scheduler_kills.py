"""Schedulers and what they start are killed at exact system calls: the run goes on or ends with its reason, once."""

from pathlib import Path
from threading import Event, Thread

import pytest

from scheduled_task.scratch import sweep
from tests.tracing import points, under_strace

SCRATCHER = "scheduled_task.tests.scratcher"


@pytest.mark.fault(62)
def test_a_kill_at_any_call_that_makes_or_removes_a_folder_leaves_nothing_that_a_sweep_leaves(
    tmp_path: Path, strace: None
) -> None:
    calls, trace, root = "mkdir,openat,flock,unlink,unlinkat,rmdir,write", tmp_path / "trace", tmp_path / "root"
    under_strace(SCRATCHER, root, calls=calls, trace=trace)
    ours = {call for call in calls.split(",") if call != "openat"}  # thousands of files are opened by the imports
    kills = [(call, when) for call, when in points(trace) if call in ours]

    left = 0
    for call, when in kills:
        under_strace(SCRATCHER, root, calls=calls, trace=trace, inject=f"{call}:signal=KILL:when={when}")
        left += bool(list(root.glob("*")))
        sweep(root)
        assert list(root.glob("*")) == [], (call, when)

    assert {call for call, _ in kills} >= {"mkdir", "flock", "rmdir"}
    assert left > 0


@pytest.mark.fault(59)
def test_a_folder_that_is_swept_before_it_is_locked_is_made_once_more(tmp_path: Path, strace: None) -> None:
    root, swept, done = tmp_path / "root", list[str](), Event()

    def sweeping() -> None:
        while not done.wait(0.001):
            swept.extend(sweep(root))

    sweeper = Thread(target=sweeping)
    sweeper.start()
    try:
        late = "flock:delay_enter=300000:when=1"
        ended = under_strace(SCRATCHER, root, calls="flock", trace=tmp_path / "trace", inject=late)
    finally:
        done.set()
        sweeper.join()

    assert ended.returncode == 0, ended.stderr
    assert swept
    assert list(root.iterdir()) == []
