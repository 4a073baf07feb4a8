"""Bytes of any kind on every subject that we listen to: the next good message is handled.

The bytes are drawn by chance from a seed, with a bias for what begins like headers and is none. Only a reply that looks like an
acknowledgement is not among them: nats-server takes it from no client.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest

from caxton_nats import Agent, app, connect, serve, settings
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.connection import connect as to_server
from caxton_nats.sdk.context import Context
from tests.plugins.eventually import eventually
from tests.plugins.stranger import Stranger, visiting

ROUNDS = 150
"""Messages of each seed on each subject."""
SEEDS = [1, 2]
_BEGINNINGS = [
    *(b"NATS/1.0\r\n", b"NATS/1.0", b"NATS/1.0 ", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 100 Idle"),
    *(b"NATS/1.0\r\nNats-Schedule: @at \xff\r\n", b"NATS/1.0 409 Consumer Deleted\r\n\r\n", b""),
    *(b"NATS/1.0\r\nNats-Last-Consumer: x\r\n", b"NATS/1.0 \xc3\x28\r\n", b"NATS/1.0\r\n:\r\n"),
]
_NO_SUBJECT = bytes(range(33)) + b".*>"
"""What ends a token, or would be refused as a wildcard where one publishes."""


class Target(NamedTuple):
    """Where the bytes go: the beginning of a subject, and whether a token of chance follows."""

    subject: str
    open: bool = True


class Running(NamedTuple):
    """A router service, and bob behind his own router."""

    nats: Connection
    platform: Platform
    service: Platform
    stranger: Stranger
    got: list[Any]

    def targets(self) -> list[Target]:
        """Return all that router and agent listen to, stored or not."""
        doors = ("send", "register", "deregister", "heartbeat", "release", "receipts", "state")
        routers = [platform.ports.peers.own_id for platform in (self.platform, self.service)]
        return [
            *(Target(f"caxton.{door}.") for door in (*doors, "submit", "alive")),
            Target("caxton.mailbox.0.bob", open=False),
            Target("caxton.mailbox.0."),
            Target("caxton.urgent.0.bob", open=False),
            Target("caxton.reader.bob", open=False),
            Target("caxton.reader.bob.urgent", open=False),
            *(Target(f"caxton.router.{router}.") for router in routers),
            Target("caxton.link.ping.caxton."),
            Target("caxton.link.mail.caxton.plant."),
            Target("caxton.due."),
            *(Target(f"$KV.caxton-{bucket}.") for bucket in ("agents", "leases", "routes")),
            Target("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CAXTON_MAILBOX_0.bob", open=False),
        ]

    def inboxes(self) -> list[Target]:
        """Return where answers, acknowledgements, deliveries and changes of buckets arrive."""
        clients = [
            platform.ports.streams._connection.client  # type: ignore[attr-defined]
            for platform in (self.platform, self.service)
        ]
        subjects = [sub.subject for client in clients for sub in client._subs.values()]
        return [
            Target(one.removesuffix("*"), open=one.endswith("*"))
            for one in subjects
            if one.startswith("_INBOX.")
        ]

    async def works(self, word: str) -> None:
        """Send a good message through each way, and see it handled."""
        body = json.dumps({"performative": "inform", "receiver": "bob", "content": word}).encode()
        answer = json.loads(await self.nats.request("caxton.send.ann", body, what="send"))
        assert "error" not in answer, answer
        await self.nats.request(
            "caxton.submit.ann", body.replace(b'"con', b'"reply_with": "s", "con'), what="submit"
        )
        await self.platform.registrar.register(self.platform.agent_id(f"agent-{word}"))
        await eventually(lambda: self.got.count(word) >= 2, what=f"{word} is handled")
        await eventually(
            lambda: self.service.registry.find(self.service.agent_id(f"agent-{word}")) is not None
        )


@pytest.fixture
async def running(embedded_url: str) -> AsyncIterator[Running]:
    chosen = settings(nats_url=embedded_url, shards=1, request_timeout=10, queue_size=100_000)
    got: list[Any] = []
    async with AsyncExitStack() as stack:
        nats = await to_server(embedded_url, name="test", request_timeout=20)
        stack.push_async_callback(nats.close)
        service = await stack.enter_async_context(serve(chosen, observer=lambda _: None))
        platform = await stack.enter_async_context(connect(chosen, observer=lambda _: None))
        bob = Agent("bob")

        @bob.on("inform")
        async def keep(context: Context) -> None:
            got.append(context.content)

        await stack.enter_async_context(app.started(platform, bob))
        stranger = await stack.enter_async_context(visiting(embedded_url))
        yield Running(nats, platform, service, stranger, got)


def some_bytes(chance: random.Random, most: int) -> bytes:
    return chance.randbytes(chance.randrange(most + 1))


def token(chance: random.Random) -> bytes:
    drawn = bytes(one for one in some_bytes(chance, 12) if one not in _NO_SUBJECT)
    odd = chance.choice([b"", b"\x0b", b"\x0c", b"\xff", b"\xc3", b"=ZZ"])
    return drawn + odd + b"y"


def headers(chance: random.Random) -> bytes:
    block = chance.choice(_BEGINNINGS) + some_bytes(chance, 24)
    return block + chance.choice([b"", b"\r\n\r\n"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("which", ["targets", "inboxes"])
async def test_any_bytes(running: Running, seed: int, which: str) -> None:
    """Nobody loses its connection, nobody falls silent, and what is good gets through each time."""
    await running.works("before")
    chance = random.Random(seed)  # noqa: S311 - the same each time
    for number, target in enumerate(getattr(running, which)()):
        for _ in range(ROUNDS):
            subject = target.subject.encode() + (token(chance) if target.open else b"")
            reply = chance.choice([b"", b"to." + token(chance)])
            await running.stranger.publish(
                subject, some_bytes(chance, 40), reply=reply, headers=headers(chance)
            )
        async with asyncio.timeout(60):
            await running.works(f"after-{number}")
    for platform in (running.platform, running.service):
        assert platform.ports.streams.connection().losses == 0
