"""The promotion protocol as one world: a log, workers, what they pulsed, promoters, and every step that may come next.

The rules are the real ones: `promotion.start`, `commit`, `abort`, `voided`, `registry.fold`, `rollout.steps`,
`readiness`, `behind`, `must_look`. What the shell adds to them (which step follows which, what a process forgets when
it dies) is written down here. Each step is atomic, and any step that is possible may be the next:

    worker      pulses `starting` → looks → acts on `steps` → pulses → looks …; loads beside that; answers once started
    promoter    starts → reads pulses until all are ready → commits → reads pulses until nobody is behind → answers 200
    the world   a process dies, comes back, falls silent, loses the log; a load fails; an answer is lost; 60 s pass

There is no clock. Whoever has pulsed may be taken for silent at any later moment, and then its lease is over: it looks
before it answers. Events have all the same time, and `old` says whether the pending start is 60 s old.

A promoter belongs to no worker here: when a worker dies, any of the promoters may die with it, and a wish is sent to
anybody who answers. So workers have no names, and worlds that differ in nothing else are one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import combinations
from typing import Literal, NamedTuple

from tests.given import HERE, NEW_YEAR, History, candidate, defined, judged
from understudy import promotion, rollout
from understudy.errors import UnderstudyError
from understudy.events import Event, Recorded, VersionPromoted
from understudy.liveness import SILENT_AFTER_S
from understudy.promotion import VOID_AFTER, Wish
from understudy.registry import fold
from understudy.rollout import Free, Prepare, Readiness, Sign, Swap
from understudy.state import Model, Registry

MODEL = "rain"
LOADING, READY, UNABLE = "loading", "ready", "unable"
BORN, IDLE, LOOKED, ACTED, DOWN = "born", "idle", "looked", "acted", "down"
UNSENT, WAITING, MAY_COMMIT, COMMITTED, OVER, DEAD = "unsent", "waiting", "may commit", "committed", "over", "dead"
ACTIVE = (WAITING, MAY_COMMIT, COMMITTED)

Cost = Literal["well", "chance", "fault"]
"""A step that goes on by itself; one that may or may not come; one of which a run has a limited number."""


Moment = Literal["look", "act", "pulse"]


def lease_is_given(moment: Moment, *, told: bool, silent: bool) -> bool | None:
    """Whether a worker may answer without a look from this moment on; None: as before.

    A look counts once it was acted on, and where a pulse went before it that nobody can take for silence yet: whoever
    commits later waits for this worker.
    """
    return told and not silent if moment == "act" else None


@dataclass(frozen=True, eq=False)
class Rules:
    """What the exploration asks; the defaults are the rules that hold, a test may pass a broken one."""

    start: Callable[..., tuple[Event, ...]] = promotion.start
    commit: Callable[..., tuple[Event, ...]] = lambda state, model, key, now, here, began: promotion.commit(
        state, model, key, now, here, began=began
    )
    abort: Callable[..., tuple[Event, ...]] = promotion.abort
    voided: Callable[..., tuple[Event, ...]] = promotion.voided
    steps: Callable[..., tuple[rollout.Step, ...]] = rollout.steps
    readiness: Callable[..., Readiness] = rollout.readiness
    behind: Callable[..., tuple[str, ...]] = rollout.behind
    must_look: Callable[[float], bool] = rollout.must_look
    lease: Callable[..., bool | None] = lease_is_given
    lease_ends: Callable[[bool], bool] = lambda looked_since: True
    """Whether silence ends a lease, given whether a look came after the last pulse."""
    first: Literal["pulse", "fold"] = "pulse"
    """What a worker that starts does first."""
    pulses_without_look: bool = False
    answers_before_swap: bool = False
    joins_running_look: bool = False
    """Whether a request that needs a look is content with one that began before it."""
    retry_waits: bool = True
    lacking: Literal["refuses", "answers with the old"] = "refuses"
    waits_for_silent: bool = False
    remembers: Literal["nothing", "log", "pulses"] = "nothing"
    """What a promoter uses for its commit or after it, as it was when it found everybody ready."""


class Log:
    """A log as a place in the tree of all logs: equal logs are one object, and know what was asked of them."""

    def __init__(self, entries: tuple[Recorded, ...], state: Registry) -> None:
        self.entries, self.state = entries, state
        self.model: Model = state.model(MODEL)
        self.known: dict[object, object] = {}
        self._longer: dict[object, Log] = {}

    def add(self, events: tuple[Event, ...]) -> "Log":
        if not events:
            return self
        key = tuple(repr(event) if event.kind == "version.judged" else event for event in events)
        if key not in self._longer:
            first = self.state.position + 1
            entries = tuple(Recorded(place, NEW_YEAR, event, "") for place, event in enumerate(events, first))
            self._longer[key] = Log((*self.entries, *entries), fold(entries, self.state))
        return self._longer[key]

    @property
    def began(self) -> int:
        """Position of the start that is under way; 0: none."""
        return self.model.pending.position if self.model.pending else 0

    @property
    def champion(self) -> int:
        return self.model.promotions[-1].position


class Said(NamedTuple):
    """A sign as it was pulsed, and whether its counter has stood still for 10 s."""

    starting: bool
    serves: int
    ready: tuple[int, ...] = ()
    unable: tuple[int, ...] = ()
    lacks: bool = False
    silent: bool = False


class Worker(NamedTuple):
    """What one process has in its memory."""

    phase: str = IDLE
    accepts: bool = True
    seen: Log | None = None
    """The log as its last look found it; None once it has acted on that."""
    serves: int = 0
    """Position of the promotion whose version answers; 0: none."""
    spares: tuple[tuple[int, str], ...] = ()
    """Start -> how far its version is."""
    outdated: bool = False
    """The champion is being loaded: requests wait."""
    lacks: bool = False
    """The champion cannot be loaded: requests are refused."""
    lease: bool = True
    """It may answer without a look."""
    fails: str = ""
    """The version that cannot be loaded in this process."""
    cut: bool = False
    """It cannot reach the log."""


class Promoter(NamedTuple):
    """How far a wish is, in one process."""

    step: str = UNSENT
    at: int = 0
    """Position of its start, later of its promotion."""
    knows: object = None


class World(NamedTuple):
    """Everything there is at one moment."""

    log: Log
    old: bool
    workers: tuple[Worker, ...]
    signs: tuple[Said | None, ...]
    promoters: tuple[Promoter, ...]
    answered: int
    """The newest promotion that some client was told of with 200."""
    calm: bool
    """No worker has died, fallen silent or lost the log so far."""
    faults: int
    """How many may still happen."""


class Move(NamedTuple):
    what: str
    cost: Cost
    world: World
    worker: int = -1
    """Whose step it is; -1: nobody's."""


