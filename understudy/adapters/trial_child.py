"""The child's side of a trial: `python -m understudy.adapters.trial_child`.

Standard input holds one line of JSON, the candidate's bytes and the champion's; standard output gets one object of
JSON a line, of which the last counts: first how the candidate fared alone, then how it fared beside the champion. So
whatever the champion does to this process, the candidate's own result is told. Limits are set before the first byte of
a bundle is read.
"""

import json
import os
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from understudy.adapters import bundle, onnx_check, skops_form
from understudy.adapters.confinement import confine
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.errors import BundleRefused, ModelFailed
from understudy.parity import TOLERANCE
from understudy.rows import MAX_ROWS

ROUNDS = 5
"""In each, candidate and champion take turns in going first."""
ROUND_S = 0.05
"""About how long each of them is measured in a round."""
CALLS = (5, 200)
"""Fewest and most calls in a round."""
CHAMPION_S = 20
"""How long the champion may take to be loaded and measured."""
MAX_OUTPUT = 2**20

Rows = Sequence[Sequence[Any]]


def main() -> None:
    answer_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    header = json.loads(sys.stdin.buffer.readline())
    limit(header["limits"])
    landlock = confine()
    try:
        candidate, found = trial(header["candidate"], sys.stdin.buffer)
        report = {**found, "landlock": landlock}
        tell(answer_to, True, "It loads and answers its golden rows.", report)
        if header["champion"] is not None:
            beside = {**report, "latency": beside_champion(candidate, header["champion"], sys.stdin.buffer)}
            tell(answer_to, True, "It loads and answers its golden rows.", beside)
    except (BundleRefused, ModelFailed) as refusal:
        tell(answer_to, False, str(refusal), {})
    except MemoryError:
        tell(answer_to, False, f"It needs more than {header['limits']['memory_mb']} MiB of memory.", {})
    os._exit(0)  # whatever a library would still do at exit is of no interest


def tell(answer_to: TextIO, passed: bool, reason: str, report: dict[str, Any]) -> None:
    answer_to.write(json.dumps({"passed": passed, "reason": reason, "report": report}, allow_nan=False) + "\n")
    answer_to.flush()


def limit(limits: dict[str, Any]) -> None:
    """Give up what a trial does not need; none of it can be taken back."""
    cpu = limits["cpu_s"]
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_mb"] * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits["files"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def trial(expected: dict[str, Any], source: BinaryIO) -> tuple[Runtime, dict[str, Any]]:
    """Try the candidate by itself. Raises BundleRefused, ModelFailed or MemoryError."""
    data = source.read(expected["size"])
    started = time.perf_counter()
    candidate = _opened(data, expected)
    load_ms = (time.perf_counter() - started) * 1000
    answers = _answers(candidate)
    _answer_most(candidate)
    return candidate, {
        "serves": candidate.manifest["serves"],
        "golden_rows": len(candidate.golden.rows),
        "peak_mb": round(_peak_mb(), 1),
        "load_ms": round(load_ms, 1),
        "finite": True,
        "constant": len({json.dumps(answer) for answer in answers}) == 1,
        "latency": _alternating(candidate, None),
    }


def beside_champion(candidate: Runtime, expected: dict[str, Any], source: BinaryIO) -> dict[str, Any]:
    """Measure the candidate beside the champion, and alone where that one cannot be loaded or cannot answer.

    A champion that hangs, crashes or takes all memory ends the process; by then the candidate's result is told.
    """
    signal.alarm(CHAMPION_S)
    try:
        return _alternating(candidate, _opened(source.read(expected["size"]), expected))
    except Exception:  # noqa: BLE001 - a champion may raise anything, and that is not the candidate's fault
        return _alternating(candidate, None)


def _opened(data: bytes, expected: dict[str, Any]) -> Runtime:
    parts = bundle.unpack(data, digest=expected["digest"])
    if bundle.ONNX in parts.forms:
        onnx_check.check_onnx(parts.forms[bundle.ONNX])
    if bundle.SKOPS in parts.forms:
        skops_form.check(parts.forms[bundle.SKOPS], trees=expected["trees"])
    runtime = open_bundle(data, digest=expected["digest"], trees=expected["trees"])
    runtime.check_golden()
    return runtime


def _answers(runtime: Runtime) -> list[Any]:
    """Answer the golden rows one by one, as most requests ask. Raises BundleRefused for impossible probabilities."""
    answers = [runtime.predict([row]) for row in runtime.golden.rows]
    probabilities = [answer.probabilities[0] for answer in answers if answer.probabilities]
    if probabilities and not _is_distribution(np.asarray(probabilities)):
        raise BundleRefused("Its probabilities are none: they lie outside 0 … 1, or do not add up to 1.", remedy=REMEDY)
    return probabilities or [answer.predictions for answer in answers]


def _answer_most(runtime: Runtime) -> None:
    """Answer as many rows as a request may hold: what they cost must fit into the limits as well."""
    rows = runtime.golden.rows
    try:
        runtime.predict([rows[i % len(rows)] for i in range(MAX_ROWS)])
    except ModelFailed as error:
        raise BundleRefused(f"{MAX_ROWS:,} rows at once got no answer. {error.problem}", remedy=SMALLER) from error


def _is_distribution(probabilities: "np.ndarray[Any, Any]") -> bool:
    inside = bool((probabilities >= -TOLERANCE).all() and (probabilities <= 1 + TOLERANCE).all())
    return inside and bool((np.abs(probabilities.sum(axis=1) - 1) <= 1e-3).all())


def _alternating(candidate: Runtime, champion: Runtime | None) -> dict[str, Any]:
    """CPU time of one row in ms: the median of each round, candidate and champion in turn."""
    rows = candidate.golden.rows
    runtimes = {"candidate_ms": candidate} | ({} if champion is None else {"champion_ms": champion})
    asks = {name: _ask(runtime, _rows_for(runtime, rows)) for name, runtime in runtimes.items()}
    calls = {name: _calls(ask) for name, ask in asks.items()}
    found: dict[str, Any] = {"candidate_ms": [], "champion_ms": [] if champion else None, "rows": 1}
    for turn in range(ROUNDS):
        for name in sorted(asks, reverse=bool(turn % 2)):
            found[name].append(round(statistics.median(asks[name](k) for k in range(calls[name])), 5))
    return found


def _rows_for(runtime: Runtime, rows: Rows) -> Rows:
    """The same rows for both, where both can answer them; otherwise its own."""
    try:
        for row in rows:
            runtime.predict([row])
    except ModelFailed:
        return runtime.golden.rows
    return rows


def _ask(runtime: Runtime, rows: Rows) -> Callable[[int], float]:
    def ask(k: int) -> float:
        row = rows[k % len(rows)]
        started = time.thread_time_ns()  # the process's clock has a grain of 4 ms once its CPU time is limited
        runtime.predict([row])
        return (time.thread_time_ns() - started) / 1e6

    return ask


def _calls(ask: Callable[[int], float]) -> int:
    """How many calls fill a round, after warming up."""
    ms = statistics.median(ask(k) for k in range(CALLS[0]))
    return min(CALLS[1], max(CALLS[0], int(ROUND_S * 1000 / max(ms, 1e-3))))


def _peak_mb() -> float:
    """Most memory that was resident so far, in MiB; Linux tells it right in `/proc`, and that of the parent else."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


REMEDY = "Convert the model again, with `zipmap` off."
SMALLER = "Train a smaller model: a request may hold that many."

if __name__ == "__main__":
    main()
