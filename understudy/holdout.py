"""The gate on the rows that a candidate is judged by: enough of them, just answered, and never seen before."""

from collections.abc import Sequence
from typing import Any

from understudy.case import Case
from understudy.compare import MIN_ROWS
from understudy.evidence import Clock, Evidence
from understudy.rules import Passed, Rule, Rules, fresh, missing

OTHER_CLOCK = (
    "One of these is a time and the other the number of a row: the model has gained or lost its time column, and its "
    "old clock cannot be compared with the new one. Let an operator promote the first version under the new clock by "
    "hand, with a reason."
)


def holdout(case: Case) -> Rules:
    """The gate of that name."""
    evidence = case.evidence
    if evidence is None:
        return missing("There is no evidence.")
    said = case.manifest["signature"]
    same_task = evidence.task == said["task"] and evidence.classes == _tuple(said["classes"])
    about_other = "The evidence is about another candidate."
    return [
        Rule(evidence.model == case.manifest["model"], evidence.model, case.manifest["model"], about_other),
        Rule(evidence.candidate == case.digest, evidence.candidate[:12], case.digest[:12], about_other),
        _same_champion(evidence, case.champion_digest),
        Rule(same_task, evidence.task, said["task"], "The evidence is about another task or other classes."),
        fresh(case.evidence_age_s, "The evidence"),
        _enough(evidence.n),
        *_unseen(case, evidence.start),
    ], Passed(evidence.n, MIN_ROWS, f"{evidence.n} fresh rows, from {evidence.start} to {evidence.end}.")


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _same_champion(evidence: Evidence, now: str | None) -> Rule:
    observed, limit = (digest and digest[:12] for digest in (evidence.champion, now))
    reason = "The evidence is against another champion than the one that serves now."
    return Rule(evidence.champion == now, observed, limit, reason)


def _enough(n: int) -> Rule:
    return Rule(n >= MIN_ROWS, n, MIN_ROWS, f"There are {n} rows to judge by, at least {MIN_ROWS} are needed.")


def _unseen(case: Case, start: Clock) -> list[Rule]:
    seen = [("the candidate was trained on", case.manifest["data"]["cut"])]
    if case.champion is not None:
        seen.append(("the champion was trained on", case.champion.manifest["data"]["cut"]))
    if case.judged_until is not None:
        seen.append(("an earlier verdict has used", case.judged_until))
    rules = [_later(start, until, who) for who, until in seen]
    changed = any(type(until) is not type(start) for _, until in seen)
    return [*rules, Rule(not changed, "another clock", "the same clock", OTHER_CLOCK)]


def _later(start: Clock, until: Clock, who: str) -> Rule:
    if isinstance(start, str) and isinstance(until, str):
        later = start > until
    else:
        later = isinstance(start, int) and isinstance(until, int) and start > until
    shown = [f"row {one}" if isinstance(one, int) else f"{one}" for one in (start, until)]
    return Rule(later, start, until, f"The rows begin at {shown[0]}, and {who} those up to {shown[1]}.")
