"""The typical row of a champion, and what it answers to it, in the form of each protocol: what `/docs` shows.

Ids in them are made up, so that every process tells the same of the same version.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from api.serving import Served
from understudy import open_inference, scoring_forms
from understudy.errors import ModelFailed
from understudy.open_inference import Asked
from understudy.parity import Answer
from understudy.signature import Value

PREDICTION_ID = "19a0f5c2d30000000001d4f7a"
"""An id as predictions have it, of no prediction."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """One row, and its answer; None where the model fails at it."""

    served: Served
    row: list[Value]
    answer: Answer | None
    key: str | None = None
    """The column by which its rows may be named."""

    def record(self) -> Json:
        """The body of `/predict`."""
        return dict(zip(self.served.signature.names, self.row, strict=True))

    def prediction(self) -> Json | None:
        if self.answer is None:
            return None
        return read(self.served.wording.many(self.answer, PREDICTION_ID.encode()))

    def split(self) -> Json:
        """The body of `/invocations` in the first of its forms."""
        return {"dataframe_split": {"columns": list(self.served.signature.names), "data": [self.row]}}

    def predictions(self) -> Json | None:
        return None if self.answer is None else read(scoring_forms.written(self.answer))

    def tensors(self) -> Json:
        """The body of `/v2/models/{model}/infer`: one tensor, or one a column."""
        return {"inputs": open_inference.inputs_of(self.served.signature, self.row)}

    def outputs(self) -> Json | None:
        if self.answer is None:
            return None
        signature = self.served.signature
        asked = Asked(None, [self.row], dict.fromkeys(open_inference.outputs_of(signature), False))
        whose = {"model": self.served.model, "version": self.served.version, "prediction_id": PREDICTION_ID}
        return read(open_inference.written(asked, self.answer, signature, **whose)[0])


_answers: WeakKeyDictionary[Served, Answer] = WeakKeyDictionary()
"""What loaded versions have said to their typical rows: anybody may read the document, as often as they like."""


def example_of(served: Served) -> Example:
    """Asks a version once, and again only where it failed."""
    row = [column.example for column in served.signature.columns]
    with suppress(ModelFailed):
        if served not in _answers:
            _answers[served] = served.runtime.predict([row])
    return Example(served, row, _answers.get(served))


def read(content: bytes) -> Json:
    found: Json = json.loads(content)
    return found
