"""Logs: one JSON object a line in a rotating file, and the same for people on stderr.

    log = logging.getLogger(__name__)
    log.info("Run %s ended: %s.", run, outcome, extra={"action": "run.finished", "run": run})

`action` is for tests and dashboards, the message for people; whatever else is in `extra` becomes a member.
"""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from understudy.adapters.log_file import LogFile
from understudy.redaction import redacted, without_secrets

#: What every record has; the rest was given as `extra`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: They tell of each of their own steps what our lines say of the whole.
QUIET = ("apscheduler", "urllib3", "skl2onnx")


class Logs:
    """The handlers of one process. Closing them takes them from the root logger again."""

    def __init__(self, lines: LogFile, readable: logging.Handler) -> None:
        self._lines, self._handlers = lines, (lines, readable)

    @property
    def file(self) -> Path | None:
        """Where the JSON lines go; None where the folder cannot be written, and stderr is all there is."""
        return self._lines.file

    def close(self) -> None:
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()


def configure_logging(folder: Path, *, process: str, level: int = logging.INFO) -> Logs:
    """Send what this process logs to `folder/PROCESS.jsonl` and to stderr.

    A folder that cannot be written, a full disk or a closed stderr costs lines and never the service.
    """
    logging.raiseExceptions = False
    plug_standard_streams()
    root = logging.getLogger()
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    readable, lines = logging.StreamHandler(sys.stderr), LogFile(folder, process)
    readable.setFormatter(Readable(process))
    lines.setFormatter(JsonLine(process))
    root.addHandler(readable)
    try:
        lines.open()
    except OSError as error:
        root.warning("No log is written to %s: %s.", folder, error, extra={"action": "log.unavailable"})
    root.addHandler(lines)  # it tries again with each line
    return Logs(lines, readable)


def plug_standard_streams() -> None:
    """Open what is closed of stdin, stdout and stderr.

    The next file to be opened would take its number, and whatever prints would write into it: into a database, say.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


class JsonLine(logging.Formatter):
    """time, level, process, pid, action, message, then what the call gave as `extra`, then the traceback."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "pid": record.process,
            "action": getattr(record, "action", record.name),
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in STANDARD and key not in line}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(without_secrets(line))


class Readable(logging.Formatter):
    """One line for people. What came from outside cannot begin another one; the traceback is in the file."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        text = f"{time} {record.levelname:7} {self._process}: {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        return CONTROL.sub(" ", redacted(text)).encode(errors="replace").decode()
