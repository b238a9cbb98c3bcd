"""Ids of predictions: sortable by time to the millisecond, unique over processes, and made without asking anybody.

25 hex digits: 11 of milliseconds since 1970, 8 of a number that counts the requests of this process, 6 of the process.
The time never goes back within a process, whatever its clock does, so that a process's ids rise.
"""

import secrets
import time

from understudy.records import NUMBERS

DIGITS = 25


class Identities:
    """The ids that one process gives."""

    def __init__(self) -> None:
        self.process = secrets.token_hex(3).encode()
        self._ms, self._next = 0, 0

    def take(self, n: int) -> tuple[bytes, int]:
        """The stamp of this moment, and the first of `n` numbers that are the caller's."""
        self._ms = max(self._ms, time.time_ns() // 1_000_000)
        first = self._next if self._next + n <= NUMBERS else 0  # an id has so many digits and no more
        self._next = first + n
        return b"%011x" % self._ms, first

    def of(self, stamp: bytes, number: int) -> bytes:
        """The id of one request."""
        return b"%b%08x%b" % (stamp, number, self.process)
