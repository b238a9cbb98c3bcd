"""Requests that nobody has thought of, sent to both paths: from the published schema, from the models' rows, and from
the corpus by small changes of its bytes.

Owed to each: an answer below 500, in its place, of a sound form and the same on both paths; errors of at most 4 KB.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from tests.adapters.arrow_streams import stream
from tests.wire.exchange import TO_ECHO, Exchange
from tests.wire.grammar import exchanges
from tests.wire.messages import HOST, post, request
from tests.wire.pair import Pair, token
from tests.wire.player import SILENT, Heard, flaw, play
from tests.wire.reading import Reading, another, exchange_of
from understudy.adapters.arrow_rows import MEDIA_TYPE

LONGEST = 3000
"""Bytes of an exchange of the corpus that is changed."""
TOGETHER = 12
"""Connections that are open at a time."""
MOST_ROWS = 16
"""Requests on one connection before the first answer is read."""


@dataclass
class Tally:
    """What a campaign has seen."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    largest_error: int = 0
    compared: int = 0

    def add(self, heard: Heard) -> None:
        self.requests += len(heard.replies)
        self.statuses.update(reply.status for reply in heard.replies)
        errors = [len(reply.body) for reply in heard.replies if reply.status >= 400]
        self.largest_error = max([self.largest_error, *errors])


class Campaign:
    """Sends to both paths, counts, and stops at the first answer that is not owed."""

    def __init__(self, both: Pair) -> None:
        self.both, self.tally = both, Tally()

    def try_out(self, streams: Sequence[bytes]) -> None:
        """Send each over its own connection. Raises AssertionError where an answer is wrong, or the paths differ."""
        readings = [Reading(sent) for sent in streams]
        asked = [exchange_of("fuzzed", sent, reading) for sent, reading in zip(streams, readings, strict=True)]
        fast, plain = (play(installed.port, asked) for installed in self.both.both)
        for exchange, reading, left, right in zip(asked, readings, fast, plain, strict=True):
            for heard in (left, right):
                self.tally.add(heard)
                problem = unsound(exchange, reading, heard)
                assert not problem, f"{problem}\nsent: {exchange.sent!r}\nheard: {heard}"
            if not varies(reading):
                one, other = (heard.masked()[: len(exchange.owed)] for heard in (left, right))
                assert one == other, f"sent: {exchange.sent!r}\nfast: {one}\nplain: {other}"
                self.tally.compared += 1


def unsound(exchange: Exchange, reading: Reading, heard: Heard) -> str:
    """What is wrong with what was heard, whatever it was."""
    if heard.end.startswith("unsound") or heard.end in (SILENT, "out of step"):
        return heard.end
    for reply in heard.replies:
        if what := flaw(reply):
            return what
    for one, reply in zip(reading.answered, heard.replies, strict=False):
        if what := another(one, reply):
            return what
    refused = bool(heard.replies) and heard.replies[-1].closes
    missing = len(exchange.owed) - len(heard.replies)
    return f"{missing} answers are missing" if missing > 0 and not refused else ""


CHANGING = (
    b"/openapi.json",
    b"/events",
    b"/ready",
    b"/metrics",
    b"/runs",
    b"/health",
    b"/predictions",
    b"/v2",
    b"/invocations",
    b"/job",
)
"""What tells of the process itself, or of what time it is."""


def varies(reading: Reading) -> bool:
    return any(changing in one.target for one in reading.asked for changing in CHANGING)


def tried(strategy: st.SearchStrategy[bytes], examples: int, campaign: Campaign) -> None:
    """Send so many examples, some together."""

    @settings(
        max_examples=-(-examples // TOGETHER),
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(strategy, min_size=TOGETHER, max_size=TOGETHER))
    def each(streams: list[bytes]) -> None:
        campaign.try_out(streams)

    each()


# --- bodies ---------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["x", "y", "records", "values", "café", "🌧", "age", "city", "", "X", "\ud800"]) | st.text(
    max_size=5
)
WORDS = st.sampled_from(
    [
        "NaN",
        "Infinity",
        "1e400",
        "-0.0",
        "1e15",
        "1e-400",
        "9" * 400,
        "true",
        "null",
        '"1"',
        "01",
        "1.",
        "2.5",
        "7",
        "-3e2",
    ]
)
LEAVES = (
    WORDS
    | st.floats().map(json.dumps)
    | st.integers().map(json.dumps)
    | st.text(max_size=8).map(json.dumps)
    | st.text(max_size=4).map(lambda text: json.dumps(text, ensure_ascii=False))
)


def written(pairs: Sequence[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in pairs) + "}"


def listed(values: Sequence[str]) -> str:
    return "[" + ",".join(values) + "]"


ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4).map(listed) | st.lists(st.tuples(NAMES, inner), max_size=4).map(written),
    max_leaves=12,
)
ROWS = st.one_of(
    LEAVES.map(lambda leaf: written([("x", leaf)])),
    st.lists(LEAVES, max_size=4).map(lambda leaves: written([("values", listed(leaves))])),
    st.lists(LEAVES, max_size=4).map(lambda leaves: written([("values", listed([listed([one]) for one in leaves]))])),
    st.lists(LEAVES, max_size=4).map(
        lambda leaves: written([("records", listed([written([("x", one)]) for one in leaves]))])
    ),
)
NUMBERS = st.floats(-1e9, 1e9).map(repr) | st.integers(-(10**6), 10**6).map(str)
GOOD = st.one_of(
    NUMBERS.map(lambda one: written([("x", one)])),
    st.lists(NUMBERS, min_size=1, max_size=5).map(lambda many: written([("values", listed(many))])),
    st.lists(NUMBERS, min_size=1, max_size=5).map(
        lambda many: written([("records", listed([written([("x", one)]) for one in many]))])
    ),
)
MODELS = st.sampled_from(["echo"] * 5 + ["rain", "spelt", "customers", "slow", "none"])


