"""What every `Mailboxes` promises: where mail lies, what a mailbox holds, and its upkeep."""

from __future__ import annotations

import asyncio
import zlib
from datetime import timedelta

import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Ack, Nak
from caxton_nats.core.errors import StreamMissing
from caxton_nats.core.identifiers import AgentId
from caxton_nats.ports import MailboxStatus
from tests.conformance.adapters import A_MOMENT, LONG, Adapter, named
from tests.plugins.eventually import eventually

AWKWARD_NAMES = ["a.b", "*", ">", "a.>", "$JS", "_INBOX", "ä", "Bob", "世界", "=", "a=2Eb", "-"]


async def status(adapter: Adapter, agent: AgentId) -> MailboxStatus:
    return await adapter.mailboxes.status(agent)


async def test_address_follows_the_rule(adapter: Adapter) -> None:
    """Stream, subject and consumer follow from the name alone: somebody with the CLI finds them."""
    possible = set(range(1, 65))
    for number in range(50):
        name = f"agent-{number}"
        address = adapter.mailboxes.address(named(name))
        shard = address.stream.removeprefix("CAXTON_MAILBOX_")
        assert address.subject == f"caxton.mailbox.{shard}.{name}"
        assert address.consumer == name
        possible &= {
            shards for shards in possible if zlib.crc32(name.encode()) % shards == int(shard)
        }
    # One number of shards explains all 50.
    assert len(possible) == 1


async def test_address_is_stable(adapter: Adapter, bob: AgentId) -> None:
    """`ensure` and `open` change nothing about the address."""
    before = adapter.mailboxes.address(bob)
    assert await adapter.mailboxes.ensure(bob) == before
    await adapter.reader(bob)
    assert adapter.mailboxes.address(bob) == before


async def test_ensure_twice(adapter: Adapter, bob: AgentId) -> None:
    """Making a mailbox again, also at the same time, loses nothing of it."""
    await adapter.send(bob, "one", "two")
    inbox = await adapter.reader(bob)
    (first,) = await inbox.fetch(1, LONG)
    await asyncio.gather(*(adapter.mailboxes.ensure(bob) for _ in range(5)))
    (second,) = await inbox.fetch(1, LONG)
    assert (first.body, second.body, second.attempt) == (b"one", b"two", 1)


async def test_what_others_left_unsettled(adapter: Adapter, bob: AgentId) -> None:
    """What was handed out is known to whoever opens the mailbox next, and is had again at once."""
    await adapter.send(bob, "one", "two", "three", "four")
    first = await adapter.reader(bob)
    assert await adapter.mailboxes.unsettled(bob) == []
    one, two, three = await first.fetch(3, LONG)
    await first.settle([(two, Ack()), (three, Nak(timedelta(hours=1)))])
    await first.close()
    left = await adapter.mailboxes.unsettled(bob)
    assert [(each.body, each.origin) for each in left] == [
        (b"one", one.origin),
        (b"three", three.origin),
    ]
    assert await adapter.mailboxes.unsettled(bob, urgent=True) == []
    second = await adapter.reader(bob)
    await second.settle([(each, Nak(timedelta())) for each in left])
    again = [delivery for _ in range(3) for delivery in await second.fetch(1, LONG)]
    assert [(each.body, each.attempt) for each in again] == [
        (b"one", 2),
        (b"three", 2),
        (b"four", 1),
    ]
    await second.settle([(each, Ack()) for each in again])
    assert await adapter.mailboxes.unsettled(bob) == []


async def test_nothing_is_unsettled_where_nobody_reads(adapter: Adapter) -> None:
    """A mailbox that was never opened has handed out nothing."""
    assert await adapter.mailboxes.unsettled(named("nobody")) == []


