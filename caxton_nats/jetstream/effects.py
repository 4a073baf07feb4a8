"""What handlers have done, in two buckets.

Ledgers in caxton-ledgers, ``<agent>.<page>``; outboxes in caxton-outboxes, ``<agent>.<slot>``.
"""

from __future__ import annotations

from caxton_nats.core.identifiers import AgentId, agent_token
from caxton_nats.core.ledger import Page
from caxton_nats.core.outbox import Commit
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.publisher import JetStreamPublisher


class KvLedgers:
    """See `ports.Ledgers`."""

    def __init__(self, connection: Connection, publisher: JetStreamPublisher) -> None:
        self._bucket = Bucket(connection, publisher, subjects.LEDGERS_BUCKET, Page)

    async def pages(self, agent: AgentId) -> list[tuple[Page, int]]:
        """Return the agent's pages, the one written last at the end."""
        return await self._bucket.state(f"{agent_token(agent)}.*")

    async def save(self, page: Page, *, revision: int | None) -> int:
        """Write the page if its stored revision is still this."""
        key = f"{agent_token(page.agent)}.{page.number}"
        return await self._bucket.save(key, page, revision=revision)


class KvOutboxes:
    """See `ports.Outboxes`."""

    def __init__(self, connection: Connection, publisher: JetStreamPublisher) -> None:
        self._bucket = Bucket(connection, publisher, subjects.OUTBOXES_BUCKET, Commit)

    async def commits(self, agent: AgentId) -> list[tuple[Commit, int]]:
        """Return what the agent's slots hold."""
        return await self._bucket.state(f"{agent_token(agent)}.*")

    async def save(self, commit: Commit, *, revision: int | None) -> int:
        """Write the slot if its stored revision is still this."""
        key = f"{agent_token(commit.agent)}.{commit.slot}"
        return await self._bucket.save(key, commit, revision=revision)

    async def forget(self, agent: AgentId, slot: int, *, revision: int) -> None:
        """Forget what the slot holds, if its stored revision is still this."""
        await self._bucket.purge(f"{agent_token(agent)}.{slot}", revision=revision)
