"""What the platform tells a sender whose message could not go on.

FIPA lets the agent platform answer with ``failure``, and the receiver of something it cannot read
with ``not-understood``; both come from ``ams@platform``. A notice is never answered with a notice.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from caxton_nats.core.envelope import Envelope, value_content
from caxton_nats.core.errors import (
    CaxtonError,
    InvalidEnvelope,
    MalformedEnvelope,
    ProtocolViolation,
)
from caxton_nats.core.identifiers import (
    AMS,
    MAX_MESSAGE_ID,
    AgentId,
    ConversationId,
    MessageId,
    agent_id,
    local_part,
)
from caxton_nats.core.performatives import NO_ANSWER, Performative


def notice(
    about: Envelope | None,
    error: CaxtonError,
    *,
    to: AgentId,
    platform: str,
    now: datetime,
    key: str,
) -> Envelope | None:
    """Return the notice for ``to``, or None if none may be sent.

    Args:
        about: the message that failed; None if its bytes were no envelope.
        error: why.
        to: its sender.
        platform: whose AMS speaks.
        now: time of the notice.
        key: makes the notice's id, so that the same failure is told once however often it is met.
    """
    ams = agent_id(AMS, platform)
    if local_part(to) == AMS or (about is not None and about.performative in NO_ANSWER):
        return None
    # FIPA SC00037: an act that has no place where it comes is not understood, either.
    unreadable = isinstance(error, MalformedEnvelope | InvalidEnvelope | ProtocolViolation)
    content, _ = value_content(
        {"error": error.to_dict(), **({"message_id": about.message_id} if about else {})}
    )
    return Envelope(
        message_id=_notice_id(key),
        performative=Performative.NOT_UNDERSTOOD if unreadable else Performative.FAILURE,
        sender=ams,
        receiver=(to,),
        content=content,
        ontology="fipa-agent-management",
        protocol=about.protocol if about else "",
        conversation_id=about.conversation_id if about else ConversationId(""),
        in_reply_to=(about.reply_with or about.message_id) if about else "",
        created_at=now,
        traceparent=about.traceparent if about else "",
        tracestate=about.tracestate if about else "",
    )


def _notice_id(key: str) -> MessageId:
    readable = f"notice-{key}"
    if len(readable) <= MAX_MESSAGE_ID:
        return MessageId(readable)
    # Cut off, two long keys could become one id, and the second notice a duplicate.
    return MessageId(f"notice-{sha256(key.encode()).hexdigest()}")
