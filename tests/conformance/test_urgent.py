"""Urgent mail: a way of its own into the same mailbox, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Ack
from caxton_nats.core.errors import CaxtonError, QueueFull
from caxton_nats.core.identifiers import AgentId
from caxton_nats.ports import Inbox, Letter, MailboxStatus, Stored
from tests.conformance.adapters import A_MOMENT, LONG, Adapter, named


async def store(adapter: Adapter, agent: AgentId, *keys: str) -> Sequence[Stored | CaxtonError]:
    address = adapter.mailboxes.address(agent, urgent=True)
    letters = [Letter(agent, address, key, key.encode()) for key in keys]
    return await adapter.publisher.publish(letters)


async def bodies(inbox: Inbox, number: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < number:
        deliveries = await inbox.fetch(number, LONG)
        assert deliveries, f"only {found} came"
        await inbox.settle([(one, Ack()) for one in deliveries])
        found += [one.body for one in deliveries]
    return found


async def test_it_has_room_of_its_own(adapter: Adapter, bob: AgentId) -> None:
    """A mailbox full of ordinary mail takes urgent mail up to the same bound, and no more."""
    size = adapter.limits.queue_size
    await adapter.send(bob, *(f"low-{number}" for number in range(size)))
    results = await store(adapter, bob, *(f"high-{number}" for number in range(size + 1)))
    assert [isinstance(one, Stored) for one in results] == [True] * size + [False]
    assert isinstance(results[-1], QueueFull)
    assert await adapter.mailboxes.pending() == {bob: 2 * size}


async def test_it_is_read_beside_the_ordinary_mail(adapter: Adapter, bob: AgentId) -> None:
    """Each way in the order of its mail, whichever is opened first; both are one stream."""
    (low,) = await adapter.send(bob, "low")
    high, other = await store(adapter, bob, "high", "other")
    assert isinstance(high, Stored)
    assert isinstance(other, Stored)
    assert (low.stream, low.sequence + 1) == (high.stream, high.sequence)
    urgent = await adapter.mailboxes.open(bob, urgent=True)
    assert await bodies(urgent, 2) == [b"high", b"other"]
    assert await urgent.fetch(1, A_MOMENT) == []
    ordinary = await adapter.reader(bob)
    assert await bodies(ordinary, 1) == [b"low"]
    await urgent.close()


async def test_news_of_it_reaches_who_waits(adapter: Adapter, bob: AgentId) -> None:
    """Announced, it comes at once to a mailbox that was open before there was any."""
    inbox = await adapter.mailboxes.open(bob, urgent=True)
    assert await inbox.fetch(1, A_MOMENT) == []
    waiting = asyncio.ensure_future(bodies(inbox, 1))
    await store(adapter, bob, "high")
    await adapter.mailboxes.announce(bob)
    assert await waiting == [b"high"]
    await store(adapter, bob, "next")
    assert await bodies(inbox, 1) == [b"next"], "after the first, nobody need say so"
    await inbox.close()


async def test_whose_it_is(adapter: Adapter, bob: AgentId) -> None:
    """An announcement is for one agent; another agent's mail is not touched."""
    carol = await adapter.mailboxes.open(named("carol"), urgent=True)
    await store(adapter, bob, "high")
    await adapter.mailboxes.announce(bob)
    assert await carol.fetch(1, A_MOMENT) == []
    await carol.close()


async def test_what_a_mailbox_holds_counts_both(adapter: Adapter, bob: AgentId) -> None:
    """Pending and in flight, of one agent and of all."""
    await adapter.send(bob, "low")
    await store(adapter, bob, "high", "more")
    await adapter.mailboxes.announce(bob)
    inbox = await adapter.mailboxes.open(bob, urgent=True)
    deliveries = [*await inbox.fetch(1, LONG)]
    assert await adapter.mailboxes.pending() == {bob: 3}
    expected = MailboxStatus(pending=3, in_flight=len(deliveries), attended=False)
    status = await adapter.mailboxes.status(bob)
    assert (status.pending, status.in_flight >= 1) == (expected.pending, True)
    assert (await adapter.mailboxes.statuses())[bob].pending == 3
    await inbox.close()


async def test_look_at_it_and_remove_it(adapter: Adapter, bob: AgentId) -> None:
    """By its origin, as any stored message; whether it was taken is known of it, too."""
    (high,) = await store(adapter, bob, "high")
    assert isinstance(high, Stored)
    found = await adapter.mailboxes.get(Origin(high.stream, high.sequence))
    assert found is not None
    assert found.subject == adapter.mailboxes.address(bob, urgent=True).subject
    assert not await adapter.mailboxes.taken(found)
    inbox = await adapter.mailboxes.open(bob, urgent=True)
    await inbox.fetch(1, LONG)
    assert await adapter.mailboxes.taken(found)
    assert await adapter.mailboxes.discard(found.origin)
    assert await adapter.mailboxes.pending() == {}
    await inbox.close()


async def test_deregistered_and_back(adapter: Adapter, bob: AgentId) -> None:
    """Removing the mailbox keeps urgent mail, too, and the next reader finds it without news."""
    await store(adapter, bob, "high")
    await adapter.mailboxes.announce(bob)
    await adapter.mailboxes.remove(bob)
    assert await adapter.mailboxes.pending() == {bob: 1}
    inbox = await adapter.mailboxes.open(bob, urgent=True)
    assert await bodies(inbox, 1) == [b"high"]
    await inbox.close()


@pytest.mark.parametrize("name", ["a.b", "*", ">", "世界" * 100, "bob=urgent", "x" * 255])
async def test_awkward_names(adapter: Adapter, name: str) -> None:
    """Every agent can have urgent mail, and gets its own."""
    await store(adapter, named("bob"), "not for you")
    await store(adapter, named(name), "for you")
    await adapter.mailboxes.announce(named(name))
    inbox = await adapter.mailboxes.open(named(name), urgent=True)
    assert await bodies(inbox, 1) == [b"for you"]
    assert await inbox.fetch(1, A_MOMENT) == []
    await inbox.close()


async def test_it_is_listed_and_held_with_the_rest(adapter: Adapter, bob: AgentId) -> None:
    """The newest first of both kinds; a mailbox that is held hands out neither."""
    await adapter.send(bob, "low")
    await store(adapter, bob, "high")
    await adapter.send(bob, "last")
    await adapter.mailboxes.announce(bob)
    found = await adapter.mailboxes.list(bob, limit=9)
    assert [one.body for one in found] == [b"last", b"high", b"low"]
    inbox = await adapter.mailboxes.open(bob, urgent=True)
    await adapter.mailboxes.hold(bob, adapter.clock.now() + timedelta(seconds=30))
    assert await inbox.fetch(1, A_MOMENT) == []
    await adapter.mailboxes.release(bob)
    assert await bodies(inbox, 1) == [b"high"]
    await inbox.close()
