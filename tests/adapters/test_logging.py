import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from understudy.adapters.log_file import BACKUPS, MAX_BYTES, LogFile
from understudy.adapters.logging import Logs, configure_logging

LOG = logging.getLogger("tests.logging")


@contextmanager
def logging_to(folder: Path) -> Iterator[Logs]:
    """What a process does once, undone for the next test."""
    level, raising = logging.getLogger().level, logging.raiseExceptions
    logs = configure_logging(folder, process="scheduler")
    try:
        yield logs
    finally:
        logs.close()
        logging.captureWarnings(False)
        logging.getLogger().setLevel(level)
        logging.raiseExceptions = raising


def lines(logs: Logs) -> list[dict[str, Any]]:
    assert logs.file is not None
    return [json.loads(line) for line in logs.file.read_text().splitlines()]


def test_a_record_is_one_line_with_a_message_an_action_and_what_was_given_with_it(tmp_path: Path) -> None:
    with logging_to(tmp_path) as logs:
        LOG.info("Run %s ended.", "rain-3", extra={"action": "run.finished", "run": "rain-3"})

    (line,) = lines(logs)
    assert line["message"] == "Run rain-3 ended."
    assert (line["action"], line["run"], line["level"]) == ("run.finished", "rain-3", "INFO")


@pytest.mark.fault(86)
def test_what_came_from_outside_cannot_begin_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path) as logs:
        LOG.warning("No model %s.", 'x\n{"level": "INFO"}\r\x1b[31m\u2028red\ud800', extra={"action": "a\nb"})

    assert len(lines(logs)) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_traceback_stays_in_its_line_and_out_of_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path) as logs:
        try:
            raise ValueError("nine\nlives")
        except ValueError:
            LOG.exception("It broke.", extra={"action": "broke"})

    (line,) = lines(logs)
    assert "Traceback" in line["error"]
    assert capsys.readouterr().err.endswith("It broke. (ValueError: nine lives)\n")


def test_a_token_that_an_error_quotes_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(tmp_path) as logs:
        LOG.error("Refused: {'Authorization': 'Bearer abc-DEF_123'}")

    assert logs.file is not None
    assert "'Authorization': '…'" in (shown := capsys.readouterr().err)
    assert "abc-DEF_123" not in logs.file.read_text() + shown


def test_two_processes_of_one_name_never_share_a_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from understudy.adapters.logging import configure_logging\n"
        "print(configure_logging(Path(sys.argv[1]), process='scheduler').file.name)"
    )

    with logging_to(tmp_path) as logs:
        second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)

    assert logs.file is not None
    assert (logs.file.name, second.stdout.strip()) == ("scheduler.jsonl", "scheduler-2.jsonl")


def test_a_folder_that_cannot_be_written_leaves_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "logs"
    blocked.write_text("a file is in the way")

    with logging_to(blocked) as logs:
        LOG.info("Still here.")

        assert logs.file is None

    assert "Still here." in capsys.readouterr().err


def actions(logs: Logs) -> list[str]:
    return [line["action"] for line in lines(logs)]


@pytest.mark.fault(88)
def test_a_folder_that_can_be_written_later_is_written_later(tmp_path: Path) -> None:
    blocked = tmp_path / "logs"
    blocked.write_text("a file is in the way")
    with logging_to(blocked) as logs:
        LOG.info("Lost.", extra={"action": "one"})
        LOG.info("Lost.", extra={"action": "two"})
        blocked.unlink()
        LOG.info("There.", extra={"action": "three"})

        assert actions(logs) == ["log.lines_lost", "three"]
        assert lines(logs)[0]["lost"] == 2


@pytest.mark.fault(88)
def test_a_folder_that_is_removed_or_moved_away_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    with logging_to(folder) as logs:
        for number in range(3):
            LOG.info("Before.", extra={"action": "before"})
            folder.rename(tmp_path / f"away-{number}")
            LOG.info("After.", extra={"action": "after"})
        shutil.rmtree(folder)
        LOG.info("At last.", extra={"action": "last"})

        assert actions(logs) == ["last"]
    assert (tmp_path / "away-2" / "scheduler.jsonl").read_text().count("\n") == 2


def test_a_file_that_is_cut_by_others_goes_on_at_its_new_end(tmp_path: Path) -> None:
    with logging_to(tmp_path) as logs:
        LOG.info("Before.", extra={"action": "before"})
        os.truncate(tmp_path / "scheduler.jsonl", 0)
        LOG.info("After.", extra={"action": "after"})

        assert actions(logs) == ["after"]