@pytest.mark.parametrize("name", AWKWARD_NAMES)
async def test_awkward_names(adapter: Adapter, name: str) -> None:
    """An agent whose name means something to NATS has a mailbox of its own like any other."""
    agent = named(name)
    for other in AWKWARD_NAMES:
        await adapter.send(named(other), f"for {other}")
    inbox = await adapter.reader(agent)
    assert [one.body for one in await inbox.fetch(50, LONG)] == [f"for {name}".encode()]
    assert (await adapter.mailboxes.pending())[agent] == 1


async def test_empty_status(adapter: Adapter, bob: AgentId) -> None:
    """A mailbox without mail and reader is empty and unattended."""
    await adapter.mailboxes.ensure(bob)
    assert await status(adapter, bob) == MailboxStatus(pending=0, in_flight=0, attended=False)


async def test_status_counts(adapter: Adapter, bob: AgentId) -> None:
    """Pending counts what is stored and not settled; in flight is the delivered part of it."""
    await adapter.send(bob, "1", "2", "3")
    inbox = await adapter.reader(bob)
    (first,) = await inbox.fetch(1, LONG)
    found = await status(adapter, bob)
    assert (found.pending, found.in_flight) == (3, 1)
    await inbox.settle([(first, Ack())])
    found = await status(adapter, bob)
    assert (found.pending, found.in_flight) == (2, 0)


async def test_attended(adapter: Adapter, bob: AgentId) -> None:
    """A mailbox is attended while a fetch waits, and no longer once its reader is gone."""
    inbox = await adapter.reader(bob)

    async def attended() -> bool:
        return (await status(adapter, bob)).attended

    async def unattended() -> bool:
        return not await attended()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(inbox.fetch(1, adapter.limits.ack_wait))
        await eventually(attended, what="attended")
    await inbox.close()
    await eventually(unattended, what="unattended")


async def test_pending_per_agent(adapter: Adapter, bob: AgentId) -> None:
    """`pending` names each agent that has mail, with how much, and nobody else."""
    alice = named("alice")
    await adapter.send(bob, "1", "2")
    await adapter.send(alice, "3")
    await adapter.mailboxes.ensure(named("idle"))
    assert await adapter.mailboxes.pending() == {bob: 2, alice: 1}
    inbox = await adapter.reader(alice)
    (delivery,) = await inbox.fetch(1, LONG)
    await inbox.settle([(delivery, Ack())])
    assert await adapter.mailboxes.pending() == {bob: 2}


async def test_remove_keeps_messages(adapter: Adapter, bob: AgentId) -> None:
    """Removing a mailbox forgets who read what; the mail stays for the next reader."""
    await adapter.send(bob, "1", "2")
    inbox = await adapter.reader(bob)
    deliveries = await inbox.fetch(1, LONG)
    await inbox.settle([(deliveries[0], Nak(LONG))])
    await inbox.close()
    await adapter.mailboxes.remove(bob)
    again = await (await adapter.reader(bob)).fetch(1, LONG)
    assert [(one.body, one.attempt) for one in again] == [(b"1", 1)]
    assert (await adapter.mailboxes.pending())[bob] == 2


async def test_remove_tells_readers(adapter: Adapter, bob: AgentId) -> None:
    """A reader of a mailbox that is removed learns it, rather than waiting for ever."""
    inbox = await adapter.reader(bob)
    await adapter.mailboxes.remove(bob)
    with pytest.raises(StreamMissing):
        await inbox.fetch(1, LONG)


async def test_remove_nothing(adapter: Adapter) -> None:
    """Removing a mailbox that was never made is no error."""
    await adapter.mailboxes.remove(named("nobody"))


async def test_get(adapter: Adapter, bob: AgentId) -> None:
    """A stored message can be looked at without delivering it."""
    body = bytes(range(256))
    await adapter.publisher.publish([adapter.letter(bob, "key", body, {"traceparent": "t"})])
    inbox = await adapter.reader(bob)
    (delivery,) = await inbox.fetch(1, LONG)
    stored = await adapter.mailboxes.get(delivery.origin)
    assert stored is not None
    assert (stored.origin, stored.subject) == (delivery.origin, delivery.subject)
    assert (stored.body, stored.headers["traceparent"]) == (body, "t")
    assert stored.stored_at == delivery.stored_at


