"""`Ledgers`: pages of what agents have handled."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.ledger import PAGE_SIZE, Entry, Page
from tests.conformance.adapters import Adapter, named

PLACE = Entry(origin=Origin("S", 7), stored_at=datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC))


def page(agent: AgentId, number: int, *ids: str) -> Page:
    entries = tuple(Entry(named("alice"), MessageId(one)) for one in ids)
    return Page(agent=agent, number=number, entries=entries)


async def test_new_agent_has_no_pages(adapter: Adapter, bob: AgentId) -> None:
    """A ledger begins empty."""
    assert await adapter.ledgers.pages(bob) == []


async def test_pages_come_back(adapter: Adapter, bob: AgentId) -> None:
    """All of them with their revisions, exactly as they were saved, also to another process."""
    first = Page(agent=bob, number=0, entries=(PLACE, *page(bob, 0, "m-1").entries))
    full = page(bob, 1, *map(str, range(PAGE_SIZE)))
    revisions = [await adapter.ledgers.save(one, revision=None) for one in (first, full)]
    expected = [(first, revisions[0]), (full, revisions[1])]
    assert await adapter.ledgers.pages(bob) == expected
    async with adapter.another() as other:
        assert await other.ledgers.pages(bob) == expected


async def test_last_written_comes_last(adapter: Adapter, bob: AgentId) -> None:
    """The open page is the one that was written last, whatever its number."""
    revisions = {}
    for number in (0, 1, 2):
        revisions[number] = await adapter.ledgers.save(page(bob, number, "a"), revision=None)
    await adapter.ledgers.save(page(bob, 0, "b"), revision=revisions[0])
    found = await adapter.ledgers.pages(bob)
    assert [one.number for one, _ in found] == [1, 2, 0]
    assert found[-1][0] == page(bob, 0, "b")


@pytest.mark.parametrize("given", [None, "old"])
async def test_of_two_writers_one_wins(adapter: Adapter, bob: AgentId, given: str | None) -> None:
    """Who does not know the last revision writes nothing."""
    old = await adapter.ledgers.save(page(bob, 0, "a"), revision=None)
    await adapter.ledgers.save(page(bob, 0, "a", "b"), revision=old)
    with pytest.raises(RevisionConflict):
        await adapter.ledgers.save(page(bob, 0, "c"), revision=old if given else None)
    assert [one for one, _ in await adapter.ledgers.pages(bob)] == [page(bob, 0, "a", "b")]


async def test_agents_have_ledgers_of_their_own(adapter: Adapter) -> None:
    """Nobody reads another's, however the names resemble each other."""
    names = ["bob", "bob.1", "bob=2E1", "b", "Bob"]
    for name in names:
        await adapter.ledgers.save(page(named(name), 0, name), revision=None)
    for name in names:
        assert [one for one, _ in await adapter.ledgers.pages(named(name))] == [
            page(named(name), 0, name)
        ]


async def test_more_pages_than_one_answer_holds(adapter: Adapter, bob: AgentId) -> None:
    """However many there are, all are read."""
    for number in range(300):
        await adapter.ledgers.save(page(bob, number, "m"), revision=None)
    assert [one.number for one, _ in await adapter.ledgers.pages(bob)] == list(range(300))
