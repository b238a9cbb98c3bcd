import pytest

from understudy.redaction import HIDDEN, redacted, without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "Run rain-3 of rain succeeded. Version 3 was promoted.",
        "http://127.0.0.1:8000/docs",
        "postgresql://db.example:5432/sales has no table me@here",
        "mailto:me@example.org at 12:30:05",
        '{"run": "rain-1", "token": 12}',
        "operator's token: /home/me/var/operator.token",
        "the keyboard=qwerty, monkey: 3, secretary: Ms. Lee",
        "Its loss is 29.9 % lower than 0.2052 (p = 0.000, below 0.2).",
        "basically: bearers of news",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_only_the_value_goes() -> None:
    text = "FATAL: password authentication failed for postgresql://me:s3cr3t@db/x (password=s3cr3t host=db)"

    assert redacted(text) == text.replace("s3cr3t", HIDDEN)


def test_what_is_redacted_stays_as_it_is() -> None:
    once = redacted("Bearer abc, redis://:p@host, api_key: k")

    assert redacted(once) == once
    assert once == f"Bearer {HIDDEN} redis://:{HIDDEN}@host, api_key: {HIDDEN}"


def test_json_stays_json_and_loses_its_secrets() -> None:
    value = {"note": "password=s3cr3t", "rows": 3, "deep": [{"why": ("Bearer s3cr3t", None, 1.5, True)}]}

    assert without_secrets(value) == {
        "note": f"password={HIDDEN}",
        "rows": 3,
        "deep": [{"why": [f"Bearer {HIDDEN}", None, 1.5, True]}],
    }
