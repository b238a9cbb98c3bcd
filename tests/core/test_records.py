"""Chunks: what goes in comes out, and what is left out is left out for everybody alike."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recorded import SAID, Call, batch, call, chunk, id_of, in_chunks, minute, signature
from understudy.chunks import find, narrowed
from understudy.parity import Answer
from understudy.records import Chunk, Identity, Layout, Record, is_sampled, withheld


def found(chunk: Chunk, number: int, ms: int | None = None) -> Record:
    asked = Identity.parse(id_of(number, ms))
    assert asked is not None
    record = find(chunk, asked)
    assert record is not None
    return record


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=40),
    share=st.sampled_from([1.0, 0.5]),
    packed=st.booleans(),
)
def test_every_request_that_is_kept_is_found_with_its_rows(
    sizes: list[tuple[int, bool]], share: float, packed: bool
) -> None:
    calls, expected, number, now = [], dict[int, Any](), 0, minute(0)
    for n, joined in sizes:
        values = [[float(number + i), float(-i)] for i in range(n)]
        made = batch(number, values, ms=now) if joined else call(number, values, ms=now)
        calls.append(made if packed else unpacked(made, values))
        expected |= {number: values} if joined else {number + i: [values[i]] for i in range(n)}
        number += 1 if joined else n
    made_of = in_chunks(*calls, share=share)
    kept = {n for n in expected if is_sampled(id_of(n, now).encode(), share)}

    records = {n: r for n in expected for c in made_of if (r := find(c, Identity.parse(id_of(n, now)))) is not None}  # type: ignore[arg-type]

    assert records.keys() == kept
    assert {n: r.rows for n, r in records.items()} == {n: expected[n] for n in kept}
    assert all(len(r.answer.predictions) == len(r.rows) for r in records.values())
    assert sum(c.requests for c in made_of) == len(kept)


def unpacked(made: Call, values: list[list[float]]) -> Call:
    """The same call as a form answers that takes no float32."""
    made.rows = [tuple(row) for row in values]
    made.output = Answer(["yes"] * made.n, [[0.25, 0.75]] * made.n)
    return made


def test_a_chunk_holds_some_hundreds_of_requests_of_one_second() -> None:
    many = in_chunks(*(call(number, [[1, 1]] * 50, ms=minute(0)) for number in range(0, 5_000, 50)))
    slow = in_chunks(*(call(number, ms=minute(0) + 100 * number) for number in range(50)))

    assert [made.requests for made in many] == [500] * 10
    assert all(made.until_ms - made.since_ms <= 1_000 for made in slow)
    assert len(slow) < 12


def test_a_large_call_does_not_make_others_wait_for_its_bytes() -> None:
    assert len(in_chunks(batch(1, np.zeros((60_000, 2)).tolist()), call(2, ms=minute(1)))) == 2


def test_values_are_those_of_the_signature_again() -> None:
    about = signature("number", "integer", "boolean", "number")
    made = chunk(call(1, [[0.1, 12, 1, float("nan")]]), about=about)

    assert found(made, 1).rows == [[0.1, 12, True, None]]
    assert [type(value) for value in found(made, 1).rows[0]] == [float, int, bool, type(None)]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_the_float32_that_the_model_saw(value: float) -> None:
    (row,) = found(chunk(call(1, [[value, 0]])), 1).rows

    assert np.float32(row[0]).tobytes() == np.float32(value).tobytes()


def test_of_a_row_that_is_asked_for_alone_no_other_is_made() -> None:
    now = minute(1)
    made = chunk(call(1, [[9, 9]], ms=now), batch(2, [[1, 2], [3, 4], [5, 6]], ms=now))
    asked = Identity.parse(id_of(2, now) + "/1")
    assert asked is not None

    record = find(made, asked)

    assert record is not None
    assert (record.rows, record.answer) == ([[3.0, 4.0]], SAID)


def test_a_regression_and_a_text_come_back() -> None:
    number = chunk(call(1, output=np.array([[3.5]], np.float32)), about=signature(classes=None))
    text = chunk(call(1, rows=[("Genève", None)]), about=signature("text", "text"))

    assert found(number, 1).answer == Answer([3.5], None)
    assert found(text, 1).rows == [["Genève", None]]
    assert found(text, 1).answer == SAID


def test_each_request_keeps_its_role_and_its_latency() -> None:
    made = chunk(call(1, [[1, 1], [2, 2]], roles=["client", None], latencies_s=[0.5, 0.25]), call(3, ms=minute(1)))

    assert [(found(made, n, minute(1)).role, found(made, n, minute(1)).latency_s) for n in (1, 2, 3)] == [
        ("client", 0.5),
        (None, 0.25),
        (None, 0.00025),
    ]


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [("one", 2.0)]])
def test_a_column_that_is_withheld_after_all_is_taken_out_again(values: Any) -> None:
    packed = isinstance(values[0], list)
    about = signature("number", "number") if packed else signature("text", "number")
    made = chunk(call(1, values) if packed else call(1, rows=values), about=about)

    narrow = narrowed(made, {"a", "elsewhere"})

    assert found(narrow, 1).rows == [[2.0]]
    assert (found(narrow, 1).columns, found(narrow, 1).withheld) == (("b",), ("a",))
    assert narrowed(narrow, {"a"}) is narrow
    assert found(narrowed(narrow, {"b"}), 1).rows == [[]]
    assert narrowed(made, {"elsewhere"}) is made


def test_columns_are_withheld_by_any_of_their_tags() -> None:
    definition = {"tags": {"name": ["personal"], "salary": ["finance", "personal"], "age": ["internal"]}}

    assert withheld(definition, {"personal"}) == {"name", "salary"}
    assert withheld(definition, {"internal", "finance"}) == {"salary", "age"}
    assert withheld(definition, ()) == withheld({}, {"personal"}) == frozenset()


def test_about_as_many_requests_are_sampled_as_were_asked_for() -> None:
    ids = [id_of(number).encode() for number in range(10_000)]

    counts = {share: sum(is_sampled(identity, share) for identity in ids) for share in (0.0, 0.1, 0.5, 1.0)}

    assert (counts[0.0], counts[1.0]) == (0, 10_000)
    assert 900 < counts[0.1] < 1_100
    assert 4_800 < counts[0.5] < 5_200
    assert all(is_sampled(identity, 0.5) for identity in ids if is_sampled(identity, 0.1))


def test_a_layout_is_its_text() -> None:
    layout = Layout.of(signature("text", "integer", classes=(0, 1)), {"a"})

    assert Layout.from_text(layout.to_text()) == layout
    assert (layout.kept, layout.withheld) == ([1], ("a",))


@pytest.mark.parametrize("text", ["", "0" * 24, "0" * 26, "g" * 25, "0" * 25 + "/", "0" * 25 + "/x", "A" * 25])
def test_what_is_no_id_is_told(text: str) -> None:
    assert Identity.parse(text) is None


def test_an_id_is_its_parts() -> None:
    asked = Identity.parse(id_of(7) + "/12")

    assert asked == Identity(minute(7), 7, "abc123", 12)
    assert str(asked) == id_of(7)
