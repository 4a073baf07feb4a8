"""The store-and-forward door: what was submitted is routed, tried again, or buried; never stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.breaker import Breaker, CircuitBreakerState
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    NotConnected,
    PublishUnconfirmed,
    QueueFull,
)
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.lease import Heartbeat
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Delivery, Door, Outcome, Receipt, Submission
from caxton_nats.tasks import Workers, end
from tests.core.sample import ALICE, BOB, CAROL
from tests.engine.bench import ACK_WAIT, POLICY, After, Bench, Failing, Recorder

DAVE = AgentId("dave@here")
GOOD = b'{"performative": "inform", "to": "bob"}'


async def waiting(bench: Bench) -> int:
    """Return how many submissions are not settled."""
    queue = bench.broker._ingress.queue("router")
    return len(queue.messages)


async def mail(bench: Bench, agent: AgentId = BOB) -> list[Envelope]:
    inbox = await bench.broker.mailboxes.open(agent)
    found = await inbox.fetch(100, timedelta())
    return [codec.decode(one.body, max_bytes=100_000) for one in found]


async def left_alone(bench: Bench, platform: Platform, seconds: float) -> None:
    """Have dave's breaker open from now on for so long."""
    now = bench.clock.now()
    breaker = Breaker(
        agent=DAVE,
        state=CircuitBreakerState.OPEN,
        failures=3,
        opened_at=now,
        until=now + timedelta(seconds=seconds),
        timeout=60,
    )
    await platform.ports.breakers.remove(DAVE)
    await platform.ports.breakers.save(breaker, revision=None)


async def with_dave(bench: Bench) -> Platform:
    platform = await bench.known(bench.platform())
    await bench.ports.breakers.follow(platform.health.breakers)
    await platform.registrar.register(DAVE, beat=Heartbeat(instance="one", lease=3600))
    return platform


async def test_a_receiver_that_is_left_alone(bench: Bench) -> None:
    """What is for it comes again when it may be tried; what is behind passes at once."""
    platform = await with_dave(bench)
    await left_alone(bench, platform, 60)
    running = asyncio.create_task(bench.ingress(platform).run())
    await bench.broker.submit(ALICE, b'{"performative": "inform", "to": "dave"}')
    await bench.broker.submit(ALICE, GOOD)
    await bench.clock.advance(59)
    assert (len(await mail(bench)), await waiting(bench)) == (1, 1)
    await bench.clock.advance(2)
    assert (await waiting(bench), len(await mail(bench, DAVE))) == (0, 1)
    await end([running])


async def test_a_receiver_that_is_left_alone_for_ever(bench: Bench) -> None:
    """After its tries the message is a dead letter, and no more of the queue is taken up by it."""
    platform = await with_dave(bench)
    running = asyncio.create_task(bench.ingress(platform).run())
    await left_alone(bench, platform, 10)
    await bench.broker.submit(ALICE, b'{"performative": "inform", "to": "dave"}')
    for _ in range(12):
        await bench.clock.advance(5)
        await left_alone(bench, platform, 10)
    assert (await waiting(bench), await mail(bench, DAVE)) == (0, [])
    (letter,) = await bench.dead()
    assert (letter.reason, letter.attempts) == ("CircuitBreakerOpen", POLICY.max_retries + 1)
    assert [one.performative for one in await mail(bench, ALICE)] == ["failure"]
    await end([running])


