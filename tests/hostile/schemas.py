"""Hostile skops forms: types that nobody may load, arrays that are none, and trees whose indices lead astray."""

import functools
import io
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from onnx import helper
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

from tests.bundles import by_hand, onnx_of
from tests.hostile.hostile import Hostile, Layer, Payload, Targets, pickled
from understudy.adapters import skops_form, stored_zip

Row = tuple[str, Layer, str, Callable[[Targets], bytes]]
"""Name, layer, what is said, and the skops form."""

X = pd.DataFrame({"x": np.arange(0.0, 8.0, 0.25)})


def files() -> Iterator[Hostile]:
    groups = {"types": _types(), "schemas": _schemas(), "arrays": _arrays(), "archives": _archives(), "trees": _trees()}
    for group, rows in groups.items():
        uploaded = "decision trees" if group == "trees" else None
        for name, layer, says, form in rows:
            yield Hostile(f"skops {group}/{name}", layer, says, bundled(form), uploaded)
    for name, estimator in UNCHECKED.items():
        form = functools.partial(_dumped, estimator)
        yield Hostile(f"skops unchecked/{name}", "answers", DIFFERENT, bundled(form), "whose content cannot be checked")
    yield Hostile("skops beside/tree beside another twin", "answers", DIFFERENT, _beside, "decision trees")


UNCHECKED: Mapping[str, Callable[[], BaseEstimator]] = {
    "support vectors": SVR,
    "ball tree": lambda: KNeighborsRegressor(algorithm="ball_tree"),
    "search tree": lambda: KNeighborsRegressor(algorithm="kd_tree"),
    "clusters": lambda: make_pipeline(KMeans(3, n_init=1), LinearRegression()),
}


def bundled(form: Callable[[Targets], bytes]) -> Callable[[Targets], bytes]:
    return lambda targets: by_hand({"model.skops": form(targets)}, serves="skops")


@functools.cache
def linear() -> bytes:
    """Answers its one number."""
    return skops_form.dump(LinearRegression().fit(X, X["x"]))


def _dumped(estimator: Callable[[], BaseEstimator], targets: Targets) -> bytes:
    """A sound model whose content could be crafted; for the scheduler's role, only its golden rows refuse it."""
    return skops_form.dump(estimator().fit(X, X["x"] + 100))


def _beside(targets: Targets) -> bytes:
    negative = onnx_of([helper.make_node("Neg", ["numbers"], ["out"])])
    return by_hand({"model.onnx": negative, "model.skops": grown()})


def schema_of(form: bytes) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(stored_zip.read(form, of="skops form")["schema.json"])
    return schema


def with_schema(schema: Any, form: bytes | None = None) -> bytes:
    text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    return stored_zip.write({**stored_zip.read(form or linear(), of="skops form"), "schema.json": text})


