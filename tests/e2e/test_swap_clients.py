"""The clients of the campaign of swaps notice what they are there for: tried on servers that answer wrongly."""

import asyncio
import json
from collections.abc import Callable

import pytest

from bench.swap_clients import ANSWERED, ASKED, STOP, World, keep_asking, new_board
from bench.swap_tally import KINDS, Tally

ROWS = [[0.0], [1.0], [2.0]]
KNOWN = {version: [[0.1 * row + k, 1 - 0.1 * row - k] for row in range(3)] for k, version in ((0.0, "1"), (0.5, "2"))}
CONNECTIONS, REQUESTS = 8, 200

Answer = Callable[[list[int]], bytes]


def response(version: str, rows: list[int], *, header: str | None = None, status: str = "200 OK") -> bytes:
    body = {"probabilities": [KNOWN[version][row] for row in rows], "version": version, "prediction_id": "x"}
    content = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\nmodel-version: {header or version}\r\n\r\n"
    return head.encode() + content


async def seen_of(answer: Answer) -> Tally:
    """What clients say of a server; the first version was promoted and answered, nothing else was asked for."""
    tally, board, served = Tally(), new_board(1), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            values = json.loads(await reader.readexactly(length))["values"]
            rows = [ROWS.index(row) for row in (values if isinstance(values[0], list) else [values])]
            served += 1
            board[STOP] = served >= REQUESTS
            sent = answer(rows)
            writer.write(sent)
            if not sent:
                writer.close()
                return

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    world = World(server.sockets[0].getsockname()[1], "/predict", ROWS, ["1", "2"], KNOWN)
    board[ASKED] = board[ANSWERED] = 1
    async with asyncio.timeout(60):
        await keep_asking(world, board, 0, 0, CONNECTIONS, tally)
    server.close()
    return tally


def test_a_server_that_answers_rightly_is_found_right_by_every_kind_of_client() -> None:
    tally = asyncio.run(seen_of(lambda rows: response("1", rows)))

    assert (tally.failed, tally.wrong, tally.outdated) == ({}, {}, {})
    assert {kind for _, kind, _ in tally.latencies} == set(KINDS)
    assert tally.latencies.total() >= REQUESTS


@pytest.mark.parametrize(
    ("answer", "noticed"),
    [
        (lambda rows: response("2", rows), "outdated"),
        (lambda rows: response("1", rows, header="2"), "wrong"),
        (lambda rows: response("1", [(row + 1) % 3 for row in rows]), "wrong"),
        (lambda rows: response("1", [*rows, 0]), "wrong"),
        (lambda rows: 2 * response("1", rows), "wrong"),
        (lambda rows: response("1", rows, status="503 Service Unavailable"), "failed"),
        (lambda rows: b"", "failed"),
    ],
    ids=["another version", "another header", "another's row", "a row more", "two answers", "a refusal", "silence"],
)
def test_a_server_that_answers_wrongly_is_found_out(answer: Answer, noticed: str) -> None:
    tally = asyncio.run(seen_of(answer))

    assert getattr(tally, noticed).total() > REQUESTS / 4
