"""Conversations in numbers."""

from __future__ import annotations

from datetime import timedelta

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.conversation_stats import ConversationStats, Tally
from caxton_nats.core.identifiers import AgentId, ConversationId
from tests.core.sample import NOON


def record(*, participants: int = 2, messages: int = 1, seconds: float = 0) -> Conversation:
    return Conversation(
        conversation_id=ConversationId("c"),
        participants=tuple(AgentId(f"a{number}@here") for number in range(participants)),
        created_at=NOON,
        last_activity=NOON + timedelta(seconds=seconds),
        timeout=timedelta(minutes=30),
        ends_at=NOON + timedelta(days=7),
        message_count=messages,
    )


def stats(*records: Conversation, ended: int = 0) -> ConversationStats:
    tally = Tally()
    for one in records:
        tally.add(one)
    return tally.stats(ended=ended)


def test_none() -> None:
    """Where there is nothing to divide by, the means are 0."""
    assert stats(ended=3) == ConversationStats(
        total_active=0,
        total_created=3,
        average_duration_ms=0.0,
        average_message_count=0.0,
        participants_distribution={},
    )


def test_means_and_distribution() -> None:
    """Durations are in milliseconds; those that have ended count as created only."""
    found = stats(
        record(participants=5, messages=6, seconds=3),
        record(messages=1),
        record(messages=2, seconds=1.5),
        ended=10,
    )
    assert (found.total_active, found.total_created) == (3, 13)
    assert (found.average_duration_ms, found.average_message_count) == (1500.0, 3.0)
    assert found.participants_distribution == {2: 2, 5: 1}


def test_clocks_that_differ() -> None:
    """A conversation whose last message seems older than its first lasts no time at all."""
    assert stats(record(seconds=-5)).average_duration_ms == 0.0
