"""What the streams hold when a scenario is over, read without the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from caxton_nats.app.composition import connected
from caxton_nats.config import Settings
from caxton_nats.core.dead_letter import decode
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import StreamMissing
from caxton_nats.jetstream import direct, subjects
from caxton_nats.jetstream.connection import Connection
from chaos.books import Dead, Pending

SENDERS = "sender-"
"""Senders' mailboxes hold what is told to them; that is no message of the load."""


class Reader:
    """Reads one deployment's streams."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def idle(self) -> bool:
        """Return whether nothing waits to be routed, handled or heard."""
        return not any([await self._count(stream) for stream in await self._streams()])

    async def pending(self) -> list[Pending]:
        """Return all messages of the load that lie in mailboxes or in the ingress."""
        found = []
        for stream in await self._streams():
            place = subjects.SUBMIT if stream == subjects.INGRESS_STREAM else subjects.ANY_MAIL
            async for page in direct.pages(self._connection, stream, f"{place}.>", 1):
                found += [
                    Pending(_message_id(record.body), stream)
                    for record in page
                    if not record.subject.rsplit(".", 1)[-1].startswith(SENDERS)
                    or place == subjects.SUBMIT
                ]
        return found

    async def dead(self) -> list[Dead]:
        """Return all dead letters."""
        found: list[Dead] = []
        pages = direct.pages(self._connection, subjects.DLQ_STREAM, f"{subjects.DLQ}.>", 1)
        # After a fault that takes whole streams along there is none.
        with suppress(StreamMissing):
            async for page in pages:
                letters = [decode(record.body) for record in page]
                found += [Dead(one.id, one.message_id, str(one.reason)) for one in letters]
        return found

    async def _streams(self) -> list[str]:
        names = (await self._connection.api("STREAM.NAMES"))["streams"] or ()
        mine = (subjects.MAILBOX_STREAM, subjects.INGRESS_STREAM)
        return [name for name in names if name.startswith(mine)]

    async def _count(self, stream: str) -> int:
        info = await self._connection.api(f"STREAM.INFO.{stream}")
        return int(info["state"]["messages"])


def _message_id(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=Envelope).message_id
    except msgspec.MsgspecError:
        return "unreadable"


@asynccontextmanager
async def reading(chosen: Settings) -> AsyncIterator[Reader]:
    """Connect for reading."""
    async with connected(chosen, "chaos books") as connection:
        yield Reader(connection)
