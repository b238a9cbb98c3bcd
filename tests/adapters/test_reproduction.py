from pathlib import Path
from typing import Any

import pytest
from sklearn.tree import DecisionTreeClassifier

from tests.adapters.stream import at, model
from tests.adapters.versions import rows
from understudy.adapters import definitions, recipe, snapshot
from understudy.adapters.bundle import unpack
from understudy.adapters.commands.verification import trained_otherwise
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.reproduction import Again, reproduce
from understudy.errors import BadInput, NotFound
from understudy.events import timestamp
from understudy.fingerprint import digest_of
from understudy.settings import Settings

DEFINITION = """
from sklearn.tree import DecisionTreeClassifier
from understudy import Model
from understudy.adapters.sources import Csv

model = Model(
    "stream", source=Csv("rows.csv"), target="label", time="at", drop=["city"], estimator=DecisionTreeClassifier()
)
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def run(tmp_path: Path, store: FolderStore) -> dict[str, Any]:
    """A run that trained the stream, as the API shows it."""
    (tmp_path / "stream.py").write_text(DEFINITION)
    source = store.put(definitions.load(tmp_path / "stream.py").source_bytes())
    data = store.put(snapshot.write(rows(500)))
    result = {"source": source, "data": data, "cut": timestamp(at(299)), "params": {"max_depth": 4}}
    return {"id": "stream-1", "model": "stream", "result": result}


def original(run: dict[str, Any], store: FolderStore) -> bytes:
    """What the run itself has trained, in this process."""
    inputs = recipe.Inputs(**run["result"])
    of = model(rows(1), estimator=DecisionTreeClassifier())
    return recipe.make(of, recipe.divide(of, snapshot.read(store.get(inputs.data), of), inputs.cut), inputs)


def refitted(run: dict[str, Any], store: FolderStore, candidate: bytes) -> bytes:
    """What the run itself has made of its candidate."""
    inputs, of = recipe.Inputs(**run["result"]), model(rows(1), estimator=DecisionTreeClassifier())
    divided = recipe.divide(of, snapshot.read(store.get(inputs.data), of), inputs.cut)
    return recipe.refit(of, divided, inputs, unpack(candidate, digest=digest_of(candidate)).manifest["metrics"])


def test_a_run_and_its_refit_are_made_again_in_another_process_with_the_same_bytes(
    run: dict[str, Any], store: FolderStore, tmp_path: Path
) -> None:
    candidate = original(run, store)

    again = reproduce(run, tmp_path / "store", refit=True)

    assert again == Again(candidate, refitted(run, store, candidate))


def test_a_refit_that_was_made_otherwise_differs_and_it_is_said_where(
    run: dict[str, Any], store: FolderStore, tmp_path: Path
) -> None:
    candidate = original(run, store)
    otherwise = {**run, "result": {**run["result"], "params": {"max_depth": 3}}}
    made: list[dict[str, Any]] = [
        {"version": "1", "refit_of": None, "digest": store.put(candidate)},
        {"version": "2", "refit_of": "1", "digest": store.put(refitted(otherwise, store, candidate))},
    ]

    problem = trained_otherwise(run, made, Settings(home=tmp_path, store_url=f"file://{tmp_path}/store"))

    assert problem is not None
    assert problem.startswith("The registered refit of version 1 is not what its inputs give; they differ in manifest")


def test_a_run_that_trained_nothing_cannot_be_trained_again(run: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="stream-1 has trained nothing"):
        reproduce({**run, "result": {"rows": 3}}, tmp_path / "store")


def test_an_input_that_the_store_has_lost_is_named(run: dict[str, Any], tmp_path: Path) -> None:
    run["result"]["data"] = "e" * 64

    with pytest.raises(NotFound, match="no blob 'eeee"):
        reproduce(run, tmp_path / "store")


def test_what_goes_wrong_in_the_other_process_is_said_here(run: dict[str, Any], tmp_path: Path) -> None:
    run["result"]["params"] = {"depth": 3}

    with pytest.raises(BadInput, match="no parameter 'depth'"):
        reproduce(run, tmp_path / "store")


def test_a_training_that_takes_too_long_is_ended(run: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"longer than 0\.01 s"):
        reproduce(run, tmp_path / "store", timeout_s=0.01)
