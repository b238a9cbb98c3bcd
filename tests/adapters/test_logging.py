import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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
    assert "Bearer …" in (shown := capsys.readouterr().err)
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
