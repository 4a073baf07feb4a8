"""A process of the model: its own platform over its own wire, and every task that it has begun.

Killed, it ends at once wherever it is: its tasks are cancelled, and nothing that they still try
comes through the wire. What lies with the broker stays.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from caxton_nats.app.composition import at_work
from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.engine.exhaustion import Exhaustion
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.platform import Platform, build
from caxton_nats.engine.sweeper import Sweeper
from caxton_nats.engine.timekeeper import Timekeeper
from caxton_nats.ports import Ports
from caxton_nats.sdk.agent import Agent
from caxton_nats.tasks import Workers
from tests.model.ground import Ground
from tests.model.reference import Reference
from tests.model.wire import Wire, WiredInbox

_OWNER: contextvars.ContextVar[Process | None] = contextvars.ContextVar("owner", default=None)


def factory(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **named: Any
) -> asyncio.Task[Any]:
    """Make a task that belongs to the process whose code asks for it."""
    task = asyncio.Task(work, loop=loop, **named)
    context = named.get("context")
    owner = context.get(_OWNER) if context is not None else _OWNER.get()
    if owner is not None:
        owner.tasks.add(task)
        if owner.dead:
            task.cancel()
        task.add_done_callback(owner.tasks.discard)
    return task


class Process:
    """One process: a platform, and what runs on it."""

    def __init__(self, name: str, ground: Ground, reference: Reference, random: Random) -> None:
        self.name = name
        self.tasks: set[asyncio.Task[Any]] = set()
        self.wire = Wire(name, reference, random, self.kill)
        self.wire.scale = ground.scale
        self.agent: Agent | None = None
        self.platform: Platform
        self._ground = ground
        self._reference = reference
        self._ports: Ports
        self._opened = AsyncExitStack()
        self._closing: asyncio.Task[None] | None = None
        self._context = self.wire.context
        self._context.run(_OWNER.set, self)

    @property
    def dead(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.wire.cut

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have the process do something."""
        return asyncio.get_running_loop().create_task(work, context=self._context)

    async def open(self, *, serves: bool = False) -> None:
        """Connect, and be a router among the others; with a service, do its work, too."""
        self._ports = await self._opened.enter_async_context(self._ground.connect())
        self.platform = build(
            self.wire.ports(self._ports),
            self._ground.router,
            observer=lambda _: None,
            mailbox_options=self._ground.mailbox,
        )
        ready = asyncio.get_running_loop().create_future()
        self.begin(self._work(ready, serves=serves))
        await ready

    async def _work(self, ready: asyncio.Future[None], *, serves: bool) -> None:
        try:
            async with at_work(self.platform):
                if serves:
                    await self._serve()
                ready.set_result(None)
                await asyncio.Event().wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            if not ready.done():
                ready.set_result(None)

    async def _serve(self) -> None:
        platform, ground = self.platform, self._ground
        policy: RetryPolicy = ground.mailbox.policy
        ingress, advisories = await ground.ingress(), await ground.advisories()
        timers = await platform.ports.timers.inbox()
        for work in (
            Ingress(
                WiredInbox(ingress, self.wire),
                platform.router,
                platform.burial,
                platform.ports,
                platform=platform.name,
                sender_of=ground.agent_of,
                policy=policy,
                workers=Workers(2, 8),
            ),
            Exhaustion(
                WiredInbox(advisories, self.wire),
                platform.burial,
                platform.ports,
                receiver_of=ground.agent_of,
            ),
            Timekeeper(timers, platform.ports.clock, platform.when_due),
            Sweeper(platform.ports, platform.registry, platform.burial, policy=policy),
        ):
            self.begin(work.run())

    def kill(self) -> None:
        """End here and now."""
        if self.dead:
            return
        self.wire.cut = True
        self._reference.ended(self.name)
        for task in tuple(self.tasks):
            task.cancel()
        # Not one of its tasks: whoever calls may be one.
        loop = asyncio.get_running_loop()
        self._closing = loop.create_task(self._forget(), context=contextvars.Context())

    async def close(self) -> None:
        """End it, and return when nothing of it is left."""
        self.kill()
        if self._closing is not None:
            await self._closing

    async def _forget(self) -> None:
        """Let the broker notice."""
        tasks = {task for task in self.tasks if not task.done()}
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for inbox in self.wire.inboxes:
            await inbox.forget()
        for instance in self.wire.instances:
            await self._ports.leases.fall_silent(instance)
        await self._ports.peers.leave()
        await self._opened.aclose()
