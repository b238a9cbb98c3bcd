"""A trial ends with a sentence, whatever the bundle does to its process."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.bundles import ONE_NUMBER, by_hand, identity, made, number, onnx_of, toiling
from understudy.adapters import bundle, child, stored_zip
from understudy.adapters.trial import TrialLimits, TrialReport, current_environment, try_bundle
from understudy.adapters.trial_child import MAX_OUTPUT
from understudy.fingerprint import digest_of
from understudy.signature import Signature


def tried(data: bytes, *, trees: bool = True, limits: TrialLimits | None = None) -> TrialReport:
    return try_bundle(data, digest=digest_of(data), trees=trees, limits=limits)


def test_a_sound_version_passes_with_everything_measured() -> None:
    data = made("logistic").data

    outcome = tried(data)

    assert (outcome.passed, outcome.reason) == (True, "It loads and answers its golden rows.")
    assert outcome.environment == current_environment()
    report = outcome.report
    assert (report["serves"], report["finite"], report["constant"]) == ("onnx", True, False)
    assert type(report["landlock"]) is int
    assert report["golden_rows"] == len(made("logistic").open().golden.rows)
    assert 20 < report["peak_mb"] < 1000
    assert report["latency"]["champion_ms"] is None
    assert len(report["latency"]["candidate_ms"]) == 5
    assert all(0 < ms < 5 for ms in report["latency"]["candidate_ms"])


def test_the_champion_is_measured_beside_a_candidate_and_a_slow_one_is_told_from_a_fast_one() -> None:
    slow, fast = made("tuned threshold"), made("logistic")

    outcome = try_bundle(slow.data, digest=slow.digest, trees=True, champion=fast.data, champion_digest=fast.digest)

    assert outcome.passed, outcome.reason
    latency = outcome.report["latency"]
    assert len(latency["champion_ms"]) == 5
    assert min(latency["candidate_ms"]) > 5 * max(latency["champion_ms"])


def test_a_champion_of_another_signature_answers_rows_of_its_own() -> None:
    candidate, champion = made("mixed"), made("ridge")

    outcome = try_bundle(
        candidate.data,
        digest=candidate.digest,
        trees=True,
        champion=champion.data,
        champion_digest=champion.digest,
    )

    assert outcome.passed, outcome.reason
    assert len(outcome.report["latency"]["champion_ms"]) == 5


def test_a_champion_that_cannot_be_loaded_is_not_the_candidates_fault() -> None:
    candidate = made("logistic")

    outcome = try_bundle(
        candidate.data, digest=candidate.digest, trees=True, champion=b"damaged", champion_digest="0" * 64
    )

    assert outcome.passed, outcome.reason
    assert outcome.report["latency"]["champion_ms"] is None


def test_a_version_that_always_says_the_same_is_reported_as_constant() -> None:
    zero = onnx_of([helper.make_node("Mul", ["numbers", "zero"], ["out"])], constants=[number(0.0, "zero")])
    golden = bundle.Golden([[1.0], [2.0]], [0.0, 0.0], None, 1.0)

    outcome = tried(by_hand({"model.onnx": zero}, golden=golden))

    assert outcome.passed, outcome.reason
    assert outcome.report["constant"] is True


def test_bytes_without_the_recorded_digest_fail() -> None:
    outcome = try_bundle(made("logistic").data, digest="0" * 64, trees=True)

    assert not outcome.passed
    assert "not 0000000000000000… as recorded" in outcome.reason


def test_trees_of_somebody_else_fail() -> None:
    outcome = tried(made("forest").data, trees=False)

    assert not outcome.passed
    assert "decision trees" in outcome.reason


def nan() -> bytes:
    """The logarithm of −1 − x²."""
    return onnx_of(
        [
            helper.make_node("Mul", ["numbers", "numbers"], ["square"]),
            helper.make_node("Sub", ["minus", "square"], ["negative"]),
            helper.make_node("Log", ["negative"], ["out"]),
        ],
        constants=[number(-1.0, "minus")],
    )


def twice_as_many() -> bytes:
    return onnx_of([helper.make_node("Concat", ["numbers", "numbers"], ["out"], axis=0)])


def raises() -> bytes:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [7, 13])
    return onnx_of([helper.make_node("Reshape", ["numbers", "shape"], ["out"])], constants=[shape])


def other() -> bytes:
    return onnx_of([helper.make_node("Neg", ["numbers"], ["out"])])


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (raises, "The golden rows got no answer. The model raised"),
        (nan, "numbers that are not finite"),
        (twice_as_many, "another shape"),
        (other, "The golden rows are answered differently"),
    ],
)
def test_a_version_that_fails_on_its_golden_rows_fails_its_trial(form: Callable[[], bytes], reason: str) -> None:
    outcome = tried(by_hand({"model.onnx": form()}))

    assert not outcome.passed
    assert reason in outcome.reason


def test_probabilities_that_are_none_fail() -> None:
    columns = ONE_NUMBER.columns
    signature = Signature(columns=columns, target="y", task="binary", classes=(0, 1))
    graph = onnx.ModelProto.FromString(onnx_of([helper.make_node("Concat", ["numbers"] * 2, ["out"], axis=1)]))
    label = helper.make_node("Identity", ["numbers"], ["label"])
    graph.graph.node.append(label)
    graph.graph.output.insert(0, helper.make_tensor_value_info("label", TensorProto.FLOAT, [None, None]))
    golden = bundle.Golden([[0.9]], [0], [[0.9, 0.9]], 1.0)

    outcome = tried(by_hand({"model.onnx": graph.SerializeToString()}, signature=signature, golden=golden))

    assert not outcome.passed
    assert "do not add up to 1" in outcome.reason


def test_external_data_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=str(tmp_path / "secret"))
    form = onnx_of([helper.make_node("Add", ["numbers", "w"], ["out"])], constants=[tensor])

    outcome = tried(by_hand({"model.onnx": form}))

    assert not outcome.passed
    assert "from another file" in outcome.reason


@pytest.mark.fault(10)
@pytest.mark.fault(13)
@pytest.mark.parametrize("at_load", [True, False], ids=["while it is loaded", "while it answers"])
def test_a_version_that_works_for_minutes_is_stopped_by_the_limit_of_cpu_time(at_load: bool) -> None:
    outcome = tried(by_hand({"model.onnx": toiling(at_load=at_load)}), limits=TrialLimits(cpu_s=4))

    assert (outcome.passed, outcome.reason) == (False, "The trial used more than 4 s of CPU time.")


@pytest.mark.fault(13)
def test_a_version_that_works_for_minutes_is_stopped_by_the_clock() -> None:
    outcome = tried(by_hand({"model.onnx": toiling()}), limits=TrialLimits(wall_s=4))

    assert (outcome.passed, outcome.reason) == (False, "The trial did not end within 4 s.")


def test_a_champion_that_never_ends_does_not_cost_the_candidate_its_trial() -> None:
    candidate, champion = by_hand({"model.onnx": identity()}), by_hand({"model.onnx": toiling()})

    outcome = try_bundle(
        candidate,
        digest=digest_of(candidate),
        trees=False,
        champion=champion,
        champion_digest=digest_of(champion),
        limits=TrialLimits(cpu_s=6),
    )

    assert outcome.passed, outcome.reason
    assert len(outcome.report["latency"]["candidate_ms"]) == 5
    assert outcome.report["latency"]["champion_ms"] is None


@pytest.mark.fault(12)
def test_a_version_whose_largest_request_needs_more_than_the_budget_is_refused() -> None:
    """Each row beside each other one: little for the golden rows, and gigabytes for as many as a request may hold."""
    pairs = [
        helper.make_node("Transpose", ["numbers"], ["across"], perm=[1, 0]),
        helper.make_node("Sub", ["numbers", "across"], ["apart"]),
        helper.make_node("Exp", ["apart"], ["near"]),
        helper.make_node("MatMul", ["near", "apart"], ["both"]),
        helper.make_node("Sum", ["apart", "near", "both"], ["all"]),
        helper.make_node("ReduceMean", ["all", "axis"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "none"], ["zero"]),
        helper.make_node("Add", ["numbers", "zero"], ["out"]),
    ]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    data = by_hand({"model.onnx": onnx_of(pairs, constants=[axis, number(0.0, "none")])})

    outcome = tried(data, limits=TrialLimits(memory_mb=1200))

    assert not outcome.passed
    assert outcome.reason.startswith("10,000 rows at once got no answer. The model wants more memory than there is.")


@pytest.mark.fault(10)
@pytest.mark.fault(12)
def test_a_version_that_asks_for_a_terabyte_fails_and_the_tester_lives() -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [2**38])
    form = onnx_of(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("Add", ["numbers", "sum"], ["out"]),
        ],
        constants=[shape],
    )

    outcome = tried(by_hand({"model.onnx": form}))

    assert not outcome.passed
    assert "wants more memory than there is" in outcome.reason


@pytest.mark.fault(11)
def test_trees_that_lead_outside_their_array_crash_the_child_and_nothing_else() -> None:
    """Their indices are followed by compiled code that does not check them."""
    forest = made("forest regression")
    members = stored_zip.read(forest.data, of="bundle")
    form = stored_zip.read(members["model.skops"], of="skops form")
    for name, content in form.items():
        array: Any = np.load(io.BytesIO(content)) if name.endswith(".npy") else np.zeros(1)
        if array.dtype.names and "left_child" in array.dtype.names:
            for child_of in ("left_child", "right_child"):
                array[child_of][:] = 2**40
            buffer = io.BytesIO()
            np.save(buffer, array)
            form[name] = buffer.getvalue()
    runtime = forest.open()
    data = by_hand(
        {"model.skops": stored_zip.write(form)}, signature=runtime.signature, golden=runtime.golden, serves="skops"
    )

    outcome = tried(data)

    assert (outcome.passed, outcome.reason) == (False, "The trial crashed with SIGSEGV.")


def test_a_trial_is_started_with_nothing_of_our_environment() -> None:
    told = {"PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE"}
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}

    assert set(child.environment()) == {"PATH"} | told | threads


def test_a_trial_may_write_no_more_than_its_answer(tmp_path: Path) -> None:
    script = (
        "from understudy.adapters.trial_child import MAX_OUTPUT, limit\n"
        "limit({'memory_mb': 2000, 'cpu_s': 9, 'files': 20})\n"
        "open('flood', 'wb').write(bytes(2 * MAX_OUTPUT))"
    )

    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=child.environment(), capture_output=True, check=False
    )

    assert (tmp_path / "flood").stat().st_size == MAX_OUTPUT


def test_the_side_of_a_trial_that_the_api_runs_imports_no_learning_library() -> None:
    heavy = "pandas", "sklearn", "skops", "onnx", "onnxruntime", "numpy"
    script = f"import sys, understudy.adapters.trial; print([m for m in {heavy} if m in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout

    assert printed.strip() == "[]"
