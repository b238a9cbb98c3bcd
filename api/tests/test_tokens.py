"""A token file may be replaced, spoilt or missing at any moment: nobody gets in by that, and nobody is thrown out."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from api.tests import given
from api.tokens import SETTLED_NS, Tokens, make_token, mark_of, read_token
from understudy.errors import BadSettings
from understudy.settings import Settings

FRESH = "n" * 43
ROLES = ("operator", "scheduler", "client")


def put(file: Path, token: str, mode: int = 0o600) -> None:
    """Replace a token as one should: whole, and with its mode."""
    fresh = file.with_name("fresh")
    fresh.write_text(token + "\n")
    fresh.chmod(mode)
    fresh.rename(file)


def gone(file: Path) -> None:
    file.unlink()


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def endless(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def cut_short(file: Path) -> None:
    file.write_text(FRESH[:20])


SPOILT: dict[str, Callable[[Path], object]] = {
    "gone": gone,
    "empty": lambda file: file.write_bytes(b""),
    "cut short": cut_short,
    "readable by others": lambda file: put(file, FRESH, 0o644),
    "readable by the group": lambda file: put(file, FRESH, 0o640),
    "no text": lambda file: file.write_bytes(b"\xff\xfe" + b"\x80" * 60),
    "two lines": lambda file: file.write_text(f"{FRESH}\n{FRESH}\n"),
    "zeros after a power cut": lambda file: file.write_bytes(bytes(44)),
    "a pipe": a_pipe,
    "a folder": a_folder,
    "endless": endless,
    "a link to nowhere": nowhere,
}


def asked(api: given.Api, token: str) -> int:
    """401 for a stranger, 404 for the operator: there is no such model."""
    headers = [(b"Authorization", f"Bearer {token}".encode())]
    body = {"model_name": "rain", "reason": "x"}
    return int(api.client.post("/model/demote", json=body, headers=headers).status_code)


@pytest.mark.fault(5)
def test_a_replaced_token_counts_from_the_next_request_on(api: given.Api) -> None:
    file = api.home / "var" / "operator.token"
    old = read_token(file)
    assert asked(api, old) == 404

    put(file, FRESH)

    assert (asked(api, old), asked(api, FRESH)) == (401, 404)


@pytest.mark.fault(5)
def test_a_token_written_over_another_of_its_length_counts_at_once(api: given.Api) -> None:
    """The two look alike to whoever compares sizes and a clock that ticks slowly."""
    file = api.home / "var" / "operator.token"
    for letter in "abcdefgh":
        before = file.stat()
        with file.open("r+") as opened:
            opened.write(letter * 43)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert asked(api, letter * 43) == 404


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_file_lets_nobody_in_and_throws_nobody_out(
    api: given.Api, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = api.home / "var" / "operator.token"
    old = read_token(file)

    SPOILT[how](file)

    with caplog.at_level(logging.WARNING):
        assert {asked(api, old) for _ in range(10)} == {404}
        assert {asked(api, token) for token in (FRESH, FRESH[:20], "", "\0" * 43, "\ufffd" * 62)} == {401}
    told = [record for record in caplog.records if getattr(record, "action", "") == "token.unusable"]
    assert len(told) == 1
    assert old not in told[0].getMessage()
    assert FRESH not in told[0].getMessage()


def test_what_follows_a_spoilt_file_counts_and_the_next_spoilt_one_is_told_again(
    api: given.Api, caplog: pytest.LogCaptureFixture
) -> None:
    file = api.home / "var" / "operator.token"
    old = read_token(file)
    for token in ("a" * 43, "b" * 43):
        cut_short(file)
        assert asked(api, old) == 404
        put(file, token)
        assert (asked(api, old), asked(api, token)) == (401, 404)
        old = token

    assert [getattr(record, "action", "") for record in caplog.records].count("token.unusable") == 2


@pytest.mark.parametrize("how", [how for how in SPOILT if how not in ("gone", "a link to nowhere")])
def test_the_api_does_not_start_on_a_spoilt_file(tmp_path: Path, how: str) -> None:
    settings = Settings(home=tmp_path)
    Tokens(settings)

    SPOILT[how](tmp_path / "secrets" / "scheduler.token")

    with pytest.raises(BadSettings, match=r"scheduler\.token"):
        Tokens(settings)


def test_processes_that_start_on_an_empty_folder_agree_on_one_token(tmp_path: Path) -> None:
    starts = 16
    with ThreadPoolExecutor(starts) as pool:
        for round_ in range(20):
            file, barrier = tmp_path / str(round_) / "operator.token", Barrier(starts)

            def start(_: int, file: Path = file, barrier: Barrier = barrier) -> str:
                barrier.wait()
                make_token(file)
                return read_token(file)  # whole, whoever wrote it

            assert len(set(pool.map(start, range(starts)))) == 1
            assert [path.name for path in file.parent.iterdir()] == ["operator.token"]


def test_a_file_is_read_again_until_no_second_change_could_look_the_same(tmp_path: Path) -> None:
    file = tmp_path / "operator.token"
    make_token(file)

    assert mark_of(file) is None

    earlier = file.stat().st_mtime_ns - 10 * SETTLED_NS
    os.utime(file, ns=(earlier, earlier))
    assert mark_of(file) is None  # its change of times is a change too


def test_one_token_for_two_roles_opens_what_the_lesser_may(tmp_path: Path) -> None:
    same = {f"{role}_token": FRESH for role in ROLES}
    with given.api(tmp_path, **same) as api:
        assert asked(api, FRESH) == 403
