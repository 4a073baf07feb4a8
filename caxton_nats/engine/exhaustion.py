"""The second net: deliveries that used up the server's ``max_deliver`` and were never settled.

The server says so once, in an advisory that a stream catches. It is a hint: the message is buried
only if it is still stored. Then it is removed from its mailbox, and last the advisory is acked, so
that a crash anywhere in between is made good by the advisory coming again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import msgspec

from caxton_nats.core.dead_letter import Origin, Stage
from caxton_nats.core.disposition import Ack, Disposition, Nak
from caxton_nats.core.errors import AgentNotResponding, CaxtonError, InvalidEnvelope
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.engine import stored
from caxton_nats.engine.burial import Burial
from caxton_nats.ports import Delivery, Inbox, Ports
from caxton_nats.tasks import forever

BATCH = 64
_AGAIN = timedelta(seconds=10)
log = logging.getLogger("caxton_nats")


class Advisory(msgspec.Struct, frozen=True):
    """What we read of io.nats.jetstream.advisory.v1.max_deliver."""

    stream: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    stream_seq: Annotated[int, msgspec.Meta(gt=0, lt=2**62)]
    deliveries: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


_decoder = msgspec.json.Decoder(Advisory)


class Exhaustion:
    """Buries what advisories tell of."""

    def __init__(
        self,
        inbox: Inbox,
        burial: Burial,
        ports: Ports,
        *,
        receiver_of: Callable[[str], AgentId],
    ) -> None:
        self._inbox = inbox
        self._burial = burial
        self._ports = ports
        self._receiver_of = receiver_of

    async def run(self) -> None:
        """Work until cancelled; errors are waited out."""
        await forever(
            lambda: self.work_once(timedelta(seconds=5)),
            what="working off advisories",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )

    async def work_once(self, wait: timedelta) -> int:
        """Take one batch of advisories; return how many there were."""
        deliveries = await self._inbox.fetch(BATCH, wait)
        for delivery in deliveries:
            settled: Disposition = Ack()
            try:
                await self._bury(delivery)
            except Exception as error:
                # It alone comes again: one that cannot be buried must not hold up the others.
                log.warning(
                    "%s cannot be worked off: %s", delivery.origin.key, error, exc_info=True
                )
                settled = Nak(_AGAIN)
            await self._inbox.settle([(delivery, settled)])
        return len(deliveries)

    async def _bury(self, told: Delivery) -> None:
        try:
            advisory = _decoder.decode(told.body)
        except UNREADABLE as error:
            log.warning("an advisory on %s is not readable: %s", told.subject, error)
            return
        origin = Origin(advisory.stream, advisory.stream_seq)
        original = await self._ports.mailboxes.get(origin)
        if original is None:
            return
        agent = self._receiver(original)
        if agent is None:
            # Anybody may send what looks like an advisory, of a record of the registry, too.
            log.warning("an advisory on %s is not about mail: %s", told.subject, origin.key)
            return
        if await self._burial.was_handled(original, agent):
            await self._ports.mailboxes.discard(origin)
            return
        await self._burial.bury(
            msgspec.structs.replace(original, attempt=advisory.deliveries),
            AgentNotResponding(
                "was delivered as often as the server allows and never settled",
                limit=advisory.deliveries,
                value=advisory.deliveries,
                hint="look for crashes of the agent's process while it handles this message",
            ),
            agent=agent,
            stage=Stage.DELIVER,
            envelope=stored.readable(original.body),
        )
        await self._ports.mailboxes.discard(origin)

    def _receiver(self, original: Delivery) -> AgentId | None:
        """Return whose mailbox the message lies in; None if it lies in none."""
        try:
            agent = self._receiver_of(original.subject)
        except InvalidEnvelope:
            return None
        ways = [self._ports.mailboxes.address(agent, urgent=urgent) for urgent in (False, True)]
        where = (original.origin.stream, original.subject)
        return agent if where in [(way.stream, way.subject) for way in ways] else None
