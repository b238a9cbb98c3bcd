"""Whatever stands where a name should: a short answer that says what to do, nothing written, and one line a record."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api.tests import given
from api.tests.hostile_names import MARK, NAMES
from understudy.adapters.logging import configure_logging
from understudy.model import NAME


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    """One that serves, for this file: no test changes what another one sees."""
    with given.api(tmp_path_factory.mktemp("base") / "home") as started:
        started.serve(given.bundle())
        yield started


def sent(api: given.Api, method: str, path: str, *, role: str = "operator", **more: Any) -> Any:
    headers = {**{name.encode(): value.encode() for name, value in api.token(role).items()}, **more.pop("headers", {})}
    return api.client.request(method, path, headers=list(headers.items()), follow_redirects=False, **more)


def posted(api: given.Api, path: str, **body: Any) -> Any:
    """JSON as any client can write it: a lone surrogate is an escape of six characters."""
    return sent(api, "POST", path, content=json.dumps(body), headers={b"Content-Type": b"application/json"})


def put(api: given.Api, name: str, path: str) -> Any:
    content, headers = json.dumps(given.definition(name)), {b"Content-Type": b"application/json"}
    return sent(api, "PUT", f"/models/{path}", content=content, headers=headers)


def escaped(name: str) -> str:
    return quote(name, safe="", errors="surrogatepass").replace(".", "%2E")


def with_header(api: given.Api, header: str, name: str, path: str = "/model/promote") -> Any:
    body = {"model_name": "rain", "model_version_id": "7"}
    headers = {header.encode(): name.encode("utf-8", "surrogatepass"), b"Content-Type": b"application/json"}
    return sent(api, "POST", path, content=json.dumps(body), headers=headers)


PROMOTE = {"model_name": "rain", "model_version_id": "1"}
DEFINED = "model, to be defined"
Place = Callable[[given.Api, str], Any]

IN_PATHS: dict[str, Place] = {
    "model": lambda api, name: sent(api, "GET", f"/models/{escaped(name)}"),
    "model, to be predicted with": lambda api, name: sent(
        api, "POST", f"/models/{escaped(name)}/predict", json={"x": 0.1, "y": 0.2}
    ),
    DEFINED: lambda api, name: put(api, name, escaped(name)),
    "model, its bundle": lambda api, name: sent(
        api, "POST", f"/models/{escaped(name)}/versions", content=given.bundle()
    ),
    "model, its versions": lambda api, name: sent(api, "GET", f"/models/{escaped(name)}/versions"),
    "version": lambda api, name: sent(api, "GET", f"/models/rain/versions/{escaped(name)}"),
    "version, its bytes": lambda api, name: sent(api, "GET", f"/models/rain/versions/{escaped(name)}/artifact"),
    "version, its evidence": lambda api, name: posted(
        api, f"/models/rain/versions/{escaped(name)}/evidence", evidence="e" * 64
    ),
    "run": lambda api, name: sent(api, "GET", f"/runs/{escaped(name)}"),
    "run, its heartbeat": lambda api, name: posted(api, f"/runs/{escaped(name)}/heartbeat", token=1),
    "run, its end": lambda api, name: posted(api, f"/runs/{escaped(name)}/finish", token=1, outcome="failed"),
    "asset": lambda api, name: sent(api, "GET", f"/docs/{escaped(name)}"),
    "route": lambda api, name: sent(api, "GET", f"/x/{escaped(name)}/x"),
}

IN_BODIES: dict[str, Place] = {
    "model_name": lambda api, name: posted(api, "/model/promote", **{**PROMOTE, "model_name": name}),
    "model_version_id": lambda api, name: posted(
        api, "/model/promote", **{**PROMOTE, "model_version_id": name if name not in ("0", "1") else "x"}
    ),
    "model_name, to be demoted": lambda api, name: posted(api, "/model/demote", model_name=name, reason="x"),
    "model_name, to be trained": lambda api, name: posted(api, "/job/train", model_name=name),
    "as_of": lambda api, name: posted(api, "/job/train", model_name="rain", as_of=name),
    "start_date": lambda api, name: posted(api, "/job/train", model_name="rain", start_date=name),
    "time_travel_date": lambda api, name: posted(
        api, "/job/train", model_name="rain", time_travel="true", time_travel_date=name
    ),
    "like": lambda api, name: posted(api, "/job/train", model_name="rain", like=name),
    "model": lambda api, name: posted(api, "/runs", model=name, kind="train", slot="first"),
    "slot": lambda api, name: posted(api, "/runs", model="rain", kind="train", slot=name),
    "kind": lambda api, name: posted(api, "/runs", model="rain", kind=name, slot="first"),
    "digest": lambda api, name: posted(api, "/models/rain/versions", digest=name),
    "evidence": lambda api, name: posted(api, "/models/rain/versions/1/evidence", evidence=name),
    "run of a version": lambda api, name: posted(api, "/models/rain/versions", digest="d" * 64, run=name, token=1),
    "a key": lambda api, name: posted(api, "/model/promote", **{**PROMOTE, "override": 5}, **{name or "x": 1}),
    "a column": lambda api, name: sent(api, "POST", "/predict", content=json.dumps({"x": 0.1, "y": 0.2, name: 1})),
    "a value": lambda api, name: sent(api, "POST", "/predict", content=json.dumps({"x": name, "y": 0.2})),
}

IN_QUERIES: dict[str, Place] = {
    "at": lambda api, name: sent(api, "GET", f"/current_model?at={escaped(name)}"),
    "model that serves": lambda api, name: sent(api, "GET", f"/current_model?model={escaped(name) or 'x'}"),
    "after": lambda api, name: sent(api, "GET", f"/events?after={escaped(name)}"),
    "limit": lambda api, name: sent(api, "GET", f"/runs?limit={escaped(name)}"),
    "after, of versions": lambda api, name: sent(api, "GET", f"/models/rain/versions?after={escaped(name)}"),
}

#: Free text, and what is not looked at: taken or refused, and shown as text where it is shown.
TAKEN: dict[str, Place] = {
    "model whose runs are listed": lambda api, name: sent(api, "GET", f"/runs?model={escaped(name)}"),
    "a query that nobody asked for": lambda api, name: sent(api, "GET", f"/models?{escaped(name)}={escaped(name)}"),
    "claimant": lambda api, name: posted(api, "/runs/claim", claimant=name),
    "override": lambda api, name: posted(api, "/model/promote", **PROMOTE, override=name),
    "reason": lambda api, name: posted(api, "/model/demote", model_name="rain", reason=name),
    "Idempotency-Key": lambda api, name: with_header(api, "Idempotency-Key", name),
    "Idempotency-Key of a training": lambda api, name: with_header(api, "Idempotency-Key", name, "/job/train"),
    "If-Match": lambda api, name: with_header(api, "If-Match", name),
    "Content-Digest": lambda api, name: with_header(api, "Content-Digest", name, "/models/rain/versions"),
    "Content-Type": lambda api, name: with_header(api, "Content-Type", name, "/predict"),
    "Content-Encoding": lambda api, name: with_header(api, "Content-Encoding", name, "/predict"),
    "Accept": lambda api, name: with_header(api, "Accept", name),
    "Authorization": lambda api, name: with_header(api, "Authorization", name),
    "a bearer": lambda api, name: with_header(api, "Authorization", f"Bearer {name}"),
    "X-Request-Id": lambda api, name: with_header(api, "X-Request-Id", name),
    "User-Agent": lambda api, name: with_header(api, "User-Agent", name),
}


def is_plain(content: bytes) -> bool:
    """Printable in UTF-8, of one line, without markup. No sign that turns the direction of a text is printable."""
    text = content.decode("utf-8")
    return text.isprintable() and not {"<", ">"} & set(text)


def test_the_corpus_is_large() -> None:
    assert len(NAMES) >= 200


def files(api: given.Api) -> set[Path]:
    """All that a name could have made: around the home folder, below it but for the databases, and where we run."""
    own = {path for path in api.home.parent.rglob("*") if path.suffix != ".db" and not path.name.endswith("-journal")}
    return own | set(Path().iterdir()) | set(Path("/").iterdir()) | set(api.home.parent.parent.iterdir())


def wrong_with(answer: Any, name: str) -> str | None:
    """What an answer to a hostile name must never be."""
    if answer.status_code >= 500:
        return f"{answer.status_code}: {answer.text[:300]}"
    if answer.status_code >= 400 and not (len(answer.content) < 1500 and is_plain(answer.content)):
        return f"echoes: {answer.content[:300]!r}"
    if "root:" in answer.text or "Traceback" in answer.text:
        return f"tells: {answer.text[:300]}"
    if answer.headers.get("content-type", "").startswith("text/html"):
        return "is a page"
    if (
        answer.headers["x-content-type-options"] != "nosniff"
        or "default-src 'none'" not in answer.headers["content-security-policy"]
    ):
        return "a browser may guess"
    if "set-cookie" in answer.headers or "location" in answer.headers:
        return "sets or sends"
    return None


PLACES = {**IN_PATHS, **IN_BODIES, **IN_QUERIES, **TAKEN}
ONE_IN = 16
"""Of the names that one place gets on every commit; each name is in some places then, and each place has some."""


@pytest.mark.fault(86)
@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_name_is_answered_shortly_and_leaves_nothing_behind(
    api: given.Api, place: str, tmp_path: Path
) -> None:
    put_everywhere(api, place, NAMES[list(PLACES).index(place) % ONE_IN :: ONE_IN], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_every_hostile_name_in_every_place(api: given.Api, place: str, tmp_path: Path) -> None:
    put_everywhere(api, place, NAMES, tmp_path)


def put_everywhere(api: given.Api, place: str, names: list[str], tmp_path: Path) -> None:
    before, models = files(api), set(api.service.journal.state.models)
    logs = configure_logging(tmp_path / "logs", process="api")
    try:
        answers = [
            (name, PLACES[place](api, name)) for name in names if not (place == DEFINED and NAME.fullmatch(name))
        ]
    finally:
        logs.close()

    wrong = {name: why for name, answer in answers if (why := wrong_with(answer, name)) is not None}
    assert wrong == {}
    if place not in TAKEN:
        taken = {name: answer.status_code for name, answer in answers if not 400 <= answer.status_code < 500}
        assert {name for name in taken if not is_right(place, name)} == set()
    assert files(api) - before - {tmp_path} == set()
    assert set(api.service.journal.state.models) == models
    assert_one_line_a_record(tmp_path / "logs" / "api.jsonl")


def is_right(place: str, name: str) -> bool:
    """The few that are what is asked for."""
    number = name.strip().removeprefix("+")
    return {
        "after": number.isdecimal() and len(number) < 19,
        "limit": number.isdecimal() and 0 < int(number) <= 1000,
        "after, of versions": number.isdecimal() and len(number) < 10,
        "a value": False,
    }.get(place, False)


def assert_one_line_a_record(file: Path) -> None:
    for line in file.read_text("utf-8").splitlines():
        record = json.loads(line)
        assert (record["process"], record["pid"]) == ("api", os.getpid())


def test_what_was_said_in_free_text_is_shown_as_text_alone(api: given.Api) -> None:
    """Whatever TAKEN let in: everything that may be read now is JSON, or a page that was written before."""
    pages = [
        "/",
        "/docs",
        "/openapi.json",
        "/models",
        "/models/rain",
        "/runs?limit=1000",
        "/events?limit=1000",
        "/ready",
    ]
    for name in ("<script>zq7canary</script>", "\x1b[2K", "\u202e"):
        posted(api, "/model/promote", **PROMOTE, override=name)
    for page in pages:
        answer = sent(api, "GET", page)
        kind = answer.headers.get("content-type", "")
        assert answer.status_code in (200, 307), page
        assert kind in ("application/json", "text/html; charset=utf-8", ""), page
        assert "html" not in kind or MARK not in answer.text, page


def test_the_page_runs_its_own_script_and_no_other(api: given.Api) -> None:
    policy = sent(api, "GET", "/docs").headers["content-security-policy"]

    assert "script-src 'self' 'sha256-" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert "unsafe-eval" not in policy


def test_a_body_of_very_many_keys_hears_of_one_error(api: given.Api) -> None:
    answer = posted(api, "/model/promote", **{f"key{number}": 1 for number in range(200_000)})

    assert (answer.status_code, answer.json()["detail"]) == (422, "body: Value error, a body has at most 100 keys")
