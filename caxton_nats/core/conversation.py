"""validate: what a conversation's record says after one more message, and when it ends.

A conversation is created by its first message. It ends when nobody has written for its timeout,
at the end of its lifetime, or when it is archived; from then on every message of it is refused.
The record counts each message id once (within what `Thread` remembers) and bounds who takes part.
Which order of acts its protocol allows is decided in `verdict`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import ConversationTimeout, TooManyParticipants
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.core.performatives import Performative
from caxton_nats.core.thread import Thread
from caxton_nats.core.urgency import is_urgent
from caxton_nats.core.verdict import Interaction, check_cancel


class End(StrEnum):
    """Why a conversation has ended."""

    IDLE = "idle"
    LIFETIME = "lifetime"
    ARCHIVED = "archived"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment grants to each conversation."""

    max_participants: int = 1_000
    timeout: timedelta = timedelta(minutes=30)
    """It ends when nobody has written for this long."""
    lifetime: timedelta = timedelta(days=7)
    """It ends this long after its first message, however busy."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one conversation, as it lies in the bucket caxton-conversations.

    Its timeout and its end are those of the router that took its first message, so that all
    routers agree about it.
    """

    conversation_id: ConversationId
    participants: tuple[AgentId, ...]
    protocol: str = ""
    created_at: datetime
    last_activity: datetime
    timeout: timedelta
    ends_at: datetime
    """The end of its lifetime."""
    urgent: bool = False
    """Whether its first message was; all of them go the same way, so that they stay in order."""
    message_count: int = 0
    last_performative: str = ""
    last_message: MessageId = MessageId("")
    ended_at: datetime | None = None
    ended_by: End | None = None
    thread: Thread = Thread()
    interaction: Interaction | None = None
    """How far its protocol is; None if it has none that is known."""

    @property
    def expires_at(self) -> datetime:
        """When it ends if nobody writes any more."""
        return min(self.last_activity + self.timeout, self.ends_at)


def end_of(record: Conversation, now: datetime) -> End | None:
    """Return why the conversation has ended by ``now``; None if it goes on."""
    if record.ended_by is not None:
        return record.ended_by
    if now < record.expires_at:
        return None
    return End.LIFETIME if record.ends_at <= record.expires_at else End.IDLE


def end(record: Conversation, now: datetime) -> Conversation:
    """Return the record with its end in it, and without what only a next message would need.

    Archived by somebody at ``now``, unless it had ended by itself before.
    """
    if record.ended_by is not None:
        return record
    by = end_of(record, now)
    return msgspec.structs.replace(
        record,
        ended_by=by or End.ARCHIVED,
        ended_at=record.expires_at if by else now,
        thread=Thread(),
    )


def receive(
    record: Conversation | None,
    envelope: Envelope,
    *,
    receivers: Sequence[AgentId],
    now: datetime,
    terms: Terms,
) -> Conversation:
    """Return the record after ``envelope``; the very same object if it was counted before.

    Args:
        record: as it was; None for the conversation's first message.
        envelope: the message.
        receivers: those of its receivers that exist; an unknown name takes part in nothing.
        now: becomes ``last_activity``.
        terms: how many may take part; for the first message, how long the conversation may last.

    Raises:
        ConversationTimeout: the conversation has ended.
        InvalidEnvelope: ``in_reply_to`` is of no message of this conversation.
        ProtocolViolation: somebody who takes no part in it would cancel it.
        TooManyParticipants: the message would bring in more agents than allowed.
    """
    if record is None:
        record = Conversation(
            conversation_id=envelope.conversation_id,
            participants=(),
            created_at=now,
            last_activity=now,
            timeout=terms.timeout,
            ends_at=now + terms.lifetime,
            urgent=is_urgent(envelope),
        )
    by = end_of(record, now)
    known = record.thread.knows(envelope)
    # A retry of what was taken before the end of the lifetime is no later message.
    if by is not None and not (known and by is End.LIFETIME):
        raise _has_ended(record, by)
    if known:
        return record
    record.thread.check(envelope)
    if envelope.performative == Performative.CANCEL:
        check_cancel(envelope, record.participants)
    return msgspec.structs.replace(
        record,
        participants=_participants(record, envelope, receivers, terms.max_participants),
        protocol=record.protocol or envelope.protocol,
        last_activity=now,
        message_count=record.message_count + 1,
        last_performative=envelope.performative,
        last_message=envelope.message_id,
        thread=record.thread.after(envelope),
    )


def _participants(
    record: Conversation, envelope: Envelope, receivers: Sequence[AgentId], most: int
) -> tuple[AgentId, ...]:
    known = record.participants
    joining = [
        agent for agent in dict.fromkeys((envelope.sender, *receivers)) if agent not in known
    ]
    participants = (*known, *joining)
    if len(participants) > most:
        raise TooManyParticipants(
            f"conversation {envelope.conversation_id} would have too many participants",
            field="conversation_id",
            limit=most,
            value=len(participants),
            hint="open another conversation, or raise max_participants",
        )
    return participants


def _has_ended(record: Conversation, by: End) -> ConversationTimeout:
    seconds = {
        End.IDLE: record.timeout.total_seconds(),
        End.LIFETIME: (record.ends_at - record.created_at).total_seconds(),
    }
    why = {
        End.IDLE: "nobody wrote for its timeout",
        End.LIFETIME: "its lifetime was over",
        End.ARCHIVED: "it was archived",
    }
    at = (record.ended_at or record.expires_at).isoformat(timespec="seconds")
    return ConversationTimeout(
        f"conversation {record.conversation_id} has ended at {at}: {why[by]}",
        field="conversation_id",
        limit=f"{seconds[by]:g} s" if by in seconds else None,
        value=record.conversation_id,
        hint="open another conversation",
    )
