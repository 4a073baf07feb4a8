"""What every `ConversationStore` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import ConversationId, MessageId
from tests.conformance.adapters import Adapter, named

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ORDER = ConversationId("order-1")


def record(conversation_id: str = ORDER, *, count: int = 1, minute: int = 0) -> Conversation:
    return Conversation(
        conversation_id=ConversationId(conversation_id),
        participants=(named("bob"), named("ä.b")),
        protocol="fipa-request",
        created_at=NOON,
        last_activity=NOON + timedelta(minutes=minute, microseconds=1),
        message_count=count,
        last_performative="request",
        recent_ids=(MessageId("m-1"),),
    )


async def test_save_and_load(adapter: Adapter) -> None:
    """What was saved is loaded whole, under the revision that `save` returned."""
    revision = await adapter.conversations.save(record(), revision=None)
    assert await adapter.conversations.load(ORDER) == (record(), revision)


async def test_load_nothing(adapter: Adapter) -> None:
    """A conversation that nobody began has no record."""
    assert await adapter.conversations.load(ORDER) is None


@pytest.mark.parametrize(
    "conversation_id",
    ["a b", "a.b", "a..b", "*", ">", "$JS", "order/1", "größe", "世" * 255, "x" * 255, "Order-1"],
)
async def test_awkward_ids(adapter: Adapter, conversation_id: str) -> None:
    """Every conversation id that is allowed has a record of its own."""
    await adapter.conversations.save(record(), revision=None)
    awkward = record(conversation_id, count=2)
    await adapter.conversations.save(awkward, revision=None)
    loaded = await adapter.conversations.load(ConversationId(conversation_id))
    assert loaded is not None
    assert loaded[0] == awkward


async def test_update(adapter: Adapter) -> None:
    """A save with the loaded revision replaces the record, under a higher revision."""
    first = await adapter.conversations.save(record(), revision=None)
    second = await adapter.conversations.save(record(count=2), revision=first)
    assert second > first
    assert await adapter.conversations.load(ORDER) == (record(count=2), second)


async def test_one_creator_wins(adapter: Adapter) -> None:
    """Of 20 that begin one conversation at once exactly one creates the record."""
    results = await asyncio.gather(
        *(adapter.conversations.save(record(count=n), revision=None) for n in range(20)),
        return_exceptions=True,
    )
    (winner,) = [number for number, result in enumerate(results) if isinstance(result, int)]
    assert sum(isinstance(result, RevisionConflict) for result in results) == 19
    loaded = await adapter.conversations.load(ORDER)
    assert loaded is not None
    assert loaded[0].message_count == winner


async def test_one_updater_wins(adapter: Adapter) -> None:
    """Of 20 that read the same revision exactly one writes."""
    revision = await adapter.conversations.save(record(), revision=None)
    results = await asyncio.gather(
        *(adapter.conversations.save(record(count=n), revision=revision) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, RevisionConflict) for result in results) == 19


async def test_no_update_is_lost(adapter: Adapter) -> None:
    """Counting by read, add and compare-and-set is exact under concurrency; conflicts do occur."""
    await adapter.conversations.save(record(count=0), revision=None)
    conflicts = 0

    async def count_one() -> None:
        nonlocal conflicts
        while True:
            loaded = await adapter.conversations.load(ORDER)
            assert loaded is not None
            stored, revision = loaded
            changed = msgspec.structs.replace(stored, message_count=stored.message_count + 1)
            try:
                await adapter.conversations.save(changed, revision=revision)
            except RevisionConflict:
                conflicts += 1
            else:
                return

    await asyncio.gather(*(count_one() for _ in range(10)))
    loaded = await adapter.conversations.load(ORDER)
    assert loaded is not None
    assert loaded[0].message_count == 10
    assert conflicts > 0


async def test_other_conversations_do_not_conflict(adapter: Adapter) -> None:
    """A write to one conversation does not make another one's revision stale."""
    revision = await adapter.conversations.save(record(), revision=None)
    await adapter.conversations.save(record("other"), revision=None)
    await adapter.conversations.save(record(count=2), revision=revision)


async def test_update_of_nothing(adapter: Adapter) -> None:
    """A revision of a record that is not there is stale."""
    with pytest.raises(RevisionConflict):
        await adapter.conversations.save(record(), revision=1)


async def test_list(adapter: Adapter) -> None:
    """Records are listed with the latest activity first; each activity is a write."""
    revision = await adapter.conversations.save(record("oldest", minute=1), revision=None)
    for name, minute in (("earliest", 3), ("middle", 5), ("later", 7)):
        await adapter.conversations.save(record(name, minute=minute), revision=None)
    await adapter.conversations.save(record("oldest", minute=9), revision=revision)
    listed = [one.conversation_id for one in await adapter.conversations.list()]
    assert listed == ["oldest", "later", "middle", "earliest"]
    listed = [one.conversation_id for one in await adapter.conversations.list(limit=2)]
    assert listed == ["oldest", "later"]


async def test_list_of_skewed_clocks(adapter: Adapter) -> None:
    """Two routers whose clocks differ may write out of order; what is listed is in order."""
    for name, minute in (("middle", 5), ("latest", 9), ("earliest", 1)):
        await adapter.conversations.save(record(name, minute=minute), revision=None)
    listed = [one.conversation_id for one in await adapter.conversations.list()]
    assert listed == ["latest", "middle", "earliest"]


async def test_list_shows_each_once(adapter: Adapter) -> None:
    """A record that was updated is listed once, as it is now."""
    revision = await adapter.conversations.save(record(), revision=None)
    await adapter.conversations.save(record(count=2), revision=revision)
    assert await adapter.conversations.list() == [record(count=2)]


async def test_list_of_nothing(adapter: Adapter) -> None:
    """An empty store lists nothing."""
    assert await adapter.conversations.list() == []


async def test_count(adapter: Adapter) -> None:
    """The number of records counts each conversation once, however often it was written."""
    assert await adapter.conversations.count() == 0
    revision = await adapter.conversations.save(record(), revision=None)
    await adapter.conversations.save(record(count=2), revision=revision)
    await adapter.conversations.save(record("order-2"), revision=None)
    assert await adapter.conversations.count() == 2
