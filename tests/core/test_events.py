"""Facts keep their meaning on the way into the log and out again, and times that are no times are refused."""

import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.given import NEW_YEAR, fact
from understudy.errors import LogTampered, ModelFailed, NotFinite, UnderstudyError
from understudy.events import (
    GENESIS,
    KINDS,
    Event,
    ModelDefined,
    VersionTried,
    chain,
    decode,
    due_time,
    encode,
    fields_of,
    moment,
    timestamp,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def any_value(hint: Any) -> st.SearchStrategy[Any]:
    """Anything that a field of that type may hold."""
    simple = {str: TEXT, int: st.integers(), bool: st.booleans(), type(None): st.none()}
    if hint in simple:
        return simple[hint]
    if get_origin(hint) is not None and "Mapping" in str(get_origin(hint)):
        return st.dictionaries(TEXT, JSON, max_size=3)
    arguments = get_args(hint)
    if isinstance(arguments[0], str):
        return st.sampled_from(arguments)
    return st.one_of([any_value(argument) for argument in arguments])


def any_event(kind: type[Event]) -> st.SearchStrategy[Event]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: any_value(hints[field.name]) for field in dataclasses.fields(kind)})


ANY_EVENT = st.one_of([any_event(kind) for kind in KINDS.values()])


@given(ANY_EVENT)
def test_a_fact_is_read_back_as_it_was_told(event: Event) -> None:
    assert decode(event.kind, event.schema, encode(event), position=1) == event


@given(ANY_EVENT)
def test_the_same_fact_is_always_the_same_text(event: Event) -> None:
    jumbled = dict(reversed(fields_of(event).items()))

    assert encode(type(event)(**jumbled)) == encode(event)
    assert "\n" not in encode(event)


def test_every_kind_of_fact_has_a_name_of_its_own_and_a_line_for_people() -> None:
    assert set(KINDS.values()) == set(Event.__subclasses__())
    for name, kind in KINDS.items():
        assert name == kind.kind
        line = (kind.__doc__ or "").splitlines()[0]
        assert line.endswith("."), line
        assert not line.startswith(kind.__name__), "a dataclass without a docstring of its own"


def test_the_names_of_fields_and_kinds_are_those_that_old_logs_hold() -> None:
    """Whoever changes one raises `schema` and reads the old one too."""
    tried = VersionTried(
        model="rain", version="1", digest="d", environment="e", passed=True, reason="", report={"a": 1.5}, against=None
    )

    assert (tried.kind, tried.schema) == ("version.tried", 1)
    assert encode(tried) == (
        '{"against":null,"digest":"d","environment":"e","model":"rain","passed":true,'
        '"reason":"","report":{"a":1.5},"version":"1"}'
    )


