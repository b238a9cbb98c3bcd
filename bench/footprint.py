"""What an API process costs before any load: memory, libraries, and the time from its start to its first answer."""

import re
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.servers import chosen, promote, resident_mb
from bench.tumours import Fitted, bodies
from bench.wrk import on_cores
from tests.services import Installation, installation

HEAVY = ("sklearn", "skops", "pandas", "joblib", "scipy", "pyarrow")
"""What an API process whose models are all ONNX has no use for."""
FURTHER = 20
WITHIN_S = 60.0


@dataclass(frozen=True)
class Footprint:
    """Memory in MB of a million bytes, resident, after some answers of every model."""

    resident_mb: float
    models: int
    further: int
    further_mb: float
    """Of each further model, on average."""
    further_onnx_mb: float
    """Size of its ONNX form."""
    heavy: list[str]
    """Which of `HEAVY` the process has imported."""
    shared: list[str]
    """Which of `HEAVY` have a library among the files that the process maps."""
    cold_s: list[float]
    """From the start of the process to the first answer, its champions in the log; start by start."""


def measure(home: Path, models: Mapping[str, Fitted], *, cores: Collection[int], starts: int) -> Footprint:
    """Serve `models` from a folder, then twenty more, and look at a process that has just been started each time."""
    default = next(iter(models))
    with installation(home, **chosen(default)) as installed:
        with on_cores(cores):
            installed.start_api()
        for name, model in models.items():
            promote(installed, name, model.bundle)
        cold_s = [cold(installed, cores) for _ in range(starts)]
        few_mb = settled_mb(installed, models)
        heavy, shared = imported(installed, models, cores), mapped(installed.processes["api.main"].pid)
        largest = max(models.values(), key=lambda model: model.onnx_bytes)
        more = [f"further{i}" for i in range(FURTHER)]
        for name in more:
            promote(installed, name, largest.renamed(name))
        cold(installed, cores)
        many_mb = settled_mb(installed, [*models, *more])
    return Footprint(
        resident_mb=round(few_mb, 1),
        models=len(models),
        further=FURTHER,
        further_mb=round((many_mb - few_mb) / FURTHER, 3),
        further_onnx_mb=round(largest.onnx_bytes / 1e6, 3),
        heavy=heavy,
        shared=shared,
        cold_s=cold_s,
    )


def cold(installed: Installation, cores: Collection[int], **settings: str) -> float:
    """Start the API anew; return the seconds until its first answer to a prediction."""
    running = installed.processes["api.main"]
    running.terminate()
    running.wait(30)
    body = bodies("record")[0]
    began_s = time.monotonic()
    with on_cores(cores):
        process = installed.start("api.main", **settings)
    while time.monotonic() - began_s < WITHIN_S:
        assert process.poll() is None, installed.said("api.main")[-2000:]
        if answers(installed.port, "/predict", body):
            return round(time.monotonic() - began_s, 3)
        time.sleep(0.005)
    raise RuntimeError("the API did not answer: " + installed.said("api.main")[-2000:])


def answers(port: int, path: str, body: bytes) -> bool:
    """Whether a prediction is answered; a refused connection is no answer."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
            return connection.makefile("rb").readline().split()[1:2] == [b"200"]
    except OSError:
        return False


def settled_mb(installed: Installation, models: Collection[str]) -> float:
    """Memory after each model has answered every body that the load consists of."""
    for name in models:
        for body in bodies("record"):
            if not answers(installed.port, f"/models/{name}/predict", body):
                raise RuntimeError(f"{name} does not answer")
    return resident_mb(installed.processes["api.main"].pid)


def imported(installed: Installation, models: Collection[str], cores: Collection[int]) -> list[str]:
    """Which heavy libraries a process imports from its start on; Python itself tells, import by import."""
    before = len(installed.said("api.main"))
    cold(installed, cores, PYTHONPROFILEIMPORTTIME="1")
    settled_mb(installed, models)
    said = installed.said("api.main")[before:]
    names = {name.split(".")[0] for name in re.findall(r"^import time:.*\|\s+([\w.]+)$", said, re.MULTILINE)}
    assert "onnxruntime" in names, "Python has not told what it imports"
    return [name for name in HEAVY if name in names]


def mapped(pid: int) -> list[str]:
    files = Path(f"/proc/{pid}/maps").read_text()
    return [name for name in HEAVY if f"/{name}/" in files]
