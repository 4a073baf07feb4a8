"""What every `ConversationArchive` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from caxton_nats.core.conversation import Conversation, End
from caxton_nats.core.identifiers import ConversationId
from tests.conformance.adapters import Adapter, named

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ended(conversation_id: str = "order-1", *, agent: str = "bob") -> Conversation:
    return Conversation(
        conversation_id=ConversationId(conversation_id),
        participants=(named("alice"), named(agent)),
        protocol="fipa-request",
        created_at=NOON,
        last_activity=NOON + timedelta(minutes=5),
        timeout=timedelta(minutes=30),
        ends_at=NOON + timedelta(days=7),
        message_count=3,
        ended_at=NOON + timedelta(minutes=35),
        ended_by=End.IDLE,
    )


async def test_add_and_load(adapter: Adapter) -> None:
    """What was added is loaded whole; what was not is not there."""
    assert await adapter.archive.add(ended())
    assert await adapter.archive.load(ConversationId("order-1")) == ended()
    assert await adapter.archive.load(ConversationId("order-2")) is None


@pytest.mark.parametrize(
    "conversation_id", ["a b", "a.b", "*", ">", "世" * 255, "\U0001f600" * 255, "Order-1"]
)
async def test_awkward_ids(adapter: Adapter, conversation_id: str) -> None:
    """Every conversation id that is allowed has a place of its own."""
    await adapter.archive.add(ended())
    assert await adapter.archive.add(ended(conversation_id))
    assert await adapter.archive.load(ConversationId(conversation_id)) == ended(conversation_id)


async def test_each_is_added_once(adapter: Adapter) -> None:
    """Of many that archive one conversation at once exactly one adds it; the first record stays."""
    results = await asyncio.gather(*(adapter.archive.add(ended()) for _ in range(10)))
    assert sorted(results) == [*[False] * 9, True]
    changed = msgspec.structs.replace(ended(), message_count=99)
    assert not await adapter.archive.add(changed)
    assert await adapter.archive.load(ConversationId("order-1")) == ended()


async def test_list(adapter: Adapter) -> None:
    """The last added first, up to the limit, all or those of one agent."""
    for number, agent in enumerate(("bob", "carol", "bob")):
        await adapter.archive.add(ended(f"c-{number}", agent=agent))
    assert [one.conversation_id for one in await adapter.archive.list()] == ["c-2", "c-1", "c-0"]
    assert [one.conversation_id for one in await adapter.archive.list(limit=1)] == ["c-2"]
    of_carol = await adapter.archive.list(agent=named("carol"))
    assert [one.conversation_id for one in of_carol] == ["c-1"]


async def test_all_that_were_ever_added_are_counted(adapter: Adapter) -> None:
    """Each once, however often it was tried."""
    assert await adapter.archive.added() == 0
    for name in ("a", "b", "a"):
        await adapter.archive.add(ended(name))
    assert await adapter.archive.added() == 2
