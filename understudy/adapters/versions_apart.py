"""What sets two versions of a model apart, as one document: from the log, and from what the store still has of them.

Whatever cannot be compared is said with its reason, and the rest is compared all the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from understudy.adapters.stored_version import Roles, StoredVersion
from understudy.contrast import LONGEST_VALUE, changes, metric_changes, source_changes
from understudy.movement import ColumnMove, Columns, class_shares, column_moves, middle, other_kinds
from understudy.redaction import redacted

if TYPE_CHECKING:
    from understudy.adapters.runtime import Runtime
    from understudy.adapters.snapshot import Snapshot
    from understudy.profile import Part


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of each list is given; None: all of it."""

    columns: int | None = 10
    lines: int | None = 40
    rows: int = 5


ALL = Limits(columns=None, lines=None, rows=1_000)


def versions_apart(then: StoredVersion, now: StoredVersion, roles: Roles, limits: Limits) -> dict[str, Any]:
    """The whole comparison, in JSON's own types."""
    both = (then, now)
    runtimes = (then.runtime(), now.runtime())
    rows = (then.rows(roles), now.rows(roles))
    return {
        "then": shown(then),
        "now": shown(now),
        "data": data_apart(both, rows, runtimes, roles, limits),
        "params": params_apart(both),
        "libraries": listed(changes(then.summary["libraries"], now.summary["libraries"])),
        "code": code_apart(both, limits),
        "metrics": listed(metric_changes(then.summary["metrics"], now.summary["metrics"])),
        "answers": answers(both, rows, runtimes, roles, limits),
        "gone": [{"version": one.id, "what": what, "why": why} for one in both for what, why in one.gone.items()],
    }


def shown(version: StoredVersion) -> dict[str, Any]:
    """What a version is, from the log."""
    summary = version.summary
    return {
        "version": version.id,
        "stage": version.listed["stage"],
        "digest": version.listed["digest"],
        "registered_at": version.listed["registered_at"],
        "registered_by": version.listed["registered_by"],
        "run": version.listed["run"],
        "refit_of": version.listed.get("refit_of"),
        "task": summary["task"],
        "metric": summary["metric"],
        "form": summary["serves"],
        "why_form": summary["why"],
        "size": version.listed["size"],
        "data": summary["data"],
        "seed": summary["seed"],
    }


