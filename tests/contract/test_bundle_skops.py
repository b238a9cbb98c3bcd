"""The skops form: what it may hold is decided here and by nothing in the file."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from tests.bundles import by_hand, identity, made
from understudy.adapters import skops_form, stored_zip
from understudy.adapters.runtime import open_bundle
from understudy.adapters.trial import try_bundle
from understudy.errors import BundleRefused
from understudy.fingerprint import digest_of


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def linear() -> LogisticRegression:
    rng = np.random.default_rng(0)
    return LogisticRegression().fit(rng.normal(size=(50, 2)), np.arange(50) % 2)


def with_schema(data: bytes, schema: Any) -> bytes:
    text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    return stored_zip.write({**stored_zip.read(data, of="skops form"), "schema.json": text})


def schema_of(data: bytes) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(stored_zip.read(data, of="skops form")["schema.json"])
    return schema


def test_what_was_dumped_is_loaded_and_answers_the_same() -> None:
    model = linear()

    loaded = skops_form.load(skops_form.dump(model), trees=False)

    row = np.array([[0.3, -1.0]])
    assert loaded.predict_proba(row).tolist() == model.predict_proba(row).tolist()


def test_dumping_twice_gives_the_same_bytes() -> None:
    assert skops_form.dump(linear()) == skops_form.dump(linear())


def test_nothing_in_a_dump_is_an_address_or_a_date() -> None:
    with zipfile.ZipFile(io.BytesIO(skops_form.dump(linear()))) as archive:
        dates = {member.date_time for member in archive.infolist()}

    ids = [node["__id__"] for node in skops_form._nodes(schema_of(skops_form.dump(linear()))) if "__id__" in node]
    assert dates == {(1980, 1, 1, 0, 0, 0)}
    assert max(ids) < 1000


@pytest.mark.parametrize("name", ["forest", "boosting"])
def test_trees_are_loaded_only_where_they_are_allowed(name: str) -> None:
    form = stored_zip.read(made(name).data, of="bundle")["model.skops"]

    assert skops_form.load(form, trees=True)
    with pytest.raises(BundleRefused, match="decision trees"):
        skops_form.load(form, trees=False)


def test_a_bundle_with_trees_in_a_form_that_does_not_serve_is_refused_too() -> None:
    forest = made("forest")

    assert forest.open().manifest["serves"] == "onnx"
    with pytest.raises(BundleRefused, match="Send a forest as ONNX alone"):
        open_bundle(forest.data, digest=forest.digest, trees=False)


def test_a_type_that_is_not_on_our_list_is_refused_whatever_the_file_says() -> None:
    for model in (FunctionTransformer(os.system), FunctionTransformer(subprocess.Popen)):
        with pytest.raises(BundleRefused):
            skops_form.load(stored_form(skops.io.dumps(model)), trees=True)


def test_a_vectorizer_that_reads_the_files_a_request_names_is_refused() -> None:
    words = skops_form.dump(CountVectorizer(input="filename"))

    with pytest.raises(BundleRefused, match="name of a file"):
        skops_form.load(words, trees=True)


def test_every_type_on_our_list_exists() -> None:
    from skops.io._utils import gettype

    for name in sorted(skops_form.ALLOWED | skops_form.TRAINED_HERE):
        module, _, attribute = name.rpartition(".")
        assert gettype(module, attribute) is not None, name


def stored_form(data: bytes) -> bytes:
    """An archive as skops wrote it, as we store it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return stored_zip.write({name: archive.read(name) for name in archive.namelist()})


@pytest.mark.parametrize(
    "schema",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 400 + b"1" + b"}" * 400],
    ids=["empty", "cut", "list", "null", "no text", "100,000 deep", "400 deep"],
)
def test_a_schema_that_is_none_or_too_deep_is_refused(schema: bytes) -> None:
    with pytest.raises(BundleRefused):
        skops_form.load(with_schema(skops_form.dump(linear()), schema), trees=True)


