"""The server that a scenario plays on, as users run it: ``caxton up``, with its router."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from chaos.processes import Process, launch
from chaos.terms import settings, variables


class Up:
    """A process of ``caxton up`` and the nats-server that it has started."""

    replicas = 1

    def __init__(self, store: Path, folder: Path, durability: str) -> None:
        self.port = _free_port()
        self._store = store
        self._folder = folder
        self._durability = durability
        self._process: Process | None = None
        self._nats: list[int] = []

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and return when it says that it is up."""
        command = [sys.executable, "-m", "caxton_nats", "up", "--port", str(self.port)]
        command += ["--store", str(self._store), "--durability", self._durability]
        told = variables(settings(self.url))
        # Whoever names a server would have one that runs already.
        del told["CAXTON_NATS_URL"]
        self._process = await launch("up", command, told, self._folder)
        await self._process.ready(b"caxton is up")
        self._nats = _children(self._process.pid)

    async def kill(self, *, with_server: bool) -> None:
        """End it with SIGKILL: alone, so that its guard must end the server, or both at once."""
        assert self._process is not None
        if with_server:
            self._signal(signal.SIGKILL)
        await self._process.kill()

    async def stop(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            self._signal(signal.SIGCONT)
            await self._process.stop()

    def _signal(self, number: int) -> None:
        for pid in self._nats:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _children(pid: int) -> list[int]:
    """Return the nats-servers that the process has started; its guard is a shell."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(one) for one in found if _is_nats(int(one))]


def _is_nats(pid: int) -> bool:
    return b"nats-server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def up(store: Path, folder: Path, durability: str = "process") -> AsyncIterator[Up]:
    """Run ``caxton up`` with its streams in the store."""
    server = Up(store, folder, durability)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