def listed(found: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Dataclasses in JSON's own types; texts are cut, and what stands where passwords stand is hidden."""
    return [{name: _short(value) for name, value in asdict(one).items()} for one in found]


def _short(value: Any) -> Any:
    return redacted(value)[:LONGEST_VALUE] if isinstance(value, str) else value


def params_apart(both: tuple[StoredVersion, StoredVersion]) -> dict[str, Any]:
    """What the runs were given, and what the estimators themselves say."""
    given = changes(both[0].summary["params"], both[1].summary["params"])
    then, now = (one.estimator_params() for one in both)
    own = None if then is None or now is None else listed(changes(then, now))
    return {"given": listed(given), "estimator": own}


def code_apart(both: tuple[StoredVersion, StoredVersion], limits: Limits) -> dict[str, Any]:
    """Whether the definition says something else, and the lines that do."""
    then, now = (one.source() for one in both)
    if then is None or now is None:
        return {"changed": None, "lines": [], "left_out": 0}
    lines = [redacted(line) for line in source_changes(then, now)]
    return {"changed": then != now, "lines": lines[: limits.lines], "left_out": len(lines) - len(lines[: limits.lines])}


def data_apart(
    both: tuple[StoredVersion, StoredVersion],
    rows: "tuple[Snapshot | None, Snapshot | None]",
    runtimes: "tuple[Runtime | None, Runtime | None]",
    roles: Roles,
    limits: Limits,
) -> dict[str, Any]:
    """Rows that came and went, labels, and columns that moved."""
    parts, new, counted = measured(both, rows, runtimes, roles)
    found: dict[str, Any] = {"rows": counted, "label": None, "columns": None, "left_out": 0}
    if parts is None:
        return found
    moves = column_moves(*parts, new)
    columns = [without_values(move, roles) for move in moves[: limits.columns]]
    return {
        **found,
        "label": None if roles.target in roles.withheld else [label_of(part) for part in parts],
        "columns": columns,
        "left_out": len(moves) - len(columns),
        "only_then": sorted(parts[0].columns.keys() - parts[1].columns.keys()),
        "only_now": sorted(parts[1].columns.keys() - parts[0].columns.keys()),
        "other_kind": list(other_kinds(*parts)),
    }


def measured(
    both: tuple[StoredVersion, StoredVersion],
    rows: "tuple[Snapshot | None, Snapshot | None]",
    runtimes: "tuple[Runtime | None, Runtime | None]",
    roles: Roles,
) -> "tuple[tuple[Part, Part] | None, Columns | None, dict[str, int] | None]":
    """What both have learnt from, what of it is new, and how many rows they share.

    From the rows where both are there; otherwise from what was measured when each was trained.
    """
    if rows[0] is not None and rows[1] is not None:
        from understudy.adapters.rows_apart import learnt, overlap_of

        counted = asdict(overlap_of(rows[0].frame, rows[1].frame, roles))
        if runtimes[0] is not None and runtimes[1] is not None:
            first = learnt(both[0], rows[0], runtimes[0].signature, than=None)
            cut = both[0].summary["data"]["cut"]
            second = learnt(both[1], rows[1], runtimes[1].signature, than=cut)
            if first is not None and second is not None:
                return (first.whole, second.whole), second.new, counted
    else:
        counted = None
    then, now = (one.measure() for one in both)
    return (None if then is None or now is None else (then, now)), None, counted


def label_of(part: "Part") -> dict[str, Any]:
    """The label in the rows that a version has learnt from."""
    return {
        "rows": part.rows,
        "shares": class_shares(part.label) or None,
        "median": middle(part.label.quantiles),
    }


def without_values(move: ColumnMove, roles: Roles) -> dict[str, Any]:
    """How far a column moved; of one that is withheld, none of its values."""
    found = {**asdict(move), "moved": move.moved}
    return found | ({"typical": (None, None)} if move.name in roles.withheld else {})


def answers(
    both: tuple[StoredVersion, StoredVersion],
    rows: "tuple[Snapshot | None, Snapshot | None]",
    runtimes: "tuple[Runtime | None, Runtime | None]",
    roles: Roles,
    limits: Limits,
) -> dict[str, Any] | None:
    """Both asked the same rows; None where one of them, or the rows, are gone."""
    from understudy.adapters.answers_apart import answers_apart, rows_to_ask
    from understudy.adapters.snapshot import later

    newer = max((0, 1), key=lambda place: int(both[place].id))
    (then, now), snapshot = runtimes, rows[newer]
    if then is None or now is None or snapshot is None:
        return None
    asked = rows_to_ask(snapshot, both[newer].summary["data"], both[newer].id)
    found = answers_apart(then, now, snapshot, asked, roles, most=limits.rows)
    clock = snapshot.clock[asked.places]

    def learnt_from(one: StoredVersion) -> int:
        return int((~later(clock, one.summary["data"]["cut"])).sum())

    learnt = {one.id: learnt_from(one) for one in both}
    measured = tuple(candidate_of(one) if learnt[one.id] else one for one in both)
    before, after = (known if one in both else one.runtime() for one, known in zip(measured, runtimes, strict=True))
    if before is None or after is None or measured[0].id == measured[1].id:
        measured = both
    elif measured != both:
        found |= {"metrics": answers_apart(before, after, snapshot, asked, roles, most=0)["metrics"]}
    withheld = sorted(roles.withheld & {*then.signature.names, *now.signature.names})
    metrics = [asdict(one) for one in found["metrics"]]
    fair = learnt_from(measured[0]) == learnt_from(measured[1])
    if not fair:  # who has seen more of the rows knows them by heart: that makes nobody better
        metrics = [{**one, "says": None} for one in metrics]
    ids = [one.id for one in measured]
    return {**found, "metrics": metrics, "measured": ids, "fair": fair, "learnt": learnt, "withheld": withheld}


def candidate_of(version: StoredVersion) -> StoredVersion:
    """Who was judged in its place, of a refit."""
    return version if version.basis is None else replace(version, listed=version.basis, basis=None, gone={})


def roles_of(definition: Mapping[str, Any], tags: frozenset[str]) -> Roles:
    """The columns that a definition names, as the log has it; `tags`: what marks a column as withheld."""
    from understudy.records import withheld

    return Roles(
        time=definition.get("time"),
        key=definition.get("key"),
        target=definition["target"],
        withheld=withheld(definition, tags),
    )