def one_body(model: str, text: str, damage: tuple[int, bytes] | None) -> bytes:
    body = text.encode("utf-8", "surrogatepass")
    if damage is not None:
        place, instead = damage
        body = body[: place % (len(body) + 1)] + instead + body[place % (len(body) + 1) + 1 :]
    return post(body, target=f"/models/{model}/predict".encode())


DAMAGE = st.none() | st.none() | st.tuples(st.integers(0, 200), st.binary(max_size=2))
ONE_BODY = st.builds(one_body, MODELS, GOOD, DAMAGE) | st.builds(one_body, MODELS, GOOD | ROWS | ANYTHING, DAMAGE)
BODIES = st.lists(ONE_BODY, min_size=1, max_size=MOST_ROWS).map(b"".join)


# --- bytes ----------------------------------------------------------------------------------------------------------

TOKENS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\x80",
        b"\xff",
        b"\x0b",
        b"0\r\n\r\n",
        b"\r\n\r\n",
    ),
    *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Expect: 100-continue\r\n", b"Host: localhost\r\n", b"Host: evil.example\r\n", b"Origin: null\r\n", b"chunked"),
    *(
        b"Upgrade: h2c\r\nConnection: upgrade\r\n",
        b"Authorization: Bearer x\r\n",
        b"Content-Encoding: gzip\r\n",
        b"x: ",
    ),
    *(b"Connection: keep-alive\r\n", b"HTTP/1.0", b"HTTP/1.1", b"POST ", b"GET ", b"HEAD ", b"%2f", b"?", b"#", b"//"),
    *(b"1", b"9" * 25, b"-1", b"a" * 300, b"{", b'{"x": 5}'),
]
Change = tuple[str, int, int, bytes]
CHANGES = st.tuples(
    st.sampled_from(["insert", "insert", "replace", "delete", "double", "cut", "case"]),
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=3),
)


def seeds() -> list[bytes]:
    """Exchanges of the corpus; none with a deadline, which may pass or not."""
    found = [
        one.sent for one in exchanges() if len(one.sent) < LONGEST and not one.closed and b"Deadline" not in one.sent
    ]
    rows = [post(b'{"x": %d}' % n, target=TO_ECHO) for n in (11, 12, 13)]
    return [*found, *rows, b"".join(rows), request(b"GET", b"/models"), request(b"GET", b"/openapi.json"), *others()]


def others() -> list[bytes]:
    """A row in the words of other protocols."""
    split = b'{"dataframe_split": {"columns": ["x"], "data": [[5]]}}'
    tensor = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [5]}]}'
    arrow = stream(pyarrow.table({"x": [5.0, 6.0]}))
    return [
        post(split, target=b"/invocations?model=echo"),
        post(tensor, target=b"/v2/models/echo/infer"),
        request(b"POST", TO_ECHO, b"Content-Type: " + MEDIA_TYPE.encode(), body=arrow),
    ]


def changed(parts: Sequence[bytes], changes: Sequence[Change]) -> bytes:
    sent = b"".join(parts)
    for kind, place, length, text in changes:
        at = place % (len(sent) + 1)
        before, piece, after = sent[:at], sent[at : at + length], sent[at + length :]
        sent = {
            "insert": before + text + piece + after,
            "replace": before + text + after,
            "delete": before + after,
            "double": before + piece + piece + after,
            "cut": before,
            "case": before + piece.swapcase() + after,
        }[kind]
    return sent


def raw() -> st.SearchStrategy[bytes]:
    parts = st.lists(st.sampled_from(seeds()), min_size=1, max_size=3)
    return st.builds(changed, parts, st.lists(CHANGES, min_size=1, max_size=4))


# --- the published schema -------------------------------------------------------------------------------------------


def of_schema(both: Pair, headers: Sequence[bytes] = (), *, paths: str = "") -> st.SearchStrategy[bytes]:
    """Requests that fit the schema, and some that do not, to the paths that match a pattern."""
    document = requests.get(f"{both.plain.url}/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(document).include(path_regex=paths)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    strategies = [one.as_strategy(generation_mode=mode) for one in operations for mode in GenerationMode]
    return st.one_of(strategies).map(lambda case: as_bytes(case, both.plain.url, headers))


LEFT_OUT = ("host", "content-length", "transfer-encoding", "accept-encoding", "user-agent", "x-request-deadline-ms")
"""Of a case's headers: what is sent in our own way, and a deadline, which may pass or not."""


def as_bytes(case: Any, url: str, headers: Sequence[bytes]) -> bytes:
    """A case as any client would send it."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url=url)).prepare()
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body or b""
    own = [
        name.encode("latin-1") + b": " + value.encode("utf-8")
        for name, value in prepared.headers.items()
        if name.lower() not in LEFT_OUT
    ]
    target = prepared.path_url.encode("utf-8", "surrogateescape")
    return request((prepared.method or "").encode(), target, *own, *headers, body=bytes(body), host=HOST)


def of_role(both: Pair, role: str) -> st.SearchStrategy[bytes]:
    """The same, by somebody who may do more than predict."""
    return of_schema(both, [b"Authorization: Bearer " + token(both.plain, role)])


Stage = Callable[[Pair], st.SearchStrategy[bytes]]

#: What is sent, by name.
STAGES: dict[str, Stage] = {
    "rows": lambda _: BODIES,
    "bytes": lambda _: raw(),
    "schema": of_schema,
    "schema of predictions": lambda both: of_schema(both, paths="/predict$"),
    "schema, as an operator": lambda both: of_role(both, "operator"),
}
