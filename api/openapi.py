"""What `/openapi.json` says: the routes in their own words, and the champions in theirs.

The same of the same champions in every process, so that a client made from it does not change by itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.examples import Example, example_of
from api.serving import Served
from understudy.adapters.arrow_rows import MEDIA_TYPE as ARROW
from understudy.rows import request_schema, response_schema

Json = dict[str, Any]

JSON, PROBLEM_JSON = "application/json", "application/problem+json"
BYTES = {"schema": {"type": "string", "format": "binary"}}

DEFAULT, NAMED = "/predict", "/models/{model}/predict"
SCORING, INFER, VERSION = "/invocations", "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"

PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "Every failing answer (RFC 9457).",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title")},
        "status": {"type": "integer"},
        **{name: {"type": "string"} for name in ("detail", "remedy")},
        "code": {"type": "string", "description": "For programs; does not change."},
        "request_id": {"type": ["string", "null"]},
        "error": {"type": "string", "description": "Detail and remedy in one; below `/v2` only."},
    },
    "required": ["type", "title", "status", "detail", "remedy", "code", "request_id"],
}
WRONG: Json = {
    "type": "urn:understudy:not_found",
    "title": "Not Found",
    "status": 404,
    "detail": "There is no model 'snow'.",
    "remedy": "See GET /models.",
    "code": "not_found",
    "request_id": "02791c3468a8cd3e",
}
FAILED: Json = {
    "type": "urn:understudy:storage_unavailable",
    "title": "Service Unavailable",
    "status": 503,
    "detail": "The storage does not answer.",
    "remedy": "Ask again in a moment.",
    "code": "storage_unavailable",
    "request_id": "02791c3468a8cd3e",
}
#: Statuses -> what they mean, and one of them.
FAILING: Mapping[str, tuple[str, Json]] = {
    "4XX": ("The request, or the moment, was wrong", WRONG),
    "5XX": ("It could not be answered", FAILED),
}
FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
"""Shapes of failing answers that are never answered here."""

DEADLINE: Json = {
    "name": "X-Request-Deadline-Ms",
    "in": "header",
    "required": False,
    "description": "How long the client waits, in milliseconds; without it 10,000. More than 60,000 count as 60,000, "
    "and 0 is always answered 504.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999},
}
MODEL_VERSION: Json = {
    "Model-Version": {"description": "The version that has answered", "schema": {"type": "string"}, "example": "1"}
}
PREDICTION_ID: Json = {
    "Prediction-Id": {"description": "For `/predictions/{id}`", "schema": {"type": "string"}},
}
#: Path of a route that predicts -> headers of its answer.
PREDICTING: Mapping[str, Json] = {
    DEFAULT: MODEL_VERSION,
    NAMED: MODEL_VERSION,
    SCORING: MODEL_VERSION | PREDICTION_ID,
    INFER: MODEL_VERSION,
    VERSION: MODEL_VERSION,
}


def document(app: FastAPI, serving: Mapping[str, Served], default: str, keys: Mapping[str, str | None]) -> Json:
    """The schema with what the champions expect at this moment; the model of `default` may not serve.

    `keys`: model -> the column by which its rows may be named, where it has one.
    """
    base = base_document(app)
    examples = [replace(example_of(serving[name]), key=keys.get(name)) for name in sorted(serving)]
    ours = next((example for example in examples if example.served.model == default), None)
    paths: Json = {}
    for path, ways in base["paths"].items():
        paths |= dict(entries(path, ways, examples, ours))
    return {**base, "paths": paths}


def entries(path: str, ways: Json, examples: list[Example], default: Example | None) -> Iterator[tuple[str, Json]]:
    """What stands in place of one path: an entry a model where the path names one, else the path itself."""
    if path in (NAMED, INFER) and examples:
        for example in examples:
            yield path.replace("{model}", example.served.model), {"post": of_model(path, ways["post"], example)}
    elif path in PREDICTING and default is not None:
        yield path, {"post": of_default(path, ways["post"], default)}
    else:
        yield path, ways


def of_model(path: str, base: Json, example: Example) -> Json:
    model = example.served.model
    first = "Predict with" if path == NAMED else "Predict (V2) with"
    said = f"As `{DEFAULT}`, answered" if path == NAMED else f"{base['description'].rstrip('.')}; answered"
    return {
        **shown(path, base, example),
        "summary": f"{first} {model}",
        "description": f"{said} by the champion of `{model}`.",
        "operationId": f"{'predict' if path == NAMED else 'infer'}_{model}",
        "parameters": [one for one in base["parameters"] if one["in"] != "path"],
    }


def of_default(path: str, base: Json, example: Example) -> Json:
    told = shown(path, base, example)
    if path == DEFAULT:
        return {**told, "summary": f"{base['summary']}, {example.served.model}"}
    places = {"model": example.served.model, "version": example.served.version}
    parameters = [{**one, "example": places[one["name"]]} if one["in"] == "path" else one for one in base["parameters"]]
    return {**told, "parameters": parameters}


def shown(path: str, base: Json, example: Example) -> Json:
    """One way to predict, with the champion's example and its answer."""
    asked, answer = base["requestBody"]["content"][JSON]["schema"], base["responses"]["200"]["content"][JSON]["schema"]
    signature = example.served.signature
    if path in (DEFAULT, NAMED):
        asked, answer = request_schema(signature, example.key), response_schema(signature)
        sent, said = example.record(), example.prediction()
    elif path == SCORING:
        sent, said = example.split(), example.predictions()
    else:
        sent, said = example.tensors(), example.outputs()
    answer = answer if said is None else {**answer, "example": said}
    done = base["responses"]["200"]
    return {
        **base,
        "requestBody": with_json(base["requestBody"], {**asked, "example": sent}),
        "responses": {**base["responses"], "200": with_json(done, answer)},
    }


def with_json(part: Json, schema: Json) -> Json:
    """A body or an answer with another schema of its JSON; what other forms it has stay."""
    return {**part, "content": {**part["content"], JSON: {"schema": schema}}}


def base_document(app: FastAPI) -> Json:
    """Everything but the champions, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for path, ways in made["paths"].items():
            for way in ways.values():
                tell_problems(path, way)
            if path in PREDICTING:
                tell_predicting(path, ways["post"])
        parts = made.setdefault("components", {})
        schemas = {name: one for name, one in parts.get("schemas", {}).items() if name not in FRAMEWORKS_OWN}
        parts["schemas"] = schemas | {"Problem": PROBLEM}
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = {**made, "security": [{}, {"token": []}]}  # a token may be sent, and need not
    return app.openapi_schema


def tell_problems(path: str, way: Json) -> None:
    """Name the one shape of failing answers, instead of the framework's own."""
    way["responses"].pop("422", None)
    for statuses, (what, problem) in FAILING.items():
        of_v2 = {"error": f"{problem['detail']} {problem['remedy']}"} if path.startswith("/v2") else {}
        told = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem | of_v2}
        way["responses"][statuses] = {"description": what, "content": {PROBLEM_JSON: told}}


def tell_predicting(path: str, way: Json) -> None:
    """Name the headers, and both forms of `/predict`, which its routes leave open."""
    way["parameters"] = [*way.get("parameters", []), DEADLINE]
    done = way["responses"]["200"]
    done["headers"] = PREDICTING[path]
    if path in (DEFAULT, NAMED):
        open_body = {"schema": {"type": "object", "description": "Shown in full once a model serves."}}
        way["requestBody"] = {"required": True, "content": {JSON: open_body, ARROW: BYTES}}
        done |= {"description": "Predictions, row by row", "content": {JSON: open_body, ARROW: BYTES}}
