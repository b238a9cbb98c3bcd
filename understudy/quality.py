"""Is this data fit to train on? Judged before training, and again in the verdict, against the last accepted snapshot.

A snapshot is accepted when its check finds nothing. Newly arrived rows are judged on their own, and so are those of
them that are fitted. Without a reference only what needs none is judged. The limits were set so that honest retrains of
three drifting streams are (almost) never refused.

    schema     the same columns, of the same kinds (integers are numbers), and still classes or still a number
    rows       at least 100 with a label, and not less than half of the last snapshot
    nulls      no column that is null everywhere; no jump of a column's share of nulls
    stuck      no column that varied and now says one thing in all new rows
    label      it varies; no class came or went, unless it is rare; no jump of its distribution
    clock      no labelled row from the future; no jump of repeated times
    range      nothing outside what the owner declared
    leak       no column that orders the label (almost) perfectly and did not before
    swapped    no two columns that changed places
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.profile import ColumnProfile, LabelProfile, Part, Profile
from understudy.signature import ColumnKind
from understudy.swapped import MARGIN, swapped

Check = Literal["schema", "rows", "nulls", "stuck", "label", "clock", "range", "leak", "swapped"]
Ranges = Mapping[str, Sequence[float | None]]
"""Column -> lowest and highest possible value; None: open."""

REMEDY = "Look at the source; once it is right, the next run starts from it. A changed definition starts afresh."

FEWEST_ROWS = 100
SMALLEST_SHARE = 0.5
"""Of the last snapshot's rows."""
ENOUGH = 50
"""New rows, below which their shares say nothing."""
EXPECTED = 20
"""Rows of the rarer classes, at least, that would be expected where none came."""
FEWEST_OF_CLASS = 5
SMALLEST_CLASS = 0.01
"""Of the rows among which a class came (the new ones) or went (the last snapshot's): a rarer one may do so unnoticed,
or one odd row would refuse the data for ever."""
NULL_JUMP = 0.2
REPEAT_JUMP = 0.2
LABEL_JUMP = 0.3
"""Total variation between the new rows' classes and the last snapshot's."""
LABEL_SHIFT = 1.5
"""Interquartile ranges that the median of a regression's label may move."""
LEAK = 0.99
"""AUC or |rank correlation| of one column alone. Honest columns may reach it in a calm week, so few rows need more."""
LEAK_OF_FEW = 0.9995
MANY = 500
VARIED = 20
"""Different quantiles of 101, at least, of a column that is expected to go on varying."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that the data must not be trained on for."""

    check: Check
    column: str | None
    observed: float | str
    limit: float | str
    reason: str
    """A sentence that names the column and both numbers."""


def check(profile: Profile, reference: Profile | None, ranges: Ranges) -> tuple[Finding, ...]:
    """Everything that is wrong with a snapshot; empty where it may be trained on.

    Args:
        reference: profile of the last accepted snapshot under the same definition; None where there is none.
        ranges: what the owner declared.
    """
    found = [
        *_rows(profile, reference),
        *_nulls(profile),
        *_label(profile),
        *_ranges(profile, ranges),
        *_future(profile),
    ]
    if reference is not None:
        schema = [*_schema(profile, reference)]
        found += schema or _against(profile, reference)
    return tuple(found)


def _against(profile: Profile, reference: Profile) -> list[Finding]:
    then = [reference.whole, *([reference.new] if reference.new and reference.new.rows >= FEWEST_ROWS else [])]
    found = [*_classes(profile, reference), *_leaks(profile, reference), *_swaps(profile, then)]
    parts = ((profile.new, "new rows"), (profile.new_fitted, "new rows to fit"), (profile.fitted, "rows to fit"))
    for part, rows in parts:
        if part is not None and part.rows >= ENOUGH:
            found += [*_null_jumps(part, then, rows), *_stuck(part, then, rows), *_repeats(part, then, rows)]
            found += [*_label_stuck(part, then, rows), *_label_jump(part, then, rows)]
    return _once(found)


def _once(found: list[Finding]) -> list[Finding]:
    """The first finding of each check and column: new rows and those of them that are fitted often say the same."""
    first: dict[tuple[Check, str | None], Finding] = {}
    for finding in found:
        first.setdefault((finding.check, finding.column), finding)
    return [*first.values()]


def _rows(profile: Profile, reference: Profile | None) -> Iterator[Finding]:
    rows = profile.whole.rows
    least = FEWEST_ROWS if reference is None else max(FEWEST_ROWS, int(reference.whole.rows * SMALLEST_SHARE))
    if rows < least:
        then = "" if reference is None else f" The last accepted snapshot had {reference.whole.rows}."
        reason = f"There are {rows} rows with a label, at least {least} are needed.{then}"
        yield Finding(check="rows", column=None, observed=rows, limit=least, reason=reason)


