"""What handlers have done, in memory."""

from __future__ import annotations

from datetime import datetime, timedelta

from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.ledger import Page
from caxton_nats.core.outbox import Commit
from caxton_nats.memory.bucket import Bucket
from caxton_nats.memory.mail import turn
from caxton_nats.ports import Clock

MAX_AGE = timedelta(days=7)


class MemoryLedgers:
    """See `ports.Ledgers`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bucket: Bucket[tuple[AgentId, int], Page] = Bucket("page")
        self._written_at: dict[tuple[AgentId, int], datetime] = {}

    async def pages(self, agent: AgentId) -> list[tuple[Page, int]]:
        """Return the agent's pages, the one written last at the end."""
        await turn()
        self._forget_old()
        found = [one for key, one in self._bucket.records.items() if key[0] == agent]
        return sorted(found, key=lambda one: one[1])

    async def save(self, page: Page, *, revision: int | None) -> int:
        """Write the page if its stored revision is still this."""
        await turn()
        self._forget_old()
        key = (page.agent, page.number)
        saved = self._bucket.save(key, page, revision)
        self._written_at[key] = self._clock.now()
        return saved

    def _forget_old(self) -> None:
        old = self._clock.now() - MAX_AGE
        for key in [key for key, written in self._written_at.items() if written <= old]:
            self._bucket.remove(key)
            del self._written_at[key]


class MemoryOutboxes:
    """See `ports.Outboxes`."""

    def __init__(self) -> None:
        self._bucket: Bucket[tuple[AgentId, int], Commit] = Bucket("slot")

    async def commits(self, agent: AgentId) -> list[tuple[Commit, int]]:
        """Return what the agent's slots hold."""
        await turn()
        return [one for key, one in self._bucket.records.items() if key[0] == agent]

    async def save(self, commit: Commit, *, revision: int | None) -> int:
        """Write the slot if its stored revision is still this."""
        await turn()
        return self._bucket.save((commit.agent, commit.slot), commit, revision)

    async def forget(self, agent: AgentId, slot: int, *, revision: int) -> None:
        """Forget what the slot holds, if its stored revision is still this."""
        await turn()
        held = self._bucket.records.get((agent, slot))
        if held is not None and held[1] == revision:
            self._bucket.remove((agent, slot))
