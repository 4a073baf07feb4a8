"""Conversations and their archive: two buckets, so that the first holds only what goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId, ConversationId, token
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.publisher import JetStreamPublisher


class KvConversationStore:
    """Conversation records in the bucket caxton-conversations."""

    def __init__(self, connection: Connection, publisher: JetStreamPublisher) -> None:
        self._bucket = Bucket(connection, publisher, subjects.CONVERSATIONS_BUCKET, Conversation)

    async def load(
        self, conversation_id: ConversationId, *, latest: bool = False
    ) -> tuple[Conversation, int] | None:
        """Return the record and its revision."""
        return await self._bucket.load(token(conversation_id), latest=latest)

    async def save(self, record: Conversation, *, revision: int | None) -> int:
        """Write the record if the stored revision is still this."""
        return await self._bucket.save(token(record.conversation_id), record, revision=revision)

    async def remove(self, conversation_id: ConversationId, *, revision: int) -> None:
        """Remove the record if the stored revision is still this; it leaves no marker."""
        await self._bucket.purge(token(conversation_id), revision=revision)

    async def count(self) -> int:
        """Return how many records there are."""
        return await self._bucket.count()

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[Conversation]:
        """Return the records with the latest activity first."""
        records = await self._bucket.newest(limit, _wanted(agent))
        # Each activity is a write, so these are the right ones; routers' clocks may differ a bit.
        return sorted(records, key=lambda record: record.last_activity, reverse=True)

    async def each(self) -> AsyncIterator[Conversation]:
        """Read all records, page by page."""
        async for record in self._bucket.each():
            if record.ended_by is None:
                yield record


class KvConversationArchive:
    """Ended conversations in the bucket caxton-conversations-archive, whose age is limited.

    A record is written once and never changed, so the stream's own sequence counts them all.
    """

    def __init__(self, connection: Connection, publisher: JetStreamPublisher) -> None:
        self._bucket = Bucket(connection, publisher, subjects.ARCHIVE_BUCKET, Conversation)

    async def add(self, record: Conversation) -> bool:
        """Keep the record; False if there is one of this id already."""
        try:
            await self._bucket.save(token(record.conversation_id), record, revision=None)
        except RevisionConflict:
            return False
        return True

    async def load(self, conversation_id: ConversationId) -> Conversation | None:
        """Return the record, if it is still kept."""
        found = await self._bucket.load(token(conversation_id))
        return found[0] if found else None

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[Conversation]:
        """Return the records that were added last, the latest first."""
        return await self._bucket.newest(limit, _of(agent))

    async def added(self) -> int:
        """Return how many records were ever added."""
        return await self._bucket.written()


def _of(agent: AgentId | None) -> Callable[[Conversation], bool]:
    return lambda record: agent is None or agent in record.participants


def _wanted(agent: AgentId | None) -> Callable[[Conversation], bool]:
    of_agent = _of(agent)
    return lambda record: record.ended_by is None and of_agent(record)
