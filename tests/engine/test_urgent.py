"""Urgent mail: what it overtakes, and what it does not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from caxton_nats.core import codec
from caxton_nats.core.disposition import Ack, Reject
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import CaxtonError, NotConnected, QueueFull
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Receipt, Submission
from tests.core.sample import ALICE, BOB, sample
from tests.engine.bench import Bench, Failing, Recorder

LOW, NORMAL, HIGH, CRITICAL = Priority
BACKLOG = 900


async def send(
    platform: Platform, message_id: str, priority: Priority, conversation: str = "", **more: Any
) -> Receipt | CaxtonError:
    fields = {"message_id": message_id, "priority": priority, "conversation_id": conversation}
    envelope = sample(**{**fields, **more})
    (result,) = await platform.router.send([Submission(sender=ALICE, envelope=envelope)])
    return result


async def backlog(platform: Platform, number: int = BACKLOG) -> None:
    for one in range(number):
        assert isinstance(await send(platform, f"low-{one}", LOW), Receipt)


def slowly(bench: Bench) -> Any:
    async def work(_: Envelope, __: int) -> None:
        await bench.clock.sleep(timedelta(seconds=1))

    return work


@pytest.mark.parametrize("priority", [HIGH, CRITICAL])
async def test_past_a_backlog(bench: Bench, priority: Priority) -> None:
    """Behind 900 Low messages an urgent one waits for the handlers that run, and for no other."""
    platform = await bench.known(bench.platform(concurrency=2))
    await backlog(platform)
    bob = Recorder(bench.clock, slowly(bench))
    bench.open(bob, platform=platform)
    await bench.clock.advance(10.5)
    assert len(bob.ids) == 22
    await send(platform, "urgent", priority)
    await bench.clock.advance(1)
    assert "urgent" in bob.ids
    assert len(bob.ids) == 24


async def test_a_normal_one_waits(bench: Bench) -> None:
    """Without urgency it waits until it is fetched: the window is what priority is honoured in."""
    platform = await bench.known(bench.platform(concurrency=2))
    await backlog(platform, 200)
    bob = Recorder(bench.clock, slowly(bench))
    bench.open(bob, platform=platform)
    await bench.clock.advance(10.5)
    await send(platform, "normal", NORMAL)
    await bench.clock.advance(30)
    assert "normal" not in bob.ids


async def test_into_a_full_mailbox(bench: Bench) -> None:
    """Low messages that fill a mailbox leave the room of the urgent ones, and the other way round."""
    platform = await bench.known(bench.platform())
    await backlog(platform, 1000)
    assert isinstance(await send(platform, "one-more", LOW), QueueFull)
    for number in range(1000):
        assert isinstance(await send(platform, f"high-{number}", HIGH), Receipt)
    assert isinstance(await send(platform, "too-many", CRITICAL), QueueFull)


async def test_a_conversation_keeps_its_order(bench: Bench) -> None:
    """An urgent message does not overtake an earlier one of its own conversation."""
    platform = await bench.known(bench.platform(concurrency=1))
    await backlog(platform, 100)
    for number, priority in enumerate((LOW, CRITICAL, NORMAL, HIGH)):
        await send(platform, f"c-{number}", priority, "c")
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.advance(5)
    assert [one for one in bob.done if one.startswith("c-")] == [f"c-{n}" for n in range(4)]
    assert bob.done.index("c-1") > 60


async def test_a_conversation_that_began_urgent(bench: Bench) -> None:
    """It goes past the backlog as a whole, in its order, whatever its later messages say."""
    platform = await bench.known(bench.platform(concurrency=1))
    await backlog(platform, 100)
    for number, priority in enumerate((CRITICAL, LOW, NORMAL)):
        await send(platform, f"c-{number}", priority, "c")
    other = await bench.known(bench.platform())
    await send(other, "c-3", LOW, "c")
    bob = Recorder(bench.clock, slowly(bench))
    bench.open(bob, platform=platform)
    await bench.clock.advance(200)
    assert [one for one in bob.done if one.startswith("c-")] == [f"c-{n}" for n in range(4)]
    assert bob.done.index("c-0") <= 1
    assert bob.done.index("c-3") < 100


async def test_a_failed_one_comes_back_by_its_way(bench: Bench) -> None:
    """A window full of urgent mail that waits for a failed head still lets that head in."""
    platform = await bench.known(bench.platform(urgent_window=2))
    tries: list[str] = []

    async def fail_first(envelope: Envelope, _: int) -> None:
        tries.append(envelope.message_id)
        if tries == ["c-0"]:
            raise ValueError("once")

    for number in range(6):
        await send(platform, f"c-{number}", HIGH, "c")
    bob = Recorder(bench.clock, fail_first)
    bench.open(bob, platform=platform)
    await bench.clock.advance(30)
    assert bob.done == [f"c-{number}" for number in range(6)]
    assert await bench.pending() == 0


async def test_what_is_in_hand_goes_back_in_order(bench: Bench) -> None:
    """A mailbox that stops gives both kinds back; the next one takes them as new."""
    platform = await bench.known(bench.platform(concurrency=1))
    stuck = Recorder(bench.clock, slowly(bench))
    for number in range(3):
        await send(platform, f"low-{number}", LOW)
        await send(platform, f"high-{number}", HIGH)
    mailbox = bench.open(stuck, platform=platform)
    await bench.clock.idle()
    await mailbox.drain()
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.advance(5)
    assert sorted(bob.done) == sorted(f"{kind}-{n}" for kind in ("low", "high") for n in range(3))
    assert [one for one in bob.done if one.startswith("high")] == [f"high-{n}" for n in range(3)]


async def urgent_mail(bench: Bench, agent: AgentId) -> list[Envelope]:
    inbox = await bench.broker.mailboxes.open(agent, urgent=True)
    found = await inbox.fetch(100, timedelta())
    await inbox.settle([(one, Ack()) for one in found])
    await inbox.close()
    return [codec.decode(one.body, max_bytes=100_000) for one in found]


async def test_its_notice_and_its_redrive_are_urgent(bench: Bench) -> None:
    """The sender of a dead urgent message hears of it urgently; redriven, it goes as it came."""
    platform = await bench.known(bench.platform())

    async def reject(_: Envelope, __: int) -> None:
        raise Reject("no")

    bob = Recorder(bench.clock, reject)
    mailbox = bench.open(bob, platform=platform)
    await send(platform, "urgent", CRITICAL, "c")
    await bench.clock.idle()
    await mailbox.drain()
    (notice,) = await urgent_mail(bench, ALICE)
    assert (notice.performative, notice.conversation_id) == ("failure", "c")
    (letter,) = await bench.dead()
    await platform.redrive.redrive(letter.id)
    assert [one.message_id for one in await urgent_mail(bench, BOB)] == ["urgent"]


async def test_an_announcement_that_fails(bench: Bench) -> None:
    """No receipt then; sending again makes it good, and stores nothing twice."""
    boxes = Failing(bench.broker.mailboxes, announce=[NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(mailboxes=boxes)))
    assert isinstance(await send(platform, "urgent", HIGH), NotConnected)
    again = await send(platform, "urgent", HIGH)
    assert isinstance(again, Receipt)
    assert again.outcomes[0].duplicate
    assert await bench.pending() == 1
    assert boxes.calls.count("announce") == 2
    await send(platform, "normal", NORMAL)
    assert boxes.calls.count("announce") == 2, "ordinary mail needs none"


async def test_an_urgent_one_waits_for_a_place(bench: Bench) -> None:
    """All handlers busy, it is the next, before what is in hand already."""
    platform = await bench.known(bench.platform(concurrency=1))
    gate = asyncio.Event()

    async def wait(_: Envelope, __: int) -> None:
        await gate.wait()

    bob = Recorder(bench.clock, wait)
    bench.open(bob, platform=platform)
    await backlog(platform, 5)
    await bench.clock.idle()
    await send(platform, "urgent", HIGH)
    await bench.clock.idle()
    gate.set()
    await bench.clock.idle()
    assert bob.done[:2] == ["low-0", "urgent"]


async def test_each_way_has_its_window(bench: Bench) -> None:
    """So many urgent and so many ordinary messages are in hand at most, beside each other."""
    platform = await bench.known(bench.platform(concurrency=1, window=3, urgent_window=2))
    for number in range(6):
        await send(platform, f"low-{number}", LOW)
        await send(platform, f"high-{number}", HIGH)
    bob = Recorder(bench.clock, slowly(bench))
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert (await bench.broker.mailboxes.status(BOB)).in_flight == 5
