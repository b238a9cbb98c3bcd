import subprocess
import sys
from pathlib import Path

import pytest

from scheduled_task.scratch import scratch, sweep


def test_a_folder_lasts_as_long_as_the_work_in_it(tmp_path: Path) -> None:
    with scratch(tmp_path, "rain-1-7") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "model").write_text("bytes")
        assert folder == tmp_path / "rain-1-7"

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


@pytest.mark.fault(62)
def test_what_a_killed_scheduler_left_is_swept_and_what_another_works_in_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from scheduled_task.scratch import scratch\n"
        "with scratch(Path(sys.argv[1]), 'rain-1-7'): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (tmp_path / "feeds").mkdir()

    with scratch(tmp_path, "rain-2-9"):
        swept = sweep(tmp_path)
        left = sorted(path.name for path in tmp_path.iterdir())

    assert (swept, left) == (["rain-1-7"], ["feeds", "rain-2-9"])
