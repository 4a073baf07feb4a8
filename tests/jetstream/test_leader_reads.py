"""What is decided by a read asks the leader: a replica that lags answers direct gets, too.

The server here answers no direct gets at all, so that whoever relies on one is found out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import RevisionConflict, StreamMissing
from caxton_nats.core.registry import Registry
from caxton_nats.jetstream import direct
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Letter
from tests.conformance.adapters import ADAPTERS, Adapter, Limits, named
from tests.conformance.test_conversation_store import ORDER, record
from tests.conformance.test_dead_letters import dead
from tests.conformance.test_decisions import decision
from tests.conformance.test_leases import lease


@pytest.fixture
async def connection(embedded_url: str) -> AsyncIterator[Connection]:
    connection = await connect(embedded_url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def adapter(embedded_url: str, connection: Connection) -> AsyncIterator[Adapter]:
    async with ADAPTERS["jetstream"](embedded_url, Limits()) as made:
        for name in (await connection.api("STREAM.NAMES"))["streams"]:
            config = (await connection.api(f"STREAM.INFO.{name}"))["config"]
            await connection.api(f"STREAM.UPDATE.{name}", {**config, "allow_direct": False})
        yield made


async def test_the_rig(adapter: Adapter, connection: Connection) -> None:
    """A direct get is refused here."""
    await adapter.conversations.save(record(), revision=None)
    with pytest.raises(StreamMissing):
        await direct.last(connection, "KV_caxton-conversations", "$KV.caxton-conversations.order-1")


async def test_a_replica_that_does_not_answer(adapter: Adapter) -> None:
    """A read for which an old state will do asks the leader if no replica answers."""
    await adapter.conversations.save(record(), revision=None)
    assert await adapter.conversations.load(ORDER) is not None


async def test_records_that_decide(adapter: Adapter) -> None:
    """Who holds a name, what was decided, how often it was tried: none of it may be a moment old."""
    bob = named("bob")
    revision = await adapter.leases.save(lease(bob), revision=None)
    assert await adapter.leases.load(bob) == (lease(bob), revision)
    assert await adapter.decisions.record(decision("carol")) == decision("carol")
    assert await adapter.decisions.record(decision("dave")) == decision("carol")
    origin = Origin("CAXTON_MAILBOX_0", 1)
    await adapter.attempts.record(origin, 2)
    assert await adapter.attempts.recorded(origin) == 2
    await adapter.conversations.save(record(), revision=None)
    assert await adapter.conversations.load(ORDER, latest=True) is not None


async def test_writes_that_look_first(adapter: Adapter, connection: Connection) -> None:
    """A removal finds what was just written; one that writes anew after it finds the removal."""
    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    bucket = Bucket(connection, publisher, "caxton-agents", int)
    first = await bucket.save("k", 1, revision=None)
    with pytest.raises(RevisionConflict):
        await bucket.save("k", 2, revision=None)
    assert await bucket.remove("k") > first
    assert await bucket.was_removed("k")
    assert await bucket.save("k", 3, revision=None) > first


async def test_dead_letters(adapter: Adapter) -> None:
    """A letter that was written can be redriven or discarded at once."""
    assert await adapter.dead_letters.write(dead(1))
    assert await adapter.dead_letters.get(dead(1).id) == dead(1)
    assert await adapter.dead_letters.remove(dead(1).id)
    assert await adapter.dead_letters.get(dead(1).id) is None


async def test_mirrors(adapter: Adapter) -> None:
    """A mirror is believed complete by what the leader says is the newest record."""
    registry = Registry()
    await adapter.registry_store.follow(registry)
    assert await adapter.registry_store.behind() == 0


async def test_what_is_still_in_use(adapter: Adapter) -> None:
    """Whether content is used is decided by all letters and all mail, as of this moment."""
    bob = named("bob")
    await adapter.dead_letters.write(dead(1))
    (letter,) = (await adapter.dead_letters.page()).letters
    assert letter == dead(1)
    address = adapter.mailboxes.address(bob)
    await adapter.publisher.publish([Letter(bob, address, str(n), b"1") for n in range(2)])
    assert len(await adapter.mailboxes.list(bob, limit=10, latest=True)) == 2
