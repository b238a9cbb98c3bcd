"""Who may do what: every route, every method, every role, against a table written out by hand."""

import json
from pathlib import Path

import pytest

from api.access import ROUTES
from api.door import Door
from api.tests import given
from api.tests.visitors import CLIENT, METHODS, OPERATOR, SCHEDULER, WHO, WRONG, as_whom, routes

ANYBODY, ALL, KNOWN = set(WHO), set(WHO) - {WRONG}, {CLIENT, SCHEDULER, OPERATOR}

#: Method and path -> who gets past the door. Whatever is not here answers 404 or 405 to everybody.
GOLDEN: dict[tuple[str, str], set[str]] = {
    ("GET", "/health"): ANYBODY,
    ("GET", "/ready"): ANYBODY,
    ("GET", "/"): ANYBODY,
    ("GET", "/docs"): ANYBODY,
    ("GET", "/docs/{name}"): ANYBODY,
    ("GET", "/openapi.json"): ANYBODY,
    ("POST", "/predict"): ALL,
    ("POST", "/models/{model}/predict"): ALL,
    ("POST", "/invocations"): ALL,
    ("GET", "/v2/health/live"): ANYBODY,
    ("GET", "/v2/health/ready"): ANYBODY,
    ("GET", "/v2"): ALL,
    ("GET", "/v2/models/{model}"): ALL,
    ("GET", "/v2/models/{model}/versions/{version}"): ALL,
    ("GET", "/v2/models/{model}/ready"): ANYBODY,
    ("GET", "/v2/models/{model}/versions/{version}/ready"): ANYBODY,
    ("POST", "/v2/models/{model}/infer"): ALL,
    ("POST", "/v2/models/{model}/versions/{version}/infer"): ALL,
    ("GET", "/predictions/{id}"): {CLIENT, OPERATOR},
    ("GET", "/predictions/{id}/{row}"): {CLIENT, OPERATOR},
    ("POST", "/feedback"): KNOWN,
    ("GET", "/models/{model}/labelled"): {SCHEDULER, OPERATOR},
    ("GET", "/models/{model}/unlabelled"): {SCHEDULER, OPERATOR},
    ("GET", "/current_model"): ALL,
    ("GET", "/models"): ALL,
    ("GET", "/models/{model}"): ALL,
    ("GET", "/models/{model}/versions"): ALL,
    ("GET", "/models/{model}/versions/{version}"): ALL,
    ("GET", "/runs"): ALL,
    ("GET", "/runs/{run}"): ALL,
    ("GET", "/events"): ALL,
    ("GET", "/metrics"): ALL,
    ("GET", "/model/promote"): ANYBODY,
    ("GET", "/model/demote"): ANYBODY,
    ("GET", "/models/{model}/versions/{version}/artifact"): KNOWN,
    ("PUT", "/models/{model}"): {SCHEDULER, OPERATOR},
    ("POST", "/models/{model}/versions"): {SCHEDULER, OPERATOR},
    ("POST", "/models/{model}/versions/{version}/evidence"): {SCHEDULER, OPERATOR},
    ("POST", "/models/{model}/versions/{version}/refit"): {SCHEDULER, OPERATOR},
    ("GET", "/models/{model}/drift"): ALL,
    ("POST", "/models/{model}/drift"): {SCHEDULER, OPERATOR},
    ("GET", "/models/{model}/live"): ALL,
    ("POST", "/models/{model}/live"): {SCHEDULER, OPERATOR},
    ("POST", "/model/promote"): {SCHEDULER, OPERATOR},
    ("POST", "/model/demote"): {OPERATOR},
    ("POST", "/job/train"): {OPERATOR},
    ("POST", "/runs"): {SCHEDULER, OPERATOR},
    ("POST", "/runs/claim"): {SCHEDULER, OPERATOR},
    ("POST", "/runs/{run}/heartbeat"): {SCHEDULER, OPERATOR},
    ("POST", "/runs/{run}/finish"): {SCHEDULER, OPERATOR},
}


@pytest.mark.fault(85)
def test_every_route_and_method_opens_for_exactly_the_roles_of_the_golden_matrix(api: given.Api) -> None:
    api.serve(given.bundle())
    wrong = []
    for path in sorted({route.path for route in routes(api)}):
        for method in METHODS:
            expected = GOLDEN.get((method, path), ALL if (method, path) in SHADOWED else set())
            for who in WHO:
                answer = knock(api, method, path, who)
                fits = (answer not in (401, 403, 405)) == (who in expected) or (method, path) in BY_GET
                if not fits:
                    wrong.append((method, path, who, answer))

    assert wrong == []


SHADOWED = {("GET", "/runs/claim")}
"""Read as a run of that name."""

BY_GET = {("GET", "/model/promote"), ("GET", "/model/demote")}
"""They answer 405 to everybody, with the request to send instead."""


def knock(api: given.Api, method: str, path: str, who: str) -> int:
    url = path.format(model="rain", version="1", run="rain-1", name="swagger-ui.css", id="0", row="0")
    return int(api.client.request(method, url, headers=as_whom(api, who)).status_code)


def test_no_route_is_missing_from_the_matrix_or_from_the_table_of_rights(api: given.Api) -> None:
    found = routes(api)

    assert all(isinstance(route, Door) for route in found)  # a mount or a bare route would need no role
    assert {(method, route.path) for route in found for method in route.methods} == set(GOLDEN)
    assert {route.name for route in found} == set(ROUTES)


def test_a_route_that_is_not_in_the_table_is_closed_to_everybody(api: given.Api) -> None:
    @api.client.app.get("/forgotten", name="forgotten")  # type: ignore[attr-defined, untyped-decorator]
    def forgotten() -> dict[str, str]:
        return {}

    assert api.client.get("/forgotten").status_code == 403
    assert api.client.get("/forgotten", headers=api.token("operator")).status_code == 403


@pytest.mark.parametrize("open_", [(), ("predict",), ("read",)])
def test_only_what_is_named_open_needs_no_token(tmp_path: Path, open_: tuple[str, ...]) -> None:
    with given.api(tmp_path, open=open_) as api:
        read, predict = api.client.get("/models"), api.client.post("/predict", json={})
        health = api.client.get("/health")

    assert (read.status_code != 401) == ("read" in open_)
    assert (predict.status_code != 401) == ("predict" in open_)
    assert health.status_code == 200


def test_no_answer_and_no_event_holds_a_secret(api: given.Api) -> None:
    api.serve(given.bundle())
    secrets = [api.token(role)["Authorization"].removeprefix("Bearer ") for role in ("operator", "scheduler", "client")]
    pages = [
        "/events?limit=1000",
        "/models",
        "/models/rain",
        "/models/rain/versions/1",
        "/runs",
        "/openapi.json",
        "/ready",
    ]

    said = "".join(api.client.get(page, headers=api.token("operator")).text for page in pages)

    assert json.dumps(said)
    assert not any(secret in said for secret in secrets)


def test_a_listed_origin_may_ask_and_a_browser_is_told_so(tmp_path: Path) -> None:
    ours = {"Origin": "https://ui.example"}
    with given.api(tmp_path, cors_origins=("https://ui.example",)) as api:
        preflight = api.client.options("/predict", headers={**ours, "Access-Control-Request-Method": "POST"})
        asked = api.client.post("/predict", json={}, headers=ours)
        foreign = api.client.post("/predict", json={}, headers={"Origin": "https://evil.example"})

    assert preflight.headers["Access-Control-Allow-Origin"] == "https://ui.example"
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (503, "https://ui.example")
    assert foreign.status_code == 403
