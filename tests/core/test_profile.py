"""What is measured of a snapshot, part by part."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import worlds
from understudy.association import of_numbers, of_texts, targets_of
from understudy.errors import BadInput
from understudy.profile import Profile, profile_columns

NAN = float("nan")


def test_a_profile_survives_its_json() -> None:
    found = worlds.snapshot(worlds.world())

    assert Profile.parse(found.encode()) == found


def test_the_same_snapshot_has_the_same_bytes() -> None:
    assert worlds.snapshot(worlds.world()).encode() == worlds.snapshot(worlds.world()).encode()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"format":2}', b'{"format":1,"task":"binary"}']
)
def test_bytes_that_are_no_profile_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(BadInput, match="no profile of a snapshot"):
        Profile.parse(data)


def test_the_four_parts_hold_the_rows_that_they_are_named_for() -> None:
    given = worlds.world()

    found = worlds.snapshot(given)

    parts = (found.whole, found.fitted, found.new, found.new_fitted)
    assert [part.rows for part in parts if part] == [1600, 1300, 600, 300]
    assert found.new_fitted is not None
    assert found.new_fitted.columns["low"].high == given.columns["low"][1000:1300].max()
    assert (found.start, found.end) == (0, 1599)


def test_a_part_without_rows_is_none() -> None:
    given = worlds.world()

    nothing_new, holdout_only = worlds.snapshot(given, known=1600), worlds.snapshot(given, known=1300)

    assert (nothing_new.new, nothing_new.new_fitted) == (None, None)
    assert holdout_only.new_fitted is None
    assert holdout_only.new is not None


def test_rows_without_a_label_are_left_out_and_the_parts_shift_with_them() -> None:
    given = worlds.world()
    late = [None if row % 4 == 0 else int(label) for row, label in enumerate(given.label)]

    found = worlds.profile(given.columns, late)

    parts = (found.whole, found.fitted, found.new, found.new_fitted)
    assert [part.rows for part in parts if part] == [1200, 975, 450, 225]
    assert (found.start, found.end) == (1, 1599)


@pytest.mark.parametrize("label", [[None, None], [NAN, NAN]])
def test_a_snapshot_without_any_label_cannot_be_measured(label: list[float | None]) -> None:
    with pytest.raises(BadInput, match="No row has a label yet"):
        worlds.profile({"x": [1.0, 2.0]}, label, known=0, cut=1)


def test_an_infinite_label_is_refused() -> None:
    with pytest.raises(BadInput, match="infinite"):
        worlds.profile({"x": [1.0, 2.0]}, [1.0, float("inf")], known=0, cut=1, task="regression")


def test_numbers_texts_and_booleans_are_described_each_in_its_way() -> None:
    columns: dict[str, list[Any]] = {
        "number": [1.0, NAN, 3.0, float("inf")],
        "integer": [3, None, 1, 2],
        "boolean": [True, False, True, None],
        "text": ["a", "b", None, "a"],
    }

    found = profile_columns(
        columns,
        kinds={"number": "number", "integer": "integer", "boolean": "boolean", "text": "text"},
        label=[0, 1, 0, 1],
        task="binary",
        clock=["a", "b", "b", "c"],
        new_from=0,
        fitted_until=2,
    ).whole

    assert {name: column.null_share for name, column in found.columns.items()} == {
        "number": 0.5,
        "integer": 0.25,
        "boolean": 0.25,
        "text": 0.25,
    }
    assert (found.columns["number"].low, found.columns["number"].high) == (1.0, 3.0)
    assert set(found.columns["integer"].quantiles or []) == {1.0, 2.0, 3.0}
    assert set(found.columns["boolean"].quantiles or []) == {0.0, 1.0}
    assert found.columns["text"].shares == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    assert found.numbers == ["number", "integer", "boolean"]
    assert found.duplicates == pytest.approx(1 / 3)
    assert found.label.counts == {"0": 2, "1": 2}


def test_a_column_that_is_null_everywhere_has_no_quantiles() -> None:
    found = worlds.profile(
        {"x": [None, None], "t": [None, None]}, [0, 1], known=0, cut=1, kinds={"x": "number", "t": "text"}
    )

    assert found.whole.columns["x"].quantiles is None
    assert found.whole.columns["t"].shares == {}
    assert Profile.parse(found.encode()) == found


# ── how well one column orders the label ─────────────────────────────────────────────────────────

RNG = np.random.default_rng(5)
LABEL = np.array(["no", "yes"])[RNG.integers(0, 2, 400)]
YES = LABEL == "yes"


def of_number(values: object, label: object = LABEL, task: str = "binary") -> float:
    found = of_numbers(np.asarray(values, dtype=float), targets_of(np.asarray(label), task))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_column_that_follows_from_the_label_orders_it_perfectly_in_either_direction() -> None:
    assert of_number(YES * 2.0) == 1.0
    assert of_number(YES * -2.0) == 1.0


def test_noise_orders_nothing() -> None:
    assert of_number(RNG.normal(size=400)) < 0.6
    assert of_number(np.zeros(400)) == 0.5


def test_a_null_alone_can_tell_the_label() -> None:
    assert of_number(np.where(YES, RNG.normal(size=400), np.nan)) == 1.0


def test_a_column_that_tells_the_label_where_it_is_known_is_seen_through_its_nulls() -> None:
    mostly_null = np.where(RNG.uniform(size=400) < 0.5, YES, np.nan)

    assert of_number(mostly_null) == 1.0


def test_one_class_of_three_that_is_told_is_enough() -> None:
    three = np.array(["a", "b", "c"])[RNG.integers(0, 3, 400)]

    assert of_number(np.where(three == "b", 5.0, RNG.normal(size=400) / 10), three, "multiclass") == 1.0


def test_a_monotone_function_of_a_number_orders_it_perfectly() -> None:
    numbers = RNG.normal(size=400)

    assert of_number(np.exp(-numbers), numbers, "regression") == pytest.approx(1.0)
    assert of_number(RNG.normal(size=400), numbers, "regression") < 0.2


def test_too_few_rows_of_a_class_tell_nothing() -> None:
    few = np.array(["no"] * 50 + ["yes"] * 9)

    assert of_numbers(np.arange(59.0), targets_of(few, "binary")) is None


def test_a_text_that_names_the_label_orders_it_and_a_name_per_row_does_not() -> None:
    targets = targets_of(LABEL, "binary")
    coded = np.where(YES, "shipped", "returned").astype(object)
    names = np.array([f"row {row}" for row in range(400)], dtype=object)
    noise = np.array(["x", "y", "z"], dtype=object)[RNG.integers(0, 3, 400)]

    found = [of_texts(texts, targets) for texts in (coded, names, noise)]

    assert found[0] == 1.0
    assert found[1] == 0.5
    assert found[2] is not None
    assert found[2] < 0.6


@given(seed=st.integers(0, 2**32), groups=st.integers(2, 200))
def test_texts_that_tell_nothing_never_look_like_a_leak(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    texts = rng.integers(0, groups, 200).astype(str).astype(object)

    binary = of_texts(texts, targets_of(rng.integers(0, 2, 200).astype(str), "binary"))
    number = of_texts(texts, targets_of(rng.normal(size=200), "regression"))

    assert binary is not None
    assert number is not None
    assert max(binary, number) < 0.8
