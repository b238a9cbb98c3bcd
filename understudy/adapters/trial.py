"""A trial: before the API loads a version, it is loaded and questioned in a process of its own, under limits.

    parent (here)         starts the child, waits, and turns whatever happens into a report
    child (trial_child)   limits itself, then reads the bundle; empty folder, empty environment, no files to write

The parent's side parses nothing of the bundle and imports neither pandas nor scikit-learn.
"""

import contextlib
import functools
import json
import os
import platform
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from understudy.adapters import child
from understudy.fingerprint import canonical_json, digest_of

FOLDER = "understudy-trial-"
STARTED_WITHIN_S = 10.0
"""A child is started within milliseconds of the making of its folder."""

#: Libraries that decide how a version answers.
LIBRARIES = ("numpy", "scipy", "scikit-learn", "skops", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class TrialLimits:
    """What a version may use while it is tried."""

    memory_mb: int = 4096
    """Address space, in MiB; it includes the interpreter and the libraries, some 500 MiB."""
    cpu_s: int = 60
    wall_s: float = 60.0
    files: int = 64
    """Files open at a time."""


@dataclass(frozen=True)
class TrialReport:
    """How a trial ended."""

    passed: bool
    reason: str
    """A sentence."""
    environment: str
    report: Mapping[str, Any] = field(default_factory=dict)
    """What was measured: serves, golden_rows, peak_mb, load_ms, finite, constant, latency; and landlock, the version
    of the interface by which the process was confined, 0 where it was not. Empty where it failed."""


class _Outcome(msgspec.Struct):
    """What the child writes."""

    passed: bool
    reason: str
    report: dict[str, Any]


@functools.cache
def current_environment() -> str:
    """Fingerprint of what a trial's result depends on besides the bundle: interpreter, libraries and machine type."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    return digest_of(canonical_json(found | {name: version(name) for name in LIBRARIES}))[:16]


def try_bundle(
    candidate: bytes,
    *,
    digest: str,
    trees: bool,
    champion: bytes | None = None,
    champion_digest: str | None = None,
    limits: TrialLimits | None = None,
) -> TrialReport:
    """Try a bundle, beside the champion's where there is one. Never raises for a bad bundle: it has not passed.

    Args:
        digest: the sha256 recorded for the candidate.
        trees: True for what the scheduler's role registered.
        champion: bundle of the version that serves; it is there to compare latencies, and cannot make a trial fail.
    """
    limits = limits or TrialLimits()
    header = {
        "limits": asdict(limits),
        "candidate": {"size": len(candidate), "digest": digest, "trees": trees},
        "champion": champion_digest and {"size": len(champion or b""), "digest": champion_digest, "trees": True},
    }
    told = json.dumps(header).encode() + b"\n"
    ended, written = _run(b"".join((told, candidate, champion or b"")), limits)
    outcome = _last_outcome(written)
    if outcome is None:
        return TrialReport(False, _sentence(ended, limits), current_environment())
    return TrialReport(outcome.passed, outcome.reason, current_environment(), outcome.report)


def _last_outcome(written: bytes) -> _Outcome | None:
    """What the child told last; it may have been ended by its champion in the middle of a line."""
    for line in reversed(written.splitlines()):
        try:
            return msgspec.json.decode(line, type=_Outcome)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return None


def _run(told: bytes, limits: TrialLimits) -> tuple[int | None, bytes]:
    """Run the child; return its exit status (None: it took too long) and what it wrote."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=FOLDER) as folder, tempfile.TemporaryFile() as written:
        process = subprocess.Popen(
            child.command("understudy.adapters.trial_child"),
            stdin=subprocess.PIPE,
            stdout=written,  # a file, whose size the child limits: a flood of output costs us nothing
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=child.environment(),
            start_new_session=True,
        )
        try:
            left_alone(folder)
            process.communicate(told, timeout=limits.wall_s)
            ended: int | None = process.returncode
        except subprocess.TimeoutExpired:
            ended = None
        finally:
            _end(process)
        written.seek(0)
        return ended, written.read()


def left_alone(folder: str) -> None:
    """Take its name from the folder that a child has been started in: nothing can be made there, nothing is left."""
    with contextlib.suppress(OSError):  # where the system keeps a folder that is in use, it goes in the end
        Path(folder).rmdir()


def sweep(temporary: Path) -> None:
    """Remove the folders in `temporary` of those who died before they had started a child there."""
    oldest = time.time() - STARTED_WITHIN_S
    for folder in temporary.glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError):  # another process was first, or it is somebody else's
            if folder.stat().st_mtime < oldest:
                folder.rmdir()  # takes empty ones only


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the child behind, however we got here."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _sentence(ended: int | None, limits: TrialLimits) -> str:
    if ended == 0:
        return "The trial ended without a result."
    if ended is None:
        return f"The trial did not end within {limits.wall_s:g} s."
    if ended == -signal.SIGXCPU:
        return f"The trial used more than {limits.cpu_s} s of CPU time."
    if ended == -signal.SIGKILL:
        return "The trial was killed, most likely because the machine ran out of memory."
    if ended < 0:
        return f"The trial crashed with {signal.Signals(-ended).name}."
    return f"The trial ended with exit status {ended}."
