"""Messages for capabilities, from the door to the mailboxes of those who were chosen."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from caxton_nats.core.capability import Strategy
from caxton_nats.core.choice import Decision
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    InvalidEnvelope,
    NoCapableAgent,
    NotConnected,
)
from caxton_nats.core.identifiers import AgentId, MessageId, agent_id
from caxton_nats.core.lease import Heartbeat
from caxton_nats.core.validation import Limits
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.memory.broker import DECISION_SLACK
from caxton_nats.ports import Decisions, Receipt, Submission
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.engine.bench import Bench, Failing

WINDOW = timedelta(minutes=2)


async def offering(bench: Bench, *agents: AgentId, capability: str = "shout") -> Platform:
    """Return a process that knows who offers the capability."""
    platform = bench.platform()
    await bench.broker.registry_store.follow(platform.registry)
    await bench.broker.leases.follow(platform.health)
    for agent in agents:
        await platform.registrar.register(agent, capabilities=[capability])
    return platform


async def joined(bench: Bench) -> Platform:
    return await offering(bench)


def asking(
    message_id: str = "m-1", *, to: tuple[str, ...] = ("shout",), **fields: Any
) -> Submission:
    receiver = tuple(AgentId(one if "@" in one else f"capability:{one}") for one in to)
    return Submission(
        sender=ALICE, envelope=sample(message_id=message_id, receiver=receiver, **fields)
    )


async def send(platform: Platform, submission: Submission) -> Receipt:
    (result,) = await platform.router.send([submission])
    if isinstance(result, CaxtonError):
        raise result
    return result


def reached(receipt: Receipt) -> list[AgentId]:
    return [one.receiver for one in receipt.outcomes if one.error is None]


async def delivered(bench: Bench, agent: AgentId) -> list[bytes]:
    inbox = await bench.broker.mailboxes.open(agent)
    return [one.body for one in await inbox.fetch(100, timedelta())]


class _Slow:
    """Decisions that take a second each to be written."""

    def __init__(self, real: Decisions, bench: Bench) -> None:
        self._real = real
        self._clock = bench.clock

    async def record(self, decision: Decision) -> Decision:
        await self._clock.sleep(timedelta(seconds=1))
        return await self._real.record(decision)

    async def find(self, sender: AgentId, message_id: MessageId) -> Decision | None:
        return await self._real.find(sender, message_id)


async def test_who_was_chosen_is_the_receiver(bench: Bench) -> None:
    """The letter names the agent; the receipt names agent, target and reason, and so the event."""
    platform = await offering(bench, BOB)
    receipt = await send(platform, asking())
    (outcome,) = receipt.outcomes
    assert (outcome.receiver, outcome.target) == (BOB, "capability:shout")
    assert outcome.reason == "one of 1 that offer shout, by the message's id"
    (body,) = await delivered(bench, BOB)
    assert b'"receiver":["bob@here"]' in body
    (event,) = [one for one in bench.events if one.action is Action.ROUTED]
    assert event.detail == outcome.reason


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_repeat_reaches_the_same(bench: Bench, strategy: str) -> None:
    """Through any router, whoever came, went or fell ill meanwhile, and it is a duplicate there."""
    platform = await offering(bench, BOB, CAROL)
    first = await send(platform, asking(strategy=strategy))
    other = await joined(bench)
    late = agent_id("late", "here")
    await other.registrar.register(late, capabilities=["shout"])
    ill = Heartbeat(instance="i", healthy=False)
    for agent in (BOB, CAROL):
        await other.registrar.heartbeat(agent, ill)
    for router in (platform, other):
        again = await send(router, asking(strategy=strategy))
        assert reached(again) == reached(first)
        assert all(one.duplicate for one in again.outcomes)
        assert [one.reason for one in again.outcomes] == [one.reason for one in first.outcomes]
    await other.registrar.heartbeat(late, ill)
    assert reached(await send(other, asking(strategy=strategy))) == reached(first)
    with pytest.raises(NoCapableAgent):
        await send(other, asking("m-2", strategy=strategy))


async def test_the_same_id_of_another_sender_is_another_message(bench: Bench) -> None:
    """Nobody decides for another by guessing an id."""
    platform = await offering(bench, BOB, CAROL)
    await send(platform, asking(strategy="all"))
    theirs = Submission(
        sender=CAROL, envelope=sample(sender=CAROL, receiver=(AgentId("capability:shout"),))
    )
    receipt = await send(platform, theirs)
    assert (reached(receipt), receipt.outcomes[0].duplicate) == ([BOB], False)


async def test_a_decision_outlives_the_duplicate_window(bench: Bench) -> None:
    """As long as a mailbox recognises the repeat, it goes there; afterwards it is a new message."""
    platform = await offering(bench, BOB)
    await send(platform, asking(strategy="all"))
    await bench.clock.advance((WINDOW + DECISION_SLACK).total_seconds() - 1)
    await platform.registrar.register(CAROL, capabilities=["shout"])
    assert reached(await send(platform, asking(strategy="all"))) == [BOB]
    await bench.clock.advance(1)
    assert reached(await send(platform, asking(strategy="all"))) == [BOB, CAROL]


async def test_two_routers_at_the_same_moment(bench: Bench) -> None:
    """A message that comes in twice at once is decided once."""
    platforms = [await offering(bench, BOB, CAROL), await joined(bench), await joined(bench)]
    platforms[1].router._choosing._served["shout"] = BOB
    receipts = await asyncio.gather(
        *(send(platform, asking(strategy="round-robin")) for platform in platforms)
    )
    assert len({tuple(reached(one)) for one in receipts}) == 1
    assert sum(not one.outcomes[0].duplicate for one in receipts) == 1


async def test_nothing_is_delivered_that_is_not_on_record(bench: Bench) -> None:
    """If the decision cannot be written, nobody gets the message, and sending again is safe."""
    decisions = Failing(bench.broker.decisions, record=[NotConnected("away")])
    await offering(bench, BOB)
    platform = bench.platform(bench.but(decisions=decisions))
    await bench.broker.registry_store.follow(platform.registry)
    with pytest.raises(NotConnected):
        await send(platform, asking())
    assert await delivered(bench, BOB) == []
    assert reached(await send(platform, asking())) == [BOB]


async def test_messages_for_agents_pay_nothing(bench: Bench) -> None:
    """No decision is looked up or written for a message whose receivers are named."""
    decisions = Failing(bench.broker.decisions)
    platform = await bench.known(bench.platform(bench.but(decisions=decisions)))
    await send(platform, asking(to=(BOB, CAROL)))
    assert decisions.calls == []


async def test_round_robin_is_even_within_a_batch_and_at_once(bench: Bench) -> None:
    """Each takes its turn, though many messages are decided before the first is on record."""
    platform = await offering(bench, BOB, CAROL)
    batch = [asking(f"m-{n}", strategy="round-robin") for n in range(10)]
    results = await platform.router.send(batch)
    results += [
        one
        for (one,) in await asyncio.gather(
            *(platform.router.send([asking(f"n-{n}", strategy="round-robin")]) for n in range(10))
        )
    ]
    receipts = [one for one in results if isinstance(one, Receipt)]
    assert Counter(agent for one in receipts for agent in reached(one)) == {BOB: 10, CAROL: 10}


async def test_least_loaded_asks_the_mailboxes_and_counts_its_own(bench: Bench) -> None:
    """What waits is asked now and then; in between, what this router sent is added."""
    mailboxes = Failing(bench.broker.mailboxes)
    await offering(bench, BOB, CAROL)
    for number in range(3):
        await bench.post(f"old-{number}")
    platform = bench.platform(bench.but(mailboxes=mailboxes))
    await bench.broker.registry_store.follow(platform.registry)
    got = [
        reached(await send(platform, asking(f"m-{n}", strategy="least-loaded")))[0]
        for n in range(7)
    ]
    assert Counter(got) == {CAROL: 5, BOB: 2}
    assert got[:3] == [CAROL] * 3
    assert mailboxes.calls.count("pending") == 1
    await bench.clock.advance(1)
    await asyncio.gather(
        *(send(platform, asking(f"n-{n}", strategy="least-loaded")) for n in range(4))
    )
    assert mailboxes.calls.count("pending") == 2
    assert (await bench.broker.mailboxes.status(CAROL)).pending == 7


async def test_affinity_keeps_a_conversation_together(bench: Bench) -> None:
    """Its first message goes to one; all others to the same, through another router, too."""
    here, there = await offering(bench, BOB, CAROL), await joined(bench)
    agents = set()
    for number in range(8):
        platform = (here, there)[number % 2]
        asked = asking(f"m-{number}", strategy="affinity", conversation_id="c-1")
        receipt = await send(platform, asked)
        agents |= set(reached(receipt))
        why = "by the conversation's id" if number == 0 else "takes part in conversation c-1"
        assert receipt.outcomes[0].reason.endswith(why)
    assert len(agents) == 1


async def test_affinity_of_messages_that_come_at_once(bench: Bench) -> None:
    """The first messages of a conversation are together, in one batch and through two routers."""
    here, there = await offering(bench, BOB, CAROL), await joined(bench)
    batches = [
        [asking(f"{router}-{n}", strategy="affinity", conversation_id="c-2") for n in range(5)]
        for router in ("here", "there")
    ]
    results = await asyncio.gather(here.router.send(batches[0]), there.router.send(batches[1]))
    receipts = [one for batch in results for one in batch if isinstance(one, Receipt)]
    assert len({tuple(reached(one)) for one in receipts}) == 1
    assert len(receipts) == 10


async def test_decisions_of_a_batch_are_written_at_the_same_time(bench: Bench) -> None:
    """Nobody waits for another's decision to be on record; each fails alone, in order."""
    await offering(bench, BOB, CAROL)
    decisions = _Slow(bench.broker.decisions, bench)
    platform = bench.platform(bench.but(decisions=decisions))
    await bench.broker.registry_store.follow(platform.registry)
    batch = [asking(f"m-{n}", to=("shout",) if n != 3 else ("fly",)) for n in range(20)]
    sending = asyncio.create_task(platform.router.send(batch))
    await bench.clock.advance(1.5)
    results = sending.result()
    assert isinstance(results[3], NoCapableAgent)
    assert [one.message_id for one in results if isinstance(one, Receipt)] == [
        f"m-{n}" for n in range(20) if n != 3
    ]
    bodies = [await delivered(bench, agent) for agent in (BOB, CAROL)]
    for mail in bodies:
        numbers = [int(body.split(b'"m-')[1].split(b'"')[0]) for body in mail]
        assert numbers == sorted(numbers)
    assert sum(map(len, bodies)) == 19


