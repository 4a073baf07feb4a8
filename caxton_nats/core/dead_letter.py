"""What is kept of a message that could not be delivered or handled, and its way back.

The record is JSON. The original bytes are kept exactly: as they are when they are JSON (readable
with ``nats stream view CAXTON_DLQ``), as base64 otherwise, or as a claim on the object store when
they would not fit.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from caxton_nats.core.envelope import Claim, check_nesting
from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import AgentId, MessageId

_NO_BODY = msgspec.Raw()
_SAME_MOMENT = timedelta(seconds=1)
"""The server tells of one moment in two ways, which are rounded differently."""
_JSON_WHITE_SPACE = b" \t\r\n"


class Stage(StrEnum):
    """Where on its way a message died."""

    ROUTE = "route"
    """The router refused it (store-and-forward door)."""
    RESOLVE = "resolve"
    """Its receiver is stopped: it reached no mailbox."""
    DELIVER = "deliver"
    """It reached a mailbox and was not handled."""


class Origin(msgspec.Struct, frozen=True):
    """The stored message that died; identifies the dead letter."""

    stream: str
    sequence: int

    @property
    def key(self) -> str:
        """Return the id of the dead letter: one stored message dies at most once."""
        return f"{self.stream}-{self.sequence}"


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """One earlier death of a redriven message, as a header of it tells: nobody vouches for it."""

    letter: Annotated[str, msgspec.Meta(max_length=200)]
    """The id of the dead letter of that time, which is gone."""
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    reason: FailureReason
    stage: Stage
    attempts: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    error: Annotated[str, msgspec.Meta(max_length=200)]
    """The code of the error and the beginning of its text."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dead letter, as it lies in the stream CAXTON_DLQ."""

    id: str
    reason: FailureReason
    stage: Stage
    agent: AgentId
    """Whose message it was: the receiver, or the sender where no receiver was reached."""
    sender: AgentId = AgentId("")
    message_id: MessageId = MessageId("")
    performative: str = ""
    conversation_id: str = ""
    attempts: int
    first_at: Annotated[datetime, msgspec.Meta(tz=True)]
    last_at: Annotated[datetime, msgspec.Meta(tz=True)]
    last_error: dict[str, Any]
    origin: Origin
    subject: str
    headers: dict[str, str] = {}
    """As they were, without those in which a redriven message carries `redrives` and `history`."""
    body: msgspec.Raw = _NO_BODY
    body_base64: str = ""
    body_claim: Claim | None = None
    redrives: int = 0
    """How often the message had been sent on its way again before it died this time."""
    history: tuple[Death, ...] = ()
    """Its earlier deaths, the oldest first: the latest few of them."""

    @property
    def original(self) -> bytes:
        """Return the original bytes (empty if they lie in the object store)."""
        return b64decode(self.body_base64) if self.body_base64 else bytes(self.body)


def is_of(letter: DeadLetter, stored_at: datetime) -> bool:
    """Return whether the letter is of the message that was stored at this moment in its place.

    A stream that was removed and made again counts from one again, and the letters stay.
    """
    return abs(letter.first_at - stored_at) < _SAME_MOMENT


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DeadLetter)


def encode(letter: DeadLetter) -> bytes:
    """Return the record as JSON."""
    if not bytes(letter.body):
        # msgspec leaves out the default Raw itself only, and writes another empty one as nothing.
        letter = msgspec.structs.replace(letter, body=_NO_BODY)
    return _encoder.encode(letter)


def decode(data: bytes) -> DeadLetter:
    """Return the record that ``data`` holds."""
    return _decoder.decode(data)


def keep(data: bytes) -> dict[str, Any]:
    """Return the field that keeps ``data`` exactly: ``body`` if it is JSON, else base64.

    White space around a JSON text is lost inside a record, so such a text becomes base64, too.
    """
    try:
        data.decode("utf-8")
        msgspec.json.decode(data)
        check_nesting(data)
        exact = data == data.strip(_JSON_WHITE_SPACE)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError, MalformedEnvelope):
        exact = False
    return (
        {"body": msgspec.Raw(data)} if exact else {"body_base64": b64encode(data).decode("ascii")}
    )
