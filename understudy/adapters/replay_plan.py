"""From what somebody wants to know to a report: dates, policies, and what each of them would have done."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from understudy.adapters import past as looking
from understudy.adapters.definitions import Definition
from understudy.adapters.own_loss import per_row
from understudy.adapters.past import FEWEST, Known
from understudy.adapters.recipe import FEWEST_HELD_OUT
from understudy.adapters.replay_cache import ReplayCache
from understudy.adapters.replaying import Recipe, Replaying
from understudy.errors import BadInput
from understudy.events import moment, timestamp
from understudy.evidence import Clock
from understudy.hindsight import beside
from understudy.policy import CannotTell, Promotion, Refit
from understudy.replay import Decides, Decision, Past, Policy, RowLoss, Served, Step, known_loss, serve
from understudy.schedule import Interval, Schedule
from understudy.spans import Span, before, dates, no_time
from understudy.staleness import Age, staleness

MOST_DATES = 5_000
COLLAPSED = (10, 100)
"""Where there are more dates than that, only those are walked that bring so many new rows with a label; the smallest
number that fits. A run needs 100 of them, so a date that is left out would have trained a few rows earlier at most."""
MOST_ANSWERS = 300_000_000
"""Numbers that are held in memory at once, of four bytes each."""
FIRST_SHARE = 4
"""Unless somebody says when to begin, the first model is fitted on a fourth of the rows: with too little to learn from
at the start, any retraining looks good."""
IN_FORCE, ASKED = "in force", "asked"
NEVER, ALWAYS = "never retrain", "always promote"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants to know; None: as it is in the definition."""

    since: str | Span | None = None
    until: str | Span | None = None
    every: Span | None = None
    window: Span | None = None
    bar: float | None = None
    refit: Refit | None = None
    cannot_tell: CannotTell | None = None
    held_out: int | None = None

    @property
    def asks(self) -> bool:
        """Whether it is about another policy than the one in force."""
        more = (self.every, self.window, self.bar, self.refit, self.cannot_tell, self.held_out)
        return any(one is not None for one in more)


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One policy, and the dates and the recipe that it goes with."""

    name: str
    promotion: Promotion
    decides: Decides
    every: Schedule | Span
    recipe: Recipe

    @property
    def rule(self) -> str:
        words = [_often(self.every)]
        if self.recipe.window is not None:
            words.append(f"window {self.recipe.window}")
        if self.recipe.held_out is not None:
            words.append(f"holdout {self.recipe.held_out} rows")
        if self.decides == "gate":
            words.append(f"bar {self.promotion.bar:g}")
        words.append(f"refit {self.promotion.refit}")
        if self.decides == "gate" and self.promotion.cannot_tell == "promote":
            words.append("promotes where it cannot tell")
        if self.decides == "always":
            words.append(f"no check and no gate, wherever {FEWEST_HELD_OUT} new rows have a label")
        return ", ".join(words) if self.decides != "never" else "the first champion of the policy in force stays"


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a replay will do, before it trains anything."""

    known: Known
    start: Clock
    end: Clock
    lines: tuple[Line, ...]
    walks: dict[str, tuple[Clock, ...]]
    """Dates of each different way to walk, by the name of its first line."""
    notes: tuple[str, ...]

    @property
    def trainings(self) -> int:
        """At most: what is in the cache is not trained again."""
        return sum(len(walk) * (1 + self.line(name).recipe.refits) for name, walk in self.walks.items())

    @property
    def dates(self) -> int:
        return sum(map(len, self.walks.values()))

    def line(self, name: str) -> Line:
        return next(line for line in self.lines if line.name == name)


def plan(definition: Definition, wish: Wish, *, now: datetime) -> Plan:
    """Look at the data and say which dates there are.

    Raises BadInput for dates that cannot be; SourceFailed, DataRefused, BadDefinition for data that cannot.
    """
    known = _known(definition, wish, now)
    clock, end = known.clock.tolist(), known.clock[-1].item()
    start = _start(wish, known, clock, end)
    lines = _lines(definition, wish)
    walks: dict[str, tuple[Clock, ...]] = {}
    notes = list(_notes(definition, wish))
    for line in lines:
        if _walk_of(line, lines) == line.name:
            walk, least = _walk(start, end, line.every, clock)
            walks[line.name] = tuple(walk)
            notes += [_collapsed(line, least)] if least else []
    found = Plan(known=known, start=start, end=end, lines=lines, walks=walks, notes=tuple(notes))
    _check(found)
    return found


def _walk(start: Clock, end: Clock, every: Schedule | Span, clock: Sequence[Clock]) -> tuple[list[Clock], int]:
    """The dates, and how many new rows each of them brings at least where that was needed to have few enough."""
    found, least = dates(start, end, every, clock, most=MOST_DATES), 0
    for fewer in COLLAPSED:
        if len(found) > MOST_DATES and not isinstance(start, int):
            found, least = _apart(start, str(end), every, clock, fewer), fewer
    return found, least


