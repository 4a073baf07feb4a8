"""A mailbox holds as many messages as it may, exactly, whoever fills it."""

from __future__ import annotations

import asyncio
import json

import pytest

from caxton_nats.core.errors import QueueFull
from caxton_nats.engine.platform import Platform
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

    async def one_is_settled() -> bool:
        return (await platform.ports.mailboxes.status(bob.id)).pending == LIMIT - 1

    # There is room for one then, not for two.
    await eventually(one_is_settled)
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


async def test_bound_is_exact_at_the_third_door(lab: Lab) -> None:
    """What was submitted beyond the bound becomes dead letters, and their sender is told of each."""
    chosen: dict[str, object] = {"queue_size": LIMIT, "max_retries": 1}
    routers = [await lab.router(**chosen) for _ in range(2)]
    bob = await lab.register("bob", routers[0])
    nats = await lab.nats()
    body = json.dumps({"performative": "inform", "receiver": "bob"}).encode()

    async def submit(sender: int) -> None:
        answer = json.loads(await nats.request(f"caxton.submit.s-{sender}", body, what="submit"))
        assert answer["stream"] == "CAXTON_INGRESS", answer

    await asyncio.gather(*(submit(number % 3) for number in range(LIMIT * 4)))
    dead = routers[0].ports.dead_letters

    async def settled() -> bool:
        return sum((await dead.count()).values()) == LIMIT * 3

    await eventually(settled)
    assert {reason for _, reason in await dead.count()} == {"QueueFull"}
    assert (await routers[0].ports.mailboxes.pending())[bob] == LIMIT


async def test_a_full_inbound_queue_is_told_to_whoever_submits(lab: Lab) -> None:
    """Exactly as many wait as may; the PubAck of the next one is an error that names the bound."""
    platform = await lab.platform(ingress_size=10, batch_size=1)
    await lab.register("bob", platform)
    nats = await lab.nats()
    body = json.dumps({"performative": "inform", "receiver": "bob"}).encode()
    answers = [
        json.loads(one)
        for one in await asyncio.gather(
            *(nats.request("caxton.submit.alice", body, what="submit") for _ in range(40))
        )
    ]
    refused = [one["error"] for one in answers if "error" in one]
    assert len(refused) == 30
    assert {(one["err_code"], one["description"]) for one in refused} == {
        (10077, "maximum messages exceeded")
    }
    await lab.router(batch_size=1)
    await eventually(lambda: _has(platform, 10))
    answer = json.loads(await nats.request("caxton.submit.alice", body, what="submit"))
    assert "error" not in answer
    await eventually(lambda: _has(platform, 11))


async def _has(platform: Platform, number: int) -> bool:
    return (await platform.ports.mailboxes.pending()).get(platform.agent_id("bob")) == number
