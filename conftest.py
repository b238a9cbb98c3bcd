"""What holds for every test, wherever it stands."""

import os
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from understudy.settings import PREFIX

#: Processes that Python starts for itself and ends when it exits.
HOUSEKEEPING = re.compile(r"multiprocessing\.(resource_tracker|forkserver)")

# A developer's own settings are no part of a test.
for _name in [name for name in os.environ if name.startswith(PREFIX)]:
    del os.environ[_name]

# How long an example takes says more about the machine than about the code; each run tries the same examples.
settings.register_profile("understudy", deadline=None, derandomize=True, database=None)
settings.load_profile("understudy")


@pytest.hookimpl(tryfirst=True)  # before the workers read the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that start services on one worker: they share what they start, and its clock is the machine's."""
    for item in items:
        if Path(__file__).parent / "tests" / "e2e" in item.path.parents and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("services"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates that a test has logged: they cannot travel from a worker to the process that reports."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while (left := _children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == [], "tests have left processes behind"


def _children() -> list[str]:
    """Command lines of living children of this process; none where the system does not tell (no /proc)."""
    pids = {pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}
    return [command for pid in sorted(pids) if (command := _command(pid)) and not HOUSEKEEPING.search(command)]


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended meanwhile
        return ""