async def test_capabilities_beside_agents(bench: Bench) -> None:
    """Who is named and chosen gets one copy; what nobody offers fails alone."""
    platform = await offering(bench, BOB)
    await platform.registrar.register(CAROL)
    receipt = await send(platform, asking(to=("fly", CAROL, "shout", BOB)))
    assert [(one.receiver, one.target) for one in receipt.outcomes] == [
        (CAROL, ""),
        (BOB, "capability:shout"),
        ("capability:fly", "capability:fly"),
    ]
    assert isinstance(receipt.outcomes[-1].error, NoCapableAgent)
    assert len(await delivered(bench, BOB)) == 1
    await platform.registrar.register(CAROL, capabilities=["fly"])
    again = await send(platform, asking(to=("fly", CAROL, "shout", BOB)))
    error = again.outcomes[-1].error
    assert isinstance(error, NoCapableAgent)
    assert "the first time" in error.reason


async def test_nobody_offers_any_of_it(bench: Bench) -> None:
    """The first capability's error is the message's, and a later try may find somebody."""
    platform = await offering(bench, BOB)
    with pytest.raises(NoCapableAgent) as caught:
        await send(platform, asking(to=("fly", "swim")))
    assert caught.value.value == "capability:fly"
    await platform.registrar.register(CAROL, capabilities=["fly"])
    receipt = await send(platform, asking(to=("fly", "swim")))
    assert reached(receipt) == [CAROL]


