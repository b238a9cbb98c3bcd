"""Starting: from nothing, from what was there, and not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.tests import given
from understudy.adapters.sqlite_log import SqliteLog
from understudy.errors import BadSettings, NewerDatabase


def test_an_api_without_models_is_alive_and_ready_and_says_that_nothing_serves(api: given.Api) -> None:
    answer = api.client.post("/predict", json={"x": 1.0})

    assert api.client.get("/health").json() == {"status": "ok"}
    assert api.client.get("/ready").json()["ready"] is True
    assert answer.status_code == 503
    assert answer.json()["code"] == "nothing_serves"
    assert "Wait for its first promotion" in answer.json()["remedy"]


def test_a_restarted_api_serves_the_champion_that_it_served_before(tmp_path: Path) -> None:
    with given.api(tmp_path) as first:
        version = first.serve(given.bundle())
        before = first.client.post("/predict", json={"x": 0.2, "y": 0.3}).json()

    with given.api(tmp_path) as second:
        after = second.client.post("/predict", json={"x": 0.2, "y": 0.3}).json()

    assert after["version"] == version
    assert after["probabilities"] == before["probabilities"]


def test_the_first_start_makes_three_tokens_that_only_the_owner_can_read(api: given.Api) -> None:
    files = [
        api.home / "var" / "operator.token",
        api.home / "var" / "client.token",
        api.home / "secrets" / "scheduler.token",
    ]

    assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"] * 3
    assert len({file.read_text() for file in files}) == 3


@pytest.mark.fault(87)
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("UNDERSTUDY_OPERATOR_TOKEN", "short", "at least 32 characters"),
        ("UNDERSTUDY_PROT", "1", "UNDERSTUDY_PROT is no setting"),
        ("UNDERSTUDY_API_PORT", "http", "UNDERSTUDY_API_PORT"),
        ("UNDERSTUDY_OPEN", "everything", "cannot be open"),
        ("UNDERSTUDY_DATABASE_URL", "mysql://db", "sqlite:///PATH"),
        ("UNDERSTUDY_API_WORKERS", "0", "UNDERSTUDY_API_WORKERS"),
    ],
)
def test_a_setting_that_is_wrong_refuses_to_start_in_one_line(tmp_path: Path, name: str, value: str, said: str) -> None:
    environment = {**os.environ, "UNDERSTUDY_HOME": str(tmp_path), name: value}

    ended = subprocess.run(
        [sys.executable, "-m", "api.main"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.fault(87)
def test_a_token_that_others_may_read_refuses_to_start(tmp_path: Path) -> None:
    with given.api(tmp_path):
        pass
    (tmp_path / "var" / "operator.token").chmod(0o644)

    with pytest.raises(BadSettings, match="Others may read"), given.api(tmp_path):
        pass


@pytest.mark.fault(87)
def test_a_folder_that_anybody_may_write_to_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var").chmod(0o777)

    with pytest.raises(BadSettings, match="Anybody may write"), given.api(tmp_path):
        pass


@pytest.mark.fault(56)
def test_a_log_of_a_later_release_refuses_to_start(tmp_path: Path) -> None:
    import sqlite3

    SqliteLog(tmp_path / "var" / "events.db").close()
    db = sqlite3.connect(tmp_path / "var" / "events.db")
    db.execute("PRAGMA user_version=99")
    db.close()

    with pytest.raises(NewerDatabase, match="schema 99"), given.api(tmp_path):
        pass


def test_two_starts_on_one_folder_do_not_make_two_sets_of_tokens(tmp_path: Path) -> None:
    with given.api(tmp_path) as first:
        token = first.token("operator")

    with given.api(tmp_path) as second:
        assert second.token("operator") == token
