"""Statistics of a platform on a real server, through both doors and over several routers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from caxton_nats import Agent, CaxtonError, Context
from caxton_nats.engine import usage
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.mailboxes import JetStreamMailboxes
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import eventually


async def send(agent: Agent, receiver: str, number: int) -> list[object]:
    results: list[object] = []
    for count in range(number):
        try:
            results.append(await agent.send("inform", receiver, count))
        except CaxtonError as error:
            results.append(error)
    return results


async def test_ten_messages(lab: Lab, door: str) -> None:
    """Ten messages are counted and timed by whichever router routed them, and errors by type."""
    platform = await lab.through(door)
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    await send(alice, "bob", 10)
    (error,) = await send(alice, "nobody", 1)
    assert isinstance(error, CaxtonError)
    total = (await platform.statistics()).total
    assert (total.total_processed, total.errors_by_type) == (11, {"AgentNotFound": 1})
    assert total.error_rate > 0
    assert total.routing_latency_us.count == 11
    assert 0 < total.routing_latency_us.p50 <= total.routing_latency_us.p999
    assert total.peak_messages_per_second >= 1
    assert (total.accepted, total.pending) == (10, 10)
    assert total.agent_queue_depths == {platform.agent_id("bob"): 10}
    assert total.database_bytes > 0
    assert total.memory_bytes > 0


async def test_routers_add_up(lab: Lab) -> None:
    """Two processes that route are told apart and added up; one that has ended is left out."""
    one, other = await lab.platform(), await lab.platform()
    await lab.register("bob", one)
    for name, platform, number in (("alice", one, 2), ("carol", other, 3)):
        await send(await lab.agent(name, platform), "bob", number)
    overview = await one.statistics()
    counts = {router: own.processed for router, own in overview.routers.items()}
    assert counts == {one.ports.peers.own_id: 2, other.ports.peers.own_id: 3}
    assert (overview.total.total_processed, overview.total.accepted) == (5, 5)
    await other.ports.peers.leave()
    assert (await one.statistics()).total.total_processed == 2


async def test_handling_is_measured(lab: Lab) -> None:
    """What the handlers of a process did is counted with what that process routed."""
    platform = await lab.platform()
    bob = Agent("bob")

    @bob.on("*")
    async def take(ctx: Context) -> None:
        await asyncio.sleep(0)

    await lab.start(bob, platform)
    await send(await lab.agent("alice", platform), "bob", 3)

    async def handled() -> bool:
        return (await platform.statistics()).total.actions.get("handled") == 3

    await eventually(handled)
    assert (await platform.statistics()).total.handling_latency_us.count == 3


async def test_any_client_may_ask_a_router(lab: Lab) -> None:
    """A router answers plain requests with JSON: what it measured, and how well it is."""
    platform = await lab.platform()
    nats = await lab.nats()

    async def ask(question: str) -> dict[str, Any]:
        subject = f"caxton.router.{platform.ports.peers.own_id}.{question}"
        answer = await nats.request(subject, b"", what="asking a router")
        return msgspec.json.decode(answer, type=dict[str, Any])

    figures = await ask("stats")
    assert (figures["processed"], figures["node"]) == (0, usage.node())
    assert (await ask("health"))["overall"] == {"status": "Healthy"}


@EMBEDDED_ONLY
async def test_the_cost_does_not_grow_with_the_agents(lab: Lab) -> None:
    """Statistics over three agents and over three hundred take the same number of requests."""
    platform = await lab.platform()

    async def requests() -> int:
        before = sent(platform)
        await platform.statistics()
        return sent(platform) - before

    for name in ("a", "b", "c"):
        await lab.register(name, platform)
    few = await requests()
    await asyncio.gather(*(lab.register(f"agent-{number}", platform) for number in range(300)))
    alice = await lab.agent("alice", platform)
    await asyncio.gather(*(alice.send("inform", f"agent-{number}") for number in range(300)))
    assert await requests() == few
    total = (await platform.statistics()).total
    assert (total.registered_agents, len(total.agent_queue_depths)) == (304, 300)


def sent(platform: Platform) -> int:
    """Return how many messages the connection of this process has published."""
    mailboxes = platform.ports.mailboxes
    assert isinstance(mailboxes, JetStreamMailboxes)
    return mailboxes._connection.client.stats["out_msgs"]