def _apart(start: str, end: str, every: Schedule | Span, clock: Sequence[Clock], fewest: int) -> list[Clock]:
    """`start`, and each first date by which at least `fewest` labelled rows have come since the one before."""
    found: list[Clock] = [start]
    while len(found) <= MOST_DATES:
        enough = bisect_right(clock, found[-1]) + fewest - 1
        if enough >= len(clock) or clock[enough] >= end:  # type: ignore[operator]  # both are times
            break
        eve = timestamp(moment(str(clock[enough])) - timedelta(microseconds=1))
        next_dates = dates(eve, end, every, clock, most=1)[1:]
        if not next_dates:
            break
        found += next_dates
    return found


def _collapsed(line: Line, least: int) -> str:
    return (
        f"The policy `{line.name}` has more than {MOST_DATES} dates; only those are walked that bring {least} or more "
        "new rows with a label."
    )


def carry_out(plan: Plan, cache: ReplayCache, *, tick: Callable[[], None]) -> dict[str, Any]:
    """Train what is not in the cache, let every policy walk, and report. `tick` is called after each date."""
    past, fits = plan.known.past, 0
    steps: dict[str, list[Step]] = {}
    for name, walk in plan.walks.items():
        replaying = Replaying(plan.known, cache, plan.line(name).recipe, tick=tick)
        with threadpool_limits(1):  # as every run has it
            steps[name] = replaying.steps(walk)
        fits += replaying.fits
    served = [_served(past, steps[_walk_of(line, plan.lines)], line) for line in plan.lines]
    results, rows = beside(past, served, plan.known.model.metric)
    curve_of = _curve_of(steps)
    return {
        "model": plan.known.model.name,
        "metric": plan.known.model.metric,
        "loss": _loss_name(plan.lines[0].promotion, past),
        "since": _shown(plan.start),
        "until": _shown(plan.end),
        "rows": rows,
        "dates": plan.dates,
        "trained": fits,
        "policies": [
            {**result.to_json(), "rule": line.rule, "dates": [_decision(one) for one in done.decisions]}
            for result, line, done in zip(results, plan.lines, served, strict=True)
        ],
        "staleness": {
            "policy": curve_of,
            "ages": [age.to_json() for age in _curve(past, steps[curve_of], plan.line(curve_of))],
        },
        "notes": list(plan.notes),
    }


def _known(definition: Definition, wish: Wish, now: datetime) -> Known:
    """The past as it is known by the end: of the last date at which a run was due, so that the same question, asked
    again a little later, is about the same rows."""
    known = looking.look(definition, as_of=now, now=now)
    last = known.clock[-1].item()
    if isinstance(last, int):
        return known if wish.until is None else _cut_short(known, wish.until)
    if wish.until is None:
        slots = definition.model.retrain.slots_between(moment(known.clock[FEWEST].item()), moment(last))
        end = last if slots is None else timestamp(slots.last)
    else:
        end = before(last, wish.until, known.clock.tolist()) if isinstance(wish.until, Span) else wish.until
    return known if end >= last else looking.look(definition, as_of=moment(str(end)), now=now)


def _cut_short(known: Known, until: str | Span) -> Known:
    if isinstance(until, str):
        raise no_time()
    return known.until(int(before(known.clock[-1].item(), until, known.clock.tolist())))


