"""What `understudy run` decides before and beside its children; tests/e2e/test_command_line.py runs it."""

import json
import os
import shlex
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from understudy.adapters.api_client import ApiClient
from understudy.adapters.commands.connection import address
from understudy.adapters.commands.terminal import say
from understudy.adapters.launch import (
    AGAIN,
    Services,
    check_port,
    curl,
    first_lines,
    how,
    program,
    where_token,
    where_why,
)
from understudy.errors import BadSettings, Conflict, UnderstudyError
from understudy.settings import Settings


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"api_port": 9000}, "http://127.0.0.1:9000"),
        ({"api_host": "0.0.0.0"}, "http://127.0.0.1:8000"),  # noqa: S104 - nobody listens here
        ({"api_host": "::1", "api_port": 9000}, "http://[::1]:9000"),
        ({"api_host": "10.0.0.7"}, "http://10.0.0.7:8000"),
        ({"api_port": 9000, "api_url": "http://api:8000"}, "http://api:8000"),
    ],
)
def test_the_api_is_looked_for_where_it_is_said_to_be_or_else_where_it_would_listen(
    given: dict[str, Any], found: str
) -> None:
    assert address(Settings(**given)) == found


def test_a_taken_port_is_found_before_anything_is_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Conflict, match="UNDERSTUDY_API_PORT"):
        check_port(Settings(api_port=server.getsockname()[1]))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(BadSettings, match="UNDERSTUDY_API_HOST"):
        check_port(Settings(api_host=host))


SCHEMA = {"example": {"name": 'it\'s "quoted"', "x": 1.5}}
OPENAPI = {"paths": {"/predict": {"post": {"requestBody": {"content": {"application/json": {"schema": SCHEMA}}}}}}}


def test_the_line_to_try_survives_a_shell_whatever_the_example_holds() -> None:
    words = shlex.split(curl(Settings(), OPENAPI, "understudy") or "")

    assert words[:4] == ["curl", "-X", "POST", "http://127.0.0.1:8000/predict"]
    assert words[-1] == '{"name": "it\'s \\"quoted\\"", "x": 1.5}'
    assert not any("Authorization" in word for word in words)


def test_where_predicting_needs_a_token_the_line_to_try_asks_for_it_and_shows_none() -> None:
    line = curl(Settings(open=("read",), client_token="c" * 40), OPENAPI, "my place/understudy")

    assert line is not None
    assert """-H "Authorization: Bearer $('my place/understudy' token --role client)\"""" in line
    assert "c" * 40 not in line


MISSING = {"code": "not_found", "detail": "No version serves yet.", "remedy": "Wait."}


@contextmanager
def answering(pages: Mapping[str, Any]) -> Iterator[Settings]:
    """A server that answers each path with its page as JSON, and all others with 404."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(json.dumps(pages.get(self.path, MISSING)).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing, on the terminal of the tests."""

    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Settings(api_port=server.server_port)
        finally:
            server.shutdown()
            thread.join()


def test_what_serves_and_how_to_ask_it_are_two_lines_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    serving = {"/current_model": {"model": "rain", "version": "1"}, "/openapi.json": OPENAPI}
    with answering(serving) as settings:
        client = ApiClient(address(settings), lambda: None, retries=0, answer_s=10)
        lines = first_lines(settings, client)
        client.close()

    assert lines is not None
    say(*lines)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Model rain serves, version 1. Ask it:"
    assert second == lines[1]
    assert shlex.split(second)[:3] == ["curl", "-X", "POST"]


def test_nothing_is_said_while_no_model_serves_or_the_process_that_answers_has_not_loaded_it() -> None:
    no_example = json.loads(json.dumps(OPENAPI).replace("example", "title"))
    for pages in ({"/openapi.json": OPENAPI}, {"/current_model": {}, "/openapi.json": no_example}):
        with answering(pages) as settings:
            client = ApiClient(address(settings), lambda: None, retries=0, answer_s=10)
            assert first_lines(settings, client) is None
            client.close()


def test_a_token_from_the_settings_is_named_and_not_shown() -> None:
    assert where_token(Settings(operator_token="o" * 40)) == "is the one in UNDERSTUDY_OPERATOR_TOKEN."


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0"), (2, "exit code 2"), (-9, "killed by SIGKILL")])
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert how(code) == words


def test_a_service_that_ended_with_a_bug_or_ran_no_python_is_started_again_but_not_for_ever() -> None:
    said: list[str] = []
    with Services({**os.environ}, said.append) as services:
        services.start("API", "json.tool")  # which finds nothing to read, and ends with 1
        with pytest.raises(UnderstudyError, match=r"The API ended by itself \(exit code 1\), so everything is stopped"):
            check_for_ever(services)

    assert said == ["The API has ended (exit code 1) and is started again; its log says why."] * AGAIN


def check_for_ever(services: Services) -> None:
    while True:
        services.check()
        time.sleep(0.01)


def test_who_was_killed_left_no_line_to_look_at() -> None:
    assert "logs/" in where_why(1)
    assert "dmesg" in where_why(-9)
    assert "logs/" not in where_why(-9)


def test_the_command_that_is_shown_can_be_run_here() -> None:
    assert shutil.which(program()) is not None
