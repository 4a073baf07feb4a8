"""What a bucket does when acknowledgements get lost; the rest is in tests/conformance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from caxton_nats.app import topology_options
from caxton_nats.config import Settings
from caxton_nats.core.errors import ConfigurationError, RevisionConflict, StreamMissing
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.wire import Frame
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer


class LossyPublisher(JetStreamPublisher):
    """Does not hear the first acknowledgement, as when a connection breaks on the way back."""

    lost = 0

    def _hear(self, frames: list[Frame]) -> None:
        if self.lost:
            super()._hear(frames)
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


async def with_marker(connection: Connection, marker: str) -> Bucket[int]:
    """Return a bucket of its own name with the key "gone", which had a record once."""
    config = {
        "name": "KV_own",
        "subjects": ["$KV.own.>"],
        "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": 3_600_000_000_000,
    }
    await connection.api("STREAM.CREATE.KV_own", config)
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    bucket = Bucket(connection, publisher, "own", int)
    await bucket.save("there", 7, revision=None)
    subject = "$KV.own.gone"
    ttl = {"Nats-TTL": "1"} if marker == "expiry" else {}
    await publisher.store_one(Post(subject, b"1", ttl))
    if marker == "deletion":
        await publisher.store_one(Post(subject, b"", {"KV-Operation": "DEL"}))
    if marker == "purge":
        purge = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
        await publisher.store_one(Post(subject, b"", purge))
    return bucket


MARKERS = pytest.mark.parametrize("marker", ["expiry", "deletion", "purge"])


@MARKERS
async def test_marker_of_what_is_gone(connection: Connection, marker: str) -> None:
    """However it went: it is no record, was one, and may be written anew.

    nats-py's own get returns an empty record for what has expired, and its create a conflict.
    """
    bucket = await with_marker(connection, marker)

    async def is_gone() -> bool:
        return await bucket.load("gone") is None

    await eventually(is_gone)
    assert await bucket.load("gone", latest=True) is None
    assert await bucket.was_removed("gone")
    assert await bucket.remove("gone") == 0
    assert await bucket.newest(10) == [7]
    assert [one async for one in bucket.each()] == [7]
    revision = await bucket.save("gone", 2, revision=None)
    assert await bucket.load("gone") == (2, revision)


class Seen:
    """A mirror that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[int] = []
        self.forgotten: list[str] = []

    def replace(self, records: Sequence[int]) -> None:
        self.records = list(records)

    def put(self, record: int) -> None:
        self.records.append(record)

    def forget(self, key: str) -> None:
        self.forgotten.append(key)


@MARKERS
async def test_marker_in_a_mirror(connection: Connection, marker: str) -> None:
    """One that was there before is left out, and one that comes takes the record away."""
    bucket = await with_marker(connection, marker)
    early = Seen()
    await bucket.follow(early)
    await eventually(lambda: early.forgotten == ["gone"] or early.records == [7])

    async def is_gone() -> bool:
        return await bucket.load("gone") is None

    await eventually(is_gone)
    late = Seen()
    await bucket.follow(late)
    assert late.records == [7]
    await bucket.stop()


async def test_a_bucket_that_is_made_again(connection: Connection) -> None:
    """Its mirrors become what it holds now; nats-py would go on from where the old one had been."""
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    bucket = Bucket(connection, publisher, "caxton-attempts", int)
    for number in range(20):
        await bucket.save(f"k{number}", number, revision=None)
    seen = Seen()
    await bucket.follow(seen)
    await connection.api("STREAM.DELETE.KV_caxton-attempts")
    await topology.apply(connection, topology_options(Settings(shards=1)))
    await bucket.save("new", 42, revision=None)
    # nats-py takes 10 to 20 s to notice that nothing comes any more.
    await eventually(lambda: seen.records == [42], within=60)
    await bucket.stop()


@pytest.mark.parametrize("latest", [True, False])
async def test_removed_record(connection: Connection, *, latest: bool) -> None:
    """The marker of its deletion is no record."""
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    bucket = Bucket(connection, publisher, "caxton-attempts", int)
    await bucket.save("k", 1, revision=None)
    await bucket.remove("k")
    assert await bucket.load("k", latest=latest) is None