@pytest.mark.parametrize(
    "change",
    [
        {"__loader__": "NoSuchNode"},
        {"__loader__": "MethodNode"},
        {"__module__": "builtins", "__class__": "eval"},
        {"__module__": "os", "__class__": "system", "__loader__": "FunctionNode"},
        {"protocol": 999},
        {"protocol": None},
    ],
    ids=str,
)
def test_a_crafted_schema_is_refused(change: dict[str, Any]) -> None:
    form = skops_form.dump(linear())

    with pytest.raises(BundleRefused):
        skops_form.load(with_schema(form, {**schema_of(form), **change}), trees=True)


def test_an_array_that_claims_to_be_huge_is_refused() -> None:
    members = stored_zip.read(skops_form.dump(linear()), of="skops form")
    name = next(name for name in members if name.endswith(".npy"))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})

    with pytest.raises((BundleRefused, MemoryError)):
        skops_form.load(stored_zip.write({**members, name: header.getvalue()}), trees=True)


@pytest.mark.fault(7)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_under_any_name_is_never_unpickled(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    hostile = pickle.dumps(Payload(canary), protocol=protocol)
    inside = io.BytesIO()
    np.save(inside, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    members = stored_zip.read(skops_form.dump(linear()), of="skops form")
    array = next(name for name in members if name.endswith(".npy"))
    bundles = [
        hostile,
        by_hand({"model.onnx": hostile}),
        by_hand({"model.skops": hostile}, serves="skops"),
        by_hand({"model.onnx": identity(), "model.skops": hostile}),
        by_hand({"model.skops": stored_zip.write({"schema.json": hostile})}, serves="skops"),
        by_hand({"model.skops": stored_zip.write({**members, array: inside.getvalue()})}, serves="skops"),
    ]

    for data in bundles:
        with pytest.raises(BundleRefused):
            open_bundle(data, digest=digest_of(data), trees=False)
        assert not try_bundle(data, digest=digest_of(data), trees=True).passed

    assert not canary.exists()
    pickle.loads(hostile)  # noqa: S301 - the guard has something to guard against
    assert canary.exists()


def test_a_version_of_another_scikit_learn_is_refused_with_both_named() -> None:
    tuned = made("tuned threshold")
    form = stored_zip.read(tuned.data, of="bundle")["model.skops"]
    libraries = {**tuned.open().manifest["libraries"], "scikit-learn": "0.9"}
    data = by_hand(
        {"model.skops": form},
        signature=tuned.open().signature,
        golden=tuned.open().golden,
        serves="skops",
        libraries=libraries,
    )

    with pytest.raises(BundleRefused, match=r"trained with scikit-learn 0\.9, and 1\."):
        open_bundle(data, digest=digest_of(data), trees=True)


SAME = """
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from tests.bundles import RECIPES, Recipe, digest_of, fit, make
from understudy.adapters import skops_form

words = make_pipeline(make_column_transformer((TfidfVectorizer(token_pattern="."), "plan")), LogisticRegression())
search = GridSearchCV(LogisticRegression(max_iter=5000), {"C": [0.1, 1.0]})
recipes = [Recipe(words, ["plan"], "stays", "binary"), Recipe(search, ["age_known"], "stays", "binary")]
recipes.append(RECIPES["boosting of categories"]())
print(make(RECIPES["forest"]()).digest, *(digest_of(skops_form.dump(fit(recipe))) for recipe in recipes))
"""


def test_the_same_training_gives_the_same_bytes_in_two_processes() -> None:
    """Two hash seeds, and memory that is filled with another byte before it is handed out."""
    environments = [
        {"PYTHONHASHSEED": "1", "MALLOC_PERTURB_": "0"},
        {"PYTHONHASHSEED": "2", "MALLOC_PERTURB_": "165"},
    ]
    root = Path(__file__).parents[2]

    children = [
        subprocess.Popen(
            [sys.executable, "-c", SAME],
            stdout=subprocess.PIPE,
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        for environment in environments
    ]
    digests = [child.communicate()[0].split() for child in children]

    assert len(digests[0]) == 4
    assert digests[0] == digests[1]
