"""Conversations and their archive, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.identifiers import AgentId, ConversationId
from caxton_nats.memory.bucket import Bucket
from caxton_nats.memory.mail import turn
from caxton_nats.ports import Clock


class MemoryConversationStore:
    """`ConversationStore` in a dict."""

    def __init__(self) -> None:
        self._bucket: Bucket[ConversationId, Conversation] = Bucket("conversation")

    async def load(
        self, conversation_id: ConversationId, *, latest: bool = False
    ) -> tuple[Conversation, int] | None:
        """Return the record and its revision; here it is always the latest."""
        del latest
        await turn()
        return self._bucket.records.get(conversation_id)

    async def save(self, record: Conversation, *, revision: int | None) -> int:
        """Write the record if the stored revision is still this."""
        await turn()
        return self._bucket.save(record.conversation_id, record, revision)

    async def remove(self, conversation_id: ConversationId, *, revision: int) -> None:
        """Remove the record if the stored revision is still this."""
        await turn()
        found = self._bucket.records.get(conversation_id)
        if found is not None and found[1] == revision:
            self._bucket.remove(conversation_id)

    async def count(self) -> int:
        """Return how many records there are."""
        await turn()
        return len(self._bucket.records)

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[Conversation]:
        """Return the records with the latest activity first."""
        await turn()
        going_on = self._going_on()
        latest = sorted(going_on, key=lambda record: record.last_activity, reverse=True)
        return list(islice(_of(agent, latest), limit))

    async def each(self) -> AsyncIterator[Conversation]:
        """Read all records."""
        for record in tuple(self._going_on()):
            await turn()
            yield record

    def _going_on(self) -> Iterator[Conversation]:
        records = (record for record, _ in self._bucket.records.values())
        return (record for record in records if record.ended_by is None)


class MemoryConversationArchive:
    """`ConversationArchive` in a dict, oldest first."""

    def __init__(self, clock: Clock, *, retention: timedelta) -> None:
        self._clock = clock
        self._retention = retention
        self._kept: dict[ConversationId, tuple[Conversation, datetime]] = {}
        self._added = 0

    async def add(self, record: Conversation) -> bool:
        """Keep the record; False if there is one of this id already."""
        await turn()
        self._forget()
        if record.conversation_id in self._kept:
            return False
        self._kept[record.conversation_id] = (record, self._clock.now())
        self._added += 1
        return True

    async def load(self, conversation_id: ConversationId) -> Conversation | None:
        """Return the record, if it is still kept."""
        await turn()
        self._forget()
        found = self._kept.get(conversation_id)
        return found[0] if found else None

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[Conversation]:
        """Return the records that were added last, the latest first."""
        await turn()
        self._forget()
        latest = (record for record, _ in reversed(self._kept.values()))
        return list(islice(_of(agent, latest), limit))

    async def added(self) -> int:
        """Return how many records were ever added."""
        await turn()
        return self._added

    def _forget(self) -> None:
        """Drop what is older than the retention; insertion order is the order of age."""
        oldest = self._clock.now() - self._retention
        while self._kept and next(iter(self._kept.values()))[1] <= oldest:
            del self._kept[next(iter(self._kept))]


def _of(agent: AgentId | None, records: Iterable[Conversation]) -> Iterable[Conversation]:
    return (record for record in records if agent is None or agent in record.participants)
