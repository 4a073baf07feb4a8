"""What stored messages say: the server has taken them, so their size is no question any more."""

from __future__ import annotations

from datetime import datetime

from caxton_nats.core import codec, representation
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import MessageError


def decode(body: bytes) -> Envelope:
    """Return the envelope of a stored message.

    Raises:
        MessageError: it is none, for anybody with the right to may write into a stream.
    """
    return codec.read(body)


def submitted(body: bytes, named: str | None, now: datetime) -> Envelope:
    """Return the envelope of a message at the store-and-forward door, in whichever encoding.

    Args:
        body: as it was stored there.
        named: what its header says of its encoding; None is JSON.
        now: when it was stored.

    Raises:
        MessageError: it is none.
    """
    if named is None:
        return decode(body)
    return representation.decode(body, named, max_bytes=len(body), now=now)


def readable(body: bytes) -> Envelope | None:
    """Return the envelope of a stored message, or None if it is none."""
    try:
        return decode(body)
    except MessageError:
        return None
