"""HTTP/1.1 as it comes in, with an end to what is no body: a request's head has a length.

httptools sets none, and joins a header that comes in pieces anew with each piece: 100 MB of one header would cost
200 MB and stop every other request for a minute.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 64 * 1024
"""Bytes between two pieces of progress: request line and headers, the line of a chunk, what follows the last chunk."""


class Wire(HttpToolsProtocol):
    """Closes a connection that sends on and on without getting anywhere."""

    def __init__(self, *given: Any, **named: Any) -> None:  # what uvicorn gives a protocol
        super().__init__(*given, **named)
        self._unread, self._got_on = 0, False

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        super().data_received(data)
        self._unread = 0 if self._got_on else self._unread + len(data)
        if self._unread > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of this request is too long.")

    def on_headers_complete(self) -> None:
        self._got_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        super().on_message_complete()
