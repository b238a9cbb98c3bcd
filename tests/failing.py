"""Models that pass every check and fail while they serve, and a look into the mark that a process leaves of its calls.

What a form may hold allows two ways to fail for some rows and not for others: an index out of range, and a number that
is none. Whether a call takes long cannot depend on a row, nor can what it holds on to: no such model can be built, and
a call under way is hurt from outside instead.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import numpy as np
import requests
from onnx import TensorProto, helper, numpy_helper

from api.mark import FLAGS, SLOTS
from tests import bundles
from tests.services import Installation
from tests.workers import resume, state_of, wait_for, workers

MODEL = "rain"
GOOD, BAD = 2.0, 50.0
"""A number that every model here answers with itself, and one that fails."""
ANY_CHILD = 0x40000000
"""Of `waitpid`: also those that are traced."""


def well(*, more: float = 0.0, model: str = MODEL) -> bytes:
    """Answers the number that it is given; `more` makes another digest of it."""
    nodes = [helper.make_node("Add", ["numbers", "more"], ["out"])]
    return packed(bundles.onnx_of(nodes, constants=[bundles.number(more, "more")]), model)


def raising() -> bytes:
    """Looks the number up in a table of ten."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [10], [float(i) for i in range(10)])
    place = helper.make_node("Cast", ["numbers"], ["place"], to=TensorProto.INT64)
    return packed(bundles.onnx_of([place, helper.make_node("Gather", ["table", "place"], ["out"])], constants=[table]))


def not_a_number() -> bytes:
    """The square of the square root of 10 less the number, taken from 10."""
    nodes = [
        helper.make_node("Sub", ["ten", "numbers"], ["rest"]),
        helper.make_node("Sqrt", ["rest"], ["root"]),
        helper.make_node("Mul", ["root", "root"], ["again"]),
        helper.make_node("Sub", ["ten", "again"], ["out"]),
    ]
    return packed(bundles.onnx_of(nodes, constants=[bundles.number(10.0, "ten")]))


def slow(products: int = 2) -> bytes:
    """Products of matrices with 600 rows, each some hundredths of a second; it answers the number nevertheless."""
    side = helper.make_tensor("side", TensorProto.INT64, [2], [600, 600])
    nodes = [
        helper.make_node("ConstantOfShape", ["side"], ["zeros"]),
        helper.make_node("ReduceMean", ["numbers"], ["mean"]),
        helper.make_node("Mul", ["mean", "none"], ["nothing"]),
        helper.make_node("Add", ["zeros", "nothing"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(products)),
        helper.make_node("ReduceMean", [f"m{products}"], ["end"]),
        helper.make_node("Add", ["numbers", "end"], ["out"]),
    ]
    return packed(bundles.onnx_of(nodes, constants=[side, bundles.number(0.0, "none")]))


def wide() -> bytes:
    """Makes 20,000 numbers of every row before it answers: 80 KB a row, 800 MB for the largest batch."""
    columns = helper.make_tensor("columns", TensorProto.FLOAT, [1, 20_000], [1.0] * 20_000)
    nodes = [
        helper.make_node("MatMul", ["numbers", "columns"], ["many"]),
        helper.make_node("ReduceMean", ["many", "across"], ["out"], keepdims=1),
    ]
    across = helper.make_tensor("across", TensorProto.INT64, [1], [1])
    return packed(bundles.onnx_of(nodes, constants=[columns, across]))


def heavy(megabytes: int) -> bytes:
    """A table of so many numbers."""
    table = numpy_helper.from_array(np.arange(megabytes * 250_000, dtype=np.float32), "table")
    place = helper.make_node("Cast", ["numbers"], ["place"], to=TensorProto.INT64)
    return packed(bundles.onnx_of([place, helper.make_node("Gather", ["table", "place"], ["out"])], constants=[table]))


def packed(form: bytes, model: str = MODEL) -> bytes:
    return bundles.by_hand({"model.onnx": form}, model=model)


def marks(home: Path, pid: int) -> bytes:
    """A byte for each version that a process has loaded: 1 where it is in the middle of calling it."""
    found = next((home / "var/processes").glob(f"{pid}-*.mark"), None)
    return b"" if found is None else found.read_bytes()[FLAGS : FLAGS + SLOTS]


def calling(installed: Installation) -> int | None:
    """A process that is in the middle of a call."""
    return next((pid for pid in workers(installed) if any(marks(installed.home, pid))), None)


def hurt_in_a_call(installed: Installation, number: int) -> int:
    """Ask again and again, and send a signal to a process in the middle of a call; return which it was."""
    until_s = time.monotonic() + 60
    with asking(installed):
        while time.monotonic() < until_s:
            if (pid := calling(installed)) is None:
                continue
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda pid=pid: state_of(pid) in "Tt", "its sleep")  # type: ignore[misc]
            is_calling = any(marks(installed.home, pid))
            if is_calling:
                os.kill(pid, number)
            if not is_calling or number != signal.SIGSTOP:
                resume(pid)
            if is_calling:
                return pid
    raise AssertionError("nobody calls a model")


@contextmanager
def asking(installed: Installation) -> Iterator[None]:
    """Somebody who asks as fast as he is answered, or is not."""
    enough = Event()

    def ask() -> None:
        while not enough.is_set():
            with suppress(requests.RequestException):
                requests.post(f"{installed.url}/predict", json={"values": [GOOD]}, timeout=120)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            yield
        finally:
            enough.set()
            asked.result()


@contextmanager
def stuck(thread: int) -> Iterator[None]:
    """Stop one thread and let the others of its process go on, as a debugger does."""
    import ctypes

    system = ctypes.CDLL(None, use_errno=True)
    seize, interrupt, detach = 0x4206, 0x4207, 17
    assert system.ptrace(seize, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    assert system.ptrace(interrupt, thread, None, None) == 0
    wait_for(lambda: is_stopped(thread), "the stop of a thread")
    try:
        yield
    finally:
        if system.ptrace(detach, thread, None, None) != 0:
            os.waitpid(thread, ANY_CHILD)  # it has died: its parent is told after us


@contextmanager
def stuck_in_a_call(installed: Installation, pid: int) -> Iterator[None]:
    """Stop the thread that calls the model, and no other, in the middle of a call."""
    with asking(installed):
        thread = wait_for(lambda: busy_thread(pid), "the thread that calls")
        for _ in range(1000):
            with stuck(thread):
                if any(marks(installed.home, pid)) and answers(installed):
                    yield
                    return
    raise AssertionError("it is never in a call")


def answers(installed: Installation) -> bool:
    """False where the thread that was stopped holds the interpreter's lock."""
    try:
        return requests.get(f"{installed.url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def busy_thread(pid: int) -> int | None:
    """The thread that works most, but for the one of the event loop."""
    before = ticks(pid)
    time.sleep(0.5)
    worked = {thread: spent - before.get(thread, spent) for thread, spent in ticks(pid).items() if thread != pid}
    busiest = max(worked, key=lambda thread: worked[thread])
    return busiest if worked[busiest] else None


def ticks(pid: int) -> dict[int, int]:
    """Processor time of each thread, in hundredths of a second."""
    found = {}
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        words = file.read_text().rpartition(")")[2].split()
        found[int(file.parent.name)] = int(words[11]) + int(words[12])
    return found


def is_stopped(thread: int) -> bool:
    return Path(f"/proc/{thread}/stat").read_text().rpartition(")")[2].split()[0] == "t"
