"""Agents at work: on a platform, and until they are told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from caxton_nats.app.composition import connect
from caxton_nats.app.options import settings
from caxton_nats.config import Settings
from caxton_nats.engine.platform import Platform
from caxton_nats.sdk.agent import Agent
from caxton_nats.tasks import end


@asynccontextmanager
async def started(platform: Platform, *agents: Agent) -> AsyncIterator[None]:
    """Start the agents on the platform, and stop them at the end, all at the same time."""
    begun: list[Agent] = []
    try:
        for agent in agents:
            await agent.start(platform)
            begun.append(agent)
        yield
    finally:
        async with asyncio.TaskGroup() as stopping:
            for agent in begun:
                stopping.create_task(agent.stop())


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


async def dismissed() -> None:
    """Wait for Ctrl-C or SIGTERM, or for the end of the input: whoever started this is gone."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ends: list[asyncio.Task[Any]] = [
        asyncio.create_task(interrupted()),
        asyncio.create_task(reader.read()),
    ]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await end(ends)
