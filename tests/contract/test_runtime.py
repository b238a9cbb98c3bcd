"""A loaded version: plain values out, a typed error for everything else, and no library that it does not need."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.bundles import by_hand, identity, made, number, onnx_of
from understudy.adapters import bundle
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.errors import BundleRefused, ModelFailed
from understudy.fingerprint import digest_of
from understudy.signature import Column, Signature


def opened(data: bytes) -> Runtime:
    return open_bundle(data, digest=digest_of(data), trees=False)


@pytest.mark.parametrize("name", ["logistic of texts", "ridge", "boosting of categories"])
def test_an_answer_holds_plain_values_that_json_can_say(name: str) -> None:
    runtime = made(name).open()

    answer = runtime.predict(runtime.golden.rows)

    assert {type(value) for value in answer.predictions} <= {str, int, float}
    assert {type(p) for row in answer.probabilities or [] for p in row} <= {float}
    assert json.loads(json.dumps([answer.predictions, answer.probabilities], allow_nan=False))


@pytest.mark.parametrize("name", ["mixed", "forest", "boosting of categories"])
def test_a_row_is_answered_the_same_alone_and_among_others(name: str) -> None:
    runtime = made(name).open()
    rows = runtime.golden.rows

    together = runtime.predict(rows)

    alone = [runtime.predict([row]).probabilities for row in rows]
    assert np.allclose([p[0] for p in alone if p], together.probabilities or [], atol=1e-6)


@pytest.mark.parametrize("name", ["mixed", "boosting of categories"])
def test_threads_may_share_a_version(name: str) -> None:
    runtime = made(name).open()
    rows = runtime.golden.rows
    expected = [runtime.predict([row]).predictions for row in rows]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: runtime.predict([rows[i % len(rows)]]).predictions, range(200)))

    assert answers == [expected[i % len(rows)] for i in range(200)]


def test_a_model_that_answers_no_number_has_failed() -> None:
    form = onnx_of(
        [helper.make_node("Mul", ["numbers", "numbers"], ["square"]), helper.make_node("Sqrt", ["numbers"], ["out"])]
    )
    runtime = opened(by_hand({"model.onnx": form}, golden=bundle.Golden([[1.0]], [1.0], None, 1.0)))

    assert runtime.predict([[4.0]]).predictions == [2.0]
    with pytest.raises(ModelFailed, match="not finite"):
        runtime.predict([[4.0], [-1.0]])


def test_a_model_that_raises_has_failed_and_the_next_request_is_answered() -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, 1])
    form = onnx_of([helper.make_node("Reshape", ["numbers", "shape"], ["out"])], constants=[shape])
    runtime = opened(by_hand({"model.onnx": form}))

    with pytest.raises(ModelFailed, match="The model raised"):
        runtime.predict([[1.0], [2.0], [3.0]])
    assert runtime.predict([[1.0], [2.0]]).predictions == [1.0, 2.0]


def test_a_model_that_answers_too_much_has_failed() -> None:
    form = onnx_of([helper.make_node("Concat", ["numbers", "numbers"], ["out"], axis=1)])

    with pytest.raises(ModelFailed, match="another shape"):
        opened(by_hand({"model.onnx": form})).predict([[1.0]])


def test_golden_rows_are_compared_with_the_answers_of_the_training() -> None:
    shifted = onnx_of([helper.make_node("Add", ["numbers", "bit"], ["out"])], constants=[number(3e-5, "bit")])
    slightly = onnx_of([helper.make_node("Add", ["numbers", "bit"], ["out"])], constants=[number(0.5e-5, "bit")])

    opened(by_hand({"model.onnx": slightly})).check_golden()
    with pytest.raises(BundleRefused, match="answered differently: a value differs by"):
        opened(by_hand({"model.onnx": shifted})).check_golden()


@pytest.mark.parametrize("form", [b"", b"no onnx", identity()[:-10]], ids=["empty", "text", "cut"])
def test_an_onnx_form_that_cannot_be_loaded_is_refused(form: bytes) -> None:
    with pytest.raises(BundleRefused):
        opened(by_hand({"model.onnx": form}))


def test_an_onnx_form_for_other_columns_is_refused() -> None:
    columns = (
        Column(name="x", kind="number", dtype="float64", nullable=False, example=1.0),
        Column(name="word", kind="text", dtype="str", nullable=False, example="a"),
    )
    signature = Signature(columns=columns, target="y", task="regression", classes=None)
    golden = bundle.Golden([[1.0, "a"]], [1.0], None, 1.0)

    with pytest.raises(BundleRefused, match="not the columns of the signature"):
        opened(by_hand({"model.onnx": identity()}, signature=signature, golden=golden))


def test_a_classifier_without_probabilities_is_refused() -> None:
    signature = Signature(columns=made("ridge").open().signature.columns[:1], target="y", task="binary", classes=(0, 1))
    golden = bundle.Golden([[1.0]], [0], [[0.5, 0.5]], 1.0)

    with pytest.raises(BundleRefused, match="no probabilities"):
        opened(by_hand({"model.onnx": identity()}, signature=signature, golden=golden))


SERVE = """
import sys
from pathlib import Path
from understudy.adapters.runtime import open_bundle
from understudy.fingerprint import digest_of
from understudy.rows import RowDecoder

data = Path(sys.argv[1]).read_bytes()
runtime = open_bundle(data, digest=digest_of(data), trees=True)
runtime.check_golden()
RowDecoder(runtime.signature)
print(*(name for name in ("onnx", "pandas", "skl2onnx", "sklearn", "skops", "scipy") if name in sys.modules))
"""


@pytest.mark.parametrize(("name", "imported"), [("mixed", ""), ("tuned threshold", "pandas sklearn skops scipy")])
def test_onnx_is_served_without_the_libraries_that_trained_it(tmp_path: Path, name: str, imported: str) -> None:
    (tmp_path / "bundle").write_bytes(made(name).data)

    printed = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path / "bundle")], capture_output=True, check=True, text=True
    ).stdout

    assert printed.strip() == imported


def test_one_row_in_onnx_takes_far_less_than_a_millisecond() -> None:
    runtime = made("mixed").open()
    row = runtime.golden.rows[:1]
    taken = []

    for _ in range(300):
        started = time.thread_time_ns()
        runtime.predict(row)
        taken.append(time.thread_time_ns() - started)

    assert sorted(taken)[150] < 300_000
