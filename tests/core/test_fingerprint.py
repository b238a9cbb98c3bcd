"""Names for content."""

import hashlib
from typing import Any

import pytest

from understudy.fingerprint import canonical_json, digest_of, training_fingerprint

INPUTS: dict[str, Any] = {
    "source": "a" * 64,
    "data": {"digest": "b" * 64, "cut": 10},
    "params": {},
    "seed": 1,
    "libraries": {"numpy": "2"},
}


def test_a_digest_is_the_sha256_in_hex() -> None:
    assert digest_of(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_equal_values_have_one_json_whatever_the_order_of_their_keys() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{"a":"é","b":1}'.encode()


def test_what_is_no_number_has_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize(
    "change",
    [{"source": "c"}, {"data": {"digest": "b" * 64, "cut": 11}}, {"params": {"C": 1}}, {"seed": 2}, {"libraries": {}}],
    ids=lambda change: next(iter(change)),
)
def test_a_fingerprint_changes_with_anything_that_a_training_depends_on(change: dict[str, Any]) -> None:
    assert training_fingerprint(**INPUTS) == training_fingerprint(**INPUTS)
    assert training_fingerprint(**INPUTS) != training_fingerprint(**{**INPUTS, **change})
