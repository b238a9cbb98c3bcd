"""What a policy would have made of the past: whom it would have let serve at each date, and what that would have cost.

What is trained at a date does not depend on who serves: which rows are fitted and which are held out follows from the
dates and from what was judged before. So each date is trained once, every version's answers to all later rows are kept,
and a policy only chooses among them. It does so by production's own rules: `gates.judge` on the holdout of that date,
the refit and its check, and between two verdicts the live comparison of `eprocess.follow`, with one switch at most.

    gate     the policy as it is
    never    the first version that the gate lets through serves for ever
    always   whatever is trained serves at once; neither the data check nor a gate is asked

What needs a service that runs is not asked: the trial, latency, sizes, signatures, what is limited while a
version serves, the alarm that follows where both versions are bad, and the calm after many ways back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from understudy.calm import COOL_DOWN
from understudy.case import Case, Champion
from understudy.compare import LOSSES, constant_outputs, row_losses
from understudy.eprocess import follow
from understudy.events import moment
from understudy.evidence import Evidence, OwnLosses
from understudy.gates import judge
from understudy.metrics import FloatArray, Labels
from understudy.policy import OWN, Promotion
from understudy.profile import QUANTILES, Profile
from understudy.quality import Ranges
from understudy.refit import MARGIN
from understudy.signature import Task, Value
from understudy.verdict import Name

Places = npt.NDArray[np.intp]
RowLoss = Callable[[FloatArray, Labels], FloatArray]
"""(outputs, labels) -> the loss of each row, shape (n,); NaN where there is no answer."""
Decides = Literal["gate", "never", "always"]
Trained = Literal["trained", "skipped", "refused", "failed"]
Did = Literal["promoted", "kept", "held back", "skipped", "refused", "failed", "lifted", "rolled back"]
"""Held back: trained, and not judged, since a version had just been taken back."""

NOT_ASKED: tuple[Name, ...] = ("data", "api", "trial", "signature", "holdout", "latency")
"""Gates without a question here: the data were checked before training, the holdout is fresh by construction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Past:
    """Every row that has a label by the end, in time order; a *place* is its number among them."""

    model: str
    task: Task
    classes: tuple[Value, ...] | None
    labels: Labels
    """Shape (n,): codes into `classes`, or numbers."""
    clock: npt.NDArray[np.str_] | npt.NDArray[np.int64]
    ranges: Ranges = field(default_factory=dict)
    slices: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Answers:
    """What one version says to every row from place `first` on."""

    first: int
    outputs: npt.NDArray[np.float32]
    """Shape (n − first, classes) or (n − first,); NaN where it has no answer."""

    def at(self, places: Places) -> FloatArray:
        there = places >= self.first
        found = self.outputs[np.where(there, places - self.first, 0)].astype(np.float64)
        found[~there] = np.nan
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """What one run trained, and on which rows it is judged."""

    held_out: Places
    candidate: Answers
    refit: Answers | None
    """None: nobody asked for one."""
    profile: Profile
    groups: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """What the held-out rows say in the columns that the model is judged by."""

    @property
    def newest(self) -> Answers:
        return self.refit or self.candidate


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One date at which a run was due, and what it trained."""

    at: str
    """The moment, or how many rows there were."""
    first: int
    """Place of the first row that arrived later."""
    waiting: Places
    """Places before `first` whose label had not arrived."""
    ended: Trained
    reason: str = ""
    made: Made | None = None
    """Where the run was refused, what would have been trained all the same: only `always` serves it."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A promotion policy, and by what it is decided."""

    name: str
    promotion: Promotion
    loss: RowLoss
    """By which it compares."""
    decides: Decides = "gate"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of one date, or what labels did between two."""

    at: str
    did: Did
    reason: str
    serves: str | None
    """The date of the version that serves from then on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """What one policy did with the past."""

    policy: Policy
    decisions: tuple[Decision, ...]
    losses: FloatArray
    """Shape (n − start,), of the rows after the first date; NaN where nothing served, or it had no answer."""
    outputs: FloatArray
    """What was answered to these rows."""

    def count(self, *did: Did) -> int:
        return sum(decision.did in did for decision in self.decisions)