@dataclass(frozen=True)
class Wanted:
    """A wish that may be sent to any worker."""

    wish: Wish
    retries: int | None = None
    """The promoter whose request is sent again; None: a first attempt."""


@dataclass(frozen=True)
class Setup:
    """What is explored."""

    workers: int
    wanted: tuple[Wanted, ...]
    faults: int
    kinds: frozenset[str] = frozenset({"crash", "silence", "cut", "load", "lost", "slow", "verdict"})
    rules: Rules = field(default_factory=Rules)
    fine: bool = True
    """Whether a look, what is done about it and each load are steps of their own."""

    def beginning(self) -> World:
        log = beginning()
        worker, said = Worker(serves=log.champion), Said(starting=False, serves=log.champion)
        return World(
            log, False, (worker,) * self.workers, (said,) * self.workers, (Promoter(),) * len(self.wanted), 0, True,
            self.faults,
        )  # fmt: skip


@lru_cache
def beginning() -> Log:
    """Version 1 serves; 2 and 3 were both judged better than it."""
    history = History()
    history.add(defined())
    candidate(history, "1")
    wanted = Wish(model=MODEL, version="1", key="first", by="operator")
    history.add(*promotion.start(history.state, wanted, history.now, HERE))
    history.add(*promotion.commit(history.state, MODEL, "first", history.now, HERE))
    candidate(history, "2")
    candidate(history, "3")
    return Log(tuple(history.entries), history.state)


