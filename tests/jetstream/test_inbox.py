"""Reading while servers, consumers and callers go away; the rest is in tests/conformance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from caxton_nats.core.disposition import Ack, Nak
from caxton_nats.core.errors import StreamMissing, TransportError
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.delivery import handle_of
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.ports import Delivery
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer

LONG = timedelta(seconds=60)
"""Far longer than anything takes: a fetch that waits as long has been forgotten."""
A_MOMENT = timedelta(milliseconds=50)
CONSUMER = {"durable_name": "bob", "ack_policy": "explicit", "max_waiting": 512}


@pytest.fixture
async def server(embedded_server: StartServer) -> EmbeddedServer:
    return await embedded_server()


@pytest.fixture
async def connection(server: EmbeddedServer) -> AsyncIterator[Connection]:
    connection = await connect(server.url, name="test", request_timeout=10)
    config = {"name": "MAIL", "subjects": ["mail.*"], "retention": "workqueue"}
    await connection.api("STREAM.CREATE.MAIL", config)
    await make_consumer(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def inbox(connection: Connection) -> AsyncIterator[PullInbox]:
    inbox = PullInbox(connection, "MAIL", "bob")
    await inbox.start()
    yield inbox
    await inbox.close()


async def make_consumer(connection: Connection) -> None:
    request = {"stream_name": "MAIL", "config": CONSUMER}
    await connection.api("CONSUMER.CREATE.MAIL.bob", request)


async def send(connection: Connection, body: str, **headers: str) -> None:
    """Store one message."""
    await connection.client.jetstream().publish("mail.bob", body.encode(), headers=headers or None)


async def waiting(connection: Connection) -> bool:
    """Whether the server knows of a pull."""
    return bool((await connection.api("CONSUMER.INFO.MAIL.bob"))["num_waiting"])


async def test_a_pull_survives_a_crash_of_the_server(
    server: EmbeddedServer, connection: Connection, inbox: PullInbox
) -> None:
    """It is asked again after the reconnection, not only when the lost one would have ended."""
    fetching = asyncio.create_task(inbox.fetch(10, LONG))
    await eventually(lambda: waiting(connection))
    await server.kill()
    await server.restart()
    await eventually(lambda: connection.is_connected)
    await send(connection, "after")
    async with asyncio.timeout(10):
        (delivery,) = await fetching
    assert delivery.body == b"after"
    await inbox.settle([(delivery, Ack())])


async def test_a_fetch_that_begins_without_a_server_gets_what_comes_later(
    server: EmbeddedServer, connection: Connection, inbox: PullInbox
) -> None:
    """As after a restart of which nobody has told the caller."""
    await send(connection, "before")
    await server.kill()
    await eventually(lambda: not connection.is_connected)
    fetching = asyncio.create_task(inbox.fetch(10, LONG))
    await server.restart()
    async with asyncio.timeout(10):
        (delivery,) = await fetching
    assert (delivery.body, delivery.attempt) == (b"before", 1)


async def test_a_deleted_consumer_is_said_to_whoever_waits(
    connection: Connection, inbox: PullInbox
) -> None:
    """At once, and at the next fetch again; made anew it is read again."""
    fetching = asyncio.create_task(inbox.fetch(10, LONG))
    await eventually(lambda: waiting(connection))
    await connection.api("CONSUMER.DELETE.MAIL.bob")
    async with asyncio.timeout(10):
        with pytest.raises(StreamMissing, match="MAIL bob"):
            await fetching
        with pytest.raises(StreamMissing, match="MAIL bob"):
            await inbox.fetch(10, LONG)
        await make_consumer(connection)
        await send(connection, "again")
        assert [one.body for one in await inbox.fetch(10, LONG)] == [b"again"]


async def test_a_consumer_that_has_no_leader_for_a_while(
    connection: Connection, inbox: PullInbox
) -> None:
    """Nobody answers the pull, and yet the consumer is there: it is pulled from again."""
    fetching = asyncio.create_task(inbox.fetch(10, LONG))
    await eventually(lambda: waiting(connection))
    # What a server says when nobody listens where a pull goes.
    await connection.client.publish(inbox._reply, headers={"Status": "503"})
    await send(connection, "later")
    async with asyncio.timeout(10):
        assert [one.body for one in await fetching] == [b"later"]


async def test_a_deleted_stream_is_said_to_whoever_waits(
    connection: Connection, inbox: PullInbox
) -> None:
    """The consumer went with it."""
    fetching = asyncio.create_task(inbox.fetch(10, LONG))
    await eventually(lambda: waiting(connection))
    await connection.api("STREAM.DELETE.MAIL")
    async with asyncio.timeout(10):
        with pytest.raises(StreamMissing):
            await fetching


@pytest.mark.parametrize("status", ["100", "404", "408", "409", "503"])
async def test_a_forged_status_is_a_message_like_any_other(
    connection: Connection, inbox: PullInbox, status: str
) -> None:
    """Any client may send these headers: they neither end a pull nor make a message vanish."""
    await send(connection, "forged", Status=status, Description="Consumer Deleted", own="kept")
    await send(connection, "honest")
    bodies: list[bytes] = []
    async with asyncio.timeout(10):
        while len(bodies) < 2:
            for delivery in await inbox.fetch(10, LONG):
                bodies.append(delivery.body)
                assert delivery.headers == ({"own": "kept"} if len(bodies) == 1 else {})
                await inbox.settle([(delivery, Ack())])
    assert bodies == [b"forged", b"honest"]
    assert (await connection.api("STREAM.INFO.MAIL"))["state"]["messages"] == 0


async def test_a_fetch_can_be_cancelled_at_any_moment(
    connection: Connection, inbox: PullInbox
) -> None:
    """It ends at once, and what came meanwhile is there for the next one: once, and in order."""
    chance = random.Random(7)  # noqa: S311 - the moments are to be the same each time
    fetched: list[int] = []
    sent = 0
    async with asyncio.timeout(30):
        for _ in range(300):
            fetching = asyncio.create_task(inbox.fetch(chance.randint(1, 5), LONG))
            if chance.random() < 0.5:
                await send(connection, str(sent))
                sent += 1
            for _ in range(chance.randint(0, 20)):
                await asyncio.sleep(0)
            fetching.cancel()
            done, _ = await asyncio.wait([fetching], timeout=2)
            assert done, "the fetch goes on in spite of its cancellation"
            if not fetching.cancelled():
                fetched += [int(one.body) for one in fetching.result()]
        while len(fetched) < sent:
            fetched += [int(one.body) for one in await inbox.fetch(10, LONG)]
    assert fetched == list(range(sent))
    assert await inbox.fetch(10, A_MOMENT) == []


async def test_what_came_and_is_not_fetched_is_kept_too(
    connection: Connection, inbox: PullInbox
) -> None:
    """More may come than the next fetch asks for; that is not handed out a second time."""
    config = {**CONSUMER, "ack_wait": 1_500_000_000}
    await connection.api("CONSUMER.CREATE.MAIL.bob", {"stream_name": "MAIL", "config": config})
    fetching = asyncio.create_task(inbox.fetch(3, LONG))
    await eventually(lambda: waiting(connection))
    await send(connection, "1")
    (first,) = await fetching
    for body in ("2", "3"):
        await send(connection, body)
    await eventually(lambda: len(inbox._buffer) == 2)
    loop = asyncio.get_running_loop()
    end = loop.time() + 4.5

    async def kept_for_three_ack_waits() -> bool:
        await inbox.keep([first])
        return loop.time() > end

    await eventually(kept_for_three_ack_waits)
    info = await connection.api("CONSUMER.INFO.MAIL.bob")
    assert (info["num_redelivered"], info["delivered"]["consumer_seq"]) == (0, 3)
    rest = await inbox.fetch(10, A_MOMENT)
    await inbox.settle([(delivery, Ack()) for delivery in (first, *rest)])
    assert [delivery.body for delivery in rest] == [b"2", b"3"]


async def test_what_went_back_comes_before_what_is_new(
    connection: Connection, inbox: PullInbox
) -> None:
    """A pull sent after `settle` has returned is served first with what was given back.

    Unconfirmed, the naks lose against the pull about every other time.
    """
    await asyncio.gather(*(send(connection, str(number)) for number in range(40)))
    for _ in range(25):
        taken: list[Delivery] = []
        while len(taken) < 20:
            taken += await inbox.fetch(20 - len(taken), LONG)
        assert [one.origin.sequence for one in taken] == list(range(1, 21))
        await inbox.settle([(delivery, Nak(timedelta())) for delivery in taken])


class Loses(PullInbox):
    """An inbox whose connection is lost, with what was just written to it, and is there again."""

    lost = 0

    async def _post(self, answers: Sequence[tuple[Delivery, bytes]]) -> None:
        if answers and self.lost:
            self.lost -= 1
            self._connection.reconnection.losses += 1
            return
        await super()._post(answers)


async def test_a_copy_says_how_the_first_is_settled(connection: Connection) -> None:
    """A server that has forgotten the first delivery heeds the reply subject of the second only."""
    config = {**CONSUMER, "ack_wait": 1_000_000_000}
    await connection.api("CONSUMER.CREATE.MAIL.bob", {"stream_name": "MAIL", "config": config})
    inbox = PullInbox(connection, "MAIL", "bob")
    await inbox.start()
    await send(connection, "m-1")
    (first,) = await inbox.fetch(1, LONG)
    assert inbox._settles(first) == handle_of(first).reply
    (second,) = await inbox.fetch(1, LONG)
    assert second.origin == first.origin
    assert inbox._settles(first) == handle_of(second).reply != handle_of(first).reply
    await inbox.settle([(first, Ack())])
    assert (await connection.api("STREAM.INFO.MAIL"))["state"]["messages"] == 0
    assert not inbox._newest
    await inbox.close()


class Comes(PullInbox):
    """An inbox in which a copy comes while the first delivery is being acknowledged."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, "MAIL", "bob")
        self.acknowledged: list[str] = []

    async def _request(self, delivery: Delivery, answer: bytes) -> None:
        self.acknowledged.append(self._settles(delivery))
        await super()._request(delivery, answer)
        self._newest[delivery.origin] = "$JS.ACK.MAIL.bob.2.1.2.0.0"


