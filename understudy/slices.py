"""Slices: rows that say the same in one column. A candidate must not be worse there, however good it is on the whole.

Theory. Within a slice, as in the comparison, d_i = loss of the champion − loss of the candidate, in time order; means
of contiguous blocks; t, one-sided: p is the probability of a harm at least this large from an equal model. A slice has
few rows and Holm asks for a small p, where 19 degrees of freedom cost much. The rows of a slice mostly lie far apart in
time; so blocks of 5 rows do where neighbouring means of them do not hang together (lag-1 autocorrelation at most one
standard error of it, 1/√blocks), and otherwise 20 blocks, as in the comparison.

With m slices, each judged at 5 %, some innocent candidate would be stopped nearly always. So Holm: the p in order, the
smallest beside 5 %/m, the next beside 5 %/(m − 1), and so on until one holds. However the slices depend on each other,
a candidate that is worse in none of them is stopped in at most 5 % of cases.

Under 200 rows hardly any harm would be found: such slices are reported and not judged. Nor are those in which fewer
than 20 rows are not of the most frequent class: there a few rows decide, and t does not hold what it promises.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.compare import block_means, p_of, size
from understudy.metrics import FloatArray, Labels

FEWEST_ROWS = 200
FEWEST_OTHERS = 20
"""Rows of the rarer classes. Where the loss hangs on three rows of 300, means of blocks are no bell, and t no test."""
BLOCK_ROWS = 5
"""The fewest that a block has, here as in the comparison."""
LEVEL = 0.05
"""How often a candidate that is worse in no slice may be stopped."""
MOST_VALUES = 50
"""Values of one column that are slices of their own, those with the most rows; all the others together are one more."""
OTHERS = "others"

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """What is known of the candidate in one slice. Losses and gains are means over its rows."""

    column: str
    value: str | None
    """None: the rows that say nothing there."""
    protected: bool
    n: int
    candidate_loss: float
    champion_loss: float
    """That of the constant predictor where there is no champion."""
    gain: float
    """Champion's loss − candidate's; below 0 the candidate is worse."""
    blocks: int = 0
    p: float | None = None
    """Probability of a harm at least this large from an equal model; None: it is not judged."""
    limit: float | None = None
    """Holm's for this slice: it is harmed where this p, and every smaller one, lies at or below its limit."""
    harmed: bool = False
    reason: str

    @property
    def name(self) -> str:
        """In words: which rows these are."""
        column = f"the protected `{self.column}`" if self.protected else f"`{self.column}`"
        return f"{column} is {'null' if self.value is None else self.value}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Slice":
        """Raises TypeError on anything else."""
        return cls(**data)


def by_slice(
    candidate: FloatArray,
    champion: FloatArray,
    groups: Mapping[str, Sequence[str | None]],
    *,
    protected: Sequence[str] = (),
    judged: bool = True,
    labels: Labels | None = None,
) -> tuple[Slice, ...]:
    """Compare two models in each slice.

    Args:
        candidate, champion: shape (n,), finite losses of the same rows, in time order.
        groups: column -> what each of the n rows says in it.
        protected: the columns among these that are protected attributes.
        labels: shape (n,), the class of each row; None for a regression.
        judged: False where nothing served before, so that no slice can become worse: all are reported only.
    """
    found = [
        (_measured(column, value, rows, candidate, champion, column in protected), rows)
        for column, values in groups.items()
        for value, rows in _slices(values)
    ]
    if not judged:
        return tuple(replace(one, reason="Not judged: no champion serves these rows.") for one, _ in found)
    gains = champion - candidate
    return _holm([_tested(one, gains[rows], None if labels is None else labels[rows]) for one, rows in found])


def _slices(values: Sequence[str | None]) -> list[tuple[str | None, Places]]:
    """Each value with the places of its rows, in time order; most rows first."""
    code: dict[str | None, int] = {}
    codes = np.array([code.setdefault(value, len(code)) for value in values], dtype=np.intp)
    counts = np.bincount(codes, minlength=len(code))
    ordered = sorted(code, key=lambda value: (-counts[code[value]], value is None, value or ""))
    shown = [(value, np.flatnonzero(codes == code[value])) for value in ordered[:MOST_VALUES]]
    rest = [code[value] for value in ordered[MOST_VALUES:]]
    return [*shown, (OTHERS, np.flatnonzero(np.isin(codes, rest)))] if rest else shown


def _measured(
    column: str, value: str | None, rows: Places, candidate: FloatArray, champion: FloatArray, protected: bool
) -> Slice:
    own, other = float(candidate[rows].mean()), float(champion[rows].mean())
    return Slice(
        column=column,
        value=value,
        protected=protected,
        n=len(rows),
        candidate_loss=own,
        champion_loss=other,
        gain=other - own,
        reason=f"Not judged: {len(rows)} rows, at least {FEWEST_ROWS} are needed.",
    )


def _tested(one: Slice, gains: FloatArray, labels: Labels | None) -> Slice:
    """With its p, where it has enough rows, and enough of them are not what most of them are."""
    if one.n < FEWEST_ROWS:
        return one
    if labels is not None and (others := _rarer(labels)) < FEWEST_OTHERS:
        few = f"{others} of its rows are not of the most frequent class, at least {FEWEST_OTHERS} are needed"
        return replace(one, reason=f"Not judged: {few}.")
    means = block_means(gains, one.n // BLOCK_ROWS)
    if _hang_together(means):
        means = block_means(gains)
    harm, error, blocks = -float(means.mean()), float(means.std(ddof=1)) / len(means) ** 0.5, len(means)
    return replace(one, blocks=blocks, p=p_of(harm, error, blocks))


def _rarer(labels: Labels) -> int:
    """Rows that are not of the most frequent class."""
    return len(labels) - int(np.unique(labels, return_counts=True)[1].max())


def _hang_together(means: FloatArray) -> bool:
    """Whether neighbouring means are more alike than chance makes them."""
    centred = means - means.mean()
    return bool(np.dot(centred[1:], centred[:-1]) > np.dot(centred, centred) / len(means) ** 0.5)


def _holm(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """The same slices, those with a p with their limit and what follows from it."""
    ordered = sorted((one.p, place) for place, one in enumerate(slices) if one.p is not None)
    found, falling = list(slices), True
    for step, (p, place) in enumerate(ordered):
        limit = LEVEL / (len(ordered) - step)
        falling = falling and p <= limit
        found[place] = _judged(slices[place], p, limit, falling)
    return tuple(found)


def _judged(one: Slice, p: float, limit: float, harmed: bool) -> Slice:
    way = "lower" if one.gain > 0 else "higher"
    change = f"Its loss is {size(one.gain, one.champion_loss)} {way} than the champion's {one.champion_loss:.4g}"
    reason = f"{change} (p = {p:.2g}, {'not above ' if harmed else ''}Holm's limit {limit:.2g})."
    return replace(one, limit=limit, harmed=harmed, reason=reason)
