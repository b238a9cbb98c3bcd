"""Whom a kill hits, and how that comes back."""

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tests.faults.blows import Kill, Round
from tests.faults.fleet import Fleet, command, kill_group, send, until

T = TypeVar("T")

TRAINS_WITHIN_S = 10.0
"""How long a kill waits for a run to be killed."""


@dataclass(frozen=True)
class Victim:
    """What is killed."""

    kind: Kill
    name: str
    kill: Callable[[], None]
    back: Callable[[], None] | None = None
    """Starts it again; None where somebody else does, or nobody has to."""
    pids: frozenset[int] = frozenset()
    """The processes of the API that die."""


def victim_of(fleet: Fleet, drawn: Round, url: str) -> Victim:
    """Choose; `url`: where a scheduler finds the API. Where nothing trains, a scheduler takes the place of its run."""
    match drawn.kill:
        case "worker":
            until(fleet.answering, "a worker")
            worker = chosen(fleet.answering(), drawn.which)
            return Victim("worker", str(worker), partial(send, signal.SIGKILL, worker), None, frozenset([worker]))
        case "parent":
            workers = fleet.answering()
            parent = fleet.api.pid
            back = partial(after_orphans, fleet, workers)
            return Victim("parent", str(parent), partial(send, signal.SIGKILL, parent), back, frozenset(workers))
        case "api":
            group = partial(kill_group, fleet.api)
            return Victim("api", str(fleet.api.pid), group, fleet.restart_api, frozenset(fleet.answering()))
        case "training":
            with contextlib.suppress(AssertionError):
                until(fleet.training, "a run", within_s=TRAINS_WITHIN_S)
            if pids := fleet.training():
                return Victim("training", str(pids[0]), partial(send, signal.SIGKILL, *pids))
    name = chosen(fleet.schedulers, drawn.which)
    pid = fleet.installed.processes[name].pid
    back = partial(fleet.restart_scheduler, name, url)
    return Victim("scheduler", f"{name} {pid}", partial(send, signal.SIGKILL, pid), back)


def after_orphans(fleet: Fleet, workers: list[int]) -> None:
    """Start the API again once the workers have noticed that their parent is gone."""
    until(lambda: not any("spawn_main" in command(pid) for pid in workers), "workers without a parent to end")
    fleet.restart_api()


def chosen(some: list[T], which: float) -> T:
    return some[int(which * len(some))]
