"""The roster: which workers of the API are alive, as this process sees it, and where each of them stands."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from threading import Lock

from understudy.errors import StorageUnavailable
from understudy.liveness import Watch
from understudy.ports import Beat, Pulse
from understudy.rollout import Sign

WORKER = "worker/"


class Roster:
    """This worker's name, and what all workers say of themselves in the pulse."""

    def __init__(self, pulse: Pulse, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.me = f"{process_name(os.getpid())}/{secrets.token_hex(4)}"
        self._pulse, self._clock = pulse, clock
        self._watch, self._lock = Watch(), Lock()
        self.last: tuple[Sign, ...] = ()
        """The living as they were when somebody last looked."""
        self.tell(Sign(worker=self.me, starting=True))

    def tell(self, sign: Sign) -> None:
        """Say where this worker stands. Raises StorageUnavailable."""
        self._pulse.beat(WORKER + sign.worker, sign.to_json())

    def signs(self) -> tuple[Sign, ...]:
        """What the living say of themselves.

        Raises StorageUnavailable where our own signs of life do not arrive: then the silence of others says nothing.
        """
        with self._lock:
            now_s = self._clock()
            beats = self._beats()
            self._watch.see(beats, now_s)
            living = {who: beat for who, beat in beats.items() if not self._is_silent(who, now_s)}
            self.last = tuple(Sign.from_json(who.removeprefix(WORKER), beat.state) for who, beat in living.items())
        if WORKER + self.me not in living:
            raise StorageUnavailable(
                "The workers of the API cannot see each other.", remedy="Check the volume of `var/`, and try again."
            )
        return self.last

    def forget_silent(self) -> None:
        """Drop what the dead have left."""
        with self._lock:
            now_s = self._clock()
            beats = self._beats()
            self._watch.see(beats, now_s)
            silent = {who: beat for who, beat in beats.items() if self._is_silent(who, now_s)}
        if silent:
            self._pulse.forget_unmoved(silent)

    def forget(self, worker: str) -> None:
        """Drop the sign of a worker that is known to be dead: nobody has to wait until it falls silent."""
        self._pulse.forget([WORKER + worker])

    def leave(self) -> None:
        """The last sign of life."""
        self._pulse.forget([WORKER + self.me])

    def _beats(self) -> dict[str, Beat]:
        return {who: beat for who, beat in self._pulse.read().items() if who.startswith(WORKER)}

    def _is_silent(self, who: str, now_s: float) -> bool:
        return self._watch.is_silent(who, now_s, since_s=float("-inf"))


def process_name(pid: int) -> str:
    """What the names of a process's workers begin with, on this machine."""
    return f"{socket.gethostname()}/{pid}"


def forget_process(pulse: Pulse, pid: int) -> None:
    """Drop the signs of life of a process that its parent has seen end: nobody has to wait until it falls silent."""
    beginning = f"{WORKER}{process_name(pid)}/"
    pulse.forget(names(pulse.read(), beginning))


def names(beats: Iterable[str], beginning: str) -> list[str]:
    return [who for who in beats if who.startswith(beginning)]
