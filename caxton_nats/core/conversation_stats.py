"""The conversations of a platform in numbers (seed: ConversationStats)."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import msgspec

from caxton_nats.core.conversation import Conversation

_MILLISECOND = timedelta(milliseconds=1)


class ConversationStats(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are, how long they last and how many talk in them.

    The means and the distribution are of the active ones: that is, of all that had a message within
    their timeout.
    """

    total_active: int
    total_created: int
    """Those that have ended included, also if they are no longer kept."""
    average_duration_ms: float
    """From the first message of a conversation to its last."""
    average_message_count: float
    participants_distribution: dict[int, int]
    """Number of participants -> number of conversations."""


class Tally:
    """Adds up conversations, one after the other."""

    def __init__(self) -> None:
        self._messages = 0
        self._duration = timedelta()
        self._participants: Counter[int] = Counter()

    def add(self, record: Conversation) -> None:
        """Count one more."""
        self._messages += record.message_count
        # Routers' clocks may differ a bit.
        self._duration += max(record.last_activity - record.created_at, timedelta())
        self._participants[len(record.participants)] += 1

    def stats(self, *, ended: int) -> ConversationStats:
        """Return what they amount to, beside those that have ``ended``."""
        active = self._participants.total()
        return ConversationStats(
            total_active=active,
            total_created=active + ended,
            average_duration_ms=self._duration / _MILLISECOND / active if active else 0.0,
            average_message_count=self._messages / active if active else 0.0,
            participants_distribution=dict(sorted(self._participants.items())),
        )