def _start(wish: Wish, known: Known, clock: Sequence[Clock], end: Clock) -> Clock:
    least = clock[FEWEST - 1]
    if wish.since is None:
        return clock[max(FEWEST, len(clock) // FIRST_SHARE) - 1]
    if isinstance(wish.since, str) and isinstance(end, int):
        raise no_time()
    start = before(end, wish.since, clock) if isinstance(wish.since, Span) else wish.since
    if start >= end:  # type: ignore[operator]  # both of one type
        raise BadInput(
            f"A replay since {_shown(start)} has nothing to look at: its rows end at {_shown(end)}.",
            remedy="Choose an earlier --since, or a later --until.",
        )
    return max(start, least)


def _lines(definition: Definition, wish: Wish) -> tuple[Line, ...]:
    """The policy in force, what was asked for, and the two that need no gate."""
    model = definition.model
    every: Schedule | Span = model.retrain
    if model.time is None and model.retrain.new_rows is None:
        if wish.every is None:
            raise no_time()
        every = wish.every
    own = model.promotion
    dated = wish.every if wish.every is not None and _by_drift_alone(every) else every
    in_force = Line(name=IN_FORCE, promotion=own, decides="gate", every=every, recipe=Recipe(refits=own.refit == "on"))
    lines = [in_force]
    if wish.asks:
        promotion = _other(own, wish)
        asked = Recipe(window=wish.window, held_out=wish.held_out, refits=promotion.refit == "on")
        lines.append(replace(in_force, name=ASKED, promotion=promotion, every=wish.every or every, recipe=asked))
    others = replace(in_force, every=dated)
    return (*lines, replace(others, name=NEVER, decides="never"), replace(others, name=ALWAYS, decides="always"))


def _by_drift_alone(every: Schedule | Span) -> bool:
    return isinstance(every, Schedule) and every.rule is None and every.new_rows is None


def _other(promotion: Promotion, wish: Wish) -> Promotion:
    wanted = {"bar": wish.bar, "refit": wish.refit, "cannot_tell": wish.cannot_tell}
    return replace(promotion, **{name: value for name, value in wanted.items() if value is not None})  # type: ignore[arg-type]


def _walk_of(line: Line, lines: Sequence[Line]) -> str:
    """Name of the first line that walks the same dates with the same recipe, or one that also refits."""

    def same(other: Line) -> bool:
        alike = (other.every, other.recipe.to_json()) == (line.every, line.recipe.to_json())
        return alike and other.recipe.refits >= line.recipe.refits

    return next(other.name for other in lines if same(other))


def _notes(definition: Definition, wish: Wish) -> Iterator[str]:
    model = definition.model
    if model.time is None and model.retrain.new_rows is None:
        yield f"The rows have no time, so the policy in force is walked {_often(wish.every or model.retrain)}, too."
    elif wish.every is not None and _by_drift_alone(model.retrain):
        yield (
            "The policy in force retrains by drift alone, which is not replayed, and so trains once here. The two "
            "without a gate follow --every."
        )
    if definition.model.promotion.mode == "propose":
        yield "The policy leaves the last step to a person; the replay takes it at once."
    if definition.model.retrain.drift:
        yield "Retrains that drift would have called for are not replayed: only times and numbers of rows are."


def _check(plan: Plan) -> None:
    for name, walk in plan.walks.items():
        if len(walk) > MOST_DATES:
            raise BadInput(
                f"The policy `{name}` has more than {MOST_DATES} dates between {_shown(plan.start)} and "
                f"{_shown(plan.end)}.",
                remedy="Choose a later --since, or a longer --every.",
            )
    wanted = ASKED if ASKED in plan.walks else IN_FORCE
    if len(plan.walks[wanted]) < 2:
        raise BadInput(
            f"Between {_shown(plan.start)} and {_shown(plan.end)} no second run is due "
            f"{_often(plan.line(wanted).every)}.",
            remedy="Choose a shorter --every, an earlier --since, or wait for more rows.",
        )
    past = plan.known.past
    firsts = [np.searchsorted(plan.known.clock, np.array(walk)) for walk in plan.walks.values()]
    answers = sum(int((len(past.labels) - first).sum()) for first in firsts) * 2 * len(past.classes or "1")
    if answers > MOST_ANSWERS:
        raise BadInput(
            f"{plan.dates} dates and {len(past.labels)} rows make {answers:.2g} answers, and {MOST_ANSWERS:.2g} fit.",
            remedy="Choose a later --since, or a longer --every.",
        )


def _served(past: Past, steps: Sequence[Step], line: Line) -> Served:
    policy = Policy(name=line.name, promotion=line.promotion, loss=_loss(past, line.promotion), decides=line.decides)
    return serve(past, steps, policy)


def _loss(past: Past, promotion: Promotion) -> RowLoss:
    own, classes = promotion.loss, past.classes
    if not callable(own):
        return known_loss(past.task, own)
    if classes is None:
        return lambda outputs, labels: per_row(own, labels, outputs)
    given = np.array(classes)
    return lambda outputs, labels: per_row(own, given[labels.astype(np.intp)], outputs)


def _loss_name(promotion: Promotion, past: Past) -> str:
    from understudy.compare import LOSSES

    return promotion.loss_name or LOSSES[past.task][0]


def _curve_of(steps: dict[str, list[Step]]) -> str:
    """The walk with the most trained dates."""
    return max(steps, key=lambda name: sum(step.ended == "trained" for step in steps[name]))


def _curve(past: Past, steps: Sequence[Step], line: Line) -> tuple[Age, ...]:
    days = None if past.clock.dtype.kind != "U" else [moment(step.at).timestamp() / 86_400 for step in steps]
    return staleness(past, steps, _loss(past, line.promotion), days=days)


def _decision(one: Decision) -> dict[str, Any]:
    return {"at": one.at, "did": one.did, "reason": one.reason, "serves": one.serves}


def _often(every: Schedule | Span) -> str:
    if isinstance(every, Schedule) and every == Schedule(every.rule) and isinstance(every.rule, Interval):
        every = Span(time=timedelta(seconds=every.rule.seconds))
    return f"every {every}" if isinstance(every, Span) else str(every)


def _shown(clock: Clock) -> str:
    return f"row {clock}" if isinstance(clock, int) else clock
