"""Nothing that strangers publish ends the reading, and nothing that the server says the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from caxton_nats.jetstream.connection import Connection, connect
from tests.plugins.stranger import Stranger, visiting

SUBJECTS = [b"in.\xff", b"in.a\xc3", b"in.a\x0bb", b"in.a\x0cb", b"in.a\x00b"]
REPLIES = [b"to.\xff", b"to.a\x0bb", b"to.\x0c"]
HEADERS = [
    b"NATS/1.0",
    b"NATS/1.0 \xff\xff\xff\r\n\r\n",
    b"NATS/1.0 503 \xff\r\n\r\n",
    b"NATS/1.0\r\n\xff: \xff\r\n\r\n",
]


@pytest.fixture
async def stranger(embedded_url: str) -> AsyncIterator[Stranger]:
    async with visiting(embedded_url) as stranger:
        yield stranger


@pytest.fixture
async def connection(embedded_url: str) -> AsyncIterator[Connection]:
    connection = await connect(embedded_url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def heard(connection: Connection) -> asyncio.Queue[Msg]:
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    await connection.client.subscribe("in.*", cb=heard.put)
    await connection.client.flush()
    return heard


async def expect(heard: asyncio.Queue[Msg], body: bytes) -> Msg:
    message = await asyncio.wait_for(heard.get(), 10)
    assert message.data == body
    return message


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_subject_that_is_no_text(
    stranger: Stranger, heard: asyncio.Queue[Msg], connection: Connection, subject: bytes
) -> None:
    """The message arrives under another subject, and on the same connection what follows."""
    lost: list[bool] = []
    connection.on_reconnect(lambda: lost.append(True))
    await stranger.publish(subject, b"odd")
    await stranger.publish(b"in.plain", b"plain")
    assert (await expect(heard, b"odd")).subject.startswith("in.")
    assert (await expect(heard, b"plain")).subject == "in.plain"
    assert not lost


@pytest.mark.parametrize("reply", REPLIES)
async def test_reply_that_is_no_text(
    stranger: Stranger, heard: asyncio.Queue[Msg], reply: bytes
) -> None:
    """Who wants the answer where nobody can listen gets none; the message arrives."""
    await stranger.publish(b"in.one", b"odd", reply=reply)
    await stranger.publish(b"in.two", b"plain", reply=b"to.me")
    assert (await expect(heard, b"odd")).reply.startswith("to.")
    assert (await expect(heard, b"plain")).reply == "to.me"


@pytest.mark.parametrize("headers", HEADERS)
async def test_headers_that_are_none(
    stranger: Stranger, heard: asyncio.Queue[Msg], headers: bytes
) -> None:
    """The message arrives, with what can be read of its headers."""
    await stranger.publish(b"in.one", b"odd", headers=headers)
    await stranger.publish(b"in.two", b"plain", headers=b"NATS/1.0\r\nA: b\r\n\r\n")
    await expect(heard, b"odd")
    assert (await expect(heard, b"plain")).headers == {"A": "b"}


async def test_odd_subject_before_much_else(stranger: Stranger, heard: asyncio.Queue[Msg]) -> None:
    """It does not hold up what comes in the same breath: nats-py would wait for more of its line."""
    body = b"x" * 6_000  # more than a line may have
    for subject in (b"in.a\x0bb", b"in.plain"):
        stranger.write(b"PUB %s %d\r\n%s\r\n" % (subject, len(body), body))
    await stranger.publish(b"in.last", b"last")
    for _ in range(2):
        await expect(heard, body)
    await expect(heard, b"last")


async def test_complaint_that_ends_the_connection(
    heard: asyncio.Queue[Msg], connection: Connection
) -> None:
    """A server closes the connection on a subject that is too long for it; ours is opened again."""
    again = asyncio.Event()
    connection.on_reconnect(again.set)
    await connection.client.publish(f"in.{'x' * 5_000}", b"too long")
    await asyncio.wait_for(again.wait(), 10)
    await connection.client.publish("in.short", b"short")
    await expect(heard, b"short")
