"""Hostile ONNX forms: files of others, work without end, memory without end, and graphs that are none."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from tests.bundles import by_hand, endless, identity, number, onnx_of, toiling
from tests.hostile.hostile import Hostile, Layer, Targets, pickled

Location = Mapping[str, str]
"""What an external tensor says about where its data are."""
Row = tuple[str, Layer, str, Callable[[], bytes]]
"""Name, layer, what is said, and the ONNX form."""

FILE, FOREIGN, SERVED = "from another file", "not ONNX's own", "which is not served"


def files() -> Iterator[Hostile]:
    yield from _external()
    yield from _pickles()
    groups = {
        "operators": _operators(),
        "resources": _resources(),
        "damaged": _damaged(),
        "crafted": _crafted(),
        "wrong": _wrong(),
    }
    for group, rows in groups.items():
        for name, layer, says, form in rows:
            yield Hostile(f"onnx {group}/{name}", layer, says, bundled(form))


def bundled(form: Callable[[], bytes]) -> Callable[[Targets], bytes]:
    return lambda targets: by_hand({"model.onnx": form()})


LOCATIONS: Mapping[str, Callable[[Targets], Location]] = {
    "plain": lambda targets: {"location": "plain.bin"},
    "parent": lambda targets: {"location": "../secret.bin"},
    "winding": lambda targets: {"location": "a/../../secret.bin"},
    "absolute": lambda targets: {"location": str(targets.secret)},
    "symlink": lambda targets: {"location": "symlink.bin"},
    "symlinked folder": lambda targets: {"location": "linked/secret.bin"},
    "hardlink": lambda targets: {"location": "hardlink.bin"},
    "passwords": lambda targets: {"location": "/etc/passwd"},
    "environment": lambda targets: {"location": "/proc/self/environ"},
    "negative offset": lambda targets: {"location": "plain.bin", "offset": "-4096"},
    "huge length": lambda targets: {"location": "plain.bin", "length": str(10**15)},
    "empty": lambda targets: {"location": ""},
}


def outside(location: Location, name: str = "w") -> TensorProto:
    """A tensor whose data are said to lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in location.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def sparse(values: TensorProto, indices: TensorProto | None = None) -> onnx.SparseTensorProto:
    plain = numpy_helper.from_array(np.array([0], np.int64), "i")
    return onnx.SparseTensorProto(values=values, indices=indices or plain, dims=[1])


def adding(*before: NodeProto) -> bytes:
    return onnx_of([*before, helper.make_node("Add", ["numbers", "w"], ["out"])])


def changed(form: bytes, change: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx.ModelProto.FromString(form)
    change(model)
    return bytes(model.SerializeToString())


def body(tensor: TensorProto) -> onnx.GraphProto:
    """A graph within a graph, which knows the tensor."""
    out = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])
    return helper.make_graph([helper.make_node("Identity", [tensor.name], ["inner"])], "body", [], [out], [tensor])


def branching(tensor: TensorProto) -> bytes:
    condition = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["true"], ["w"], then_branch=body(tensor), else_branch=body(tensor))
    return onnx_of([node, helper.make_node("Add", ["numbers", "w"], ["out"])], constants=[condition])


def looping(tensor: TensorProto) -> bytes:
    return changed(endless(), lambda model: model.graph.node[0].attribute[0].g.initializer.append(tensor))


def in_function(tensor: TensorProto) -> bytes:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    function = helper.make_function("", "F", [], ["y"], [node], [helper.make_opsetid("", 21)])
    return changed(identity(), lambda model: model.functions.append(function))


def in_training(tensor: TensorProto) -> bytes:
    return changed(identity(), lambda model: model.training_info.add().initialization.CopyFrom(body(tensor)))


def in_algorithm(tensor: TensorProto) -> bytes:
    return changed(identity(), lambda model: model.training_info.add().algorithm.CopyFrom(body(tensor)))


def in_attribute(attribute: AttributeProto) -> bytes:
    node = helper.make_node("Identity", ["numbers"], ["out"])
    node.attribute.append(attribute)
    return onnx_of([node])


