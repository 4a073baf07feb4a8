"""Listening and posting by the batch, and the same by nats-py's public API."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.errors import ConnectionClosedError, MaxPayloadError

from caxton_nats.jetstream import client as client_module
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.headers import block, parse_block
from caxton_nats.jetstream.wire import BatchParser, Frame, Listener, Post
from tests.plugins.stranger import visiting


class Heard:
    """What a listener has heard."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._more = asyncio.Event()

    def __call__(self, frames: list[Frame]) -> None:
        self.frames += frames
        self._more.set()

    async def until(self, number: int) -> list[Frame]:
        async with asyncio.timeout(10):
            while len(self.frames) < number:
                self._more.clear()
                await self._more.wait()
        return self.frames


@pytest.fixture(params=["by batch", "by the public API"])
async def connection(
    request: pytest.FixtureRequest, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connection]:
    if request.param != "by batch":
        monkeypatch.setattr(client_module, "_KNOWN", "0.")
    connection = await connect(embedded_url, name="test")
    yield connection
    await connection.close()


async def test_all_is_heard_in_order(connection: Connection) -> None:
    """Subject, reply, headers and content come as they were posted, and in that order."""
    heard, headers = Heard(), block({"One": "1", "Two": "zwei: zw\u00f6lf"})
    await connection.client.listen("wire.*", heard)
    posts = [
        Post(f"wire.{n}", b"x" * n, f"to.{n}" if n % 2 else "", headers if n % 3 else b"")
        for n in range(300)
    ]
    await connection.client.post(posts[:200])
    await connection.client.publish("wire.between")
    await connection.client.post(posts[200:])
    frames = await heard.until(301)
    assert frames.pop(200).subject == b"wire.between"
    assert [frame.subject.decode() for frame in frames] == [post.subject for post in posts]
    assert [frame.data for frame in frames] == [post.data for post in posts]
    assert [frame.reply.decode() for frame in frames] == [post.reply for post in posts]
    assert [parse_block(frame.headers) for frame in frames] == [
        parse_block(post.headers) for post in posts
    ]


async def test_long_messages(connection: Connection) -> None:
    """What comes in many reads is one message, and what follows is another."""
    heard = Heard()
    await connection.client.listen("wire.*", heard)
    bodies = [bytes([n]) * 900_000 for n in range(5)]
    await connection.client.post([Post("wire.long", body) for body in bodies])
    assert [frame.data for frame in await heard.until(5)] == bodies


async def test_nothing_is_written_of_what_cannot_be(connection: Connection) -> None:
    """One message that is too large, and none of the batch is written; one subject, the same."""
    heard = Heard()
    await connection.client.listen("wire.*", heard)
    large = Post("wire.large", b"x" * (connection.client.max_payload + 1))
    with pytest.raises(MaxPayloadError):
        await connection.client.post([large, Post("wire.small", b"")])
    for subject in ("", "wire. x", "wire.x\r\nPUB wire.y 0\r\n", "wire.x 3"):
        with pytest.raises(Exception, match=r"subject|Subject"):
            await connection.client.post([Post(subject, b"")])
    await connection.client.post([Post("wire.end", b"")])
    assert [frame.subject for frame in await heard.until(1)] == [b"wire.end"]


async def test_who_stops_hears_no_more(connection: Connection) -> None:
    """After `stop` nothing comes; `drain` comes back after all that was sent before it."""
    one, other, before = Heard(), Heard(), set(connection.client.listeners)
    stopping = await connection.client.listen("wire.*", one)
    draining = await connection.client.listen("wire.*", other)
    await stopping.stop()
    await connection.client.post([Post("wire.x", b"")] * 1000)
    await draining.drain()
    assert (len(one.frames), len(other.frames)) == (0, 1000)
    await connection.client.post([Post("wire.x", b"")])
    await connection.client.flush()
    assert (len(one.frames), len(other.frames)) == (0, 1000)
    assert not connection.client.listeners.keys() - before


async def test_of_a_group_one_hears(connection: Connection) -> None:
    """With a queue, each message goes to one listener."""
    heard = Heard()
    for _ in range(3):
        await connection.client.listen("wire.*", heard, queue="group")
    await connection.client.post([Post("wire.x", b"")] * 30)
    await connection.client.flush()
    assert len(await heard.until(30)) == 30


