"""Staged receipts: written where a message passes by, and read for its sender.

Only messages with ``require_receipt`` are written about. The steps before a message is settled are
certain: without them it is not settled. *Offered* is not, for a handler must not wait for a record.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import AgentNotResponding, CaxtonError, RevisionConflict
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.staged_receipt import ReceiptStage, StagedReceipt, advance
from caxton_nats.ports import Clock, Delivery, Door, Ports
from caxton_nats.ports.stores import ReceiptStore

_FIRST_PAUSE, _LAST_PAUSE = timedelta(seconds=0.05), timedelta(seconds=1)
log = logging.getLogger("caxton_nats")


class Stages:
    """Writes the stages of the messages that ask for it."""

    def __init__(self, ports: Ports) -> None:
        self._store = ports.receipts
        self._clock = ports.clock

    async def accepted(self, envelope: Envelope, receiver: AgentId, origin: Origin) -> None:
        """The message is stored in the receiver's mailbox."""
        await self._note(ReceiptStage.ACCEPTED, envelope, receiver, origin)

    async def offered(self, envelope: Envelope, receiver: AgentId, delivery: Delivery) -> None:
        """A handler is about to start; a failure to say so is logged."""
        try:
            await self._note(
                ReceiptStage.OFFERED, envelope, receiver, delivery.origin, attempt=delivery.attempt
            )
        except CaxtonError as error:
            log.warning("%s: no record that %s is offered: %s", receiver, delivery.origin, error)

    async def handled(
        self, envelope: Envelope | None, receiver: AgentId, delivery: Delivery
    ) -> None:
        """A handler returned; to be called before the message is settled."""
        await self._note(
            ReceiptStage.HANDLED, envelope, receiver, delivery.origin, attempt=delivery.attempt
        )

    async def failed(self, envelope: Envelope | None, letter: DeadLetter) -> None:
        """The message is a dead letter; to be called before the message is settled."""
        await self._note(
            ReceiptStage.FAILED,
            envelope,
            letter.agent,
            letter.origin,
            attempt=letter.attempts,
            error=letter.last_error,
            dead_letter=letter.id,
        )

    async def _note(
        self,
        stage: ReceiptStage,
        envelope: Envelope | None,
        receiver: AgentId,
        origin: Origin,
        **known: Any,
    ) -> None:
        if envelope is None or not envelope.require_receipt:
            return
        step = StagedReceipt(
            message_id=envelope.message_id,
            sender=envelope.sender,
            receiver=receiver,
            stage=stage,
            times={stage: self._clock.now()},
            origin=origin,
            **known,
        )
        await _write(self._store, step)


async def wait_for(
    door: Door,
    clock: Clock,
    sender: AgentId,
    message_id: MessageId,
    *,
    stage: ReceiptStage,
    wait: timedelta,
) -> list[StagedReceipt]:
    """Return the receipts when each receiver on record has reached the stage, or has ended.

    Raises:
        AgentNotResponding: they have not in time, or nothing is on record.
    """
    end, pause = clock.now() + wait, _FIRST_PAUSE
    while True:
        found = await door.receipts(sender, message_id)
        if found and all(one.is_final or one.has_reached(stage) for one in found):
            return found
        if clock.now() >= end:
            raise _not_yet(found, stage, wait)
        await clock.sleep(_until(end, clock, pause))
        pause = min(pause * 2, _LAST_PAUSE)


def _until(end: datetime, clock: Clock, pause: timedelta) -> timedelta:
    return max(min(pause, end - clock.now()), timedelta())


def _not_yet(
    found: list[StagedReceipt], stage: ReceiptStage, wait: timedelta
) -> AgentNotResponding:
    late = ", ".join(one.receiver for one in found if not one.has_reached(stage))
    return AgentNotResponding(
        f"not {stage} in time: {late}" if found else "nothing is on record for this message",
        field="message_id",
        limit=f"{wait.total_seconds():g} s",
        hint="records are kept of messages with require_receipt, for seven days",
    )


async def _write(store: ReceiptStore, step: StagedReceipt) -> None:
    # The first step nearly always comes first: it is not looked for what is there.
    first = step.stage is ReceiptStage.ACCEPTED
    found = None if first else await store.load(step.sender, step.message_id, step.receiver)
    while True:
        before, revision = found or (None, None)
        after = advance(before, step)
        if after is before:
            return
        try:
            await store.save(after, revision=revision)
        except RevisionConflict:
            found = await store.load(step.sender, step.message_id, step.receiver)
        else:
            return
