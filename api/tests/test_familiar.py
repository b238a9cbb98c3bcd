"""What a head that was read before is known by, and everything that is not mistaken for it."""

import pytest

from api.familiar import familiar

BODY = b'{"x":1}'
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\nUser-Agent: test\r\n\r\n"
LENGTH = (b"Content-Length", b"7")
KNOWN = familiar(HEAD + BODY, BODY, LENGTH, b"/predict", None)


def sent(body: bytes, length: bytes) -> bytes:
    return HEAD.replace(b": 7\r", b": " + length + b"\r") + body


@pytest.mark.parametrize("body", [BODY, b'{"x":2}', b'{"x":1.25}', b"[" + b" " * 12345 + b"]", b""])
def test_the_same_head_with_another_body_is_known(body: bytes) -> None:
    assert KNOWN is not None
    assert KNOWN.body_in(sent(body, b"%d" % len(body))) == body


@pytest.mark.parametrize(
    "length", [b"", b"6", b"8", b"+7", b"-7", b" 7", b"7 ", b"0x7", b"7,7", b"7_", b"123456", b"\xb2"]
)
def test_a_length_that_is_not_that_of_the_body_is_left_to_the_parser(length: bytes) -> None:
    assert KNOWN is not None
    assert KNOWN.body_in(sent(BODY, length)) is None


def test_a_piece_of_a_request_and_more_than_one_are_left_to_the_parser() -> None:
    assert KNOWN is not None
    whole = HEAD + BODY
    assert [KNOWN.body_in(whole[:end]) for end in range(len(whole))] == [None] * len(whole)
    assert KNOWN.body_in(whole + b"\r") is None
    assert KNOWN.body_in(whole + whole) is None


@pytest.mark.parametrize("place", range(len(HEAD)))
def test_a_head_that_differs_in_one_byte_is_left_to_the_parser(place: int) -> None:
    assert KNOWN is not None
    other = bytearray(HEAD)
    other[place] ^= 1
    assert KNOWN.body_in(bytes(other) + BODY) is None


@pytest.mark.parametrize(
    "piece",
    [
        b"\r\n" + HEAD + BODY,
        HEAD + BODY + HEAD + BODY,
        HEAD.replace(b"\r\nUser", b"\r\nContent-Length: 7\r\nUser") + BODY,
        HEAD.replace(b": 7", b":7") + BODY,
        HEAD[30:] + BODY,
        BODY,
    ],
)
def test_nothing_is_learnt_from_a_piece_that_is_not_one_request_written_as_usual(piece: bytes) -> None:
    assert familiar(piece, BODY, LENGTH, b"/predict", None) is None
