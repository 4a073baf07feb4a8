"""Agents on a platform in memory."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from caxton_nats.app import started
from caxton_nats.config import Settings
from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.engine.platform import Platform
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action, Event
from caxton_nats.testing import memory_platform
from tests.plugins.eventually import eventually

QUICK: dict[str, Any] = {"platform": "here", "shards": 2, "retry_delay": 0.1, "drain": 0}


class Stage:
    """One platform, its agents, and what was told of their messages."""

    def __init__(self, stack: AsyncExitStack, events: list[Event], platform: Platform) -> None:
        self._stack = stack
        self.events = events
        self.platform = platform

    @staticmethod
    async def open(stack: AsyncExitStack, **chosen: Any) -> Stage:
        """Open the platform until the test ends."""
        events: list[Event] = []
        platform = await stack.enter_async_context(
            memory_platform(Settings(**{**QUICK, **chosen}), observer=events.append)
        )
        return Stage(stack, events, platform)

    async def start(self, agent: Agent) -> Agent:
        """Start the agent until the test ends."""
        await self._stack.enter_async_context(started(self.platform, agent))
        return agent

    async def agent(self, name: str = "alice") -> Agent:
        """Return a started agent without handlers."""
        return await self.start(Agent(name))

    async def collector(self, name: str = "alice") -> Collector:
        """Return a started agent that keeps what it gets."""
        collector = Collector(name)
        await self.start(collector)
        return collector

    async def quiet(self) -> None:
        """Wait until no mailbox holds anything."""

        async def empty() -> bool:
            return not await self.platform.ports.mailboxes.pending()

        await eventually(empty, what="all mail is settled")

    async def dead(self) -> list[DeadLetter]:
        """Return the dead letters, the newest first."""
        return await self.platform.ports.dead_letters.list()

    def count(self, action: Action) -> int:
        """Return how often that happened."""
        return sum(one.action is action for one in self.events)


class Collector(Agent):
    """An agent that keeps every message it gets."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.got: list[Context] = []
        self.on("*")(self._keep)

    @property
    def acts(self) -> list[str]:
        """What came, by performative."""
        return [context.performative for context in self.got]

    async def _keep(self, context: Context) -> None:
        self.got.append(context)
