"""resolve: from the names in a message to the registrations of its receivers.

The registry in memory answers nearly always. A name that it does not have is asked of the store
before it is called unknown, so that an agent can be written to the moment it has registered. After
a lost connection the registry may miss a change of a state, so nothing is routed until it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.registry import Registry
from caxton_nats.core.routing import Route, agent_not_found, route
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.ports import RegistryStore


class Resolution:
    """Finds out where messages go."""

    def __init__(self, registry: Registry, store: RegistryStore, remote: RemoteAgents) -> None:
        self._registry = registry
        self._store = store
        self._remote = remote

    async def current(self) -> int:
        """Return when the registry misses no change; another number after each time it might.

        Raises:
            NotConnected: the connection was lost, and is not back in time.
        """
        return await self._store.caught_up()

    async def resolve(self, envelope: Envelope, headers: Mapping[str, str]) -> Route:
        """Return the route of a completed envelope.

        Args:
            envelope: the message.
            headers: as it came in with.

        Raises:
            AgentNotFound: none of its receivers is registered.
            CaxtonError: another reason why it goes to none of its receivers.
        """
        found = route(envelope, self._registry)
        if found.unknown:
            own = [agent for agent in found.unknown if self._remote.is_own(agent)]
            for agent in own:
                stored = await self._store.load(agent)
                if stored is not None:
                    self._registry.learn(*stored)
            if own:
                found = route(envelope, self._registry)
        if found.unknown or not self._remote.is_own(envelope.sender):
            found = await self._remote.extend(found, envelope, headers)
        if not found.found:
            raise next(iter(found.errors.values()), agent_not_found(envelope.receiver[0]))
        return found
