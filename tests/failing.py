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

import requests
from onnx import TensorProto, helper

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


def is_stopped(thread: int) -> bool:
    return Path(f"/proc/{thread}/stat").read_text().rpartition(")")[2].split()[0] == "t"