async def test_a_listener_that_fails(connection: Connection) -> None:
    """Others go on to hear, and so does it."""
    calls: list[int] = []

    def fail(frames: list[Frame]) -> None:
        calls.append(len(frames))
        raise RuntimeError("on purpose")

    heard = Heard()
    await connection.client.listen("wire.*", fail)
    await connection.client.listen("wire.*", heard)
    for number in (1, 2):
        await connection.client.post([Post("wire.x", b"")])
        await heard.until(number)
    await connection.client.flush()
    assert sum(calls) == 2


async def test_subjects_that_are_no_text(connection: Connection, embedded_url: str) -> None:
    """Whatever strangers publish is heard, and what follows."""
    heard = Heard()
    await connection.client.listen("wire.*", heard)
    await connection.client.flush()
    async with visiting(embedded_url) as stranger:
        for subject in (b"wire.\xff", b"wire.a\x0bb", b"wire.a\x0cb", b"wire.a\x00b", b"wire.end"):
            await stranger.publish(
                subject, b"x", reply=b"to.\xfe", headers=b"NATS/1.0 \xff\r\n\r\n"
            )
    frames = await heard.until(5)
    assert frames[-1].subject == b"wire.end"


async def test_a_closed_connection(connection: Connection) -> None:
    """Who posts is told."""
    await connection.close()
    with pytest.raises(ConnectionClosedError):
        await connection.client.post([Post("wire.x", b"")])


class Reader:
    """A client that only takes note of what its parser reads."""

    def __init__(self) -> None:
        self.read: list[Any] = []
        self.listeners = {b"1": Listener(self.read.extend), b"12": Listener(self.read.extend)}

    def heard(self, listener: Listener, frames: list[Frame]) -> None:
        listener.hear(frames)

    async def _process_msg(self, sid: int, *message: Any) -> None:
        self.read.append((sid, *message))

    async def _process_pong(self) -> None:
        self.read.append("pong")

    async def _process_ping(self) -> None:
        self.read.append("ping")


LINES = (
    b"MSG a.b 1 3\r\nabc\r\n"
    b"MSG a.b 1 to.me 0\r\n\r\n"
    b"PING\r\n"
    b"HMSG a.b 12 12 15\r\nNATS/1.0\r\n\r\nxyz\r\n"
    b"MSG a.b 2 to.me 11\r\nMSG 1 1 1\r\n\r\n"
    b"+OK\r\n"
    b"HMSG a.b 1 to.me 12 12\r\nNATS/1.0\r\n\r\n\r\n"
    b"PONG\r\n"
    b"MSG a.b 12 5\r\n\r\n\r\n\r\r\n"
)
READ = [
    Frame(b"a.b", b"", b"", b"abc"),
    Frame(b"a.b", b"to.me", b"", b""),
    "ping",
    Frame(b"a.b", b"", b"NATS/1.0\r\n\r\n", b"xyz"),
    (2, b"a.b", b"to.me", b"MSG 1 1 1\r\n", None),
    Frame(b"a.b", b"to.me", b"NATS/1.0\r\n\r\n", b""),
    "pong",
    Frame(b"a.b", b"", b"", b"\r\n\r\n\r"),
]


@pytest.mark.parametrize("seed", range(50))
async def test_reads_of_any_length(seed: int) -> None:
    """However the server's bytes are cut, they are read as what they are, in their order."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    reader = Reader()
    whatever: Any = reader
    parser = BatchParser(whatever)
    rest = LINES * 3
    while rest:
        size = rng.choice([1, 2, 5, 30, len(rest)])
        await parser.parse(rest[:size])
        rest = rest[size:]
    assert reader.read == READ * 3


async def test_a_new_connection_is_read_from_its_beginning() -> None:
    """What had come of a message on the lost one is forgotten."""
    reader = Reader()
    whatever: Any = reader
    parser = BatchParser(whatever)
    await parser.parse(b"MSG a.b 1 100\r\nabc")
    parser.reset()
    await parser.parse(LINES)
    assert reader.read == READ
