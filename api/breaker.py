"""What every call of a served version passes: it is marked, counted, and refused where the version must not be asked.

    closed      calls go through; a failure is counted
    open        refused at once with 503, for a few seconds: a model that answers nobody costs nobody else anything
    half open   one call goes through; if it succeeds the breaker closes
    held        refused until the log says otherwise: processes have died in its calls, so nothing is tried

What a version is accused of, and what follows, is in `understudy/failures.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from threading import Lock
from time import monotonic
from weakref import WeakSet

from api.mark import Marks
from understudy.errors import ModelUnhealthy
from understudy.failures import FAILING, Tally

OPEN_FOR_S = 5.0
TOLD_EVERY_S = 5.0
"""A version that goes on failing is accused again: going back may not have worked."""
LATE_S = 5.0
"""A call that was given up after so long counts as a failure; before, a client was in a hurry."""

Call = tuple[bool, float]
"""Whether it is the trial of a version that failed, and when it began (s, monotonic)."""

Accusation = tuple[str, str, str]
"""Model, version, why."""


class Breakers:
    """Those of one process."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self.heard: SimpleQueue[Accusation | None] = SimpleQueue()
        """What they accuse their versions of."""
        self._all: WeakSet[Breaker] = WeakSet()
        self._held: Mapping[tuple[str, str], str] = {}
        self._lock = Lock()

    def of(self, model: str, version: str) -> "Breaker":
        """One for a version that has just been loaded."""
        with self._lock:
            made = Breaker(model, version, self._marks, self.heard.put, self._held.get((model, version)))
            self._all.add(made)
            return made

    def hold(self, accused: Mapping[tuple[str, str], str]) -> None:
        """Refuse calls of those (model, version), with why, and of no others."""
        with self._lock:
            self._held = accused
            for breaker in self._all:
                breaker.hold(accused.get((breaker.model, breaker.version)))

    def all(self) -> "Sequence[Breaker]":
        """Those of every version that is loaded."""
        with self._lock:
            return [*self._all]

    def calling(self) -> "Iterator[Breaker]":
        """Those whose version is being called now."""
        return (breaker for breaker in self.all() if breaker.is_calling)


class Breaker:
    """One for each loaded version. `enter`, `leave` and `failed` are called by whatever thread makes the call."""

    __slots__ = (
        "__weakref__",
        "_accuse",
        "_begun",
        "_held",
        "_lock",
        "_marks",
        "_memory",
        "_next_s",
        "_place",
        "_probing",
        "_told_s",
        "is_open",
        "model",
        "tally",
        "version",
    )

    def __init__(
        self, model: str, version: str, marks: Marks, accuse: Callable[[Accusation], None], held: str | None = None
    ) -> None:
        self.model, self.version, self.tally = model, version, Tally()
        self._marks, self._accuse, self._held = marks, accuse, held
        self._memory, self._place = marks.memory, marks.take(model, version)
        self._lock, self._probing = Lock(), False
        self._next_s, self._told_s = 0.0, float("-inf")
        self._begun: list[float] = []
        """When the calls under way began: the event loop and a lane may both be in one."""
        self.is_open = held is not None

    @property
    def began_s(self) -> float:
        """When the oldest call under way began; 0 where none is."""
        return min([*self._begun], default=0.0)

    def enter(self) -> Call:
        """A call begins. Raises ModelUnhealthy."""
        trial, now_s = self.is_open and self._admit(), monotonic()
        with self._lock:
            self.tally.calls += 1
            self._begun.append(now_s)
            self._memory[self._place] = 1
        return trial, now_s

    def leave(self, call: Call) -> None:
        """The call has ended, one way or the other."""
        trial, began_s = call
        with self._lock:
            self._begun.remove(began_s)
            if not self._begun:
                self._memory[self._place] = 0
            if trial and self._probing:
                self._probing, self.tally = False, Tally()
                self.is_open = self._held is not None

    def failed(self, trial: bool = False, *, not_finite: bool = False) -> None:
        """A call under way failed."""
        now_s = monotonic()
        with self._lock:
            self.tally.fail(now_s, not_finite=not_finite)
            if trial or self.tally.answers_nobody:
                self.is_open, self._next_s = True, now_s + OPEN_FOR_S
            if trial:
                self._probing = False
            told, due = self._told_s, self.tally.is_failing
            if due and now_s - told > TOLD_EVERY_S:
                self._told_s = now_s
        if due and now_s - told > TOLD_EVERY_S:
            self._accuse((self.model, self.version, self.tally.words))

    def late(self) -> None:
        """The call under way was given up."""
        if self._begun and monotonic() - self.began_s >= LATE_S:
            self.failed()

    def hold(self, why: str | None) -> None:
        """Refuse all calls from now on; None: let them through again."""
        if why != self._held:
            self._held = why
            self.is_open = why is not None

    @property
    def is_calling(self) -> bool:
        return bool(self._memory[self._place])

    def refusal(self) -> ModelUnhealthy:
        return ModelUnhealthy(f"Version {self.version} of {self.model} {FAILING}: {self.words}.", remedy=REMEDY)

    @property
    def words(self) -> str:
        return self._held or self.tally.words

    def _admit(self) -> bool:
        """Let one call through when it is time for a trial."""
        with self._lock:
            now_s = monotonic()
            if self._held is not None or self._probing or now_s < self._next_s:
                raise self.refusal()
            self._probing = True
            return True

    def __del__(self) -> None:
        self._marks.give_back(self._place)


REMEDY = "Ask again later; see the notes at GET /models, and the reason of the newest promotion at GET /current_model."
