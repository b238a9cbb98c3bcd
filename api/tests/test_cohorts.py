"""What is closed when: labels looked at before they are judged, and waited for where others came faster."""

from collections.abc import Sequence

import numpy as np
import pytest

from api.cohorts import Cohorts
from api.tests import given
from tests.recorded import PROCESS, call, chunk, minute, signature
from understudy.errors import UnderstudyError
from understudy.labels import Given, Outcome, Place

START, SECOND, DAY_MS = minute(0), 1_000, 24 * 3_600_000


class Clock:
    """Of a world in which one prediction is asked for a second."""

    def __init__(self, api: given.Api) -> None:
        self.api, self.ms = api, START
        service = api.service
        self.cohorts = Cohorts(service.labels, service.journal, service.store, now_ms=lambda: self.ms)

    def predicted(self, first: int, n: int) -> list[Place]:
        times = {i: START + i * SECOND for i in range(first, first + n)}
        about = signature(classes=(0, 1))
        self.api.service.records.append(
            [chunk(call(i, [[i, 0.5]], ms=ms), model="rain", about=about) for i, ms in times.items()]
        )
        return [Place(ms, PROCESS, i, 0) for i, ms in times.items()]

    def labelled(self, places: Sequence[Place], labels: Sequence[int], at_ms: int) -> list[Outcome | UnderstudyError]:
        facts = [Given("rain", place, "feedback", str(label)) for place, label in zip(places, labels, strict=True)]
        outcomes: list[Outcome | UnderstudyError] = self.api.service.labels.add(facts, now_ms=at_ms)
        return outcomes

    def look(self, ms: int) -> int:
        """How many rows are judged by then."""
        self.ms = ms
        closed_ms = self.cohorts.look("rain").closed_ms
        found, _ = self.api.service.labels.judged("rain", after=None, until_ms=closed_ms or -1, limit=10_000)
        return len(found)

    def told(self, places: Sequence[Place], labels: Sequence[int]) -> None:
        """Labels of ten rows at a time, right after the last of them."""
        for i in range(0, len(places), 10):
            some = places[i : i + 10]
            self.labelled(some, labels[i : i + 10], some[-1].ms + 100)

    def notes(self) -> list[str]:
        events = [entry.event for entry in self.api.service.journal.read()]
        return [event.reason for event in events if event.kind == "attention.needed"]


@pytest.mark.fault(76)
def test_labels_of_another_world_that_come_a_few_at_a_time_are_noticed_within_some_dozens(api: given.Api) -> None:
    api.define()
    clock = Clock(api)
    truth = (np.random.default_rng(0).uniform(size=400) < 0.15).astype(int).tolist()
    labels = [*truth[:300], *(1 - one for one in truth[300:])]
    for first in range(0, 400, 10):
        clock.told(clock.predicted(first, 10), labels[first : first + 10])
        clock.ms = START + (first + 10) * SECOND
        clock.cohorts.look("rain")
    judged = clock.look(START + 500 * SECOND)

    assert 280 <= judged <= 350
    assert len(clock.notes()) == 1


@pytest.mark.fault(75)
def test_labels_of_the_next_day_are_on_time_after_a_smoke_test(api: given.Api) -> None:
    api.define()
    clock = Clock(api)
    clock.told(clock.predicted(0, 20), [1] * 20)
    clock.look(START + 30 * SECOND)
    rest = clock.predicted(20, 280)
    for second in range(30, 300, 9):
        clock.look(START + second * SECOND)
    clock.look(START + DAY_MS)

    said = clock.labelled(rest, [0] * len(rest), START + DAY_MS)

    assert said.count("accepted") >= 270  # but for those of the seconds of the last labels
    assert clock.look(START + 4 * DAY_MS) >= 290
    assert clock.notes() == []


@pytest.mark.fault(75)
def test_rows_that_have_their_labels_are_judged_within_seconds(api: given.Api) -> None:
    api.define()
    clock = Clock(api)
    clock.told(clock.predicted(0, 60), [1] * 60)
    clock.predicted(60, 3)

    assert clock.look(START + 63 * SECOND) >= 50
    clock.told(clock.predicted(63, 60), [1] * 60)
    for second in range(123, 170, 5):
        judged = clock.look(START + second * SECOND)
    assert judged == 120


@pytest.mark.fault(75)
def test_a_person_is_told_once_that_most_labels_come_too_late(api: given.Api) -> None:
    api.define()
    clock = Clock(api)
    clock.told(clock.predicted(0, 40), [1] * 40)
    rest = clock.predicted(40, 120)
    assert clock.look(START + 3 * DAY_MS) == 40

    said = clock.labelled(rest, [0] * 120, START + 3 * DAY_MS)
    for _ in range(3):
        clock.look(START + 3 * DAY_MS + SECOND)

    assert said == ["late"] * 120
    assert [note.partition(":")[0] for note in clock.notes()] == [
        "Most of the newest labels of rain came after their rows were closed"
    ]
