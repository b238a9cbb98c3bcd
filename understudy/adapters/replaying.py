"""Dates of the past, each trained once: as of that date, by the recipe, and asked about all later rows.

Everything that was found out is kept in a cache, so that a second policy trains nothing, and a replay that was stopped
goes on where it was. Estimators answer themselves here and not through their ONNX form, which answers alike.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from understudy import quality
from understudy.adapters import recipe, training
from understudy.adapters.groups import groups
from understudy.adapters.past import Known
from understudy.adapters.recipe import Inputs, Rows
from understudy.adapters.replay_cache import Arrays, ReplayCache, key_of
from understudy.adapters.snapshot import Snapshot
from understudy.errors import BadDefinition, DataRefused, UnderstudyError
from understudy.evidence import Clock
from understudy.fingerprint import digest_of
from understudy.profile import Profile
from understudy.replay import Answers, Made, Places, Step, Trained
from understudy.spans import Span

MOST_TRIES = 2_000
"""Calls of a model that raises on some rows, after which the rest of them count as unanswered."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is looked at, and how much of it is held out."""

    window: Span | None = None
    """Only rows as new as this are fitted and judged by; None: all."""
    held_out: int | None = None
    """Rows; None: the newest half of what has arrived, at least 100 and at most 1,000."""
    refits: bool = True

    def to_json(self) -> list[Any]:
        return [None if self.window is None else str(self.window), self.held_out]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a date before anything is trained; kept in the cache."""

    ended: Trained
    reason: str = ""
    first: int
    waiting: list[int] = field(default_factory=list)
    held_out: list[int] = field(default_factory=list)
    groups: dict[str, list[str | None]] = field(default_factory=dict)
    profile: str | None = None
    data: str = ""
    cut: Clock = 0
    end: Clock = 0
    """Clock of the last row that is held out."""

    @property
    def asked_from(self) -> int:
        """Place of the first row that its versions are asked about."""
        return min([*self.held_out, *self.waiting, self.first])


class Replaying:
    """Walks through dates with one recipe."""

    def __init__(self, known: Known, cache: ReplayCache, recipe: Recipe, *, tick: Callable[[], None]) -> None:
        self._known, self._cache, self._recipe, self._tick = known, cache, recipe, tick
        self._libraries = training.libraries()
        self.fits = 0
        """Trainings that were not in the cache."""

    def steps(self, dates: Sequence[Clock]) -> list[Step]:
        """What was trained at each date. `tick` is called after each."""
        found: list[Step] = []
        after: Clock | None = None
        reference: str | None = None
        for date in dates:
            step, facts = self._step(date, after, reference)
            if step.ended == "trained":
                after, reference = facts.end, facts.profile
            found.append(step)
            self._tick()
        return found

    def _step(self, date: Clock, after: Clock | None, reference: str | None) -> tuple[Step, Facts]:
        key = self._key("date", self._recipe.to_json(), date, after, reference and digest_of(reference.encode()))
        kept, opened = self._cache.get(key), _Opened(self._known, self._recipe, date, after)
        if kept is None:
            facts = self._facts(opened, reference)
            self._cache.put(key, {"facts": _packed(asdict(facts))})
        else:
            facts = Facts(**_unpacked(kept["facts"]))
        return self._trained(opened, facts), facts

    def _trained(self, opened: "_Opened", facts: Facts) -> Step:
        """Train what the facts call for; what cannot be trained is a run that failed."""
        made, ended, reason = None, facts.ended, facts.reason
        if facts.held_out and facts.profile is not None:
            candidate = self._fit(opened, facts, everything=False)
            refit = self._fit(opened, facts, everything=True) if self._recipe.refits else None
            if isinstance(candidate, str):
                ended, reason = ("failed", candidate) if ended == "trained" else (ended, reason)
            else:
                made = Made(
                    held_out=np.array(facts.held_out, dtype=np.intp),
                    candidate=candidate,
                    refit=None if isinstance(refit, str) else refit,
                    profile=Profile.parse(facts.profile.encode()),
                    groups=facts.groups,
                )
        waiting = np.array(facts.waiting, dtype=np.intp)
        return Step(at=opened.shown, first=facts.first, waiting=waiting, ended=ended, reason=reason, made=made)

    def _facts(self, opened: "_Opened", reference: str | None) -> Facts:
        first = int(np.searchsorted(self._known.clock, opened.date, side="right"))
        try:
            return opened.facts(first, None if reference is None else Profile.parse(reference.encode()))
        except DataRefused as error:
            return Facts(ended="refused", reason=str(error), first=first)
        except UnderstudyError as error:
            return Facts(ended="failed", reason=str(error), first=first)

    def _fit(self, opened: "_Opened", facts: Facts, *, everything: bool) -> Answers | str:
        """What the candidate, or its refit on everything, says to all later rows; or why there is none."""
        first = facts.asked_from
        key = self._key("fit", facts.data, facts.cut, everything, first)
        kept = self._cache.get(key)
        if kept is None:
            self.fits += 1
            kept = self._answers(opened, facts, everything)
            self._cache.put(key, kept)
        return _unpacked(kept["failed"])["reason"] if "failed" in kept else Answers(first, kept["outputs"])

    def _answers(self, opened: "_Opened", facts: Facts, everything: bool) -> Arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hundred fits would say the same a hundred times
            try:
                model, features = opened.fit(facts, self._known.source, everything=everything)
                return {"outputs": _ask(self._known, model, features, facts.asked_from)}
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - estimators may raise anything; such a run would fail
                words = " ".join(str(error).split())[:300]
                return {"failed": _packed({"reason": f"Training raised {type(error).__name__}: {words}"})}

    def _key(self, *decides: Any) -> str:
        return key_of(self._known.digest, self._known.source, self._libraries, *decides)


class _Opened:
    """A date, whose data are asked for when they are needed, and then once."""

    def __init__(self, known: Known, recipe: Recipe, date: Clock, after: Clock | None) -> None:
        self._known, self._recipe, self.date, self._after = known, recipe, date, after
        self._taken: tuple[bytes, Snapshot, int] | None = None

    @property
    def shown(self) -> str:
        return f"{self.date + 1} rows" if isinstance(self.date, int) else self.date

    def _data(self) -> tuple[bytes, Snapshot, int]:
        if self._taken is None:
            self._taken = self._known.at(self.date, self._recipe.window)
        return self._taken

    def facts(self, first: int, reference: Profile | None) -> Facts:
        """Raises DataRefused, SourceFailed, BadDefinition."""
        data, taken, future = self._data()
        places = self._known.places(taken.frame)
        waiting = _waiting(places[taken.mature], first)
        new = recipe.fresh(taken, self._after)
        if self._after is not None and new < recipe.FEWEST_HELD_OUT:
            few = f"{new} new rows with a label; {recipe.FEWEST_HELD_OUT} are needed to judge by."
            return Facts(ended="skipped", reason=few, first=first, waiting=waiting)
        cut = self._cut(taken)
        rows = recipe.divide(self._known.model, taken, cut)
        held_out = places[rows.held_out]
        order = np.argsort(held_out)[int((held_out < 0).sum()) :]
        if len(order) < recipe.FEWEST_HELD_OUT:
            raise DataRefused(
                f"Only {len(order)} of {len(held_out)} held-out rows are found again in the data as they are now.",
                remedy="Name the column that identifies a row: `key=`.",
            )
        profile = recipe.profile(self._known.model, rows, reference=reference, future=future)
        findings = quality.check(profile, reference, self._known.model.ranges)
        said = groups(self._known.model, rows)
        return Facts(
            ended="refused" if findings else "trained",
            reason=" ".join(finding.reason for finding in findings),
            first=first,
            waiting=waiting,
            held_out=held_out[order].tolist(),
            groups={column: [values[place] for place in order] for column, values in said.items()},
            profile=profile.encode().decode(),
            data=digest_of(data),
            cut=cut,
            end=recipe.as_clock(taken.clock[rows.held_out[-1]]),
        )

    def _cut(self, taken: Snapshot) -> Clock:
        if self._recipe.held_out is None:
            return recipe.choose_cut(taken, self._after)
        clock = taken.mature_clock
        most = len(clock) if self._after is None else recipe.fresh(taken, self._after)
        first = len(clock) - min(self._recipe.held_out, most)
        first = int(np.searchsorted(clock, clock[first])) if first > 0 else 0  # rows of one moment stay together
        if first < recipe.FEWEST_FITTED:
            raise DataRefused(
                f"Only {first} rows would be left to fit, of {len(clock)} with a label.",
                remedy="Hold fewer rows out, or begin later.",
            )
        return recipe.as_clock(clock[first - 1])

    def fit(self, facts: Facts, source: str, *, everything: bool) -> tuple[Any, pd.DataFrame]:
        """The fitted estimator, and the features it was fitted on."""
        _, taken, _ = self._data()
        model = self._known.model
        rows = recipe.divide(model, taken, facts.cut)
        places = taken.mature if everything else rows.fitted
        inputs = Inputs(source=source, data=facts.data, params={}, cut=facts.cut)
        return _fitted(rows, places, self._known, inputs)


def _fitted(rows: Rows, places: Places, known: Known, inputs: Inputs) -> tuple[Any, pd.DataFrame]:
    features = rows.features.iloc[places]
    labels = rows.labels(known.model, places)
    return training.fit(known.model.estimator, features, labels, seed=inputs.seed), features


def _waiting(places: Places, first: int) -> list[int]:
    """Places before `first` that are not among these, from the first of these on: older rows are out of the window."""
    there = places[(places >= 0) & (places < first)]
    if not len(there):
        return []
    found: list[int] = np.setdiff1d(np.arange(there.min(), first), there).tolist()
    return found


def _ask(known: Known, model: Any, fitted: pd.DataFrame, first: int) -> "np.ndarray[Any, Any]":
    """What a fitted estimator says to the rows from `first` on: shape (n, classes) or (n,), float32."""
    classes = known.past.classes
    if classes is not None and not hasattr(model, "predict_proba"):
        raise BadDefinition(
            f"{type(model).__name__} gives no probabilities, so it cannot be compared with another version.",
            remedy="Wrap it: CalibratedClassifierCV(estimator).",
        )
    asked = known.features(list(fitted.columns)).iloc[first:]
    outputs = np.full((len(asked), *(() if classes is None else (len(classes),))), np.nan, dtype=np.float32)
    texts = [types.is_string_dtype(frame.dtypes[name]) for frame in (fitted, asked) for name in fitted.columns]
    if len(asked) and texts[: len(fitted.columns)] == texts[len(fitted.columns) :]:
        _fill(outputs, lambda rows: _said(model, asked.iloc[rows], classes))
    return outputs


def _said(model: Any, asked: pd.DataFrame, classes: Sequence[Any] | None) -> "np.ndarray[Any, Any]":
    if classes is None:
        return np.asarray(model.predict(asked), dtype=np.float64).reshape(len(asked))
    given = np.asarray(model.predict_proba(asked), dtype=np.float64)
    said = np.zeros((len(asked), len(classes)))
    place = {label: i for i, label in enumerate(classes)}
    for column, label in enumerate(np.asarray(model.classes_).tolist()):
        if label in place:
            said[:, place[label]] = given[:, column]
    return said


def _fill(outputs: "np.ndarray[Any, Any]", ask: Callable[[slice], "np.ndarray[Any, Any]"]) -> None:
    """Ask about all rows at once; where that raises, about ever smaller parts, until the rows that it cannot answer."""
    waiting, tries = [(0, len(outputs))], 0
    while waiting and tries < MOST_TRIES:
        begin, end = waiting.pop()
        tries += 1
        try:
            outputs[begin:end] = ask(slice(begin, end))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - a request with such a row would get no answer
            middle = (begin + end) // 2
            waiting += [(middle, end), (begin, middle)] if end - begin > 1 else []


def _packed(value: Any) -> "np.ndarray[Any, Any]":
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def _unpacked(array: "np.ndarray[Any, Any]") -> Any:
    return json.loads(array.tobytes())
