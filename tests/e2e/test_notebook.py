"""training.ipynb, executed from its first cell to its last against an API of its own."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests
from nbclient import NotebookClient

from tests.services import Installation, installation

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "training.ipynb"


def notebook_as_kept() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # it has no types


def executed(installed: Installation) -> Any:
    """The notebook with the outputs that its cells gave. Raises CellExecutionError."""
    notebook = notebook_as_kept()
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    return client.execute(env=installed.environment)


def said(notebook: Any) -> str:
    """All that the cells have shown, as plain text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.data["text/plain"] for output in outputs if "data" in output)


@pytest.mark.timeout(240)
def test_the_notebook_trains_a_first_model_and_the_api_serves_it(tmp_path: Path) -> None:
    with installation(tmp_path) as installed:
        installed.start_api()

        notebook = executed(installed)

        champion = requests.get(f"{installed.url}/current_model", timeout=10).json()
    assert (champion["model"], champion["version"], champion["how"]) == ("rain", "1", "override")
    assert "'the same twice': True" in said(notebook)
    assert [(served, ours) for _, served, ours in table(notebook) if served != ours] == []


def table(notebook: Any) -> list[list[str]]:
    """The rows of the last cell's table: class, probability that was served, ours."""
    return [line.split() for line in notebook.cells[-1].outputs[0].data["text/plain"].splitlines()[1:]]


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = notebook_as_kept()

    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