def stored(data: bytes) -> bytes:
    """An archive as skops wrote it, as we store it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return stored_zip.write({name: archive.read(name) for name in archive.namelist()})


def root(**changes: Any) -> Callable[[Targets], bytes]:
    """The sound form with another first part."""
    return lambda targets: with_schema({**schema_of(linear()), **changes})


def calling(function: Callable[..., Any]) -> Callable[[Targets], bytes]:
    return lambda targets: stored(skops.io.dumps(FunctionTransformer(function)))


def part(module: str, name: str, loader: str = "ObjectNode", **more: Any) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, **more}


def text(value: str, **more: Any) -> dict[str, Any]:
    return part("builtins", "str", "JsonNode", content=json.dumps(value), is_json=True, **more)


EMPTY: Mapping[str, Any] = {"content": [], "__class__": "list", "__module__": "builtins", "__loader__": "ListNode"}

CANNOT, DIFFERENT = "cannot be loaded", "answered differently"


def _types() -> list[Row]:
    eval_method = {"func": "__call__", "obj": part("builtins", "eval", "TypeNode")}
    ran = {"attrs": dict(EMPTY), "obj": dict(EMPTY)}
    reduced = {"__reduce__": {"args": text("touch canary")}, "content": text("x")}
    return [
        ("system call", "load", CANNOT, calling(os.system)),
        ("process", "load", CANNOT, calling(subprocess.Popen)),
        ("process as the root", "load", CANNOT, root(__module__="subprocess", __class__="Popen")),
        ("a function of the system", "load", CANNOT, root(**part("os", "system", "FunctionNode", content="x"))),
        ("a type that evaluates", "load", CANNOT, root(**part("builtins", "eval", "TypeNode"))),
        ("a call", "load", CANNOT, root(**part("operator", "call", "OperatorFuncNode", **ran))),
        ("a getter", "load", CANNOT, root(**part("operator", "attrgetter", "OperatorFuncNode", **ran))),
        ("a method of eval", "load", CANNOT, root(**part("builtins", "eval", "MethodNode", content=eval_method))),
        ("a partial call", "load", CANNOT, root(**part("functools", "partial", "PartialNode", content=eval_method))),
        ("reduced to a call", "load", CANNOT, root(**part("os", "system", "LossNode", **reduced))),
        ("reduced to a tree", "load", CANNOT, root(**part("os", "system", "TreeNode", **reduced))),
        ("built by a call", "load", CANNOT, root(**part("os", "system", "ConstructorFromReduceNode", **reduced))),
        (
            "numbers from a name",
            "load",
            CANNOT,
            root(**part("numpy.random", "seed", "RandomGeneratorNode", content={})),
        ),
        ("numpy's loader", "load", CANNOT, calling(np.load)),
        ("numpy's file", "load", CANNOT, calling(np.fromfile)),
        ("a file of ours", "load", CANNOT, root(__module__="understudy.adapters.trial", __class__="try_bundle")),
        ("an unknown loader", "load", CANNOT, root(__loader__="NoSuchNode")),
        ("a cached part of nothing", "load", CANNOT, root(**part("x", "y", "CachedNode", __id__=99_999))),
        ("protocol 999", "load", CANNOT, root(protocol=999)),
        ("protocol -1", "load", CANNOT, root(protocol=-1)),
        ("no protocol", "load", CANNOT, root(protocol=None)),
        ("reads files", "skops", "name of a file", lambda t: skops_form.dump(CountVectorizer(input="filename"))),
        ("reads files, in other words", "skops", "name of a file", _escaped),
        ("a part with the id of another", "skops", "two different parts one id", _confused),
        ("an id that is none", "skops", "two different parts one id", root(__id__=[1])),
    ]


def _escaped(targets: Targets) -> bytes:
    form = skops_form.dump(CountVectorizer(input="filename"))
    schema = json.dumps(schema_of(form)).replace(r'"\"filename\""', r'"\"file\\u006eame\""')
    return with_schema(schema.encode(), form)


def _confused(targets: Targets) -> bytes:
    """Says that it takes texts, with the id of a part that says that they are files."""
    form = skops_form.dump(CountVectorizer(input="content"))
    schema = schema_of(form)
    arguments = schema["content"]["content"]
    first = {"aside": text("filename", __id__=7_000)}
    schema["content"]["content"] = {**first, **arguments, "input": text("content", __id__=7_000)}
    return with_schema(schema, form)


def _schemas() -> list[Row]:
    def whole(content: bytes) -> Callable[[Targets], bytes]:
        return lambda targets: with_schema(content)

    deep = b'{"a":' * 400 + b"1" + b"}" * 400
    nested = part("builtins", "int", "JsonNode", content="1")
    for _ in range(150):
        nested = part("builtins", "list", "ListNode", content=[nested])
    return [
        ("empty", "skops", "empty, or nested", whole(b"")),
        ("cut", "skops", "no readable schema", whole(b"{")),
        ("a list", "skops", "no readable schema", whole(b"[]")),
        ("null", "skops", "no readable schema", whole(b"null")),
        ("no text", "skops", "no readable schema", whole(b"\xff\xfe{}")),
        ("not a number", "load", CANNOT, whole(b'{"protocol": NaN}')),
        ("an integer of 5,000 digits", "skops", "no readable schema", whole(b'{"protocol": ' + b"9" * 5_000 + b"}")),
        ("100,000 lists deep", "skops", "nested too deep", whole(b"[" * 100_000)),
        ("400 objects deep", "skops", "nested too deep", whole(deep)),
        ("75 parts deep", "skops", "nested too deep", lambda t: with_schema({**nested, "protocol": 2})),
        ("a pickle", "skops", "no readable schema", lambda targets: with_schema(pickled(targets, 0))),
        ("a part within itself", "skops", "two different parts one id", _circle),
        ("a part in 2 to the power of 60 ways", "skops", "two different parts one id", _ways),
    ]


def _circle(targets: Targets) -> bytes:
    inner = part("builtins", "list", "ListNode", content=[], __id__=1)
    return with_schema({**part("builtins", "list", "ListNode", content=[inner], __id__=1), "protocol": 2})


def _ways(targets: Targets) -> bytes:
    """Each part holds the one before it twice, the second time by its id: as many ways to it as grains of sand."""
    inner = part("builtins", "list", "ListNode", content=[], __id__=1)
    for number in range(2, 62):
        again = part("builtins", "list", "CachedNode", __id__=number - 1)
        inner = part("builtins", "list", "ListNode", content=[inner, again], __id__=number)
    return with_schema({**inner, "protocol": 2})


def _arrays() -> list[Row]:
    return [
        ("of 8 petabytes", "answers", "", lambda targets: with_array(header((10**15,)))),
        ("of a negative size", "load", CANNOT, lambda targets: with_array(header((-5,)) + bytes(64))),
        ("of too few data", "load", CANNOT, lambda targets: with_array(header((10**6,)))),
        ("of objects", "load", CANNOT, _objects),
        (
            "with a header of its own",
            "load",
            CANNOT,
            lambda targets: with_array(header_of(b"__import__('os').abort()")),
        ),
        ("with a deep header", "load", CANNOT, lambda targets: with_array(header_of(b"(" * 9_000))),
        ("with a long header", "load", CANNOT, lambda targets: with_array(header_of(b"{" + b" " * 60_000 + b"}"))),
        ("that is a pickle", "load", CANNOT, lambda targets: with_array(pickled(targets))),
        ("that is an archive", "load", "", lambda targets: with_array(linear())),
        ("that is empty", "load", CANNOT, lambda targets: with_array(b"")),
        ("of another shape", "answers", "", lambda targets: with_array(array(np.ones((7, 5, 3))))),
        ("of texts", "answers", "", lambda targets: with_array(array(np.array(["a", "b"])))),
        ("that is not a number", "answers", "", lambda targets: with_array(array(np.array([np.nan])))),
        ("of records", "answers", "", lambda targets: with_array(array(np.zeros(3, [("a", "f8"), ("b", "i4")])))),
        ("of 100 GB", "answers", "", lambda targets: with_array(header((12 * 10**9,)))),
    ]


def with_array(content: bytes, form: bytes | None = None) -> bytes:
    """The form, every array of which is this one."""
    members = stored_zip.read(form or linear(), of="skops form")
    return stored_zip.write({name: content if name.endswith(".npy") else old for name, old in members.items()})


def array(values: "np.ndarray[Any, Any]") -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    """An array's header, and nothing after it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def header_of(content: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content


