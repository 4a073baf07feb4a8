"""`Envelope`: the one message type, frozen, with its content undecoded.

The fields are the parameters of an ACL message (FIPA SC00061) under the same names, with
underscores, plus what a durable bus needs: ``message_id``, ``created_at``, delivery options and
the W3C trace context. Encoded as JSON it is what the nats CLI shows.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any

import msgspec

from caxton_nats.core.errors import InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.core.writing import encoded

BASE64 = "base64"
NO_CONTENT = msgspec.Raw()
SAFE_NESTING = 500
"""Levels of JSON that are accepted at any door."""
_NESTING_ROOM = 300


class Priority(IntEnum):
    """The seed's four priorities; among the messages a mailbox holds, the higher goes first."""

    LOW = 1
    NORMAL = 5
    HIGH = 8
    CRITICAL = 10


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where content lies that does not fit into a NATS message (claim check pattern)."""

    object: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str


Text = Annotated[str, msgspec.Meta(min_length=1)]
"""Whoever writes the field writes something: on the wire, an empty text is refused."""


class Envelope(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """One ACL message.

    At a door only ``performative`` and ``receiver`` must be there; after `validation.complete`
    ``message_id``, ``sender`` and ``created_at`` are always set and names are full identifiers.
    """

    message_id: Annotated[MessageId, msgspec.Meta(min_length=1)] = MessageId("")
    performative: str
    sender: Annotated[AgentId, msgspec.Meta(min_length=1)] = AgentId("")
    receiver: tuple[AgentId, ...] = ()
    """Agents; at a door also ``capability:<name>[:<version>,…]``, which `strategy` decides on."""
    strategy: str = ""
    content: msgspec.Raw = NO_CONTENT
    """JSON text, byte for byte as it was sent; empty when there is none."""
    encoding: Text = ""
    """``base64`` says that the content is bytes, written as a base64 string."""
    language: Text = ""
    ontology: Text = ""
    protocol: Text = ""
    conversation_id: Annotated[ConversationId, msgspec.Meta(min_length=1)] = ConversationId("")
    reply_to: tuple[AgentId, ...] = ()
    reply_with: Text = ""
    in_reply_to: Text = ""
    reply_by: datetime | None = None
    created_at: datetime | None = None
    priority: Priority = Priority.NORMAL
    timeout: float | None = None
    """1..300 seconds from the door in which a handler must start; it becomes ``reply_by``."""
    require_receipt: bool = False
    """Keep on record how far it comes with each receiver (`staged_receipt.StagedReceipt`)."""
    max_retries: int | None = None
    """1..10 further attempts after the first; None leaves it to the receiver's policy."""
    user_defined: dict[str, str] = {}
    """FIPA's ``X-`` parameters, under their names with the prefix."""
    traceparent: str = ""
    tracestate: str = ""
    claim: Claim | None = None

    @property
    def is_binary(self) -> bool:
        """Whether the content is bytes rather than a JSON value."""
        return self.encoding.lower() == BASE64


def value_content(value: Any) -> tuple[msgspec.Raw, str]:
    """Return (content, encoding) for a Python value: bytes become base64, the rest JSON.

    Raises:
        InvalidEnvelope: the value has no JSON form.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return msgspec.Raw(msgspec.json.encode(b64encode(value).decode("ascii"))), BASE64
    return msgspec.Raw(encoded(value)), ""


def content_bytes(envelope: Envelope) -> bytes:
    """Return the content as bytes: decoded from base64 if binary, else the JSON text itself.

    Raises:
        InvalidEnvelope: ``encoding`` says base64 and the content is not.
    """
    raw = bytes(envelope.content)
    if not envelope.is_binary or not raw:
        return raw
    try:
        return b64decode(msgspec.json.decode(raw, type=str), validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise InvalidEnvelope(
            "encoding is base64 but the content is not a base64 string", field="content"
        ) from None


def with_content(envelope: Envelope, content: bytes) -> Envelope:
    """Return the envelope with its content in place of its claim; inverse of `content_bytes`.

    Raises:
        InvalidEnvelope: the content is neither base64 by ``encoding`` nor JSON text.
    """
    raw = msgspec.Raw(content)
    if envelope.is_binary:
        raw, _ = value_content(content)
    else:
        try:
            msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEnvelope(
                "the stored content is not JSON text",
                field="claim",
                hint='for bytes, say "encoding": "base64"',
            ) from None
    return msgspec.structs.replace(envelope, content=raw, claim=None)


def content_value(envelope: Envelope) -> Any:
    """Return the content as a Python value: bytes, a JSON value, or None if there is none.

    Raises:
        InvalidEnvelope: not base64 although ``encoding`` says so, or JSON that Python has no value
            for (a number out of range: nobody looked into the content before).
    """
    if envelope.is_binary:
        return content_bytes(envelope)
    raw = bytes(envelope.content)
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEnvelope(f"cannot be decoded: {error}", field="content") from None


def content_size(envelope: Envelope) -> int:
    """Return the content's size in bytes as a receiver gets it, without decoding it."""
    if envelope.claim is not None:
        return envelope.claim.size
    if not envelope.is_binary:
        return memoryview(envelope.content).nbytes
    raw = bytes(envelope.content)
    if not raw:
        return 0
    text = raw.strip(b'"')
    return len(text) * 3 // 4 - text[-2:].count(b"=")


def check_nesting(data: bytes) -> None:
    """Refuse JSON so deep that a reader with more calls on its stack could not decode it.

    Args:
        data: well-formed JSON.

    Raises:
        MalformedEnvelope: deeper than `SAFE_NESTING`, and too deep to be sure.
    """
    # Without that many brackets there cannot be that many levels: true of nearly every message.
    if data.count(b"[") + data.count(b"{") <= SAFE_NESTING:
        return
    try:
        msgspec.json.decode(b"[" * _NESTING_ROOM + data + b"]" * _NESTING_ROOM, type=msgspec.Raw)
    except RecursionError:
        raise MalformedEnvelope(
            "JSON nested too deeply", field="content", limit=SAFE_NESTING, hint="flatten it"
        ) from None
