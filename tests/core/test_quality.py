"""Data that must not be trained on is named; honest data passes."""

from typing import Any

import numpy as np
import pytest

from tests.core import worlds
from understudy import quality
from understudy.quality import Finding

RNG = np.random.default_rng(9)
EVERYWHERE = {
    "new rows": slice(worlds.KNOWN, None),
    "new rows to fit": slice(worlds.KNOWN, worlds.CUT),
    "all rows to fit": slice(0, worlds.CUT),
}


def found(given: worlds.World, **more: Any) -> tuple[Finding, ...]:
    return quality.check(worlds.snapshot(given, **more), worlds.reference(worlds.world()), {})


def only(findings: tuple[Finding, ...], check: str) -> str:
    """The reason of the one finding there is."""
    assert [finding.check for finding in findings] == [check]
    return findings[0].reason


def regression(given: worlds.World, label: Any) -> tuple[Finding, ...]:
    honest = 10 * given.truth + given.label
    before = {name: values[: worlds.KNOWN] for name, values in given.columns.items()}
    reference = worlds.profile(before, honest[: worlds.KNOWN], known=700, cut=850, task="regression")
    return quality.check(worlds.profile(given.columns, label, task="regression"), reference, {})


@pytest.mark.parametrize("seed", range(20))
def test_honest_snapshots_are_accepted(seed: int) -> None:
    given = worlds.world(seed=seed)

    assert quality.check(worlds.snapshot(given), worlds.reference(given), {"humidity": (0, 100)}) == ()
    assert quality.check(worlds.snapshot(given, known=0), None, {}) == ()
    assert regression(given, 10 * given.truth + given.label) == ()


def test_nothing_new_is_nothing_wrong() -> None:
    given = worlds.world()

    assert quality.check(worlds.snapshot(given), worlds.snapshot(given), {}) == ()
    assert quality.check(worlds.snapshot(given, known=worlds.END), worlds.snapshot(given), {}) == ()


# ── schema and rows ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault(72)
def test_renamed_columns_are_named_with_both_of_their_names_in_a_fixed_order() -> None:
    given = worlds.world()
    given.columns["speed"] = given.columns.pop("wind")

    findings = found(given)

    assert sorted(finding.reason for finding in findings) == [
        "The column `speed` is new.",
        "The column `wind` is gone.",
    ]


@pytest.mark.fault(72)
def test_a_column_of_another_kind_is_named_with_both_kinds() -> None:
    given = worlds.world()
    given.columns["wind"] = given.columns["wind"].astype(str)

    assert only(found(given), "schema") == "The column `wind` was of kind number and now is text."


@pytest.mark.parametrize(("before", "now"), [("integer", "number"), ("number", "integer")])
def test_integers_that_became_numbers_with_their_first_null_and_back_are_the_same_schema(before: Any, now: Any) -> None:
    given = worlds.world()
    given.columns["wind"] = given.columns["wind"].round()
    then = {name: values[: worlds.KNOWN] for name, values in given.columns.items()}
    reference = worlds.profile(
        then,
        given.label[: worlds.KNOWN],
        known=700,
        cut=850,
        kinds={**worlds.kinds(then), "wind": before},
    )
    if now == "number":
        given.columns["wind"][1200] = np.nan

    snapshot = worlds.snapshot(given, kinds={**worlds.kinds(given.columns), "wind": now})

    assert quality.check(snapshot, reference, {}) == ()


def test_a_number_instead_of_classes_is_another_schema() -> None:
    given = worlds.world()

    assert "The task was binary and now is regression." in only(found(given, task="regression"), "schema")


@pytest.mark.fault(71)
@pytest.mark.parametrize(("rows", "least"), [(499, 500), (99, 500), (500, None)])
def test_a_snapshot_that_lost_half_of_its_rows_is_refused(rows: int, least: int | None) -> None:
    given = worlds.world(rows)

    findings = [finding for finding in found(given, known=0, cut=rows - 50) if finding.check == "rows"]

    assert [finding.limit for finding in findings] == ([] if least is None else [least])


