"""What the conformance suite needs of an adapter, and how each adapter is made.

To add one: write an async context manager that yields an `Adapter` over *empty* state with the
limits given, and enter it in `ADAPTERS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.app import RandomIds
from caxton_nats.core.identifiers import AgentId, agent_id, agent_token
from caxton_nats.jetstream import client, subjects, topology
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.adapter import open_ports
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.mailboxes import ConsumerOptions
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.memory import MemoryBroker
from caxton_nats.ports import Inbox, Letter, Ports, Stored
from tests.plugins.clock import RealClock
from tests.plugins.deployments import deploy

PLATFORM = "here"
Another = Callable[[], AbstractAsyncContextManager[Ports]]
Submit = Callable[[AgentId, bytes, Mapping[str, str]], Awaitable[Stored]]
A_MOMENT = timedelta(milliseconds=50)
LONG = timedelta(seconds=20)
"""Far longer than anything takes: a test that waits as long has found something missing."""


class Limits(msgspec.Struct, frozen=True):
    """What every adapter is configured with, small enough to be reached by a test."""

    queue_size: int = 20
    max_deliver: int = 3
    ack_wait: timedelta = timedelta(seconds=1)
    duplicate_window: timedelta = timedelta(seconds=2)


class Adapter:
    """The ports of one adapter, and short ways to use them."""

    def __init__(
        self, ports: Ports, limits: Limits, ingress: Inbox, submit: Submit, another: Another
    ) -> None:
        self.ports = ports
        self.limits = limits
        self.ingress = ingress
        self.submit = submit
        """Store bytes for the router, as an agent that knows nothing but NATS would."""
        self.another = another
        """Open the ports once more, as another process would."""
        self.publisher = ports.publisher
        self.mailboxes = ports.mailboxes
        self.dead_letters = ports.dead_letters
        self.registry_store = ports.registry_store
        self.leases = ports.leases
        self.breakers = ports.breakers
        self.decisions = ports.decisions
        self.conversations = ports.conversations
        self.archive = ports.archive
        self.contents = ports.contents
        self.receipts = ports.receipts
        self.attempts = ports.attempts
        self.ledgers = ports.ledgers
        self.outboxes = ports.outboxes
        self.timers = ports.timers
        self.streams = ports.streams
        self.peers = ports.peers
        self.routes = ports.routes
        self.links = ports.links
        self.clock = ports.clock

    def letter(
        self,
        receiver: AgentId,
        key: str,
        body: bytes = b"{}",
        headers: Mapping[str, str] | None = None,
    ) -> Letter:
        """Return a letter to the receiver's mailbox."""
        return Letter(receiver, self.mailboxes.address(receiver), key, body, headers or {})

    async def send(self, receiver: AgentId, *keys: str) -> list[Stored]:
        """Store one letter per key, its body being the key, and insist on success."""
        results = await self.publisher.publish(
            [self.letter(receiver, key, key.encode()) for key in keys]
        )
        stored = [result for result in results if isinstance(result, Stored)]
        assert len(stored) == len(keys), results
        return stored

    async def reader(self, agent: AgentId) -> Inbox:
        """Return an open inbox of the agent."""
        await self.mailboxes.ensure(agent)
        return await self.mailboxes.open(agent)


def named(name: str) -> AgentId:
    """Return the identifier of an agent of the tests' platform."""
    return agent_id(name, PLATFORM)


@asynccontextmanager
async def memory(_url: str, limits: Limits) -> AsyncIterator[Adapter]:
    """Yield the adapter in memory."""
    clock = RealClock()
    broker = MemoryBroker(
        clock,
        shards=4,
        queue_size=limits.queue_size,
        ack_wait=limits.ack_wait,
        max_deliver=limits.max_deliver,
        duplicate_window=limits.duplicate_window,
    )

    @asynccontextmanager
    async def another() -> AsyncIterator[Ports]:
        yield broker.ports(RandomIds())

    yield Adapter(broker.ports(RandomIds()), limits, broker.ingress, broker.submit, another)


@asynccontextmanager
async def jetstream(url: str, limits: Limits) -> AsyncIterator[Adapter]:
    """Yield the adapter over the embedded server, with all streams made anew."""
    connection = await connect(url, name="conformance")
    try:
        options = topology.Options(
            platform=PLATFORM,
            shards=4,
            queue_size=limits.queue_size,
            duplicate_window=limits.duplicate_window.total_seconds(),
        )
        deployment = await deploy(connection, options)
        async with _over(connection, deployment, limits) as adapter:
            yield adapter
    finally:
        await connection.close()


@asynccontextmanager
async def _over(
    connection: Connection, deployment: topology.Deployment, limits: Limits
) -> AsyncIterator[Adapter]:
    consumer = topology.consumer("router")
    consumer["ack_wait"] = int(limits.ack_wait.total_seconds() * 1e9)
    await topology.ensure_consumer(connection, subjects.INGRESS_STREAM, consumer)
    ingress = PullInbox(connection, subjects.INGRESS_STREAM, subjects.ROUTER_CONSUMER)
    await ingress.start()
    publisher = JetStreamPublisher(connection, queue_size=deployment.queue_size)
    await publisher.start()

    async def submit(agent: AgentId, body: bytes, headers: Mapping[str, str]) -> Stored:
        return await publisher.store_one(
            Post(f"{subjects.SUBMIT}.{agent_token(agent)}", body, headers)
        )

    options = ConsumerOptions(limits.ack_wait.total_seconds(), limits.max_deliver)

    def another() -> AbstractAsyncContextManager[Ports]:
        return open_ports(connection, deployment, options, clock=RealClock(), ids=RandomIds())

    async with another() as ports:
        yield Adapter(ports, limits, ingress, submit, another)


@asynccontextmanager
async def by_the_public_api(url: str, limits: Limits) -> AsyncIterator[Adapter]:
    """Yield the same as with a version of nats-py that we do not know inside."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(client, "_KNOWN", "0.")
        async with jetstream(url, limits) as adapter:
            yield adapter


Factory = Callable[[str, Limits], AbstractAsyncContextManager[Adapter]]

ADAPTERS: dict[str, Factory] = {
    "memory": memory,
    "jetstream": jetstream,
    "public-api": by_the_public_api,
}
ON_SERVER = ADAPTERS.keys() - {"memory"}
"""Which of them get the URL of a server."""
