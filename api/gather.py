"""Requests of one row that arrive in the same turn of the event loop share one call of the model.

A call in place costs some 25 µs, nearly whatever it is asked: thirty-two rows in one call cost a tenth of what they
cost alone. There is no timer: the call is made when the loop has read what had arrived, so a lone request waits for
nothing. Each request gets the answer to its own row; where a call fails, each row is asked alone, so that none fails
for another's sake. A gather belongs to one version, so a call never mixes two.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from api.answered import Answered
from api.cost import FULL
from api.wording import Words, length
from understudy.adapters.runtime import REMEDY
from understudy.errors import ModelFailed, UnderstudyError
from understudy.rows import Row

if TYPE_CHECKING:
    from api.identity import Identities
    from api.serving import Served


log = logging.getLogger(__name__)


class Asker(Protocol):
    """Who waits for an answer; called on the event loop, once."""

    def answered(self, words: Words, identity: bytes, served: "Served") -> None:
        """`served.wording.one(words, identity)` is the body."""

    def failed(self, error: UnderstudyError, served: "Served") -> None: ...


Asked = tuple[Asker, float, str | None]
"""Who asked, when (s, `perf_counter`), and in which role."""

Done = Callable[[Answered], None]


class Gather:
    """The requests of this turn for one version. Used on the event loop only."""

    def __init__(self, served: "Served", identities: "Identities", done: Done) -> None:
        self._served, self._identities, self._done = served, identities, done
        self._loop = asyncio.get_running_loop()
        self._packer = served.runtime.packer
        self._asked: list[Asked] = []
        self._with_role = False
        self._rows: list[Row] = []
        if self._packer is not None:
            self._buffer = bytearray(FULL * self._packer.stride)
            self._matrix = self._packer.matrix(self._buffer)

    def add(self, row: Row, asker: Asker, started_s: float, role: str | None) -> None:
        """Ask for one row; the answer comes within this turn of the loop or at its end."""
        n = len(self._asked)
        if self._packer is None:
            self._rows.append(row)
        else:
            self._packer.into(self._buffer, n, row)
        self._asked.append((asker, started_s, role))
        if role is not None:
            self._with_role = True
        if n == 0:
            self._served.in_flight += 1
            self._loop.call_soon(self.flush)
        elif n + 1 == FULL:
            self.flush()

    def flush(self) -> None:
        """Answer what was asked so far."""
        asked = self._asked
        if not asked:
            return
        with_role, self._asked, self._with_role = self._with_role, [], False
        rows = self._taken(len(asked))
        matrix = self._matrix[: len(asked)] if self._packer is not None else rows
        try:
            output, worded = self._said(matrix, len(asked))
        except UnderstudyError as error:
            if len(asked) == 1:
                asked[0][0].failed(error, self._served)
            else:
                self._one_by_one(asked, rows)
        else:
            tell(self._served, self._identities, self._done, asked, rows, output, worded, with_role=with_role)
        finally:
            self._served.in_flight -= 1

    def _said(self, rows: Any, n: int) -> tuple[Any, list[Words]]:
        """What the model says to n rows, and the words for each of them. Raises UnderstudyError and nothing else."""
        output = self._served.call(rows, shared=n > 1)
        if length(output) != n:
            raise ModelFailed("The model answered another number of rows.", remedy=REMEDY)
        try:
            return output, [*self._served.wording.each(output)]
        except Exception as error:
            log.exception("an answer of a model cannot be written", extra={"action": "bug"})
            raise ModelFailed("What the model said cannot be written.", remedy=REMEDY) from error

    def _taken(self, n: int) -> bytes | list[Row]:
        """The rows of this call, in a form that nobody changes any more."""
        if self._packer is not None:
            return bytes(self._buffer[: n * self._packer.stride])
        rows, self._rows = self._rows, []
        return rows

    def _one_by_one(self, asked: Sequence[Asked], rows: bytes | list[Row]) -> None:
        for place, one in enumerate(asked):
            row = nth(rows, place, self._served)
            try:
                output, worded = self._said(asking(row, self._served), 1)
            except UnderstudyError as error:
                one[0].failed(error, self._served)
            else:
                tell(self._served, self._identities, self._done, [one], row, output, worded, with_role=True)


def tell(
    served: "Served",
    identities: "Identities",
    done: Done,
    asked: Sequence[Asked],
    rows: bytes | Sequence[Row],
    output: Any,
    worded: Sequence[Words],
    *,
    with_role: bool,
) -> None:
    """Give the call to the records, then every asker the answer to its row, in the order of the rows.

    In this order, so that whatever a killed process has answered had been counted.
    """
    n = len(asked)
    stamp, first = identities.take(n)
    number, process = first, identities.process
    ended_s = time.perf_counter()
    latencies_s = [ended_s - started_s for _, started_s, _ in asked]
    roles = [role for _, _, role in asked] if with_role else None
    done(Answered(served, first, stamp, rows, n, output, latencies_s, roles))
    for (asker, _, _), words in zip(asked, worded, strict=True):
        identity = b"%b%08x%b" % (stamp, number, process)
        asker.answered(words, identity, served)
        number += 1


def nth(rows: bytes | Sequence[Row], place: int, served: "Served") -> bytes | Sequence[Row]:
    """One row of a call, in the form that all its rows have."""
    if isinstance(rows, bytes):
        stride = len(served.signature.columns) * 4
        return rows[place * stride : (place + 1) * stride]
    return rows[place : place + 1]


def asking(rows: bytes | Sequence[Row], served: "Served") -> Any:
    """The same rows as the model takes them."""
    packer = served.runtime.packer
    return rows if packer is None or not isinstance(rows, bytes) else packer.matrix(rows)
