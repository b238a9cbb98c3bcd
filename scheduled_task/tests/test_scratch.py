import subprocess
import sys
from pathlib import Path

import pytest

from scheduled_task.scratch import scratch, sweep

#: Works for as long as its pipe is open, or dies at work.
PROGRAM = """
import os, sys; from pathlib import Path; from scheduled_task.scratch import scratch, sweep
root, what = Path(sys.argv[1]), sys.argv[2]
if what == "sweeps":
    for _ in range(2000): sweep(root)
with scratch(root, "rain-1-7") as folder:
    (folder / "deep").mkdir(); (folder / "deep" / "model").write_text("bytes"); (folder / "job.json").write_text("{}")
    if what == "dies": os.kill(os.getpid(), 9)
"""


def python(root: Path, what: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(root), what]


def test_a_folder_lasts_as_long_as_the_work_in_it(tmp_path: Path) -> None:
    with scratch(tmp_path, "rain-1-7") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "model").write_text("bytes")
        assert folder.parent == tmp_path
        assert folder.name.startswith("rain-1-7-")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_removed_where_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), scratch(tmp_path, "rain-1-7"):
        raise ValueError("broken")

    assert list(tmp_path.iterdir()) == []


def test_what_a_link_points_to_survives(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("x")

    with scratch(tmp_path / "runs", "rain-1-7") as folder:
        (folder / "data").symlink_to(tmp_path / "data")

    assert (tmp_path / "data" / "rows.csv").exists()
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.fault(59)
def test_two_that_give_their_work_the_same_name_do_not_touch_each_other(tmp_path: Path) -> None:
    with scratch(tmp_path, "definitions-host-7") as one:
        (one / "answer.json").write_text("{}")
        with scratch(tmp_path, "definitions-host-7"):
            pass

        assert (one / "answer.json").exists()


@pytest.mark.fault(62)
def test_what_a_killed_scheduler_left_is_swept_and_what_another_works_in_is_not(tmp_path: Path) -> None:
    subprocess.run(python(tmp_path, "dies"), check=False)
    (tmp_path / "feeds").mkdir()

    with scratch(tmp_path, "rain-2-9") as held:
        swept = sweep(tmp_path)
        left = sorted(path.name for path in tmp_path.iterdir())

    assert [name.startswith("rain-1-7-") for name in swept] == [True]
    assert left == ["feeds", held.name]


@pytest.mark.fault(59)
def test_work_goes_on_while_another_sweeps_at_every_moment(tmp_path: Path) -> None:
    sweeper = subprocess.Popen(python(tmp_path, "sweeps"))

    while sweeper.poll() is None:
        with scratch(tmp_path, "rain-1-7") as folder:
            (folder / "job.json").write_text("{}")
            assert (folder / "job.json").exists()

    assert sweeper.returncode == 0
    assert list(tmp_path.iterdir()) == []
