"""What lies in a mailbox, for an operator: look at it, or take it out (seed: MessageStorage).

A message that is taken out is not lost: it becomes a dead letter first, so that it stays accounted
for, its sender is told, and it can be sent again or discarded like any other. While that is done
the mailbox hands out nothing, so that no agent can begin with the message meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.core.envelope import Envelope, content_bytes
from caxton_nats.core.errors import CaxtonError, MessageInHand, MessageNotFound, MessageRemoved
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.routing import check_own
from caxton_nats.engine import stored
from caxton_nats.engine.burial import Burial
from caxton_nats.ports import Delivery, Ports, Pulse

_HELD = timedelta(seconds=10)
"""A mailbox goes on by itself after this long, if whoever holds it has died."""
log = logging.getLogger("caxton_nats")


class PendingMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a mailbox that is not settled."""

    agent: AgentId
    """Whose mailbox."""
    origin: Origin
    stored_at: datetime
    subject: str
    headers: Mapping[str, str]
    body: bytes
    """Exactly as it is stored."""
    envelope: Envelope | None
    """None if the body is no message: anybody with the right to may write into a stream."""


class Messages:
    """What an operator does with messages that are pending."""

    def __init__(self, ports: Ports, burial: Burial, *, platform: str) -> None:
        self._ports = ports
        self._burial = burial
        self._platform = platform

    async def get(self, agent: AgentId, which: str) -> PendingMessage:
        """Return one message by its message id, or by where it lies (``CAXTON_MAILBOX_3-17``).

        Raises:
            MessageNotFound: there is none, or several senders have used this message id.
        """
        found = await self._find(agent, which)
        if len(found) == 1:
            return found[0]
        places = ", ".join(one.origin.key for one in found)
        raise MessageNotFound(
            f"{len(found)} messages for {agent} have this id"
            if found
            else f"no message of this id waits for {agent}",
            field="message",
            value=which,
            hint=f"say which: {places}" if found else f"see `caxton messages list {agent}`",
        )

    async def content(self, message: PendingMessage) -> bytes:
        """Return the message's content as its sender gave it, wherever it lies."""
        if message.envelope is None:
            return message.body
        if message.envelope.claim is not None:
            return await self._ports.contents.get(message.envelope.claim)
        return content_bytes(message.envelope)

    async def remove(self, agent: AgentId, which: str) -> DeadLetter:
        """Take the message out of the mailbox, and return the dead letter that it has become.

        Raises:
            MessageNotFound: see `get`.
            MessageInHand: it was handed to the agent, which runs and may be working on it.
            TransportError: it is not certain whether it is a dead letter already; do it again.
        """
        check_own(agent, self._platform)
        mailboxes = self._ports.mailboxes
        await mailboxes.hold(agent, self._ports.clock.now() + _HELD)
        try:
            message = await self.get(agent, which)
            delivery = await mailboxes.get(message.origin)
            if delivery is None:
                raise MessageNotFound(
                    "the message was settled at this moment", field="message", value=which
                )
            if await mailboxes.taken(delivery) and await self._runs(agent):
                raise MessageInHand(
                    f"{agent} runs and was given the message: it may be working on it",
                    field="message",
                    value=which,
                    hint="stop the agent first, or let it reject the message",
                )
            return await self._bury(delivery, message)
        finally:
            await self._release(agent)

    async def _runs(self, agent: AgentId) -> bool:
        """Return whether somebody reads the mailbox, or has closed it and not finished yet."""
        if await self._ports.mailboxes.opened(agent):
            return True
        lease = await self._ports.leases.load(agent)
        instance = lease[0].instance if lease is not None else ""
        return bool(instance) and await self._ports.leases.pulse(instance) is not Pulse.GONE

    async def _bury(self, delivery: Delivery, message: PendingMessage) -> DeadLetter:
        attempts = await self._ports.attempts.recorded(message.origin)
        letter = await self._burial.bury(
            msgspec.structs.replace(delivery, attempt=attempts),
            MessageRemoved(f"an operator removed it from the mailbox of {message.agent}"),
            agent=message.agent,
            stage=Stage.DELIVER,
            envelope=message.envelope,
        )
        await self._ports.mailboxes.discard(message.origin)
        return letter

    async def _release(self, agent: AgentId) -> None:
        try:
            await self._ports.mailboxes.release(agent)
        except CaxtonError as error:
            log.warning("the mailbox of %s goes on in %s: %s", agent, _HELD, error)

    async def _find(self, agent: AgentId, which: str) -> Sequence[PendingMessage]:
        check_own(agent, self._platform)
        held = (await self._ports.mailboxes.status(agent)).pending
        everything = await self.list(agent, limit=held + 1)
        return [one for one in everything if which in (one.origin.key, _message_id(one))]

    async def list(self, agent: AgentId, *, limit: int = 100) -> list[PendingMessage]:
        """Return what lies in the agent's mailbox, in somebody's hands or not, the newest first.

        Raises:
            InvalidEnvelope: an agent of another platform; so do the other methods.
        """
        check_own(agent, self._platform)
        found = await self._ports.mailboxes.list(agent, limit=limit)
        return [_pending(agent, one) for one in found]


def _pending(agent: AgentId, delivery: Delivery) -> PendingMessage:
    return PendingMessage(
        agent=agent,
        origin=delivery.origin,
        stored_at=delivery.stored_at,
        subject=delivery.subject,
        headers=delivery.headers,
        body=delivery.body,
        envelope=stored.readable(delivery.body),
    )


def _message_id(message: PendingMessage) -> str | None:
    return message.envelope.message_id if message.envelope is not None else None
