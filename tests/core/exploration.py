"""Walks every order of the steps of a promotion and checks the promises in every state that they lead to.

Breadth first, so that the way to a broken promise is a shortest one; the way is part of the message.
"""

from array import array
from dataclasses import dataclass

from tests.core.protocol_world import (
    DEAD,
    OVER,
    UNSENT,
    Log,
    Move,
    Setup,
    Worker,
    World,
    alike,
    moves,
    promoted,
)
from understudy.events import PromotionAborted, PromotionStarted, VerdictReached, VersionPromoted
from understudy.liveness import SILENT_AFTER_S


class BrokenPromise(AssertionError):
    """A state that must not be, and the steps that lead to it."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise, self.what = promise, what


@dataclass(frozen=True)
class Findings:
    """What was met."""

    states: int
    steps: int
    ends: frozenset[tuple[str | None, tuple[str, ...]]]
    """Champion and the keys that were fulfilled, where everything has come to rest."""


class Exploration:
    """One walk."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.known: dict[World, int] = {}
        self.worlds: list[World] = []
        self.came: list[tuple[int, Move | None, tuple[int, ...]]] = []
        self.sound: set[Log] = set()
        self.rests: list[int] = []
        self.froms, self.tos = array("l"), array("l")
        """The steps that go on by themselves."""

    def walk(self) -> Findings:
        self._meet(self.setup.beginning(), -1, None)
        place = steps = 0
        while place < len(self.worlds):
            steps += self._leave(place)
            place += 1
        self._nobody_waits_for_ever()
        ends = {self.worlds[rest].log for rest in self.rests}
        keys = {log: tuple(event.key for event in promoted(log)[1:]) for log in ends}
        return Findings(len(self.worlds), steps, frozenset((log.model.champion, keys[log]) for log in ends))

    def _leave(self, place: int) -> int:
        """Take every step from a state; return how many there are."""
        world = self.worlds[place]
        rests, count = True, 0
        for move in moves(world, self.setup):
            if move.world == world:
                continue
            self._check_step(place, move)
            target = self._meet(move.world, place, move)
            count += 1
            if move.cost == "well":
                rests = False
                self.froms.append(place)
                self.tos.append(target)
        if rests:
            self._check_rest(place)
        return count

    def _meet(self, world: World, origin: int, move: Move | None) -> int:
        world, order = alike(world, self.setup)
        place = self.known.setdefault(world, len(self.worlds))
        if place == len(self.worlds):
            self.worlds.append(world)
            self.came.append((origin, move and move._replace(world=world), order))
            self._check(place)
        return place

    def _check(self, place: int) -> None:
        """The promises that hold in every state."""
        world = self.worlds[place]
        if world.log not in self.sound:
            if fault := unsound(world.log):
                self._fail(place, *fault)
            self.sound.add(world.log)
        for worker in world.workers:
            if not worker.accepts:
                continue
            if not worker.serves and not worker.lacks:
                self._fail(place, "promise 1", "a worker accepts requests and has nothing that answers")
            if worker.lacks and world.calm:
                self._fail(place, "promise 1", "a promotion takes a worker away, though nothing befell it")
            if worker.serves > world.log.champion:
                self._fail(place, "promise 4", "a worker answers with what is not promoted")
            self._check_answer(place, worker)

    def _check_answer(self, place: int, worker: Worker) -> None:
        """What a request would be answered that comes now."""
        rules, answered = self.setup.rules, self.worlds[place].answered
        refuses = worker.lacks and (rules.lacking == "refuses" or not worker.serves)
        if worker.outdated or worker.cut or refuses:
            return
        if not rules.must_look(0.0 if worker.lease else SILENT_AFTER_S):
            if worker.serves < answered:
                self._fail(place, "promise 2", "a worker answers with an older version")
        elif rules.joins_running_look and worker.seen is not None and worker.seen.champion < answered:
            self._fail(place, "promise 2", "a worker answers with what a look found that began before it was asked")

    def _check_step(self, place: int, move: Move) -> None:
        """The promises that hold at a step."""
        before, after = self.worlds[place], move.world
        if after.log.entries[: len(before.log.entries)] != before.log.entries:
            self._fail(place, "promise 3", "the log lost an event", move)
        if after.answered != before.answered:
            for worker in after.workers:
                if worker.accepts and worker.lease and not worker.cut and worker.serves < after.answered:
                    self._fail(place, "promise 2", "200, and a worker does not serve it", move)
        if self.setup.rules.answers_before_swap and "look" in move.what:
            for old, new in zip(before.workers, after.workers, strict=True):
                if old != new and old.accepts and not old.lease and 0 < old.serves < before.answered:
                    self._fail(place, "promise 2", "a worker looks and answers with an older version", move)

    def _check_rest(self, place: int) -> None:
        """What holds where nothing goes on by itself."""
        world = self.worlds[place]
        self.rests.append(place)
        for worker in world.workers:
            if worker.spares and not worker.cut:
                self._fail(place, "progress", "a worker keeps a spare for ever")
        if world.log.model.pending is not None and any(one.accepts and not one.cut for one in world.workers):
            self._fail(place, "progress", "a start has no outcome for ever")
        if any(promoter.step not in (OVER, DEAD, UNSENT) for promoter in world.promoters):
            self._fail(place, "progress", "a promoter waits for ever")

    def _nobody_waits_for_ever(self) -> None:
        """From every state, without another fault, rest is reached."""
        back: list[list[int]] = [[] for _ in self.worlds]
        for origin, target in zip(self.froms, self.tos, strict=True):
            back[target].append(origin)
        reached, ahead = bytearray(len(self.worlds)), list(self.rests)
        while ahead:
            place = ahead.pop()
            if not reached[place]:
                reached[place] = 1
                ahead += back[place]
        if (stuck := reached.find(0)) >= 0:
            self._fail(stuck, "progress", "it never comes to rest")

    def _fail(self, place: int, promise: str, what: str, move: Move | None = None) -> None:
        raise BrokenPromise(promise, f"{what}, after: {'; '.join(self._way(place, move))}.")

    def _way(self, place: int, last: Move | None) -> list[str]:
        """The steps that lead to a state; a worker keeps its name on the way."""
        way: list[tuple[Move | None, tuple[int, ...]]] = [] if last is None else [(last, ())]
        while place > 0:
            place, move, order = self.came[place]
            way.append((move, order))
        names, told = self.came[0][2], []
        for move, order in reversed(way):
            assert move is not None
            told.append(move.what if move.worker < 0 else f"worker {names[move.worker]}: {move.what}")
            names = tuple(names[old] for old in order)
        return told


