"""Answers of one version as bytes: what is the same in all of them is written once, when the version is loaded."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import msgspec

from api.identity import DIGITS
from understudy.parity import Answer
from understudy.signature import Signature

encode = msgspec.json.Encoder().encode

Output = Any
"""What `Runtime.run` gives: (n, classes) or (n, 1) of float32, or an Answer."""

Words = tuple[bytes, bytes]
"""The answer to one row: everything up to its numbers, and the numbers."""

END = b'"}'

NUMBERS_AT_ONCE = 4000
"""In or out: each is read or written in about a quarter of a microsecond."""

FEW = 16
"""Rows of which Python finds the likeliest class before numpy has begun."""


class Wording:
    """`{"predictions": …, "probabilities": …, "classes": …, "model": …, "version": …, "prediction_id": …}`."""

    def __init__(self, signature: Signature, *, model: str, version: str) -> None:
        self._classes = signature.classes
        tail = b',"classes":%b,"model":%b,"version":%b,"prediction_id":"' % (
            encode(signature.classes),
            encode(model),
            encode(version),
        )
        if signature.classes is None:
            self._heads = [b'{"predictions":[']
            self.tail = b'],"probabilities":null' + tail
        else:
            self._heads = [b'{"predictions":[%b],"probabilities":[[' % encode(label) for label in signature.classes]
            self.tail = b"]]" + tail
        self._many_tail = tail
        self._piece = max(1, NUMBERS_AT_ONCE // max(1, len(signature.classes or ())))
        self.rest = len(self.tail) + DIGITS + len(END)
        """Bytes of the answer to one row beyond its words."""

    def one(self, words: Words, identity: bytes) -> bytes:
        """The answer to a request of one row."""
        return b"".join((words[0], words[1], self.tail, identity, END))

    def many(self, output: Output, identity: bytes) -> bytes:
        """The answer to a request of many rows; in pieces, since whoever encodes holds the interpreter meanwhile."""
        predictions, probabilities = [], []
        for begin in range(0, max(1, length(output)), self._piece):
            said = self._encoded(part(output, begin, begin + self._piece))
            predictions.append(said[0][1:-1])
            probabilities.append(said[1][1:-1])
        return b"".join(
            (
                b'{"predictions":[',
                b",".join(predictions),
                b'],"probabilities":null' if self._classes is None else b'],"probabilities":[',
                b"" if self._classes is None else b",".join(probabilities) + b"]",
                self._many_tail,
                identity,
                END,
            )
        )

    def _encoded(self, output: Output) -> tuple[bytes, bytes]:
        """Predictions and probabilities as two lists of JSON."""
        if isinstance(output, Answer):
            return encode(output.predictions), encode(output.probabilities or [])
        if self._classes is None:
            return encode(output.ravel().tolist()), b"[]"
        return encode([self._classes[i] for i in output.argmax(axis=1).tolist()]), encode(output.tolist())

    def each(self, output: Output) -> Iterator[Words]:
        """The words of every row."""
        if isinstance(output, Answer):
            return map(self._words, output.predictions, output.probabilities or repeat(None))
        if self._classes is None:
            head = self._heads[0]
            return ((head, text) for text in encode(output.ravel().tolist())[1:-1].split(b","))
        heads, rows = self._heads, output.tolist()
        likeliest = [row.index(max(row)) for row in rows] if len(rows) <= FEW else output.argmax(axis=1).tolist()
        return zip([heads[i] for i in likeliest], encode(rows)[2:-2].split(b"],["), strict=True)

    def _words(self, prediction: Any, probabilities: list[float] | None) -> Words:
        if probabilities is None:
            return self._heads[0], encode(prediction)
        return b'{"predictions":[%b],"probabilities":[[' % encode(prediction), encode(probabilities)[1:-1]


def length(output: Output) -> int:
    """How many rows an output answers."""
    return len(output.predictions if isinstance(output, Answer) else output)


def part(output: Output, begin: int, end: int) -> Output:
    """The rows from `begin` up to `end`."""
    if isinstance(output, Answer):
        probabilities = None if output.probabilities is None else output.probabilities[begin:end]
        return Answer(output.predictions[begin:end], probabilities)
    return output[begin:end]
