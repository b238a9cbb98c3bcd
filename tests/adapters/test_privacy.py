"""What runs a model tells nobody about it."""

import subprocess
import sys
from pathlib import Path

from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
import understudy.adapters.runtime
import onnxruntime

session = onnxruntime.InferenceSession(sys.stdin.buffer.read())
assert session.get_inputs()[0].name == "x"
"""


def smallest_model() -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "smallest", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_onnx_runtime_sends_nothing_and_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    told_nothing = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    subprocess.run([sys.executable, "-c", PROGRAM], input=smallest_model(), env=told_nothing, check=True)

    assert list(tmp_path.rglob("*")) == []
