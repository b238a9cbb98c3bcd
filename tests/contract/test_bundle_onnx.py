"""What an ONNX form must not contain, in whatever corner of the file it hides."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.bundles import by_hand, endless, identity, made, onnx_of
from understudy.adapters import stored_zip
from understudy.adapters.onnx_check import check_onnx
from understudy.adapters.runtime import open_bundle
from understudy.errors import BundleRefused
from understudy.fingerprint import digest_of

LOCATIONS = ["secret.bin", "../secret.bin", "/etc/passwd", "a/../../secret.bin"]


def outside(location: str, name: str = "w") -> TensorProto:
    """A tensor whose data are said to lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def add_node() -> onnx.NodeProto:
    return helper.make_node("Add", ["numbers", "w"], ["out"])


def initializer(location: str) -> bytes:
    return onnx_of([add_node()], constants=[outside(location)])


def constant(location: str) -> bytes:
    return onnx_of([helper.make_node("Constant", [], ["w"], value=outside(location)), add_node()])


def sparse(location: str) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.array([0], np.int64))
    return onnx.SparseTensorProto(values=outside(location), indices=indices, dims=[1])


def sparse_constant(location: str) -> bytes:
    return onnx_of([helper.make_node("Constant", [], ["w"], sparse_value=sparse(location)), add_node()])


def sparse_initializer(location: str) -> bytes:
    model = onnx.ModelProto.FromString(onnx_of([add_node()]))
    model.graph.sparse_initializer.append(sparse(location))
    return bytes(model.SerializeToString())


def subgraph(location: str) -> bytes:
    model = onnx.ModelProto.FromString(endless())
    body = next(attribute.g for attribute in model.graph.node[0].attribute if attribute.name == "body")
    body.initializer.append(outside(location))
    return bytes(model.SerializeToString())


def function(location: str) -> bytes:
    model = onnx.ModelProto.FromString(identity())
    node = helper.make_node("Constant", [], ["y"], value=outside(location))
    model.functions.append(helper.make_function("", "F", [], ["y"], [node], [helper.make_opsetid("", 21)]))
    return bytes(model.SerializeToString())


def tensors(location: str) -> bytes:
    """In a repeated attribute of an operator that ONNX does not even have."""
    node = helper.make_node("Identity", ["numbers"], ["out"])
    node.attribute.append(helper.make_attribute("extra", [outside(location), outside(location, "v")]))
    return onnx_of([node])


PLACES: list[Callable[[str], bytes]] = [
    initializer,
    constant,
    sparse_constant,
    sparse_initializer,
    subgraph,
    function,
    tensors,
]


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_data_in_another_file_are_refused_wherever_they_are_named(place: Callable[[str], bytes], location: str) -> None:
    with pytest.raises(BundleRefused, match="from another file"):
        check_onnx(place(location))


def test_a_location_counts_even_where_the_tensor_does_not_say_that_it_is_external() -> None:
    tensor = outside("secret.bin")
    tensor.data_location = TensorProto.DEFAULT

    with pytest.raises(BundleRefused, match="from another file"):
        check_onnx(onnx_of([add_node()], constants=[tensor]))


def test_operators_of_somebody_else_are_refused() -> None:
    node = helper.make_node("Identity", ["numbers"], ["out"], domain="com.example")

    with pytest.raises(BundleRefused, match="not ONNX's own"):
        check_onnx(onnx_of([node]))


def test_operators_of_somebody_else_are_found_in_subgraphs_and_imports() -> None:
    hidden = onnx.ModelProto.FromString(endless())
    next(a.g for a in hidden.graph.node[0].attribute if a.name == "body").node[0].domain = "com.example"
    imported = onnx.ModelProto.FromString(identity())
    imported.opset_import.append(helper.make_opsetid("com.example", 1))

    for model in (hidden, imported):
        with pytest.raises(BundleRefused, match="not ONNX's own"):
            check_onnx(model.SerializeToString())


def test_parts_for_training_are_refused() -> None:
    model = onnx.ModelProto.FromString(identity())
    model.training_info.add().initialization.name = "start"

    with pytest.raises(BundleRefused, match="training"):
        check_onnx(model.SerializeToString())


@pytest.mark.parametrize("data", [b"", b"no model", b"\xff" * 100, identity()[:-5]], ids=["empty", "text", "ff", "cut"])
def test_what_is_no_onnx_is_refused(data: bytes) -> None:
    with pytest.raises(BundleRefused, match="damaged"):
        check_onnx(data)


@pytest.mark.parametrize("name", ["logistic", "forest", "mixed"])
def test_what_our_training_converts_passes(name: str) -> None:
    check_onnx(stored_zip.read(made(name).data, of="bundle")["model.onnx"])


def test_a_file_in_the_own_format_of_onnx_runtime_is_not_loaded_even_where_nobody_checks_it(tmp_path: Path) -> None:
    """It would be recognised by four bytes, and loaded without anything that a check of ONNX can see."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "own")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(identity(), options, providers=["CPUExecutionProvider"])
    own = (tmp_path / "own").read_bytes()
    data = by_hand({"model.onnx": own})

    assert onnxruntime.InferenceSession(own, providers=["CPUExecutionProvider"]).get_inputs()[0].name == "numbers"
    with pytest.raises(BundleRefused, match="another format"):
        check_onnx(own)
    with pytest.raises(BundleRefused, match="cannot load"):
        open_bundle(data, digest=digest_of(data), trees=False)


def test_sizes_may_come_from_how_many_rows_there_are_but_not_from_what_they_say() -> None:
    zeros = helper.make_node("ConstantOfShape", ["size"], ["zeros"])
    add = helper.make_node("Add", ["numbers", "zeros"], ["out"])
    whole = helper.make_node("Cast", ["numbers"], ["size"], to=TensorProto.INT64)

    check_onnx(onnx_of([helper.make_node("Shape", ["numbers"], ["size"]), zeros, add]))
    with pytest.raises(BundleRefused, match="a size from the values"):
        check_onnx(onnx_of([whole, zeros, add]))
