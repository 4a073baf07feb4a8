"""Registration: one agent, one name, one mailbox that one process reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from caxton_nats.core.capability import check_capabilities
from caxton_nats.core.errors import AgentAlreadyRegistered, InvalidEnvelope, RevisionConflict
from caxton_nats.core.identifiers import AgentId, check_free, platform_part
from caxton_nats.core.registry import Registration, Registry
from caxton_nats.ports import Ports

_CHECKS = 6
_PAUSE = timedelta(milliseconds=250)


class LocalRegistrar:
    """Registers agents in the store (seed: register_agent, deregister_agent)."""

    def __init__(self, ports: Ports, registry: Registry, *, platform: str, queue_size: int) -> None:
        self._ports = ports
        self._registry = registry
        self._platform = platform
        self._queue_size = queue_size

    async def register(
        self, agent: AgentId, *, capabilities: Sequence[str] = (), node: str = ""
    ) -> Registration:
        """Register the agent and make its mailbox readable.

        An agent that comes back takes over its registration and its mail. What counts as gone is
        that nobody waits for messages at its mailbox.

        Raises:
            AgentAlreadyRegistered: somebody reads the mailbox of an agent of that name now.
        """
        if platform_part(agent) != self._platform:
            raise InvalidEnvelope(
                "an agent of another platform cannot be registered here",
                field="agent",
                limit=self._platform,
                value=agent,
            )
        check_free(agent, field="agent")
        names = check_capabilities(capabilities)
        stored = await self._ports.registry_store.load(agent)
        if stored is not None:
            await self._refuse_if_attended(agent, stored[0])
        registration = Registration(
            agent=agent,
            capabilities=names,
            address=await self._ports.mailboxes.ensure(agent),
            node=node,
            queue_size=self._queue_size,
            registered_at=self._ports.clock.now(),
        )
        try:
            await self._ports.registry_store.save(
                registration, revision=stored[1] if stored else None
            )
        except RevisionConflict:
            raise _already(agent, "another process registers it at this moment") from None
        self._registry.put(registration)
        return registration

    async def deregister(self, agent: AgentId) -> bool:
        """Remove the registration and the consumer; False if there was none. Stored mail stays."""
        known = await self._ports.registry_store.remove(agent)
        self._registry.remove(agent)
        await self._ports.mailboxes.remove(agent)
        return known

    async def _refuse_if_attended(self, agent: AgentId, before: Registration) -> None:
        """A process that has just ended may leave its last pull waiting for a moment."""
        for _ in range(_CHECKS):
            if not (await self._ports.mailboxes.status(agent)).attended:
                return
            await self._ports.clock.sleep(_PAUSE)
        raise _already(agent, f"its mailbox is being read by {before.node or 'another process'}")


def _already(agent: AgentId, why: str) -> AgentAlreadyRegistered:
    return AgentAlreadyRegistered(
        f"{agent} is registered already: {why}",
        field="agent",
        value=agent,
        hint="choose another name, or stop the other process first",
    )
