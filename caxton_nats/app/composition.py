"""The composition root: adapters, engine and settings meet here and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from caxton_nats.app.clock import RandomIds, SystemClock
from caxton_nats.app.options import mailbox_options, router_options, settings, topology_options
from caxton_nats.config import Settings
from caxton_nats.core.errors import ConfigurationError
from caxton_nats.engine.platform import Platform, build
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.adapter import open_ports
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.connection import connect as connect_nats
from caxton_nats.jetstream.mailboxes import ConsumerOptions
from caxton_nats.jetstream.service_client import ServiceClient
from caxton_nats.telemetry import Observer, log_event

RESERVE = 16_384
"""Bytes kept free of each message for headers, and for a dead letter's record around it."""


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
    async with connected(chosen, name) as connection:
        deployment = await deployed(connection, chosen, create=create)
        async with built(connection, deployment, chosen, observer) as platform:
            yield platform


@asynccontextmanager
async def operate(chosen: Settings | None = None) -> AsyncIterator[tuple[Connection, Settings]]:
    """Connect for topology work only: nothing is created, nothing is required to exist."""
    chosen = chosen or settings()
    async with connected(chosen, "caxton topology") as connection:
        yield connection, chosen


@asynccontextmanager
async def connected(chosen: Settings, name: str) -> AsyncIterator[Connection]:
    """Yield a connection to the server of the settings."""
    connection = await connect_nats(
        chosen.nats_url, name=name, request_timeout=chosen.request_timeout
    )
    try:
        yield connection
    finally:
        await connection.close()


async def deployed(
    connection: Connection, chosen: Settings, *, create: bool = True
) -> topology.Deployment:
    """Return the deployment on the server, made first if there is none."""
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
async def built(
    connection: Connection,
    deployment: topology.Deployment,
    chosen: Settings,
    observer: Observer,
) -> AsyncIterator[Platform]:
    """Build the engine over JetStream; a process that routes is one of the platform's routers."""
    adapter = open_ports(
        connection,
        deployment,
        ConsumerOptions(chosen.ack_wait, chosen.max_deliver),
        clock=SystemClock(),
        ids=RandomIds(),
        window=chosen.publish_window,
    )
    max_body = connection.max_payload - RESERVE
    async with adapter as ports:
        service = None
        if chosen.router == "service":
            service = ServiceClient(
                connection, ports.contents, platform=deployment.platform, max_body=max_body
            )
        options = router_options(
            chosen,
            deployment.platform,
            deployment.queue_size,
            deployment.terms,
            deployment.rate_limit,
        )
        platform = build(
            ports,
            msgspec.structs.replace(options, max_body=max_body),
            observer=observer,
            mailbox_options=mailbox_options(chosen),
            door=service,
            registrar=service,
        )
        async with at_work(platform):
            yield platform


@asynccontextmanager
async def at_work(platform: Platform) -> AsyncIterator[None]:
    """Keep current who is registered and who runs; be a router among the others if it routes."""
    ports = platform.ports
    if platform.routes:
        # First of all: a change of the registry that is not in the state below is told to us.
        await ports.peers.join(platform.answers)
    try:
        await ports.registry_store.follow(platform.registry)
        await ports.leases.follow(platform.health)
        await ports.breakers.follow(platform.health.breakers)
        await ports.routes.follow(platform.remote.routes)
        yield
    finally:
        platform.monitor.close()
        if platform.routes:
            await ports.peers.leave()
