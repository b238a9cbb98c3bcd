"""Logs: one JSON object a line in a rotating file, and the same for people on stderr.

    log = logging.getLogger(__name__)
    log.info("Run %s ended: %s.", run, outcome, extra={"action": "run.finished", "run": run})

`action` is for tests and dashboards, the message for people; whatever else is in `extra` becomes a member. A file
belongs to one process: a rotation by two would lose lines. Whoever comes second writes `NAME-2.jsonl`, and so on.
"""

import fcntl
import json
import logging
import re
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

MAX_BYTES = 10 * 2**20
BACKUPS = 5
MOST_PROCESSES = 99

#: What every record has; the rest was given as `extra`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
TOKEN = re.compile(r"(?i)(bearer\s+)[^\s\"'\\]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: They tell of each of their own steps what our lines say of the whole.
QUIET = ("apscheduler", "urllib3", "skl2onnx")


class Logs:
    """The handlers of one process. Closing them takes them from the root logger again."""

    def __init__(self, file: Path | None, handlers: list[logging.Handler], lock: IO[str] | None) -> None:
        self.file = file
        """Where the JSON lines go; None where the folder cannot be written, and stderr is all there is."""
        self._handlers, self._lock = handlers, lock

    def close(self) -> None:
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        if self._lock is not None:
            self._lock.close()


def configure_logging(folder: Path, *, process: str, level: int = logging.INFO) -> Logs:
    """Send what this process logs to `folder/PROCESS.jsonl` and to stderr.

    A folder that cannot be written, a full disk or a closed stderr costs lines and never the service.
    """
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    readable = logging.StreamHandler(sys.stderr)
    readable.setFormatter(Readable(process))
    root.addHandler(readable)
    try:
        file, lock = own_file(folder, process)
        written = RotatingFileHandler(file, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
    except OSError as error:
        root.warning("No log is written to %s: %s.", folder, error, extra={"action": "log.unavailable"})
        return Logs(None, [readable], None)
    written.setFormatter(JsonLine(process))
    root.addHandler(written)
    return Logs(file, [readable, written], lock)


def own_file(folder: Path, process: str) -> tuple[Path, IO[str]]:
    """The first of NAME, NAME-2, … that no living process writes, and the lock that keeps it so."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST_PROCESSES + 1):
        name = process if number == 1 else f"{process}-{number}"
        lock = (folder / f".{name}.lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        except OSError:
            lock.close()
            raise
        else:
            return folder / f"{name}.jsonl", lock
    raise OSError(f"{MOST_PROCESSES} processes write there already")


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
        return without_tokens(json.dumps(line, default=str))


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
        return without_tokens(CONTROL.sub(" ", text).encode(errors="replace").decode())


def without_tokens(text: str) -> str:
    """Nothing here logs a token on purpose; an error of a library might quote a header."""
    return TOKEN.sub(r"\1…", text)
