"""May clients go on sending what they send, and read the answers as they do?"""

from collections.abc import Iterable
from typing import Any

from understudy.signature import Column, Signature


def differences(champion: Signature, candidate: Signature) -> list[str]:
    """What a client of `champion` would notice of `candidate`, as sentences; empty where nothing.

    Accepting more than before (nulls, further texts, fractions) is no difference. A column of numbers that now is one
    of integers is one: a client that sent 2.5 was answered, and would be refused. Whether any does cannot be known.
    """
    before, now = champion.names, candidate.names
    found = [f"The column `{name}` is gone." for name in before if name not in now]
    found += [f"The column `{name}` is new." for name in now if name not in before]
    if not found and before != now:
        found.append(f"The columns stand in another order: {', '.join(now)}.")
    columns = {column.name: column for column in candidate.columns}
    for column in champion.columns:
        found += [] if column.name not in columns else _column_differences(column, columns[column.name])
    if champion.task != candidate.task:
        found.append(f"The task was {champion.task} and now is {candidate.task}.")
    if champion.classes != candidate.classes:
        found.append(f"The classes were {_listed(champion.classes)} and now are {_listed(candidate.classes)}.")
    return found


def _column_differences(before: Column, now: Column) -> list[str]:
    found = []
    if (before.kind, now.kind) == ("number", "integer"):
        found.append(f"The column `{now.name}` took any number and now takes integers only.")
    elif now.kind != before.kind and (before.kind, now.kind) != ("integer", "number"):
        found.append(f"The column `{now.name}` was of kind {before.kind} and now is {now.kind}.")
    if before.nullable and not now.nullable:
        found.append(f"The column `{now.name}` may no longer be null.")
    refused = set() if now.categories is None else set(before.categories or ["any other text"]) - set(now.categories)
    if refused:
        found.append(f"The column `{now.name}` no longer takes {_listed(sorted(refused)[:5])}.")
    return found


def _listed(values: Iterable[Any] | None) -> str:
    return "none" if values is None else ", ".join(str(value)[:40] for value in values)
