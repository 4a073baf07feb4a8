"""Routers and servers that are killed lose nothing and double nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

from caxton_nats.core.errors import TransportError
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.ports import Receipt
from caxton_nats.sdk.agent import Agent
from tests.integration.lab import Lab
from tests.plugins.eventually import PATIENCE, eventually


async def persist(agent: Agent, number: int) -> Receipt:
    """Send again under the same id until there is a receipt, as a sender that cares does."""
    while True:
        try:
            return await agent.send("inform", "bob", number, message_id=f"m-{number}")
        except TransportError:
            await asyncio.sleep(0.05)


def empty(platform: Platform) -> Callable[[], Awaitable[bool]]:
    """Return the condition that all mail is settled."""

    async def condition() -> bool:
        return not await platform.ports.mailboxes.pending()

    return condition


@asynccontextmanager
async def sending_all_the_while(agent: Agent) -> AsyncIterator[dict[int, Receipt]]:
    """Have messages in flight at every moment of the body; yield the receipts, by number."""
    receipts: dict[int, Receipt] = {}
    numbers, enough = count(), asyncio.Event()

    async def work() -> None:
        while not enough.is_set():
            number = next(numbers)
            receipts[number] = await persist(agent, number)

    workers = [asyncio.create_task(work()) for _ in range(20)]
    await eventually(lambda: len(receipts) > 50)
    yield receipts
    before = len(receipts)
    await eventually(lambda: len(receipts) > before + 50)
    enough.set()
    await asyncio.gather(*workers)


async def test_router_killed_with_messages_in_flight(lab: Lab) -> None:
    """Of two routers one is killed under load: every message is stored exactly once."""
    platform = await lab.platform(queue_size=100_000)
    bob = await lab.register("bob", platform)
    doomed = await lab.spawn("router")
    await lab.router()
    alice = await lab.agent("alice", await lab.platform(router="service", request_timeout=0.5))
    async with sending_all_the_while(alice) as receipts:
        await doomed.kill()
    places = {(one.outcomes[0].stream, one.outcomes[0].sequence) for one in receipts.values()}
    assert len(places) == len(receipts)
    assert await platform.ports.mailboxes.pending() == {bob: len(receipts)}


async def test_only_router_killed_and_restarted(lab: Lab) -> None:
    """A sender whose only router dies goes on when it is back: exactly one copy of each."""
    platform = await lab.platform(queue_size=100_000)
    bob = await lab.collector("bob", platform)
    doomed = await lab.spawn("router")
    alice = await lab.agent("alice", await lab.platform(router="service", request_timeout=0.5))
    async with sending_all_the_while(alice) as receipts:
        await doomed.kill()
        successor = await lab.spawn("router")
    await eventually(lambda: len(bob.got) >= len(receipts))
    assert sorted(bob.contents) == sorted(receipts)
    assert await platform.ports.mailboxes.stored() == len(receipts)
    await successor.stop()


async def test_receipt_lost_with_its_router(lab: Lab) -> None:
    """What was stored by a router that died before its receipt is a duplicate for the next one."""
    platform = await lab.platform()
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    doomed = await lab.spawn("router")
    by_service = await lab.agent("carol", await lab.platform(router="service"))
    first = await by_service.send("inform", "bob", 1, message_id="m-1")
    await doomed.kill()
    await lab.router()
    again = await by_service.send("inform", "bob", 1, message_id="m-1")
    assert again.outcomes[0].duplicate
    assert again.outcomes[0].sequence == first.outcomes[0].sequence
    other = await alice.send("inform", "bob", 1, message_id="m-1")
    assert not other.outcomes[0].duplicate, "another sender's id is another message"


async def test_router_stops_politely(lab: Lab) -> None:
    """A router that is asked to stop answers what is in: nobody has to send again."""
    platform = await lab.platform(queue_size=100_000)
    await lab.register("bob", platform)
    first = await lab.spawn("router")
    patient = await lab.platform(router="service", request_timeout=30.0)
    alice = await lab.agent("alice", patient)
    await lab.router()
    stopped = asyncio.Event()
    receipts: list[Receipt] = []

    async def send_all_the_while() -> None:
        while not stopped.is_set():
            receipts.append(await alice.send("inform", "bob", 1))

    sending = [asyncio.create_task(send_all_the_while()) for _ in range(100)]
    await eventually(lambda: len(receipts) > 100)
    await first.stop()
    stopped.set()
    # A request that got lost would be sent again after half a minute.
    await asyncio.wait_for(asyncio.gather(*sending), 10)
    assert not any(one.outcomes[0].duplicate for one in receipts)


async def test_server_killed_while_an_agent_is_connected(
    own_server: EmbeddedServer, own_lab: Lab
) -> None:
    """After a kill and restart of the server agents go on by themselves, and nothing is lost."""
    platform = await own_lab.platform(queue_size=100_000)
    bob = await own_lab.collector("bob", platform)
    alice = await own_lab.agent("alice", await own_lab.platform())
    async with sending_all_the_while(alice) as receipts:
        await own_server.kill()
        await own_server.restart()
    await eventually(lambda: len(bob.got) >= len(receipts))
    # Each once: the process that handled them did not die.
    assert sorted(bob.contents) == sorted(receipts)
    await eventually(empty(platform), what="acks lost with the server are repeated")


async def test_everything_goes_on_after_a_server_restart(
    own_server: EmbeddedServer, own_lab: Lab
) -> None:
    """Router service, ingress, mirror and agents in other processes resume after a restart."""
    platform = await own_lab.platform()
    process = await own_lab.spawn("agent", "bob", "record")
    router = await own_lab.spawn("router")
    alice = await own_lab.agent("alice", await own_lab.platform(router="service"))
    await alice.send("inform", "bob", "before")
    await own_server.kill()
    await own_server.restart()
    await asyncio.wait_for(persist(alice, 1), PATIENCE)
    await eventually(lambda: process.notes == ["before", 1])
    nats = await own_lab.nats()
    body = b'{"performative": "inform", "receiver": "bob", "content": "submitted"}'
    await nats.request("caxton.submit.alice", body, what="submit")
    await eventually(lambda: process.notes == ["before", 1, "submitted"])
    await own_lab.register("late", await own_lab.platform())
    late = platform.agent_id("late")
    await eventually(lambda: platform.registry.find(late) is not None)
    await eventually(empty(platform), what="acks lost with the server are repeated")
    await process.stop()
    await router.stop()