PLACES: Mapping[str, Callable[[TensorProto], bytes]] = {
    "initializer": lambda tensor: onnx_of([helper.make_node("Add", ["numbers", "w"], ["out"])], constants=[tensor]),
    "constant": lambda tensor: adding(helper.make_node("Constant", [], ["w"], value=tensor)),
    "sparse constant": lambda tensor: adding(helper.make_node("Constant", [], ["w"], sparse_value=sparse(tensor))),
    "sparse initializer": lambda tensor: changed(
        adding(), lambda model: model.graph.sparse_initializer.append(sparse(tensor))
    ),
    "sparse indices": lambda tensor: changed(
        adding(), lambda model: model.graph.sparse_initializer.append(sparse(number(1.0, "w"), tensor))
    ),
    "branch": branching,
    "loop": looping,
    "function": in_function,
    "training": in_training,
    "training algorithm": in_algorithm,
    "tensors": lambda tensor: in_attribute(helper.make_attribute("extra", [number(1.0, "a"), tensor])),
    "sparse tensors": lambda tensor: in_attribute(helper.make_attribute("extra", [sparse(tensor)])),
    "graphs": lambda tensor: in_attribute(helper.make_attribute("extra", [body(tensor)])),
    "unused": lambda tensor: changed(identity(), lambda model: model.graph.initializer.append(tensor)),
}


def _external() -> Iterator[Hostile]:
    for place, put in PLACES.items():
        for where, locate in LOCATIONS.items():

            def make(
                targets: Targets,
                put: Callable[[TensorProto], bytes] = put,
                locate: Callable[[Targets], Location] = locate,
            ) -> bytes:
                return by_hand({"model.onnx": put(outside(locate(targets)))})

            says = "parts for training" if place.startswith("training") else FILE
            yield Hostile(f"onnx external {place}/{where}", "onnx", says, make)


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Callable[[], bytes]:
    return lambda: onnx_of([helper.make_node(operator, inputs, outputs, **attributes)])


def _operators() -> list[Row]:
    function = helper.make_function("", "F", ["x"], ["y"], [helper.make_node("F", ["x"], ["y"])], [])
    condition = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    endless_body = onnx.ModelProto.FromString(endless()).graph.node[0]
    inner = helper.make_graph(
        [endless_body], "inner", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 1])]
    )
    branch = helper.make_node("If", ["true"], ["w"], then_branch=inner, else_branch=inner)
    return [
        ("foreign operator", "onnx", FOREIGN, node("Identity", ["numbers"], ["out"], domain="com.example")),
        ("foreign of Microsoft", "onnx", FOREIGN, node("Inverse", ["numbers"], ["out"], domain="com.microsoft")),
        ("foreign in a loop", "onnx", FOREIGN, lambda: changed(endless(), _foreign_inside)),
        ("foreign import", "onnx", FOREIGN, lambda: changed(identity(), _foreign_import)),
        ("training domain", "onnx", FOREIGN, node("Gradient", ["numbers"], ["out"], domain="ai.onnx.preview.training")),
        ("training parts", "onnx", "training", lambda: changed(identity(), lambda m: m.training_info.add())),
        ("loop", "onnx", SERVED, endless),
        ("loop in a branch", "onnx", SERVED, lambda: onnx_of([branch], constants=[condition])),
        ("scan", "onnx", SERVED, node("Scan", ["numbers"], ["out"], num_scan_inputs=1, body=body(number(1.0, "w")))),
        (
            "function of itself",
            "onnx",
            "graphs within",
            lambda: changed(identity(), lambda m: m.functions.append(function)),
        ),
        ("range", "onnx", SERVED, node("Range", ["numbers", "numbers", "numbers"], ["out"])),
        ("resize", "onnx", SERVED, node("Resize", ["numbers", "", "numbers"], ["out"])),
        ("upsample", "onnx", SERVED, node("Upsample", ["numbers", "numbers"], ["out"])),
        ("pad", "onnx", SERVED, node("Pad", ["numbers", "numbers"], ["out"])),
        ("one hot", "onnx", SERVED, node("OneHot", ["numbers", "numbers", "numbers"], ["out"])),
        ("random", "onnx", SERVED, node("RandomNormal", [], ["out"], shape=[10**6, 10**6])),
        ("non zero", "onnx", SERVED, node("NonZero", ["numbers"], ["out"])),
        ("unique", "onnx", SERVED, node("Unique", ["numbers"], ["out"])),
        ("sequence", "onnx", SERVED, node("SequenceConstruct", ["numbers"], ["out"])),
        ("image", "onnx", SERVED, node("ImageDecoder", ["numbers"], ["out"])),
        ("unheard of", "onnx", SERVED, node("Surprise", ["numbers"], ["out"])),
        ("expand by rows", "onnx", "a size from the values", lambda: _sized("Expand")),
        ("tile by rows", "onnx", "a size from the values", lambda: _sized("Tile")),
        ("reshape by rows", "onnx", "a size from the values", lambda: _sized("Reshape")),
        ("constant by rows", "onnx", "a size from the values", _constant_by_rows),
    ]


