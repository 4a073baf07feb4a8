"""What every `ConversationStore` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from caxton_nats.core.conversation import Conversation, end
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import ConversationId, MessageId
from caxton_nats.core.thread import Thread
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
        last_message=MessageId("m-1"),
        timeout=timedelta(minutes=30),
        ends_at=NOON + timedelta(days=7),
        thread=Thread(("a",), ("b",)),
    )


async def test_save_and_load(adapter: Adapter) -> None:
    """What was saved is loaded whole, under the revision that `save` returned."""
    revision = await adapter.conversations.save(record(), revision=None)
    assert await adapter.conversations.load(ORDER) == (record(), revision)


@pytest.mark.parametrize("latest", [True, False])
async def test_load_the_latest(adapter: Adapter, *, latest: bool) -> None:
    """Whoever must not be a moment behind may say so, and gets the same record and revision."""
    assert await adapter.conversations.load(ORDER, latest=latest) is None
    first = await adapter.conversations.save(record(), revision=None)
    revision = await adapter.conversations.save(record(count=2), revision=first)
    assert await adapter.conversations.load(ORDER, latest=latest) == (record(count=2), revision)
    await adapter.conversations.remove(ORDER, revision=revision)
    assert await adapter.conversations.load(ORDER, latest=latest) is None


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


async def test_remove(adapter: Adapter) -> None:
    """A record of the revision given goes, and its id is as free as one that never was."""
    revision = await adapter.conversations.save(record(), revision=None)
    await adapter.conversations.save(record("other"), revision=None)
    await adapter.conversations.remove(ORDER, revision=revision)
    assert await adapter.conversations.load(ORDER) is None
    assert await adapter.conversations.count() == 1
    await adapter.conversations.save(record(count=5), revision=None)


async def test_remove_what_has_changed(adapter: Adapter) -> None:
    """A record that somebody has written meanwhile stays, and so does one that is not there."""
    revision = await adapter.conversations.save(record(), revision=None)
    await adapter.conversations.save(record(count=2), revision=revision)
    await adapter.conversations.remove(ORDER, revision=revision)
    await adapter.conversations.remove(ConversationId("nothing"), revision=revision)
    loaded = await adapter.conversations.load(ORDER)
    assert loaded is not None
    assert loaded[0].message_count == 2


async def test_list_of_an_agent(adapter: Adapter) -> None:
    """Only those that the agent takes part in, however many others were written since."""
    carol = named("carol")
    with_carol = msgspec.structs.replace(record("old"), participants=(named("bob"), carol))
    await adapter.conversations.save(with_carol, revision=None)
    for number in range(3):
        await adapter.conversations.save(record(f"c-{number}", minute=number), revision=None)
    assert await adapter.conversations.list(agent=carol, limit=2) == [with_carol]
    assert len(await adapter.conversations.list(agent=named("bob"), limit=2)) == 2
    assert await adapter.conversations.list(agent=named("stranger")) == []


async def test_what_has_ended_is_not_listed(adapter: Adapter) -> None:
    """On its way into the archive a record is read by its id, but not listed any more."""
    ended = end(record(), NOON + timedelta(minutes=1))
    await adapter.conversations.save(ended, revision=None)
    await adapter.conversations.save(record("other"), revision=None)
    assert [one.conversation_id for one in await adapter.conversations.list()] == ["other"]
    assert [one.conversation_id async for one in adapter.conversations.each()] == ["other"]
    loaded = await adapter.conversations.load(ORDER)
    assert loaded is not None
    assert loaded[0] == ended


async def test_each(adapter: Adapter) -> None:
    """All records are read, however many pages that takes, as they are now."""
    names = {f"c-{number}" for number in range(300)}
    await asyncio.gather(
        *(adapter.conversations.save(record(name), revision=None) for name in names)
    )
    found = await adapter.conversations.load(ConversationId("c-0"))
    assert found is not None
    await adapter.conversations.save(record("c-0", count=7), revision=found[1])
    counts = {one.conversation_id: one.message_count async for one in adapter.conversations.each()}
    assert counts.keys() == names
    assert counts[ConversationId("c-0")] == 7


async def test_list_over_many_pages(adapter: Adapter) -> None:
    """The oldest are found, too, across gaps that updates have left."""
    await adapter.conversations.save(
        msgspec.structs.replace(record("first"), participants=(named("carol"),)), revision=None
    )
    revision = None
    for number in range(600):
        revision = await adapter.conversations.save(record("busy", count=number), revision=revision)
    listed = await adapter.conversations.list()
    assert {one.conversation_id for one in listed} == {"first", "busy"}
    (found,) = await adapter.conversations.list(agent=named("carol"), limit=1)
    assert found.conversation_id == "first"
