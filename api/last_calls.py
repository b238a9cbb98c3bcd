"""Who had called when the door was closed: connections that the system has made for a server and nobody has taken.

A socket that is closed resets them, though their clients were told that they are connected and may have sent a request.
So a second handle keeps the socket open while the server closes its own; then all that wait are taken, until none is
left, and the handle is closed in the same breath.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable

from api.wire import Wire


def second_handles(servers: Iterable[asyncio.Server]) -> list[socket.socket]:
    """One for each socket that the servers listen on. Raises OSError where no more files can be opened."""
    return [socket.socket(fileno=os.dup(sock.fileno())) for server in servers for sock in server.sockets]


async def take_last(listening: Iterable[socket.socket], make: Callable[[], Wire]) -> None:
    """Serve one request on each connection that waits, and close `listening`."""
    loop = asyncio.get_running_loop()
    for taken in [connection for sock in listening for connection in waiting(sock)]:
        _, wire = await loop.connect_accepted_socket(make, taken)
        wire.shutdown()


def waiting(listening: socket.socket) -> list[socket.socket]:
    """Take what waits, and close."""
    found = []
    with listening:
        listening.setblocking(False)
        while True:
            try:
                found.append(listening.accept()[0])
            except OSError:  # nobody is left, or no more files can be opened
                return found
