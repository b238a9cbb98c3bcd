"""Watching a champion without labels: what it is asked, and what it answers, against its training and its holdout.

    columns        each against the profile of the training, values and nulls (`understudy/shift.py`)
    scores         Kolmogorov's distance of today's answers to those on the holdout
    quality        the accuracy that calibrated scores lead one to expect (`understudy/calibration.py`)
    disagreement   how often the version in shadow would have answered otherwise: the most that is at stake between them

The first three are *beyond* where the lower end of the interval is above a threshold: a tenth of the rows for values
and scores, a twentieth for nulls, two points of accuracy. What the champion has coped with is no news, so the threshold
of a column is raised to the distance that the newest rows of its own training had from all of them. Seasons ring less
often for it, but slow ones still do: `docs/decisions/0035-watching-without-labels.md` says how often. The owner is
told once for a version and kind of drift, until it has calmed: no effect above its threshold.

All of this warns, and may ask for a training. It promotes nothing: where the data have moved says nothing of who is
better there.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from understudy.errors import BadInput
from understudy.signature import ColumnKind

Kind = Literal["columns", "scores", "quality"]
Measure = Literal["values", "nulls", "scores"]

THRESHOLDS: Mapping[Measure, float] = {"values": 0.1, "nulls": 0.05, "scores": 0.1}
LOST = 0.02
"""Accuracy that is expected to be lost."""
MOST_IN_EVENT = 20

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Text = Annotated[str, msgspec.Meta(max_length=300)]
MOST_COLUMNS = 10_000


class Effect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measure of one column, or of the answers."""

    name: Text
    """The column; for answers the class whose probability it is, or the target."""
    measure: Measure
    kind: ColumnKind
    effect: Share
    low: Share
    high: Share
    usual: Share
    """Between the newest rows of the training and all of them; 0.0 where there were no others."""
    rows: int
    effective: float
    """Independent rows that would tell as much."""
    told: Text
    """What it was and what it is, for people."""

    @property
    def threshold(self) -> float:
        return max(THRESHOLDS[self.measure], self.usual)

    @property
    def beyond(self) -> bool:
        return self.low > self.threshold


class Quality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracies: expected now, expected on the holdout by the same estimate, and measured there."""

    now: float
    then: float
    measured: float
    lost: float
    low: float
    high: float
    """Of what is lost, with a 90 % interval."""
    rows: int

    @property
    def beyond(self) -> bool:
        return self.low > LOST


class Disagreement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two versions on the same recent rows."""

    other: Text
    share: float
    """Of rows with another class; of a regression, the mean distance of both answers."""
    low: float
    high: float
    relative: float | None
    """Of a regression: that distance as a share of how far the champion's answers lie from their mean."""
    rows: int


class Delay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When labels come back, in seconds after the prediction, beside the time between two trainings."""

    labels: int
    p50_s: float
    p90_s: float
    step_s: float | None
    """None: there is no time between two trainings."""


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One look at the recent rows of one version."""

    format: Literal[1] = 1
    version: Text
    rows: int
    since: Text | None
    until: Text | None
    """Times of the first and the last row."""
    columns: Annotated[list[Effect], msgspec.Meta(max_length=MOST_COLUMNS)]
    unmeasured: dict[Text, Text]
    """Column, `scores`, `quality` or `disagreement` -> why nothing is said of it."""
    scores: Effect | None
    quality: Quality | None
    disagreement: Disagreement | None
    delay: Delay | None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """Raises BadInput."""
        try:
            return msgspec.convert(data, cls)
        except msgspec.MsgspecError as error:
            raise BadInput(
                f"This is no report of drift: {str(error)[:200]}.", remedy="Send what `drift.Report.to_json` writes."
            ) from error


def beyond(report: Report) -> frozenset[Kind]:
    """The kinds of drift that are there beyond doubt."""
    found: dict[Kind, bool] = {
        "columns": any(effect.beyond for effect in report.columns),
        "scores": report.scores is not None and report.scores.beyond,
        "quality": report.quality is not None and report.quality.beyond,
    }
    return frozenset(kind for kind, there in found.items() if there)


def restless(report: Report) -> frozenset[Kind]:
    """The kinds of drift that have not calmed: what was noticed stays so until it is below its threshold."""
    found: dict[Kind, bool] = {
        "columns": any(effect.effect > effect.threshold for effect in report.columns),
        "scores": report.scores is not None and report.scores.effect > report.scores.threshold,
        "quality": report.quality is not None and report.quality.lost > LOST,
    }
    return frozenset(kind for kind, there in found.items() if there)


def settle(report: Report, noticed: Iterable[Kind]) -> tuple[frozenset[Kind], frozenset[Kind]]:
    """What is news, and what has been noticed from now on; `noticed`: what was, of the same version."""
    there, before = beyond(report), frozenset(noticed)
    return there - before, there | (before & restless(report))


def excerpt(report: Report, kind: Kind) -> dict[str, Any]:
    """What the log keeps of a report: the measures that crossed."""
    columns = sorted((one for one in report.columns if one.beyond), key=lambda one: one.threshold - one.low)
    return {
        **{name: getattr(report, name) for name in ("rows", "since", "until")},
        "kind": kind,
        "columns": msgspec.to_builtins(columns[:MOST_IN_EVENT]) if kind == "columns" else [],
        "scores": msgspec.to_builtins(report.scores) if kind == "scores" else None,
        "quality": msgspec.to_builtins(report.quality) if kind == "quality" else None,
    }
