"""Gates that prove they can fail: an honest candidate must pass them, and each sabotage of it must be stopped.

A gate that has never refused anything may be a gate that cannot. So a suite of cases is made from one model's own rows
and judged by its own policy. In each of them one thing is wrong, and as far as the policy allows it is wrong for one
gate alone: whatever the others look at is in order. A suite whose honest candidate is refused would prove nothing, for
then everything is; that one is the control.

    control      an honest candidate, against a champion that learnt from shuffled labels
    data … api   the same case with one fact changed
    sanity, floors, slices, comparison    the same rows with other answers of one or of both models
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.case import Case
from understudy.evidence import Evidence, OwnLosses
from understudy.gates import FAR
from understudy.losses import constant_losses, losses, paired
from understudy.metrics import METRICS, FloatArray
from understudy.policy import Promotion
from understudy.proof import Sabotage
from understudy.rules import STALE_S
from understudy.sabotaged_answers import constant, harmed, impossible, least_harm, silent, worst
from understudy.sabotaged_rows import Table, sabotaged_rows
from understudy.slices import FEWEST_ROWS
from understudy.verdict import Name

SUPPOSED = ", had one with enough rows been declared"
OTHERS = 20
"""Rows, at least, outside of a slice that is supposed: one in each block, on which the candidate is better."""
LITTLE = 0.05
"""Share of its loss by which a model is a little worse."""
HALVINGS = 30
"""Of the harm that makes it so: enough for a billionth."""
OTHER = "0" * 64
"""Digest of something else."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Honest:
    """What a sabotage is made of."""

    case: Case
    """The control."""
    table: Table
    """The rows that the candidate learnt from and is judged by."""
    learnt: Mapping[str, FloatArray | None]
    """What went wrong in the training -> what such a candidate answers to the holdout; None: it could not be made."""
    own_loss: Callable[[FloatArray], FloatArray] | None = None
    """Outputs for the holdout -> the loss of each row, shape (n,), where the owner has a loss of his own."""

    @property
    def evidence(self) -> Evidence:
        assert self.case.evidence is not None
        return self.case.evidence

    @property
    def policy(self) -> Promotion:
        return Promotion.from_json(self.case.policy)


def suite(honest: Honest) -> tuple[Sabotage, ...]:
    """Every sabotage, in the order of the gates."""
    return tuple(Sabotage(name, gate, case) for gate, make in MAKERS.items() for name, case in make(honest))


Cases = Iterator[tuple[str, Case | None]]


def _data(honest: Honest) -> Cases:
    for name, profile in sabotaged_rows(honest.table, honest.case.ranges).items():
        yield name, None if profile is None else replace(honest.case, profile=profile)


def _api(honest: Honest) -> Cases:
    api = honest.case.api or {}
    yield "an API that is not ready", replace(honest.case, api={**api, "ready": False, "reason": "sabotaged"})
    yield "an API that nobody has asked for an hour", replace(honest.case, api={**api, "age_s": 6 * STALE_S})


def _trial(honest: Honest) -> Cases:
    case, trial = honest.case, honest.case.trial
    assert trial is not None
    failed = replace(trial, passed=False, reason="It was sabotaged.")
    yield "a bundle that fails its trial", replace(case, trial=failed)
    yield "a trial of another bundle", replace(case, trial=replace(trial, digest=OTHER))
    yield "a trial with other libraries", replace(case, trial=replace(trial, environment="others"))


def _signature(honest: Honest) -> Cases:
    columns = honest.case.manifest["signature"]["columns"]
    gone = columns[1:] or [{**columns[0], "name": "another"}]
    yield "a column that clients send is gone", _taking(honest, columns, gone)
    strict, lenient = ([{**columns[0], "nullable": nullable}, *columns[1:]] for nullable in (False, True))
    yield "nulls are no longer answered", _taking(honest, lenient, strict)


def _taking(honest: Honest, before: list[Any], now: list[Any]) -> Case:
    """A champion and a candidate that take these columns."""
    case, champion = honest.case, honest.case.champion
    assert champion is not None
    older, newer = (
        {**manifest, "signature": {**manifest["signature"], "columns": columns}}
        for manifest, columns in ((champion.manifest, before), (case.manifest, now))
    )
    return replace(case, manifest=newer, champion=replace(champion, manifest=older))


