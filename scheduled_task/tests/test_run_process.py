import subprocess
import sys
import time
from pathlib import Path

import pytest

from scheduled_task.run_process import RunProcess, ending
from understudy.adapters.training_environment import training_environment

#: Prints its environment, or does what its argument says.
PROGRAM = """
import os, subprocess, sys, time
from scheduled_task import limits
limits.apply(memory_mb=512)
limits.end_with_parent()
what = sys.argv[1]
if what == "environment":
    print(sorted(name for name in os.environ if "TOKEN" in name or name.startswith("UNDERSTUDY")), os.getcwd())
if what == "memory":
    print(len(bytearray(1_000_000_000)))
if what == "children":
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
    time.sleep(60)
if what == "busy":
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
    sum(range(10**13))  # in C: no other thread of Python has its turn before it ends
if what == "noise":
    print("x" * 10_000_000)
    print("the end")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def start(folder: Path, what: str) -> RunProcess:
    return RunProcess("program", [what], folder=folder, home=folder)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_it_is_given_its_home_and_no_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_SCHEDULER_TOKEN", "secret" * 8)
    child = start(folder, "environment")

    code = child.wait(30)

    assert (code, child.end()) == (0, f"['UNDERSTUDY_HOME'] {folder}")


def test_the_environment_keeps_what_a_source_may_need(tmp_path: Path) -> None:
    given = {"WAREHOUSE_PASSWORD": "w", "UNDERSTUDY_OPERATOR_TOKEN": "o", "understudy_client_token": "c"}

    made = training_environment(given, home=tmp_path, scratch=tmp_path / "scratch")

    assert "WAREHOUSE_PASSWORD" in made
    assert not [name for name in made if "TOKEN" in name.upper()]
    assert (made["OMP_NUM_THREADS"], made["PYTHONHASHSEED"]) == ("1", "0")


def gone(pids: list[int]) -> bool:
    """Wait for the end of some processes."""
    until = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(map(is_alive, pids))


@pytest.mark.fault(67)
def test_memory_beyond_the_limit_is_an_error_in_the_process_and_nowhere_else(folder: Path) -> None:
    child = start(folder, "memory")

    code = child.wait(30)

    assert code == 1
    assert child.end().endswith("MemoryError")


@pytest.mark.fault(67)
def test_ending_it_ends_everything_that_it_has_started(folder: Path) -> None:
    child = start(folder, "children")
    while not child.tail():
        time.sleep(0.01)
    grandchild = int(child.tail()[0])

    child.end()

    assert gone([child.pid, grandchild])


def test_only_the_end_of_what_it_prints_is_kept(folder: Path) -> None:
    child = start(folder, "noise")
    child.wait(30)

    printed = child.end()

    assert printed.endswith("the end")
    assert len(printed) < 50_000


@pytest.mark.fault(62)
@pytest.mark.parametrize("what", ["children", "busy"])
def test_it_ends_with_its_parent_however_that_one_dies_and_whatever_it_computes(folder: Path, what: str) -> None:
    parent = (
        "import os, sys, time; from pathlib import Path; from scheduled_task.run_process import RunProcess\n"
        f"child = RunProcess('program', ['{what}'], folder=Path(sys.argv[1]), home=Path(sys.argv[1]))\n"
        "while not child.tail(): time.sleep(0.01)\n"
        "print(child.pid, child.tail()[0], flush=True); os.kill(os.getpid(), 9)"
    )

    died = subprocess.run([sys.executable, "-c", parent, str(folder)], capture_output=True, text=True, check=False)

    pids = [int(pid) for pid in died.stdout.split()]
    assert len(pids) == 2
    assert gone(pids)


@pytest.mark.parametrize(
    ("code", "words"), [(3, "ended with exit code 3"), (-9, "was ended by SIGKILL"), (-200, "was ended by signal 200")]
)
def test_an_exit_code_is_put_into_words(code: int, words: str) -> None:
    assert ending(code) == words
