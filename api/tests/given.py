"""What the API's tests begin with: small real models, bundles and evidence, and an API on a folder of its own."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastapi.testclient import TestClient
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression

from api.main import create_app
from understudy import Promotion, Schedule
from understudy.adapters import frames, training
from understudy.adapters.runtime import open_bundle
from understudy.events import timestamp
from understudy.evidence import build, row_digest
from understudy.fingerprint import digest_of
from understudy.profile import profile_columns
from understudy.settings import Settings
from understudy.signature import Task

START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = ("x", "y")


@dataclass(frozen=True)
class Rows:
    """A slice of one endless stream: `n` rows from row `first`, one a minute."""

    first: int
    n: int

    @property
    def clock(self) -> list[str]:
        return [timestamp(START + timedelta(minutes=i)) for i in range(self.first, self.first + self.n)]

    def frame(self, noise: float = 0.5) -> pd.DataFrame:
        """x and y are uniform; the label is where their sum, with some noise, is above 1."""
        i = np.arange(self.first, self.first + self.n)
        x, y, e = (np.modf(np.sin(i * k) * 43758.5453)[0] % 1 for k in (12.9898, 78.233, 39.425))
        return pd.DataFrame({"x": x, "y": y, "label": (x + y + noise * (e - 0.5) > 1).astype(int), "amount": 3 * x + y})


TRAINING, HOLDOUT = Rows(0, 400), Rows(400, 200)


@cache
def bundle(
    estimator: BaseEstimator | None = None,
    *,
    model: str = "rain",
    trained_on: Rows = TRAINING,
    names: Sequence[str] = FEATURES,
    task: Task = "binary",
    shuffled: bool = False,
) -> bytes:
    """A trained model as the scheduler would bundle it; `shuffled` labels make a useless one."""
    frame, later = trained_on.frame(), Rows(trained_on.first + trained_on.n, 200).frame()
    target = "amount" if task == "regression" else "label"
    if shuffled:
        frame[target] = np.random.default_rng(0).permutation(frame[target])
    rename = dict(zip(FEATURES, names, strict=True))
    features = frames.feature_frame(frame.rename(columns=rename), names)
    labels = frames.target_of(frame[target], task=task)
    default = LinearRegression() if task == "regression" else LogisticRegression()
    fitted = training.fit(default if estimator is None else estimator, features, labels, seed=1)
    clock = trained_on.clock
    facts = training.Facts(
        model=model,
        metric="mae" if task == "regression" else "log_loss",
        params={},
        seed=1,
        data={"digest": "d" * 64, "rows": len(clock), "train_rows": len(clock), "cut": clock[-1], "end": clock[-1]},
        fingerprint="f" * 64,
    )
    return training.make_bundle(
        fitted,
        facts=facts,
        task=task,
        target=target,
        features=features,
        labels=labels,
        holdout=frames.feature_frame(later.rename(columns=rename), names),
        holdout_labels=frames.target_of(later[target], task=task),
    )


def profile(rows: Rows) -> bytes:
    frame = rows.frame()
    return profile_columns(
        {name: frame[name].to_numpy() for name in FEATURES},
        kinds=dict.fromkeys(FEATURES, "number"),
        label=frame["label"].to_numpy(),
        task="binary",
        clock=rows.clock,
        new_from=0,
        fitted_until=rows.n,
    ).encode()


def evidence(
    store: Any, candidate: bytes, champion: bytes | None, *, rows: Rows = HOLDOUT, measured: datetime | None = None
) -> str:
    """Store what both bundles answer to `rows`, and return its digest."""
    frame = rows.frame()
    values = frames.rows_of(frames.feature_frame(frame, FEATURES))
    labels = frame["label"].tolist()

    def outputs(data: bytes) -> Any:
        return open_bundle(data, digest=digest_of(data), trees=True).predict(values).probabilities

    data = build(
        model="rain",
        candidate=digest_of(candidate),
        champion=None if champion is None else digest_of(champion),
        task="binary",
        classes=[0, 1],
        clock=rows.clock,
        rows=[row_digest([*row, label]) for row, label in zip(values, labels, strict=True)],
        labels=labels,
        candidate_out=outputs(candidate),
        champion_out=None if champion is None else outputs(champion),
        times_measured=timestamp(measured or datetime.now(UTC)),
        profile=store.put(profile(Rows(0, rows.first + rows.n))),
    )
    return str(store.put(data))


def definition(model: str = "rain", mode: str = "auto", **promotion: Any) -> dict[str, Any]:
    """What `PUT /models/{model}` sends."""
    return {
        "definition": {
            "name": model,
            "description": "made for a test",
            "target": "label",
            "schedule": Schedule.every(minutes=1).to_json(),
            "promotion": Promotion(mode=mode, **promotion).to_json(),  # type: ignore[arg-type]  # a test may try nonsense
            "ranges": {},
        },
        "source": {f"{model}.py": "# a test"},
    }


class Api:
    """An API in this process, spoken to over HTTP, and the folder it lives in."""

    def __init__(self, client: TestClient, home: Path) -> None:
        self.client, self.home = client, home
        self.service = client.app.state.service  # type: ignore[attr-defined]  # a FastAPI behind an ASGI type
        self.store = self.service.store

    def token(self, role: str) -> dict[str, str]:
        folder = "secrets" if role == "scheduler" else "var"
        return {"Authorization": f"Bearer {(self.home / folder / f'{role}.token').read_text().strip()}"}

    def define(self, model: str = "rain", **policy: Any) -> None:
        answer = self.client.put(f"/models/{model}", json=definition(model, **policy), headers=self.token("scheduler"))
        assert answer.status_code == 200, answer.text

    def register(self, data: bytes, model: str = "rain", role: str = "scheduler", **headers: str) -> Any:
        return self.client.post(f"/models/{model}/versions", content=data, headers={**self.token(role), **headers})

    def judge(self, version: str, digest: str, model: str = "rain", **more: Any) -> Any:
        route = f"/models/{model}/versions/{version}/evidence"
        return self.client.post(route, json={"evidence": digest, **more}, headers=self.token("operator"))

    def promote(
        self, version: str, role: str = "operator", model: str = "rain", override: str | None = None, **headers: str
    ) -> Any:
        body = {"model_name": model, "model_version_id": version} | ({} if override is None else {"override": override})
        return self.client.post("/model/promote", json=body, headers={**self.token(role), **headers})

    def demote(self, model: str = "rain") -> Any:
        body = {"model_name": model, "reason": "a test says so"}
        return self.client.post("/model/demote", json=body, headers=self.token("operator"))

    def serve(self, data: bytes, model: str = "rain") -> str:
        """Register a bundle and make it the champion by an override; return its version."""
        if model not in self.service.journal.state.models:
            self.define(model)
        version = str(self.register(data, model).json()["version"])
        answer = self.promote(version, model=model, override="a test needs it")
        assert answer.status_code == 200, answer.text
        return version

    def kinds(self) -> list[str]:
        """The kinds of all events, oldest first."""
        return [entry.event.kind for entry in self.service.journal.read()]


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A database behind its service's back; what is changed is committed."""
    with closing(sqlite3.connect(file)) as db, db:
        yield db


@contextmanager
def api(home: Path, **settings: Any) -> Iterator[Api]:
    """Start an API on `home`, and stop it."""
    app = create_app(Settings(home=home, allowed_hosts=("testserver",), **settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Api(client, home)
