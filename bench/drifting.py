"""Streams that drift in a known way, with a retrain every 400 rows, led through gate, refit and live comparison.

A stream has eight features, half of them with a memory, and coefficients that stay, jump, or wander. A model is a
logistic or a linear regression on the last 2,000 rows. Every fourth retrain may be broken: labels mixed up, hardly any
rows, or a feature lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from scipy.signal import lfilter

from understudy.compare import row_losses
from understudy.metrics import FloatArray

Drift = Literal["none", "abrupt", "gradual"]
Task = Literal["binary", "regression"]
Kind = Literal["candidate", "refit", "broken", "odd", "even"]
Gate = Callable[[FloatArray, FloatArray], bool]
"""Losses of candidate and champion on the holdout -> is it better?"""
Monitor = Callable[[FloatArray, FloatArray], int | None]

TRAINED, STEP, HELD, RETRAINS = 2000, 400, 200, 40
FEATURES = 8
BROKEN_EVERY = 4


class Fit(NamedTuple):
    """One fitted model: what went into it, and of which retrain."""

    kind: Kind
    retrain: int


@dataclass
class Stream:
    """The losses of every model that could serve, row by row from its holdout on."""

    drift: Drift
    task: Task
    losses: Mapping[Fit, FloatArray]

    def loss(self, fit: Fit, start: int, end: int) -> FloatArray:
        """Of rows `start` to `end` of the stream."""
        first = due(fit.retrain) - HELD
        return self.losses[fit][start - first : end - first]


class Switch(NamedTuple):
    """A lift or a rollback, seen from the rows that were left until the next retrain."""

    right: bool
    """It lowered their loss."""
    plain: bool
    """By two standard errors or more, or raised it by as much."""


@dataclass
class Story:
    """What became of one stream under one gate and monitor."""

    loss: float = 0.0
    promoted: int = 0
    broken: int = 0
    lifted: list[Switch] = field(default_factory=list)
    rolled_back: list[Switch] = field(default_factory=list)


def due(retrain: int) -> int:
    """The first row that a retrain does not know yet."""
    return TRAINED + HELD + STEP * retrain


def stream(drift: Drift, task: Task, seed: int) -> Stream:
    """Draw one, and fit every model that any policy could want."""
    rng = np.random.default_rng([seed, len(drift), len(task)])
    rows = due(RETRAINS)
    features = _features(rng, rows)
    score = (1.6 if task == "binary" else 0.9) * (features * _coefficients(rng, rows, drift)).sum(axis=1)
    score += 0.5 * _remembering(rng, (rows, 1), 0.95)[:, 0]
    labels = _labels(rng, score, task)
    losses: dict[Fit, FloatArray] = {}
    for retrain in range(RETRAINS):
        end = due(retrain)
        fitted, rest = slice(end - HELD - TRAINED, end - HELD), slice(end - HELD, None)
        x, y = features[fitted], labels[fitted]
        parts: dict[Kind, tuple[FloatArray, FloatArray]] = {
            "candidate": (x, y),
            "refit": (features[end - TRAINED : end], labels[end - TRAINED : end]),
            "odd": (x[1::2], y[1::2]),
            "even": (x[::2], y[::2]),
        }
        if retrain % BROKEN_EVERY == 2:
            parts["broken"] = _broken(rng, x, y, retrain // BROKEN_EVERY % 3)
        for kind, (some_x, some_y) in parts.items():
            answers = _answers(_fitted(some_x, some_y, task), features[rest], task)
            losses[Fit(kind, retrain)] = _losses(answers, labels[rest], task)
    return Stream(drift, task, losses)


def told(given: Stream, gate: Gate, monitor: Monitor | None, *, faulty: bool) -> Story:
    """Lead a stream through all retrains."""
    story, serving = Story(), Fit("candidate", 0)
    for retrain in range(1, RETRAINS):
        now = due(retrain)
        candidate = _candidate(given, retrain, faulty)
        ready = candidate if candidate.kind == "broken" else Fit("refit", retrain)
        own, other = (given.loss(fit, now - HELD, now) for fit in (candidate, serving))
        better = gate(own, other)
        story.promoted += better
        story.broken += better and candidate.kind == "broken"
        serving, shadow = (ready, serving) if better else (serving, ready)
        first, second = (given.loss(fit, now, now + STEP) for fit in (serving, shadow))
        reference = own - other if better else other - own
        row = None if monitor is None else monitor(reference, first - second)
        if row is None:
            story.loss += float(first.sum())
            continue
        story.loss += float(first[:row].sum() + second[row:].sum())
        (story.rolled_back if better else story.lifted).append(_switch(first[row:], second[row:]))
        serving = shadow
    return story


def _switch(first: FloatArray, second: FloatArray) -> Switch:
    saved = first - second
    around = 2 * np.sqrt(len(saved)) * saved.std() if len(saved) else 0.0
    return Switch(right=bool(second.sum() <= first.sum()), plain=bool(abs(saved.sum()) > around))


def least(given: Stream, *, faulty: bool) -> float:
    """The loss of somebody who knows at each retrain which of the two models the next rows will suit."""
    total, serving = 0.0, Fit("candidate", 0)
    for retrain in range(1, RETRAINS):
        now = due(retrain)
        candidate = _candidate(given, retrain, faulty)
        ready = candidate if candidate.kind == "broken" else Fit("refit", retrain)
        serving = min(serving, ready, key=lambda fit: float(given.loss(fit, now, now + STEP).sum()))
        total += float(given.loss(serving, now, now + STEP).sum())
    return total


def wrong_switches(given: Stream, monitor: Monitor) -> tuple[int, int]:
    """Of two models fitted on every other row of the same: switches to the one that was worse on the rest; pairs."""
    wrong = 0
    for retrain in range(RETRAINS):
        now = due(retrain)
        odd, even = Fit("odd", retrain), Fit("even", retrain)
        for one, two in ((odd, even), (even, odd)):
            reference = given.loss(one, now - HELD, now) - given.loss(two, now - HELD, now)
            live = given.loss(one, now, now + STEP) - given.loss(two, now, now + STEP)
            row = monitor(reference, live)
            wrong += row is not None and bool(live[row:].sum() < 0)
    return wrong, 2 * RETRAINS


def summed(given: Sequence[Stream], gate: Gate, monitor: Monitor | None) -> dict[str, float]:
    """Over several streams, each as it is and with broken retrains: the mean excess in % of loss, and counts."""
    told_of = [(one, faulty, told(one, gate, monitor, faulty=faulty)) for one in given for faulty in (False, True)]
    excess = [100 * (story.loss / least(one, faulty=faulty) - 1) for one, faulty, story in told_of]
    stories = [story for _, _, story in told_of]
    switches = [one for story in stories for one in (*story.lifted, *story.rolled_back)]
    wrong = [(0, 0) if monitor is None else wrong_switches(one, monitor) for one in given]
    return {
        "excess": sum(excess) / len(excess),
        "promoted": sum(story.promoted for story in stories),
        "broken": sum(story.broken for story in stories),
        "of broken": len(given) * len(range(2, RETRAINS, BROKEN_EVERY)),
        "lifted": sum(len(story.lifted) for story in stories),
        "right": sum(one.right for story in stories for one in story.lifted),
        "rolled back": sum(len(story.rolled_back) for story in stories),
        "rightly": sum(one.right for story in stories for one in story.rolled_back),
        "plain": sum(one.plain for one in switches),
        "plainly right": sum(one.plain and one.right for one in switches),
        "wrong": sum(count for count, _ in wrong),
        "pairs": sum(pairs for _, pairs in wrong),
    }


def _candidate(given: Stream, retrain: int, faulty: bool) -> Fit:
    broken = Fit("broken", retrain)
    return broken if faulty and broken in given.losses else Fit("candidate", retrain)


def _remembering(rng: np.random.Generator, shape: tuple[int, int], memory: float) -> FloatArray:
    shocks = rng.normal(size=shape) * (1 - memory**2) ** 0.5
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks, axis=0))


def _features(rng: np.random.Generator, rows: int) -> FloatArray:
    half = FEATURES // 2
    return np.hstack([_remembering(rng, (rows, half), 0.9), rng.normal(size=(rows, FEATURES - half))])


def _coefficients(rng: np.random.Generator, rows: int, drift: Drift) -> FloatArray:
    first = rng.normal(size=FEATURES)
    if drift == "none":
        return np.tile(first, (rows, 1))
    if drift == "gradual":
        wandered = first + 0.024 * rng.normal(size=(rows, FEATURES)).cumsum(axis=0)
        return np.asarray(wandered / np.sqrt((wandered**2).mean(axis=1, keepdims=True)))
    jumps = np.zeros((rows, FEATURES))
    for row in np.cumsum(rng.integers(1500, 4500, size=rows // 1500)):
        if row < rows:
            jumps[row] = 0.7 * rng.normal(size=FEATURES) * (rng.random(FEATURES) < 0.5)
    return np.asarray(first + jumps.cumsum(axis=0))


def _labels(rng: np.random.Generator, score: FloatArray, task: Task) -> FloatArray:
    if task == "binary":
        return (rng.random(len(score)) < 1 / (1 + np.exp(-score))).astype(np.float64)
    rough = 0.5 * rng.standard_t(3, size=len(score))
    slow = 0.5 * _remembering(rng, (len(score), 1), 0.8)[:, 0]
    return np.asarray(score + slow + rough)


def _broken(rng: np.random.Generator, x: FloatArray, y: FloatArray, how: int) -> tuple[FloatArray, FloatArray]:
    if how == 0:
        mixed, places = y.copy(), rng.choice(len(y), int(0.3 * len(y)), replace=False)
        mixed[places] = rng.permutation(mixed[places])
        return x, mixed
    if how == 1:
        return x[-80:], y[-80:]
    lost = x.copy()
    best = int(np.abs(x.T @ (y - y.mean())).argmax())
    lost[:, best] = lost[0, best]
    return lost, y


def _fitted(x: FloatArray, y: FloatArray, task: Task) -> FloatArray:
    """Coefficients, the constant last, with a penalty of 1: in one step of Newton's, or in eight."""
    full = np.column_stack([x, np.ones(len(x))])
    found, ridge = np.zeros(full.shape[1]), np.eye(full.shape[1])
    for _ in range(8 if task == "binary" else 1):
        said = _means(full @ found, task)
        weight = said * (1 - said) if task == "binary" else np.ones(len(x))
        found = found - np.linalg.solve((full.T * weight) @ full + ridge, full.T @ (said - y) + found)
    return found


def _means(score: FloatArray, task: Task) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -30, 30)))) if task == "binary" else score


def _answers(found: FloatArray, x: FloatArray, task: Task) -> FloatArray:
    said = _means(x @ found[:-1] + found[-1], task)
    return np.column_stack([1 - said, said]) if task == "binary" else said


def _losses(answers: FloatArray, labels: FloatArray, task: Task) -> FloatArray:
    if task == "binary":
        return row_losses("brier", answers, labels.astype(np.int64))
    return row_losses("absolute", answers, labels)
