"""A server that answers every pull at once with an error is not asked without end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from nats.aio.msg import Msg

from caxton_nats import Agent, app, connect, serve, settings
from caxton_nats.core.errors import CaxtonError
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.connection import connect as to_server
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.topology import Options
from caxton_nats.tasks import end, forever
from tests.plugins.stranger import visiting

WINDOW = 3.0
"""Seconds for which questions are counted. A slow machine asks less, never more."""
MOST = 6 * WINDOW
"""Questions of one loop: four pulls in a second, and some for the start."""
WAIT = timedelta(seconds=5)
ANSWERS = [
    "503 No Responders",
    "404 Consumer Not Found",
    "404 No Messages",
    "408 Request Timeout",
    "409 Consumer Deleted",
    "409 Leadership Change",
    "409 Server Shutdown",
    "409 Exceeded MaxWaiting",
    "409 Batch Completed",
    "423 Nats-Pin-Id mismatch",
    "500 whatever",
]


@pytest.fixture
async def connection(embedded_url: str) -> AsyncIterator[Connection]:
    connection = await to_server(embedded_url, name="test", request_timeout=10)
    yield connection
    await connection.close()


async def sleep(time: timedelta) -> None:
    await asyncio.sleep(time.total_seconds())


@pytest.mark.parametrize("answer", ANSWERS)
async def test_pulls_are_paced(connection: Connection, embedded_url: str, answer: str) -> None:
    """Whatever the server says, and however quickly."""
    pulls = 0
    async with visiting(embedded_url) as server:

        async def refuse(message: Msg) -> None:
            nonlocal pulls
            pulls += 1
            status = f"NATS/1.0 {answer}\r\n\r\n".encode()
            await server.publish(message.reply.encode(), b"", headers=status)

        await connection.client.subscribe("$JS.API.CONSUMER.MSG.NEXT.FAKE.bob", cb=refuse)
        inbox = PullInbox(connection, "FAKE", "bob")
        await inbox.start()
        fetching = asyncio.create_task(
            forever(
                lambda: inbox.fetch(10, WAIT), what="fetching", expected=CaxtonError, sleep=sleep
            )
        )
        await asyncio.sleep(WINDOW)
        await end([fetching])
        await inbox.close()
    assert 1 <= pulls <= MOST


async def test_every_loop_is_paced(connection: Connection, embedded_url: str) -> None:
    """Streams deleted under a router service and an agent, for all their loops together.

    They are mailboxes (ordinary and urgent), ingress, timers, advisories, links and three mirrors;
    each asks a few times in a second, and says so in the log as often.
    """
    chosen = settings(nats_url=embedded_url, shards=1, request_timeout=10, links="plant")
    async with (
        serve(chosen, observer=lambda _: None),
        connect(chosen, observer=lambda _: None) as platform,
        app.started(platform, Agent("bob")),
    ):
        for config in topology.streams(Options(shards=1)):
            await connection.api(f"STREAM.DELETE.{config['name']}")
        asked: Counter[str] = Counter()

        async def count(message: Msg) -> None:
            asked[".".join(message.subject.split(".")[2:4])] += 1

        await connection.client.subscribe("$JS.API.>", cb=count)
        await asyncio.sleep(WINDOW)
        assert 1 <= asked.total() <= 12 * MOST, asked
        await topology.apply(connection, Options(shards=1))
