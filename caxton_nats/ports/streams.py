"""What the streams of a platform hold, for statistics and health."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class Role(StrEnum):
    """What a stream is for."""

    MAILBOX = "mailbox"
    INGRESS = "ingress"
    DEAD_LETTERS = "dead letters"
    ADVISORIES = "advisories"
    TIMERS = "timers"
    OTHER = "other"
    """A bucket, or what a later version has added."""


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """What one stream holds, and what it may hold; None where nothing is limited."""

    name: str
    role: Role
    missing: bool = False
    """It should be there and is not."""
    messages: int = 0
    bytes: int = 0
    last_sequence: int = 0
    """Messages ever stored."""
    first_at: datetime | None = None
    """When the oldest message that is there was stored."""
    consumers: int = 0
    max_messages: int | None = None
    max_bytes: int | None = None
    max_consumers: int | None = None


class Streams(Protocol):
    """All streams of a platform."""

    async def states(self) -> list[StreamState]:
        """Return the state of each stream that there is or should be; cheap, however many agents.

        Raises:
            TransportError: no answer.
        """
