"""An inbox whose reader can be told to stop, and finishes the batch that it has in hand first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from caxton_nats.core.disposition import Disposition
from caxton_nats.ports import Delivery, Inbox


class Taking:
    """See `ports.Inbox`; a reader comes back to `fetch` when it is done with what it has taken."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._stopped = False
        self._waits = asyncio.Event()
        self._left: list[Delivery] = []

    async def stop(self) -> None:
        """Hand out nothing any more; return when the reader has nothing in hand."""
        self._stopped = True
        await self._waits.wait()

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        """Return what there is to be done; once stopped, wait for the end."""
        self._waits.set()
        if not self._stopped:
            deliveries = await self._inbox.fetch(limit, wait)
            if not self._stopped:
                self._waits.clear()
                return deliveries
            # They came too late: whoever closes the inbox gives them back.
            self._left += deliveries
        await asyncio.Event().wait()
        return []

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        """Settle what was taken."""
        await self._inbox.settle(settled)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Keep what was taken."""
        await self._inbox.keep(deliveries)

    async def close(self) -> list[Delivery]:
        """Close the inbox; return what nobody has taken."""
        left = await self._inbox.close()
        return [*self._left, *left]
