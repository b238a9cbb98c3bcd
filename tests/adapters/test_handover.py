"""What a process has handed over is known after it was killed, and mourned only then."""

from pathlib import Path

import pytest

from understudy.adapters.handover import FORM, Handover, Left, left_behind
from understudy.errors import StorageUnavailable

STAMP = b"0000000000a"


def test_a_living_process_has_left_nothing(tmp_path: Path) -> None:
    handover = Handover(tmp_path, "abc123", now_ms=5)
    handover.add(2, STAMP)

    with left_behind(tmp_path) as found:
        assert found == []
    assert (tmp_path / "abc123").exists()
    handover.close(well=False)


def test_a_process_that_ended_well_has_left_nothing(tmp_path: Path) -> None:
    Handover(tmp_path, "abc123", now_ms=5).close(well=True)

    assert list(tmp_path.iterdir()) == []


def test_what_a_process_left_says_how_far_it_had_come_and_goes_when_it_was_noted(tmp_path: Path) -> None:
    handover = Handover(tmp_path, "abc123", now_ms=5)
    handover.add(2, STAMP)
    handover.add(40, STAMP)
    handover.close(well=False)

    with left_behind(tmp_path) as found:
        assert found == [Left("abc123", 42, since_ms=5, until_ms=10)]
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_noted_is_found_again(tmp_path: Path) -> None:
    Handover(tmp_path, "abc123", now_ms=5).close(well=False)

    with pytest.raises(StorageUnavailable), left_behind(tmp_path):
        raise StorageUnavailable("The database is locked.", remedy="")

    with left_behind(tmp_path) as found:
        assert [left.process for left in found] == ["abc123"]


def test_what_went_down_with_the_system_has_no_count(tmp_path: Path) -> None:
    (tmp_path / "abc123").write_bytes(FORM.pack(42, STAMP, 5, b"another boot"))

    with left_behind(tmp_path) as found:
        assert found == [Left("abc123", None, since_ms=5, until_ms=10)]


@pytest.mark.parametrize(("name", "content"), [("abc123.new", FORM.pack(1, STAMP, 5, b"")), ("notes", b"hello")])
def test_other_files_are_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with left_behind(tmp_path) as found:
        assert found == []
    assert (tmp_path / name).read_bytes() == content


def test_where_no_process_ever_was_nothing_is_found(tmp_path: Path) -> None:
    with left_behind(tmp_path / "nowhere") as found:
        assert found == []
