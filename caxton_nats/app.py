"""The composition root: adapters, engine and settings meet here and nowhere else.

The real clock and the real ids are made here, too, so that everything below can be given others.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from caxton_nats.config import Settings as Settings  # noqa: PLC0414 - re-exported by the package
from caxton_nats.config import from_environment
from caxton_nats.core.disposition import Nak, RetryPolicy
from caxton_nats.core.errors import ConfigurationError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.validation import Limits
from caxton_nats.engine.exhaustion import Exhaustion
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.platform import Platform, build
from caxton_nats.engine.receiver import MailboxOptions
from caxton_nats.engine.router import RouterOptions
from caxton_nats.jetstream import subjects, topology
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.connection import connect as connect_nats
from caxton_nats.jetstream.dead_letters import DlqStream
from caxton_nats.jetstream.doors import Doors
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.mailboxes import ConsumerOptions, JetStreamMailboxes
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.service_client import ServiceClient
from caxton_nats.jetstream.stores import (
    KvAttempts,
    KvConversationStore,
    KvRegistryStore,
    ObjectContentStore,
)
from caxton_nats.ports import Inbox, Ports
from caxton_nats.sdk.agent import Agent
from caxton_nats.tasks import end
from caxton_nats.telemetry import Observer, log_event

RESERVE = 16_384
"""Bytes kept free of each message for headers, and for a dead letter's record around it."""


