"""Load, by wrk: how many requests a second a server answers, and how long they take."""

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
local texts, at = {}, 0
function init()
  wrk.headers["Content-Type"] = "%(media)s"
  for line in io.lines("%(list)s") do
    local file = io.open(line, "rb")
    texts[#texts + 1] = wrk.format("POST", "%(path)s", nil, file:read("*a"))
    file:close()
  end
end
function request()
  at = at %% #texts + 1
  return texts[at]
end
function done(summary, latency)
  local bad = summary.errors
  io.write(string.format(
    '\\n{"answered": %%d, "us": %%d, "refused": %%d, "broken": %%d, "p50_us": %%d, "p99_us": %%d}\\n',
    summary.requests, summary.duration, bad.status, bad.connect + bad.read + bad.write + bad.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""
"""Every request takes the next body, so that no two neighbours hold the same row."""


class NoLoad(Exception):
    """The load cannot be made here, or went wrong."""


@dataclass(frozen=True)
class Outcome:
    """What one run of the load saw."""

    answered: int
    seconds: float
    refused: int
    """Answers that are not in the 2xx."""
    broken: int
    """Connections that failed, were cut or timed out."""
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


@dataclass(frozen=True)
class Load:
    """What is sent to one path of a server, written to files that wrk reads."""

    script: Path

    @classmethod
    def of(cls, folder: Path, path: str, media: str, bodies: Sequence[bytes]) -> "Load":
        folder.mkdir(parents=True)
        files = [folder / f"{i}.body" for i in range(len(bodies))]
        for file, body in zip(files, bodies, strict=True):
            file.write_bytes(body)
        listed, script = folder / "list.txt", folder / "load.lua"
        listed.write_text("".join(f"{file}\n" for file in files))
        script.write_text(SCRIPT % {"list": listed, "path": path, "media": media})
        return cls(script)

    def run(self, port: int, *, connections: int, seconds: float, cores: Collection[int]) -> Outcome:
        """Send for so long, over kept connections, from these cores. Raises NoLoad where wrk says nothing."""
        length = ["--duration", f"{max(1, round(seconds))}s", "--threads", "1", "--connections", str(connections)]
        command = ["wrk", *length, "--script", str(self.script), f"http://127.0.0.1:{port}"]
        with on_cores(cores):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            said = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise NoLoad(f"wrk said: {done.stdout[-500:]}{done.stderr[-500:]}") from None
        return Outcome(
            answered=said["answered"],
            seconds=said["us"] / 1e6,
            refused=said["refused"],
            broken=said["broken"],
            p50_ms=said["p50_us"] / 1e3,
            p99_ms=said["p99_us"] / 1e3,
        )


def check_wrk() -> None:
    """Raises NoLoad where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise NoLoad("The load comes from wrk, which is not installed. Install it, for example: apt install wrk")


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Whatever is started meanwhile runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
