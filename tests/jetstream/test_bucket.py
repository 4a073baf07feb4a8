"""What a bucket does when acknowledgements get lost; the rest is in tests/conformance."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from caxton_nats.app import topology_options
from caxton_nats.config import Settings
from caxton_nats.core.errors import ConfigurationError, RevisionConflict, StreamMissing
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.publisher import JetStreamPublisher, Post
from tests.plugins.servers import StartServer


class LossyPublisher(JetStreamPublisher):
    """Does not hear the first acknowledgement, as when a connection breaks on the way back."""

    lost = 0

    async def _on_ack(self, message: Msg) -> None:
        if self.lost:
            await super()._on_ack(message)
        self.lost += 1


@pytest.fixture
async def connection(embedded_server: StartServer) -> AsyncIterator[Connection]:
    server = await embedded_server()
    connection = await connect(server.url, name="test", request_timeout=0.5)
    await topology.apply(connection, topology_options(Settings(shards=1)))
    yield connection
    await connection.close()


async def lossy_bucket(connection: Connection) -> Bucket[int]:
    publisher = LossyPublisher(connection, queue_size=1)
    await publisher.start()
    return Bucket(connection, publisher, "caxton-attempts", int)


async def test_a_write_whose_acknowledgement_is_lost_is_known_again(
    connection: Connection,
) -> None:
    """A compare-and-set is tried again, meets its own first try, and is no conflict."""
    bucket = await lossy_bucket(connection)
    revision = await bucket.save("k", 1, revision=None)
    assert await bucket.load("k") == (1, revision)


async def test_a_write_that_somebody_else_made_is_a_conflict(connection: Connection) -> None:
    """The same value under the same key by another writer is not taken for one's own."""
    other = JetStreamPublisher(connection, queue_size=1)
    await other.start()
    await Bucket(connection, other, "caxton-attempts", int).save("k", 1, revision=None)
    with pytest.raises(RevisionConflict, match="k"):
        await (await lossy_bucket(connection)).save("k", 1, revision=None)


async def test_record_that_somebody_else_put_there(connection: Connection) -> None:
    """It is the operator's to remove, by a command that is told; the others can be read."""
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    bucket = Bucket(connection, publisher, "caxton-attempts", int)
    await bucket.save("good", 1, revision=None)
    await publisher.store_one(Post("$KV.caxton-attempts.bad", b"no number", {}))
    with pytest.raises(ConfigurationError, match="nats kv del caxton-attempts bad"):
        await bucket.load("bad")
    assert await bucket.newest(10) == [1]
    assert await bucket.remove("bad")
    assert await bucket.load("bad") is None


@pytest.mark.parametrize("latest", [True, False])
async def test_bucket_that_is_not_there(connection: Connection, *, latest: bool) -> None:
    """A missing bucket is not taken for an empty one, whoever of the servers is asked."""
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    with pytest.raises(StreamMissing):
        await Bucket(connection, publisher, "nowhere", int).load("k", latest=latest)


@pytest.mark.parametrize("latest", [True, False])
async def test_removed_record(connection: Connection, *, latest: bool) -> None:
    """The marker of its deletion is no record."""
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    bucket = Bucket(connection, publisher, "caxton-attempts", int)
    await bucket.save("k", 1, revision=None)
    await bucket.remove("k")
    assert await bucket.load("k", latest=latest) is None