class SystemClock:
    """Time of this machine."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def chance(self) -> float:
        """Return a random number in 0..1."""
        return random.random()  # noqa: S311 - jitter, not a secret

    async def sleep(self, delay: timedelta) -> None:
        """Wait."""
        await asyncio.sleep(delay.total_seconds())


class RandomIds:
    """Ids that nobody can guess: 122 random bits."""

    def new_id(self) -> str:
        """Return a UUID, version 4."""
        return str(uuid.uuid4())


def settings(**chosen: object) -> Settings:
    """Return the settings of this process: code, then ``CAXTON_*`` variables, then defaults."""
    return from_environment(os.environ, **chosen)


def topology_options(chosen: Settings) -> topology.Options:
    """Return what the settings say of the topology."""
    return topology.Options(
        platform=chosen.platform,
        shards=chosen.shards,
        queue_size=chosen.queue_size,
        replicas=chosen.replicas,
        duplicate_window=chosen.duplicate_window,
    )


def retry_policy(chosen: Settings) -> RetryPolicy:
    """Return what the settings say of retries."""
    return RetryPolicy(
        max_retries=chosen.max_retries,
        delay=timedelta(seconds=chosen.retry_delay),
        factor=chosen.retry_factor,
        max_delay=timedelta(seconds=chosen.retry_max_delay),
    )


def router_options(chosen: Settings, platform: str, queue_size: int) -> RouterOptions:
    """Return what the settings say of routing, on a deployment with this name and bound."""
    limits = Limits(
        max_content=chosen.max_content,
        max_receivers=chosen.max_receivers,
        max_participants=chosen.max_participants,
    )
    return RouterOptions(platform=platform, limits=limits, queue_size=queue_size)


def mailbox_options(chosen: Settings) -> MailboxOptions:
    """Return what the settings say of taking mail."""
    return MailboxOptions(
        policy=retry_policy(chosen),
        concurrency=chosen.concurrency,
        ack_wait=timedelta(seconds=chosen.ack_wait),
        drain=timedelta(seconds=chosen.drain),
    )


@asynccontextmanager
async def connect(
    chosen: Settings | None = None,
    *,
    name: str = "caxton",
    observer: Observer = log_event,
    create: bool = True,
) -> AsyncIterator[Platform]:
    """Connect to the platform on a NATS server, making its topology if there is none yet.

    Args:
        chosen: settings; by default those of `settings`.
        name: shown by the server's monitoring.
        observer: is told of every outcome; by default they are logged.
        create: whether to make the topology; without it, a server that has none is refused.

    Raises:
        NotConnected: nobody listens there.
        ConfigurationError: the server is too old, has JetStream off, or holds foreign streams.
    """
    chosen = chosen or settings()
    async with _connected(chosen, name) as connection:
        deployment = await _deployment(connection, chosen, create=create)
        async with _platform(connection, deployment, chosen, observer) as platform:
            yield platform


@asynccontextmanager
async def serve(
    chosen: Settings | None = None, *, observer: Observer = log_event
) -> AsyncIterator[Platform]:
    """Run a router service: the request doors, the ingress, and the second net for dead letters.

    Any number may run; they share the work. At the end requests that are in are answered.
    """
    chosen = chosen or settings()
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(_connected(chosen, "caxton router"))
        deployment = await _deployment(connection, chosen)
        platform = await stack.enter_async_context(
            _platform(
                connection, deployment, chosen.model_copy(update={"router": "embedded"}), observer
            )
        )
        for work in await _background(connection, platform, chosen, stack):
            stack.push_async_callback(end, [asyncio.create_task(work.run())])
        doors = Doors(connection, platform.router, platform.registrar, platform=platform.name)
        await doors.open()
        stack.push_async_callback(doors.close)
        yield platform


@asynccontextmanager
async def operate(chosen: Settings | None = None) -> AsyncIterator[tuple[Connection, Settings]]:
    """Connect for topology work only: nothing is created, nothing is required to exist."""
    chosen = chosen or settings()
    async with _connected(chosen, "caxton topology") as connection:
        yield connection, chosen


@asynccontextmanager
async def _connected(chosen: Settings, name: str) -> AsyncIterator[Connection]:
    connection = await connect_nats(
        chosen.nats_url, name=name, request_timeout=chosen.request_timeout
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _deployment(
    connection: Connection, chosen: Settings, *, create: bool = True
) -> topology.Deployment:
    deployment = await topology.discover(connection)
    if deployment is None and not create:
        raise ConfigurationError(
            "this server has no caxton platform on it",
            field="nats_url",
            hint="`caxton topology apply` makes one, and `caxton up` does with a router",
        )
    if deployment is None:
        await topology.apply(connection, topology_options(chosen))
        deployment = await topology.discover(connection)
    if deployment is None:
        raise ConfigurationError(
            "the topology was applied and is not there",
            hint="is somebody deleting streams? see `nats stream ls`",
        )
    return deployment


@asynccontextmanager
async def _platform(
    connection: Connection,
    deployment: topology.Deployment,
    chosen: Settings,
    observer: Observer,
) -> AsyncIterator[Platform]:
    publisher = JetStreamPublisher(connection, queue_size=deployment.queue_size)
    await publisher.start()
    registry_store = KvRegistryStore(connection, publisher, deployment.platform)
    mailboxes = JetStreamMailboxes(
        connection, deployment, ConsumerOptions(chosen.ack_wait, chosen.max_deliver)
    )
    ports = Ports(
        publisher=publisher,
        mailboxes=mailboxes,
        dead_letters=DlqStream(connection, publisher, deployment.platform),
        registry_store=registry_store,
        conversations=KvConversationStore(connection, publisher),
        contents=ObjectContentStore(connection),
        attempts=KvAttempts(connection, publisher),
        clock=SystemClock(),
        ids=RandomIds(),
    )
    max_body = connection.max_payload - RESERVE
    service = None
    if chosen.router == "service":
        service = ServiceClient(
            connection, ports.contents, platform=deployment.platform, max_body=max_body
        )
    options = router_options(chosen, deployment.platform, deployment.queue_size)
    platform = build(
        ports,
        msgspec.structs.replace(options, max_body=max_body),
        observer=observer,
        mailbox_options=mailbox_options(chosen),
        door=service,
        registrar=service,
    )
    await registry_store.follow(platform.registry)
    try:
        yield platform
    finally:
        await registry_store.stop()


async def _background(
    connection: Connection, platform: Platform, chosen: Settings, stack: AsyncExitStack
) -> list[Ingress | Exhaustion]:
    def agent_of(subject: str) -> AgentId:
        return subjects.agent_of(subject, platform.name)

    inboxes = {}
    for stream, template in (
        (subjects.INGRESS_STREAM, "router"),
        (subjects.ADVISORIES_STREAM, "advisories"),
    ):
        config = topology.consumer(template)
        config["ack_wait"] = int(chosen.ack_wait * 1e9)
        await topology.ensure_consumer(connection, stream, config)
        inbox = PullInbox(connection, stream, subjects.ROUTER_CONSUMER)
        await inbox.start()
        stack.push_async_callback(_give_back, inbox)
        inboxes[stream] = inbox
    return [
        Ingress(
            inboxes[subjects.INGRESS_STREAM],
            platform.router,
            platform.burial,
            platform.ports,
            platform=platform.name,
            sender_of=agent_of,
            policy=retry_policy(chosen),
        ),
        Exhaustion(
            inboxes[subjects.ADVISORIES_STREAM],
            platform.burial,
            platform.ports,
            receiver_of=agent_of,
        ),
    ]


async def _give_back(inbox: Inbox) -> None:
    """Close the inbox, and let another router have at once what has not been taken up here."""
    await inbox.settle([(left, Nak(timedelta())) for left in await inbox.close()])


@asynccontextmanager
async def started(platform: Platform, *agents: Agent) -> AsyncIterator[None]:
    """Start the agents on the platform, and stop them at the end."""
    async with AsyncExitStack() as stack:
        for agent in agents:
            await agent.start(platform)
            stack.push_async_callback(agent.stop)
        yield


def run(*agents: Agent, **chosen: object) -> None:
    """Run agents until Ctrl-C or SIGTERM, then let their handlers finish.

    Args:
        agents: share one connection.
        chosen: settings by name, for example ``nats_url="nats://127.0.0.1:4222"``.
    """
    asyncio.run(_run(agents, settings(**chosen)))


async def _run(agents: Sequence[Agent], chosen: Settings) -> None:
    names = ", ".join(agent.name for agent in agents)
    async with connect(chosen, name=names) as platform, started(platform, *agents):
        await interrupted()


async def interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