@pytest.mark.parametrize("stream", ["its own", "NO_STREAM"])
async def test_get_nothing(adapter: Adapter, bob: AgentId, stream: str) -> None:
    """There is no message where none was stored."""
    where = adapter.mailboxes.address(bob).stream if stream == "its own" else stream
    assert await adapter.mailboxes.get(Origin(where, 999_999)) is None


async def test_discard(adapter: Adapter, bob: AgentId) -> None:
    """A message discarded from outside is never delivered."""
    first, _ = await adapter.send(bob, "unwanted", "wanted")
    assert await adapter.mailboxes.discard(Origin(first.stream, first.sequence))
    inbox = await adapter.reader(bob)
    assert [one.body for one in await inbox.fetch(10, LONG)] == [b"wanted"]


async def test_discard_in_flight(adapter: Adapter, bob: AgentId) -> None:
    """A message discarded while somebody has it in hand does not come again."""
    await adapter.send(bob, "in hand")
    inbox = await adapter.reader(bob)
    (delivery,) = await inbox.fetch(1, LONG)
    assert await adapter.mailboxes.discard(delivery.origin)
    assert await inbox.fetch(1, adapter.limits.ack_wait * 1.5) == []
    assert (await status(adapter, bob)).pending == 0


async def test_discard_twice(adapter: Adapter, bob: AgentId) -> None:
    """Only one of several discards of a message did it, and none after its ack."""
    discarded, acked = await adapter.send(bob, "1", "2")
    origin = Origin(discarded.stream, discarded.sequence)
    assert await adapter.mailboxes.discard(origin)
    assert not await adapter.mailboxes.discard(origin)
    inbox = await adapter.reader(bob)
    (delivery,) = await inbox.fetch(1, LONG)
    await inbox.settle([(delivery, Ack())])
    assert not await adapter.mailboxes.discard(Origin(acked.stream, acked.sequence))


@pytest.mark.parametrize("which", [0, 1, 2], ids=["first", "middle", "last"])
async def test_discard_twice_wherever_it_lay(adapter: Adapter, bob: AgentId, which: int) -> None:
    """That a message is gone already is no trouble, whatever else the stream holds."""
    placed = (await adapter.send(bob, "1", "2", "3"))[which]
    origin = Origin(placed.stream, placed.sequence)
    assert await adapter.mailboxes.discard(origin)
    assert not await adapter.mailboxes.discard(origin)


async def test_discard_frees_room(adapter: Adapter, bob: AgentId) -> None:
    """A discarded message no longer counts against the mailbox's bound."""
    keys = [f"fill-{number}" for number in range(adapter.limits.queue_size)]
    first, *_ = await adapter.send(bob, *keys)
    await adapter.mailboxes.discard(Origin(first.stream, first.sequence))
    await adapter.send(bob, "one more")
    assert (await status(adapter, bob)).pending == adapter.limits.queue_size


async def test_stored_counts_everything_ever(adapter: Adapter, bob: AgentId) -> None:
    """`stored` counts each stored message once: settled ones too, duplicates and refused not."""
    before = await adapter.mailboxes.stored()
    await adapter.send(bob, "one", "two", "one")
    await adapter.send(named("alice"), "three")
    inbox = await adapter.reader(bob)
    (delivery,) = await inbox.fetch(1, LONG)
    await inbox.settle([(delivery, Ack())])
    assert await adapter.mailboxes.stored() == before + 3


async def test_who_has_a_mailbox_open(adapter: Adapter, bob: AgentId) -> None:
    """From opening to closing, whether or not anything is fetched; another agent's does not count."""
    assert not await adapter.mailboxes.opened(bob)
    inbox = await adapter.reader(bob)
    assert await adapter.mailboxes.opened(bob)
    assert not await adapter.mailboxes.opened(named("carol"))
    second = await adapter.reader(bob)
    await inbox.close()
    assert await adapter.mailboxes.opened(bob)
    await second.close()
    await second.close()
    assert not await adapter.mailboxes.opened(bob)