def _holdout(honest: Honest) -> Cases:
    case, champion, end = honest.case, honest.case.champion, honest.evidence.end
    assert champion is not None
    yield "a candidate that has seen the holdout", replace(case, manifest=_seen(case.manifest, end))
    seen = replace(champion, manifest=_seen(champion.manifest, end))
    yield "a champion that has seen the holdout", replace(case, champion=seen)
    yield "rows that were judged by before", replace(case, judged_until=end)
    yield "answers of an hour ago", replace(case, evidence_age_s=6 * STALE_S)
    yield "answers of another champion", replace(case, champion=replace(champion, digest=OTHER))


def _seen(manifest: Mapping[str, Any], end: Any) -> Mapping[str, Any]:
    return {**manifest, "data": {**manifest["data"], "cut": end}}


def _sanity(honest: Honest) -> Cases:
    out, labels = honest.evidence.candidate_out, honest.evidence.labels
    low, high = _labels_seen(honest)
    far = high + (FAR + 1) * (high - low)
    beaten = worst(out, labels)
    yield "an answer that cannot be", _answering(honest, impossible(out, far), beaten)
    yield "the same answer to every row", _answering(honest, constant(out, labels), beaten)
    yield "no answer to some rows", _answering(honest, silent(out), beaten)


def _labels_seen(honest: Honest) -> tuple[float, float]:
    if honest.evidence.task != "regression":
        return 0.0, 1.0
    return float(honest.table.label.min()), float(honest.table.label.max())


def _floors(honest: Honest) -> Cases:
    policy, evidence = honest.policy, honest.evidence
    yield "a model worse than a constant", _below(honest, lambda out: _is_worse_than_constant(honest, out))
    for name, limit in policy.floors.items():
        metric = METRICS[name]

        def broken(out: FloatArray, name: str = name, limit: float = limit) -> bool:
            value = METRICS[name].of(out, evidence.labels)
            return value < limit if METRICS[name].higher_is_better else value > limit

        word = "below" if metric.higher_is_better else "above"
        yield f"{name} {word} {limit:g}", _below(honest, broken)
    most = policy.max_size_mb
    large = None if most is None else replace(honest.case, size=int(most * 1e6) + 1)
    yield "a bundle that is too large", large


def _below(honest: Honest, enough: Callable[[FloatArray], bool]) -> Case | None:
    """A candidate just bad enough, against a champion that is worse by far."""
    out, labels = honest.evidence.candidate_out, honest.evidence.labels
    bad = least_harm(out, labels, enough)
    return None if bad is None else _answering(honest, bad, worst(out, labels))


def _is_worse_than_constant(honest: Honest, out: FloatArray) -> bool:
    own, constants = _mean_losses(honest, out)
    return own > constants


def _mean_losses(honest: Honest, out: FloatArray) -> tuple[float, float]:
    """Of such answers, and of the constant predictor."""
    case = _answering(honest, out, out)
    assert case.evidence is not None
    return float(losses(case, case.evidence).mean()), float(constant_losses(case, case.evidence).mean())


def _latency(honest: Honest) -> Cases:
    case, trial, most = honest.case, honest.case.trial, honest.policy.max_latency_ms
    assert trial is not None
    champion = [float(one) for one in trial.report["latency"]["champion_ms"]]
    yield "a model ten times slower", _timed(honest, [10 * one + 5 for one in champion], champion)
    yield "a latency beyond the limit", None if most is None else _timed(honest, [2 * most] * 5, [2 * most] * 5)
    yield "a latency beside another champion", replace(case, trial=replace(trial, against="another"))


def _timed(honest: Honest, candidate: list[float], champion: list[float]) -> Case:
    trial = honest.case.trial
    assert trial is not None
    latency = {**trial.report["latency"], "candidate_ms": candidate, "champion_ms": champion}
    return replace(honest.case, trial=replace(trial, report={**trial.report, "latency": latency}))


def _slices(honest: Honest) -> Cases:
    """A slice gets worse answers than the champion's, and all other rows far better ones."""
    supposed = _supposing(honest)
    for name, case in (("a slice harmed", honest.case), (f"a slice harmed{SUPPOSED}", supposed)):
        inside = _smallest_judged(case)
        if inside is not None:
            yield name, _harmed_inside(replace(honest, case=case), inside)
            return
    yield "a slice harmed", None