async def test_too_many_would_get_it(bench: Bench) -> None:
    """The bound of receivers holds for those that are chosen; nobody gets the message."""
    await offering(bench, ALICE, BOB, CAROL, agent_id("dave", "here"))
    small = RouterOptions(platform="here", limits=Limits(max_receivers=2))
    platform = bench.platform(router=small)
    await bench.broker.registry_store.follow(platform.registry)
    with pytest.raises(InvalidEnvelope) as caught:
        await send(platform, asking(strategy="all"))
    assert (caught.value.field, caught.value.limit, caught.value.value) == ("receiver", 2, 3)
    assert await bench.broker.mailboxes.pending() == {}
    assert len(reached(await send(platform, asking(to=(BOB, CAROL))))) == 2


@pytest.mark.parametrize(
    ("receiver", "strategy", "field"),
    [
        ("capability:", "", "receiver"),
        ("capability:shout:", "", "receiver"),
        ("capability:shout", "random", "strategy"),
        ("bob", "random", "strategy"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    bench: Bench, receiver: str, strategy: str, field: str
) -> None:
    """With the field that is wrong."""
    platform = await offering(bench, BOB)
    body = f'{{"performative": "inform", "receiver": "{receiver}", "strategy": "{strategy}"}}'
    (result,) = await platform.router.send([Submission(sender=ALICE, body=body.encode())])
    assert isinstance(result, InvalidEnvelope)
    assert result.field == field


async def test_who_was_chosen_and_has_left(bench: Bench) -> None:
    """A repeat for somebody who is deregistered by now is not given to somebody else."""
    platform = await offering(bench, BOB)
    await send(platform, asking())
    await platform.registrar.deregister(BOB)
    await platform.registrar.register(CAROL, capabilities=["shout"])
    with pytest.raises(AgentNotFound, match="bob@here"):
        await send(platform, asking())
