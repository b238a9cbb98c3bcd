"""How far the rows of one training lie from those of another."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from understudy.movement import class_shares, column_moves, effect, middle, other_kinds, overlap, variation
from understudy.profile import Part, profile_columns
from understudy.signature import ColumnKind

random = np.random.default_rng


def part(columns: Mapping[str, Any], **kinds: ColumnKind) -> Part:
    n = len(next(iter(columns.values())))
    return profile_columns(
        columns,
        kinds={name: kinds.get(name, "number") for name in columns},
        label=np.arange(n) % 2,
        task="binary",
        clock=list(range(n)),
        new_from=0,
        fitted_until=0,
    ).whole


def ids(*values: int) -> Any:
    return np.array(values, dtype=np.uint64)


def test_rows_are_the_same_changed_added_or_removed_each_as_often_as_it_occurs() -> None:
    found = overlap(ids(1, 2, 2, 3), ids(2, 2, 2, 3, 4), ids(10, 20, 21, 30), ids(20, 21, 22, 31, 40))

    assert (found.same, found.changed, found.added, found.removed) == (2, 1, 2, 1)


def test_the_column_that_moved_farthest_comes_first_and_without_new_rows_nobody_can_tell_whether_that_is_chance() -> (
    None
):
    then = part({"still": random(1).normal(size=400), "moved": random(2).normal(size=400)})
    now = part({"still": random(3).normal(size=400), "moved": random(4).normal(1, size=400)})

    found = column_moves(then, now, None)

    assert [(move.name, move.moved) for move in found] == [("moved", None), ("still", None)]
    assert found[0].effect == pytest.approx(0.38, abs=0.06)


def test_rows_that_are_new_show_what_all_rows_together_hide() -> None:
    old, new = random(1).normal(size=900), random(2).normal(1, size=200)
    then, now = part({"x": old}), part({"x": np.concatenate([old, new])})

    (move,) = column_moves(then, now, {"x": new})

    assert move.new is not None
    assert move.new.effect > 4 * move.effect
    assert 0 < move.new.low < move.new.effect < move.new.high
    assert move.moved


@pytest.mark.parametrize(
    ("then", "now", "wanted"),
    [
        (["a"] * 50 + ["b"] * 50, ["a"] * 100, 0.5),
        (["a"] * 100, ["c"] * 100, 1.0),
        (["a"] * 100, ["a"] * 70 + [None] * 30, 0.3),
    ],
)
def test_texts_move_by_the_share_of_rows_that_say_something_else(then: Any, now: Any, wanted: float) -> None:
    (move,) = column_moves(part({"x": then}, x="text"), part({"x": now}, x="text"), None)

    assert move.effect == pytest.approx(wanted)


def test_nulls_alone_are_a_move() -> None:
    values = random(1).normal(size=200)
    gone = np.where(np.arange(200) % 2, np.nan, values)

    (move,) = column_moves(part({"x": values}), part({"x": gone}), {"x": gone})

    assert move.moved
    assert move.nulls == (0.0, 0.5)


def test_a_column_of_nothing_but_nulls_is_no_error() -> None:
    nothing, values = np.full(200, np.nan), random(1).normal(size=200)

    (late,) = column_moves(part({"x": nothing}), part({"x": values}), {"x": values})
    (lost,) = column_moves(part({"x": values}), part({"x": nothing}), {"x": nothing})

    assert (late.effect, late.moved, late.typical[0]) == (1.0, True, None)
    assert (lost.effect, lost.moved, lost.typical[1]) == (1.0, True, None)


def test_columns_of_another_kind_are_named_and_not_compared() -> None:
    then, now = part({"x": ["a"] * 20}, x="text"), part({"x": [1.0] * 20})

    assert other_kinds(then, now) == ("x",)
    assert column_moves(then, now, None) == ()


@pytest.mark.parametrize("kind", ["number", "text"])
def test_chance_alone_is_called_a_move_in_hardly_more_than_one_case_of_twenty(kind: ColumnKind) -> None:
    def drawn(seed: int) -> Any:
        values = random(seed).integers(0, 5, size=200) if kind == "text" else random(seed).normal(size=200)
        return values.astype(str).astype(object) if kind == "text" else values

    then = [part({"x": drawn(i)}, x=kind) for i in range(60)]

    found = [column_moves(one, one, {"x": drawn(1000 + i)})[0].moved for i, one in enumerate(then)]

    assert sum(map(bool, found)) <= 5


def test_what_is_measured_is_what_the_shares_and_quantiles_say() -> None:
    assert middle([float(i) for i in range(101)]) == 50
    assert variation({"a": 0.5}, {"a": 0.5, "b": 0.5}) == pytest.approx(0.5)
    assert effect(part({"x": [1.0, 2.0]}).columns["x"], part({"x": [1.0, 2.0]}).columns["x"]) == 0.0
    assert class_shares(part({"x": [1.0] * 4}).label) == {"0": 0.5, "1": 0.5}
