"""A wire between a client and its server that the test can cut, stall and mend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Proxy:
    """Forwards bytes to a server until it is cut; make one with `wire`."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._frozen: list[asyncio.Event] = []
        self._deaf = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def mend(self) -> None:
        """Let connections through."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections, and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
        for frozen in self._frozen:
            frozen.set()
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stall(self) -> None:
        """Keep all connections, and let nothing through."""
        self._flows.clear()

    def freeze(self) -> None:
        """Keep the connections there are, and let nothing through them ever again."""
        self.stall()
        self._frozen.append(self._flows)
        self._flows = asyncio.Event()
        self._flows.set()

    def swallow(self, *, answers: bool) -> None:
        """Lose what the server says from now on, or no more."""
        self._deaf = answers

    def flow(self) -> None:
        """Let through what has been kept back, and what comes now."""
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, out = await asyncio.open_connection(self._server.hostname, self._server.port)
        self._writers |= {writer, out}
        self._clients.add(writer)
        flows = self._flows
        for source, target in ((reader, out), (onward, writer)):
            task = asyncio.create_task(self._forward(source, target, flows))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await flows.wait()
                if self._deaf and target in self._clients:
                    continue
                target.write(data)
                await target.drain()
        target.close()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Proxy]:
    """Yield a wire to the server."""
    proxy = Proxy(url)
    await proxy.mend()
    try:
        yield proxy
    finally:
        proxy.flow()
        await proxy.cut()