@pytest.mark.fault(71)
@pytest.mark.parametrize(("rows", "accepted"), [(99, False), (100, True)])
def test_a_hundred_rows_are_the_least_to_begin_with(rows: int, accepted: bool) -> None:
    findings = quality.check(worlds.snapshot(worlds.world(rows), known=0, cut=rows // 2), None, {})

    assert [finding.check for finding in findings] == ([] if accepted else ["rows"])


# ── nulls and stuck columns ──────────────────────────────────────────────────────────────────────


@pytest.mark.fault(72)
def test_a_column_that_is_null_everywhere_is_refused_even_without_a_reference() -> None:
    given = worlds.changed(worlds.world(), slice(None), wind=np.nan)

    assert (
        only(quality.check(worlds.snapshot(given, known=0), None, {}), "nulls")
        == "The column `wind` is null in every row."
    )


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["wind", "sky"])
def test_a_jump_of_nulls_is_refused(where: str, name: str) -> None:
    given = worlds.world()
    nothing = np.where(RNG.uniform(size=worlds.END) < 0.4, None, given.columns[name].astype(object))

    reason = only(found(worlds.changed(given, EVERYWHERE[where], **{name: nothing})), "nulls")

    assert f"`{name}` is null in" in reason
    assert "before in 0 %" in reason


def test_rows_to_fit_are_judged_even_where_none_of_them_is_new() -> None:
    given = worlds.changed(worlds.world(), slice(0, worlds.CUT), wind=np.nan)

    assert "null in 100 % of the rows to fit" in only(found(given, known=worlds.CUT), "nulls")


def test_a_few_nulls_more_are_believed() -> None:
    given = worlds.world()
    some = np.where(RNG.uniform(size=worlds.END) < 0.1, np.nan, given.columns["wind"])

    assert found(worlds.changed(given, EVERYWHERE["new rows"], wind=some)) == ()


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_sensor_that_is_stuck_is_refused(where: str) -> None:
    given = worlds.changed(worlds.world(), EVERYWHERE[where], humidity=64.0)

    findings = found(given)

    assert "stuck" in {finding.check for finding in findings}
    assert findings[0].column == "humidity"


# ── label ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault(72)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_constant_label_is_refused_even_without_a_reference(task: str) -> None:
    given = worlds.world()
    constant = worlds.profile(given.columns, np.ones(worlds.END, dtype=int), known=0, task=task)

    assert "there is nothing to learn" in only(quality.check(constant, None, {}), "label")


def test_a_label_that_is_constant_in_the_new_rows_only_is_refused() -> None:
    given = worlds.changed(worlds.world(), EVERYWHERE["new rows"], label=0)
    stuck = 10 * worlds.world().truth
    stuck[worlds.KNOWN :] = np.median(stuck)

    assert "varied before" in only(found(given), "label")
    assert "varied before" in only(regression(worlds.world(), stuck), "label")


def snowing(given: worlds.World, rows: int) -> Any:
    """Its label, with a third class in some rows that are both new and, seen from later, old."""
    snow = given.label.copy()
    snow[1100 : 1100 + rows] = 2
    return snow


@pytest.mark.fault(72)
def test_a_class_that_appears_and_one_that_is_gone_are_named() -> None:
    given = worlds.world()
    with_snow = worlds.profile(given.columns, snowing(given, 20), task="multiclass")

    appeared = quality.check(with_snow, worlds.reference(given), {})
    vanished = quality.check(worlds.snapshot(given, known=worlds.END), with_snow, {})

    assert only(appeared, "label") == "The class `2` was never seen before, and 20 rows have it."
    assert only(vanished, "label") == "The class `2` is gone; 20 rows had it."


@pytest.mark.parametrize(("rows", "common"), [(1, False), (5, False), (6, True)])
def test_a_new_class_counts_from_a_hundredth_of_the_new_rows_on(rows: int, common: bool) -> None:
    given = worlds.world()
    with_snow = worlds.profile(given.columns, snowing(given, rows), task="multiclass")

    assert bool(quality.check(with_snow, worlds.reference(given), {})) == common


@pytest.mark.parametrize(("rows", "common"), [(4, False), (5, True)])
def test_a_new_class_counts_from_five_rows_on_where_few_are_new(rows: int, common: bool) -> None:
    given = worlds.world(1110)
    with_snow = worlds.profile(given.columns, snowing(given, rows), task="multiclass", cut=1010)

    assert bool(quality.check(with_snow, worlds.reference(given), {})) == common


@pytest.mark.parametrize(("rows", "common"), [(15, False), (16, True)])
def test_a_class_that_was_rare_may_go(rows: int, common: bool) -> None:
    given = worlds.world()
    with_snow = worlds.profile(given.columns, snowing(given, rows), task="multiclass")

    assert bool(quality.check(worlds.snapshot(given, known=worlds.END), with_snow, {})) == common


@pytest.mark.parametrize("where", ["new rows", "new rows to fit"])
def test_a_jump_of_the_label_rate_is_refused(where: str) -> None:
    always = np.where(RNG.uniform(size=worlds.END) < 0.9, 1, 0)

    assert "total variation" in only(found(worlds.changed(worlds.world(), EVERYWHERE[where], label=always)), "label")


def test_a_label_in_another_unit_is_refused() -> None:
    label = 10 * worlds.world().truth + 1
    label[worlds.KNOWN :] *= 100

    assert "interquartile ranges" in only(regression(worlds.world(), label), "label")


# ── clock and ranges ─────────────────────────────────────────────────────────────────────────────


def test_labelled_rows_from_the_future_are_refused() -> None:
    assert "3 rows with a label are dated in the future" in only(found(worlds.world(), future=3), "clock")


def test_rows_that_repeat_the_time_of_others_are_refused_where_that_is_new() -> None:
    repeated = [*range(worlds.KNOWN), *sorted([*range(worlds.KNOWN, worlds.KNOWN + 300)] * 2)]
    dates = [row // 24 for row in range(worlds.END)]
    given = worlds.world()
    before = worlds.profile(
        {name: values[: worlds.KNOWN] for name, values in given.columns.items()},
        given.label[: worlds.KNOWN],
        known=700,
        cut=850,
        clock=dates[: worlds.KNOWN],
    )

    assert "repeat the time of another" in only(found(given, clock=repeated), "clock")
    assert quality.check(worlds.snapshot(given, clock=dates), before, {}) == ()


@pytest.mark.parametrize(
    ("bounds", "limit"), [((1, 100), "1…100"), ((0, 99), "0…99"), ((None, 99), "…99"), ((1, None), "1…")]
)
def test_a_value_outside_its_declared_range_is_named(bounds: tuple[float | None, float | None], limit: str) -> None:
    given = worlds.world()
    given.columns["humidity"][:2] = 0, 100

    reason = only(quality.check(worlds.snapshot(given, known=0), None, {"humidity": bounds}), "range")

    assert limit in reason


def test_open_ranges_and_ranges_of_other_columns_stop_nothing() -> None:
    ranges = {"humidity": (None, None), "no such column": (0, 1), "sky": (0, 1)}

    assert quality.check(worlds.snapshot(worlds.world(), known=0), None, ranges) == ()


# ── leaks and swapped columns ────────────────────────────────────────────────────────────────────


@pytest.mark.fault(68)
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["wind", "sky"])
def test_a_column_that_tells_the_label_and_did_not_before_is_a_leak(where: str, name: str) -> None:
    given = worlds.world()
    told = np.array(["no", "yes"])[given.label] if name == "sky" else given.label * 3.0

    findings = found(worlds.changed(given, EVERYWHERE[where], **{name: told}))

    assert ("leak", name) in {(finding.check, finding.column) for finding in findings}


def test_a_number_that_follows_from_a_numeric_label_is_a_leak() -> None:
    given = worlds.world()
    label = 10 * given.truth + given.label

    leaking = worlds.changed(given, EVERYWHERE["new rows"], wind=np.log(label))

    assert "leak" in {finding.check for finding in regression(leaking, label)}


def test_a_column_that_has_always_told_the_label_is_no_leak() -> None:
    given = worlds.changed(worlds.world(), slice(None), wind=worlds.world().label)

    assert quality.check(worlds.snapshot(given), worlds.reference(given), {}) == ()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("one", "two"), [("low", "high"), ("wind", "humidity"), ("low", "wind"), ("high", "humidity")])
def test_two_columns_that_changed_places_are_named(where: str, one: str, two: str) -> None:
    given = worlds.world()

    findings = found(worlds.changed(given, EVERYWHERE[where], **{one: given.columns[two], two: given.columns[one]}))

    assert f"{one}, {two}" in {finding.column for finding in findings if finding.check == "swapped"}


def test_two_texts_that_changed_places_are_named() -> None:
    given = worlds.world()
    given.columns["town"] = np.array(["Omaha", "Bellevue", "Lincoln"])[RNG.integers(0, 3, worlds.END)]
    reference = worlds.reference(given)
    given.columns["town"], given.columns["sky"] = given.columns["sky"], given.columns["town"]

    findings = quality.check(worlds.snapshot(given), reference, {})

    assert "sky, town" in {finding.column for finding in findings if finding.check == "swapped"}


def test_seasons_alone_do_not_look_like_columns_that_changed_places() -> None:
    given = worlds.world()
    warmer = {name: given.columns[name] + 12 for name in ("low", "high")}

    assert found(worlds.changed(given, EVERYWHERE["new rows"], **warmer)) == ()
