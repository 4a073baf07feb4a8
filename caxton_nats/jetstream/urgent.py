"""Urgent mail is read through a consumer of its own, which there is only where such mail came.

Each consumer costs the server something for every message of its stream, and most agents never get
urgent mail. Who stores some makes the consumer and says so on ``caxton.reader.<agent>.urgent``; a
mailbox that is opened, or was disconnected, looks for itself, and so does every minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from caxton_nats.core.disposition import Disposition
from caxton_nats.core.errors import StreamMissing
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.ports import Delivery

_LOOK_AGAIN = 60.0
"""Seconds after which a mailbox looks for urgent mail that nobody told of."""


class UrgentInbox:
    """See `ports.Inbox`; nothing comes until the consumer exists. Open it with `start`."""

    def __init__(
        self, connection: Connection, inbox: PullInbox, exists: Callable[[], Awaitable[bool]]
    ) -> None:
        self._connection = connection
        self._inbox = inbox
        self._exists = exists
        self._found = False
        self._told = asyncio.Event()
        self._look_at = 0.0
        self._subscription: Subscription | None = None
        self._forget = connection.on_reconnect(self._look_soon)

    async def start(self, subject: str) -> None:
        """Listen for the news that there is urgent mail."""
        self._subscription = await self._connection.client.subscribe(subject, cb=self._on_news)
        await self._inbox.start()

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        """Return deliveries as soon as there are some, or [] after ``wait``."""
        if not self._found:
            await self._look(wait)
        if not self._found:
            return []
        try:
            return await self._inbox.fetch(limit, wait)
        except StreamMissing:
            # Its agent was deregistered: until there is mail again, there is nothing to read.
            self._found = False
            raise

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        """Carry out the dispositions."""
        await self._inbox.settle(settled)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the server that these are still being worked on."""
        await self._inbox.keep(deliveries)

    async def close(self) -> list[Delivery]:
        """Stop; return what came and nobody has fetched."""
        self._forget()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(NatsError):
                await subscription.unsubscribe()
        return await self._inbox.close()

    async def _look(self, wait: timedelta) -> None:
        """Find out whether there is a consumer, at once if there is reason to."""
        if monotonic() < self._look_at:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait.total_seconds()):
                    await self._told.wait()
        if monotonic() < self._look_at:
            return
        self._told.clear()
        self._found = await self._exists()
        if not self._told.is_set():
            self._look_at = monotonic() + _LOOK_AGAIN

    async def _on_news(self, _: Msg) -> None:
        self._look_soon()

    def _look_soon(self) -> None:
        self._look_at = 0.0
        self._told.set()
