"""How far a message has come with one receiver, for a sender that asked to have it on record.

The receipt at the door says *stored*. This says what happened since: accepted (stored), offered (a
handler was started), and in the end handled or failed. Steps come from several processes and may
overtake each other, so a record is never set back: a step adds its time, and at most raises the
stage. A redriven message is stored anew, and its record begins anew with it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.identifiers import AgentId, MessageId


class ReceiptStage(StrEnum):
    """How far a message is."""

    ACCEPTED = "accepted"
    """It is stored in the receiver's mailbox."""
    OFFERED = "offered"
    """A handler was started with it; see ``attempt``."""
    HANDLED = "handled"
    """A handler returned."""
    FAILED = "failed"
    """It is a dead letter; see ``error`` and ``dead_letter``."""


_ORDER = (ReceiptStage.ACCEPTED, ReceiptStage.OFFERED, ReceiptStage.HANDLED)


class StagedReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message with one receiver, as it lies in the bucket caxton-receipts."""

    message_id: MessageId
    sender: AgentId
    receiver: AgentId
    stage: ReceiptStage
    times: dict[ReceiptStage, datetime]
    """When each stage was reached; of several attempts, when the last one was offered."""
    attempt: int = 0
    """The number of the last attempt; 0 before the first."""
    error: dict[str, Any] = {}
    """Why it failed, as in the dead letter."""
    dead_letter: str = ""
    """Its id there."""
    origin: Origin
    """The stored message."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen, unless the dead letter is redriven."""
        return self.stage in (ReceiptStage.HANDLED, ReceiptStage.FAILED)

    def has_reached(self, stage: ReceiptStage) -> bool:
        """Return whether the message came as far as this."""
        if ReceiptStage.FAILED in (self.stage, stage):
            return self.stage is stage or stage in self.times
        return _ORDER.index(self.stage) >= _ORDER.index(stage)


def advance(before: StagedReceipt | None, step: StagedReceipt) -> StagedReceipt:
    """Return the record after a step; the very same object if the step changes nothing.

    Args:
        before: the record as it is; None if there is none.
        step: what happened, as a record with one time.
    """
    if before is None:
        return step
    if step.origin != before.origin:
        return step if step.origin.sequence > before.origin.sequence else before
    if before.is_final or (before.has_reached(step.stage) and step.attempt <= before.attempt):
        missing = step.times.keys() - before.times.keys()
        if not missing or step.is_final:
            return before
        return msgspec.structs.replace(before, times={**step.times, **before.times})
    return msgspec.structs.replace(
        step,
        attempt=max(step.attempt, before.attempt),
        times={**before.times, **step.times},
    )
