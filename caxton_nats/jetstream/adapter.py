"""All ports over JetStream, on one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caxton_nats.jetstream.breakers import KvBreakerStore
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.conversations import KvConversationArchive, KvConversationStore
from caxton_nats.jetstream.dead_letters import DlqStream
from caxton_nats.jetstream.decisions import KvDecisions
from caxton_nats.jetstream.effects import KvLedgers, KvOutboxes
from caxton_nats.jetstream.leases import KvLeases
from caxton_nats.jetstream.links import NatsLinks
from caxton_nats.jetstream.mailboxes import ConsumerOptions, JetStreamMailboxes
from caxton_nats.jetstream.peers import NatsPeers
from caxton_nats.jetstream.publisher import WINDOW, JetStreamPublisher
from caxton_nats.jetstream.receipts import KvReceiptStore
from caxton_nats.jetstream.stores import (
    KvAttempts,
    KvRegistryStore,
    KvRouteStore,
    ObjectContentStore,
)
from caxton_nats.jetstream.stream_states import StreamStates
from caxton_nats.jetstream.timers import ScheduledTimers
from caxton_nats.jetstream.topology import Deployment
from caxton_nats.ports import Clock, Ids, Ports


@asynccontextmanager
async def open_ports(
    connection: Connection,
    deployment: Deployment,
    options: ConsumerOptions,
    *,
    clock: Clock,
    ids: Ids,
    window: int = WINDOW,
) -> AsyncIterator[Ports]:
    """Yield the ports; what they do in the background ends with the body.

    Args:
        connection: to the server; all ports share it.
        deployment: what the deployment there says of itself.
        options: of the consumers that are made.
        clock: the time.
        ids: fresh ids.
        window: messages that wait for their PubAck at most.
    """
    publisher = JetStreamPublisher(connection, queue_size=deployment.queue_size, window=window)
    await publisher.start()
    registry_store = KvRegistryStore(connection, publisher, deployment.platform)
    leases = KvLeases(connection, publisher, deployment.platform)
    breakers = KvBreakerStore(connection, publisher, deployment.platform)
    routes = KvRouteStore(connection, publisher)
    streams = StreamStates(connection, deployment, publisher.marks)
    streams.start()
    try:
        yield Ports(
            publisher=publisher,
            mailboxes=JetStreamMailboxes(connection, deployment, options),
            dead_letters=DlqStream(connection, publisher, deployment.platform),
            registry_store=registry_store,
            leases=leases,
            breakers=breakers,
            decisions=KvDecisions(connection, publisher),
            conversations=KvConversationStore(connection, publisher),
            archive=KvConversationArchive(connection, publisher),
            contents=ObjectContentStore(connection),
            receipts=KvReceiptStore(connection, publisher, deployment.platform),
            attempts=KvAttempts(connection, publisher),
            ledgers=KvLedgers(connection, publisher),
            outboxes=KvOutboxes(connection, publisher),
            timers=ScheduledTimers(connection, publisher, options),
            streams=streams,
            peers=NatsPeers(connection, publisher, own_id=ids.new_id()),
            routes=routes,
            links=NatsLinks(connection, deployment.platform, options),
            clock=clock,
            ids=ids,
        )
    finally:
        await streams.stop()
        await registry_store.stop()
        await leases.stop()
        await breakers.stop()
        await routes.stop()