def alike(world: World, setup: Setup) -> tuple[World, tuple[int, ...]]:
    """The same world with its workers in an order of their own, and who each of them was: names mean nothing."""
    ranks = [hash(one) for one in zip(world.workers, world.signs, strict=True)]
    order = tuple(sorted(range(setup.workers), key=ranks.__getitem__))
    if order == tuple(range(setup.workers)):
        return world, order
    workers = tuple(world.workers[old] for old in order)
    signs = tuple(world.signs[old] for old in order)
    promoters = tuple(
        one._replace(knows=frozenset(map(order.index, one.knows))) if isinstance(one.knows, frozenset) else one
        for one in world.promoters
    )
    return world._replace(workers=workers, signs=signs, promoters=promoters), order


def moves(world: World, setup: Setup) -> Iterator[Move]:
    """Every step that may come next."""
    for number in range(setup.workers):
        yield from Steps(world, setup, number).all()
    for number in range(len(setup.wanted)):
        yield from Attempt(world, setup, number).all()
    pending = world.log.model.pending
    if pending and not world.old:
        yield Move("60 s pass", "well", world._replace(old=True))
    if world.old and any(worker.accepts and not worker.cut for worker in world.workers):
        yield Move("a worker ends what is void", "well", appended(world, asked_voided(world, setup.rules)))
    if world.faults and "verdict" in setup.kinds and world.log.entries[-1].event.kind != "version.judged":
        worse = (judged("2", champion=world.log.model.champion, passed=False),)
        yield Move("version 2 is judged worse", "fault", appended(world, worse)._replace(faults=world.faults - 1))


def asked_voided(world: World, rules: Rules) -> tuple[Event, ...]:
    return rules.voided(world.log.state, NEW_YEAR + VOID_AFTER * world.old)


def appended(world: World, events: tuple[Event, ...]) -> World:
    """The world with a longer log; a start that is new is not old."""
    log = world.log.add(events)
    return world._replace(log=log, old=world.old and log.began == world.log.began != 0)


