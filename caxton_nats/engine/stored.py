"""What stored messages say: the server has taken them, so their size is no question any more."""

from __future__ import annotations

from caxton_nats.core import codec
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import MessageError


def decode(body: bytes) -> Envelope:
    """Return the envelope of a stored message.

    Raises:
        MessageError: it is none, for anybody with the right to may write into a stream.
    """
    return codec.read(body)


def readable(body: bytes) -> Envelope | None:
    """Return the envelope of a stored message, or None if it is none."""
    try:
        return decode(body)
    except MessageError:
        return None
