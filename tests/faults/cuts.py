"""A network between clients and the API that can be cut: answers get lost, connections reset or stall."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Literal

Cut = Literal["drop", "reset", "stall"]
"""Do what is asked and lose the answer; break every connection at once; keep all bytes to oneself for a while."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which a closed connection is reset."""


class Proxy:
    """Forwards bytes to a port of this machine, from a thread of its own."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._cut: Cut | None = None
        self._loop, self._ready = asyncio.new_event_loop(), Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def cut(self, how: Cut | None) -> None:
        """Begin a cut; None ends it."""
        self._loop.call_soon_threadsafe(self._begin, how)

    def _begin(self, how: Cut | None) -> None:
        self._cut = how
        if how == "reset":
            for writer in list(self._open):
                reset(writer)
        if how != "stall":
            self._flowing.set()
        else:
            self._flowing.clear()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped, self._flowing = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, api = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._open |= {writer, api}
        try:
            pumps = [self._pump(reader, api, answers=False), self._pump(answers, writer, answers=True)]
            tasks = [asyncio.ensure_future(pump) for pump in pumps]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        finally:
            self._open -= {writer, api}
            writer.close()
            api.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._flowing.wait()
                if answers and self._cut == "drop":
                    return
                sink.write(data)
                await sink.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST, also what the other side is just sending."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    running = Proxy(target)
    running.start()
    try:
        yield running
    finally:
        running.stop()