class Steps:
    """What one worker may do next, and what may happen to it."""

    def __init__(self, world: World, setup: Setup, number: int) -> None:
        self.world, self.setup, self.number, self.rules = world, setup, number, setup.rules
        self.me, self.said = world.workers[number], world.signs[number]

    def all(self) -> Iterator[Move]:
        if self.me.phase == DOWN:
            yield self._return()
        else:
            yield from self._own()
            yield from self._accidents()
        if self.said is not None and not self.said.silent and (self.me.phase == DOWN or self._is_stuck()):
            yield self._silence("well")

    def _own(self) -> Iterator[Move]:
        me = self.me
        if me.phase == BORN:
            yield self._begins()
        if me.phase == IDLE and not me.cut:
            yield from self._look()
        if me.phase == IDLE and me.cut and self.rules.pulses_without_look:
            yield self._pulse()
        if me.phase == LOOKED:
            yield self._act()
        if me.phase == ACTED:
            yield self._pulse()
        for began, how in me.spares:
            if how == LOADING:
                yield from self._load(began)
        if me.accepts and not me.cut and self._must_look():
            yield from self._ask()

    def _accidents(self) -> Iterator[Move]:
        if self._may("crash"):
            yield from self._deaths()
        if self._may("silence") and not self._is_stuck() and self.said is not None and not self.said.silent:
            yield self._silence("fault")
        if self.me.cut:
            yield self._move("reaches the log again", "chance", self.me._replace(cut=False))
        elif self._may("cut"):
            yield self._fault("loses the log", self.me._replace(cut=True))

    def _may(self, kind: str) -> bool:
        return self.world.faults > 0 and kind in self.setup.kinds

    def _must_look(self) -> bool:
        return self.rules.must_look(0.0 if self.me.lease else SILENT_AFTER_S)

    def _is_stuck(self) -> bool:
        """It pulses only after a look, and cannot look."""
        return self.me.cut and self.me.phase == IDLE and not self.rules.pulses_without_look

    def _lease(self, moment: Moment, *, told: bool = True) -> bool:
        """Whether it may answer without a look from this moment on."""
        silent = self.said is not None and self.said.silent
        given = self.rules.lease(moment, told=told, silent=silent)
        return self.me.lease if given is None else given

    def _return(self) -> Move:
        """Whoever sees a process end forgets its sign; until then, and without that, it falls silent."""
        move = self._move("comes back", "chance", Worker(phase=BORN, accepts=False, lease=False))
        signs = (*self.world.signs[: self.number], None, *self.world.signs[self.number + 1 :])
        return move._replace(world=move.world._replace(signs=signs))

    def _begins(self) -> Move:
        if self.rules.first == "pulse":
            return self._pulse()
        log = self.world.log
        lease = self._lease("act", told=False)
        loaded = self.me._replace(phase=ACTED, accepts=True, serves=log.champion, lease=lease)
        return self._move("folds the log and loads", "well", loaded)

    def _look(self) -> Iterator[Move]:
        """A look that finds nothing new and has nothing new to tell leaves no trace but the lease."""
        if self._due(self.world.log) and not self.setup.fine:
            yield from self._looks_and_acts()
            return
        if self._due(self.world.log):
            me = self.me._replace(lease=self._lease("look"), phase=LOOKED, seen=self.world.log)
            yield self._move("looks", "well", me)
            return
        me = self.me._replace(lease=self._lease("act"))
        if self._sign() != self.said:
            yield self._move("looks, and has something to tell", "well", me._replace(phase=ACTED))
        elif me != self.me:
            yield self._move("looks, and knows it is heard", "well", me)

    def _due(self, log: Log) -> tuple[rollout.Step, ...]:
        """What `steps` asks for, without a champion that was found to be no good here and one that still loads."""
        me, spares = self.me, dict(self.me.spares)
        due = asked_steps(self.rules, log, me.serves, tuple(sorted(spares)))
        return tuple(
            step
            for step in due
            if not isinstance(step, Swap)
            or (not (me.lacks and me.fails == step.version) and not (me.outdated and spares.get(step.began) == LOADING))
        )

    def _looks_and_acts(self) -> Iterator[Move]:
        """The coarse step: whatever is to be loaded is loaded at once, by whoever looks late."""
        versions = {step.version for step in self._due(self.world.log) if not isinstance(step, Free)}
        yield self._at_once(self.me.fails, "well", self.world)
        if versions and not self.me.fails and self._may("load"):
            for version in sorted(versions):
                left = self.world._replace(faults=self.world.faults - 1)
                yield self._at_once(version, "fault", left)

    def _at_once(self, fails: str, cost: Cost, world: World) -> Move:
        """Look, load and act until there is nothing left to do but to pulse."""
        me, log = self.me._replace(fails=fails, lease=self._lease("look")), self.world.log
        for _ in range(3):
            steps = Steps(with_worker(world, self.number, me._replace(phase=LOOKED, seen=log)), self.setup, self.number)
            me = steps._act().world.workers[self.number]
            loaded = tuple(
                (began, how if how != LOADING else UNABLE if began_version(log, began) == fails else READY)
                for began, how in me.spares
            )
            me = me._replace(spares=loaded)
        return self._move("looks and acts" + f", and cannot load {fails}" * (cost == "fault"), cost, me, world=world)

    def _act(self) -> Move:
        me, log = self.me, self.me.seen
        assert log is not None
        spares, serves, lacks, outdated = dict(me.spares), me.serves, me.lacks, False
        for step in asked_steps(self.rules, log, serves, tuple(sorted(spares))):
            match step:
                case Free():
                    del spares[step.began]
                case Prepare():
                    spares[step.began] = LOADING
                case Swap() if spares.get(step.began) == READY:
                    del spares[step.began]
                    serves, lacks = step.position, False
                case Swap() if spares.get(step.began) == UNABLE:
                    del spares[step.began]
                    serves, lacks = serves if self.rules.lacking != "refuses" else 0, True
                case Swap() if not (lacks and me.fails == step.version):
                    spares[step.began] = LOADING
                    outdated = not lacks
        me = me._replace(
            phase=ACTED, seen=None, lease=self._lease("act"), serves=serves, lacks=lacks, outdated=outdated
        )
        me = me._replace(spares=tuple(sorted(spares.items())), accepts=me.accepts or not outdated)
        return self._move("acts", "well", me)

    def _load(self, began: int) -> Iterator[Move]:
        version = began_version(self.world.log, began)
        if self.me.fails != version:
            yield self._move(f"has loaded for {began}", "well", self._spare(began, READY))
        if self.me.fails == version:
            yield self._move(f"cannot load for {began}", "well", self._spare(began, UNABLE))
        elif not self.me.fails and self._may("load"):
            yield self._fault(f"cannot load for {began}", self._spare(began, UNABLE)._replace(fails=version), calm=True)

    def _spare(self, began: int, how: str) -> Worker:
        return self.me._replace(spares=tuple(sorted({**dict(self.me.spares), began: how}.items())))

    def _ask(self) -> Iterator[Move]:
        """A request that may not trust what is loaded looks itself and swaps, beside whoever follows the log."""
        me, done = self.me, self.world.log.model.promotions[-1]
        spares = dict(me.spares)
        loads = me.fails != done.version and spares.get(done.began) != UNABLE
        if done.position > me.serves and loads and not self.rules.answers_before_swap:
            spares.pop(done.began, None)
            me = me._replace(serves=done.position, spares=tuple(spares.items()), lacks=False, outdated=False)
            yield self._move("is asked, looks and swaps", "well", me)

    def _sign(self) -> Said:
        me = self.me
        ready = tuple(began for began, how in me.spares if how == READY)
        unable = tuple(began for began, how in me.spares if how == UNABLE)
        return Said(not me.accepts, me.serves, ready, unable, me.lacks)

    def _pulse(self) -> Move:
        me = self.me._replace(phase=IDLE, lease=self._lease("pulse"))
        return self._move("pulses", "well", me, said=self._sign())

    def _silence(self, cost: Cost) -> Move:
        assert self.said is not None
        me, looked_since = self.me, self.me.phase in (LOOKED, ACTED)
        me = me._replace(lease=me.lease and not self.rules.lease_ends(looked_since))
        move = self._move("falls silent", cost, me, said=self.said._replace(silent=True))
        left = self.world.faults - (cost == "fault")
        return move._replace(world=move.world._replace(calm=False, faults=left))

    def _deaths(self) -> Iterator[Move]:
        """The promoters that die with it are any: each was carried out by some worker."""
        move = self._fault("dies", Worker(phase=DOWN, accepts=False, lease=False))
        active = [place for place, one in enumerate(self.world.promoters) if one.step in ACTIVE]
        for count in range(len(active) + 1):
            for dying in combinations(active, count):
                with_it = f" with promoter {', '.join(map(str, dying))}" if dying else ""
                promoters = tuple(
                    Promoter(DEAD) if place in dying else one for place, one in enumerate(self.world.promoters)
                )
                yield move._replace(what=move.what + with_it, world=move.world._replace(promoters=promoters))

    def _fault(self, what: str, me: Worker, *, calm: bool = False) -> Move:
        move = self._move(what, "fault", me)
        world = move.world._replace(calm=self.world.calm and calm, faults=self.world.faults - 1)
        return move._replace(world=world)

    def _move(self, what: str, cost: Cost, me: Worker, said: Said | None = None, world: World | None = None) -> Move:
        world, number = with_worker(world or self.world, self.number, me), self.number
        signs = (*world.signs[:number], said or self.said, *world.signs[number + 1 :])
        return Move(what, cost, world._replace(signs=signs), number)