async def test_what_was_handed_out(adapter: Adapter, bob: AgentId) -> None:
    """A stored message was taken once a reader had it, whatever the reader has done with it since."""
    one, two = [
        await adapter.mailboxes.get(Origin(stored.stream, stored.sequence))
        for stored in await adapter.send(bob, "one", "two")
    ]
    assert one is not None
    assert two is not None
    assert not await adapter.mailboxes.taken(one), "there is no consumer yet"
    inbox = await adapter.reader(bob)
    (first,) = await inbox.fetch(1, LONG)
    assert await adapter.mailboxes.taken(one)
    await inbox.settle([(first, Nak(timedelta()))])
    assert await adapter.mailboxes.taken(one)
    assert not await adapter.mailboxes.taken(two)
    (first,) = await inbox.fetch(1, LONG)
    await inbox.settle([(first, Ack())])
    assert await adapter.mailboxes.taken(one), "or it would be buried beside having been handled"
    await inbox.close()


async def test_list_is_newest_first(adapter: Adapter, bob: AgentId) -> None:
    """What is stored for one agent, in flight or not, without anybody else's mail."""
    await adapter.send(bob, "1", "2")
    await adapter.send(named("alice"), "alice's")
    await adapter.send(bob, "3")
    inbox = await adapter.reader(bob)
    (first,) = await inbox.fetch(1, LONG)
    listed = await adapter.mailboxes.list(bob, limit=10)
    assert [one.body for one in listed] == [b"3", b"2", b"1"]
    assert listed[-1].origin == first.origin
    assert (listed[-1].stored_at, listed[-1].subject) == (first.stored_at, first.subject)
    assert [one.body for one in await adapter.mailboxes.list(bob, limit=2)] == [b"3", b"2"]
    await inbox.settle([(first, Ack())])
    assert [one.body for one in await adapter.mailboxes.list(bob, limit=10)] == [b"3", b"2"]
    assert await adapter.mailboxes.list(named("nobody"), limit=10) == []


async def test_a_held_mailbox_hands_out_nothing(adapter: Adapter, bob: AgentId) -> None:
    """Neither what waits nor what comes in, until it is released; then at once."""
    inbox = await adapter.reader(bob)
    await adapter.mailboxes.hold(bob, adapter.clock.now() + LONG)
    await adapter.send(bob, "1")
    assert await inbox.fetch(1, A_MOMENT) == []
    await adapter.mailboxes.release(bob)
    assert [one.body for one in await inbox.fetch(1, LONG)] == [b"1"]


async def test_a_waiting_reader_gets_what_was_held(adapter: Adapter, bob: AgentId) -> None:
    """Who waits all the while has the message as soon as the mailbox is released."""
    inbox = await adapter.reader(bob)
    await adapter.mailboxes.hold(bob, adapter.clock.now() + LONG)
    fetching = asyncio.create_task(inbox.fetch(1, LONG))
    await adapter.send(bob, "1")
    assert not (await asyncio.wait({fetching}, timeout=A_MOMENT.total_seconds()))[0]
    await adapter.mailboxes.release(bob)
    assert [one.body for one in await fetching] == [b"1"]


async def test_a_held_mailbox_goes_on_by_itself(adapter: Adapter, bob: AgentId) -> None:
    """Whoever holds it may die."""
    inbox = await adapter.reader(bob)
    await adapter.send(bob, "1")
    await adapter.mailboxes.hold(bob, adapter.clock.now() + adapter.limits.ack_wait)
    assert [one.body for one in await inbox.fetch(1, LONG)] == [b"1"]


async def test_holding_nothing(adapter: Adapter) -> None:
    """A mailbox that nobody made can be held and released."""
    await adapter.mailboxes.hold(named("nobody"), adapter.clock.now() + LONG)
    await adapter.mailboxes.release(named("nobody"))
