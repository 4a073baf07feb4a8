"""What every `Inbox` promises: who gets which message when, and how often."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from caxton_nats.core.disposition import Ack, Nak, Term
from caxton_nats.core.errors import HandlerRejected
from caxton_nats.core.identifiers import AgentId
from caxton_nats.ports import Delivery, Inbox
from tests.conformance.adapters import A_MOMENT, LONG, Adapter, named
from tests.plugins.eventually import eventually

NO_WAIT = timedelta(0)


def bodies(deliveries: list[Delivery]) -> list[bytes]:
    return [delivery.body for delivery in deliveries]


async def fetch_one(inbox: Inbox) -> Delivery:
    (delivery,) = await inbox.fetch(1, LONG)
    return delivery


async def fetch_all(inbox: Inbox, count: int) -> list[Delivery]:
    """Fetch until ``count`` messages are there; a batch may be smaller than its limit."""
    fetched: list[Delivery] = []
    while len(fetched) < count:
        more = await inbox.fetch(count - len(fetched), LONG)
        assert more, f"only {len(fetched)} of {count} messages came"
        fetched += more
    return fetched


async def test_delivery_says_where_it_is_stored(adapter: Adapter, bob: AgentId) -> None:
    """A delivery carries its stored origin, its subject, and 1 as first attempt."""
    (stored,) = await adapter.send(bob, "one")
    delivery = await fetch_one(await adapter.reader(bob))
    assert (delivery.origin.stream, delivery.origin.sequence) == (stored.stream, stored.sequence)
    assert delivery.subject == adapter.mailboxes.address(bob).subject
    assert delivery.attempt == 1


async def test_stored_at_is_the_time_of_storing(adapter: Adapter, bob: AgentId) -> None:
    """`stored_at` is when the message was stored, not when it was delivered."""
    before = adapter.clock.now()
    await adapter.send(bob, "one")
    after = adapter.clock.now()
    inbox = await adapter.reader(bob)
    assert (await inbox.fetch(1, LONG))[0].stored_at.tzinfo is not None
    (again,) = await inbox.fetch(1, LONG)
    slack = timedelta(milliseconds=5)
    assert before - slack <= again.stored_at <= after + slack


async def test_order(adapter: Adapter, bob: AgentId) -> None:
    """A mailbox is read in the order in which it was filled, across batches."""
    await adapter.send(bob, "1", "2", "3")
    await adapter.send(bob, "4", "5")
    inbox = await adapter.reader(bob)
    first = await fetch_all(inbox, 2)
    rest = await fetch_all(inbox, 3)
    assert bodies(first + rest) == [b"1", b"2", b"3", b"4", b"5"]


async def test_limit(adapter: Adapter, bob: AgentId) -> None:
    """A fetch returns no more than its limit; the rest stays for the next."""
    await adapter.send(bob, "1", "2", "3")
    inbox = await adapter.reader(bob)
    first = await inbox.fetch(2, LONG)
    assert len(first) <= 2
    assert bodies(first + await fetch_all(inbox, 3 - len(first))) == [b"1", b"2", b"3"]


async def test_fetch_does_not_wait_for_a_full_batch(adapter: Adapter, bob: AgentId) -> None:
    """One message is enough for a fetch to return, however many were asked for."""
    await adapter.send(bob, "only")
    inbox = await adapter.reader(bob)
    async with asyncio.timeout(LONG.total_seconds() / 2):
        assert bodies(await inbox.fetch(100, LONG)) == [b"only"]


async def test_fetch_returns_when_a_message_comes(adapter: Adapter, bob: AgentId) -> None:
    """A waiting fetch returns as soon as something is stored."""
    inbox = await adapter.reader(bob)
    async with asyncio.timeout(LONG.total_seconds() / 2), asyncio.TaskGroup() as tasks:
        fetching = tasks.create_task(inbox.fetch(10, LONG))

        async def attended() -> bool:
            return (await adapter.mailboxes.status(bob)).attended

        await eventually(attended, what="the fetch waits")
        await adapter.send(bob, "late")
    assert bodies(fetching.result()) == [b"late"]


async def test_fetch_returns_empty_after_wait(adapter: Adapter, bob: AgentId) -> None:
    """A fetch that finds nothing returns [] after its wait: not at once, not much later."""
    inbox = await adapter.reader(bob)
    wait = timedelta(milliseconds=300)
    before = adapter.clock.now()
    assert await inbox.fetch(10, wait) == []
    assert wait * 0.9 <= adapter.clock.now() - before < wait + timedelta(seconds=3)


async def test_mail_waits_for_its_reader(adapter: Adapter, bob: AgentId) -> None:
    """Mail that came before the mailbox was first opened is delivered."""
    await adapter.send(bob, "early")
    assert bodies(await (await adapter.reader(bob)).fetch(1, LONG)) == [b"early"]


async def test_mailboxes_are_separate(adapter: Adapter, bob: AgentId) -> None:
    """An agent gets its own mail only, also from those that share its stream."""
    others = [named(f"other-{number}") for number in range(20)]
    for other in others:
        await adapter.send(other, f"for {other}")
    await adapter.send(bob, "for bob")
    inbox = await adapter.reader(bob)
    assert bodies(await inbox.fetch(100, LONG)) == [b"for bob"]
    assert await inbox.fetch(100, A_MOMENT) == []


async def test_acked_is_gone(adapter: Adapter, bob: AgentId) -> None:
    """An acked message leaves the mailbox, before `settle` returns."""
    await adapter.send(bob, "1", "2")
    inbox = await adapter.reader(bob)
    first, second = await fetch_all(inbox, 2)
    await inbox.settle([(first, Ack())])
    assert await adapter.mailboxes.get(first.origin) is None
    assert await adapter.mailboxes.get(second.origin) is not None
    assert (await adapter.mailboxes.status(bob)).pending == 1


async def test_acked_does_not_come_again(adapter: Adapter, bob: AgentId) -> None:
    """After its ack wait an acked message is not redelivered, an unsettled one is."""
    await adapter.send(bob, "acked", "forgotten")
    inbox = await adapter.reader(bob)
    acked, _ = await fetch_all(inbox, 2)
    await inbox.settle([(acked, Ack())])
    assert bodies(await inbox.fetch(10, LONG)) == [b"forgotten"]


async def test_term_is_an_ack(adapter: Adapter, bob: AgentId) -> None:
    """A terminated message leaves the mailbox (its dead letter was written before)."""
    await adapter.send(bob, "poison")
    inbox = await adapter.reader(bob)
    poison = await fetch_one(inbox)
    await inbox.settle([(poison, Term(HandlerRejected("no")))])
    assert (await adapter.mailboxes.status(bob)).pending == 0


async def test_settling_a_batch(adapter: Adapter, bob: AgentId) -> None:
    """Each message of a batch gets its own disposition."""
    await adapter.send(bob, "done", "again", "dead")
    inbox = await adapter.reader(bob)
    done, again, dead = await fetch_all(inbox, 3)
    await inbox.settle([(done, Ack()), (again, Nak(NO_WAIT)), (dead, Term(HandlerRejected("no")))])
    assert bodies(await inbox.fetch(10, LONG)) == [b"again"]
    assert (await adapter.mailboxes.status(bob)).pending == 1


async def test_settling_nothing(adapter: Adapter, bob: AgentId) -> None:
    """An empty batch to settle or keep is no error."""
    inbox = await adapter.reader(bob)
    await inbox.settle([])
    await inbox.keep([])


async def test_redelivery_after_ack_wait(adapter: Adapter, bob: AgentId) -> None:
    """A message that nobody settles comes again after the ack wait, not before, as attempt 2."""
    await adapter.send(bob, "lost")
    inbox = await adapter.reader(bob)
    before = adapter.clock.now()
    first = await fetch_one(inbox)
    again = await fetch_one(inbox)
    assert adapter.clock.now() - before >= adapter.limits.ack_wait * 0.9
    assert (again.origin, again.body) == (first.origin, b"lost")
    assert again.attempt == 2


async def test_keep_prevents_redelivery(adapter: Adapter, bob: AgentId) -> None:
    """A message that is kept again and again is not redelivered, for longer than the ack wait."""
    await adapter.send(bob, "slow")
    inbox = await adapter.reader(bob)
    slow = await fetch_one(inbox)
    for _ in range(5):
        await inbox.keep([slow])
        assert await inbox.fetch(1, adapter.limits.ack_wait * 0.4) == []
    await inbox.settle([(slow, Ack())])
    assert (await adapter.mailboxes.status(bob)).pending == 0


async def test_keep_is_for_one_ack_wait(adapter: Adapter, bob: AgentId) -> None:
    """A message that is kept once and then forgotten comes again, one ack wait later."""
    await adapter.send(bob, "slow")
    inbox = await adapter.reader(bob)
    slow = await fetch_one(inbox)
    await inbox.fetch(1, adapter.limits.ack_wait * 0.5)
    before = adapter.clock.now()
    await inbox.keep([slow])
    assert (await fetch_one(inbox)).attempt == 2
    assert adapter.clock.now() - before >= adapter.limits.ack_wait * 0.9


async def test_nak_without_delay(adapter: Adapter, bob: AgentId) -> None:
    """A message given back without delay comes again at once, long before its ack wait."""
    await adapter.send(bob, "again")
    inbox = await adapter.reader(bob)
    await inbox.settle([(await fetch_one(inbox), Nak(NO_WAIT))])
    (again,) = await inbox.fetch(1, adapter.limits.ack_wait * 0.5)
    assert again.attempt == 2


async def test_nak_delay_is_respected(adapter: Adapter, bob: AgentId) -> None:
    """A message given back with a delay comes again after it, also if the ack wait is longer."""
    await adapter.send(bob, "later")
    inbox = await adapter.reader(bob)
    later = await fetch_one(inbox)
    delay = adapter.limits.ack_wait * 0.4
    before = adapter.clock.now()
    await inbox.settle([(later, Nak(delay))])
    (again,) = await inbox.fetch(1, LONG)
    took = adapter.clock.now() - before
    assert again.body == b"later"
    assert delay * 0.9 <= took < adapter.limits.ack_wait * 0.95


async def test_nak_delay_longer_than_ack_wait(adapter: Adapter, bob: AgentId) -> None:
    """A delay may be longer than the ack wait; the ack wait does not cut it short."""
    await adapter.send(bob, "much later")
    inbox = await adapter.reader(bob)
    later = await fetch_one(inbox)
    before = adapter.clock.now()
    await inbox.settle([(later, Nak(adapter.limits.ack_wait * 2))])
    assert (await fetch_one(inbox)).attempt == 2
    assert adapter.clock.now() - before >= adapter.limits.ack_wait * 1.9


async def test_delayed_message_holds_up_nobody(adapter: Adapter, bob: AgentId) -> None:
    """While a message waits for its delay, the ones behind it are delivered."""
    await adapter.send(bob, "delayed", "next")
    inbox = await adapter.reader(bob)
    await inbox.settle([(await fetch_one(inbox), Nak(LONG))])
    assert bodies(await inbox.fetch(10, LONG)) == [b"next"]


async def test_redelivery_comes_before_new_messages(adapter: Adapter, bob: AgentId) -> None:
    """What is due again goes out before what was never delivered."""
    await adapter.send(bob, "failed", "new")
    inbox = await adapter.reader(bob)
    await inbox.settle([(await fetch_one(inbox), Nak(A_MOMENT))])
    # Let the delay pass; a reader of this mailbox would take what is new meanwhile.
    assert await (await adapter.reader(named("idle"))).fetch(1, A_MOMENT * 10) == []
    assert bodies(await fetch_all(inbox, 2)) == [b"failed", b"new"]


async def test_attempts_are_counted_per_message(adapter: Adapter, bob: AgentId) -> None:
    """Each delivery of a stored message carries its own number: 1, 2, 3."""
    await adapter.send(bob, "failing")
    inbox = await adapter.reader(bob)
    seen = []
    for _ in range(3):
        failing = await fetch_one(inbox)
        seen.append((failing.body, failing.attempt))
        await inbox.settle([(failing, Nak(NO_WAIT))])
    await adapter.send(bob, "fresh")
    fresh = await fetch_one(inbox)
    assert seen == [(b"failing", 1), (b"failing", 2), (b"failing", 3)]
    assert (fresh.body, fresh.attempt) == (b"fresh", 1)


async def test_max_deliver_stops_delivery(adapter: Adapter, bob: AgentId) -> None:
    """After `max_deliver` deliveries a message is delivered no more, and it stays stored."""
    await adapter.send(bob, "hopeless")
    inbox = await adapter.reader(bob)
    for attempt in range(1, adapter.limits.max_deliver + 1):
        hopeless = await fetch_one(inbox)
        assert hopeless.attempt == attempt
        await inbox.settle([(hopeless, Nak(NO_WAIT))])
    assert await inbox.fetch(1, adapter.limits.ack_wait * 1.5) == []
    assert (await adapter.mailboxes.status(bob)).pending == 1
    stored = await adapter.mailboxes.get(hopeless.origin)
    assert stored is not None
    assert stored.body == b"hopeless"


async def test_exhausted_message_can_be_settled(adapter: Adapter, bob: AgentId) -> None:
    """The ack of a message that is delivered no more still removes it."""
    await adapter.send(bob, "hopeless")
    inbox = await adapter.reader(bob)
    for _ in range(adapter.limits.max_deliver):
        hopeless = await fetch_one(inbox)
        await inbox.settle([(hopeless, Nak(NO_WAIT))])
    assert await inbox.fetch(1, A_MOMENT) == []
    await inbox.settle([(hopeless, Ack())])
    assert await adapter.mailboxes.get(hopeless.origin) is None


async def test_late_ack_counts(adapter: Adapter, bob: AgentId) -> None:
    """The ack of an earlier delivery removes the message, although it was redelivered since."""
    await adapter.send(bob, "slow")
    inbox = await adapter.reader(bob)
    first = await fetch_one(inbox)
    again = await fetch_one(inbox)
    assert again.attempt == 2
    await inbox.settle([(first, Ack())])
    assert await adapter.mailboxes.get(first.origin) is None


async def test_ack_twice(adapter: Adapter, bob: AgentId) -> None:
    """Settling a message that is settled already is no error."""
    await adapter.send(bob, "once")
    inbox = await adapter.reader(bob)
    once = await fetch_one(inbox)
    await inbox.settle([(once, Ack())])
    await inbox.settle([(once, Ack())])
    assert (await adapter.mailboxes.status(bob)).pending == 0


async def test_competing_readers_share(adapter: Adapter, bob: AgentId) -> None:
    """Two inboxes of one agent get each message once between them."""
    await adapter.send(bob, *(str(number) for number in range(20)))
    readers = [await adapter.reader(bob), await adapter.reader(bob)]
    fetched: list[list[Delivery]] = [[], []]
    for _ in range(10):
        for reader, mine in zip(readers, fetched, strict=True):
            mine.append(await fetch_one(reader))
    assert all(len(mine) == 10 for mine in fetched)
    together = bodies(fetched[0] + fetched[1])
    assert sorted(together) == sorted(str(number).encode() for number in range(20))


async def test_competing_waiters_share(adapter: Adapter, bob: AgentId) -> None:
    """Of two inboxes that wait for one message exactly one gets it."""
    readers = [await adapter.reader(bob), await adapter.reader(bob)]
    async with asyncio.TaskGroup() as tasks:
        waiting = [
            tasks.create_task(reader.fetch(1, adapter.limits.ack_wait * 0.6)) for reader in readers
        ]
        await adapter.send(bob, "one")
    assert sorted(len(task.result()) for task in waiting) == [0, 1]


async def test_redelivery_to_another_reader(adapter: Adapter, bob: AgentId) -> None:
    """What a reader took and never settled goes to another reader of the agent."""
    await adapter.send(bob, "orphan")
    dying = await adapter.reader(bob)
    await fetch_one(dying)
    await dying.close()
    heir = await adapter.reader(bob)
    orphan = await fetch_one(heir)
    assert (orphan.body, orphan.attempt) == (b"orphan", 2)
    await heir.settle([(orphan, Ack())])


async def test_settling_through_a_closed_inbox(adapter: Adapter, bob: AgentId) -> None:
    """Closing takes no further deliveries, but what was taken can still be settled."""
    await adapter.send(bob, "last")
    inbox = await adapter.reader(bob)
    last = await fetch_one(inbox)
    await inbox.close()
    await inbox.settle([(last, Ack())])
    assert (await adapter.mailboxes.status(bob)).pending == 0


async def test_closed_inbox_takes_nothing(adapter: Adapter, bob: AgentId) -> None:
    """After `close` mail waits for the next reader, as a first attempt."""
    inbox = await adapter.reader(bob)
    assert await inbox.fetch(1, A_MOMENT) == []
    await inbox.close()
    await adapter.send(bob, "after")
    assert await inbox.fetch(1, A_MOMENT) == []
    after = await fetch_one(await adapter.reader(bob))
    assert (after.body, after.attempt) == (b"after", 1)
