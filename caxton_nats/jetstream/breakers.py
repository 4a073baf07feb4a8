"""Circuit breakers in the bucket caxton-breakers: ``nats kv get caxton-breakers bob``."""

from __future__ import annotations

from caxton_nats.core.breaker import Breaker, Breakers
from caxton_nats.core.identifiers import AgentId, agent_from_token, agent_token
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.publisher import JetStreamPublisher


class _BreakersMirror:
    """Carries the bucket's changes, which speak of keys, into the mirror."""

    def __init__(self, breakers: Breakers, platform: str) -> None:
        self._platform = platform
        self.replace = breakers.replace
        self.put = breakers.put
        self._remove = breakers.remove

    def forget(self, key: str) -> None:
        self._remove(agent_from_token(key, self._platform))


class KvBreakerStore:
    """See `ports.BreakerStore`; one key per agent."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, platform: str
    ) -> None:
        self._bucket = Bucket(connection, publisher, subjects.BREAKERS_BUCKET, Breaker)
        self._platform = platform

    async def save(self, breaker: Breaker, *, revision: int | None) -> int:
        """Write it if the stored revision is still this."""
        return await self._bucket.save(agent_token(breaker.agent), breaker, revision=revision)

    async def load(self, agent: AgentId) -> tuple[Breaker, int] | None:
        """Return the record and its revision."""
        return await self._bucket.load(agent_token(agent), latest=True)

    async def remove(self, agent: AgentId) -> bool:
        """Remove the record; False if there was none."""
        return bool(await self._bucket.remove(agent_token(agent)))

    async def follow(self, breakers: Breakers) -> None:
        """Keep ``breakers`` equal to the bucket; returns when the first complete state is in."""
        await self._bucket.follow(_BreakersMirror(breakers, self._platform))

    async def stop(self) -> None:
        """End the watch."""
        await self._bucket.stop()