@pytest.mark.parametrize(
    ("kind", "schema", "data"),
    [
        ("model.renamed", 1, "{}"),
        ("slot.skipped", 2, encode(fact("1"))),
        ("slot.skipped", 1, "{"),
        ("slot.skipped", 1, "[]"),
        ("slot.skipped", 1, "null"),
        ("slot.skipped", 1, '{"model":"rain"}'),
        ("slot.skipped", 1, encode(fact("1")).replace("}", ',"colour":"red"}')),
    ],
)
def test_a_row_that_is_no_fact_of_this_release_is_named(kind: str, schema: int, data: str) -> None:
    with pytest.raises(LogTampered, match=f"Event 7 of the log cannot be read as `{kind}`"):
        decode(kind, schema, data, position=7)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_fact_holds_no_number_that_json_has_not(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(ModelDefined(model="rain", definition={"deep": [{"x": number}]}, source_digest="", by="operator"))


LEAST = timedelta(microseconds=1)
CHAINED = {"position": 3, "time": timestamp(NEW_YEAR), "kind": "slot.skipped", "schema": 1, "data": "{}"}


@pytest.mark.parametrize(
    "change",
    [{"position": 4}, {"time": timestamp(NEW_YEAR + LEAST)}, {"kind": "x"}, {"schema": 2}, {"data": "{ }"}],
)
def test_the_hash_of_a_row_changes_with_everything_that_it_says(change: dict[str, Any]) -> None:
    assert chain(GENESIS, **{**CHAINED, **change}) != chain(GENESIS, **CHAINED)  # type: ignore[arg-type]
    assert chain("1" * 64, **CHAINED) != chain(GENESIS, **CHAINED)  # type: ignore[arg-type]


def test_the_hash_of_a_row_is_the_one_that_old_logs_hold() -> None:
    text = f'["{"0" * 64}",3,"2026-01-01T00:00:00.000000Z","slot.skipped",1,"{{}}"]'

    assert chain(GENESIS, **CHAINED) == hashlib.sha256(text.encode()).hexdigest()  # type: ignore[arg-type]


def test_fields_cannot_be_moved_from_one_part_of_a_row_to_the_next() -> None:
    one = chain(GENESIS, position=1, time="t", kind="a", schema=1, data='b"')
    other = chain(GENESIS, position=1, time="t", kind='a","', schema=1, data="b")

    assert one != other


# Times


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)).filter(lambda time: time.year >= 1001))
def test_a_time_is_read_back_to_the_microsecond_and_sorts_as_text(time: datetime) -> None:
    try:
        in_utc = time.astimezone(UTC)
    except OverflowError:
        return

    assert moment(timestamp(time)) == in_utc
    assert (timestamp(time) < timestamp(NEW_YEAR)) == (in_utc < NEW_YEAR)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T00:00:00Z", "2026-01-31T25:00:00Z",
     "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "２０２６-01-31T12:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # that is the promise: ValueError, and nothing else
        moment(text)


def test_a_time_of_any_zone_is_given_in_utc() -> None:
    assert moment("2026-01-01T02:30:00+02:30") == NEW_YEAR
    assert timestamp(NEW_YEAR.astimezone(timezone(timedelta(hours=-5)))) == "2026-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    "slot",
    ["first", "first/2", "by-hand/2026-01-01T00:00:00.000000Z", "again/2026-01-01T00:00:00.000000Z", "9Teen-Z",
     "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000+00:00", "2026-01-01T02:00:00.000000+02:00", "2026-01-01"],
)  # fmt: skip
def test_only_what_the_log_itself_would_write_is_a_due_time(slot: str) -> None:
    """Slots are compared as text: two spellings of a moment would be two slots, and a name could be one to come."""
    assert due_time(slot) is None


def test_a_due_time_is_the_moment_that_it_names() -> None:
    assert due_time("2026-01-01T00:00:00.000000Z") == NEW_YEAR


# Errors travel too


def all_errors(kind: type[UnderstudyError] = UnderstudyError) -> list[type[UnderstudyError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in all_errors(child))]


def test_every_error_survives_the_way_from_one_process_to_another() -> None:
    script = "import pickle, sys; sys.stdout.buffer.write(pickle.dumps(pickle.loads(sys.stdin.buffer.read())))"
    sent = [kind("What happened.", remedy="What to do.") for kind in all_errors()]
    child = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(sent), capture_output=True, check=True)
    received: list[UnderstudyError] = pickle.loads(child.stdout)  # noqa: S301  # our own child wrote it

    assert [type(error) for error in received] == all_errors()
    assert {(error.problem, error.remedy, str(error)) for error in received} == {
        ("What happened.", "What to do.", "What happened. What to do.")
    }


def test_every_error_has_a_code_of_its_own_for_machines() -> None:
    codes = [kind.code for kind in all_errors() if kind is not NotFinite]  # that one is told as what it is a kind of

    assert NotFinite.code == ModelFailed.code
    assert len(codes) == len(set(codes))
    assert all(json.dumps(code).strip('"').replace("_", "").isalnum() for code in codes)


def test_the_tree_of_errors_is_the_one_that_is_drawn_above_it() -> None:
    drawing = sys.modules[UnderstudyError.__module__].__doc__ or ""

    for kind in all_errors():
        assert kind.__name__ in drawing