def _objects(targets: Targets) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(targets.canary)], dtype=object), allow_pickle=True)
    return with_array(buffer.getvalue())


def _archives() -> list[Row]:
    return [
        ("empty", "skops", "ZIP", lambda targets: b""),
        ("cut", "skops", "ZIP", lambda targets: linear()[:-9]),
        ("a pickle", "skops", "ZIP", pickled),
        ("a pickle and an archive", "skops", "ZIP", lambda targets: pickled(targets) + linear()),
        ("joblib's", "skops", "ZIP", lambda targets: b"ZF" + pickle.dumps([1, 2])),
        ("zeros, deflated", "skops", "compressed", lambda targets: _deflated()),
        ("without a schema", "skops", "empty, or nested", lambda targets: stored_zip.write({"a.npy": b""})),
        ("without its arrays", "load", CANNOT, lambda t: stored_zip.write({"schema.json": _schema_text()})),
    ]


def _schema_text() -> bytes:
    return stored_zip.read(linear(), of="skops form")["schema.json"]


def _deflated() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", _schema_text())
        archive.writestr("zeros.npy", bytes(100_000_000))
    return buffer.getvalue()


@functools.cache
def grown() -> bytes:
    return skops_form.dump(DecisionTreeRegressor(random_state=0).fit(X, X["x"]))


@functools.cache
def boosted() -> bytes:
    return skops_form.dump(HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2).fit(X, X["x"]))


def _trees() -> list[Row]:
    crash = "crashed with SIGSEGV"
    grown_children, boosted_children = ("left_child", "right_child"), ("left", "right")
    return [
        ("into itself", "limits", "CPU time", lambda t: bent(grown(), dict.fromkeys(grown_children, 0))),
        ("out of bounds", "limits", crash, lambda t: bent(grown(), dict.fromkeys(grown_children, 2**40))),
        ("before its start", "limits", crash, lambda t: bent(grown(), dict.fromkeys(grown_children, -(2**40)))),
        ("of a far feature", "limits", crash, lambda t: bent(grown(), {"feature": 2**40})),
        ("boosted, into itself", "limits", "CPU time", lambda t: bent(boosted(), dict.fromkeys(boosted_children, 0))),
        ("boosted, out of bounds", "limits", crash, lambda t: bent(boosted(), dict.fromkeys(boosted_children, 2**31))),
        ("boosted, of a far feature", "limits", crash, lambda t: bent(boosted(), {"feature_idx": 2**30})),
    ]


def bent(form: bytes, fields: Mapping[str, int]) -> bytes:
    """A forest with other numbers in the branches of its trees."""
    members = stored_zip.read(form, of="skops form")
    for name, content in members.items():
        if name.endswith(".npy"):
            nodes: Any = np.load(io.BytesIO(content), allow_pickle=False)
            if nodes.dtype.names and set(fields) <= set(nodes.dtype.names):
                for field, value in fields.items():
                    nodes[field] = value
                if "is_leaf" in nodes.dtype.names:
                    nodes["is_leaf"] = 0
                members[name] = array(nodes)
    return stored_zip.write(members)
