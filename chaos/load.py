"""The load: senders at all three doors, each with several conversations of numbered messages.

A sender gives every message an id of its own and sends what is *unknown* again under the same id,
until it knows: that is all that users have to do, too. The next message of a conversation is sent
when the one before is accepted. The seed decides who writes to whom, what, and when.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from caxton_nats import Agent, CaxtonError, Context, Envelope, connect
from caxton_nats.config import Settings
from caxton_nats.core import codec
from caxton_nats.core.errors import TransportError
from caxton_nats.core.identifiers import AMS, agent_token, local_part
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.connection import connect as connect_nats
from caxton_nats.jetstream.errors import api_error
from chaos.books import Kind, Sent, Task, Told
from chaos.effects import now

DOORS = ("embedded", "service", "submit")
MIX = (
    (Kind.WORK, 66),
    (Kind.ASK, 12),
    (Kind.SLOW, 4),
    (Kind.FLAKY, 7),
    (Kind.POISON, 3),
    (Kind.REJECT, 3),
    (Kind.DEADLINE, 5),
)
"""How many of a hundred messages are what."""
Post = Callable[[Envelope], Awaitable[tuple[str, int] | None]]
"""Returns where the message lies, if that is told."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How heavy the load is."""

    conversations: int = 4
    """Of each sender."""
    pause: float = 0.15
    """Seconds between two messages of a conversation, on average."""
    doors: tuple[str, ...] = DOORS
    mix: tuple[tuple[Kind, int], ...] = MIX
    patience: float = 60.0
    """Seconds after the load in which what is unknown must become known."""
    padding: int = 0
    """Bytes that make each message larger."""


class Load:
    """All senders. `stop` lets each finish what it has begun."""

    def __init__(self, shape: Shape, receivers: Sequence[str], rng: random.Random) -> None:
        self.shape = shape
        self.sent: dict[str, Sent] = {}
        self.told: list[Told] = []
        self.begun = self.ended = 0.0
        self._receivers = receivers
        self._rng = rng
        self._over = asyncio.Event()
        self._talks: list[asyncio.Task[None]] = []

    @property
    def accepted(self) -> int:
        """Return how many receipts the senders hold."""
        return sum(one.accepted is not None for one in self.sent.values())

    def start(self, doors: dict[str, tuple[Agent, Post]]) -> None:
        """Begin to send."""
        self.begun = now()
        for door, (agent, post) in doors.items():
            for number in range(self.shape.conversations):
                rng = random.Random(self._rng.random())
                conversation = f"{door}-{number}"
                talk = self._talk(conversation, rng.choice(self._receivers), agent, post, rng)
                self._talks.append(asyncio.create_task(talk, name=conversation))

    async def stop(self) -> None:
        """Begin no more messages, and wait until the fate of each is known, within the patience."""
        self._over.set()
        self.ended = now()
        _, late = await asyncio.wait(self._talks, timeout=self.shape.patience)
        for talk in late:
            talk.cancel()
        for ended in await asyncio.gather(*self._talks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def hear(self, context: Context) -> None:
        """Take note of what came back to a sender."""
        notice = local_part(context.sender) == AMS
        about = context.envelope.in_reply_to
        self.told.append(Told(now(), about, context.performative, notice))

    async def _talk(
        self, conversation: str, receiver: str, agent: Agent, post: Post, rng: random.Random
    ) -> None:
        number = 0
        kinds, weights = zip(*self.shape.mix, strict=True)
        while not self._over.is_set():
            (kind,) = rng.choices(kinds, weights)
            task = Task(agent.name, conversation, number, kind)
            sent = Sent(task=task, receiver=receiver, begun=now())
            self.sent[task.message_id] = sent
            await self._send(sent, self._message(agent, receiver, task, rng), post)
            number += 1
            await self._pause(rng.expovariate(1 / self.shape.pause))

    def _message(self, agent: Agent, receiver: str, task: Task, rng: random.Random) -> Envelope:
        fields: dict[str, Any] = {}
        if task.kind is Kind.DEADLINE:
            fields["timeout"] = rng.uniform(1.0, 4.0)
        if task.kind is Kind.POISON:
            fields["max_retries"] = 1
        if self.shape.padding:
            fields["user_defined"] = {"X-padding": "x" * self.shape.padding}
        return agent.message(
            "request" if task.kind is Kind.ASK else "inform",
            receiver,
            task,
            message_id=task.message_id,
            conversation_id=task.conversation,
            **fields,
        )

    async def _send(self, sent: Sent, message: Envelope, post: Post) -> None:
        """Send until it is known what became of it."""
        while True:
            try:
                sent.stored = await post(message)
            except CaxtonError as error:
                if error.code not in sent.errors:
                    sent.errors.append(error.code)
                if not error.transient:
                    sent.refused = f"{error.code}: {error}"
                    return
                sent.unknown += isinstance(error, TransportError)
                # Not by the seed: how often something fails is not the seed's affair.
                wait = error.retry_after or random.uniform(0.05, 0.3)
                await asyncio.sleep(min(wait, 1.0))
            else:
                sent.accepted = now()
                return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, 2.0)):
                await self._over.wait()
        except TimeoutError:
            pass


@asynccontextmanager
async def doors(load: Load, chosen: Settings) -> AsyncIterator[dict[str, tuple[Agent, Post]]]:
    """Open the doors of the load: an agent of its own at each, on a connection of its own."""
    async with AsyncExitStack() as stack:
        opened: dict[str, tuple[Agent, Post]] = {}
        for door in load.shape.doors:
            kind = "service" if door == "service" else "embedded"
            there = chosen.model_copy(update={"router": kind})
            platform = await stack.enter_async_context(
                connect(there, name=f"sender at {door}", observer=lambda _: None)
            )
            agent = Agent(f"sender-{door}")
            agent.on("*")(_hearing(load))
            await agent.start(platform)
            stack.push_async_callback(agent.stop)
            post = _through(agent)
            if door == "submit":
                connection = await connect_nats(
                    chosen.nats_url, name="submitter", request_timeout=chosen.request_timeout
                )
                stack.push_async_callback(connection.close)
                post = _submitting(connection, agent)
            opened[door] = agent, post
        yield opened


def _hearing(load: Load) -> Callable[[Context], Coroutine[Any, Any, None]]:
    async def hear(context: Context) -> None:
        load.hear(context)

    return hear


def _through(agent: Agent) -> Post:
    async def post(message: Envelope) -> tuple[str, int]:
        (result,) = await agent.send_many([message])
        if isinstance(result, CaxtonError):
            raise result
        (outcome,) = result.outcomes
        if outcome.error is not None:
            raise outcome.error
        return outcome.stream, outcome.sequence

    return post


def _submitting(connection: Connection, agent: Agent) -> Post:
    subject = f"{subjects.SUBMIT}.{agent_token(agent.id)}"

    async def post(message: Envelope) -> None:
        answer = await connection.request(subject, codec.encode(message), what="submit")
        told = msgspec.json.decode(answer)
        if "error" in told:
            error = told["error"]
            raise api_error(error.get("err_code", 0), error.get("description", ""), "submit")

    return post
