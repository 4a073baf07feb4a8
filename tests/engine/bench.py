"""A platform in memory whose time the test moves, and ports that fail on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec

from caxton_nats.core.codec import encode
from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import NotConnected
from caxton_nats.core.identifiers import AgentId, agent_from_token
from caxton_nats.engine.dispatch import message_key
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.mailbox import Mailbox
from caxton_nats.engine.platform import Platform, build
from caxton_nats.engine.receiver import MailboxOptions
from caxton_nats.engine.router import RouterOptions
from caxton_nats.memory import MemoryBroker
from caxton_nats.ports import Letter, Ports, Stored
from caxton_nats.tasks import Workers
from caxton_nats.telemetry import Action, Event, Observer
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.plugins.clock import ManualClock

ACK_WAIT = 30.0
POLICY = RetryPolicy(max_retries=3, delay=timedelta(seconds=1), factor=2.0)


class CountingIds:
    """Ids in order."""

    def __init__(self) -> None:
        self._last = 0

    def new_id(self) -> str:
        self._last += 1
        return f"id-{self._last}"


class After(Exception):
    """The call is done, and then its caller gets this error: an answer that was lost."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Failing:
    """A port of which the first calls of some methods fail, one for each error in the plan.

    None in a plan lets one call pass. An inbox that it opens fails by the same plans.
    """

    def __init__(self, real: Any, **plans: list[Exception | None]) -> None:
        self._real = real
        self._plans = plans
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real) or name in ("address", "connection"):
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            plan = self._plans.get(name)
            error = plan.pop(0) if plan else None
            if error is not None and not isinstance(error, After):
                raise error
            result = await real(*arguments, **named)
            if isinstance(error, After):
                raise error.error
            return Failing(result, **self._plans) if name == "open" else result

        return call


class Process:
    """Ports as one process has them: once it is dead, it neither calls nor hears of anything."""

    def __init__(self, ports: Ports) -> None:
        self.dead = False
        self._buried = asyncio.Event()
        names = set(ports.__struct_fields__) - {"clock", "ids"}
        shared = {name: _Severed(getattr(ports, name), self) for name in names}
        self.ports = msgspec.structs.replace(ports, **shared)

    async def die(self) -> None:
        """Come to a standstill, whoever calls."""
        self.dead = True
        await self._buried.wait()
        raise NotConnected("the process is dead")

    def bury(self) -> None:
        """Let what is left of the process be cleared away."""
        self.dead = True
        self._buried.set()


class _Severed:
    def __init__(self, real: Any, process: Process) -> None:
        self._real = real
        self._process = process

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name == "address":
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            if self._process.dead:
                await self._process.die()
            result = await real(*arguments, **named)
            return _Severed(result, self._process) if name == "open" else result

        return call


class Mortal:
    """A port whose process dies before or after a call of one method."""

    def __init__(self, real: Any, process: Process, method: str, number: int, when: str) -> None:
        self._real = real
        self._process = process
        self._method = method
        self._when = when
        self._left = [number]

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real) or name == "address":
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            last = False
            if name == self._method:
                self._left[0] -= 1
                last = self._left[0] == 0
            if last and self._when == "before":
                await self._process.die()
            result = await real(*arguments, **named)
            if last:
                await self._process.die()
            if name == "open":
                result = Mortal(result, self._process, self._method, 0, self._when)
                result._left = self._left
            return result

        return call


class Recorder:
    """A receiver that notes what it gets and when, and does what the test says."""

    def __init__(
        self, clock: ManualClock, does: Callable[[Envelope, int], Awaitable[None]] | None = None
    ) -> None:
        self._clock = clock
        self._does = does
        self.calls: list[tuple[str, int, float]] = []
        """Message id, attempt, seconds since the beginning."""
        self.done: list[str] = []
        self.contents: list[bytes] = []
        self.awaited: set[str] = set()
        self.answers: dict[str, Sequence[Envelope]] = {}
        """What it answers, by message id."""

    @property
    def ids(self) -> list[str]:
        return [message_id for message_id, _, _ in self.calls]

    async def receive(self, envelope: Envelope, attempt: int) -> Sequence[Envelope]:
        self.calls.append((envelope.message_id, attempt, self._clock.seconds))
        self.contents.append(bytes(envelope.content))
        if self._does is not None:
            await self._does(envelope, attempt)
        self.done.append(envelope.message_id)
        return self.answers.get(envelope.message_id, ())

    def expects(self, envelope: Envelope) -> bool:
        return envelope.message_id in self.awaited

    def waits(self) -> bool:
        return bool(self.awaited)


