"""`BreakerStore` in memory."""

from __future__ import annotations

from caxton_nats.core.breaker import Breaker, Breakers
from caxton_nats.core.identifiers import AgentId
from caxton_nats.memory.bucket import Bucket
from caxton_nats.memory.mail import turn


class MemoryBreakerStore:
    """`BreakerStore` whose followers see a change at once."""

    def __init__(self) -> None:
        self._bucket: Bucket[AgentId, Breaker] = Bucket("breaker")
        self._followers: list[Breakers] = []

    async def save(self, breaker: Breaker, *, revision: int | None) -> int:
        """Write it if the stored revision is still this."""
        await turn()
        saved = self._bucket.save(breaker.agent, breaker, revision)
        for breakers in self._followers:
            breakers.put(breaker)
        return saved

    async def load(self, agent: AgentId) -> tuple[Breaker, int] | None:
        """Return the record and its revision."""
        await turn()
        return self._bucket.records.get(agent)

    async def remove(self, agent: AgentId) -> bool:
        """Remove the record; False if there was none."""
        await turn()
        removed = bool(self._bucket.remove(agent))
        for breakers in self._followers:
            breakers.remove(agent)
        return removed

    async def follow(self, breakers: Breakers) -> None:
        """Keep ``breakers`` equal to the store from now on."""
        await turn()
        breakers.replace(breaker for breaker, _ in self._bucket.records.values())
        self._followers.append(breakers)
