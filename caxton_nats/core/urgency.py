"""deliver: which messages have a way of their own past a backlog."""

from __future__ import annotations

from caxton_nats.core.envelope import Envelope, Priority


def is_urgent(envelope: Envelope) -> bool:
    """Return whether the message is urgent by itself: of priority High or Critical."""
    return envelope.priority >= Priority.HIGH
