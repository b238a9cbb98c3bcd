"""Every hostile file ends in a refusal that says why, by the first who can tell, and nobody's process is the worse."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.bundles import by_hand, identity, made, onnx_of, toiling
from tests.hostile.corpus import corpus
from tests.hostile.hostile import Hostile, Targets
from tests.hostile.schemas import linear
from understudy.adapters import bundle, onnx_check, skops_form, stored_zip
from understudy.adapters.trial import TrialLimits, try_bundle
from understudy.errors import BundleRefused, UncheckedContent
from understudy.fingerprint import digest_of


def kinds() -> Mapping[str, list[Hostile]]:
    found: dict[str, list[Hostile]] = defaultdict(list)
    for hostile in corpus():
        found[hostile.kind].append(hostile)
    return found


KINDS = kinds()
LIMITS = TrialLimits(cpu_s=5)


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Targets]:
    made_here = Targets(tmp_path / "targets")
    made_here.make()
    yield made_here
    assert not made_here.canary.exists()


def checked(data: bytes, *, trees: bool) -> str:
    """Who of those that load nothing refuses a file: "" for nobody. Raises what they raise."""
    layer = "container"
    try:
        parts = bundle.unpack(data, digest=digest_of(data))
        layer = "onnx"
        if bundle.ONNX in parts.forms:
            onnx_check.check_onnx(parts.forms[bundle.ONNX])
        layer = "skops"
        if bundle.SKOPS in parts.forms:
            skops_form.check(parts.forms[bundle.SKOPS], trees=trees)
    except BundleRefused as refusal:
        return f"{layer}: {refusal.problem}"
    return ""


@pytest.mark.fault(2)
@pytest.mark.fault(7)
@pytest.mark.fault(8)
@pytest.mark.fault(9)
@pytest.mark.fault(10)
@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_told_without_loading_is_refused_without_loading(kind: str, targets: Targets) -> None:
    for hostile in KINDS[kind]:
        refusal = checked(hostile.make(targets), trees=True)

        early = hostile.layer in ("container", "onnx", "skops")
        assert refusal.startswith(f"{hostile.layer}: ") if early else refusal == "", hostile.name
        assert not early or hostile.says in refusal, hostile.name


@pytest.mark.fault(4)
def test_an_upload_holds_nothing_whose_content_compiled_code_would_trust(targets: Targets) -> None:
    for hostile in corpus():
        if hostile.uploaded is not None:
            form = bundle.unpack(data := hostile.make(targets), digest=digest_of(data)).forms[bundle.SKOPS]
            with pytest.raises(UncheckedContent, match=hostile.uploaded):
                skops_form.check(form, trees=False)


@pytest.mark.fault(4)
@pytest.mark.parametrize("name", ["mixed", "ridge", "tuned threshold", "logarithms"])
def test_an_upload_may_hold_what_numpy_computes(name: str) -> None:
    skops_form.check(stored_zip.read(made(name).data, of="bundle")["model.skops"], trees=False)


def refused_in_trial(hostile: Hostile, targets: Targets) -> None:
    data = hostile.make(targets)
    outcome = try_bundle(data, digest=digest_of(data), trees=True, limits=LIMITS)
    assert not outcome.passed, hostile.name
    assert hostile.says in outcome.reason, hostile.name


def one_of_each() -> list[Hostile]:
    """One file of each form for each layer of those that only a trial can refuse, and one that asks for memory."""
    first = {(one.kind.split()[0], "memory" in one.says, one.layer): one for one in reversed(list(corpus()))}
    return [one for (_, _, layer), one in sorted(first.items()) if layer in ("load", "answers", "limits")]


@pytest.mark.fault(8)
@pytest.mark.fault(10)
@pytest.mark.fault(11)
@pytest.mark.fault(12)
@pytest.mark.fault(14)
@pytest.mark.parametrize("hostile", one_of_each(), ids=lambda hostile: hostile.name)
def test_what_only_loading_can_tell_is_refused_by_its_trial(hostile: Hostile, targets: Targets) -> None:
    refused_in_trial(hostile, targets)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_refused_by_its_trial(kind: str, targets: Targets) -> None:
    for hostile in KINDS[kind]:
        refused_in_trial(hostile, targets)


@pytest.mark.fault(12)
def test_a_version_of_three_gigabytes_is_refused_by_its_trial_and_would_pass_with_more(targets: Targets) -> None:
    """The budget alone decides: a matrix that is held once, and read once."""
    data = by_hand({"model.onnx": toiling(rounds=0)})
    small, large = TrialLimits(memory_mb=700), TrialLimits(memory_mb=4096)

    refused = try_bundle(data, digest=digest_of(data), trees=False, limits=small)
    enough = try_bundle(data, digest=digest_of(data), trees=False, limits=large)

    assert not refused.passed
    assert "memory" in refused.reason
    assert "answered differently" in enough.reason


@pytest.mark.fault(16)
def test_a_version_trained_with_other_libraries_is_served_as_onnx_or_refused_with_both_named() -> None:
    libraries = {"scikit-learn": "0.9", "onnxruntime": "0.1"}
    as_onnx = by_hand({"model.onnx": identity()}, libraries=libraries)
    as_skops = by_hand({"model.skops": linear()}, serves="skops", libraries=libraries)

    served = try_bundle(as_onnx, digest=digest_of(as_onnx), trees=False)
    refused = try_bundle(as_skops, digest=digest_of(as_skops), trees=False)

    assert (served.passed, served.report["serves"]) == (True, "onnx")
    assert not refused.passed
    assert "trained with scikit-learn 0.9, and 1." in refused.reason


def test_the_corpus_has_hundreds_of_files_and_each_has_a_name_of_its_own() -> None:
    names = [hostile.name for hostile in corpus()]

    assert len(names) == len(set(names)) > 400


def test_a_file_that_is_not_hostile_is_refused_by_nobody() -> None:
    assert checked(by_hand({"model.onnx": onnx_of([])}), trees=False).startswith("onnx")
    assert checked(by_hand({"model.onnx": identity()}), trees=False) == ""