def _foreign_inside(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute[0].g.node[0].domain = "com.example"


def _foreign_import(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _sized(operator: str) -> bytes:
    """Small for the golden rows, and as large as a row asks."""
    nodes = [
        helper.make_node("Cast", ["numbers"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Flatten", ["whole"], ["flat"], axis=0),
        helper.make_node("Squeeze", ["flat", "first"], ["size"]),
        helper.make_node(operator, ["numbers", "size"], ["out"]),
    ]
    return onnx_of(nodes, constants=[numpy_helper.from_array(np.array([0], np.int64), "first")])


def _constant_by_rows() -> bytes:
    nodes = [
        helper.make_node("Cast", ["numbers"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["whole"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["numbers", "sum"], ["out"]),
    ]
    return onnx_of(nodes)


def _grown(operator: str, size: list[int]) -> bytes:
    """As many numbers as `size` says, from almost none; their sum depends on the rows, so nothing is known early."""
    nodes = {
        "ConstantOfShape": [helper.make_node("ConstantOfShape", ["size"], ["many"])],
        "Expand": [
            helper.make_node("ReduceMax", ["numbers"], ["one"], keepdims=0),
            helper.make_node("Expand", ["one", "size"], ["many"]),
        ],
        "Tile": [
            helper.make_node("ReduceMax", ["numbers"], ["one"], keepdims=1),
            helper.make_node("Tile", ["one", "size"], ["many"]),
        ],
    }[operator]
    last = [
        helper.make_node("ReduceSum", ["many"], ["sum"], keepdims=0),
        helper.make_node("Add", ["numbers", "sum"], ["out"]),
    ]
    return onnx_of([*nodes, *last], constants=[numpy_helper.from_array(np.array(size, np.int64), "size")])


def _doubled(times: int) -> bytes:
    names = ["numbers", *(f"n{i}" for i in range(times))]
    pairs = [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in pairwise(names)]
    return onnx_of([*pairs, helper.make_node("Identity", [names[-1]], ["out"])])


def _cubed() -> bytes:
    """Each row beside each pair of rows: a few kilobytes for the golden rows, terabytes for a large request."""
    sizes = {"along": [1, -1, 1], "across": [-1, 1, 1], "back": [-1, 1]}
    constants = [numpy_helper.from_array(np.array(size, np.int64), name) for name, size in sizes.items()]
    nodes = [
        helper.make_node("Reshape", ["numbers", "along"], ["b"]),
        helper.make_node("Reshape", ["numbers", "across"], ["c"]),
        helper.make_node("Transpose", ["b"], ["a"], perm=[0, 2, 1]),
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Add", ["ab", "c"], ["abc"]),
        helper.make_node("ReduceMin", ["abc"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "none"], ["zero"]),
        helper.make_node("Add", ["numbers", "zero"], ["out"]),
    ]
    return onnx_of(nodes, constants=[*constants, number(0.0, "none")])


NO_MEMORY = "wants more memory than there is"


def _resources() -> list[Row]:
    return [
        ("a terabyte", "answers", NO_MEMORY, lambda: _grown("ConstantOfShape", [2**38])),
        ("100 GB", "answers", NO_MEMORY, lambda: _grown("ConstantOfShape", [25 * 10**9])),
        ("100 GB expanded", "answers", NO_MEMORY, lambda: _grown("Expand", [25 * 10**9])),
        ("an exabyte tiled", "answers", "raised", lambda: _grown("Tile", [10**9, 10**9])),
        ("100 GB tiled", "answers", "raised", lambda: _grown("Tile", [5 * 10**4, 5 * 10**5])),
        ("doubled 45 times", "answers", NO_MEMORY, lambda: _doubled(45)),
        ("terabytes for a large request", "answers", "10,000 rows at once got no answer", _cubed),
        ("work at load", "limits", "CPU time", lambda: toiling(at_load=True)),
        ("work at every answer", "limits", "CPU time", toiling),
        ("too many nodes", "onnx", "more than 50000 nodes", lambda: _chain(50_001)),
    ]


def _chain(n: int) -> bytes:
    names = ["numbers", *(f"n{i}" for i in range(n - 1)), "out"]
    return onnx_of([helper.make_node("Neg", [a], [b]) for a, b in pairwise(names)])


def _nested(depth: int) -> bytes:
    graph = body(number(1.0, "w"))
    for _ in range(depth):
        node = helper.make_node("If", ["true"], ["inner"], then_branch=graph, else_branch=body(number(1.0, "w")))
        out = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])
        graph = helper.make_graph([node], "body", [], [out])
    return onnx_of([helper.make_node("If", ["numbers"], ["out"], then_branch=graph, else_branch=graph)])


def _raw_nesting(depth: int) -> bytes:
    """Graph in attribute in node in graph …, written byte by byte: protobuf's own writer would not go that deep."""
    inner = b""
    for _ in range(depth):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            inner = tag + _varint(len(inner)) + inner
    return b"\x08\x0a\x3a" + _varint(len(inner)) + inner


def _varint(value: int) -> bytes:
    written = b""
    while value > 127:
        written, value = written + bytes([value & 127 | 128]), value >> 7
    return written + bytes([value])


def _own_format() -> bytes:
    """Protobuf that ONNX Runtime would take for a file of its own format: a producer's name at the right place."""
    return b"\x12\x20__ORTM".ljust(34, b"_") + identity()


def tensor_of(dims: list[int], data: bytes = b"", kind: int = TensorProto.FLOAT) -> TensorProto:
    return TensorProto(name="w", data_type=kind, dims=dims, raw_data=data)


DAMAGED = "damaged or breaks"


def _damaged() -> list[Row]:
    unknown = b"\xfa\x7f\x03abc"  # a field with the number 2047
    with_tensor = PLACES["initializer"]
    return [
        ("own format", "onnx", "another format", _own_format),
        ("unknown field", "onnx", "not known here", lambda: identity() + unknown),
        ("empty", "onnx", DAMAGED, lambda: b""),
        ("cut", "onnx", DAMAGED, lambda: identity()[:-7]),
        ("ones", "onnx", DAMAGED, lambda: b"\xff" * 4096),
        ("trailing zeros", "onnx", DAMAGED, lambda: identity() + bytes(9)),
        ("20 branches deep", "onnx", SERVED, lambda: _nested(20)),
        ("100,000 messages deep", "onnx", DAMAGED, lambda: _raw_nesting(3_000)),
        ("tensor of 4 TB without data", "onnx", DAMAGED, lambda: with_tensor(tensor_of([10**12]))),
        ("tensor of negative size", "onnx", DAMAGED, lambda: with_tensor(tensor_of([-4], bytes(16)))),
        ("tensor of too few data", "onnx", DAMAGED, lambda: with_tensor(tensor_of([100], bytes(4)))),
        ("tensor of overflowing size", "onnx", DAMAGED, lambda: with_tensor(tensor_of([2**32, 2**32, 4], bytes(4)))),
        ("tensor of no type", "load", "cannot load", lambda: with_tensor(tensor_of([1], bytes(4), 99))),
        ("from the future", "load", "cannot load", lambda: changed(identity(), _future)),
        ("output of nothing", "onnx", DAMAGED, lambda: onnx_of([])),
        ("cycle", "onnx", DAMAGED, lambda: onnx_of([helper.make_node("Add", ["numbers", "out"], ["out"])])),
    ]


def _pickles() -> Iterator[Hostile]:
    for name in ("model.onnx", "model.skops"):
        for protocol in (0, 2, 5):

            def make(targets: Targets, name: str = name, protocol: int = protocol) -> bytes:
                return by_hand({name: pickled(targets, protocol)}, serves=name.partition(".")[2])

            layer: Layer = "onnx" if name == "model.onnx" else "skops"
            yield Hostile(f"pickles in {name}/protocol {protocol}", layer, "", make)


def _future(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 10**9


def tree(
    true: tuple[int, ...] = (1, 0, 0),
    false: tuple[int, ...] = (2, 0, 0),
    feature: tuple[int, ...] = (0, 0, 0),
    ids: tuple[int, ...] = (0, 1, 2),
    modes: tuple[str, ...] = ("BRANCH_LEQ", "LEAF", "LEAF"),
    leaves: tuple[tuple[int, int], ...] = ((1, 0), (2, 0)),
    targets: int = 1,
) -> bytes:
    """A decision tree: 1 up to 1.5, and 2 above, unless its indices say otherwise."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["numbers"],
        ["out"],
        domain="ai.onnx.ml",
        n_targets=targets,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=ids,
        nodes_featureids=feature,
        nodes_modes=modes,
        nodes_values=[1.5, 0.0, 0.0],
        nodes_truenodeids=true,
        nodes_falsenodeids=false,
        nodes_missing_value_tracks_true=[0, 0, 0],
        target_treeids=[0] * len(leaves),
        target_nodeids=[leaf for leaf, _ in leaves],
        target_ids=[target for _, target in leaves],
        target_weights=[float(i + 1) for i in range(len(leaves))],
    )
    return of_ml(node)


def of_ml(node: NodeProto, *constants: TensorProto) -> bytes:
    form = onnx_of([node], constants=list(constants))
    return changed(form, lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3)))


def ml(operator: str, *constants: TensorProto, **attributes: Any) -> Callable[[], bytes]:
    inputs = ["numbers", *(constant.name for constant in constants)]
    outputs = ["label", "out"] if operator.endswith("Classifier") else ["out"]
    return lambda: of_ml(helper.make_node(operator, inputs, outputs, domain="ai.onnx.ml", **attributes), *constants)


def _gathered(far: TensorProto) -> bytes:
    return onnx_of([helper.make_node("Gather", ["numbers", "far"], ["out"], axis=1)], constants=[far])


def _crafted() -> list[Row]:
    far = numpy_helper.from_array(np.array([10**6], np.int64), "far")
    both = ("BRANCH_LEQ", "BRANCH_LEQ", "LEAF")
    load, answers = "cannot load", "got no answer"
    return [
        ("tree into itself", "load", load, lambda: tree(true=(0, 0, 0))),
        ("tree in a circle", "load", load, lambda: tree((1, 0, 0), (2, 2, 0), modes=both, leaves=((2, 0),))),
        ("tree to nowhere", "load", load, lambda: tree(true=(99, 0, 0))),
        ("tree of one id", "load", load, lambda: tree(ids=(0, 0, 0))),
        ("tree of a negative feature", "load", load, lambda: tree(feature=(-1, 0, 0))),
        ("tree of a far feature", "answers", answers, lambda: tree(feature=(10**6, 0, 0))),
        ("tree of the farthest feature", "answers", answers, lambda: tree(feature=(2**31 - 1, 0, 0))),
        ("tree of a far target", "load", load, lambda: tree(leaves=((1, 10**6), (2, 0)))),
        ("tree of a negative target", "load", load, lambda: tree(leaves=((1, -5), (2, 0)))),
        ("tree of a missing leaf", "load", load, lambda: tree(leaves=((77, 0),))),
        ("tree of negative targets", "load", load, lambda: tree(targets=-1)),
        ("tree of short modes", "load", load, lambda: tree(modes=("BRANCH_LEQ",))),
        ("short coefficients", "answers", answers, ml("LinearRegressor", coefficients=[1.0], targets=10**6)),
        (
            "short support vectors",
            "load",
            load,
            ml("SVMRegressor", coefficients=[1.0], kernel_type="RBF", n_supports=10**6, support_vectors=[1.0]),
        ),
        ("a column far away", "answers", answers, ml("ArrayFeatureExtractor", far)),
        ("a number far away", "answers", answers, lambda: _gathered(far)),
    ]


def _nan() -> bytes:
    """The logarithm of −1 − x²."""
    nodes = [
        helper.make_node("Mul", ["numbers", "numbers"], ["square"]),
        helper.make_node("Sub", ["minus", "square"], ["negative"]),
        helper.make_node("Log", ["negative"], ["out"]),
    ]
    return onnx_of(nodes, constants=[number(-1.0, "minus")])


def _raises() -> bytes:
    shape = numpy_helper.from_array(np.array([7, 13], np.int64), "shape")
    return onnx_of([helper.make_node("Reshape", ["numbers", "shape"], ["out"])], constants=[shape])


def _small_only() -> bytes:
    """Right for one row and for two, and for no more."""
    shape = numpy_helper.from_array(np.array([-1, 1], np.int64), "shape")
    start = numpy_helper.from_array(np.array([0], np.int64), "start")
    end = numpy_helper.from_array(np.array([2], np.int64), "end")
    nodes = [
        helper.make_node("Slice", ["numbers", "start", "end"], ["few"]),
        helper.make_node("Reshape", ["few", "shape"], ["out"]),
    ]
    return onnx_of(nodes, constants=[shape, start, end])


def _renamed(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "secrets"
    model.graph.node[0].input[0] = "secrets"


def _wrong() -> list[Row]:
    return [
        ("not a number", "answers", "not finite", _nan),
        ("raises", "answers", "raised", _raises),
        ("too many", "answers", "another shape", node("Concat", ["numbers", "numbers"], ["out"], axis=0)),
        ("too wide", "answers", "another shape", node("Concat", ["numbers", "numbers"], ["out"], axis=1)),
        ("other answers", "answers", "answered differently", node("Neg", ["numbers"], ["out"])),
        ("few rows only", "answers", "10,000 rows at once got no answer", _small_only),
        ("other inputs", "load", "not the columns", lambda: changed(identity(), _renamed)),
    ]