@pytest.mark.fault(88)
def test_a_full_disk_costs_whole_lines_and_they_come_again_when_there_is_room(small_volume: Path) -> None:
    with logging_to(small_volume / "logs") as logs:
        LOG.info("Room.", extra={"action": "before"})
        ballast = filled(small_volume)
        for number in range(200):
            LOG.info("No room %s.", "x" * 50 * number, extra={"action": "while"})
        assert set(actions(logs)) <= {"before", "while"}  # each line is whole: it could be read
        os.truncate(ballast, 0)
        LOG.info("Room.", extra={"action": "after"})

        assert actions(logs)[-2:] == ["log.lines_lost", "after"]
        assert lines(logs)[-2]["lost"] == 201 - actions(logs).index("log.lines_lost")


def filled(volume: Path) -> Path:
    """A file that takes what room there is."""
    ballast = volume / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x")
    return ballast


def test_a_long_log_is_kept_in_pieces_and_the_oldest_goes(tmp_path: Path) -> None:
    handler = LogFile(tmp_path, "scheduler")
    for number in range(2 * (BACKUPS + 2)):
        handler.handle(logging.makeLogRecord({"msg": f"{number} {'x' * (MAX_BYTES // 2 - 1000)}"}))
    handler.close()

    pieces = {
        path.name: [line.split()[0] for line in path.read_text().splitlines()] for path in tmp_path.glob("*.jsonl*")
    }
    assert pieces == {"scheduler.jsonl": ["12", "13"]} | {
        f"scheduler.jsonl.{n}": [str(12 - 2 * n), str(13 - 2 * n)] for n in range(1, BACKUPS + 1)
    }


def test_a_text_of_any_length_is_a_line_of_bounded_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(tmp_path) as logs:
        LOG.info("x" * 10**7, extra={"action": "://a:" * 10**6, "deep": [{"y" * 10**6: "y" * 10**6}]})

        (line,) = lines(logs)
    assert len(json.dumps(line)) < 10**5
    assert len(capsys.readouterr().err) < 10**5


STREAMS = """
import logging, os, sys
from pathlib import Path
from understudy.adapters.log_file import BACKUPS, MAX_BYTES, LogFile
from understudy.adapters.logging import configure_logging

logs = configure_logging(Path(sys.argv[1]), process="scheduler")
for number in range(3_000):
    logging.info("x" * 200)
peak_kb = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
open_files = {name: os.readlink(f"/proc/self/fd/{name}") for name in ("0", "1", "2")}
logging.info("done", extra={"action": "done", "open_files": open_files, "peak_kb": peak_kb})
"""


@pytest.mark.fault(88)
def test_a_reader_of_stderr_that_has_gone_costs_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STREAMS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.wait(60)

    last = json.loads((tmp_path / "scheduler.jsonl").read_text().splitlines()[-1])
    assert (process.returncode, last["action"]) == (0, "done")
    assert last["peak_kb"] < 200_000


@pytest.mark.fault(88)
def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STREAMS, str(tmp_path)]
    closed = [(os.POSIX_SPAWN_CLOSE, number) for number in (0, 1, 2)]

    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=closed)

    assert os.waitpid(pid, 0)[1] == 0
    last = json.loads((tmp_path / "scheduler.jsonl").read_text().splitlines()[-1])
    assert last["open_files"] == dict.fromkeys("012", "/dev/null")


SECRET = "c4nary-Zq7"


@pytest.mark.parametrize(
    "text",
    [
        "could not connect to postgresql://me:{0}@db.example:5432/sales?sslmode=require",
        "https://me:{0}/with/slashes@feed.example/rows.csv answered 403",
        "redis://:{0}@cache:6379/0",
        "connection to db failed: host=db user=me password={0} dbname=x",
        "Login failed (pwd='{0}'; uid=me)",
        '{{"api_key": "{0}", "rows": 3}}',
        "headers={{'Authorization': 'Bearer {0}'}}",
        "https://feed.example/rows?access_token={0}&page=2",
        "AWS_SECRET_ACCESS_KEY={0}",
        "DefaultEndpointsProtocol=https;AccountName=me;AccountKey={0}==;EndpointSuffix=core",
    ],
)
def test_a_password_that_an_error_quotes_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    said = text.format(SECRET)
    with logging_to(tmp_path) as logs:
        try:
            raise ConnectionError(said)
        except ConnectionError:
            LOG.exception("Run failed: %s", said, extra={"action": "run", "why": [{"deep": (said,)}, Path(said)]})

        (line,) = lines(logs)
    written = (tmp_path / "scheduler.jsonl").read_text() + capsys.readouterr().err
    assert SECRET not in written
    assert line["message"].startswith("Run failed: ")
