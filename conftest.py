"""What holds for every test, wherever it stands."""

import os
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from understudy.settings import PREFIX

#: Processes that Python starts for itself and ends when it exits.
HOUSEKEEPING = re.compile(r"multiprocessing\.(resource_tracker|forkserver)")

# A developer's own settings are no part of a test.
for _name in [name for name in os.environ if name.startswith(PREFIX)]:
    del os.environ[_name]

# How long an example takes says more about the machine than about the code; each run tries the same examples.
settings.register_profile("understudy", deadline=None, derandomize=True, database=None)
settings.load_profile("understudy")


class Shared(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """A file of tests stays on one worker, so that what it prepares is prepared once.

    All that start services stay on one: each measures itself by the machine's clock. (`--dist loadgroup` and its marks
    would say the same, but pytest 9.2 no longer lets xdist 3.8 see them.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return "services" if nodeid.startswith(("tests/e2e/", "tests/faults/test_campaigns")) else nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Shared:
    return Shared(config, log)


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
