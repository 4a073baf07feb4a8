"""What can be told of a message that is refused: enough to name it to its sender.

A requester that waits learns by ``in_reply_to`` which of its requests was not understood, so the
one wrong field of a message must not make the others unreadable.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from caxton_nats.core import representation
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import MessageError
from caxton_nats.core.fields import field_name
from caxton_nats.core.identifiers import (
    MAX_NAME,
    AgentId,
    MessageId,
    check_conversation_id,
    check_message_id,
    check_text,
)
from caxton_nats.core.performatives import performative
from caxton_nats.core.reading import UNREADABLE, members
from caxton_nats.core.validation import MAX_PROTOCOL

_LONGEST = 1_024
"""Bytes of a field that is looked at."""


def legible(
    data: bytes, named: str | None = None, *, sender: AgentId, fallback_id: str, now: datetime
) -> Envelope | None:
    """Return what is right in a refused message, or None if it is none at all.

    Args:
        data: as it came to a door.
        named: what its header says of its encoding; None is a JSON object.
        sender: who sent it, by the door's own authority.
        fallback_id: its ``message_id``, if it has none that is right.
        now: when it came.
    """
    try:
        found = members(data) if named is None else representation.members(data, named)
    except (*UNREADABLE, MessageError):
        return None
    texts: dict[str, Any] = {}
    for name, raw in found.items():
        check = _CHECKS.get(field_name(name))
        if check is not None and len(raw) <= _LONGEST:
            _take(texts, field_name(name), raw, check)
    if not texts.get("conversation_id"):
        # FIPA SC00061: a message of a protocol has a conversation.
        texts.pop("protocol", None)
    return Envelope(
        **{"performative": "", "message_id": MessageId(fallback_id), **texts},
        sender=sender,
        created_at=now,
    )


def _take(texts: dict[str, Any], field: str, raw: msgspec.Raw, check: Callable[[str], str]) -> None:
    try:
        texts[field] = check(msgspec.json.decode(raw, type=str))
    except (*UNREADABLE, MessageError):
        texts.pop(field, None)


def _token(text: str, longest: int = MAX_NAME) -> str:
    check_text(text, "", longest)
    return text


_CHECKS: dict[str, Callable[[str], str]] = {
    "performative": performative,
    "message_id": check_message_id,
    "conversation_id": check_conversation_id,
    "protocol": lambda text: _token(text, MAX_PROTOCOL),
    "reply_with": _token,
}
