from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from tests.adapters.stream import at, model, rows
from understudy.adapters import recipe, snapshot
from understudy.adapters.bundle import unpack
from understudy.adapters.snapshot import Snapshot
from understudy.errors import BadDefinition, DataRefused
from understudy.events import timestamp
from understudy.fingerprint import digest_of
from understudy.model import Model


def taken(frame: pd.DataFrame, of: Model | None = None) -> Snapshot:
    return snapshot.read(snapshot.write(frame), of or model(frame))


def clock(minute: int) -> str:
    return timestamp(at(minute))


@pytest.mark.parametrize(
    ("rows_given", "after", "held_out"),
    [
        (500, None, 250),  # half of what is new
        (500, 259, 120),
        (500, 339, 100),  # at least a hundred
        (3000, None, 1000),  # at most a thousand
        (3000, 2000, 499),
    ],
)
def test_the_newest_half_of_what_is_new_is_held_out(rows_given: int, after: int | None, held_out: int) -> None:
    given = taken(rows(rows_given))

    cut = recipe.choose_cut(given, None if after is None else clock(after))

    assert len(recipe.divide(model(rows(1)), given, cut).held_out) == held_out


def test_every_row_held_out_is_later_than_what_was_judged_before() -> None:
    given = taken(rows(500))

    rows_divided = recipe.divide(model(rows(1)), given, recipe.choose_cut(given, clock(380)))

    assert min(given.clock[rows_divided.held_out].tolist()) > clock(380)


def test_no_moment_stands_on_both_sides_of_the_cut() -> None:
    frame = rows(500).assign(at=[at(minute // 7 * 7) for minute in range(500)])
    given = taken(frame)

    divided = recipe.divide(model(frame), given, recipe.choose_cut(given, None))

    assert set(given.clock[divided.fitted]).isdisjoint(given.clock[divided.held_out])
    assert len(divided.held_out) >= 250


def test_rows_without_a_label_are_on_neither_side() -> None:
    frame = rows(500).astype({"label": "float64"})
    frame.loc[frame.index % 2 == 0, "label"] = np.nan
    given = taken(frame)

    divided = recipe.divide(model(frame), given, recipe.choose_cut(given, None))

    assert len(divided.fitted) + len(divided.held_out) == 250
    assert frame["label"].iloc[[*divided.fitted, *divided.held_out]].notna().all()


def test_a_tag_of_a_column_that_is_not_there_is_refused() -> None:
    frame, definition = rows(500), model(rows(1))
    given, definition.tags = taken(frame), {"label": ("personal",), "emial": ("personal",)}

    with pytest.raises(BadDefinition, match="`tags` names a column `emial`"):
        recipe.divide(definition, given, recipe.choose_cut(given, None))


@pytest.mark.fault(71)
@pytest.mark.parametrize("n", [0, 1, 99, 199])
def test_too_few_rows_with_a_label_are_refused(n: int) -> None:
    frame = rows(300).astype({"label": "float64"})
    frame.loc[n:, "label"] = np.nan

    with pytest.raises(DataRefused, match=f"hold {n} rows with a label; 100 to fit and 100 to judge"):
        recipe.choose_cut(taken(frame), None)


def test_new_rows_are_those_later_than_the_last_profile() -> None:
    of = model(rows(1))
    early, later = taken(rows(400)), taken(rows(700))
    first = recipe.profile(of, recipe.divide(of, early, recipe.choose_cut(early, None)), reference=None, future=0)

    divided = recipe.divide(of, later, recipe.choose_cut(later, clock(399)))
    second = recipe.profile(of, divided, reference=first, future=2)

    assert second.new is not None
    assert (second.whole.rows, second.new.rows, second.future) == (700, 300, 2)
    assert second.new_fitted is not None
    assert second.new_fitted.rows == 150


def test_labels_that_have_nulls_beside_them_are_measured_as_the_same_classes() -> None:
    of, frame = model(rows(1)), rows(400).astype({"label": "float64"})
    frame.loc[390:, "label"] = np.nan
    given = taken(frame)

    measured = recipe.profile(of, recipe.divide(of, given, clock(200)), reference=None, future=0)

    assert sorted(measured.whole.label.counts or {}) == ["0", "1"]


def inputs(**changes: object) -> recipe.Inputs:
    return recipe.Inputs(**{"source": "a" * 64, "data": "b" * 64, "params": {}, "cut": clock(300), **changes})  # type: ignore[arg-type]


def test_the_same_inputs_give_the_same_bytes_also_where_the_estimator_names_no_seed(tmp_path: Path) -> None:
    of, given = model(rows(1), estimator=RandomForestClassifier(5)), taken(rows(500))

    first, second = (recipe.make(of, recipe.divide(of, given, clock(300)), inputs()) for _ in range(2))
    other = recipe.make(of, recipe.divide(of, given, clock(300)), inputs(data="c" * 64))

    assert first == second
    assert unpack(first, digest=digest_of(first)).forms != unpack(other, digest=digest_of(other)).forms


def test_a_manifest_says_what_it_was_trained_from() -> None:
    of, given = model(rows(1)), taken(rows(500))

    bundle = recipe.make(of, recipe.divide(of, given, clock(300)), inputs(params={"C": 0.1}))

    manifest = unpack(bundle, digest=digest_of(bundle)).manifest
    assert manifest["data"] == {
        "digest": "b" * 64,
        "rows": 500,
        "train_rows": 301,
        "cut": clock(300),
        "end": clock(499),
    }
    assert manifest["params"] == {"C": 0.1}
    assert manifest["seed"] == inputs(params={"C": 0.1}).seed


def test_the_seed_follows_from_every_input() -> None:
    changed = [inputs(), inputs(source="c" * 64), inputs(data="c" * 64), inputs(params={"C": 1}), inputs(cut=clock(1))]

    seeds = {one.seed for one in changed}

    assert len(seeds) == len(changed)
    assert all(0 <= seed < 2**31 for seed in seeds)