@dataclass(frozen=True, eq=False)
class _Version:
    name: str
    answers: Answers
    judged: Answers
    """What it was judged as: the candidate, of a refit."""


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two versions that labels compare since a step."""

    serving: _Version
    other: _Version
    step: Step
    reference: FloatArray
    """Difference of both losses on the holdout, from which the comparison takes its unit."""
    switch: Did
    """What it is called when labels prefer the other."""


def serve(past: Past, steps: Sequence[Step], policy: Policy) -> Served:
    """Walk through the dates, and let `policy` say who serves.

    Raises ValueError for no step, or a loss that does not fit the task.
    """
    walk = _Walk(past, policy)
    for step in steps:
        walk.take(step)
    walk.compare_live(None)
    return walk.served(steps[0].first)


def known_loss(task: Task, name: str | None) -> RowLoss:
    """One of ours, or the task's own where none is named. Raises ValueError where it does not fit the task."""
    for known in LOSSES[task]:
        if known == (name or LOSSES[task][0]):
            return lambda outputs, labels: row_losses(known, outputs, labels)
    raise ValueError(f"the loss {name} does not fit a {task} task")


class _Walk:
    def __init__(self, past: Past, policy: Policy) -> None:
        self._past, self._policy = past, policy
        self._loss = policy.loss
        self._champion: _Version | None = None
        self._pair: _Pair | None = None
        self._last: Step | None = None
        self._back_at: str | None = None
        self._changes: list[tuple[int, _Version]] = []
        self._decisions: list[Decision] = []

    def take(self, step: Step) -> None:
        """One date."""
        self._last = step
        if self._policy.decides == "always":
            self._always(step)
        elif self._policy.decides == "never" and self._champion is not None:
            pass
        elif step.ended != "trained" or step.made is None:
            self._nothing(step)
        else:
            self.compare_live(step)
            if self._cools_down(step):
                self._note(step.at, "held back", "A version has just been taken back: nothing changes for a while.")
            else:
                self._judge(step, step.made)

    def _cools_down(self, step: Step) -> bool:
        """Whether labels took a version back just before this date, where rows have a time."""
        if self._back_at is None or self._past.clock.dtype.kind != "U":
            return False
        return moment(step.at) - moment(self._back_at) < COOL_DOWN

    def _always(self, step: Step) -> None:
        if step.made is None:
            self._nothing(step)
        else:
            newest = step.made.newest
            self._promote(step.at, step.first, _Version(step.at, newest, newest), "promoted", "Nobody asked.")

    def _judge(self, step: Step, made: Made) -> None:
        verdict = judge(self._case(step, made), without=NOT_ASKED)
        new = _Version(step.at, self._refit(made) or made.candidate, made.candidate)
        failed = [gate.name for gate in verdict.gates if not gate.passed]
        before = self._champion
        if not failed:
            self._promote(step.at, step.first, new, "promoted", verdict.comparison.reason)
            self._pair = None if before is None else self._paired(step, made, new, before, "rolled back")
            return
        self._note(step.at, "kept", " ".join(verdict.reasons))
        if failed == ["comparison"] and before is not None:
            self._pair = self._paired(step, made, before, new, "lifted")

    def _refit(self, made: Made) -> Answers | None:
        """The refit, where the policy wants one and it is not worse on the holdout, which it has seen."""
        if self._policy.promotion.refit == "off" or made.refit is None:
            return None
        own, candidate = (self._losses(one, made.held_out).mean() for one in (made.refit, made.candidate))
        return made.refit if own <= (1 + MARGIN) * candidate else None

    def _paired(self, step: Step, made: Made, serving: _Version, other: _Version, switch: Did) -> _Pair:
        """A pair that labels compare from `step` on; the holdout knows the new one by its candidate."""
        known = [one.judged if one.name == step.at else one.answers for one in (serving, other)]
        mine, others = (self._losses(one, made.held_out) for one in known)
        return _Pair(serving, other, step, mine - others, switch)

    def compare_live(self, until: Step | None) -> None:
        """Let the labels that came since the pair was formed speak; None: all that there are."""
        pair = self._pair
        if pair is None or self._policy.decides != "gate":
            return
        rows = _labelled_between(pair.step, until, len(self._past.labels))
        gains = self._losses(pair.serving.answers, rows) - self._losses(pair.other.answers, rows)
        crossed = follow(pair.reference, gains).crossed
        if crossed is None:
            return
        late = until or self._last or pair.step
        end = len(self._past.labels) if until is None else until.first
        place = min(max(pair.step.first, int(rows[crossed - 1]) + 1 + len(late.waiting)), end)
        self._pair = None
        at = str(self._past.clock[min(place, len(self._past.clock) - 1)])
        self._promote(at, place, pair.other, pair.switch, f"After {crossed} rows their labels preferred it.")

    def _promote(self, at: str, place: int, version: _Version, did: Did, reason: str) -> None:
        self._champion, self._back_at = version, at if did == "rolled back" else None
        self._changes.append((place, version))
        self._note(at, did, reason)

    def _nothing(self, step: Step) -> None:
        self._note(step.at, "failed" if step.ended == "trained" else step.ended, step.reason)

    def _note(self, at: str, did: Did, reason: str) -> None:
        serves = None if self._champion is None else self._champion.name
        self._decisions.append(Decision(at=at, did=did, reason=reason, serves=serves))

    def _losses(self, answers: Answers, places: Places) -> FloatArray:
        return self._loss(answers.at(places), self._past.labels[places])

    def _case(self, step: Step, made: Made) -> Case:
        past, held_out, promotion = self._past, made.held_out, self._policy.promotion
        champion = self._champion
        name = None if champion is None else f"{champion.name}, serving"
        evidence = Evidence(
            model=past.model,
            candidate=step.at,
            champion=name,
            task=past.task,
            classes=past.classes,
            clock=tuple(past.clock[held_out].tolist()),
            rows=tuple(map(str, held_out.tolist())),
            labels=past.labels[held_out],
            candidate_out=made.candidate.at(held_out),
            champion_out=None if champion is None else champion.answers.at(held_out),
            times_measured="",
            profile="",
            groups=made.groups,
            own=self._own(made),
        )
        return Case(
            policy=promotion.to_json(),
            ranges=past.ranges,
            digest=step.at,
            size=0,
            manifest={},
            champion=None if name is None else Champion(version=name, digest=name, manifest={}),
            trial=None,
            environment="",
            evidence=evidence,
            evidence_age_s=0.0,
            profile=made.profile,
            reference=None,
            judged_until=None,
            api=None,
            slices=past.slices,
            protected=past.protected,
        )

    def _own(self, made: Made) -> OwnLosses | None:
        """The losses by the owner's function, as a run writes them into its evidence."""
        name, labels = self._policy.promotion.loss_name, self._past.labels[made.held_out]
        if name is None or not name.startswith(OWN):
            return None
        constant = constant_outputs(self._past.task, _baseline(self._past, made.profile), len(labels))
        return OwnLosses(
            name=name.removeprefix(OWN),
            candidate=self._losses(made.candidate, made.held_out),
            champion=None if self._champion is None else self._losses(self._champion.answers, made.held_out),
            constant=self._loss(constant, labels),
        )

    def served(self, start: int) -> Served:
        """Put together who answered which row."""
        n = len(self._past.labels)
        width = () if self._past.classes is None else (len(self._past.classes),)
        outputs = np.full((n - start, *width), np.nan)
        ends = [*(place for place, _ in self._changes[1:]), n][: len(self._changes)]
        for (place, version), end in zip(self._changes, ends, strict=True):
            outputs[place - start : end - start] = version.answers.at(np.arange(place, end))
        losses = np.full(n - start, np.nan)
        there = np.isfinite(outputs) if outputs.ndim == 1 else np.isfinite(outputs).all(axis=1)
        losses[there] = self._loss(outputs[there], self._past.labels[start:][there])
        return Served(policy=self._policy, decisions=tuple(self._decisions), losses=losses, outputs=outputs)


def _baseline(past: Past, profile: Profile) -> dict[str, object]:
    """What the constant predictor knows of the fitted rows."""
    label = (profile.fitted or profile.whole).label
    if label.quantiles is not None:
        return {"median": label.quantiles[QUANTILES // 2]}
    counts = [(label.counts or {}).get(str(name), 0) for name in past.classes or ()]
    return {"shares": [count / max(1, sum(counts)) for count in counts]}


def _labelled_between(since: Step, until: Step | None, n: int) -> Places:
    """Places of the rows that were predicted after one step and whose label arrived by another, in their order."""
    end, waiting = (n, np.empty(0, dtype=np.intp)) if until is None else (until.first, until.waiting)
    return np.setdiff1d(np.arange(since.first, end), waiting)
