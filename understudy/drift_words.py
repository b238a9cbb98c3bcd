"""A report of drift in sentences, for the log, the command line and whoever reads them."""

from collections.abc import Sequence

from understudy.drift import Delay, Disagreement, Effect, Kind, Quality, Report

NAMED = 3
"""Columns that one sentence names."""
OPTIMISTIC = "It is over-optimistic once a model ages: believe a fall, and no comfort."


def reason(report: Report, kind: Kind) -> str:
    """Why a kind of drift is noticed."""
    if kind == "columns":
        moved = [one for one in report.columns if one.beyond]
        more = f" So did {len(moved) - NAMED} more." if len(moved) > NAMED else ""
        return f"What version {report.version} is asked has moved: {'; '.join(map(of_effect, moved[:NAMED]))}.{more}"
    if kind == "scores" and report.scores is not None:
        return f"What version {report.version} answers has moved: {of_effect(report.scores)}."
    assert report.quality is not None
    return f"Version {report.version}: {of_quality(report.quality)}"


def of_effect(one: Effect) -> str:
    """`temp`: 31 % of the rows lie elsewhere (24 % to 39 %), median 12 → 18."""
    what = "of the rows changed between null and not" if one.measure == "nulls" else "of the rows lie elsewhere"
    return f"`{one.name}`: {one.effect:.0%} {what} ({one.low:.0%} to {one.high:.0%}), {one.told}"


def of_quality(one: Quality) -> str:
    return (
        f"its own scores lead one to expect an accuracy of {one.now:.1%}; on its holdout they led to {one.then:.1%}, "
        f"where {one.measured:.1%} was measured. {_fall(one)} {OPTIMISTIC}"
    )


def _fall(one: Quality) -> str:
    if one.high <= 0:
        return "That is no fall."
    return f"The fall is {points(one.lost)} ({100 * one.low:.1f} to {100 * one.high:.1f})."


def of_disagreement(one: Disagreement) -> str:
    if one.relative is not None:
        return (
            f"Version {one.other} answers {one.share:.4g} otherwise on average, {one.relative:.1%} of how far the "
            "answers lie apart: no more than that can be at stake in the mean absolute error."
        )
    return (
        f"Version {one.other} answers {one.share:.1%} of the rows otherwise ({one.low:.1%} to {one.high:.1%}): at most "
        f"{points(one.high)} of accuracy are at stake between the two."
    )


def of_delay(one: Delay | None) -> str:
    """What the labels' delay means for training again."""
    if one is None or one.labels == 0:
        return "No label has come back for what was predicted: nothing here can tell whether the answers are right."
    late = one.step_s is not None and one.p90_s > one.step_s
    told = f"Nine of ten labels arrive within {span(one.p90_s)} of the prediction"
    if not late:
        return f"{told}."
    assert one.step_s is not None
    step = span(one.step_s)
    return f"{told}, and a training is due every {step}: getting them sooner is worth more than any retraining."


def of_report(report: Report) -> Sequence[str]:
    """All that is not in the table of columns."""
    found = [reason(report, kind) for kind in ("columns", "scores") if _speaks(report, kind)]
    if report.quality is not None:
        found.append(reason(report, "quality"))
    if report.disagreement is not None:
        found.append(of_disagreement(report.disagreement))
    return [*found, of_delay(report.delay)]


def _speaks(report: Report, kind: str) -> bool:
    if kind == "columns":
        return any(one.beyond for one in report.columns)
    return report.scores is not None and report.scores.beyond


def points(share: float) -> str:
    return f"{100 * share:.1f} points"


def span(seconds: float) -> str:
    """3 d, 6 h, 5 min or 20 s."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
