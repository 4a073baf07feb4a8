"""What is done when a stored message's time has passed, and nobody has fetched it.

A mailbox refuses such a message by itself, before a handler starts. This is for the rest: a
receiver that is down, or gone for ever. The timer is a hint: what counts is what is stored, and
who has it. Mailbox and timer may both meet the message; its dead letter is written once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.deadline import check_deadline
from caxton_nats.core.errors import Expired
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine import deadlines, stored
from caxton_nats.engine.burial import Burial
from caxton_nats.ports import Delivery, Ports, Timer


class Expiry:
    """Buries what has expired in mailboxes that nobody reads."""

    def __init__(self, ports: Ports, burial: Burial, *, ack_wait: timedelta) -> None:
        """Take how long a delivery counts as being worked on without a sign of life."""
        self._ports = ports
        self._burial = burial
        self._ack_wait = ack_wait

    async def when_due(self, timer: Timer) -> None:
        """Bury the message, leave it to the agent that has it in hand, or do nothing.

        Raises:
            TransportError: it is not certain what became of it; the timer comes again.
        """
        watched = deadlines.watched(timer)
        found = await self._ports.mailboxes.get(watched.origin)
        envelope = stored.readable(found.body) if found is not None else None
        if found is None or envelope is None or envelope.reply_by is None:
            return
        try:
            check_deadline(envelope, self._ports.clock.now())
        except Expired as expired:
            again = await self._in_hand(found, watched.receiver, envelope.reply_by)
            if again is None:
                await self._bury(found, expired, watched.receiver)
                return
        else:
            again = envelope.reply_by
        await deadlines.watch(self._ports, watched.origin, watched.receiver, again)

    async def _in_hand(
        self, found: Delivery, receiver: AgentId, deadline: datetime
    ) -> datetime | None:
        """Return when to look again at what somebody may be working on; None if nobody is."""
        mailboxes, now = self._ports.mailboxes, self._ports.clock.now()
        if not await mailboxes.taken(found):
            return None
        if await mailboxes.opened(receiver):
            # Its agent refuses it when its turn comes, or is in the middle of it.
            return now + self._ack_wait
        # Taken by an agent that has ended, or by a reader that is none of ours. Whoever does not
        # settle it within ack_wait has lost it anyway.
        patience = deadline + self._ack_wait
        return patience if now < patience else None

    async def _bury(self, found: Delivery, expired: Expired, receiver: AgentId) -> None:
        mailboxes = self._ports.mailboxes
        if await mailboxes.taken(found) and await self._burial.was_handled(found, receiver):
            await mailboxes.discard(found.origin)
            return
        attempts = await self._ports.attempts.recorded(found.origin)
        await self._burial.bury(
            msgspec.structs.replace(found, attempt=attempts),
            expired,
            agent=receiver,
            stage=Stage.DELIVER,
            envelope=stored.readable(found.body),
        )
        await mailboxes.discard(found.origin)
