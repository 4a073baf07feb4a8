"""validate and size: what must hold before a message may go on.

`complete` fills in what a door knows (sender, id, time) and turns names into identifiers;
`check` refuses what contradicts FIPA or this deployment's limits. Field by field, each refusal
names the field, the limit and the value.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final
from unicodedata import normalize

import msgspec

from caxton_nats.core import capability
from caxton_nats.core.addressing import check_lengths, check_names, identifiers, receiver
from caxton_nats.core.deadline import check_deadline, deadline
from caxton_nats.core.envelope import Envelope, content_bytes, content_size
from caxton_nats.core.errors import InvalidEnvelope, MessageTooLarge
from caxton_nats.core.identifiers import (
    MAX_NAME,
    AgentId,
    agent_id,
    check_conversation_id,
    check_free,
    check_message_id,
    check_text,
    platform_part,
)
from caxton_nats.core.performatives import performative
from caxton_nats.core.remote import any_agent_token

MAX_RETRIES_BOUNDS: Final = (1, 10)
MAX_TRACE: Final = 512
MAX_PROTOCOL: Final = 100
_MAX_USER_DEFINED: Final = 4096


class Limits(msgspec.Struct, frozen=True):
    """What one deployment accepts."""

    max_content: int = 1_048_576
    """Bytes of content, as the receiver gets them."""
    max_receivers: int = 1_000
    max_user_defined: int = 32
    """``X-`` parameters of one message."""


# Seed bounds: language 1..50, ontology and protocol 1..100; the tokens share the name bound.
_TEXT_LIMITS: Final = (
    ("language", 50),
    ("encoding", 50),
    ("ontology", 100),
    ("protocol", MAX_PROTOCOL),
    ("reply_with", MAX_NAME),
    ("in_reply_to", MAX_NAME),
    ("traceparent", MAX_TRACE),
    ("tracestate", MAX_TRACE),
)
_texts: Final = attrgetter(*(field for field, _ in _TEXT_LIMITS))


def complete(
    envelope: Envelope,
    *,
    sender: AgentId,
    platform: str,
    now: datetime,
    new_id: Callable[[], str],
) -> Envelope:
    """Fill in id, sender, time and full names.

    Args:
        envelope: as decoded at a door.
        sender: who sends, by the door's own authority (the subject, never the body).
        platform: this deployment's name, for receivers given without one.
        now: when it came to the door: ``timeout`` counts from then, and it becomes
            ``created_at`` if the message has none.
        new_id: makes the ``message_id`` if the message has none.

    Raises:
        InvalidEnvelope: the body names another sender, a name is not one, or ``timeout`` is out
            of its bounds.
    """
    if platform_part(sender) == platform:
        check_free(sender, field="sender")
    if envelope.sender and agent_id(envelope.sender, platform, field="sender") != sender:
        raise InvalidEnvelope(
            f"the body says it is from {envelope.sender!a}, but it came in as {sender}",
            field="sender",
            value=ascii(envelope.sender),
            hint="leave sender out, or send on your own subject",
        )
    if envelope.claim is not None and not envelope.claim.object.startswith(
        own := f"{any_agent_token(sender, platform)}."
    ):
        # Otherwise anybody could have another's stored content sent to himself.
        raise InvalidEnvelope(
            f"names an object whose name does not start with {own}",
            field="claim",
            value=ascii(envelope.claim.object[:60]),
        )
    return msgspec.structs.replace(
        envelope,
        message_id=check_message_id(envelope.message_id or new_id()),
        performative=str(performative(envelope.performative)),
        sender=sender,
        receiver=tuple([receiver(name, platform) for name in envelope.receiver]),
        reply_to=identifiers(envelope.reply_to, platform, "reply_to"),
        created_at=_utc(envelope.created_at, "created_at") or now,
        reply_by=deadline(_utc(envelope.reply_by, "reply_by"), envelope.timeout, now),
    )


def check(envelope: Envelope, limits: Limits, now: datetime) -> None:
    """Refuse a completed envelope that breaks a rule between fields or a limit.

    Raises:
        InvalidEnvelope: see its field; MessageTooLarge: the content; Expired: ``reply_by`` passed.
    """
    check_lengths(envelope, limits.max_receivers)
    check_names(envelope)
    _check_texts(envelope)
    if envelope.strategy:
        capability.strategy(envelope.strategy)
    _check_options(envelope, limits)
    _check_content(envelope, limits)
    if envelope.protocol and not envelope.conversation_id:
        raise InvalidEnvelope(
            "a message of an interaction protocol needs a conversation_id (FIPA SC00061)",
            field="conversation_id",
        )
    check_deadline(envelope, now)


def _utc(moment: datetime | None, field: str) -> datetime | None:
    if moment is None or moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise InvalidEnvelope(
            "has no time zone", field=field, value=moment.isoformat(), hint="end it with Z for UTC"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidEnvelope(
            "is before year 1 or after year 9999 in UTC", field=field, value=moment.isoformat()
        ) from None


def _check_texts(envelope: Envelope) -> None:
    if envelope.conversation_id:
        check_conversation_id(envelope.conversation_id)
    texts = _texts(envelope)
    if any(texts):
        for (field, limit), text in zip(_TEXT_LIMITS, texts, strict=True):
            if text:
                check_text(text, field, limit)


def _check_options(envelope: Envelope, limits: Limits) -> None:
    low, high = MAX_RETRIES_BOUNDS
    retries = envelope.max_retries
    if retries is not None and not low <= retries <= high:
        limit = high if retries > high else low
        raise InvalidEnvelope(
            f"must be {low} to {high}", field="max_retries", limit=limit, value=retries
        )
    if len(envelope.user_defined) > limits.max_user_defined:
        raise InvalidEnvelope(
            "too many X- parameters",
            field="user_defined",
            limit=limits.max_user_defined,
            value=len(envelope.user_defined),
        )
    for name, text in envelope.user_defined.items():
        check_text(name, "user_defined", MAX_NAME)
        if not name.upper().startswith("X-"):
            raise InvalidEnvelope("own parameters start with X-", field=name)
        if len(text) > _MAX_USER_DEFINED or text.strip(" "):
            # Text for people, not a name: it need not be composed.
            check_text(normalize("NFC", text), name, _MAX_USER_DEFINED)


def _check_content(envelope: Envelope, limits: Limits) -> None:
    if envelope.claim is not None and envelope.content:
        raise InvalidEnvelope("is given beside content: use one of them", field="claim")
    size = content_size(envelope)
    if size > limits.max_content:
        raise MessageTooLarge(
            "the content is larger than this deployment accepts",
            field="content",
            limit=limits.max_content,
            value=size,
            hint="send less, or split the content over several messages",
        )
    if envelope.is_binary and envelope.claim is None:
        content_bytes(envelope)
