"""`Outboxes`: what handlers have committed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Claim
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.ledger import Entry
from caxton_nats.core.outbox import Commit, with_answers
from tests.conformance.adapters import Adapter, named
from tests.core.sample import sample


def commit(agent: AgentId, slot: int, message_id: str = "m-1") -> Commit:
    bare = Commit(
        agent=agent,
        slot=slot,
        entry=Entry(named("alice"), MessageId(message_id)),
        origin=Origin("CAXTON_MAILBOX_0", 7),
        at=datetime(2026, 5, 1, 12, tzinfo=UTC),
    )
    return with_answers(bare, [sample(message_id=MessageId(f"re-{message_id}"))])


async def test_new_agent_has_committed_nothing(adapter: Adapter, bob: AgentId) -> None:
    """An outbox begins empty."""
    assert await adapter.outboxes.commits(bob) == []


async def test_commits_come_back(adapter: Adapter, bob: AgentId) -> None:
    """As they were, with their revisions, to every process."""
    claimed = Commit(
        agent=bob,
        slot=1,
        entry=Entry(origin=Origin("S", 7), stored_at=datetime(2026, 5, 1, 12, tzinfo=UTC)),
        origin=Origin("S", 7),
        at=datetime(2026, 5, 1, 12, tzinfo=UTC),
        claim=Claim("outbox.bob.1", 3, "abc"),
    )
    written = [commit(bob, 0), claimed]
    revisions = [await adapter.outboxes.save(one, revision=None) for one in written]
    expected = list(zip(written, revisions, strict=True))
    assert await adapter.outboxes.commits(bob) == expected
    async with adapter.another() as other:
        assert await other.outboxes.commits(bob) == expected


async def test_slot_is_used_again(adapter: Adapter, bob: AgentId) -> None:
    """It holds one commit, the last; who does not know the last revision writes nothing."""
    first = await adapter.outboxes.save(commit(bob, 0), revision=None)
    second = await adapter.outboxes.save(commit(bob, 0, "m-2"), revision=first)
    for revision in (None, first):
        with pytest.raises(RevisionConflict):
            await adapter.outboxes.save(commit(bob, 0, "m-3"), revision=revision)
    assert await adapter.outboxes.commits(bob) == [(commit(bob, 0, "m-2"), second)]


async def test_forgotten_slot(adapter: Adapter, bob: AgentId) -> None:
    """It leaves nothing behind, and is written as if it had never been used."""
    revision = await adapter.outboxes.save(commit(bob, 0), revision=None)
    await adapter.outboxes.forget(bob, 0, revision=revision)
    assert await adapter.outboxes.commits(bob) == []
    await adapter.outboxes.forget(bob, 0, revision=revision)
    await adapter.outboxes.save(commit(bob, 0, "m-2"), revision=None)


async def test_slot_that_was_written_since(adapter: Adapter, bob: AgentId) -> None:
    """Who forgets an old revision forgets nothing."""
    first = await adapter.outboxes.save(commit(bob, 0), revision=None)
    second = await adapter.outboxes.save(commit(bob, 0, "m-2"), revision=first)
    await adapter.outboxes.forget(bob, 0, revision=first)
    assert await adapter.outboxes.commits(bob) == [(commit(bob, 0, "m-2"), second)]


async def test_agents_have_outboxes_of_their_own(adapter: Adapter) -> None:
    """Nobody reads or forgets another's."""
    names = ["bob", "bob.1", "b"]
    revisions = {
        name: await adapter.outboxes.save(commit(named(name), 1), revision=None) for name in names
    }
    await adapter.outboxes.forget(named("b"), 1, revision=revisions["b"])
    found = [await adapter.outboxes.commits(named(name)) for name in names]
    assert [len(one) for one in found] == [1, 1, 0]
