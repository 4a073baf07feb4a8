"""The platform's outer side: who is there, and a forwarder for each node that mail waits for.

Platforms that this one is linked to are pinged; while one answers, the route to it is refreshed
three times before it would expire. A link that is down is asked again every two seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta

from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.remote import ROUTE_LIFE, NodeId, everybody, node_id
from caxton_nats.engine.forwarder import Forwarder
from caxton_nats.engine.remote import RemoteAgents
from caxton_nats.ports import Ports
from caxton_nats.tasks import end, forever

REFRESH = ROUTE_LIFE / 3
ASK_AGAIN = timedelta(seconds=2)
LOOK = timedelta(milliseconds=500)
_LOOKS_PER_COUNT = 20
log = logging.getLogger("caxton_nats")


class LinkWatch:
    """Keeps the routes to linked platforms fresh while they answer."""

    def __init__(self, ports: Ports, remote: RemoteAgents, links: Iterable[str]) -> None:
        self._ports = ports
        self._remote = remote
        self._links = [node_id(name) for name in links]

    async def run(self) -> None:
        """Work until cancelled; errors are waited out."""
        await asyncio.gather(*(self._watch(node) for node in self._links))

    async def ask(self, node: NodeId) -> bool:
        """Ask who is there, refresh the route to it; return whether somebody is."""
        platform = await self._ports.links.ping(node, wait=ASK_AGAIN)
        if platform is None:
            return False
        await self._remote.update(everybody(platform), node, 1)
        return True

    async def _watch(self, node: NodeId) -> None:
        async def once() -> None:
            there = await self.ask(node)
            await self._ports.clock.sleep(REFRESH if there else ASK_AGAIN)

        await forever(
            once,
            what=f"asking node {node}",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )


class Frontier:
    """Has a forwarder at work for every node that there is a route to, or mail for."""

    def __init__(
        self, ports: Ports, remote: RemoteAgents, forwarder: Callable[[NodeId], Forwarder]
    ) -> None:
        self._ports = ports
        self._remote = remote
        self._forwarder = forwarder
        self._at_work: dict[NodeId, tuple[Forwarder, asyncio.Task[None]]] = {}
        self._looks = 0

    async def run(self) -> None:
        """Look for nodes until cancelled; errors are waited out. Then `close` it."""
        await forever(
            self._look,
            what="looking for mail to other platforms",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )

    async def close(self) -> None:
        """End the forwarders; they give back what they have in hand."""
        await end(task for _, task in self._at_work.values())
        await asyncio.gather(*(forwarder.close() for forwarder, _ in self._at_work.values()))

    async def _look(self) -> None:
        """Look at the routes, which costs nothing, often, and at what is stored now and then."""
        nodes = {route.node for route in self._remote.routes}
        if self._looks % _LOOKS_PER_COUNT == 0:
            nodes |= (await self._ports.links.waiting()).keys()
        self._looks += 1
        for node in nodes:
            if node not in self._at_work:
                forwarder = self._forwarder(node)
                task = asyncio.create_task(forwarder.run(), name=f"forwarding to {node}")
                self._at_work[node] = forwarder, task
        await self._ports.clock.sleep(LOOK)
