"""Two platforms in memory, joined by a link that a test can cut, with one clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from caxton_nats.core import codec
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, PublishUnconfirmed, StreamMissing
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.remote import NodeId
from caxton_nats.engine.forwarder import Forwarder
from caxton_nats.engine.frontier import Frontier, LinkWatch
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.platform import Platform, build
from caxton_nats.engine.receiver import MailboxOptions
from caxton_nats.engine.router import RouterOptions
from caxton_nats.memory import MemoryBroker
from caxton_nats.ports import Ports, Receipt, Stored, Submission
from caxton_nats.ports.remote import Parcel
from caxton_nats.tasks import Workers, end
from caxton_nats.telemetry import Action, Event
from tests.core.sample import sample
from tests.engine.bench import ACK_WAIT, POLICY, CountingIds
from tests.plugins.clock import ManualClock

ALICE = AgentId("alice@office")
BOB = AgentId("bob@plant")


class Side:
    """One platform, and what its router service does for the link."""

    def __init__(self, name: str, clock: ManualClock, queue_size: int) -> None:
        self.name = name
        self.clock = clock
        self.broker = MemoryBroker(
            clock,
            platform=name,
            shards=2,
            queue_size=queue_size,
            ack_wait=timedelta(seconds=ACK_WAIT),
        )
        self.stack = AsyncExitStack()
        self.events: list[Event] = []
        self.ports = self.broker.ports(CountingIds())
        self.platform = self.process(self.ports, queue_size=queue_size)

    def process(self, ports: Ports, **options: Any) -> Platform:
        """Return a process's view of the platform."""
        return build(
            ports,
            RouterOptions(platform=self.name, **options),
            observer=self.events.append,
            mailbox_options=MailboxOptions(policy=POLICY, drain=timedelta()),
        )

    def forwarder(self, node: str, ports: Ports | None = None) -> Forwarder:
        return Forwarder(
            NodeId(node),
            ports or self.ports,
            self.platform.burial,
            ack_wait=timedelta(seconds=ACK_WAIT),
            observer=self.events.append,
        )

    def watch_forward(self, *, lose: int = 0) -> list[Sequence[Parcel]]:
        """Return what is tried to forward, as it happens; the first answers get lost."""
        tries: list[Sequence[Parcel]] = []
        real = self.broker.links.forward

        async def forward(node: NodeId, parcels: Sequence[Parcel]) -> list[Stored | CaxtonError]:
            tries.append(parcels)
            results = await real(node, parcels)
            lost: list[Stored | CaxtonError] = [PublishUnconfirmed("lost") for _ in parcels]
            return lost if len(tries) <= lose else results

        self.broker.links.forward = forward  # type: ignore[method-assign]
        return tries

    def lose_once(self, message_id: str) -> None:
        """Have the link drop this message the first time that it gets anything across."""
        real, lost = self.broker.links.forward, False

        async def forward(node: NodeId, parcels: Sequence[Parcel]) -> list[Stored | CaxtonError]:
            nonlocal lost
            if lost or not await self.broker.links.ping(node, wait=timedelta()):
                return await real(node, parcels)
            lost = True
            kept = [one for one in parcels if not one.message_key.endswith(f".{message_id}")]
            results = iter(await real(node, kept))
            return [next(results) if one in kept else StreamMissing("lost") for one in parcels]

        self.broker.links.forward = forward  # type: ignore[method-assign]

    async def service(self, stack: AsyncExitStack, *links: str) -> None:
        """Do in the background what a router service does for the links."""
        await self.ports.routes.follow(self.platform.remote.routes)
        stop = await self.ports.links.answer_pings()
        frontier = Frontier(self.ports, self.platform.remote, self.forwarder)
        ingress = Ingress(
            await self.ports.links.inbound(),
            self.platform.router,
            self.platform.burial,
            self.ports,
            platform=self.name,
            sender_of=self.ports.links.sender,
            policy=POLICY,
            workers=Workers(1, 256),
        )
        watch = LinkWatch(self.ports, self.platform.remote, links)
        stack.push_async_callback(frontier.close)
        for work in (frontier, ingress, watch):
            stack.push_async_callback(end, [asyncio.create_task(work.run())])
        stack.push_async_callback(stop)

    async def send(
        self, sender: AgentId, to: AgentId | tuple[AgentId, ...], **fields: Any
    ) -> Receipt | CaxtonError:
        """Send a message through the platform's own router."""
        receiver = to if isinstance(to, tuple) else (to,)
        envelope = sample(sender=sender, receiver=receiver, **fields)
        (result,) = await self.platform.router.send([Submission(sender=sender, envelope=envelope)])
        return result

    async def mail(self, agent: AgentId) -> list[Envelope]:
        """Take what is in an agent's mailbox."""
        inbox = await self.ports.mailboxes.open(agent)
        found = await inbox.fetch(1000, timedelta())
        return [codec.decode(one.body, max_bytes=2_000_000) for one in found]

    def told(self, action: Action) -> list[str]:
        """Return the ids of the messages that this happened to."""
        return [one.message_id for one in self.events if one.action is action]


class Border:
    """Office and plant."""

    def __init__(self, stack: AsyncExitStack, queue_size: int = 200) -> None:
        self.stack = stack
        self.clock = ManualClock()
        self.office = Side("office", self.clock, queue_size)
        self.plant = Side("plant", self.clock, queue_size)
        self.office.broker.links.join(self.plant.broker.links)

    def cut(self, *, up: bool = False) -> None:
        """Cut the link, or lay it again."""
        self.plant.broker.links.up = up

    async def stop(self, side: Side) -> None:
        """End the side's router service; the other one goes on."""
        await side.stack.aclose()

    async def open(self) -> None:
        """Register alice and bob, run both services, and let each platform find the other."""
        await self.office.platform.registrar.register(ALICE)
        await self.plant.platform.registrar.register(BOB)
        for side, other in ((self.office, "plant"), (self.plant, "office")):
            await self.stack.enter_async_context(side.stack)
            await side.service(side.stack, other)
        await self.clock.advance(1)