def _schema(profile: Profile, reference: Profile) -> Iterator[Finding]:
    def finding(column: str | None, observed: str, limit: str, reason: str) -> Finding:
        return Finding(check="schema", column=column, observed=observed, limit=limit, reason=reason)

    now, then = profile.whole.columns, reference.whole.columns
    for name in sorted(then.keys() - now.keys()):
        yield finding(name, "absent", then[name].kind, f"The column `{name}` is gone.")
    for name in sorted(now.keys() - then.keys()):
        yield finding(name, now[name].kind, "absent", f"The column `{name}` is new.")
    for name in sorted(now.keys() & then.keys()):
        if _sort(now[name].kind) != _sort(then[name].kind):
            reason = f"The column `{name}` was of kind {then[name].kind} and now is {now[name].kind}."
            yield finding(name, now[name].kind, then[name].kind, reason)
    if (profile.task == "regression") != (reference.task == "regression"):
        yield finding(None, profile.task, reference.task, f"The task was {reference.task} and now is {profile.task}.")


def _sort(kind: ColumnKind) -> str:
    """Integers turn into numbers with their first null, and back when it is gone: neither is another schema."""
    return "number" if kind == "integer" else kind


def _nulls(profile: Profile) -> Iterator[Finding]:
    for name, column in profile.whole.columns.items():
        if column.null_share == 1.0:
            reason = f"The column `{name}` is null in every row."
            yield Finding(check="nulls", column=name, observed=1.0, limit="below 1", reason=reason)


def _null_jumps(part: Part, then: Sequence[Part], rows: str) -> Iterator[Finding]:
    for name, column in part.columns.items():
        before = max(one.columns[name].null_share for one in then)
        if column.null_share > before + NULL_JUMP:
            reason = f"`{name}` is null in {_percent(column.null_share)} of the {rows}, before in {_percent(before)}."
            yield Finding(
                check="nulls", column=name, observed=column.null_share, limit=before + NULL_JUMP, reason=reason
            )


def _stuck(part: Part, then: Sequence[Part], rows: str) -> Iterator[Finding]:
    for name, column in part.columns.items():
        varied = all(_different(one.columns[name]) >= VARIED for one in then)
        if varied and _different(column) == 1 and column.null_share < 1.0:
            reason = f"`{name}` says {column.low:g} in all {part.rows} {rows}, and varied before."
            yield Finding(check="stuck", column=name, observed=1, limit=2, reason=reason)


def _different(column: ColumnProfile) -> int:
    return len(set(column.quantiles or []))


def _label(profile: Profile) -> Iterator[Finding]:
    for part, rows in ((profile.whole, "rows"), (profile.fitted, "rows to fit")):
        if part is not None and not _varies(part.label):
            reason = f"The label says the same in all {part.rows} {rows}: there is nothing to learn."
            yield Finding(check="label", column=None, observed=1, limit=2, reason=reason)
            return


def _varies(label: LabelProfile) -> bool:
    values: Sequence[Any] = [*label.counts] if label.counts is not None else label.quantiles or []
    return len(set(values)) > 1


def _classes(profile: Profile, reference: Profile) -> Iterator[Finding]:
    now, then = profile.whole.label.counts or {}, reference.whole.label.counts or {}
    arrived = profile.whole.rows if profile.new is None else profile.new.rows
    for name in sorted(now.keys() - then.keys()):
        if _is_common(now[name], arrived):
            reason = f"The class `{name}` was never seen before, and {now[name]} rows have it."
            yield Finding(check="label", column=None, observed="present", limit="absent", reason=reason)
    for name in sorted(then.keys() - now.keys()):
        if _is_common(then[name], reference.whole.rows):
            reason = f"The class `{name}` is gone; {then[name]} rows had it."
            yield Finding(check="label", column=None, observed="absent", limit="present", reason=reason)


def _is_common(rows: int, among: int) -> bool:
    return rows >= FEWEST_OF_CLASS and rows >= SMALLEST_CLASS * among


def _label_stuck(part: Part, then: Sequence[Part], rows: str) -> Iterator[Finding]:
    if not _varies(part.label) and all(_should_vary(part.rows, one.label) for one in then):
        reason = f"The label says the same in all {part.rows} {rows}, and varied before."
        yield Finding(check="label", column=None, observed=1, limit=2, reason=reason)


