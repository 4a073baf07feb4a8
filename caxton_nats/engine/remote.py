"""resolve: receivers of other platforms, and where a letter for them is put.

A letter for an agent of another platform waits in the outbound stream until engine/forwarder.py
has it across the link. What came over a link itself goes to agents of this platform only: NATS
carries over several servers, so that no platform has to pass messages on.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from caxton_nats.core import codec
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    InvalidEnvelope,
    MessageTooLarge,
    RevisionConflict,
)
from caxton_nats.core.identifiers import AgentId, platform_part
from caxton_nats.core.registry import Address, Registration
from caxton_nats.core.remote import (
    NodeId,
    RouteInfo,
    Routes,
    everybody,
    locate,
    replaces,
    route_info,
)
from caxton_nats.core.routing import Route, meant
from caxton_nats.ports import Ports

TRIES = 10
"""Compare-and-set tries of a route before giving up: as many routers may refresh it at once."""
MAX_SUBJECT = 1_500
"""Characters of an outbound subject; the server closes connections over 4,096 in one line."""


class RemoteAgents:
    """Knows the ways to other platforms."""

    def __init__(self, ports: Ports, *, platform: str, queue_size: int) -> None:
        self._ports = ports
        self.platform = platform
        """The name of this platform."""
        self._queue_size = queue_size
        self.routes = Routes()
        """The mirror of the durable routes; whoever runs the platform has it followed."""

    def is_own(self, agent: AgentId) -> bool:
        """Return whether the agent is one of this platform."""
        return platform_part(agent) == self.platform

    async def update(self, agent: AgentId, node: str, hops: int) -> RouteInfo:
        """Take note of a route, and return the one that is in force now.

        A route that is nearer than the known one, or as near, takes its place and is believed for
        another five minutes; a farther one only if the known one has expired.

        Raises:
            InvalidEnvelope: a value out of its bounds, or an agent of this platform.
            RevisionConflict: too many write this route at once.
        """
        for _ in range(TRIES):
            now = self._ports.clock.now()
            news = route_info(agent, node, hops, now, platform=self.platform)
            stored = await self._ports.routes.load(agent)
            before, revision = stored or (None, None)
            if before is not None and not replaces(news, before, now):
                return before
            try:
                await self._ports.routes.save(news, revision=revision)
            except RevisionConflict:
                continue
            self.routes.put(news)
            return news
        raise RevisionConflict(
            f"the route to {agent} is changed by too many at once",
            field="agent",
            hint="somebody has just refreshed it: see `caxton routes`",
        )

    async def remove(self, agent: AgentId) -> bool:
        """Forget the route of exactly this name; what waits for its node keeps waiting."""
        known = await self._ports.routes.remove(agent)
        self.routes.remove(agent)
        return known

    async def extend(self, found: Route, envelope: Envelope, headers: Mapping[str, str]) -> Route:
        """Return the route with the receivers of other platforms resolved.

        Args:
            found: what the registry says of the receivers.
            envelope: a completed one.
            headers: as it came in with; over a link they say which receiver this copy is for.
        """
        if not self.is_own(envelope.sender):
            return meant(found, headers, self.platform)
        remote = [agent for agent in found.unknown if not self.is_own(agent)]
        if not remote:
            return found
        reached: list[Registration] = []
        refused: dict[AgentId, CaxtonError] = {}
        too_large = self._too_large(envelope)
        for agent in remote:
            try:
                if too_large is not None:
                    raise too_large
                reached.append(await self._reach(agent))
            except CaxtonError as error:
                refused[agent] = error
        return msgspec.structs.replace(
            found,
            found=(*found.found, *reached),
            unknown=tuple(agent for agent in found.unknown if self.is_own(agent)),
            refused={**found.refused, **refused},
        )

    async def address(self, agent: AgentId) -> Address:
        """Return where a letter for the agent is put, of whatever platform it is.

        Raises:
            AgentNotFound: no route leads to its platform now.
        """
        if self.is_own(agent):
            return self._ports.mailboxes.address(agent)
        return (await self._reach(agent)).address

    async def notice_address(self, agent: AgentId) -> Address:
        """Return where a notice is put: without a route it waits for a link to the platform."""
        try:
            return await self.address(agent)
        except AgentNotFound:
            return self._ports.links.address(agent, NodeId(platform_part(agent)))

    async def _reach(self, agent: AgentId) -> Registration:
        """Return what stands for the agent's registration, which its own platform has."""
        now = self._ports.clock.now()
        try:
            route = locate(agent, self.routes, now)
        except AgentNotFound:
            await self._learn(agent)
            route = locate(agent, self.routes, now)
        address = self._ports.links.address(agent, route.route.node)
        if len(address.subject) > MAX_SUBJECT:
            raise InvalidEnvelope(
                "is too long a name to cross a link",
                field="receiver",
                limit=MAX_SUBJECT,
                value=len(address.subject),
            )
        return Registration(
            agent=agent,
            address=address,
            node=route.route.node,
            queue_size=self._queue_size,
            registered_at=route.route.updated_at,
        )

    async def _learn(self, agent: AgentId) -> None:
        """Ask the store, so that a route can be used the moment it is set."""
        for name in (agent, everybody(platform_part(agent))):
            stored = await self._ports.routes.load(name)
            if stored is not None:
                self.routes.put(stored[0])

    def _too_large(self, envelope: Envelope) -> MessageTooLarge | None:
        limit, size = self._ports.links.max_parcel, len(codec.encode(envelope))
        if size <= limit:
            return None
        return MessageTooLarge(
            "the message is larger than what crosses a link to another platform",
            field="content",
            limit=limit,
            value=size,
            hint="content is not set aside for other platforms: send it in several messages",
        )
