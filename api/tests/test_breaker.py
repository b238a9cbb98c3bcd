"""A version that fails is refused while it is of no use, and what a process dies of is found in what it leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.breaker import Breaker, Breakers
from api.burial import Burial, guessed, seen
from api.mark import FLAGS, SIZE, SLOTS, End, Life, Marks, Remains, dead, remains, witness
from api.memory import Shortage, kills_for_memory, resident_bytes
from api.tests.given import Api, api, bundle
from tests.given import defined
from tests.workers import wait_for
from understudy.errors import ModelUnhealthy
from understudy.events import Ended, ProcessDied
from understudy.failures import BLOCKED, FAILURES, STILL


@pytest.fixture
def breakers() -> Breakers:
    return Breakers(Marks(None, "a test"))


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Breakers]:
    """Those of a process that leaves marks."""
    marks = Marks(tmp_path, "a test")
    yield Breakers(marks)
    marks.close()


def call(breaker: Breaker, *, fails: bool = False) -> None:
    trial = breaker.enter()
    if fails:
        breaker.failed()
    breaker.leave(trial)


def test_a_version_that_only_fails_is_accused_once_and_refused(breakers: Breakers) -> None:
    breaker = breakers.of("rain", "2")

    for _ in range(FAILURES):
        call(breaker, fails=True)

    with pytest.raises(ModelUnhealthy, match="Version 2 of rain fails while it serves: 5 of its last 5 calls failed"):
        call(breaker)
    assert breakers.heard.get_nowait() == ("rain", "2", "5 of its last 5 calls failed")
    assert breakers.heard.empty()


def test_a_version_that_answers_half_of_what_it_is_asked_is_accused_and_goes_on_answering(breakers: Breakers) -> None:
    breaker = breakers.of("rain", "2")

    for _ in range(2 * FAILURES):
        call(breaker)
        call(breaker, fails=True)

    call(breaker)
    assert breakers.heard.qsize() == 1


def test_a_version_in_whose_calls_processes_die_is_refused_until_the_log_says_otherwise(breakers: Breakers) -> None:
    before = breakers.of("rain", "2")
    breakers.hold({("rain", "2"): "2 processes have died"})
    after, other = breakers.of("rain", "2"), breakers.of("rain", "1")

    for breaker in (before, after):
        with pytest.raises(ModelUnhealthy, match="2 processes have died"):
            call(breaker)
    call(other)

    breakers.hold({})
    call(before)
    call(after)


def test_a_client_in_a_hurry_is_no_failure_of_the_model(breakers: Breakers) -> None:
    breaker = breakers.of("rain", "1")
    breaker.enter()

    for _ in range(100):
        breaker.late()

    assert breaker.tally.failures == 0


def test_a_mark_says_what_is_being_called_and_its_place_is_used_again(marked: Breakers, tmp_path: Path) -> None:
    one, two = marked.of("rain", "1"), marked.of("sun", "12")
    (file,) = tmp_path.glob("*.mark")

    two.enter()

    assert sum(file.read_bytes()[FLAGS : FLAGS + SLOTS]) == 1
    assert {(found.model, found.version) for found in marked.calling()} == {("sun", "12")}
    del one
    assert marked.of("rain", "2")._place == FLAGS


def test_more_versions_than_there_are_places_are_counted_and_not_marked(marked: Breakers) -> None:
    many = [marked.of("rain", str(number)) for number in range(SLOTS + 10)]
    for breaker in many:
        call(breaker, fails=True)

    assert len({breaker._place for breaker in many}) == SLOTS


def test_a_mark_on_a_full_disk_is_memory_and_the_process_goes_on() -> None:
    """`/dev/full` is no folder; whatever the reason, nothing is stored where there is no room."""
    marks = Marks(Path("/dev/full/processes"), "a test")

    call(Breakers(marks).of("rain", "1"))

    assert marks.stack is None
    marks.close()


def test_who_died_in_a_call_is_found_with_what_its_parent_saw_and_the_living_are_left_alone(tmp_path: Path) -> None:
    living = Marks(tmp_path, "vm/2")
    child = subprocess.Popen([sys.executable, "-m", "tests.dying", str(tmp_path)])
    end = seen(child.wait(), is_stopped=None, memory_was_short=True)

    witness(tmp_path, child.pid, end)
    witness(tmp_path, os.getpid(), end)

    (path,) = tmp_path.glob(f"{child.pid}-*.mark")
    with dead(path) as file:
        assert file is not None
        left = remains(file, path)
    assert left is not None
    assert (left.life.worker, left.life.parent) == ("vm/1", None)
    assert left.calling == (("rain", "3"),)
    assert left.end == End(how="out_of_memory", reason="was killed by the system because memory was short")
    (path,) = tmp_path.glob(f"{os.getpid()}-*.mark")
    with dead(path) as file:
        assert file is None
    living.close()
    assert [*tmp_path.glob(f"{os.getpid()}-*")] == []


@pytest.mark.parametrize(
    ("code", "stopped", "short", "how"),
    [
        (-signal.SIGSEGV, None, False, "crashed"),
        (-signal.SIGABRT, None, True, "crashed"),
        (-signal.SIGKILL, None, False, "killed"),
        (-signal.SIGKILL, None, True, "out_of_memory"),
        (-signal.SIGTERM, None, True, "killed"),
        (-signal.SIGKILL, True, False, "stopped"),
        (-signal.SIGKILL, False, False, "silent"),
        (1, None, False, "exited"),
    ],
)
def test_how_a_child_ended_as_its_parent_saw_it(code: int, stopped: bool | None, short: bool, how: Ended) -> None:
    assert seen(code, is_stopped=stopped, memory_was_short=short).how == how


@pytest.mark.parametrize(
    ("stack", "still_s", "kills", "how"),
    [
        ("Fatal Python error: Bus error\n\nThread 0x00007f", 0.0, None, "crashed"),
        ("Timeout (0:00:30)!\nThread 0x00007f", 30.1, None, "silent"),
        ("Timeout (0:01:30.500000)!\nThread 0x00007f", 90.6, None, "silent"),
        ("Timeout (0:00:30)!\nThread 0x00007f", 33.0, None, "stopped"),
        ("", 0.0, -1, "out_of_memory"),
        ("", 0.0, None, "killed"),
    ],
)
def test_how_a_process_ended_that_nobody_saw_end(stack: str, still_s: float, kills: int | None, how: Ended) -> None:
    if kills is not None and kills_for_memory() is None:
        pytest.skip("nobody counts here who was killed for memory")
    life = Life(worker="vm/1", parent=None, memory_kills=kills)

    assert guessed(Remains(mark="1-a", life=life, end=None, calling=(), stack=stack, still_s=still_s)).how == how


@pytest.mark.parametrize(
    "spoilt", [b"", b"\0" * SIZE, b"\xff" * SIZE, b"x" * 10], ids=["empty", "zeros", "ones", "short"]
)
def test_what_was_never_written_or_was_spoilt_is_no_remains(tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "1-a.mark"
    path.write_bytes(spoilt)

    with dead(path) as file:
        assert file is not None
        assert remains(file, path) is None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as started:
        yield started


def refused(running: Api) -> Any:
    answer = running.client.post("/predict", json={"values": [0.1, 0.2]})
    return None if answer.status_code == 200 else answer


def test_a_first_champion_that_kills_processes_is_refused_and_a_person_is_told(running: Api) -> None:
    version = running.serve(bundle())
    died = ProcessDied(model="rain", version=version, worker="vm/1", how="hung", reason="a test says so")
    assert running.client.post("/predict", json={"values": [0.1, 0.2]}).status_code == 200

    running.service.journal.decide(lambda state, now: [died])
    answer = wait_for(lambda: refused(running), "a refusal")

    assert (answer.status_code, answer.json()["code"]) == (503, "model_unhealthy")
    assert "a call of it did not come back" in answer.json()["detail"]
    notes = running.client.get("/models/rain").json()["attention"]
    assert [note["reason"] for note in notes] == [
        f"Version {version} fails while it serves: a call of it did not come back. "
        "It stays: there is no earlier champion to go back to."
    ]
    assert running.client.get("/current_model").json()["version"] == version


def test_the_system_says_how_much_memory_is_held() -> None:
    assert 10 * 2**20 < resident_bytes() < 100 * 2**30


def test_a_call_that_ends_leaves_the_mark_of_one_that_goes_on(marked: Breakers) -> None:
    breaker = marked.of("rain", "1")
    long = breaker.enter()

    call(breaker)

    assert breaker.is_calling
    breaker.leave(long)
    assert not breaker.is_calling


def test_a_call_that_began_before_the_trial_does_not_end_it(breakers: Breakers) -> None:
    breaker = breakers.of("rain", "1")
    early = breaker.enter()
    for _ in range(FAILURES):
        call(breaker, fails=True)
    breaker._next_s = 0.0  # its time has come
    trial = breaker.enter()

    breaker.leave(early)

    assert trial
    assert breaker.is_open
    breaker.leave(trial)
    assert not breaker.is_open


def test_one_death_is_told_once_though_its_mark_cannot_be_removed_or_is_found_again(
    running: Api, tmp_path: Path
) -> None:
    journal, roster, folder = running.service.journal, running.service.roster, tmp_path / "dead"
    journal.decide(lambda state, now: [defined()])
    subprocess.run([sys.executable, "-m", "tests.dying", str(folder)], check=False)
    (mark,), left = folder.glob("*.mark"), {path: path.read_bytes() for path in folder.iterdir()}
    stack = mark.with_suffix(".stack")
    stack.unlink()
    stack.mkdir()  # which is no file, and so stays

    burial = Burial(folder, journal, roster)
    for _ in range(3):
        burial.bury()
    assert mark.exists()
    stack.rmdir()
    burial.bury()
    assert not mark.exists()
    for path, data in left.items():  # as where who told of it was killed before he could remove it
        path.write_bytes(data)
    Burial(folder, journal, roster).bury()

    assert not mark.exists()
    assert running.kinds().count("process.died") == 1
    assert [death.mark for death in journal.catch_up().model("rain").deaths] == [mark.stem]


def test_a_call_is_accused_of_a_loop_that_stands_still_only_where_it_is_on_the_loop(tmp_path: Path) -> None:
    """A lane may answer a large batch while a log that nobody reads, or a stalled disk, holds up the loop."""
    command = [sys.executable, "-m", "tests.standing"]
    both = {place: subprocess.Popen([*command, str(tmp_path / place), place]) for place in ("loop", "lane")}
    codes = {child.wait(60) for child in both.values()}

    ends = {place: end_of(tmp_path / place) for place in both}
    assert codes == {BLOCKED}
    assert (ends["loop"].how, ends["loop"].calling) == ("hung", [["rain", "7"]])
    assert (ends["lane"].how, ends["lane"].calling) == ("silent", [])


@pytest.mark.slow
@pytest.mark.fault(44)
def test_a_process_that_ran_no_python_is_told_from_one_that_did_not_run_at_all(tmp_path: Path) -> None:
    """Both are ended by the interpreter's own timer, after three seconds here."""
    command = [sys.executable, "-m", "tests.standing"]
    both = {place: subprocess.Popen([*command, str(tmp_path / place), place]) for place in ("held", "paused")}
    paused = both["paused"]
    wait_for(lambda: any(file.stat().st_size for file in (tmp_path / "paused").glob("*.began")), "its beginning")
    os.kill(paused.pid, signal.SIGSTOP)
    time.sleep(8)
    os.kill(paused.pid, signal.SIGCONT)
    codes = {child.wait(60) for child in both.values()}

    assert codes == {STILL}
    assert guessed(left_in(tmp_path / "held")).how == "silent"
    assert guessed(left_in(tmp_path / "paused")).how == "stopped"


def end_of(folder: Path) -> End:
    left = left_in(folder)
    assert left.end is not None
    return left.end


def left_in(folder: Path) -> Remains:
    (path,) = folder.glob("*.mark")
    with dead(path) as file:
        assert file is not None
        left = remains(file, path)
    assert left is not None
    return left


def test_a_kill_for_memory_explains_one_death_and_none_that_comes_much_later() -> None:
    shortage = Shortage(7)
    assert not shortage.explains_one(7)

    assert [shortage.explains_one(9) for _ in range(3)] == [True, True, False]

    shortage.see(10)
    assert shortage.explains_one(10), "it was counted just now"
    shortage.see(11)  # by somebody else of the group
    shortage.see(11)
    assert not shortage.explains_one(11)
