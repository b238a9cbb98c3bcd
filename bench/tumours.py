"""The models that are measured: three kinds on the 30 numbers of scikit-learn's breast cancer data.

Each is fitted once and kept in two forms: our bundle, made by our own training, and joblib's file for the usual way.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from understudy.adapters import bundle, frames, training
from understudy.fingerprint import digest_of

TRAINED_ON = 400
"""Rows; the other 169 are asked."""
ESTIMATORS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(n_estimators=100),
    "boosting": HistGradientBoostingClassifier(),
}


@dataclass(frozen=True)
class Fitted:
    """One model in both forms, and what scikit-learn itself answers to the rows that are asked."""

    name: str
    bundle: bytes
    probabilities: "np.ndarray[Any, Any]"
    """(rows, 2)"""

    @property
    def onnx_bytes(self) -> int:
        return len(bundle.unpack(self.bundle, digest=digest_of(self.bundle)).forms[bundle.ONNX])

    def renamed(self, name: str) -> bytes:
        """The same version as a bundle of another model."""
        parts = bundle.unpack(self.bundle, digest=digest_of(self.bundle))
        return bundle.pack({**parts.manifest, "model": name}, parts.golden, parts.forms)


def table() -> tuple[pd.DataFrame, "np.ndarray[Any, Any]"]:
    """All rows with names as a team would write them, and their labels."""
    data = load_breast_cancer(as_frame=True)
    return data.data.rename(columns=lambda name: name.replace(" ", "_")), data.target.to_numpy()


def asked() -> pd.DataFrame:
    """The rows that the load consists of; no model was fitted on them."""
    return table()[0].iloc[TRAINED_ON:]


def fitted(name: str, folder: Path) -> Fitted:
    """Fit one model, write its `NAME.joblib` and the `names.json` of its columns, and make its bundle."""
    with threadpool_limits(1):  # as the scheduler trains; on a busy machine several would wait for each other
        return _fitted(name, folder)


def _fitted(name: str, folder: Path) -> Fitted:
    rows, labels = table()
    names = tuple(rows.columns)
    features = frames.feature_frame(rows[:TRAINED_ON], names)
    target = frames.target_of(pd.Series(labels[:TRAINED_ON]), task="binary")
    model = training.fit(ESTIMATORS[name], features, target, seed=1)
    later = frames.feature_frame(rows[TRAINED_ON:], names)
    made = training.make_bundle(
        model,
        facts=facts(name),
        task="binary",
        target="benign",
        features=features,
        labels=target,
        holdout=later,
        holdout_labels=frames.target_of(pd.Series(labels[TRAINED_ON:]), task="binary"),
    )
    joblib.dump(model, folder / f"{name}.joblib")
    (folder / "names.json").write_text(json.dumps(names))
    return Fitted(name, made, model.predict_proba(later))


def facts(name: str) -> training.Facts:
    data = {"digest": "d" * 64, "rows": TRAINED_ON, "train_rows": TRAINED_ON, "cut": "0", "end": "0"}
    return training.Facts(model=name, metric="log_loss", params={}, seed=1, data=data, fingerprint="f" * 64)


def bodies(form: str) -> list[bytes]:
    """Bodies of one form, each with other rows: `record` holds one row, the others 100."""
    rows = asked()
    if form == "record":
        return [as_json(record) for record in rows.to_dict("records")[:SINGLES]]
    starts = range(0, len(rows) - BATCH + 1, 10)
    return [BATCHES[form](rows.iloc[start : start + BATCH]) for start in starts]


def as_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def as_arrow(rows: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_pandas(rows, preserve_index=False)
    with pa.ipc.new_stream(sink, batch.schema.remove_metadata()) as stream:
        stream.write_batch(batch.replace_schema_metadata())
    return bytes(sink.getvalue())


SINGLES, BATCH = 64, 100
BATCHES = {
    "values": lambda rows: as_json({"values": rows.to_numpy().tolist()}),
    "records": lambda rows: as_json({"records": rows.to_dict("records")}),
    "arrow": as_arrow,
}
MEDIA = {"record": "application/json", "values": "application/json", "records": "application/json"}
MEDIA |= {"arrow": "application/vnd.apache.arrow.stream"}
