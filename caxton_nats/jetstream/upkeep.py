"""Looks after the disk of an embedded server, and starts the server anew when it can write again.

nats-server does not try again by itself after a write has failed (jetstream/write_errors.py): an
operator would restart it once there is room. The server that ``caxton up`` starts has nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caxton_nats.core.errors import CaxtonError
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.write_errors import any_write_error
from caxton_nats.tasks import end

ROOM = 16 * 1024 * 1024
"""Bytes that must be free before it is worth a try; less is said to be nearly full."""
LOOK = 1.0
"""Seconds between two looks at the disk."""
ASK = 10
"""Looks between two questions to a server whose disk has room."""
log = logging.getLogger("caxton_nats.jetstream")


class Upkeep:
    """The upkeep of one server, over a connection of its own."""

    def __init__(self, server: EmbeddedServer, connection: Connection) -> None:
        self._server = server
        self._connection = connection
        self._low = False

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK)
            looks += 1
            if self._has_room() and (self._low or looks % ASK == 0):
                await self._mend()

    def _has_room(self) -> bool:
        """Return whether there is room, and say so when that has changed."""
        folder = self._server.folder.path
        disk = os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        if free < ROOM and not self._low:
            self._low = True
            log.error(
                "the disk of the store %s has only %d KiB left: make room, or what is sent will not"
                " be accepted any more; what has been is safe",
                folder,
                free // 1024,
            )
        return free >= ROOM

    async def _mend(self) -> None:
        try:
            error = await any_write_error(self._connection)
        except CaxtonError as unanswered:
            # It is asked again.
            log.warning("the server does not say whether it can write: %s", unanswered)
            return
        if error is not None:
            log.warning("there is room, and the server is started anew, for it had: %s", error)
            await self._server.restart()
        self._low = False


@asynccontextmanager
async def kept_up(server: EmbeddedServer) -> AsyncIterator[None]:
    """Look after the server while the body runs."""
    connection = await connect(server.url, name="caxton upkeep")
    task = asyncio.create_task(Upkeep(server, connection).run(), name="upkeep")
    try:
        yield
    finally:
        await end([task])
        await connection.close()
