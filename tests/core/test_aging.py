"""A champion that is older than its owner allows is told of once."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.given import NEW_YEAR, History, candidate, defined
from understudy.aging import overaged
from understudy.events import ModelDefined, VersionPromoted


def promoted(version: str) -> VersionPromoted:
    return VersionPromoted(
        model="rain",
        key=f"k{version}",
        version=version,
        replaces=None if version == "1" else "1",
        how="promotion",
        ground=4,
        by="scheduler",
        reason="",
    )


def allowing(max_age_s: Any) -> History:
    """A model whose champion was registered on New Year."""
    history = History()
    history.add(defined())
    definition = {**(history.state.model("rain").definition or {}), "max_age_s": max_age_s}
    history.add(ModelDefined(model="rain", definition=definition, source_digest="b" * 64, by="scheduler"))
    candidate(history, "1")
    history.add(promoted("1"))
    return history


def later(days: float) -> datetime:
    return NEW_YEAR + timedelta(days=days)


def test_a_champion_that_is_too_old_is_told_of_once_and_its_successor_when_it_is_too() -> None:
    history = allowing(30 * 86_400)

    assert overaged(history.state, later(29)) == ()
    [note] = overaged(history.state, later(31))
    assert (note.version, note.reason) == ("1", "Version 1 of rain is 31 d old, and `max_age` allows 30 d.")

    history.add(note)
    assert overaged(history.state, later(60)) == ()

    history.wait(minutes=60 * 24 * 31)
    candidate(history, "2")
    history.add(promoted("2"))
    assert overaged(history.state, later(60)) == ()
    assert [note.version for note in overaged(history.state, later(62))] == ["2"]


@pytest.mark.parametrize("max_age_s", [None, "30", -1, 1e300])
def test_without_a_limit_a_champion_may_grow_old(max_age_s: Any) -> None:
    assert overaged(allowing(max_age_s).state, later(10_000)) == ()