def _harmed_inside(honest: Honest, inside: npt.NDArray[np.bool_]) -> Case:
    """So little harm that the whole is better by far: only who looks at the slice sees it."""
    out, labels, harm = honest.evidence.candidate_out, honest.evidence.labels, 0.1
    rows = inside if out.ndim == 1 else inside[:, None]
    champion = np.where(rows, out, worst(out, labels))
    while True:
        case = _answering(honest, np.where(rows, harmed(out, labels, harm), out), champion)
        gains = _gains(case)
        if harm < 0.001 or -gains[inside].sum() < gains[~inside].sum() / 4:
            return case
        harm /= 2


def _gains(case: Case) -> FloatArray:
    """The champion's loss − the candidate's, shape (n,)."""
    assert case.evidence is not None
    own, champion = paired(case.policy, case.evidence)
    assert champion is not None
    return champion - own


def _smallest_judged(case: Case) -> npt.NDArray[np.bool_] | None:
    """Which rows are in the smallest slice that has enough of them."""
    if case.evidence is None:
        return None
    columns = [case.evidence.groups[column] for column in (*case.slices, *case.protected)]
    slices = [np.array([one == value for one in values]) for values in columns for value in dict.fromkeys(values)]
    judged = [rows for rows in slices if rows.sum() >= FEWEST_ROWS]
    return min(judged, key=lambda rows: int(rows.sum()), default=None)


def _supposing(honest: Honest) -> Case:
    """The control with a slice that nobody has declared: just enough rows, evenly spread."""
    n = honest.evidence.n
    if n < FEWEST_ROWS + OTHERS:
        return honest.case
    some = set(np.linspace(0, n - 1, FEWEST_ROWS).astype(int).tolist())
    values = ["some" if place in some else None for place in range(n)]
    evidence = replace(honest.evidence, groups={"rows": values})
    return replace(honest.case, slices=("rows",), protected=(), evidence=evidence)


def _comparison(honest: Honest) -> Cases:
    out = honest.evidence.candidate_out
    equal = honest.policy.cannot_tell != "promote"
    yield "a model that is no better", _answering(honest, out, out) if equal else None
    yield "a model that is a little worse", _answering(honest, _a_little_worse(honest), out)
    for name, answers in honest.learnt.items():
        if answers is not None and _does_no_harm(honest, answers):
            yield f"{name}, which does this model no harm", None
        else:
            yield name, None if answers is None else _answering(honest, answers, out)


def _does_no_harm(honest: Honest, answers: FloatArray) -> bool:
    """Whether such a candidate is no worse on these very rows: then there is nothing to be stopped for."""
    return bool(_gains(_answering(honest, answers, honest.evidence.candidate_out)).mean() >= 0)


def _a_little_worse(honest: Honest) -> FloatArray:
    """Worse in every row, and by 5 % of its loss on average; by less where that were no better than the constant."""
    out, labels = honest.evidence.candidate_out, honest.evidence.labels
    own, constants = _mean_losses(honest, out)
    more = LITTLE * abs(own)
    most = own + (min(more, (constants - own) / 2) if constants > own else more)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = _mean_losses(honest, harmed(out, labels, middle))[0] > most
        low, high = (low, middle) if enough else (middle, high)
    return harmed(out, labels, high)


def _answering(honest: Honest, candidate: FloatArray, champion: FloatArray) -> Case:
    """The control with other answers of both models."""
    evidence = replace(honest.evidence, candidate_out=candidate, champion_out=champion)
    return replace(honest.case, evidence=replace(evidence, own=_own_losses(honest, candidate, champion)))


def _own_losses(honest: Honest, candidate: FloatArray, champion: FloatArray) -> OwnLosses | None:
    own = honest.evidence.own
    if own is None or honest.own_loss is None:
        return None
    return replace(own, candidate=honest.own_loss(candidate), champion=honest.own_loss(champion))


MAKERS: Mapping[Name, Callable[[Honest], Cases]] = {
    "data": _data,
    "api": _api,
    "trial": _trial,
    "signature": _signature,
    "holdout": _holdout,
    "sanity": _sanity,
    "floors": _floors,
    "latency": _latency,
    "slices": _slices,
    "comparison": _comparison,
}
"""Gate -> what it must stop. A test keeps every gate in it."""
