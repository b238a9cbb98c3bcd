"""A process that stands still while a version is called: `python -m tests.standing FOLDER loop|lane|held|paused`.

On the loop the call is what holds it up; in a lane it is a call like any other. Who holds the interpreter's lock holds
up all threads. Who is to be paused goes on until somebody does it.
"""

import asyncio
import ctypes
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

from api.breaker import Breakers
from api.cost import Cost
from api.fit import SIGNATURE as SIGNATURE
from api.mark import Marks
from api.serving import Served
from api.watchdog import Watchdog
from understudy.adapters.duty import Duty
from understudy.adapters.runtime import Packer

LONG_S = 60.0


class Sleeping:
    """A model that takes its time."""

    packer, signature = Packer(1), SIGNATURE

    def run(self, rows: Any, options: Any = None) -> Any:
        time.sleep(LONG_S)


async def stand(folder: Path, place: str) -> None:
    marks = Marks(folder, "vm/1")
    breakers = Breakers(marks)
    turn = Duty(folder / "turn.lock")
    watchdog = Watchdog(marks, breakers, limit_s=1, memory_limit=0, turn=turn, others_are_there=lambda: True)
    watchdog.arm(lambda: None)
    watchdog.start(asyncio.get_running_loop())
    model: Any = Sleeping()
    served = Served("rain", "7", model, cost=Cost(0.0, 0.0), loop_limit_s=1.0, breaker=breakers.of("rain", "7"))
    if place == "paused":
        await asyncio.sleep(2)
        (folder / "its.began").write_text("so it looks")
        await asyncio.sleep(LONG_S)
    if place == "held":
        await asyncio.sleep(2)
        ctypes.PyDLL(None).sleep(int(LONG_S))  # which keeps the lock
    if place == "loop":
        served.call(None)
    Thread(target=served.call, args=(None,), daemon=True).start()
    time.sleep(LONG_S)


if __name__ == "__main__":
    asyncio.run(stand(Path(sys.argv[1]), sys.argv[2]))
