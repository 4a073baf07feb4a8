"""The two ways into a mailbox: the ordinary mail, and the urgent, which overtakes it.

Both are inboxes of the same agent. What came in by one is settled and kept by the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from caxton_nats.core.disposition import Disposition
from caxton_nats.core.errors import CaxtonError, StreamMissing, TransportError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.ports import Delivery, Inbox, Mailboxes

_WAIT = timedelta(seconds=5)
log = logging.getLogger("caxton_nats")


class Intake:
    """What one mailbox takes in, by way."""

    def __init__(self, agent: AgentId, mailboxes: Mailboxes) -> None:
        self._agent = agent
        self._mailboxes = mailboxes
        self.urgent_subject = mailboxes.address(agent, urgent=True).subject
        self._inboxes: dict[bool, Inbox] = {}

    def is_urgent(self, delivery: Delivery) -> bool:
        """Return by which way it came in."""
        return delivery.subject == self.urgent_subject

    async def open(self, *, urgent: bool) -> list[Delivery]:
        """Open this way, if it is not open; return what others took by it and did not settle.

        Raises:
            TransportError: it is not open, or what is unsettled could not be read.
        """
        if urgent in self._inboxes:
            return []
        inbox = await self._mailboxes.open(self._agent, urgent=urgent)
        try:
            left = await self._mailboxes.unsettled(self._agent, urgent=urgent)
        except BaseException:
            await self._close(inbox)
            raise
        self._inboxes[urgent] = inbox
        return left

    async def fetch(self, limit: int, *, urgent: bool) -> list[Delivery]:
        """Return what has come in by this way, as soon as there is something, or [].

        Raises:
            StreamMissing: it is gone; to be opened again.
        """
        inbox = self._inboxes[urgent]
        try:
            return await inbox.fetch(limit, _WAIT)
        except StreamMissing:
            del self._inboxes[urgent]
            await self._close(inbox)
            raise

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        """Settle each by the way it came.

        Raises:
            TransportError: the way is closed, or an ack was not confirmed.
        """
        for urgent in (True, False):
            some = [one for one in settled if self.is_urgent(one[0]) is urgent]
            if some and urgent not in self._inboxes:
                raise TransportError("the mailbox is closed")
            if some:
                await self._inboxes[urgent].settle(some)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the server that these are still being worked on."""
        for urgent, inbox in list(self._inboxes.items()):
            await inbox.keep([one for one in deliveries if self.is_urgent(one) is urgent])

    async def close(self) -> list[Delivery]:
        """Take no further deliveries; return those that came and were not fetched."""
        return [left for inbox in self._inboxes.values() for left in await self._close(inbox)]

    async def _close(self, inbox: Inbox) -> list[Delivery]:
        try:
            return await inbox.close()
        except CaxtonError as error:
            log.warning("%s could not close its mailbox: %s", self._agent, error)
            return []
