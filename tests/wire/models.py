"""The models that the corpus is sent to, written by hand so that they cost no training, and how they come to serve."""

import math
from collections.abc import Mapping, Sequence

import onnx
import requests
from onnx import TensorProto, helper

from api.tests import given
from tests import bundles
from tests.services import Installation
from understudy.adapters import bundle
from understudy.adapters.bundle import Golden
from understudy.signature import Column, ColumnKind, Signature

ECHO, SLOW = "echo", "slow"
CODES = ["a", "b", "Bern"]

SIDE, PRODUCTS = 300, 4
"""Of the matrices that the slow one multiplies, and how many."""


def models() -> Mapping[str, bytes]:
    """Model -> its first version."""
    return {
        "rain": classifier("rain", ("x", "y")),
        ECHO: bundles.by_hand({"model.onnx": bundles.identity()}, model=ECHO),
        SLOW: bundles.by_hand({"model.onnx": dawdling()}, model=SLOW),
        "spelt": classifier("spelt", ("café", "🌧")),
        "customers": customers(),
    }


def number(name: str, kind: ColumnKind = "number", *, nullable: bool = False) -> Column:
    return Column(name=name, kind=kind, dtype="int64" if kind == "integer" else "float64", nullable=nullable, example=1)


def text(name: str, *, nullable: bool = False, categories: tuple[str, ...] | None = None) -> Column:
    return Column(name=name, kind="text", dtype="str", nullable=nullable, example="a", categories=categories)


def graph(nodes: Sequence[onnx.NodeProto], *constants: onnx.TensorProto, numbers: int, texts: int = 0) -> bytes:
    """An ONNX form of so many columns; it answers `out`, with `label` before it where a node makes one."""
    inputs = [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, numbers])]
    if texts:
        inputs.append(helper.make_tensor_value_info("texts", TensorProto.STRING, [None, texts]))
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, None])]
    if any("label" in node.output for node in nodes):
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [None]))
    made = helper.make_graph(nodes, "by_hand", inputs, outputs, initializer=constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=10).SerializeToString())


def floats(name: str, values: Sequence[float], *shape: int) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, shape, values)


def classifier(model: str, names: tuple[str, str]) -> bytes:
    """A logistic regression on two numbers: probabilities with all their digits."""
    node = helper.make_node
    nodes = [
        node("Gemm", ["numbers", "weights", "bias"], ["sum"]),
        node("Sigmoid", ["sum"], ["yes"]),
        node("Sub", ["one", "yes"], ["no"]),
        node("Concat", ["no", "yes"], ["out"], axis=1),
        node("ArgMax", ["out"], ["label"], axis=1, keepdims=0),
    ]
    weights = [floats("weights", [2.3, 1.7], 2, 1), floats("bias", [-1.9], 1), floats("one", [1.0], 1)]
    points = [(0.1, 0.2), (0.9, 0.7)]
    yes = [1 / (1 + math.exp(1.9 - 2.3 * x - 1.7 * y)) for x, y in points]
    signature = Signature(columns=tuple(map(number, names)), target="label", task="binary", classes=(0, 1))
    golden = Golden([[x, y] for x, y in points], [int(p > 0.5) for p in yes], [[1 - p, p] for p in yes], 1.0)
    form = graph(nodes, *weights, numbers=2)
    return bundles.by_hand({"model.onnx": form}, model=model, signature=signature, golden=golden, metric="log_loss")


def customers() -> bytes:
    """Numbers, an integer and texts; one answers nulls in `age` and `city`, and knows two plans only."""
    node = helper.make_node
    nodes = [
        node(
            "LabelEncoder", ["texts"], ["coded"], domain="ai.onnx.ml", keys_strings=CODES, values_floats=[1.0, 2.0, 4.0]
        ),
        node("IsNaN", ["numbers"], ["missing"]),
        node("Where", ["missing", "zero", "numbers"], ["present"]),
        node("Concat", ["present", "coded"], ["all"], axis=1),
        node("ReduceMean", ["all", "axes"], ["out"], keepdims=1),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    columns = (
        number("age", nullable=True),
        number("income"),
        number("visits", "integer"),
        text("city", nullable=True),
        text("plan", categories=("a", "b")),
    )
    signature = Signature(columns=columns, target="spend", task="regression", classes=None)
    golden = Golden([[10.0, 20.0, 3, "Bern", "a"], [None, 20.0, 3, "Bern", "b"]], [7.6, 5.8], None, 1.0)
    form = graph(nodes, floats("zero", [0.0], 1), axes, numbers=3, texts=2)
    return bundles.by_hand({"model.onnx": form}, model="customers", signature=signature, golden=golden)


def echo_and(more: float) -> bytes:
    """A version of the echo that adds `more` to its number."""
    form = bundles.onnx_of(
        [helper.make_node("Add", ["numbers", "more"], ["out"])], constants=[bundles.number(more, "more")]
    )
    golden = bundle.Golden([[1.0], [2.0]], [1.0 + more, 2.0 + more], None, 1.0)
    return bundles.by_hand({"model.onnx": form}, model=ECHO, golden=golden)


def dawdling() -> bytes:
    """An echo that multiplies large matrices meanwhile: some milliseconds."""
    node = helper.make_node
    side = helper.make_tensor("side", TensorProto.INT64, [2], [SIDE, SIDE])
    nothing = [node("ReduceMean", ["numbers"], ["mean"]), node("Mul", ["mean", "zero"], ["none"])]
    begin = [node("ConstantOfShape", ["side"], ["zeros"]), node("Add", ["zeros", "none"], ["m0"])]
    products = [node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(PRODUCTS)]
    end = [node("ReduceMean", [f"m{PRODUCTS}"], ["still"]), node("Add", ["numbers", "still"], ["out"])]
    return bundles.onnx_of([*nothing, *begin, *products, *end], constants=[side, bundles.number(0.0, "zero")])


def serve(installed: Installation) -> None:
    """Define, register and promote them all."""
    for model, data in models().items():
        answer = requests.put(
            f"{installed.url}/models/{model}",
            json=given.definition(model),
            headers=installed.token("scheduler"),
            timeout=30,
        )
        answer.raise_for_status()
        promote(installed, model, register(installed, model, data))


def register(installed: Installation, model: str, data: bytes) -> str:
    answer = requests.post(
        f"{installed.url}/models/{model}/versions", data=data, headers=installed.token("scheduler"), timeout=120
    )
    assert answer.json()["trial"]["passed"], answer.text
    return str(answer.json()["version"])


def promote(installed: Installation, model: str, version: str) -> None:
    body = {"model_name": model, "model_version_id": version, "override": "a test needs it"}
    answer = requests.post(f"{installed.url}/model/promote", json=body, headers=installed.token("operator"), timeout=60)
    assert answer.status_code == 200, answer.text
