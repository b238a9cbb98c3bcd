"""What may be a label, where it belongs, and what becomes of it beside those that are there."""

import json
from typing import Any

import pytest

from understudy.errors import BadLabel, Conflict, Expired, NotFound, UnderstudyError
from understudy.labels import (
    LEEWAY_MS,
    MODEL_SOURCE,
    MOST_FACTS,
    MOST_OF_ALL,
    Answered,
    Fact,
    Given,
    Place,
    counting,
    not_on_record,
    place_of,
    weigh,
    written,
)
from understudy.records import Identity

NOW = 1_750_000_000_000
ASKED = Identity(NOW, 7, "abc123")
PLACE = Place(NOW, "abc123", 7, 0)
OPEN = -1


def given(label: str, source: str = "feedback") -> Given:
    return Given("rain", PLACE, source, label)


def test_a_place_is_the_text_of_a_row_and_places_are_ordered_as_predictions_were_answered() -> None:
    earlier = [
        Place(NOW, "abc123", 7, 0),
        Place(NOW, "abc123", 7, 2),
        Place(NOW, "abc123", 10, 0),
        Place(NOW, "b", 1, 0),
    ]

    assert Place.parse(str(PLACE)) == PLACE
    assert sorted([*reversed(earlier), Place(NOW - 1, "z", 99, 0)]) == [Place(NOW - 1, "z", 99, 0), *earlier]
    assert Place.parse(str(PLACE.request)) is None
    assert Place.parse("nonsense") is None


@pytest.mark.fault(74)
def test_the_same_label_again_is_known_whoever_else_has_spoken_since() -> None:
    assert weigh([], given("1"), OPEN) == "accepted"
    assert weigh([Fact("feedback", "1")], given("1"), OPEN) == "known"
    assert weigh([Fact("feedback", "1"), Fact("lab", "0")], given("1"), OPEN) == "known"
    assert weigh([Fact("feedback", "1"), Fact("feedback", "0")], given("1"), OPEN) == "changed"


@pytest.mark.fault(74)
def test_another_label_is_a_new_fact_and_one_that_agrees_is_no_change() -> None:
    assert weigh([Fact("feedback", "1")], given("0"), OPEN) == "changed"
    assert weigh([Fact("feedback", "1")], given("1", "lab"), OPEN) == "accepted"
    assert weigh([Fact("feedback", "1")], given("0", "lab"), OPEN) == "changed"


@pytest.mark.fault(76)
def test_who_changes_his_mind_too_often_is_not_heard_any_more_and_nor_are_very_many_sources() -> None:
    wavering = [Fact("feedback", str(i % 2)) for i in range(MOST_FACTS)]
    crowd = [Fact(f"source {i}", "1") for i in range(MOST_OF_ALL)]

    with pytest.raises(Conflict, match="too often"):
        weigh(wavering, given("0"), OPEN)
    assert weigh(wavering, given("0", "lab"), OPEN) == "changed"
    with pytest.raises(Conflict, match="too often"):
        weigh(crowd, given("1", "one more"), OPEN)


@pytest.mark.fault(76)
def test_no_crowd_keeps_the_source_of_the_model_out_but_it_may_not_waver_for_ever() -> None:
    crowd = [Fact(f"source {i}", "1") for i in range(2 * MOST_OF_ALL)]
    wavering = [Fact(MODEL_SOURCE, str(i % 2)) for i in range(MOST_FACTS)]

    assert weigh(crowd, given("0", MODEL_SOURCE), OPEN) == "changed"
    with pytest.raises(Conflict, match="too often"):
        weigh(wavering, given("0", MODEL_SOURCE), OPEN)


@pytest.mark.fault(74)
def test_the_source_of_the_model_counts_before_whoever_spoke_later_and_its_own_latest_word_counts() -> None:
    truth, lie = Fact(MODEL_SOURCE, "1"), Fact("feedback", "0")

    assert counting([]) is None
    assert counting([truth, lie]) == counting([lie, truth]) == truth
    assert counting([truth, lie, Fact(MODEL_SOURCE, "2"), lie]) == Fact(MODEL_SOURCE, "2")
    assert weigh([truth], given("0"), OPEN) == "accepted"
    assert weigh([truth, lie], given("1", MODEL_SOURCE), OPEN) == "known"
    assert weigh([lie], given("1", MODEL_SOURCE), OPEN) == "changed"
    assert weigh([truth, lie], given("0", MODEL_SOURCE), OPEN) == "changed"


@pytest.mark.fault(75)
def test_what_comes_when_its_cohort_is_closed_is_late_unless_it_is_known() -> None:
    assert weigh([], given("1"), NOW) == "late"
    assert weigh([Fact("feedback", "1")], given("0"), NOW) == "late"
    assert weigh([Fact("feedback", "1")], given("1"), NOW) == "known"
    assert weigh([], given("1"), NOW - 1) == "accepted"


@pytest.mark.parametrize(
    ("label", "classes", "stored"),
    [
        (1, (0, 1), "1"),
        (1.0, (0, 1), "1"),
        (1, (0.0, 1.0), "1.0"),
        (True, (False, True), "true"),
        ("sì", ("no", "sì"), '"s\\u00ec"'),
        (2.0, None, "2"),
        (-0.25, None, "-0.25"),
    ],
)
def test_a_label_is_stored_as_the_class_or_number_that_it_is(label: Any, classes: Any, stored: str) -> None:
    assert written(label, classes) == stored
    assert json.loads(stored) == label


@pytest.mark.fault(75)
@pytest.mark.parametrize("label", [2, True, "1", None, [1], {"a": 1}, 0.5])
def test_what_is_none_of_the_classes_is_no_label(label: Any) -> None:
    with pytest.raises(BadLabel, match=r"none of the model's classes\. Send one of 0, 1"):
        written(label, (0, 1))


@pytest.mark.parametrize("label", ["1", True, None, [1], 1e300, float("nan"), float("inf"), 10**400])
def test_what_is_no_sane_number_is_no_label_of_a_regression(label: Any) -> None:
    with pytest.raises(BadLabel, match="no number"):
        written(label, None)


@pytest.mark.fault(75)
def test_a_label_belongs_to_one_row_of_a_prediction_of_the_model_that_it_names() -> None:
    one, two = Answered("rain", "3", 1, (0, 1)), Answered("rain", "3", 2, (0, 1))

    assert place_of(ASKED, one, None) == PLACE
    assert place_of(Identity(NOW, 7, "abc123", 1), two, "rain").row == 1
    with pytest.raises(BadLabel, match="has 2 rows"):
        place_of(ASKED, two, None)
    with pytest.raises(NotFound, match="no such row"):
        place_of(Identity(NOW, 7, "abc123", 2), two, None)
    with pytest.raises(BadLabel, match="another model's"):
        place_of(ASKED, one, "bike_demand")


@pytest.mark.fault(75)
def test_what_is_on_record_no_more_or_not_yet_is_told_apart_from_what_nobody_knows() -> None:
    def why(*, now_ms: int = NOW, oldest_ms: int = 0) -> UnderstudyError:
        return not_on_record(ASKED, now_ms=now_ms, oldest_ms=oldest_ms)

    assert isinstance(why(oldest_ms=NOW + 1), Expired)
    assert "in the future" in str(why(now_ms=NOW - LEEWAY_MS - 1))
    assert type(why(oldest_ms=NOW)) is type(why(now_ms=NOW - LEEWAY_MS)) is NotFound
