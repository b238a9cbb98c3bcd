"""A client that others wrote, against a running API; and the same rows in every form that there is."""

import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import requests
import tritonclient.http as triton  # type: ignore[import-untyped]  # it brings no types
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]  # nor here

from api.tests import given
from tests import tables
from tests.services import Installation, installation
from tests.tables import Table

ARROW = "application/vnd.apache.arrow.stream"
TABLES = (tables.rain, tables.mixed)

Said = tuple[list[Any], list[list[float]]]
"""Predictions and probabilities."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An API that serves both models."""
    with installation(tmp_path_factory.mktemp("api")) as started:
        started.start_api()
        for table in (make() for make in TABLES):
            serve(started, table)
        yield started


@pytest.fixture
def client(api: Installation) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{api.port}") as opened:
        yield opened


def serve(api: Installation, table: Table) -> None:
    operator, route = api.token("operator"), f"{api.url}/models/{table.model}"
    definition = given.definition(table.model)
    requests.put(route, json=definition, headers=operator, timeout=60).raise_for_status()
    registered = requests.post(f"{route}/versions", data=table.bundle, headers=operator, timeout=60)
    body = {"model_name": table.model, "model_version_id": registered.json()["version"], "override": "a test"}
    requests.post(f"{api.url}/model/promote", json=body, headers=operator, timeout=60).raise_for_status()


def predicted(api: Installation, table: Table, **body: Any) -> Said:
    answer = requests.post(f"{api.url}/models/{table.model}/predict", timeout=30, **body)
    assert answer.headers["Model-Version"] == "1", answer.text
    return answer.json()["predictions"], answer.json()["probabilities"]


def said(result: triton.InferResult) -> Said:
    labels, numbers = result.as_numpy("predictions"), result.as_numpy("probabilities")
    return [label.decode() if isinstance(label, bytes) else label for label in labels.tolist()], numbers.tolist()


def matrix(table: Table, *, binary: bool) -> list[triton.InferInput]:
    """One tensor; JSON knows no NaN, so a row with a null goes as bytes only."""
    values = np.array([[math.nan if v is None else v for v in row] for row in sent(table, binary=binary)])
    one = triton.InferInput("input", list(values.shape), "FP64")
    return [one.set_data_from_numpy(values, binary_data=binary)]


def named(table: Table, *, binary: bool) -> list[triton.InferInput]:
    """One input a column. A text that is null cannot be said in bytes."""
    datatypes = {float: "FP64", int: "INT64", bool: "BOOL", str: "BYTES"}
    inputs = []
    for name, column in zip(table.names, zip(*sent(table, binary=binary), strict=True), strict=True):
        kind = next(type(value) for value in column if value is not None)
        filled = [math.nan if value is None else value for value in column]
        values = np.array(filled, object if kind is str else kind).reshape(-1, 1)
        one = triton.InferInput(name, list(values.shape), datatypes[kind])
        inputs.append(one.set_data_from_numpy(values, binary_data=binary))
    return inputs


def sent(table: Table, *, binary: bool) -> list[tuple[Any, ...]]:
    texts = [i for i, value in enumerate(table.rows[0]) if isinstance(value, str)]
    return [row for row in table.rows if (binary or None not in row) and all(row[i] is not None for i in texts)]


def test_the_client_finds_server_and_models_live_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("rain")
    assert client.is_model_ready("customers", "1")
    assert not client.is_model_ready("rain", "2")
    assert not client.is_model_ready("snow")


def test_the_client_reads_what_server_and_models_take_and_give(client: triton.InferenceServerClient) -> None:
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    rain, mixed = client.get_model_metadata("rain"), client.get_model_metadata("customers", "1")

    assert (rain["versions"], rain["inputs"][0]["shape"]) == (["1"], [-1, 8])
    assert json.loads(rain["inputs"][0]["parameters"]["columns"]) == list(tables.rain().names)
    assert [one["datatype"] for one in mixed["inputs"]] == ["FP64", "INT64", "BOOL", "BYTES"]
    assert [one["datatype"] for one in mixed["outputs"]] == ["BYTES", "FP64"]


