"""validate: what a conversation's record says after one more message.

A conversation is created by its first message. The record counts each message id once (the last
``REMEMBERED`` ids are kept, so a sender's retry does not count twice) and bounds who takes part.
What it does not decide: the order of acts that an interaction protocol allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import TooManyParticipants
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId

REMEMBERED = 64


class Conversation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one conversation, as it lies in the bucket caxton-conversations."""

    conversation_id: ConversationId
    participants: tuple[AgentId, ...]
    protocol: str = ""
    created_at: datetime
    last_activity: datetime
    message_count: int = 0
    last_performative: str = ""
    recent_ids: tuple[MessageId, ...] = ()

    def knows(self, message_id: MessageId) -> bool:
        """Return whether a message of this id was counted already (within ``REMEMBERED``)."""
        return message_id in self.recent_ids


def receive(
    record: Conversation | None,
    envelope: Envelope,
    *,
    receivers: Sequence[AgentId],
    now: datetime,
    max_participants: int,
) -> Conversation:
    """Return the record after ``envelope``; the very same object if it was counted before.

    Args:
        record: as it was; None for the conversation's first message.
        envelope: the message.
        receivers: those of its receivers that exist; an unknown name takes part in nothing.
        now: becomes ``last_activity``.
        max_participants: how many agents may take part.

    Raises:
        TooManyParticipants: the message would bring in more agents than allowed.
    """
    if record is not None and record.knows(envelope.message_id):
        return record
    known = record.participants if record is not None else ()
    joining = [
        agent for agent in dict.fromkeys((envelope.sender, *receivers)) if agent not in known
    ]
    participants = (*known, *joining)
    if len(participants) > max_participants:
        raise TooManyParticipants(
            f"conversation {envelope.conversation_id} would have too many participants",
            field="conversation_id",
            limit=max_participants,
            value=len(participants),
            hint="open another conversation, or raise max_conversation_participants",
        )
    if record is None:
        record = Conversation(
            conversation_id=envelope.conversation_id,
            participants=(),
            created_at=now,
            last_activity=now,
        )
    return msgspec.structs.replace(
        record,
        participants=participants,
        protocol=record.protocol or envelope.protocol,
        last_activity=now,
        message_count=record.message_count + 1,
        last_performative=envelope.performative,
        recent_ids=(*record.recent_ids, envelope.message_id)[-REMEMBERED:],
    )
