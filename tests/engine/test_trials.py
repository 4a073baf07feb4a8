"""What routers do with messages for an agent whose circuit breaker is not closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.app import at_work
from caxton_nats.core.breaker import Breaker, CircuitBreakerState
from caxton_nats.core.codec import encode
from caxton_nats.core.dead_letter import Origin, Stage
from caxton_nats.core.errors import (
    CaxtonError,
    CircuitBreakerOpen,
    HandlerFailed,
    NoCapableAgent,
    NotConnected,
)
from caxton_nats.core.health import Degraded
from caxton_nats.core.identifiers import ConversationId, MessageId
from caxton_nats.core.lease import Heartbeat
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Delivery, Ports, Receipt, Submission
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.engine.bench import Bench, Failing

TIMEOUT = 60.0


class Routers:
    """Several router services on one broker, and bob, who runs."""

    def __init__(self, bench: Bench, stack: AsyncExitStack) -> None:
        self._bench = bench
        self._stack = stack
        self.all: list[Platform] = []

    async def add(self, ports: Ports | None = None) -> Platform:
        platform = self._bench.platform(ports)
        await self._stack.enter_async_context(at_work(platform))
        self.all.append(platform)
        return platform

    async def send(self, router: int, message_id: str, **fields: object) -> Receipt | CaxtonError:
        envelope = sample(message_id=MessageId(message_id), **fields)
        submission = Submission(sender=envelope.sender, envelope=envelope)
        (result,) = await self.all[router].router.send([submission])
        return result

    async def open(self, after: float = TIMEOUT) -> Breaker:
        """Have bob's breaker open, as its mailbox would."""
        now = self._bench.clock.now()
        breaker = Breaker(
            agent=BOB,
            state=CircuitBreakerState.OPEN,
            failures=3,
            opened_at=now,
            until=now + timedelta(seconds=after),
            timeout=TIMEOUT,
            last_error={"code": "HandlerFailed", "reason": "ValueError: no"},
        )
        await self._bench.ports.breakers.remove(BOB)
        await self._bench.ports.breakers.save(breaker, revision=None)
        return breaker


@pytest.fixture
async def routers(bench: Bench) -> AsyncIterator[Routers]:
    """Three routers; bob's lease lasts for an hour."""
    async with AsyncExitStack() as stack:
        made = Routers(bench, stack)
        for _ in range(3):
            await made.add()
        registrar = made.all[0].registrar
        await registrar.register(ALICE)
        beat = Heartbeat(instance="one", lease=3600)
        await registrar.register(BOB, capabilities=["shout"], beat=beat)
        await registrar.register(CAROL)
        yield made


async def test_every_router_refuses(routers: Routers) -> None:
    """The sender is told that the breaker is open and after how many seconds it may try again."""
    await routers.open()
    for router in range(3):
        refused = await routers.send(router, f"m-{router}")
        assert isinstance(refused, CircuitBreakerOpen)
        assert refused.retry_after == pytest.approx(TIMEOUT, abs=0.01)
        assert refused.hint
    assert (await routers._bench.pending()) == 0


async def test_a_router_that_starts_later_refuses_too(routers: Routers) -> None:
    """The state is in its bucket: it outlives all routers."""
    await routers.open()
    await routers.add()
    assert isinstance(await routers.send(3, "m-1"), CircuitBreakerOpen)


async def test_one_trial_of_three_routers(bench: Bench, routers: Routers) -> None:
    """After the time-out one message is let in by one of them; after another one, one more."""
    await routers.open()
    for trials in (1, 2):
        await bench.clock.advance(TIMEOUT)
        results = await asyncio.gather(
            *(routers.send(at % 3, f"m-{trials}-{at}") for at in range(12))
        )
        refused = [one for one in results if isinstance(one, CircuitBreakerOpen)]
        assert len(refused) == 11
        assert all(one.retry_after == pytest.approx(TIMEOUT / 10, abs=0.01) for one in refused)
        assert await bench.pending() == trials


async def test_the_trial_may_be_sent_again(bench: Bench, routers: Routers) -> None:
    """Whoever has lost the receipt of the trial gets it: a duplicate is no second trial."""
    await routers.open(after=0)
    assert isinstance(await routers.send(0, "m-1"), Receipt)
    again = await routers.send(0, "m-1")
    assert isinstance(again, Receipt)
    assert again.outcomes[0].duplicate
    assert isinstance(await routers.send(0, "m-2"), CircuitBreakerOpen)


async def test_answers_pass(bench: Bench, routers: Routers) -> None:
    """What answers the agent, and what the platform tells it, is let in: it is new work that waits."""
    await routers.send(0, "m-0", sender=BOB, receiver=(ALICE,), conversation_id=ConversationId("c"))
    await routers.open()
    fields = {"conversation_id": ConversationId("c"), "in_reply_to": MessageId("m-0")}
    assert isinstance(await routers.send(1, "m-1", **fields), Receipt)
    assert isinstance(await routers.send(1, "m-2"), CircuitBreakerOpen)
    told = NotConnected("told")
    await routers.all[0].burial.tell(BOB, told, sample(sender=BOB, receiver=(ALICE,)), key="k")
    assert await bench.pending() == 2