def _should_vary(rows: int, then: LabelProfile) -> bool:
    """Could `rows` rows hardly say the same by chance?"""
    if then.counts is None:
        return then.quantiles is not None and then.quantiles[25] < then.quantiles[75]
    return rows * (1 - max(then.counts.values()) / sum(then.counts.values())) >= EXPECTED


def _label_jump(part: Part, then: Sequence[Part], rows: str) -> Iterator[Finding]:
    if part.label.counts is not None:
        moved = min(_class_variation(part.label, one.label) for one in then)
        limit, what = (
            LABEL_JUMP,
            f"The classes of the {rows} lie {moved:.2f} from the last snapshot's (total variation)",
        )
    else:
        moved = min(_shift(part.label, one.label) for one in then)
        limit, what = LABEL_SHIFT, f"The median label of the {rows} moved by {moved:.1f} interquartile ranges"
    if moved > limit:
        reason = f"{what}; at most {limit:g} is believed."
        yield Finding(check="label", column=None, observed=moved, limit=limit, reason=reason)


def _class_variation(now: LabelProfile, then: LabelProfile) -> float:
    a, b = now.counts or {}, then.counts or {}
    rows_a, rows_b = sum(a.values()), sum(b.values())
    return sum(abs(a.get(name, 0) / rows_a - b.get(name, 0) / rows_b) for name in {*a, *b}) / 2


def _shift(now: LabelProfile, then: LabelProfile) -> float:
    a, b = now.quantiles or [0.0] * 101, then.quantiles or [0.0] * 101
    spread = b[75] - b[25] or b[100] - b[0]
    return abs(a[50] - b[50]) / spread if spread else float(a[50] != b[50]) * 2 * LABEL_SHIFT


def _future(profile: Profile) -> Iterator[Finding]:
    if profile.future:
        reason = (
            f"{profile.future} rows with a label are dated in the future: check the source's clock and its time zone."
        )
        yield Finding(check="clock", column=None, observed=profile.future, limit=0, reason=reason)


def _repeats(part: Part, then: Sequence[Part], rows: str) -> Iterator[Finding]:
    before = max(one.duplicates for one in then)
    if part.duplicates > before + REPEAT_JUMP:
        reason = f"{_percent(part.duplicates)} of the {rows} repeat the time of another, before {_percent(before)}."
        yield Finding(check="clock", column=None, observed=part.duplicates, limit=before + REPEAT_JUMP, reason=reason)


def _ranges(profile: Profile, ranges: Ranges) -> Iterator[Finding]:
    for name, (low, high) in ranges.items():
        column = profile.whole.columns.get(name)
        for value in [] if column is None else [column.low, column.high]:
            if value is not None and not ((low is None or low <= value) and (high is None or value <= high)):
                limit = f"{'' if low is None else f'{low:g}'}…{'' if high is None else f'{high:g}'}"
                reason = f"`{name}` holds {value:g}, outside its declared range {limit}."
                yield Finding(check="range", column=name, observed=value, limit=limit, reason=reason)


def _leaks(profile: Profile, reference: Profile) -> Iterator[Finding]:
    then = (reference.whole, reference.fitted, reference.new, reference.new_fitted)
    for name in profile.whole.columns:
        before = max((_association(name, part) for part in then if part is not None), default=0.0)
        for part in (profile.whole, profile.fitted, profile.new, profile.new_fitted):
            now, limit = _association(name, part), LEAK if part and part.rows >= MANY else LEAK_OF_FEW
            if now >= limit and before < LEAK and 1 - now <= (1 - before) / 2:
                problem = f"`{name}` alone orders the label ({now:.3f} of 1, before {before:.3f})"
                reason = f"{problem}: it seems to be known only afterwards."
                yield Finding(check="leak", column=name, observed=now, limit=limit, reason=reason)


def suspicious(profile: Profile) -> tuple[str, ...]:
    """Columns that order the label (almost) perfectly: no finding where there is no reference, but worth a word."""
    return tuple(name for name in profile.whole.columns if _association(name, profile.whole) >= LEAK)


def _association(name: str, part: Part | None) -> float:
    column = None if part is None else part.columns.get(name)
    return 0.0 if column is None or column.association is None else column.association


def _swaps(profile: Profile, then: Sequence[Part]) -> Iterator[Finding]:
    parts = ((profile.new_fitted, "new rows to fit"), (profile.new, "new rows"), (profile.fitted, "rows to fit"))
    for part, rows in parts:
        for a, b, nearer in [] if part is None else swapped(part, then):
            reason = f"In the {rows} `{a}` looks as `{b}` did before, and `{b}` as `{a}`: have they changed places?"
            yield Finding(check="swapped", column=f"{a}, {b}", observed=nearer, limit=MARGIN, reason=reason)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
