"""validate and deliver: until when a handler may start with a message.

``reply_by`` is the moment, FIPA's own; ``timeout`` is another way to say it, in seconds from the
door. The earlier one counts, and is what is stored.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import Expired, InvalidEnvelope

TIMEOUT_BOUNDS: Final = (1.0, 300.0)
"""Seconds (the seed's MessageTimeoutMs)."""


def deadline(reply_by: datetime | None, timeout: float | None, since: datetime) -> datetime | None:
    """Return the earlier of ``reply_by`` and ``timeout`` seconds after ``since``, if any.

    Raises:
        InvalidEnvelope: ``timeout`` is out of its bounds.
    """
    if timeout is None:
        return reply_by
    low, high = TIMEOUT_BOUNDS
    # Written this way round, not-a-number is refused, too.
    if not low <= timeout <= high:
        raise InvalidEnvelope(
            f"must be {low:g} to {high:g} seconds",
            field="timeout",
            limit=f"{high if timeout > high else low:g}",
            value=f"{timeout:g}",
        )
    until = since + timedelta(seconds=timeout)
    return until if reply_by is None else min(reply_by, until)


def check_deadline(envelope: Envelope, now: datetime) -> None:
    """Refuse a message whose time has passed.

    Raises:
        Expired: no handler may start any more.
    """
    if envelope.reply_by is not None and envelope.reply_by <= now:
        raise Expired(
            "reply_by passed before a handler could start",
            field="reply_by",
            value=envelope.reply_by.isoformat(),
        )
