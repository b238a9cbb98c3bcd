"""What the doctor sees of an installation beside its log: a file's mode, a process's memory, logged bugs, an answer."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import requests

from understudy.events import moment

WAL = b"\x02\x02"
"""Bytes 18 and 19 of a SQLite file in that mode."""
BUGS_COUNT_FOR = timedelta(days=1)
ANSWER_S = 10.0


def is_wal(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(20)[18:20] == WAL
    except OSError:
        return False


def memory_map(worker: str) -> str | None:
    """What is mapped into a worker named `host/pid/…`; None where that is not ours to see."""
    try:
        host, pid, _ = worker.split("/", 2)
        if host != Path("/proc/sys/kernel/hostname").read_text().strip():
            return None
        return Path(f"/proc/{int(pid)}/maps").read_text(errors="replace")
    except (OSError, ValueError):
        return None


def bugs_logged(folder: Path, now: datetime) -> int:
    """Lines of the newest logs that tell of a bug within the last day."""
    count = 0
    for file in folder.glob("*.jsonl"):
        with file.open("rb") as lines:
            count += sum(1 for line in lines if b'"bug"' in line and is_recent_bug(line, now))
    return count


def is_recent_bug(line: bytes, now: datetime) -> bool:
    try:
        said = json.loads(line)
        return said["action"] == "bug" and abs(now - moment(said["time"])) < BUGS_COUNT_FOR
    except (ValueError, KeyError, TypeError):
        return False


def asked(url: str, body: object, *, token: str | None) -> tuple[int, bytes]:
    """Status and body of an answer; 0 where there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment must not be told the token
            answer = session.post(url, json=body, headers=headers, timeout=ANSWER_S, allow_redirects=False)
            return answer.status_code, answer.content
    except requests.RequestException:
        return 0, b""