class Bench:
    """One broker, its clock, and what was told of the messages' ways."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.clock = ManualClock()
        self.broker = MemoryBroker(
            self.clock, shards=2, ack_wait=timedelta(seconds=ACK_WAIT), max_deliver=100
        )
        self.events: list[Event] = []
        self.ports = self.broker.ports(CountingIds())

    def platform(
        self,
        ports: Ports | None = None,
        *,
        router: RouterOptions | None = None,
        observer: Observer | None = None,
        **options: Any,
    ) -> Platform:
        """Return a process's view of the broker."""
        chosen = {
            "policy": POLICY,
            "ack_wait": timedelta(seconds=ACK_WAIT),
            "drain": timedelta(),
            **options,
        }
        return build(
            ports or self.ports,
            router or RouterOptions(platform="here"),
            observer=observer or self.events.append,
            mailbox_options=MailboxOptions(**chosen),
        )

    def at_the_end(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call this when the test has ended."""
        self._stack.push_async_callback(call)

    def but(self, **changed: Any) -> Ports:
        """Return the ports with these in place of the broker's own."""
        return msgspec.structs.replace(self.ports, **changed)

    async def known(self, platform: Platform, *agents: AgentId) -> Platform:
        """Register the agents (alice, bob and carol) and have the platform know them."""
        for agent in agents or (ALICE, BOB, CAROL):
            await platform.registrar.register(agent)
        return platform

    def ingress(
        self,
        platform: Platform,
        *,
        inbox: Any = None,
        door: Any = None,
        workers: Workers | None = None,
    ) -> Ingress:
        """Return what works off the store-and-forward door, by the platform's router."""
        return Ingress(
            inbox or self.broker.ingress,
            door or platform.router,
            platform.burial,
            platform.ports,
            platform="here",
            sender_of=lambda subject: agent_from_token(subject.rsplit(".", 1)[-1], "here"),
            policy=POLICY,
            workers=workers or Workers(1, 256),
        )

    def open(
        self,
        receiver: Recorder,
        ports: Ports | None = None,
        *,
        platform: Platform | None = None,
        process: Process | None = None,
        **options: Any,
    ) -> Mailbox:
        """Open bob's mailbox until the test ends."""
        platform = platform or self.platform(process.ports if process else ports, **options)
        mailbox = platform.mailbox(BOB, receiver)
        mailbox.start()
        self._stack.push_async_callback(mailbox.drain)
        if process is not None:
            self._stack.callback(process.bury)
        return mailbox

    async def post(self, message_id: str, **fields: Any) -> Stored:
        """Store a message in bob's mailbox, past the router."""
        envelope = sample(message_id=message_id, **fields)
        return await self.put(encode(envelope), message_key(envelope, BOB))

    async def put(self, body: bytes, key: str) -> Stored:
        """Store bytes in bob's mailbox."""
        letter = Letter(BOB, self.broker.mailboxes.address(BOB), key, body)
        (stored,) = await self.broker.publisher.publish([letter])
        assert isinstance(stored, Stored)
        return stored

    async def pending(self) -> int:
        """Return what bob's mailbox holds, in flight or not."""
        return (await self.broker.mailboxes.status(BOB)).pending

    async def dead(self) -> list[DeadLetter]:
        """Return the dead letters, the newest first."""
        return await self.broker.dead_letters.list()

    def told(self, action: Action) -> list[str]:
        """Return the ids of the messages that this happened to."""
        return [one.message_id for one in self.events if one.action is action]
