"""What is left out of a text before it is kept: passwords and tokens that the error of a library has quoted.

A source may raise anything, its connection string too. What a text is kept in, a log or an event, is read by more
people than may know the password, and an event stays for good.
"""

import re
from typing import Any

HIDDEN = "…"

LONGEST = 500
"""Characters of a secret that are looked for; a bound, since texts come from outside."""

SECRETS = (
    re.compile(rf"(?i)(\b(?:bearer|basic)\s+)[^\s\"'\\]{{1,{LONGEST}}}"),
    re.compile(rf"(:/{{1,3}}[^\s\"'<>\\:@/]{{0,100}}:)[^\s\"'<>\\]{{1,{LONGEST}}}(?=@)"),
    re.compile(
        r"(?i)((?:passw(?:or)?d|passphrase|pwd|secret|(?:api|access|account|private|secret)[_-]?key"
        r"|(?:access|auth|refresh|session|sas)[_-]?token|credentials?)(?:[_-]\w{0,20})?[\"'\\]{0,4}\s{0,3}[=:]\s{0,3}[\"'\\]{0,4})"
        rf"[^\s\"'&;,)\\]{{1,{LONGEST}}}"
    ),
)


LONGEST_TEXT = 20_000
"""Characters of one text that are kept: a traceback fits, and what somebody has sent does not fill the disk."""


def redacted(text: str) -> str:
    """`text`, cut to its longest, without the values that stand where passwords and tokens stand."""
    text = text[:LONGEST_TEXT]
    for secret in SECRETS:
        text = secret.sub(rf"\1{HIDDEN}", text)
    return text


def without_secrets(value: Any) -> Any:
    """`value` as JSON has it, each text in it redacted; what JSON cannot hold is shown as text."""
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {redacted(str(key)): without_secrets(one) for key, one in value.items()}
        case list() | tuple():
            return [without_secrets(one) for one in value]
    return redacted(str(value))