def with_worker(world: World, number: int, me: Worker) -> World:
    return world._replace(workers=(*world.workers[:number], me, *world.workers[number + 1 :]))


class Attempt:
    """What one promoter may do next."""

    def __init__(self, world: World, setup: Setup, number: int) -> None:
        self.world, self.setup, self.number, self.rules = world, setup, number, setup.rules
        self.wanted, self.me = setup.wanted[number], world.promoters[number]

    def all(self) -> Iterator[Move]:
        step = self.me.step
        if step in (OVER, DEAD):
            return
        if step == UNSENT:
            yield from self._send()
        elif step == WAITING:
            yield from self._wait()
        elif step == MAY_COMMIT:
            yield self._commit()
        elif step == COMMITTED:
            yield from self._answer()
        if step in (WAITING, COMMITTED) and self.world.faults and "slow" in self.setup.kinds:
            yield self._give_up("fault")

    def _send(self) -> Iterator[Move]:
        first = None if self.wanted.retries is None else self.world.promoters[self.wanted.retries].step
        cost: Cost = "chance" if first in (None, DEAD) else "fault"
        if first == UNSENT or (cost == "fault" and not (self.world.faults and "lost" in self.setup.kinds)):
            return
        if any(worker.accepts and not worker.cut for worker in self.world.workers):
            yield self._start(cost)

    def _start(self, cost: Cost) -> Move:
        now = NEW_YEAR + VOID_AFTER * self.world.old
        try:
            events = asked(
                self.rules.start,
                self.world.log,
                self.wanted.wish,
                now,
                HERE,
                key=("start", self.wanted.wish, self.world.old),
            )
        except UnderstudyError:
            return self._move("is refused", cost, OVER)
        move = self._resolved("starts", cost, appended(self.world, events))
        me = move.world.promoters[self.number]
        if me.step == COMMITTED and not self.rules.retry_waits:
            world = move.world._replace(answered=max(self.world.answered, me.at))
            return self._move("answers 200 at once", cost, OVER, world=world)
        return move

    def _resolved(self, what: str, cost: Cost, world: World) -> Move:
        """Where a promoter stands with what it now knows of the log."""
        model, wish = world.log.model, self.wanted.wish
        if model.pending is not None and model.pending.key == wish.key:
            return self._move(what, cost, WAITING, model.pending.position, world=world)
        done = promotion.done(model, wish.key)
        if done is None and model.champion == wish.version:
            done = model.promotions[-1]
        if done is None:
            return self._move(f"{what}, in vain", cost, OVER, world=world)
        return self._move(f"{what}: done at {done.position}", cost, COMMITTED, done.position, world=world)

    def _living(self) -> tuple[tuple[int, Said], ...]:
        return tuple(
            (number, said)
            for number, said in enumerate(self.world.signs)
            if said is not None and (self.rules.waits_for_silent or not said.silent)
        )

    def _wait(self) -> Iterator[Move]:
        if self.world.log.began != self.me.at:
            yield self._resolved("finds its start ended", "well", self.world)
            return
        found = asked_readiness(self.rules, self._living(), self.me.at)
        if found.unable:
            yield self._abort("a worker cannot load it", "well")
        elif found.complete:
            yield self._move("finds all ready", "well", MAY_COMMIT, self.me.at, knows=self._remembered())

    def _remembered(self) -> object:
        memory = {"nothing": None, "log": self.world.log, "pulses": frozenset(who for who, _ in self._living())}
        return memory[self.rules.remembers]

    def _abort(self, why: str, cost: Cost) -> Move:
        events = self.rules.abort(self.world.log.state, MODEL, self.wanted.wish.key, why, began=self.me.at)
        return self._move(f"aborts: {why}", cost, OVER, world=appended(self.world, events))

    def _commit(self) -> Move:
        log = self.me.knows if isinstance(self.me.knows, Log) else self.world.log
        now = NEW_YEAR + VOID_AFTER * self.world.old
        key = self.wanted.wish.key
        memo = ("commit", key, self.me.at, self.world.old)
        events = asked(self.rules.commit, log, MODEL, key, now, HERE, self.me.at, key=memo)
        return self._resolved("commits", "well", appended(self.world, events))

    def _answer(self) -> Iterator[Move]:
        living = self._living()
        if isinstance(self.me.knows, frozenset):
            living = tuple((who, said) for who, said in living if who in self.me.knows)
        if not asked_behind(self.rules, living, self.me.at):
            world = self.world._replace(answered=max(self.world.answered, self.me.at))
            yield self._move(f"answers 200 for {self.me.at}", "well", OVER, world=world)
        elif any(worker.lacks for worker in self.world.workers):
            yield self._give_up("well")

    def _give_up(self, cost: Cost) -> Move:
        if self.me.step == WAITING:
            return self._abort("30 s have passed", cost)
        return self._move("answers that somebody does not serve it yet", cost, OVER)

    def _move(
        self, what: str, cost: Cost, step: str, at: int = 0, knows: object = None, world: World | None = None
    ) -> Move:
        world, number = world or self.world, self.number
        if step == COMMITTED and knows is None and isinstance(self.me.knows, frozenset):
            knows = self.me.knows
        me = Promoter(step, at, knows)
        promoters = (*world.promoters[:number], me, *world.promoters[number + 1 :])
        left = world.faults - (cost == "fault")
        return Move(f"promoter {number} {what}", cost, world._replace(promoters=promoters, faults=left))