async def test_each_receiver_has_its_own_outcome(bench: Bench, routers: Routers) -> None:
    """Others who are named get their copies, and the receipt says who did not and why."""
    await routers.open()
    receipt = await routers.send(0, "m-1", receiver=(BOB, CAROL))
    assert isinstance(receipt, Receipt)
    assert [type(one.error) for one in receipt.outcomes] == [CircuitBreakerOpen, type(None)]


async def test_a_refused_message_is_no_part_of_its_conversation(
    bench: Bench, routers: Routers
) -> None:
    """It was not taken: the conversation does not know of it."""
    await routers.open()
    await routers.send(0, "m-1", conversation_id=ConversationId("c"))
    assert await bench.ports.conversations.load(ConversationId("c")) is None


async def test_who_is_chosen_for_a_capability(bench: Bench, routers: Routers) -> None:
    """Not an agent whose breaker is open while others offer it; alone, not before its trial."""
    await routers.open()
    wanted = {"receiver": ("capability:shout",)}
    refused = await routers.send(0, "m-1", **wanted)
    assert isinstance(refused, NoCapableAgent)
    assert "circuit breaker is open" in refused.reason
    assert routers.all[0].offering("shout", besides=ALICE) == []
    beat = Heartbeat(instance="two", lease=3600)
    await routers.all[0].registrar.register(CAROL, capabilities=["shout"], beat=beat)
    for number in range(5):
        receipt = await routers.send(0, f"n-{number}", **wanted)
        assert isinstance(receipt, Receipt)
        assert [one.receiver for one in receipt.outcomes] == [CAROL]
    await routers.all[0].registrar.deregister(CAROL)
    await bench.clock.advance(TIMEOUT)
    assert isinstance(await routers.send(0, "o-1", **wanted), Receipt)
    assert isinstance(await routers.send(0, "o-2", **wanted), NoCapableAgent)


async def test_nobody_is_locked_out_of_an_agent_that_is_away(
    bench: Bench, routers: Routers
) -> None:
    """Silent, stopped or crashed, it could close nothing: its mail waits for it, as ever."""
    await routers.open(after=10_000)
    await bench.clock.advance(3600)
    assert isinstance(await routers.send(0, "m-1"), Receipt)
    await routers.all[0].registrar.heartbeat(BOB, Heartbeat(instance="one", lease=3600))
    assert isinstance(await routers.send(0, "m-2"), CircuitBreakerOpen)
    await routers.all[0].registrar.release(BOB, "one")
    assert isinstance(await routers.send(1, "m-3"), Receipt)


async def test_nothing_is_redriven_to_it(bench: Bench, routers: Routers) -> None:
    """A dead letter would only die again; an operator may insist."""
    await routers.open()
    delivery = Delivery(
        origin=Origin("S", 1),
        subject="s",
        body=encode(sample()),
        headers={},
        attempt=4,
        stored_at=bench.clock.now(),
    )
    here = routers.all[0]
    letter = await here.burial.bury(
        delivery, HandlerFailed("no"), agent=BOB, stage=Stage.DELIVER, envelope=sample()
    )
    with pytest.raises(CircuitBreakerOpen):
        await here.redrive.redrive(letter.id)
    assert (await bench.pending(), len(await bench.dead())) == (0, 1)
    await here.redrive.redrive(letter.id, force=True)
    assert await bench.pending() == 1


async def test_registrations_clear_it_away(bench: Bench, routers: Routers) -> None:
    """Deregistering removes the record; so does an agent that comes back without a lease."""
    registrar = routers.all[0].registrar
    await routers.open()
    await registrar.deregister(BOB)
    assert await bench.ports.breakers.load(BOB) is None
    await registrar.register(BOB, beat=Heartbeat(instance="two", lease=3600))
    await routers.open()
    await registrar.release(BOB, "two")
    await registrar.register(BOB)
    assert await bench.ports.breakers.load(BOB) is None
    assert isinstance(await routers.send(1, "m-1"), Receipt)


async def test_without_the_bucket_there_is_no_trial(bench: Bench, routers: Routers) -> None:
    """With NATS away for that moment nothing is let in, and the sender is told so."""
    await routers.open(after=0)
    down = NotConnected("the server is away")
    breakers = Failing(bench.ports.breakers, save=[down])
    await routers.add(bench.but(breakers=breakers))
    assert await routers.send(3, "m-1") == down
    assert await bench.pending() == 0
    assert isinstance(await routers.send(3, "m-1"), Receipt)


async def test_it_is_seen_everywhere(bench: Bench, routers: Routers) -> None:
    """In the statistics, and as Degraded in the health, with who it is and what was wrong last."""
    breaker = await routers.open()
    total = (await routers.all[1].statistics()).total
    assert total.circuit_breakers == {BOB: "Open"}
    found = await routers.all[2].health_check()
    assert found.components["breakers"].metrics == {"open": 1.0}
    assert found.overall == Degraded(
        "breakers: that of bob@here is Open after 3 failures in a row, the last: ValueError: no"
    )
    await bench.clock.advance(TIMEOUT)
    total = (await routers.all[1].statistics()).total
    assert msgspec.to_builtins(total.circuit_breakers) == {"bob@here": "HalfOpen"}
    assert breaker.state is CircuitBreakerState.OPEN
