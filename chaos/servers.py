"""The server that a scenario plays on: what every kind of it can say, and the single one."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Protocol

from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer


class Server(Protocol):
    """One nats-server or several, as far as clients see them."""

    @property
    def url(self) -> str:
        """What clients connect to; several with commas."""

    @property
    def replicas(self) -> int:
        """How many copies of each stream there are."""


class Single:
    """The embedded server, which may be killed and frozen."""

    replicas = 1

    def __init__(self, embedded: EmbeddedServer) -> None:
        self.embedded = embedded

    @property
    def url(self) -> str:
        """What clients connect to."""
        return self.embedded.url

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        await self.embedded.kill()

    async def restart(self) -> None:
        """Start it again, on the same store and port."""
        await self.embedded.restart()

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP)."""
        os.kill(self.embedded.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        if self.embedded.running:
            os.kill(self.embedded.pid, signal.SIGCONT)


@asynccontextmanager
async def single(
    folder: Path, durability: Literal["power", "process"] = "process"
) -> AsyncIterator[Single]:
    """Run one server with its streams in the folder."""
    options = EmbeddedOptions(store=folder, durability=durability, ping_interval=5.0)
    async with EmbeddedServer(options) as embedded:
        server = Single(embedded)
        try:
            yield server
        finally:
            # A frozen one would not hear that it is to stop.
            server.thaw()
