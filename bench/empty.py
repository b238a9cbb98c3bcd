"""F1: FastAPI with a pydantic model of the row, and a handler that does nothing.

python -m bench.empty PORT FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, create_model

from bench.floor import serve


def row_model(folder: Path) -> type[BaseModel]:
    """A pydantic model with one float for each of the names in `names.json`."""
    names: list[str] = json.loads((folder / "names.json").read_text())
    fields: dict[str, Any] = dict.fromkeys(names, (float, ...))
    return create_model("Row", **fields)


def empty(folder: Path) -> FastAPI:
    app, Row = FastAPI(), row_model(folder)  # noqa: N806 - a class

    @app.post("/predict")
    async def predict(row: Row) -> dict[str, list[int]]:  # type: ignore[valid-type]  # a class made at run time
        return {"predictions": [0]}

    return app


if __name__ == "__main__":
    serve(empty(Path(sys.argv[2])), int(sys.argv[1]))
