"""The rate limit at the doors of a router, and how several routers share it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from caxton_nats import Agent, Context, Settings, started
from caxton_nats.app import at_work
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, NotConnected, ResourceExhausted
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.ports import Ports, Receipt, Submission
from caxton_nats.tasks import end
from caxton_nats.telemetry import Action, Event
from caxton_nats.testing import memory_platform
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.engine.bench import Bench, CountingIds, Failing
from tests.engine.test_ingress import waiting
from tests.plugins.eventually import eventually

LIMIT = 5
DAVE = AgentId("dave@here")


async def limited(bench: Bench, limit: int = LIMIT, ports: Ports | None = None) -> Platform:
    return await bench.known(
        bench.platform(ports, router=RouterOptions(platform="here", rate_limit=limit))
    )


def made(number: int, sender: AgentId = ALICE, **fields: object) -> Submission:
    message_id = MessageId(f"m-{number}")
    return Submission(
        sender=sender, envelope=sample(sender=sender, message_id=message_id, **fields)
    )


def refusals(results: list[Receipt | CaxtonError]) -> list[int]:
    return [at for at, one in enumerate(results) if isinstance(one, ResourceExhausted)]


async def test_a_batch_counts_its_messages(bench: Bench) -> None:
    """The first so many are taken, each of the rest is refused by itself, and that recovers."""
    platform = await limited(bench)
    results = await platform.router.send([made(number) for number in range(8)])
    assert refusals(results) == [5, 6, 7]
    assert {type(one) for one in results[:5]} == {Receipt}
    refused = results[7]
    assert isinstance(refused, ResourceExhausted)
    assert refused.retry_after is not None
    await bench.clock.advance(refused.retry_after)
    assert refusals(await platform.router.send([made(7), made(8)])) == [1]
    await bench.clock.advance(60)
    assert refusals(await platform.router.send([made(20 + at) for at in range(6)])) == [5]


async def test_a_message_for_several_counts_once(bench: Bench) -> None:
    """Messages are limited, not copies: what those cost is bounded by the mailboxes."""
    platform = await limited(bench)
    everybody = (BOB, CAROL, DAVE)
    await platform.registrar.register(DAVE)
    results = await platform.router.send([made(at, receiver=everybody) for at in range(6)])
    assert refusals(results) == [5]


async def test_what_is_refused_for_another_reason_counts(bench: Bench) -> None:
    """Also who sends rubbish sends no more of it than it may."""
    platform = await limited(bench)
    rubbish = Submission(sender=ALICE, body=b"no json")
    results = await platform.router.send([rubbish] * 5 + [made(1)])
    assert refusals(results) == [5]
    assert all(isinstance(one, CaxtonError) for one in results)
    assert not isinstance(results[0], InvalidEnvelope | ResourceExhausted)


async def test_each_sender_has_its_own(bench: Bench) -> None:
    """One who floods takes nothing from another in the same batch."""
    platform = await limited(bench)
    batch = [made(at, ALICE if at % 2 else CAROL) for at in range(20)]
    results = await platform.router.send([*batch, made(99, DAVE)])
    assert len(refusals(results)) == 10
    assert isinstance(results[-1], Receipt)


async def test_no_limit(bench: Bench) -> None:
    """A limit of 0 is none."""
    platform = await limited(bench, 0)
    assert not refusals(await platform.router.send([made(at) for at in range(500)]))


async def test_notices_are_not_limited(bench: Bench) -> None:
    """What the platform tells a sender does not count, and is told to one at its limit, too."""
    platform = await limited(bench)
    await platform.router.send([made(at) for at in range(20)])
    for number in range(10):
        error = NotConnected("no")
        await platform.burial.tell(ALICE, error, sample(), key=f"k-{number}")
    status = await bench.broker.mailboxes.status(ALICE)
    assert status.pending == 10


async def submit(bench: Bench, sender: AgentId, number: int) -> None:
    body = f'{{"performative": "inform", "to": "bob", "content": {number}}}'
    await bench.broker.submit(sender, body.encode())


async def stored(bench: Bench) -> int:
    return (await bench.broker.mailboxes.status(BOB)).pending


async def test_what_is_submitted_waits_for_its_turn(bench: Bench) -> None:
    """At the third door nothing is refused: the rest comes at the rate, and nobody else waits."""
    platform = await limited(bench)
    running = asyncio.create_task(bench.ingress(platform).run())
    for number in range(20):
        await submit(bench, ALICE, number)
    await submit(bench, CAROL, 0)
    await bench.clock.idle()
    assert await stored(bench) == LIMIT + 1
    for seconds in range(1, 4):
        await bench.clock.advance(1)
        assert await stored(bench) == LIMIT * (seconds + 1) + 1
    assert (await waiting(bench), await bench.dead()) == (0, [])
    bodies = [one.body for one in await bench.broker.mailboxes.list(BOB, limit=100)]
    alices = [one for one in reversed(bodies) if b"alice" in one]
    assert [int(one.partition(b'"content":')[2].split(b",")[0].rstrip(b"}")) for one in alices] == [
        *range(20)
    ]
    await end([running])


async def test_routers_share_a_limit(bench: Bench) -> None:
    """A second one halves the share of the first at once, and gives it back when it has ended.

    One that routes for its own agents only takes no part in it.
    """
    async with AsyncExitStack() as stack:
        routers = []
        for _ in range(3):
            platform = await limited(bench, 1000, bench.broker.ports(CountingIds()))
            await stack.enter_async_context(at_work(platform))
            routers.append(platform)
        tasks = []
        for platform, shares in zip(routers[:2], ([1000], [500, 500]), strict=True):
            tasks.append(asyncio.create_task(platform.sharing.run()))
            await bench.clock.idle()
            assert [one.router.rate_limit.burst for one in routers[: len(tasks)]] == shares
        assert routers[2].router.rate_limit.burst == 1000
        await end(tasks[1:])
        await bench.clock.advance(30)
        assert routers[0].router.rate_limit.burst == 1000
        await end(tasks)


async def test_a_count_that_fails(bench: Bench) -> None:
    """While the routers cannot be asked, the last share holds."""
    peers = Failing(bench.ports.peers, ask=[NotConnected("away")] * 3)
    platform = await limited(bench, 100, bench.but(peers=peers))
    await platform.ports.peers.join(platform.answers)
    running = asyncio.create_task(platform.sharing.run())
    await bench.clock.advance(10)
    assert platform.router.rate_limit.burst == 100
    await end([running])


async def test_answers_above_the_limit_slow_their_agent_down() -> None:
    """A handler that has answered is not run again: its answers go when they may, at one attempt."""
    events: list[Event] = []
    bob, alice, carol = Agent("bob"), Agent("alice"), Agent("carol")
    got: list[object] = []

    @bob.on("request")
    async def echo(ctx: Context) -> None:
        await ctx.inform(ctx.content)

    async def keep(ctx: Context) -> None:
        got.append(ctx.content)

    chosen = Settings(rate_limit=50, max_retries=1, concurrency=4)
    async with (
        memory_platform(chosen, observer=events.append) as platform,
        started(platform, bob, alice, carol),
    ):
        for asker in (alice, carol):
            asker.on("*")(keep)
            results = await asker.send_many(
                [asker.message("request", "bob", f"{asker.name}-{at}") for at in range(40)]
            )
            assert all(isinstance(one, Receipt) for one in results)
        await eventually(lambda: len(got) == 80)
    assert len(set(map(str, got))) == 80
    assert not [one for one in events if one.action in (Action.RETRIED, Action.DEAD_LETTERED)]


@pytest.mark.parametrize("limit", [0, 7])
async def test_the_share_of_one(bench: Bench, limit: int) -> None:
    """A single router service allows the whole; without a limit it asks nobody."""
    platform = await limited(bench, limit)
    await platform.ports.peers.join(platform.answers)
    running = asyncio.create_task(platform.sharing.run())
    await bench.clock.advance(61)
    assert platform.router.rate_limit.burst == max(limit, 1)
    await end([running])
