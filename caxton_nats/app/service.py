"""The router service: the request doors, and what a platform has done in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from caxton_nats.app.composition import built, connected, deployed
from caxton_nats.app.links import Work, outer_side
from caxton_nats.app.options import retry_policy, settings
from caxton_nats.config import Settings
from caxton_nats.core.disposition import Nak
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.exhaustion import Exhaustion
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.leftovers import Leftovers
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.sweeper import Sweeper
from caxton_nats.engine.taking import Taking
from caxton_nats.engine.timekeeper import Timekeeper
from caxton_nats.jetstream import subjects, topology
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.doors import Doors
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.ports import Inbox
from caxton_nats.tasks import Workers, end
from caxton_nats.telemetry import Observer, log_event


@asynccontextmanager
async def serve(
    chosen: Settings | None = None, *, observer: Observer = log_event
) -> AsyncIterator[Platform]:
    """Run a router service: the request doors, the ingress, timers, sweeping, the second net.

    Any number may run; they share the work. At the end requests that are in are answered, and what
    was taken up is finished, each within the setting ``drain``.
    """
    chosen = chosen or settings()
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connected(chosen, "caxton router"))
        deployment = await deployed(connection, chosen)
        own = chosen.model_copy(update={"router": "embedded"})
        platform = await stack.enter_async_context(built(connection, deployment, own, observer))
        workers = Workers(chosen.workers, chosen.batch_size)
        inboxes: list[Taking] = []
        background = await _background(connection, platform, chosen, workers, stack, inboxes)
        tasks = [asyncio.create_task(work.run()) for work in background]
        stack.push_async_callback(_finish, inboxes, tasks, chosen.drain)
        doors = Doors(
            connection,
            platform.router,
            platform.registrar,
            platform=platform.name,
            workers=workers,
        )
        await doors.open()
        stack.push_async_callback(doors.close, within=chosen.drain)
        yield platform


async def _background(
    connection: Connection,
    platform: Platform,
    chosen: Settings,
    workers: Workers,
    stack: AsyncExitStack,
    inboxes: list[Taking],
) -> list[Work]:
    def agent_of(subject: str) -> AgentId:
        return subjects.agent_of(subject, platform.name)

    async def reading(stream: str, template: str) -> Inbox:
        config = topology.consumer(template)
        config["ack_wait"] = int(chosen.ack_wait * 1e9)
        inbox = PullInbox(
            connection,
            stream,
            subjects.ROUTER_CONSUMER,
            ensure=partial(topology.ensure_consumer, connection, stream, config),
        )
        await inbox.start()
        return taking(inbox)

    def taking(inbox: Inbox) -> Inbox:
        inboxes.append(Taking(inbox))
        stack.push_async_callback(_give_back, inboxes[-1])
        return inboxes[-1]

    timers = taking(await platform.ports.timers.inbox())
    return [
        *await outer_side(platform, chosen, workers, stack, taking),
        Ingress(
            await reading(subjects.INGRESS_STREAM, "router"),
            platform.router,
            platform.burial,
            platform.ports,
            platform=platform.name,
            sender_of=agent_of,
            policy=retry_policy(chosen),
            workers=workers,
        ),
        Exhaustion(
            await reading(subjects.ADVISORIES_STREAM, "advisories"),
            platform.burial,
            platform.ports,
            receiver_of=agent_of,
        ),
        Timekeeper(timers, platform.ports.clock, platform.when_due),
        platform.monitor,
        platform.sharing,
        Sweeper(platform.ports, platform.registry, platform.burial, policy=retry_policy(chosen)),
        Leftovers(platform.ports, platform.remote),
    ]


async def _finish(
    inboxes: Sequence[Taking], tasks: Sequence[asyncio.Task[None]], within: float
) -> None:
    """Let what was taken up be finished, then end the tasks."""
    stopping = [asyncio.create_task(inbox.stop()) for inbox in inboxes]
    await asyncio.wait(stopping, timeout=within)
    await end([*stopping, *tasks])


async def _give_back(inbox: Inbox) -> None:
    """Close the inbox, and let another router have at once what has not been taken up here."""
    await inbox.settle([(left, Nak(timedelta())) for left in await inbox.close()])