class Scripted:
    """A door that answers what it is told, message by message; an exception is raised."""

    def __init__(self, real: Door, answers: dict[bytes, list[Receipt | Exception]]) -> None:
        self._real = real
        self._answers = answers

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        results: list[Receipt | CaxtonError] = []
        for submission in batch:
            answers = self._answers.get(submission.body)
            answer = answers.pop(0) if answers else None
            if isinstance(answer, Exception) and not isinstance(answer, CaxtonError):
                raise answer
            results.append(answer or (await self._real.send([submission]))[0])
        return results

    async def receipts(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        return await self._real.receipts(sender, message_id)


async def test_submission_arrives(bench: Bench) -> None:
    """What was submitted while no router ran is routed by the first one, and settled."""
    await bench.broker.submit(ALICE, GOOD)
    platform = await bench.known(bench.platform())
    assert await bench.ingress(platform).work_once(timedelta()) == 1
    assert [one.sender for one in await mail(bench)] == [ALICE]
    assert await waiting(bench) == 0


async def test_refused_submission(bench: Bench) -> None:
    """It becomes a dead letter of its sender, who is told; nothing stays behind."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, b'{"performative": "inform", "to": "dave"}')
    await bench.ingress(platform).work_once(timedelta())
    (letter,) = await bench.dead()
    assert (letter.agent, letter.sender, letter.reason) == (ALICE, ALICE, "AgentNotFound")
    assert (letter.stage, await waiting(bench)) == ("route", 0)
    assert [one.performative for one in await mail(bench, ALICE)] == ["failure"]


async def test_unreadable_submission(bench: Bench) -> None:
    """Bytes that are no message come back as not-understood, with the letter that keeps them."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, b"\xffno")
    await bench.ingress(platform).work_once(timedelta())
    assert [letter.original for letter in await bench.dead()] == [b"\xffno"]
    assert [one.performative for one in await mail(bench, ALICE)] == ["not-understood"]


async def test_subject_that_names_nobody(bench: Bench) -> None:
    """It is buried on the platform's own account, and the rest of the batch goes on."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, GOOD)
    queue = bench.broker._ingress.queue("router")
    odd = msgspec.structs.replace(queue.messages[1], subject="caxton.submit.=zz")
    queue.messages[1] = odd
    await bench.broker.submit(CAROL, GOOD)
    await bench.ingress(platform).work_once(timedelta())
    (letter,) = await bench.dead()
    assert (letter.agent, letter.original, letter.subject) == ("ams@here", GOOD, odd.subject)
    assert ([one.sender for one in await mail(bench)], await waiting(bench)) == ([CAROL], 0)


async def test_partial_failure(bench: Bench) -> None:
    """Who can be reached is reached; the letter and the notice are about who cannot."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, b'{"performative": "inform", "to": ["bob", "dave"]}')
    await bench.ingress(platform).work_once(timedelta())
    assert len(await mail(bench)) == 1
    (letter,) = await bench.dead()
    assert letter.last_error["value"] == "dave@here"


async def test_full_mailbox_is_tried_for_a_while(bench: Bench) -> None:
    """A full mailbox is tried again as often as the policy says, and then the sender is told."""
    platform = await bench.known(bench.platform())
    for number in range(1000):
        await bench.post(f"old-{number}")
    await bench.broker.submit(ALICE, GOOD)
    work = bench.ingress(platform)
    running = asyncio.create_task(work.run())
    await bench.clock.advance(6.9)
    assert (await bench.dead(), await waiting(bench)) == ([], 1)
    await bench.clock.advance(0.1)
    assert ([one.reason for one in await bench.dead()], await waiting(bench)) == (["QueueFull"], 0)
    await end([running])


async def test_waiting_is_no_try(bench: Bench) -> None:
    """Deliveries at which NATS was away do not count when the mailbox is found full."""
    platform = await bench.known(bench.platform())
    errors: list[CaxtonError] = [*[NotConnected("away")] * 6, QueueFull("full")]

    class Busy:
        """A router that NATS keeps from working for a while, and then one full mailbox."""

        async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
            if batch and errors:
                return [errors.pop(0)]
            return await platform.router.send(batch)

    await bench.broker.submit(ALICE, GOOD)
    running = asyncio.create_task(bench.ingress(platform, door=Busy()).run())
    await bench.clock.advance(400)
    assert (await bench.dead(), await waiting(bench), len(await mail(bench))) == ([], 0, 1)
    await end([running])


async def test_room_comes_in_time(bench: Bench) -> None:
    """A mailbox that has room at the next try gets the message, once."""
    platform = await bench.known(bench.platform())
    for number in range(1000):
        await bench.post(f"old-{number}")
    await bench.broker.submit(ALICE, GOOD)
    running = asyncio.create_task(bench.ingress(platform).run())
    await bench.clock.idle()
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.advance(5)
    assert (len(bob.done), await waiting(bench), await bench.dead()) == (1001, 0, [])
    await end([running])


async def test_infrastructure_is_waited_out(bench: Bench) -> None:
    """While NATS is away a submission is tried again without end, and buried for that never."""
    platform = await bench.known(bench.platform())
    away = [PublishUnconfirmed("away") for _ in range(30)]
    door = Scripted(platform.router, {GOOD: [*away]})
    await bench.broker.submit(ALICE, GOOD)
    running = asyncio.create_task(bench.ingress(platform, door=door).run())
    await bench.clock.advance(1000)
    assert (len(await mail(bench)), await bench.dead()) == (0, [])
    await bench.clock.advance(1000)
    assert (len(await mail(bench)), await waiting(bench)) == (1, 0)
    await end([running])


async def test_message_that_the_router_chokes_on(bench: Bench) -> None:
    """An exception that is not ours costs that message its turn, not the others theirs."""
    known = await bench.known(bench.platform(), ALICE, BOB)
    store = Failing(bench.broker.registry_store, load=[ZeroDivisionError("a bug")] * 4)
    platform = bench.platform(bench.but(registry_store=store))
    platform.registry.replace(known.registry)
    for body in (GOOD, b'{"performative": "inform", "to": "carol"}', GOOD):
        await bench.broker.submit(ALICE, body)
    running = asyncio.create_task(bench.ingress(platform).run())
    await bench.clock.idle()
    assert (len(await mail(bench)), await waiting(bench)) == (2, 1)
    await bench.known(known, CAROL)
    await bench.clock.advance(10)
    assert (len(await mail(bench, CAROL)), await waiting(bench)) == (1, 0)
    await end([running])


async def test_letter_that_cannot_be_written(bench: Bench) -> None:
    """A refusal that cannot be recorded yet comes again; what was routed is settled."""
    away = Failing(bench.broker.dead_letters, write=[NotConnected("away"), RuntimeError("a bug")])
    platform = await bench.known(bench.platform(bench.but(dead_letters=away)))
    await bench.broker.submit(ALICE, b"no json")
    await bench.broker.submit(ALICE, GOOD)
    running = asyncio.create_task(bench.ingress(platform).run())
    await bench.clock.idle()
    assert (await bench.dead(), await waiting(bench), len(await mail(bench))) == ([], 1, 1)
    await bench.clock.advance(3)
    assert (len(await bench.dead()), await waiting(bench)) == (1, 0)
    await end([running])


@pytest.mark.parametrize("lost", [NotConnected("away"), After(NotConnected("away"))])
async def test_settlement_that_is_lost(bench: Bench, lost: Exception) -> None:
    """A submission that was routed and comes again is not routed twice, id or no id."""
    platform = await bench.known(bench.platform())
    inbox = Failing(bench.broker.ingress, settle=[lost])
    await bench.broker.submit(ALICE, GOOD)
    running = asyncio.create_task(bench.ingress(platform, inbox=inbox).run())
    await bench.clock.advance(2 * ACK_WAIT)
    assert (len(await mail(bench)), await waiting(bench)) == (1, 0)
    await end([running])


async def test_a_deadline_that_passes_between_two_tries(bench: Bench) -> None:
    """What an earlier try has stored is its mailbox's to bury: here it would die a second time."""
    platform = await bench.known(bench.platform())
    inbox = Failing(bench.broker.ingress, settle=[NotConnected("away")])
    await bench.broker.submit(ALICE, b'{"performative": "inform", "to": "bob", "timeout": 1}')
    running = asyncio.create_task(bench.ingress(platform, inbox=inbox).run())
    await bench.clock.advance(2 * ACK_WAIT)
    assert (len(await mail(bench)), await waiting(bench)) == (1, 0)
    assert await bench.dead() == []
    await end([running])


async def test_a_deadline_that_passes_in_the_hands_of_two_routers(bench: Bench) -> None:
    """A router that was frozen finds it too late that another has stored: it says the same."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, b'{"performative": "inform", "to": "bob", "timeout": 1}')
    frozen = await bench.broker.ingress.fetch(1, timedelta())

    class InHand:
        """The inbox of the one that was frozen, with what it had fetched."""

        settle = bench.broker.ingress.settle

        async def fetch(self, _: int, __: timedelta) -> list[Delivery]:
            return frozen

    await bench.clock.advance(ACK_WAIT)
    await bench.ingress(platform).work_once(timedelta())
    await bench.ingress(platform, inbox=InHand()).work_once(timedelta())
    assert (len(await mail(bench)), await bench.dead(), await waiting(bench)) == (1, [], 0)


async def test_loop_survives(bench: Bench) -> None:
    """Whatever fetching raises, the ingress goes on, later each time."""
    platform = await bench.known(bench.platform())
    inbox = Failing(bench.broker.ingress, fetch=[RuntimeError("a bug"), NotConnected("away")])
    await bench.broker.submit(ALICE, GOOD)
    running = asyncio.create_task(bench.ingress(platform, inbox=inbox).run())
    await bench.clock.advance(0.29)
    assert await waiting(bench) == 1
    await bench.clock.advance(0.01)
    assert await waiting(bench) == 0
    await end([running])


async def test_all_that_may_pass_is_waited_for(bench: Bench) -> None:
    """As long as one receiver may be reached later, the others' errors wait with it."""
    platform = await bench.known(bench.platform())
    mixed = Receipt(
        message_id="m",
        outcomes=(
            Outcome(receiver=BOB, error=AgentNotFound("no bob")),
            Outcome(receiver=CAROL, error=PublishUnconfirmed("away")),
        ),
    )
    door = Scripted(platform.router, {GOOD: [mixed]})
    await bench.broker.submit(ALICE, GOOD)
    await bench.ingress(platform, door=door).work_once(timedelta())
    assert (await bench.dead(), await waiting(bench)) == ([], 1)


async def test_batches_have_a_size(bench: Bench) -> None:
    """No more than that is taken at once; the rest waits for the next batch, or another router."""
    platform = await bench.known(bench.platform())
    for _ in range(5):
        await bench.broker.submit(ALICE, GOOD)
    working = bench.ingress(platform, workers=Workers(1, 2))
    assert [await working.work_once(timedelta()) for _ in range(4)] == [2, 2, 1, 0]
    assert len(await mail(bench)) == 5


async def test_a_batch_waits_for_its_turn(bench: Bench) -> None:
    """While all workers of the process are busy, nothing is routed; then it is."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, GOOD)
    workers = Workers(1, 256)
    async with workers.turns:
        working = asyncio.create_task(
            bench.ingress(platform, workers=workers).work_once(timedelta())
        )
        await bench.clock.advance(1)
        assert (await mail(bench), working.done()) == ([], False)
    assert await working == 1
    assert len(await mail(bench)) == 1
