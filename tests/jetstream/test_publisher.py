"""Publishing while a server dies and comes back; the rest is in tests/conformance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from caxton_nats.core.errors import ConfigurationError, PublishUnconfirmed, StreamMissing
from caxton_nats.jetstream import direct
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.wire import Frame
from caxton_nats.ports import Stored
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer

COUNT = 5000


@pytest.fixture
async def server(embedded_server: StartServer) -> EmbeddedServer:
    return await embedded_server()


@pytest.fixture
async def connection(server: EmbeddedServer) -> AsyncIterator[Connection]:
    connection = await connect(server.url, name="test", request_timeout=10)
    config = {"name": "MAIL", "subjects": ["mail.*"], "max_msg_size": 10_000, "allow_direct": True}
    await connection.api("STREAM.CREATE.MAIL", config)
    yield connection
    await connection.close()


@pytest.fixture
async def publisher(connection: Connection) -> JetStreamPublisher:
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    return publisher


def post(number: int, subject: str = "mail.bob") -> Post:
    return Post(subject, str(number).encode(), {"Nats-Msg-Id": f"m-{number}"})


class CountingPublisher(JetStreamPublisher):
    acked = 0

    def _hear(self, frames: list[Frame]) -> None:
        self.acked += len(frames)
        super()._hear(frames)


async def test_a_batch_survives_a_crash_of_the_server(
    server: EmbeddedServer, connection: Connection
) -> None:
    """Killed in its middle: every message is stored exactly once, every result is in its place."""
    publisher = CountingPublisher(connection, queue_size=1)
    await publisher.start()
    batches = [range(start, start + 100) for start in range(0, COUNT, 100)]
    storing = [asyncio.create_task(publisher.store([post(n) for n in one])) for one in batches[:25]]
    await eventually(lambda: publisher.acked > 0)
    # However fast the first half was, the second one is under way when the server dies.
    storing += [
        asyncio.create_task(publisher.store([post(n) for n in one])) for one in batches[25:]
    ]
    await server.kill()
    await server.restart()
    results = [result for batch in await asyncio.gather(*storing) for result in batch]
    told = {one.sequence: number for number, one in enumerate(results) if isinstance(one, Stored)}
    assert len(told) == COUNT, [one for one in results if not isinstance(one, Stored)][:3]
    assert told == await stored(connection)


async def stored(connection: Connection) -> dict[int, int]:
    """Return the number in every message of the stream by its sequence."""
    found: dict[int, int] = {}
    while True:
        start = max(found, default=0) + 1
        request = {"seq": start, "next_by_subj": "mail.*", "batch": direct.BATCH}
        page = await direct.batch(connection, "MAIL", request)
        found |= {one.sequence: int(one.body) for one in page}
        if len(page) < direct.BATCH:
            return found


async def test_without_a_stream_nothing_is_stored(publisher: JetStreamPublisher) -> None:
    """The error says that no stream takes it; a stream that is made meanwhile is used."""
    (result,) = await publisher.store([post(1, "nobody.takes.this")])
    assert isinstance(result, StreamMissing)
    with pytest.raises(StreamMissing):
        await publisher.store_one(post(1, "nobody.takes.this"))


async def test_a_stream_that_comes_back_is_tried_again(
    connection: Connection, publisher: JetStreamPublisher
) -> None:
    """A missing stream may be one that has no leader yet: it is waited for, shortly."""
    storing = asyncio.create_task(publisher.store_one(post(1, "late.bob")))
    await asyncio.sleep(0)
    await connection.api("STREAM.CREATE.LATE", {"name": "LATE", "subjects": ["late.*"]})
    assert (await storing).stream == "LATE"


async def test_what_can_never_be_stored_is_not_tried_again(
    connection: Connection, publisher: JetStreamPublisher
) -> None:
    """Too large for the stream, and too large for the server: an error at once, for it alone."""
    large = Post("mail.bob", b"x" * 20_000, {"Nats-Msg-Id": "large"})
    huge = Post("mail.bob", b"x" * (connection.max_payload + 1), {"Nats-Msg-Id": "huge"})
    first, *refused, last = await publisher.store([post(1), large, huge, post(2)])
    assert isinstance(first, Stored)
    assert [type(one) for one in refused] == [ConfigurationError] * 2
    assert isinstance(last, Stored)


async def test_an_answer_that_is_no_ack_leaves_it_unknown(
    connection: Connection, publisher: JetStreamPublisher
) -> None:
    """Somebody else listens on the subject and answers what is not JSON, or not even text."""
    answers = iter([b"thanks", b"\xff", b'"\xff"', b"[]"])

    async def answer(message: object) -> None:
        await message.respond(next(answers))  # type: ignore[attr-defined]

    await connection.client.subscribe("strange", cb=answer)
    (result,) = await publisher.store([post(1, "strange")])
    assert isinstance(result, PublishUnconfirmed)
    assert "could not be read" in result.reason
    assert next(answers, None) is None


async def test_ids_are_never_the_same(
    connection: Connection, publisher: JetStreamPublisher
) -> None:
    """Neither of one publisher, nor of two that share a connection."""
    other = JetStreamPublisher(connection, queue_size=1)
    ids = [one.new_id() for one in (publisher, other) for _ in range(10)]
    assert len(set(ids)) == 20


async def test_no_more_is_on_its_way_than_the_window(connection: Connection) -> None:
    """Who has more waits for acks: of one batch and of several; and none is lost or changed."""
    arrived: list[Msg] = []

    async def keep(message: Msg) -> None:
        arrived.append(message)

    await connection.client.subscribe("slow", cb=keep)
    publisher = JetStreamPublisher(connection, queue_size=1, window=3)
    await publisher.start()
    storing = [
        asyncio.create_task(publisher.store([post(n, "slow") for n in batch]))
        for batch in (range(5), range(5, 7), range(7, 9))
    ]
    answered = 0
    while answered < 9:
        await eventually(lambda: bool(arrived[answered:]))  # noqa: B023 - awaited at once
        await connection.client.flush()
        waiting = arrived[answered:]
        assert len(waiting) <= 3
        for message in waiting:
            answered += 1
            await message.respond(b'{"stream": "SLOW", "seq": %d}' % answered)
    results = [result for batch in await asyncio.gather(*storing) for result in batch]
    assert sorted(one.sequence for one in results if isinstance(one, Stored)) == list(range(1, 10))
    assert sorted(int(message.data) for message in arrived) == list(range(9))


async def test_who_is_cancelled_leaves_room(connection: Connection) -> None:
    """In the middle of waiting for it, or with messages on their way."""
    publisher = JetStreamPublisher(connection, queue_size=1, window=2)
    await publisher.start()
    await connection.client.subscribe("silent")
    storing = [
        asyncio.create_task(publisher.store([post(n, "silent") for n in range(2)]))
        for _ in range(3)
    ]
    await eventually(lambda: [one.left for one in publisher._batches.values()] == [2])
    for one in reversed(storing):
        one.cancel()
    await asyncio.wait(storing)
    results = await publisher.store([post(n) for n in range(5)])
    assert [one.sequence for one in results if isinstance(one, Stored)] == [1, 2, 3, 4, 5]
