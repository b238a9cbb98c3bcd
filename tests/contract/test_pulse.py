"""What every pulse promises, on every adapter."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from understudy.adapters.sqlite_pulse import SqlitePulse
from understudy.errors import StorageUnavailable
from understudy.ports import Beat, Pulse

OPENERS: list[Callable[[Path], Pulse]] = [lambda folder: SqlitePulse(folder / "pulse.db")]


@pytest.fixture(params=OPENERS, ids=["SqlitePulse"])
def open_pulse(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Pulse]:
    return lambda: request.param(tmp_path)


@pytest.fixture
def pulse(open_pulse: Callable[[], Pulse]) -> Iterator[Pulse]:
    opened = open_pulse()
    yield opened
    opened.close()


def test_a_beat_raises_the_counter_and_replaces_the_state(pulse: Pulse) -> None:
    pulse.beat("worker-1", {"serves": {"rain": "3"}, "ready": None})
    pulse.beat("worker-2", {})
    pulse.beat("worker-1", {"serves": {"rain": "4"}})

    assert pulse.read() == {"worker-1": Beat(2, {"serves": {"rain": "4"}}), "worker-2": Beat(1, {})}


def test_nobody_has_beaten_yet(pulse: Pulse) -> None:
    assert pulse.read() == {}


def test_who_is_forgotten_is_gone_and_unknown_names_are_no_matter(pulse: Pulse) -> None:
    for who in ("a", "b", "c"):
        pulse.beat(who, {})

    pulse.forget(["a", "c", "never seen", "b' OR 1=1"])
    pulse.forget([])

    assert set(pulse.read()) == {"b"}


def test_who_returns_after_being_forgotten_begins_anew(pulse: Pulse) -> None:
    pulse.beat("a", {})
    pulse.beat("a", {})
    pulse.forget(["a"])

    pulse.beat("a", {})

    assert pulse.read()["a"].counter == 1


def test_another_process_sees_the_beats(pulse: Pulse, open_pulse: Callable[[], Pulse]) -> None:
    other = open_pulse()
    pulse.beat("a", {"x": 1})

    assert other.read() == {"a": Beat(1, {"x": 1})}
    other.close()


def test_beats_of_threads_are_all_counted(pulse: Pulse) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: pulse.beat("a", {}), range(200)))

    assert pulse.read()["a"].counter == 200


def test_beats_of_four_processes_are_all_counted(tmp_path: Path) -> None:
    beats = """
import sys
from pathlib import Path
from understudy.adapters.sqlite_pulse import SqlitePulse
pulse = SqlitePulse(Path(sys.argv[1]))
for _ in range(50):
    pulse.beat("all", {})
"""
    file = tmp_path / "pulse.db"
    children = [subprocess.Popen([sys.executable, "-c", beats, str(file)]) for _ in range(4)]

    assert [child.wait() for child in children] == [0, 0, 0, 0]
    pulse = SqlitePulse(file)
    assert pulse.read()["all"].counter == 200
    pulse.close()


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + bytes(4080), b""])
def test_a_pulse_that_a_power_loss_has_damaged_begins_anew(tmp_path: Path, damage: bytes) -> None:
    """It is written without syncing, so a power loss may leave anything; nothing in it is worth a start that fails."""
    file = tmp_path / "pulse.db"
    file.write_bytes(damage)

    pulse = SqlitePulse(file)

    pulse.beat("a", {})
    assert pulse.read() == {"a": Beat(1, {})}
    pulse.close()


def test_a_pulse_that_a_power_loss_has_cut_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "pulse.db"
    pulse = SqlitePulse(file)
    for number in range(200):
        pulse.beat(f"worker-{number}", {})
    pulse.close()
    whole = file.read_bytes()

    for size in range(512, len(whole), 512):
        file.write_bytes(whole[:size])
        pulse = SqlitePulse(file)
        pulse.beat("a", {})
        assert pulse.read()["a"] == Beat(1, {})
        pulse.close()


def test_a_pulse_that_cannot_be_opened_for_another_reason_is_not_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "pulse.db"
    folder.mkdir()

    with pytest.raises(StorageUnavailable, match="unable to open"):
        SqlitePulse(folder)

    assert folder.is_dir()


def test_a_closed_pulse_says_that_it_cannot_be_used(pulse: Pulse) -> None:
    pulse.close()

    with pytest.raises(StorageUnavailable, match="closed"):
        pulse.beat("a", {})


def test_who_has_beaten_since_he_was_read_is_not_forgotten(pulse: Pulse) -> None:
    pulse.beat("silent", {})
    pulse.beat("waking", {})
    seen = pulse.read()
    pulse.beat("waking", {"serves": {}})

    pulse.forget_unmoved(seen)

    assert pulse.read() == {"waking": Beat(2, {"serves": {}})}


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_bytes(b"nothing that we know" * 400)])
def test_a_pulse_that_is_removed_or_spoilt_while_it_is_in_use_begins_anew_for_all(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    one, other = SqlitePulse(tmp_path / "pulse.db"), SqlitePulse(tmp_path / "pulse.db")
    one.beat("one", {})

    spoil(tmp_path / "pulse.db")

    for _ in range(2):  # whoever is first makes it anew, perhaps under the eyes of the other
        one.beat("one", {})
        other.beat("other", {})
    assert one.read().keys() == other.read().keys() == {"one", "other"}
    one.close()
    other.close()
