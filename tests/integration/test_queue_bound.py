"""A mailbox holds as many messages as it may, exactly, whoever fills it."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.core.errors import QueueFull
from caxton_nats.ports import Receipt
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually

LIMIT = 5


async def test_bound_is_exact(lab: Lab, door: str) -> None:
    """The limit-th message is accepted; the next is refused with limit and value, until one is done."""
    platform = await lab.through(door, queue_size=LIMIT, concurrency=1)
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    for number in range(LIMIT):
        await alice.send("inform", "bob", number)
    with pytest.raises(QueueFull) as caught:
        await alice.send("inform", "bob", LIMIT, message_id="patient")
    assert (caught.value.field, caught.value.limit, caught.value.value) == (
        "receiver",
        LIMIT,
        LIMIT,
    )

    bob = Agent("bob")
    second, go_on = asyncio.Event(), asyncio.Event()
    done: list[object] = []

    @bob.on("inform")
    async def handle(ctx: Context) -> None:
        if ctx.content == 1:
            second.set()
            await go_on.wait()
        done.append(ctx.content)

    await lab.start(bob, platform)
    await asyncio.wait_for(second.wait(), 5)
    # The first is settled (the second has begun after it): there is room for one, not for two.
    receipt = await alice.send("inform", "bob", LIMIT, message_id="patient")
    assert receipt.outcomes[0].duplicate is False
    with pytest.raises(QueueFull):
        await alice.send("inform", "bob", LIMIT + 1)
    go_on.set()
    await eventually(lambda: done == list(range(LIMIT + 1)))


async def test_bound_is_exact_under_concurrency(lab: Lab, door: str) -> None:
    """Ten senders in two processes' routers at once: exactly as many get in as there is room."""
    first = await lab.through(door, queue_size=LIMIT)
    second = await lab.platform(router=door)
    bob = await lab.register("bob", first)
    senders = [await lab.agent(f"sender-{n}", (first, second)[n % 2]) for n in range(10)]
    rounds = await asyncio.gather(
        *(
            sender.send_many([sender.message("inform", "bob", turn) for turn in range(3)])
            for sender in senders
        )
    )
    results = [result for one in rounds for result in one]
    assert sum(isinstance(result, Receipt) for result in results) == LIMIT
    assert sum(isinstance(result, QueueFull) for result in results) == 30 - LIMIT
    assert await first.ports.mailboxes.pending() == {bob: LIMIT}


async def test_full_mailbox_fails_alone_in_a_multicast(lab: Lab, door: str) -> None:
    """Of a multicast only the copy for the full mailbox is refused."""
    platform = await lab.through(door, queue_size=1)
    await lab.register("bob", platform)
    carol = await lab.collector("carol", platform)
    alice = await lab.agent("alice", platform)
    await alice.send("inform", "bob", 1)
    receipt = await alice.send("inform", ["bob", "carol"], 2)
    bobs, carols = receipt.outcomes
    assert isinstance(bobs.error, QueueFull)
    assert carols.error is None
    await eventually(lambda: carol.contents == [2])
