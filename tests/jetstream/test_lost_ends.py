"""A stream that loses its end: it is noticed, and nobody settles a message for another."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from caxton_nats.core.disposition import Ack, Nak
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import Address
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.marks import Marks
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.stream_states import StreamStates
from caxton_nats.ports import Delivery, Letter
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer

STREAM = "CAXTON_MAILBOX_0"
SUBJECT = "caxton.mailbox.0.bob"
LONG = timedelta(seconds=20)


@pytest.fixture
async def server(embedded_server: StartServer) -> EmbeddedServer:
    return await embedded_server()


@pytest.fixture
async def connection(server: EmbeddedServer) -> AsyncIterator[Connection]:
    connection = await connect(server.url, name="test", request_timeout=10)
    await topology.apply(connection, topology.Options(shards=1))
    consumer: dict[str, object] = {
        "durable_name": "bob",
        "ack_policy": "explicit",
        "filter_subject": SUBJECT,
    }
    # The server may take the new message for the old one, and deliver it after this long only.
    consumer["ack_wait"] = 500_000_000
    where = f"CONSUMER.CREATE.{STREAM}.bob.{SUBJECT}"
    await connection.api(where, {"stream_name": STREAM, "config": {"name": "bob", **consumer}})
    yield connection
    await connection.close()


@pytest.fixture
async def publisher(connection: Connection) -> JetStreamPublisher:
    publisher = JetStreamPublisher(connection, queue_size=100)
    await publisher.start()
    return publisher


@pytest.fixture
async def states(
    connection: Connection, publisher: JetStreamPublisher
) -> AsyncIterator[StreamStates]:
    deployment = await topology.discover(connection)
    assert deployment is not None
    states = StreamStates(connection, deployment, publisher.marks)
    states.start()
    yield states
    await states.stop()


async def store(publisher: JetStreamPublisher, *bodies: str) -> list[int]:
    """Store letters, and return their numbers."""
    address = Address(stream=STREAM, subject=SUBJECT, consumer="bob")
    letters = [Letter(AgentId("bob@caxton"), address, one, one.encode()) for one in bodies]
    results = await publisher.publish(letters)
    return [getattr(one, "sequence", 0) for one in results]


async def crash(server: EmbeddedServer, connection: Connection, *, lose: bool) -> None:
    """Kill the server, cut all of the stream's file off if it is to be lost, and start it again."""
    losses = connection.losses
    await server.kill()
    for file in server.folder.path.rglob(f"{STREAM}/msgs/*.blk"):
        if lose:
            os.truncate(file, 0)
    await server.restart()
    await eventually(lambda: connection.losses > losses and connection.is_connected)


async def gone(states: StreamStates) -> tuple[int, int] | None:
    (found,) = [one.gone for one in await states.states() if one.name == STREAM]
    return found


async def bodies(connection: Connection) -> list[str]:
    """Return what a new reader of the mailbox gets."""
    inbox = PullInbox(connection, STREAM, "bob")
    await inbox.start()
    found = await inbox.fetch(10, LONG)
    await inbox.settle([(one, Nak(timedelta())) for one in found])
    await inbox.close()
    return [one.body.decode() for one in found]


async def in_hand(connection: Connection) -> tuple[PullInbox, list[Delivery]]:
    inbox = PullInbox(connection, STREAM, "bob")
    await inbox.start()
    return inbox, await inbox.fetch(10, LONG)


@pytest.mark.parametrize("way", [Ack(), Nak(timedelta())])
async def test_what_has_another_number_now_is_not_settled(
    server: EmbeddedServer,
    connection: Connection,
    publisher: JetStreamPublisher,
    way: Ack | Nak,
) -> None:
    """A delivery from before the loss has the number of a message that came after it."""
    assert await store(publisher, "old") == [1]
    inbox, held = await in_hand(connection)
    await crash(server, connection, lose=True)
    assert await store(publisher, "new") == [1]
    await inbox.settle([(one, way) for one in held])
    await inbox.close()
    assert await bodies(connection) == ["new"]


async def test_what_outlived_the_server_is_settled(
    server: EmbeddedServer, connection: Connection, publisher: JetStreamPublisher
) -> None:
    """A server that has lost nothing takes the acknowledgement as before."""
    await store(publisher, "old")
    inbox, held = await in_hand(connection)
    losses = connection.losses
    # Politely: killed, it may have forgotten that it delivered anything.
    await server.restart()
    await eventually(lambda: connection.losses > losses and connection.is_connected)
    await inbox.settle([(one, Ack()) for one in held])
    await inbox.close()
    info = await connection.api(f"STREAM.INFO.{STREAM}")
    assert info["state"]["messages"] == 0


async def test_what_is_not_stored_any_more_needs_no_settling(
    server: EmbeddedServer, connection: Connection, publisher: JetStreamPublisher
) -> None:
    """It was settled, or is lost: either way there is nothing to do, and nothing fails."""
    await store(publisher, "old")
    inbox, held = await in_hand(connection)
    await crash(server, connection, lose=True)
    await inbox.settle([(one, Ack()) for one in held])
    await inbox.close()


async def test_the_loss_is_told(
    server: EmbeddedServer,
    connection: Connection,
    publisher: JetStreamPublisher,
    states: StreamStates,
) -> None:
    """Which numbers are gone, also after they were given to others, and nothing before."""
    await store(publisher, "1", "2", "3")
    assert await gone(states) is None
    await crash(server, connection, lose=False)
    assert await gone(states) is None
    await crash(server, connection, lose=True)
    await eventually(lambda: publisher.marks.taken()[STREAM] == 0, what="it looks by itself")
    assert await gone(states) == (1, 3)
    assert await store(publisher, "4", "5", "6", "7") == [1, 2, 3, 4]
    assert await gone(states) == (1, 3)


def test_a_number_that_is_given_out_again() -> None:
    """New mail may hide that a stream has lost its end; its acknowledgements tell."""
    marks = Marks()
    for sequence in range(1, 11):
        marks.acknowledged("S", sequence, duplicate=False)
    marks.reconnected()
    marks.acknowledged("S", 4, duplicate=True)
    assert marks.compare("S", 10, marks.taken()) is None, "a duplicate has its old number"
    marks.acknowledged("S", 11, duplicate=False)
    assert marks.compare("S", 11, marks.taken()) is None
    marks.reconnected()
    for sequence in (8, 9, 10, 11, 12):
        marks.acknowledged("S", sequence, duplicate=False)
    assert marks.compare("S", 12, marks.taken()) == (8, 11)
    assert marks.compare("other", 0, marks.taken()) is None


def test_an_acknowledgement_that_comes_while_the_stream_is_asked() -> None:
    """The answer is older than it: that is no loss."""
    marks = Marks()
    marks.acknowledged("S", 5, duplicate=False)
    before = marks.taken()
    marks.acknowledged("S", 6, duplicate=False)
    assert marks.compare("S", 5, before) is None


def test_two_losses_are_one_range() -> None:
    """From the first number that was ever lost to the last."""
    marks = Marks()
    marks.acknowledged("S", 10, duplicate=False)
    assert marks.compare("S", 7, marks.taken()) == (8, 10)
    assert marks.compare("S", 7, marks.taken()) == (8, 10)
    marks.acknowledged("S", 20, duplicate=False)
    assert marks.compare("S", 15, marks.taken()) == (8, 20)