def unsound(log: Log) -> tuple[str, str] | None:
    """Which promise a log breaks, and how: one outcome for each start, one promotion for each key, on a ground."""
    before: str | None = None
    began: PromotionStarted | None = None
    keys: set[str] = set()
    for entry in log.entries:
        match entry.event:
            case PromotionStarted() as event:
                if began is not None:
                    return "promise 3", f"start {event.key} while {began.key} has no outcome"
                began = event
            case PromotionAborted() as event:
                if began is None or began.key != event.key:
                    return "promise 3", f"an end of {event.key}, which is not under way"
                began = None
            case VersionPromoted() as event:
                if event.key in keys:
                    return "promise 3", f"{event.key} was fulfilled twice"
                if began is None or began.key != event.key:
                    return "promise 3", f"{event.key} was fulfilled and is not under way"
                if event.replaces != before:
                    return "promise 3", f"{event.key} replaced {before} and says {event.replaces}"
                if not grounded(log, entry.position, event):
                    return "promise 4", f"{event.key} stands on nothing"
                keys.add(event.key)
                before, began = event.version, None
            case _:
                pass
    return None


def grounded(log: Log, position: int, event: VersionPromoted) -> bool:
    """Whether a promotion stands on the newest verdict on its version, against the champion that it replaces.

    An override has a reason, and a demotion leads back to where its champion came from.
    """
    if event.how == "override":
        return event.ground is None and event.by == "operator" and event.reason != ""
    if event.how == "demotion":
        came = [one for one in promoted(Log(log.entries[: position - 1], log.state)) if one.version == event.replaces]
        return came[-1].replaces == event.version
    verdicts = [
        entry.event
        for entry in log.entries[: position - 1]
        if isinstance(entry.event, VerdictReached) and entry.event.version == event.version
    ]
    return bool(verdicts) and verdicts[-1].passed and verdicts[-1].champion == event.replaces


def explore(setup: Setup) -> Findings:
    """Walk every order; raises BrokenPromise."""
    return Exploration(setup).walk()
