import pytest

from understudy.redaction import HIDDEN, LONGEST_TEXT, redacted, without_secrets


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


SECRET = "s3cr3t." * 200
"""Longer than any bound that a pattern may have had."""


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {SECRET}",
        f"https://me:{SECRET}@host/db",
        f"https://me:{SECRET}@{SECRET}@host/db",
        f"mysql://me:{SECRET}/{SECRET}@host/db",
        f"password={SECRET}, next",
        f"password='{SECRET} is {SECRET}', next",
        f"password='{SECRET} it\\'s {SECRET}', next",
        f'{{"password": "{SECRET} is {SECRET}", "rows": 3}}',
        f'{{\\"password\\": \\"{SECRET} is {SECRET}\\", \\"rows\\": 3}}',
        f'secret="""{SECRET} is\n{SECRET}""", next',
        f"pwd=b'{SECRET} {SECRET}'",
        f"password='{SECRET} that is cut {SECRET}",
        f"Authorization: token {SECRET}\nAccept: text/html",
        f'Authorization: Digest username="me", response="{SECRET}"\nAccept: text/html',
        f"{{'Authorization': 'token {SECRET}'}}",
        f"authorization=Bearer {SECRET}",
        f"Cookie: session={SECRET}; id={SECRET}",
        f"{{'Set-Cookie': 'id={SECRET}; path=/'}}",
        f"token={SECRET}",
        f"token: {SECRET}",
        f'"token": "{SECRET}"',
        f"https://host/blob?sig={SECRET}&X-Amz-Signature={SECRET}&rows=3",
        f"https://host/blob?X-Amz-Security-Token={SECRET}",
        f"sessionid={SECRET}",
    ],
)
def test_nothing_of_a_secret_stays(text: str) -> None:
    once = redacted(text)

    assert "s3cr3t" not in once
    assert HIDDEN in once
    assert redacted(once) == once
    assert all(word in once for word in ("next", "rows", "Accept", "host") if word in text)


@pytest.mark.parametrize("shown", range(1, 40))
def test_a_password_whose_host_was_cut_off_is_hidden_too(shown: int) -> None:
    url = "postgresql://me:s3cr3ts3cr3ts3cr3t@host/db"
    text = ("x" * LONGEST_TEXT)[: LONGEST_TEXT - shown - 1] + " " + url

    once = redacted(text)

    assert len(once) <= LONGEST_TEXT
    assert "s3" not in once
    assert url.startswith(once.rsplit(" ", 1)[1].partition(HIDDEN)[0])


@pytest.mark.parametrize(
    "piece",
    [
        ":/",
        "://a:",
        "a",
        "@",
        "a@",
        "pwd=",
        "token: ",
        "secret_",
        "bearer ",
        "basic\t",
        "cookie",
        "cookie:",
        "sig:",
        "pwd='",
        'pwd="\\\\',
        'pwd=\\"\\',
        'api_key"""   ',
        "authorization: \n",
        "\\",
        " ",
        "'",
        "=:",
    ],
)
def test_each_character_is_read_a_few_times_whatever_was_sent(piece: str) -> None:
    text = "password" + piece * (400_000 // len(piece))  # read once more for each character, it would take minutes

    assert len(redacted(text, longest=len(text))) <= len(text)


def test_what_is_redacted_stays_as_it_is() -> None:
    once = redacted("Bearer abc, redis://:p@host, api_key: k")

    assert redacted(once) == once
    assert once == f"Bearer {HIDDEN} redis://:{HIDDEN}@host, api_key: {HIDDEN}"


def test_what_a_key_names_goes_and_a_number_stays() -> None:
    value = {"password": "it is me", "headers": {"Authorization": "token x", "Accept": "y"}, "token": 12, "digest": "z"}

    assert without_secrets(value) == {
        "password": HIDDEN,
        "headers": {"Authorization": HIDDEN, "Accept": "y"},
        "token": 12,
        "digest": "z",
    }


def test_json_stays_json_and_loses_its_secrets() -> None:
    value = {"note": "password=s3cr3t", "rows": 3, "deep": [{"why": ("Bearer s3cr3t", None, 1.5, True)}]}

    assert without_secrets(value) == {
        "note": f"password={HIDDEN}",
        "rows": 3,
        "deep": [{"why": [f"Bearer {HIDDEN}", None, 1.5, True]}],
    }
