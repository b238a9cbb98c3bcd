"""One call of a model that was answered, as it goes to the records and the counters: whole, and not request by request.

A call answers many requests of one row each, or one request of many rows. What both kinds cost is paid once a call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.rows import Row

if TYPE_CHECKING:
    from api.serving import Served
    from understudy.parity import Answer


@dataclass(slots=True)
class Answered:
    """A call, its input and its output; nobody changes it any more."""

    served: "Served"
    first: int
    """Number of its first request; the next ones follow. With `stamp` they make the ids; see `api/identity.py`."""
    stamp: bytes
    """Milliseconds of wall time, 11 hex digits, never less than those of an earlier call in this process."""
    rows: "bytes | Sequence[Row]"
    """float32, row after row, in signature order, a null as NaN: what an ONNX form without text saw. Otherwise tuples
    in signature order."""
    n: int
    """Rows."""
    output: "Any | Answer"
    """What the model said: a float32 array, (n, classes) or (n, 1); or an Answer where it is no such form."""
    latencies_s: list[float]
    """One a request: its body complete until its answer was made. As many as there are requests: n, or 1."""
    roles: "Sequence[str | None] | None"
    """One a request; None: all were sent without a token."""
    keys: "Sequence[str | None] | None" = None
    """One a row, where rows were named by keys; see `understudy/row_keys.py`."""
