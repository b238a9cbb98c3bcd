"""Whether the fast path fits the server that is installed, and what happens where it does not."""

import asyncio
from typing import Any

import pytest

from api import fit
from api.fast import Fast
from api.gather import Gather
from api.wire import Wire


def test_the_fast_path_fits_the_server_that_is_pinned() -> None:
    assert fit.misfit() is None
    assert fit.protocol_class() is Fast


def test_the_plain_path_serves_where_the_fast_one_is_not_wanted() -> None:
    assert fit.protocol_class("it is not wanted") is Wire


class Forgetful(Fast):
    """Answers what is plain, and loses what comes after it in the same piece: what a change of uvicorn might do."""

    def on_message_begin(self) -> None:
        self.headers, self._taken, self.is_amid = [], False, True  # and not `url`


class Hasty(Fast):
    """Refuses what is no request without first answering whoever waits."""

    def refuse(self, *given: Any) -> None:
        self._gather: Gather | None = None
        super().refuse(*given)


class Mute(Fast):
    """Takes every request and answers none."""

    def answered(self, *given: Any) -> None:
        return


class Generous(Fast):
    """Says everything twice, and the second time only later."""

    def _send(self, *given: Any) -> None:
        super()._send(*given)
        self.in_flight += 1
        self.loop.call_later(0.001, super()._send, *given)


class Miscounting(Fast):
    """Believes for ever that it has something to answer."""

    def _send(self, *given: Any) -> None:
        super()._send(*given)
        self.in_flight += 1


@pytest.mark.parametrize("broken", [Forgetful, Hasty, Mute, Generous, Miscounting])
def test_a_class_that_answers_otherwise_than_the_plain_one_is_found_out(broken: type[Wire]) -> None:
    assert "differently" in str(asyncio.run(asyncio.wait_for(fit.differences(broken), 60)))


class Deaf(Fast):
    """Takes nothing in."""

    def data_received(self, data: bytes) -> None:
        return


def test_a_class_that_never_answers_is_found_out() -> None:
    assert "TimeoutError" in str(fit.misfit(Deaf, within_s=0.5))


def test_only_the_first_request_of_a_piece_is_looked_at_for_what_the_piece_is() -> None:
    looked: list[bytes | None] = []

    class Looking(Fast):
        def _learn(self) -> None:
            looked.append(self._piece)
            super()._learn()

    one = fit.request(b'{"x":1}')
    asyncio.run(fit.talk(Looking, [one * 5]))

    assert looked[0] is not None
    assert looked[1:] == [None] * 4
