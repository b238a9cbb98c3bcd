"""The usual way to serve a scikit-learn model: FastAPI, pydantic, joblib, a DataFrame for each request.

    python -m bench.usual PORT FOLDER

The handler is `async`: on one core that is faster than FastAPI's pool of threads, so the comparison favours it.
"""

import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI

from bench.empty import row_model
from bench.floor import serve


def usual(folder: Path) -> FastAPI:
    """One route for each model of the folder."""
    app, Row = FastAPI(), row_model(folder)  # noqa: N806 - a class
    loaded = {path.stem: joblib.load(path) for path in sorted(folder.glob("*.joblib"))}

    @app.post("/models/{name}/predict")
    async def predict(name: str, row: Row) -> dict[str, Any]:  # type: ignore[valid-type]  # made at run time
        frame, model = pd.DataFrame([row.model_dump()]), loaded[name]  # type: ignore[attr-defined]
        return {
            "predictions": model.predict(frame).tolist(),
            "probabilities": model.predict_proba(frame).tolist(),
            "model": name,
        }

    return app


if __name__ == "__main__":
    serve(usual(Path(sys.argv[2])), int(sys.argv[1]))