async def test_a_copy_that_comes_during_the_ack(connection: Connection) -> None:
    """It is acknowledged, too: the server may have heeded no other."""
    inbox = Comes(connection)
    await inbox.start()
    await send(connection, "m-1")
    (delivery,) = await inbox.fetch(1, LONG)
    await inbox.settle([(delivery, Ack())])
    assert inbox.acknowledged == [handle_of(delivery).reply, "$JS.ACK.MAIL.bob.2.1.2.0.0"]
    await inbox.close()


@pytest.mark.parametrize("lost", [0, 2])
async def test_acks_that_are_lost_with_a_connection(connection: Connection, lost: int) -> None:
    """The last ack confirms the others only if no connection was lost meanwhile."""
    inbox = Loses(connection, "MAIL", "bob")
    await inbox.start()
    for number in range(3):
        await send(connection, f"m-{number}")
    deliveries: list[Delivery] = []
    while len(deliveries) < 3:
        deliveries += await inbox.fetch(3, LONG)
    inbox.lost = lost
    await inbox.settle([(one, Ack()) for one in deliveries])
    state = (await connection.api("STREAM.INFO.MAIL"))["state"]
    assert (state["messages"], inbox.lost) == (0, 0)
    await inbox.close()


async def test_acks_on_a_connection_that_is_lost_each_time(connection: Connection) -> None:
    """In the end it is said that they are not certain."""
    inbox = Loses(connection, "MAIL", "bob")
    await inbox.start()
    await send(connection, "m-1")
    await send(connection, "m-2")
    deliveries: list[Delivery] = []
    while len(deliveries) < 2:
        deliveries += await inbox.fetch(2, LONG)
    inbox.lost = 100
    with pytest.raises(TransportError, match="acks"):
        await inbox.settle([(one, Ack()) for one in deliveries])
    await inbox.close()
