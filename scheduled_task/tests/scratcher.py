"""A process that works in one folder: `python -m scheduled_task.tests.scratcher ROOT`."""

import sys
from pathlib import Path

from scheduled_task.scratch import scratch


def main(root: Path) -> None:
    with scratch(root, "rain-1-7") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "model").write_text("bytes")
        (folder / "job.json").write_text("{}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
