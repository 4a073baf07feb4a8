"""Timers: durable, one for each kind and key, at least once."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.disposition import Ack, Nak
from caxton_nats.ports import Delivery, Due, Inbox, Timer
from tests.conformance.adapters import A_MOMENT, LONG, Adapter
from tests.plugins.eventually import eventually


def said(delivery: Delivery) -> Timer:
    return msgspec.json.decode(delivery.body, type=Timer)


async def due(inbox: Inbox, number: int) -> list[Timer]:
    """Wait for so many timers, settle them, and return them."""
    found: list[Timer] = []
    while len(found) < number:
        deliveries = await inbox.fetch(10, LONG)
        assert deliveries, "nothing came due"
        await inbox.settle([(delivery, Ack()) for delivery in deliveries])
        found += map(said, deliveries)
    return found


def soon(adapter: Adapter, seconds: float = 0.3) -> datetime:
    return adapter.clock.now() + timedelta(seconds=seconds)


async def test_a_timer_comes_due(adapter: Adapter) -> None:
    """Not before its time, with what it was set with, and once."""
    inbox = await adapter.timers.inbox()
    timer, at = Timer("conversation", "c.1 *>/ü", '{"any": "text"}'), soon(adapter)
    await adapter.timers.set(timer, at)
    (delivery,) = await inbox.fetch(10, LONG)
    assert adapter.clock.now() >= at
    assert (said(delivery), delivery.subject) == (timer, "caxton.due.conversation")
    await inbox.settle([(delivery, Ack())])
    assert await inbox.fetch(10, A_MOMENT) == []


async def test_a_time_that_has_passed(adapter: Adapter) -> None:
    """It comes due at once."""
    inbox = await adapter.timers.inbox()
    await adapter.timers.set(Timer("drain", "bob"), soon(adapter, -60))
    assert await due(inbox, 1) == [Timer("drain", "bob")]


async def test_setting_it_again_replaces_it(adapter: Adapter) -> None:
    """Of one kind and key the last one counts; another kind or key is another timer."""
    inbox = await adapter.timers.inbox()
    for data in ("first", "second"):
        await adapter.timers.set(Timer("drain", "bob", data), soon(adapter))
    await adapter.timers.set(Timer("drain", "carol", "third"), soon(adapter))
    await adapter.timers.set(Timer("lease", "bob", "fourth"), soon(adapter))
    found = await due(inbox, 3)
    assert sorted(timer.data for timer in found) == ["fourth", "second", "third"]
    assert await inbox.fetch(10, A_MOMENT) == []


async def test_a_cancelled_timer_does_not_come(adapter: Adapter) -> None:
    """Nor does it harm to cancel one that never was."""
    inbox = await adapter.timers.inbox()
    await adapter.timers.set(Timer("drain", "bob"), soon(adapter))
    await adapter.timers.set(Timer("drain", "carol"), soon(adapter, 0.6))
    await adapter.timers.cancel("drain", "bob")
    await adapter.timers.cancel("drain", "nobody")
    assert await due(inbox, 1) == [Timer("drain", "carol")]


async def test_what_is_due_waits_for_a_reader(adapter: Adapter) -> None:
    """Nobody has to be there when the time comes; of two readers one gets it."""
    await adapter.timers.set(Timer("drain", "bob"), soon(adapter, 0))
    await adapter.timers.set(Timer("drain", "carol"), soon(adapter, 0))
    first, second = await adapter.timers.inbox(), await adapter.timers.inbox()
    found: list[Timer] = []
    while len(found) < 2:
        for inbox in (first, second):
            deliveries = await inbox.fetch(1, A_MOMENT)
            await inbox.settle([(delivery, Ack()) for delivery in deliveries])
            found += map(said, deliveries)
    assert sorted(timer.key for timer in found) == ["bob", "carol"]


async def test_one_that_is_not_settled_comes_again(adapter: Adapter) -> None:
    """After ack_wait, or when it is given back."""
    inbox = await adapter.timers.inbox()
    await adapter.timers.set(Timer("drain", "bob"), soon(adapter, 0))
    (unsettled,) = await inbox.fetch(1, LONG)
    (again,) = await inbox.fetch(1, LONG)
    assert (unsettled.attempt, again.attempt) == (1, 2)
    await inbox.settle([(again, Nak(timedelta()))])
    assert await due(inbox, 1) == [Timer("drain", "bob")]


async def test_due_timers_are_counted(adapter: Adapter) -> None:
    """What has come due counts until it is settled, in a reader's hands, too; what runs does not."""
    assert await adapter.timers.due() == Due()
    began = adapter.clock.now()
    await adapter.timers.set(Timer("test", "later"), began + timedelta(hours=1))
    for key in ("one", "two"):
        await adapter.timers.set(Timer("test", key), began)
    inbox = await adapter.timers.inbox()

    async def both_are_due() -> bool:
        return (await adapter.timers.due()).number == 2

    await eventually(both_are_due)
    (first,) = await inbox.fetch(1, LONG)
    found = await adapter.timers.due()
    assert found.number == 2
    assert found.since is not None
    assert began - timedelta(seconds=1) <= found.since <= adapter.clock.now() + timedelta(seconds=1)
    await inbox.settle([(first, Ack())])
    assert (await adapter.timers.due()).number == 1
