"""What is left out of a text before it is kept: passwords and tokens that the error of a library has quoted.

A source may raise anything, its connection string too. What a text is kept in, a log or an event, is read by more
people than may know the password, and an event stays for good.

A secret ends where its text does and not after so many characters, since what is left of half a token is half a token.
Texts come from outside: each pattern reads a character a bounded number of times, by runs that are never given back.
"""

import re
from typing import Any

HIDDEN = "…"

LONGEST_TEXT = 20_000
"""Characters of one text that are kept: a traceback fits, and what somebody has sent does not fill the disk."""

NAMES = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|(?:api|access|account|private|secret)[_-]?key"
    r"|(?:access|auth|refresh|session|sas)[_-]?token|credentials?)(?:[_-]\w{0,20})?"
)
"""Name a secret wherever they stand before `=` or `:`."""
SHORT_NAMES = r"(?:token|(?<![a-z0-9])sig|signature|session(?:[_-]?id)?|sessid|cookie)"
"""Words of plain sentences too: secrets are named by them before `=`, as keys in quotes, or before a long value."""
QUOTES = r"[\"'\\]{0,4}"
GIVEN = rf"{QUOTES}\s{{0,3}}[=:]\s{{0,3}}"
GIVEN_PLAINLY = (
    rf"(?:{QUOTES}\s{{0,3}}=|{QUOTES}[\"']\s{{0,3}}:(?=\s{{0,3}}[brfu\\]{{0,3}}[\"'])"
    r"|\s{0,3}:(?=\s{0,3}[\w.~+-]{16}))\s{0,3}"
)
VALUE = (
    r"(?:[brfu]{1,2}(?=[\"']))?(?:"
    r"(?P<plain>\"{3}|'{3}|[\"'])(?:\\.|(?!(?P=plain))[^\\])++"  # to the quote that closes it, or to the end
    r"|(?P<escaped>\\{1,7}[\"'])(?:(?!(?<!\\)(?P=escaped)).)++"  # the same, in a text that is itself quoted
    r"|[\"'\\]{0,4}[^\s\"'&;,)\\]++)"
)
HEADER = re.compile(rf"(?i)(\b(?:authorization|cookie){QUOTES}\s{{0,3}}:[^\S\r\n]{{0,3}})(?![\"'\s\\])[^\r\n]++")
"""A header's value goes to the end of its line; one in quotes is a value like others."""
SCHEME = re.compile(r"(?i)(\b(?:bearer|basic)\s++)[^\s\"'\\]++")
NAMED = re.compile(rf"(?is)((?:{NAMES}|\bauthorization){GIVEN}|{SHORT_NAMES}{GIVEN_PLAINLY}){VALUE}")

KEY = re.compile(rf"(?i)(?:{NAMES}|authorization|cookie|token)\Z")

WORD = re.compile(r"[^\s\"'<>\\]++")
USER = re.compile(r":/{1,3}[^:@/]*+:")
"""What stands before the password in a URL."""


def redacted(text: str, *, longest: int = LONGEST_TEXT) -> str:
    """`text`, cut to `longest` characters, without the values that stand where passwords and tokens stand."""
    is_cut = len(text) > longest
    if is_cut:
        text = text[:longest] + "@"  # so that a password whose host was cut off is still seen as one
    text = WORD.sub(_without_password, text)
    for secret in (HEADER, SCHEME, NAMED):
        text = secret.sub(_hidden, text)
    return text.removesuffix("@") if is_cut else text


def _hidden(found: re.Match[str]) -> str:
    """What names the secret, and the quote that opens it; the one that closes it follows."""
    groups = found.groupdict()
    opened = groups.get("plain") or groups.get("escaped") or ""
    return f"{found[1]}{opened}{HIDDEN}"


def _without_password(word: re.Match[str]) -> str:
    """A URL without what stands between its user and its last `@`."""
    end = max(word[0].rfind("@"), 0)
    user = USER.search(word[0], 0, end)
    return word[0] if user is None or user.end() == end else word[0][: user.end()] + HIDDEN + word[0][end:]


def without_secrets(value: Any) -> Any:
    """`value` as JSON has it, each text in it redacted; what JSON cannot hold is shown as text."""
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {redacted(str(key)): _of_key(str(key), one) for key, one in value.items()}
        case list() | tuple():
            return [without_secrets(one) for one in value]
    return redacted(str(value))


def _of_key(key: str, value: Any) -> Any:
    return HIDDEN if isinstance(value, str) and KEY.search(key) else without_secrets(value)
