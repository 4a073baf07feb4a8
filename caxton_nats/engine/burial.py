"""Dead letters are written here, from all paths: mailbox, ingress, exhausted deliveries.

The record comes first and the settling of the original second, so that a crash between the two
leaves both; the record's id makes a second burial of the same original do nothing.
"""

from __future__ import annotations

import logging
from hashlib import sha256

import msgspec

from caxton_nats.core.codec import encode
from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage, is_of, keep
from caxton_nats.core.dead_letter import encode as encode_letter
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.notice import notice
from caxton_nats.core.redrive import history, without
from caxton_nats.core.registry import AgentState, Registry
from caxton_nats.engine import aftercare
from caxton_nats.engine.dispatch import message_key
from caxton_nats.engine.ledger import entry_of, is_on_record
from caxton_nats.engine.receipts import Stages
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.engine.stored import readable
from caxton_nats.ports import Delivery, Letter, Ports
from caxton_nats.telemetry import Action, Observer, event

log = logging.getLogger("caxton_nats")


class Burial:
    """Writes dead letters and tells the senders."""

    def __init__(
        self,
        ports: Ports,
        registry: Registry,
        remote: RemoteAgents,
        *,
        max_body: int,
        observer: Observer,
    ) -> None:
        self._ports = ports
        self._registry = registry
        self._remote = remote
        self._max_body = max_body
        self._observe = observer
        self._stages = Stages(ports)

    async def bury(
        self,
        delivery: Delivery,
        error: CaxtonError,
        *,
        agent: AgentId,
        stage: Stage,
        envelope: Envelope | None,
    ) -> DeadLetter:
        """Write the dead letter of a delivery that will not be tried again.

        Args:
            delivery: the original; the caller settles it after this has returned.
            error: why it died.
            agent: the receiver, or the sender where no receiver was reached.
            stage: where on its way.
            envelope: what the original decodes to; None if it does not.

        Raises:
            TransportError: it is not certain that the record is stored, or its notice. Do not
                settle: buried again, the letter is written once, and the sender told once.
        """
        letter = await self._letter(delivery, error, agent=agent, stage=stage, envelope=envelope)
        if not await self._write(letter, error, envelope):
            there = await self._ports.dead_letters.get(letter.id)
            if there is not None and not is_of(there, delivery.stored_at):
                # Of another message, which had this place before its stream was made anew.
                moment = int(delivery.stored_at.timestamp())
                letter = msgspec.structs.replace(letter, id=f"{letter.id}-{moment}")
                await self._write(letter, error, envelope)
        if stage is Stage.DELIVER:
            await self._stages.failed(envelope, letter)
        to = letter.agent if stage is Stage.ROUTE else letter.sender
        if to and (stage is Stage.ROUTE or self._takes_notices(to)):
            # By the way the message came: an answer to urgent mail is urgent.
            urgent = aftercare.is_urgent(self._ports, agent, delivery.subject)
            await self.tell(to, error, envelope, key=letter.id, urgent=urgent)
        return letter

    async def was_handled(self, delivery: Delivery, agent: AgentId) -> bool:
        """Return whether its agent has handled it, in a process that did not settle it.

        Then it needs no letter, and the caller has to settle it. That process has died, or it has
        taken over from the caller's own.

        Raises:
            CaxtonError: that could not be found out, or not be put on record.
        """
        envelope = readable(delivery.body)
        if not await is_on_record(self._ports, agent, entry_of(envelope, delivery)):
            return False
        await self._stages.handled(envelope, agent, delivery)
        self._observe(
            event(
                Action.DUPLICATE,
                agent,
                envelope,
                origin=delivery.origin,
                attempt=max(1, delivery.attempt),
            )
        )
        return True

    async def keep(self, letter: Letter, envelope: Envelope, error: CaxtonError) -> None:
        """Write the dead letter of what reached no mailbox, because its receiver is stopped.

        The same message writes it once, however often it is sent. The sender is told by the door.

        Raises:
            TransportError: it is not certain that the record is stored.
        """
        now = self._ports.clock.now()
        origin = Origin(refused_id(envelope, letter.receiver), 0)
        copy = Delivery(
            origin=origin,
            subject=letter.address.subject,
            body=letter.body,
            headers=letter.headers,
            attempt=0,
            stored_at=now,
        )
        record = await self._letter(
            copy, error, agent=letter.receiver, stage=Stage.RESOLVE, envelope=envelope
        )
        await self._write(record, error, envelope)
        await self._stages.failed(envelope, record)

    async def _write(
        self, letter: DeadLetter, error: CaxtonError, envelope: Envelope | None
    ) -> bool:
        is_new = await self._ports.dead_letters.write(letter)
        if is_new:
            self._observe(
                event(
                    Action.DEAD_LETTERED,
                    letter.agent,
                    envelope,
                    origin=letter.origin,
                    attempt=letter.attempts,
                    detail=f"{letter.reason}: {error}",
                )
            )
        return is_new

    def _takes_notices(self, agent: AgentId) -> bool:
        if not self._remote.is_own(agent):
            return True
        registration = self._registry.find(agent)
        return registration is not None and registration.state is not AgentState.STOPPED

    async def _letter(
        self,
        delivery: Delivery,
        error: CaxtonError,
        *,
        agent: AgentId,
        stage: Stage,
        envelope: Envelope | None,
    ) -> DeadLetter:
        # What is submitted has never been in a mailbox: there, they are the client's own words.
        redriven = stage is not Stage.ROUTE
        redrives, earlier = history(delivery.headers if redriven else {})
        letter = DeadLetter(
            id=delivery.origin.key,
            reason=error.failure,
            stage=stage,
            agent=agent,
            sender=envelope.sender if envelope else AgentId(""),
            message_id=envelope.message_id if envelope else MessageId(""),
            performative=envelope.performative if envelope else "",
            conversation_id=envelope.conversation_id if envelope else "",
            attempts=delivery.attempt,
            first_at=delivery.stored_at,
            last_at=self._ports.clock.now(),
            last_error=error.to_dict(),
            origin=delivery.origin,
            subject=delivery.subject,
            headers=without(delivery.headers) if redriven else dict(delivery.headers),
            redrives=redrives,
            history=earlier,
            **keep(delivery.body),
        )
        if len(encode_letter(letter)) <= self._max_body:
            return letter
        # By its digest: another message may have had this place before its stream was made anew.
        digest = sha256(delivery.body).hexdigest()[:16]
        claim = await self._ports.contents.put(f"dead.{letter.id}.{digest}", delivery.body)
        return msgspec.structs.replace(letter, body=msgspec.Raw(), body_base64="", body_claim=claim)

    async def tell(
        self,
        to: AgentId,
        error: CaxtonError,
        envelope: Envelope | None,
        *,
        key: str,
        urgent: bool = False,
    ) -> None:
        """Tell the sender, unless its mailbox is full: that would hold up whoever tells it.

        Args:
            to: the sender.
            error: why its message died.
            envelope: the message; None if it was not readable.
            key: one for each failure, which is told once however often it is met.
            urgent: by which way.

        Raises:
            TransportError: it is not certain that the notice is stored; told again, it is one.
        """
        told = notice(
            envelope,
            error,
            to=to,
            platform=self._remote.platform,
            now=self._ports.clock.now(),
            key=key,
        )
        if told is None:
            return
        address = aftercare.way(
            self._ports, to, await self._remote.notice_address(to), urgent=urgent
        )
        post = Letter(to, address, message_key(told, to), encode(told))
        for result in await self._ports.publisher.publish([post]):
            if isinstance(result, TransportError):
                raise result
            if isinstance(result, CaxtonError):
                log.warning("%s could not be told of dead letter %s: %s", to, key, result)
            elif not result.duplicate:
                if aftercare.is_urgent(self._ports, to, address.subject):
                    await self._ports.mailboxes.announce(to)
                origin = Origin(result.stream, result.sequence)
                self._observe(event(Action.ROUTED, to, told, origin=origin, detail=error.reason))


def refused_id(envelope: Envelope, receiver: AgentId) -> str:
    """Return the name under which the copy for a stopped receiver is kept, once per message."""
    return f"refused-{sha256(message_key(envelope, receiver).encode()).hexdigest()[:32]}"
