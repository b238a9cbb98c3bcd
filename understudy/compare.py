"""Champion against candidate, row by row, on the same rows: better, worse, or cannot tell.

Theory. On the same fresh rows d_i = loss of the champion − loss of the candidate. Pairing takes out what makes a row
easy or hard for both. Neighbouring rows depend on each other (weather, hours, customers), so the d_i are not n
independent observations; means of 20 contiguous blocks in time order nearly are. With t = mean / (sd / √20), 19 degrees
of freedom and p = P(T > t), the candidate is `better` where p < 1 − bar and `worse` where p > bar. Under exchangeable
blocks an equal model is called better with probability 1 − bar, 20 % at the default; one 5 % worse in less than 1 % of
cases with 700 rows. Nothing is promised across retrains, nor about tomorrow's drift.

The loss must be proper (it is smallest, on average, for the true probabilities) and one number per row.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from understudy.metrics import FloatArray, Labels, brier_per_row, log_loss_per_row
from understudy.policy import CannotTell, Loss
from understudy.signature import Task

Answer = Literal["better", "worse", "cannot_tell"]

BLOCKS = 20
MIN_ROWS = 100
"""Five rows in each block."""
DEFAULT_BAR = 0.8
"""Confidence needed. 0.5 suits fast drift; 0.95 where a change itself is costly, and misses half of the chances."""
SMALLEST = 0.001
"""Smallest probability that the log loss counts with: one certain and wrong row must not outweigh all others."""
SURE = 0.95
"""How surely a harm must be stopped for the record to claim that it would have been."""
POWER = 0.8
"""How surely a difference must be noticed for the record to claim that so many rows would settle it."""
ENDLESS = 10**9
"""Rows that nobody waits for."""

#: What may judge which task; the first one does where the owner names none.
LOSSES: Mapping[Task, tuple[Loss, ...]] = {
    "binary": ("brier", "log_loss"),
    "multiclass": ("brier", "log_loss"),
    "regression": ("absolute", "squared"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the rows say, and how much they could have said. Losses and gains are per row, in the loss's own unit."""

    answer: Answer
    reason: str
    n: int
    blocks: int
    candidate_loss: float | None
    champion_loss: float | None
    gain: float | None
    """Champion's loss − candidate's, mean over blocks; above 0 the candidate is better."""
    interval: tuple[float, float] | None
    """80 % interval of the gain."""
    p: float | None
    """Probability of a gain at least this large from an equal model."""
    stops: str
    """The smallest harm that would not have been promoted, as a sentence."""
    settles: str | None = None
    """Where it cannot tell: how many rows would settle a difference of this size, as a sentence."""
    settles_rows: int | None = None
    """The same as a number, of two digits that count."""

    def to_json(self) -> dict[str, Any]:
        """What came later is left out where there is nothing to say: a verdict that was reached before had none."""
        later = {"settles": self.settles, "settles_rows": self.settles_rows}
        said = {name: value for name, value in asdict(self).items() if later.get(name, 0) is not None}
        return {**said, "interval": None if self.interval is None else list(self.interval)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Comparison":
        """Raises KeyError or TypeError on anything else."""
        interval = data["interval"]
        return cls(**{**data, "interval": None if interval is None else (interval[0], interval[1])})


def row_losses(loss: Loss, outputs: FloatArray, labels: Labels) -> FloatArray:
    """The loss of each row, shape (n,).

    Args:
        outputs: shape (n, classes), probabilities in class order; or (n,) for a regression.
        labels: shape (n,), codes into the classes (-1: none of them); or numbers.
    """
    match loss:
        case "brier":
            return brier_per_row(outputs, labels)
        case "log_loss":
            return log_loss_per_row(outputs, labels, smallest=SMALLEST)
        case "absolute":
            return np.abs(outputs - labels)
        case "squared":
            return (outputs - labels) ** 2


def constant_outputs(task: Task, baseline: Mapping[str, Any], n: int) -> FloatArray:
    """What the constant predictor answers: the training rows' class shares, or their median.

    Args:
        baseline: {"shares": [...]} in class order, or {"median": ...}. Raises KeyError, TypeError or ValueError for
            anything else.
    """
    if task == "regression":
        return np.full(n, float(baseline["median"]))
    return np.tile(np.asarray(baseline["shares"], dtype=np.float64), (n, 1))


def compare(
    candidate: FloatArray, champion: FloatArray, *, bar: float = DEFAULT_BAR, cannot_tell: CannotTell = "shadow"
) -> Comparison:
    """Say whether the candidate's losses are lower than the champion's.

    Args:
        candidate, champion: shape (n,), losses of the same rows, in time order.
        bar: confidence needed for `better`, and for `worse`; 0.5 <= bar < 1.
        cannot_tell: what follows that answer; the answer does not depend on it, but what would have been stopped does.

    Raises ValueError for another bar or for rows that do not pair.
    """
    if not 0.5 <= bar < 1:
        raise ValueError(f"a bar lies in 0.5 <= bar < 1, this one is {bar}")
    if candidate.shape != champion.shape or candidate.ndim != 1:
        raise ValueError("both models must have answered the same rows")
    if len(candidate) < MIN_ROWS:
        return undecided(len(candidate), f"Too little data: {len(candidate)} rows, at least {MIN_ROWS} are needed.")
    if not (np.isfinite(candidate).all() and np.isfinite(champion).all()):
        return undecided(len(candidate), "One of the two models did not answer every row with finite numbers.")
    return _decided(candidate, champion, bar, cannot_tell)


def undecided(n: int, reason: str) -> Comparison:
    """`cannot_tell`, because there was nothing to compare."""
    return Comparison(
        answer="cannot_tell",
        reason=reason,
        n=n,
        blocks=0,
        candidate_loss=None,
        champion_loss=None,
        gain=None,
        interval=None,
        p=None,
        stops="Would have stopped every model.",
    )


def _decided(candidate: FloatArray, champion: FloatArray, bar: float, cannot_tell: CannotTell) -> Comparison:
    from scipy.special import stdtrit  # 17 MB and a quarter of a second, which a process that only serves saves

    means = block_means(champion - candidate)
    gain, error = float(means.mean()), float(means.std(ddof=1)) / BLOCKS**0.5
    equal = np.allclose(candidate, champion, rtol=1e-9, atol=1e-12)
    p = 0.5 if equal else p_of(gain, error)
    answer: Answer = "better" if p < _alpha(bar) else "worse" if p > bar else "cannot_tell"
    half = float(stdtrit(BLOCKS - 1, 0.9)) * error
    loss = float(champion.mean())
    rows = _settling(len(candidate), gain, error, bar) if answer == "cannot_tell" and not equal else None
    return Comparison(
        answer=answer,
        reason=_reason(answer, equal, gain, loss, p, bar),
        n=len(candidate),
        blocks=BLOCKS,
        candidate_loss=float(candidate.mean()),
        champion_loss=loss,
        gain=gain,
        interval=(gain - half, gain + half),
        p=p,
        stops=_stops(_harm(bar if cannot_tell == "shadow" else 1 - bar) * error, loss),
        settles=None if rows is None else _settles(rows, abs(gain), loss, len(candidate)),
        settles_rows=None if rows is None or rows > ENDLESS else rows,
    )


def block_means(values: FloatArray, blocks: int = BLOCKS) -> FloatArray:
    """Means of contiguous blocks, shape (blocks,); where the rows do not divide by that, the first have one more."""
    size, rest = divmod(len(values), blocks)
    starts = np.arange(blocks) * size + np.minimum(np.arange(blocks), rest)
    return np.add.reduceat(values, starts) / np.diff(starts, append=len(values))


def p_of(gain: float, error: float, blocks: int = BLOCKS) -> float:
    """Probability of a mean over blocks of at least `gain`, with that standard error, where the true one is 0."""
    from scipy.special import stdtr

    if error == 0:
        return 0.5 if gain == 0 else 0.0 if gain > 0 else 1.0
    return float(stdtr(blocks - 1, -gain / error))


def _alpha(bar: float) -> float:
    return round(1.0 - bar, 12)  # 1 − 0.8 is a little less than 0.2


def _harm(confidence: float) -> float:
    """Standard errors by which a model must be worse not to reach this confidence of being better, `SURE` at least.

    For the bars that there are, the normal distribution says the same as the noncentral t, within 1 %. Below 0.5, where
    what cannot be told is promoted, it would claim too much.
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    if confidence < 0.5:
        return -float(nctdtrinc(BLOCKS - 1, SURE, stdtrit(BLOCKS - 1, confidence)))
    return max(0.0, float(ndtri(SURE) - ndtri(confidence)))


def _settling(n: int, gain: float, error: float, bar: float) -> int | None:
    """Rows with which a true difference of this size would pass the bar with `POWER`; None: there is no difference.

    The standard error shrinks as the root of the rows does.
    """
    from scipy.special import ndtri

    if gain == 0 or error == 0:
        return None
    rows = n * (float(ndtri(bar) + ndtri(POWER)) * error / gain) ** 2
    return int(float(f"{min(rows, 10.0 * ENDLESS):.2g}"))


def _reason(answer: Answer, equal: bool, gain: float, loss: float, p: float, bar: float) -> str:
    if equal:
        return "The two models answer alike."
    change = f"Its loss is {size(gain, loss)} {'lower' if gain > 0 else 'higher'} than {loss:.4g}"
    limits = {
        "better": f"p = {p:.3f}, below {_alpha(bar):g}",
        "worse": f"p = {p:.3f}, above {bar:g}",
        "cannot_tell": f"p = {p:.3f}, between {_alpha(bar):g} and {bar:g}: this may be chance",
    }
    return f"{change} ({limits[answer]})."


def size(gain: float, loss: float) -> str:
    """How large a gain or harm is, in words: relative to a loss where that is above 0."""
    return f"{abs(gain) / loss:.1%}".replace("%", " %") if loss > 0 else f"{abs(gain):.3g}"


def _stops(harm: float, loss: float) -> str:
    if harm == 0:
        return "Would have stopped any worse model with 95 %."
    much = f"{100 * harm / loss:.1f} % worse" if loss > 0 else f"{harm:.3g} worse in loss per row"
    return f"Would have stopped a model ≥ {much} with 95 %."


def _settles(rows: int, gain: float, loss: float, n: int) -> str:
    if rows > ENDLESS:
        return f"No number of rows would settle so small a difference ({size(gain, loss)})."
    return (
        f"About {rows:,} rows would settle a difference of this size ({size(gain, loss)}), four times in five; "
        f"this holdout had {n:,}."
    )
