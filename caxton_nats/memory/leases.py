"""`Leases` in memory."""

from __future__ import annotations

from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Health, Lease
from caxton_nats.memory.bucket import Bucket
from caxton_nats.memory.mail import turn
from caxton_nats.ports import Pulse


class MemoryLeases:
    """`Leases` whose followers see a change at once; an instance answers until it falls silent."""

    def __init__(self) -> None:
        self._bucket: Bucket[AgentId, Lease] = Bucket("lease")
        self._followers: list[Health] = []
        self._answering: set[str] = set()

    async def save(self, lease: Lease, *, revision: int | None) -> int:
        """Write the lease if the stored revision is still this."""
        await turn()
        saved = self._bucket.save(lease.agent, lease, revision)
        for health in self._followers:
            health.put(lease)
        return saved

    async def load(self, agent: AgentId) -> tuple[Lease, int] | None:
        """Return the agent's lease and its revision."""
        await turn()
        return self._bucket.records.get(agent)

    async def remove(self, agent: AgentId) -> bool:
        """Remove the lease; False if there was none."""
        await turn()
        for health in self._followers:
            health.remove(agent)
        return bool(self._bucket.remove(agent))

    async def follow(self, health: Health) -> None:
        """Keep ``health`` equal to the store from now on."""
        await turn()
        health.replace(lease for lease, _ in self._bucket.records.values())
        self._followers.append(health)

    async def answer_for(self, instance: str) -> None:
        """Answer for this instance."""
        await turn()
        self._answering.add(instance)

    async def fall_silent(self, instance: str) -> None:
        """Answer for it no more."""
        await turn()
        self._answering.discard(instance)

    async def pulse(self, instance: str) -> Pulse:
        """Ask; in one process nobody is ever silent."""
        await turn()
        return Pulse.ANSWERS if instance in self._answering else Pulse.GONE
