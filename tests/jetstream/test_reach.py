"""When a server is left through which nothing gets done, and that another is taken then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from caxton_nats.core.errors import CaxtonError, PublishUnconfirmed
from caxton_nats.jetstream import connection as connection_module
from caxton_nats.jetstream import reach
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.client import AttentiveClient
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.reach import PATIENCE, REST, Reach
from caxton_nats.ports import Stored
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer
from tests.plugins.unfit_servers import without_jetstream

LONG = 60.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.moves = 0
        self.reach = Reach(self._move, lambda: self.now)

    def _move(self) -> None:
        self.moves += 1

    def fail(self, after: float) -> int:
        """Let something that began now fail after so many seconds; return the moves so far."""
        began = self.now
        self.now += after
        self.reach.unconfirmed(began)
        return self.moves


def test_one_failure_is_none() -> None:
    """Who is told at once that there is nobody stays: it may be this one stream."""
    assert Clock().fail(after=0.0) == 0


def test_nothing_for_a_while() -> None:
    """Failures that span the patience are a reason to move, however they are made up."""
    clock = Clock()
    assert clock.fail(after=PATIENCE / 2) == 0
    assert clock.fail(after=PATIENCE / 2) == 1
    assert Clock().fail(after=PATIENCE) == 1


def test_a_confirmation_in_between() -> None:
    """Whatever is confirmed begins the time anew."""
    clock = Clock()
    clock.fail(after=PATIENCE / 2)
    clock.reach.confirmed()
    assert clock.fail(after=PATIENCE / 2) == 0


def test_rest_between_two_moves() -> None:
    """A cluster without a leader is not searched up and down."""
    clock = Clock()
    assert clock.fail(after=PATIENCE) == 1
    assert clock.fail(after=PATIENCE) == 1
    assert clock.fail(after=REST) == 2


@pytest.fixture
async def two(embedded_server: StartServer) -> AsyncIterator[Connection]:
    """Yield a connection to either of two servers that know nothing of each other."""
    one, other = await embedded_server(), await embedded_server()
    connection = await connect(f"{one.url},{other.url}", name="test", request_timeout=LONG)
    yield connection
    await connection.close()


def where(connection: Connection) -> object:
    """Return the server that there is a connection to now."""
    return connection.client.is_connected and connection.client.connected_url


async def moved(connection: Connection, leave: Callable[[], object]) -> None:
    """Have it leave, and wait until it is connected elsewhere."""
    before = where(connection)
    leave()
    await eventually(lambda: where(connection) not in (False, before))


async def test_the_server_that_was_left_comes_last(two: Connection) -> None:
    """nats-py shuffles: one time in two it would take up again with the server that was lost."""
    for _ in range(5):
        await moved(two, lambda: asyncio.ensure_future(two.client.force_reconnect()))


async def test_a_server_through_which_nothing_is_stored(
    two: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client goes to another server by itself, and what it had to store is stored there."""
    monkeypatch.setattr(reach, "PATIENCE", 0.2)
    publisher = JetStreamPublisher(two, queue_size=1)
    await publisher.start()
    here = where(two)
    await moved(two, lambda: asyncio.ensure_future(two.client.force_reconnect()))
    # The stream is on this server only; then back to the one that has none.
    await two.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
    await moved(two, lambda: asyncio.ensure_future(two.client.force_reconnect()))
    assert where(two) == here
    post = Post("s", b"", {"Nats-Msg-Id": "m-1"})
    results: list[Stored | CaxtonError] = []

    async def stored() -> bool:
        results[:] = await publisher.store([post])
        return isinstance(results[0], Stored)

    await eventually(stored)
    assert where(two) != here


async def test_what_waits_for_its_acknowledgement(two: Connection) -> None:
    """It is published again at once on the new connection, not when its time has run out."""
    publisher = JetStreamPublisher(two, queue_size=1)
    await publisher.start()
    heard: list[bytes] = []

    async def hear(message: object) -> None:
        heard.append(bytes(getattr(message, "data", b"")))

    await two.client.subscribe("s", cb=hear)  # Somebody listens, and nobody answers.
    storing = asyncio.create_task(publisher.store([Post("s", b"x", {})]))
    await eventually(lambda: heard == [b"x"])
    await moved(two, lambda: asyncio.ensure_future(two.client.force_reconnect()))
    await eventually(lambda: heard == [b"x", b"x"])
    storing.cancel()
    await asyncio.gather(storing, return_exceptions=True)


async def test_a_question_that_got_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that goes takes questions along: what may be asked twice is, and nothing else is."""
    monkeypatch.setattr(connection_module, "ASK_AGAIN", 0.1)
    asked: list[str] = []

    async def forgetful(message: Msg) -> None:
        asked.append(message.subject.removeprefix("$JS.API."))
        if asked.count(asked[-1]) == 2:
            await message.respond(b'{"config":{}}')

    async with without_jetstream(tmp_path) as url:
        server = await nats.connect(url)
        await server.subscribe("$JS.API.>", cb=forgetful)
        client = AttentiveClient()
        await client.connect(url)
        asking = Connection(client, timeout=1.0)
        assert await asking.api("STREAM.INFO.S") == {"config": {}}
        with pytest.raises(PublishUnconfirmed):
            await asking.api("STREAM.DELETE.S")
        assert asked == ["STREAM.INFO.S", "STREAM.INFO.S", "STREAM.DELETE.S"]
        await asking.close()
        await server.close()
