"""What the model stands on: a broker, and the settings of everybody over it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from caxton_nats.core.conversation import Terms
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.identifiers import AgentId, agent_from_token
from caxton_nats.engine.receiver import MailboxOptions
from caxton_nats.engine.router import RouterOptions
from caxton_nats.memory import MemoryBroker
from caxton_nats.memory.mail import MemoryInbox
from caxton_nats.memory.work_queue import Message, Stream
from caxton_nats.memory.work_queue import Rules as QueueRules
from caxton_nats.ports import Inbox, Ports
from tests.model.records import Rules
from tests.model.virtual_loop import START, LoopClock

PLATFORM = "here"
ACK_WAIT = 10.0


class Ground(Protocol):
    """One broker, empty at the beginning."""

    rules: Rules
    scale: float
    """Seconds that a second of the schedule takes."""
    router: RouterOptions
    mailbox: MailboxOptions

    def now(self) -> float:
        """Return the seconds since the beginning."""

    def seconds(self, moment: object) -> float:
        """Return a moment as seconds since the beginning."""

    def moment(self, seconds: float) -> datetime:
        """Return the moment in so many of the schedule's seconds."""

    async def sleep(self, seconds: float) -> None:
        """Let so many of the schedule's seconds pass."""

    def connect(self) -> AbstractAsyncContextManager[Ports]:
        """Yield the ports of one more process."""

    async def ingress(self) -> Inbox:
        """Return what was submitted, for reading."""

    async def advisories(self) -> Inbox:
        """Return what the broker has given up, for reading."""

    async def submit(self, sender: AgentId, body: bytes) -> None:
        """Store a message for the router service."""

    async def last(self) -> dict[str, int]:
        """Return the last sequence of each mailbox stream."""

    async def pending(self) -> set[Origin]:
        """Return what lies in mailboxes."""

    async def submitted(self) -> int:
        """Return how many messages wait at the submit door."""

    def agent_of(self, subject: str) -> AgentId:
        """Return whose mail lies on a subject, or who has sent on it."""


class _Ids:
    def __init__(self) -> None:
        self._last = 0

    def new_id(self) -> str:
        self._last += 1
        return f"id-{self._last}"


class MemoryGround:
    """The broker in memory, on the loop's virtual time."""

    def __init__(self, seed: int, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.scale = 1.0
        self._clock = LoopClock(seed)
        self._ids = _Ids()
        self.router = RouterOptions(
            platform=PLATFORM,
            queue_size=self.rules.queue_size,
            terms=Terms(
                timeout=timedelta(seconds=self.rules.conversation_timeout),
                lifetime=timedelta(seconds=self.rules.conversation_lifetime),
            ),
        )
        self.mailbox = MailboxOptions(
            policy=RetryPolicy(max_retries=self.rules.max_retries, delay=timedelta(seconds=1)),
            concurrency=3,
            ack_wait=timedelta(seconds=ACK_WAIT),
            drain=timedelta(seconds=2),
            breaker_threshold=0,
        )
        self.broker = MemoryBroker(
            self._clock,
            platform=PLATFORM,
            shards=2,
            queue_size=self.rules.queue_size,
            ack_wait=timedelta(seconds=ACK_WAIT),
            max_deliver=7,
            duplicate_window=timedelta(seconds=self.rules.duplicate_window),
        )
        endless = QueueRules(10_000, timedelta(), timedelta(seconds=ACK_WAIT), 10_000)
        self._advisories = Stream("CAXTON_ADVISORIES", endless, [])
        self._telling: asyncio.Task[None] | None = None

    def now(self) -> float:
        # As the clock has it, which counts in microseconds.
        return round(asyncio.get_running_loop().time(), 6)

    def seconds(self, moment: object) -> float:
        assert isinstance(moment, datetime)
        return (moment - START).total_seconds()

    def moment(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Ports]:
        yield self.broker.ports(self._ids)

    async def ingress(self) -> Inbox:
        return MemoryInbox(self.broker._ingress.queue("router"), self._clock)

    async def advisories(self) -> Inbox:
        if self._telling is None:
            # Not a task of the process that asks: it goes on when that has ended.
            loop = asyncio.get_running_loop()
            self._telling = loop.create_task(self._tell(), context=contextvars.Context())
        return MemoryInbox(self._advisories.queue("router"), self._clock)

    async def _tell(self) -> None:
        """Do what the server does: say once of each message that it is given up."""
        while True:
            for one in self.broker.exhausted:
                told = {
                    "stream": one.origin.stream,
                    "stream_seq": one.origin.sequence,
                    "deliveries": one.deliveries,
                }
                message = Message(
                    origin=Origin("", 0),
                    agent=AgentId(""),
                    subject="$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES",
                    body=msgspec.json.encode(told),
                    headers={},
                    stored_at=self._clock.now(),
                )
                self._advisories.store("router", message, "")
            self.broker.exhausted.clear()
            await asyncio.sleep(0.5)

    async def submit(self, sender: AgentId, body: bytes) -> None:
        await self.broker.submit(sender, body)

    async def last(self) -> dict[str, int]:
        return {one.name: one.last_sequence for one in self._streams()}

    async def pending(self) -> set[Origin]:
        return {
            message.origin
            for stream in self._streams()
            for queue in stream.queues.values()
            for message in queue.messages.values()
        }

    async def submitted(self) -> int:
        return len(self.broker._ingress.queue("router").messages)

    def agent_of(self, subject: str) -> AgentId:
        return agent_from_token(subject.rsplit(".", 1)[-1], PLATFORM)

    def _streams(self) -> list[Stream]:
        return list(self.broker.mailboxes._streams.values())  # type: ignore[attr-defined]
