"""The checker itself: a history that keeps every promise passes, and each kind of broken promise is found."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.annals import flaws
from tests.faults.history import Blow, Exchange, violations
from tests.given import NEW_YEAR, registered
from understudy.events import (
    Event,
    PromotionAborted,
    PromotionStarted,
    Recorded,
    RunAbandoned,
    RunClaimed,
    RunFinished,
    RunRequested,
    VersionPromoted,
)

DIGEST = f"{1:064x}"


def started(version: str, *, replaces: str | None = None, key: str | None = None) -> PromotionStarted:
    return PromotionStarted(
        model="rain", key=key or f"to-{version}", version=version, replaces=replaces, how="override", by="operator",
        reason="a test",
    )  # fmt: skip


def promoted(version: str, *, replaces: str | None = None, key: str | None = None) -> VersionPromoted:
    return VersionPromoted(
        model="rain", key=key or f"to-{version}", version=version, replaces=replaces, how="override", ground=None,
        by="operator", reason="a test",
    )  # fmt: skip


def requested(run: str, slot: str) -> RunRequested:
    return RunRequested(
        model="rain", run=run, job="train", slot=slot, as_of="2026-01-01T00:00:00Z", params={}, start_date=None,
        end_date=None, like=None, by="scheduler",
    )  # fmt: skip


def finished(run: str, token: int | None) -> RunFinished:
    return RunFinished(
        model="rain", run=run, token=token, outcome="succeeded", reason="", version=None, result={}
    )  # fmt: skip


def claimed(run: str) -> RunClaimed:
    return RunClaimed(model="rain", run=run, attempt=1, claimant="a scheduler")


def log_of(*events: Event) -> list[Recorded]:
    return [Recorded(n, NEW_YEAR, event, f"{n:064x}") for n, event in enumerate(events, start=1)]


def predicted(version: str, prediction: float, at: float, **more: Any) -> Exchange:
    answer = {"version": version, "header": version, "prediction": prediction}
    made = Exchange(client="p", action="predict", outcome="ok", sent_s=at, ended_s=at + 0.01)
    return replace(made, **{"asked": {"x": 5}, "answer": answer, **more})


def change(version: str, position: int, at: float, **more: Any) -> Exchange:
    answer = {"version": version, "position": position}
    made = Exchange(client="o", action="promote", outcome="ok", sent_s=at, ended_s=at + 0.5)
    return replace(made, **{"asked": {"key": f"to-{version}"}, "answer": answer, **more})


def upload(version: str, adds: int) -> Exchange:
    digest = f"{int(version):064x}"
    return Exchange(
        client="r", action="register", outcome="ok", sent_s=0.0, ended_s=0.1,
        asked={"adds": adds, "digest": digest}, answer={"version": version, "digest": digest},
    )  # fmt: skip


LOG = log_of(
    registered("1"), registered("2"),
    started("1"), promoted("1"), started("2", replaces="1"), promoted("2", replaces="1"),
)  # fmt: skip
"""Version 1 is promoted at position 4, version 2 at position 6."""

GOOD = [
    upload("1", 10),
    upload("2", 20),
    change("1", 4, 1.0),
    predicted("1", 15.0, 2.0),
    change("2", 6, 3.0),
    predicted("1", 15.0, 3.2),  # before the answer either may serve
    predicted("2", 25.0, 3.2),
    predicted("2", 25.0, 4.0),
]
FAILED = Exchange(
    client="p", action="predict", outcome="unknown", sent_s=5.0, ended_s=5.1, answer={"error": "reset"},
    opened_s=4.0, worker=77,
)  # fmt: skip
KILLED = Blow(kind="worker", began_s=4.5, ended_s=4.6, pids=frozenset([77]))


def found(*more: Exchange, blows: tuple[Blow, ...] = (), log: list[Recorded] = LOG) -> list[str]:
    return violations([*GOOD, *more], blows, log)


def test_a_history_that_keeps_every_promise_has_no_violations() -> None:
    assert found() == []
    assert flaws(LOG) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (predicted("2", 15.0, 4.0), "not what version 2 answers"),
        (predicted("3", 25.0, 4.0), "not what version 3 answers"),
        (predicted("2", 25.0, 4.0, answer={"version": "2", "header": "1", "prediction": 25.0}), "the header says 1"),
        (predicted("1", 15.0, 4.0), "version 1 after promotion 6 was answered"),
        (predicted("2", 25.0, 2.0), "version 2 before anybody asked for it"),
        (change("2", 4, 6.0), "key to-2 was told of promotion 6 first, and then of 4"),
        (change("2", 7, 6.0, asked={"key": "other"}), "what was acknowledged is not in the log"),
        (upload("3", 30), "what was acknowledged is not in the log"),
        (
            Exchange(client="t", action="train", outcome="ok", sent_s=1, ended_s=2, answer={"run_id": "rain-1"}),
            "what was acknowledged is not in the log",
        ),
        (
            Exchange(client="e", action="read", outcome="ok", sent_s=1, ended_s=2, answer={"seen": ((1, "f" * 64),)}),
            "what was acknowledged is not in the log",
        ),
        (FAILED, "failed for no reason"),
        (replace(FAILED, outcome="fail", answer={"status": 404}), "failed for no reason"),
        (replace(FAILED, action="promote", asked={"key": "k"}), "failed for no reason"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_promise_is_found(more: Exchange, said: str) -> None:
    broken = found(more)

    assert any(said in each for each in broken), broken


def test_a_demotion_back_makes_an_older_version_right_again() -> None:
    back = log_of(
        *(entry.event for entry in LOG),
        started("1", replaces="2", key="back"),
        promoted("1", replaces="2", key="back"),
    )

    demoted = change("1", 8, 5.0, action="demote", asked={"key": "back"})

    assert found(demoted, predicted("1", 15.0, 6.0), log=back) == []
    assert found(demoted, predicted("2", 25.0, 6.0), log=back) != []


def test_a_key_that_asked_for_what_served_already_may_promote_later() -> None:
    idle = change("2", 6, 5.0, asked={"key": "idle"})
    later = log_of(
        *(entry.event for entry in LOG),
        started("1", replaces="2"),
        promoted("1", replaces="2", key="to-1"),
        started("2", replaces="1", key="idle"),
        promoted("2", replaces="1", key="idle"),
    )

    assert found(idle, change("2", 10, 7.0, asked={"key": "idle"}), log=later) == []


@pytest.mark.parametrize(
    ("change", "excused"),
    [
        ({}, True),
        ({"pids": frozenset([78])}, False),  # another process
        ({"began_s": 5.2, "ended_s": 5.3}, False),  # later
        ({"began_s": 3.0, "ended_s": 3.1}, False),  # before the connection was opened
        ({"fatal": False}, False),  # it only slept, and not while the request was on its way
        ({"fatal": False, "ended_s": 5.05}, True),
        ({"pids": frozenset(), "cut": True}, False),  # a connection that no proxy was on
        ({"pids": frozenset([78]), "all": True}, False),  # everybody, but before the request was sent
        ({"pids": frozenset([78]), "all": True, "ended_s": 6.0}, True),
    ],
)
def test_a_failure_is_excused_by_what_hit_its_own_process_only(change: dict[str, Any], excused: bool) -> None:
    assert (found(FAILED, blows=(replace(KILLED, **change),)) == []) is excused


def test_a_failure_on_a_cut_connection_is_excused() -> None:
    cut = Blow(kind="drop", began_s=4.5, ended_s=4.6, cut=True)

    assert found(replace(FAILED, proxied=True, worker=None), blows=(cut,)) == []


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([started("1")], "has no outcome"),
        ([started("1"), started("2")], "beside another one"),
        ([promoted("1")], "was not under way"),
        ([started("1"), PromotionAborted(model="rain", key="x", version="1", why="")], "was not under way"),
        ([started("2"), promoted("2", replaces="1")], "replaces 1, not None"),
        (
            [started("1", key="k"), promoted("1", key="k"), started("2", key="k"), promoted("2", key="k")],
            "key k promoted 2 versions",
        ),
        ([registered("1"), replace(registered("2"), digest=DIGEST)], "are 2 versions of rain"),
        ([requested("rain-1", "a"), requested("rain-2", "a")], "has 2 runs"),
        ([requested("rain-1", "a"), claimed("rain-1"), claimed("rain-1")], "while rain-1 is at work"),
        (
            [requested("rain-1", "a"), claimed("rain-1"), finished("rain-1", 2), claimed("rain-1")],
            "which has ended",
        ),
        (
            [requested("rain-1", "a"), claimed("rain-1"), finished("rain-1", 2), finished("rain-1", None)],
            "run rain-1 ended 2 times",
        ),
        ([requested("rain-1", "a"), claimed("rain-1"), finished("rain-1", 1)], "by who does not hold it"),
        ([RunAbandoned(model="rain", run="rain-1", token=1, why="")], "which nobody held so"),
        ([registered("1", run="rain-1")], "which is not at work"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_log_that_no_protocol_writes_is_found(events: list[Event], said: str) -> None:
    broken = flaws(log_of(*events))

    assert any(said in each for each in broken), broken
