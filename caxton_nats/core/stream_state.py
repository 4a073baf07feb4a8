"""What one stream holds and may hold, as an adapter tells it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a stream is for."""

    MAILBOX = "mailbox"
    INGRESS = "ingress"
    DEAD_LETTERS = "dead letters"
    ADVISORIES = "advisories"
    TIMERS = "timers"
    OUTBOUND = "outbound"
    """Mail for other platforms."""
    OTHER = "other"
    """A bucket, or what a later version has added."""


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """What one stream holds, and what it may hold; None where nothing is limited."""

    name: str
    role: Role
    missing: bool = False
    """It should be there and is not."""
    has_leader: bool = True
    """Whether there is somebody who answers for it; in a cluster that is one of several nodes."""
    behind: tuple[str, ...] = ()
    """Nodes whose replica is not up to date, or out of reach."""
    messages: int = 0
    bytes: int = 0
    last_sequence: int = 0
    """Messages ever stored."""
    gone: tuple[int, int] | None = None
    """First and last sequence that it had acknowledged, and does not know any more."""
    first_at: datetime | None = None
    """When the oldest message that is there was stored."""
    consumers: int = 0
    max_messages: int | None = None
    max_bytes: int | None = None
    max_consumers: int | None = None

    @property
    def fill(self) -> float:
        """Return how much of its narrowest limit is used up, 0..1."""
        pairs = (
            (self.messages, self.max_messages),
            (self.bytes, self.max_bytes),
            (self.consumers, self.max_consumers),
        )
        return max((used / limit for used, limit in pairs if limit), default=0.0)