@pytest.mark.parametrize("answer_in_bytes", [True, False], ids=["answer in bytes", "answer in JSON"])
@pytest.mark.parametrize("binary", [True, False], ids=["asked in bytes", "asked in JSON"])
@pytest.mark.parametrize(("make", "form"), [(tables.rain, matrix), (tables.rain, named), (tables.mixed, named)])
def test_the_client_is_answered_as_predict_answers(
    api: Installation, client: triton.InferenceServerClient, make: Any, form: Any, binary: bool, answer_in_bytes: bool
) -> None:
    table = make()
    outputs = [triton.InferRequestedOutput(n, binary_data=answer_in_bytes) for n in ("predictions", "probabilities")]

    result = client.infer(table.model, form(table, binary=binary), outputs=outputs, request_id="mine")

    assert said(result) == predicted(api, table, json={"values": sent(table, binary=binary)})
    assert (result.get_response()["id"], result.get_response()["model_version"]) == ("mine", "1")


def test_without_named_outputs_the_client_gets_all_of_them_in_bytes(
    api: Installation, client: triton.InferenceServerClient
) -> None:
    table = tables.mixed()

    result = client.infer(table.model, named(table, binary=True), model_version="1")

    assert said(result) == predicted(api, table, json={"values": sent(table, binary=True)})


def test_the_client_reads_why_it_was_refused(client: triton.InferenceServerClient) -> None:
    table = tables.rain()

    with pytest.raises(InferenceServerException, match="no model 'snow'") as unknown:
        client.infer("snow", matrix(table, binary=True))
    with pytest.raises(InferenceServerException, match="no version '7'"):
        client.infer("rain", matrix(table, binary=True), model_version="7")
    with pytest.raises(InferenceServerException, match="is missing"):
        client.infer("rain", named(table, binary=True)[1:])

    assert unknown.value.status() == "404"


def stream(table: Table, rows: Sequence[Sequence[Any]]) -> bytes:
    data = pyarrow.table(dict(zip(table.names, map(list, zip(*rows, strict=True)), strict=True)))
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    return sink.getvalue()


@pytest.mark.parametrize("make", TABLES)
def test_the_same_rows_are_answered_alike_in_every_form(api: Installation, make: Any) -> None:
    table = make()
    records = [dict(zip(table.names, row, strict=True)) for row in table.rows]
    columns = {name: [row[i] for row in table.rows] for i, name in enumerate(table.names)}
    expected = predicted(api, table, json={"records": records})

    arrow = stream(table, table.rows)
    assert predicted(api, table, data=arrow, headers={"Content-Type": ARROW}) == expected
    both = {"Content-Type": ARROW, "Accept": ARROW}
    answer = requests.post(f"{api.url}/models/{table.model}/predict", data=arrow, headers=both, timeout=30)
    read = pyarrow.ipc.open_stream(answer.content).read_all().to_pydict()
    assert (read["predictions"], read["probabilities"]) == expected
    for body in (
        {"dataframe_split": {"columns": table.names, "data": table.rows}},
        {"dataframe_records": records},
        {"inputs": columns},
        {"inputs": table.rows},
        {"instances": records},
        {"instances": table.rows},
    ):
        answer = requests.post(f"{api.url}/invocations?model={table.model}", json=body, timeout=30)
        assert (answer.json(), answer.headers["Model-Version"]) == ({"predictions": expected[0]}, "1")
    inputs = [
        {"name": name, "shape": [len(column)], "datatype": datatype_of(column), "data": column}
        for name, column in columns.items()
    ]
    answer = requests.post(f"{api.url}/v2/models/{table.model}/infer", json={"inputs": inputs}, timeout=30)
    labels, numbers = (output["data"] for output in answer.json()["outputs"])
    assert (labels, np.reshape(numbers, (len(labels), -1)).tolist()) == expected


def datatype_of(column: list[Any]) -> str:
    kind = next(type(value) for value in column if value is not None)
    return {float: "FP64", int: "INT64", bool: "BOOL", str: "BYTES"}[kind]


def test_memory_that_arrow_takes_is_taken_by_the_first_stream_only(api: Installation) -> None:
    table, headers = tables.rain(), {"Content-Type": ARROW}
    body = stream(table, [row for row in table.rows for _ in range(400)])
    predicted(api, table, data=body, headers=headers)
    before = resident_mib(api)

    for _ in range(20):
        predicted(api, table, data=body, headers=headers)

    assert resident_mib(api) - before < 60


def resident_mib(api: Installation) -> float:
    pages = Path(f"/proc/{api.processes['api.main'].pid}/statm").read_text().split()[1]
    return int(pages) * 4096 / 2**20
