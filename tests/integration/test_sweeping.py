"""What becomes of mail whose receiver will not fetch it: stopped by an operator, or gone."""

from __future__ import annotations

import asyncio
from typing import Any

from caxton_nats.core.errors import NotConnected, StreamMissing
from caxton_nats.core.registry import AgentState
from caxton_nats.engine.platform import Platform
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import eventually

QUICK = {"retry_delay": 0.1, "max_retries": 1}


def codes(letters: list[Any]) -> set[str]:
    return {letter.last_error["code"] for letter in letters}


async def dies(platform: Platform, number: int, code: str) -> None:
    """Wait until so many messages are dead letters for this reason, and nothing is left."""

    async def dead() -> bool:
        letters = await platform.ports.dead_letters.list(limit=1000)
        return len(letters) == number and codes(letters) == {code}

    await eventually(dead, what=f"{number} dead letters")


async def has_consumer(platform: Platform, lab: Lab, name: str) -> bool:
    address = platform.ports.mailboxes.address(platform.agent_id(name))
    nats = await lab.nats()
    try:
        await nats.api(f"CONSUMER.INFO.{address.stream}.{address.consumer}")
    except StreamMissing:
        return False
    return True


async def test_agent_that_has_left(lab: Lab, door: str) -> None:
    """Its mail dies after the retries, the senders are told, and its consumer goes in the end."""
    platform = await lab.through(door, **QUICK)
    if door == "embedded":
        await lab.router(**QUICK)
    alice = await lab.collector("alice", platform)
    bob = await lab.register("bob", platform)
    for number in range(100):
        await alice.send("inform", "bob", number)
    assert await platform.registrar.deregister(bob)
    await dies(platform, 100, "AgentNotFound")
    await eventually(lambda: len(alice.got) == 100)
    assert {one.content["error"]["code"] for one in alice.got} == {"AgentNotFound"}

    async def consumer_is_gone() -> bool:
        return not await has_consumer(platform, lab, "bob")

    await eventually(consumer_is_gone)


async def test_consumer_that_nobody_came_to_remove(lab: Lab) -> None:
    """A router service that starts removes the consumers of those who have left; no others."""
    platform = await lab.platform()
    bob, carol = await lab.register("bob", platform), await lab.register("carol", platform)
    await platform.ports.registry_store.remove(bob)
    await lab.router()

    async def consumer_is_gone() -> bool:
        return not await has_consumer(platform, lab, "bob")

    await eventually(consumer_is_gone)
    assert await has_consumer(platform, lab, carol)


async def test_agent_that_comes_back_in_time(lab: Lab) -> None:
    """It gets all its mail, in order."""
    router = await lab.router(retry_delay=300, retry_max_delay=3600)
    alice = await lab.agent("alice", router)
    bob = await lab.register("bob", router)
    for number in range(50):
        await alice.send("inform", "bob", number, conversation_id="c")
    await router.registrar.deregister(bob)
    back = await lab.collector("bob", await lab.platform())
    await eventually(lambda: back.contents == list(range(50)))
    assert await router.ports.dead_letters.list() == []


async def test_running_agent_that_is_stopped(lab: Lab, door: str) -> None:
    """Its process takes no more mail: the running handler finishes, the rest are dead letters."""
    platform = await lab.through(door, **QUICK)
    if door == "embedded":
        await lab.router(**QUICK)
    alice = await lab.agent("alice", platform)
    bob, begun, finish = Agent("bob"), asyncio.Event(), asyncio.Event()
    done: list[object] = []

    @bob.on("inform")
    async def slowly(ctx: Context) -> None:
        begun.set()
        await finish.wait()
        await ctx.inform("done")
        done.append(ctx.content)

    await lab.start(bob, await lab.platform(router=door, concurrency=1))
    for number in range(20):
        await alice.send("inform", "bob", number)
    await begun.wait()
    await platform.registrar.update_state(bob.id, AgentState.STOPPED)
    finish.set()
    await dies(platform, 19, "AgentStopped")
    assert done == [0]

    async def refuses() -> bool:
        try:
            await bob.send("inform", "alice")
        except NotConnected:
            return True
        return False

    await eventually(refuses)


@EMBEDDED_ONLY
async def test_several_router_services(lab: Lab) -> None:
    """They share the work: each message dies once, also while one of them is killed."""
    router = await lab.router(**QUICK)
    doomed = await lab.spawn("router", retry_delay=0.1, max_retries=1)
    await lab.router(**QUICK)
    alice = await lab.agent("alice", router)
    stopped, left = await lab.register("bob", router), await lab.register("carol", router)
    for number in range(10):
        await alice.send_many(
            [alice.message("inform", ["bob", "carol"], f"{number}-{n}") for n in range(30)]
        )
    await router.registrar.update_state(stopped, AgentState.STOPPED)
    await router.registrar.deregister(left)
    await doomed.kill()

    async def all_dead() -> bool:
        return sum((await router.ports.dead_letters.count()).values()) == 600

    await eventually(all_dead)


@EMBEDDED_ONLY
async def test_agent_whose_process_died_for_ever(lab: Lab) -> None:
    """Its mail waits, in its dead hands or not, until an operator says that it will not come back.

    What has a deadline dies at that deadline.
    """
    router = await lab.router(ack_wait=1.0, **QUICK)
    alice = await lab.collector("alice", router)
    worker = await lab.spawn("agent", "bob", "stuck", ack_wait=1.0)
    for number in range(5):
        await alice.send("inform", "bob", number)
    await eventually(lambda: bool(worker.notes))
    await worker.kill()
    await alice.send("inform", "bob", "soon", timeout=1)
    await dies(router, 1, "Expired")
    bob = router.agent_id("bob")
    assert (await router.ports.mailboxes.status(bob)).pending == 5
    await router.registrar.update_state(bob, AgentState.STOPPED)

    async def dead() -> bool:
        letters = await router.ports.dead_letters.list()
        return codes(letters) == {"Expired", "AgentStopped"} and len(letters) == 6

    await eventually(dead, what="six dead letters")
    await eventually(lambda: len(alice.got) == 6, what="six notices")