def asked(rule: Callable[..., tuple[Event, ...]], log: Log, *args: object, key: object) -> tuple[Event, ...]:
    """What a rule says of a log, asked once; raises what it raises."""
    if (rule, key) not in log.known:
        try:
            log.known[rule, key] = rule(log.state, *args)
        except UnderstudyError as error:
            log.known[rule, key] = error
    found = log.known[rule, key]
    if isinstance(found, UnderstudyError):
        raise found
    assert isinstance(found, tuple)
    return found


@cache
def asked_steps(rules: Rules, log: Log, serves: int, spares: tuple[int, ...]) -> tuple[rollout.Step, ...]:
    return rules.steps(log.state, {MODEL: serves} if serves else {}, spares)


@cache
def asked_readiness(rules: Rules, living: tuple[tuple[int, Said], ...], began: int) -> Readiness:
    return rules.readiness(as_signs(living), began)


@cache
def asked_behind(rules: Rules, living: tuple[tuple[int, Said], ...], position: int) -> tuple[str, ...]:
    return rules.behind(as_signs(living), MODEL, position)


def as_signs(living: tuple[tuple[int, Said], ...]) -> list[Sign]:
    return [
        Sign(
            worker=f"worker {who}",
            starting=said.starting,
            serves={MODEL: said.serves} if said.serves else {},
            ready=frozenset(said.ready),
            unable=dict.fromkeys(said.unable, "cannot load"),
            lacks={MODEL: "cannot load"} if said.lacks else {},
        )
        for who, said in living
    ]


@cache
def began_version(log: Log, began: int) -> str:
    """The version that a start is of; the first promotion of all needs no start to be found."""
    event = log.entries[began - 1].event
    version = getattr(event, "version", None)
    assert isinstance(version, str)
    return version


def promoted(log: Log) -> list[VersionPromoted]:
    return [entry.event for entry in log.entries if isinstance(entry.event, VersionPromoted)]
