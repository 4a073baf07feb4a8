"""Staged receipts: what is on record of a message that asks for it, and when."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import Ack, Reject
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import AgentNotResponding, CaxtonError, NotConnected
from caxton_nats.core.identifiers import MessageId
from caxton_nats.core.staged_receipt import ReceiptStage, StagedReceipt
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.receipts import wait_for
from caxton_nats.ports import Delivery, Receipt, Stored, Submission, Timer
from tests.core.sample import ALICE, BOB, CAROL, NOON, sample
from tests.engine.bench import ACK_WAIT, Bench, Failing, Recorder
from tests.engine.test_exhaustion import Advisories, advisory, exhaustion

M1 = MessageId("m-1")


async def send(platform: Platform, **fields: Any) -> Receipt | CaxtonError:
    envelope = sample(**{"require_receipt": True, **fields})
    (result,) = await platform.router.send([Submission(sender=ALICE, envelope=envelope)])
    return result


async def record(bench: Bench) -> StagedReceipt:
    (found,) = await bench.ports.receipts.list(ALICE, M1)
    return found


async def test_accepted(bench: Bench) -> None:
    """With the receipt each receiver that has the message has a record; an unknown one has none."""
    platform = await bench.known(bench.platform())
    await send(platform, receiver=(CAROL, BOB, "nobody@here"))
    bob, carol = await platform.door.receipts(ALICE, M1)
    assert (bob.receiver, carol.receiver) == (BOB, CAROL)
    assert (bob.stage, bob.attempt, bob.times) == ("accepted", 0, {ReceiptStage.ACCEPTED: NOON})
    assert await platform.door.receipts(BOB, M1) == [], "they are alice's"


async def test_offered_and_handled(bench: Bench) -> None:
    """Offered before the handler starts, at each attempt; handled before the message is settled."""
    platform = await bench.known(bench.platform())
    seen: list[tuple[str, int]] = []

    async def twice(_: Envelope, attempt: int) -> None:
        one = await record(bench)
        seen.append((one.stage, one.attempt))
        if attempt == 1:
            raise ValueError("not yet")

    bench.open(Recorder(bench.clock, twice), platform=platform)
    await send(platform)
    await bench.clock.advance(5)
    assert seen == [("offered", 1), ("offered", 2)]
    one = await record(bench)
    assert (one.stage, one.attempt, one.error) == ("handled", 2, {})
    assert [moment - NOON for moment in one.times.values()] == [
        timedelta(seconds=seconds) for seconds in (0, 1, 1)
    ]


async def test_failed(bench: Bench) -> None:
    """With why, and the dead letter's id."""
    platform = await bench.known(bench.platform())

    async def reject(_: Envelope, __: int) -> None:
        raise Reject("no")

    bench.open(Recorder(bench.clock, reject), platform=platform)
    await send(platform)
    await bench.clock.idle()
    one, (letter,) = await record(bench), await bench.dead()
    assert (one.stage, one.attempt, one.dead_letter) == ("failed", 1, letter.id)
    assert one.error == letter.last_error == {"code": "HandlerRejected", "reason": "no"}


async def test_expired_unread(bench: Bench) -> None:
    """A deadline that passes with nobody there ends the record, too."""
    platform = await bench.known(bench.platform())
    await send(platform, timeout=5)
    inbox = await bench.ports.timers.inbox()
    (due,) = await inbox.fetch(1, timedelta(seconds=0)) or await _later(bench, inbox)
    await platform.when_due["expiry"](_timer(due))
    one = await record(bench)
    assert (one.stage, one.error["code"], one.attempt) == ("failed", "Expired", 0)


async def _later(bench: Bench, inbox: Any) -> list[Delivery]:
    fetching = asyncio.ensure_future(inbox.fetch(1, timedelta(seconds=60)))
    await bench.clock.advance(6)
    found: list[Delivery] = await fetching
    return found


def _timer(delivery: Delivery) -> Timer:
    return msgspec.json.decode(delivery.body, type=Timer)


async def test_exhausted(bench: Bench) -> None:
    """So does the server's own end of deliveries."""
    platform = await bench.known(bench.platform())
    result = await send(platform)
    assert isinstance(result, Receipt)
    (outcome,) = result.outcomes
    told = advisory(Stored(outcome.stream, outcome.sequence))
    await exhaustion(platform, Advisories(told)).work_once(timedelta())
    one = await record(bench)
    assert (one.stage, one.error["code"]) == ("failed", "AgentNotResponding")


async def test_redriven(bench: Bench) -> None:
    """The record begins anew with the second copy, and ends with what becomes of that."""
    platform = await bench.known(bench.platform())

    async def reject_once(_: Envelope, __: int) -> None:
        if not await bench.dead() and not bob.done:
            raise Reject("no")

    bob = Recorder(bench.clock, reject_once)
    mailbox = bench.open(bob, platform=platform)
    await send(platform)
    await bench.clock.idle()
    await mailbox.drain()
    (letter,) = await bench.dead()
    await platform.redrive.redrive(letter.id)
    one = await record(bench)
    assert (one.stage, one.error, one.dead_letter) == ("accepted", {}, "")
    assert one.origin != letter.origin
    bob.done.append("so that it is taken")
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert (await record(bench)).stage == "handled"


async def test_a_message_that_does_not_ask(bench: Bench) -> None:
    """Nothing is read or written for it."""
    receipts = Failing(bench.ports.receipts)
    platform = await bench.known(bench.platform(bench.but(receipts=receipts)))
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await send(platform, require_receipt=False)
    await bench.clock.idle()
    assert (bob.done, receipts.calls) == (["m-1"], [])


async def test_accepted_must_be_on_record(bench: Bench) -> None:
    """Else there is no receipt; sending again makes it good and stores nothing twice."""
    receipts = Failing(bench.ports.receipts, save=[NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(receipts=receipts)))
    assert isinstance(await send(platform), NotConnected)
    again = await send(platform)
    assert isinstance(again, Receipt)
    assert again.outcomes[0].duplicate
    assert ((await record(bench)).stage, await bench.pending()) == ("accepted", 1)


async def test_a_second_try_does_not_set_it_back(bench: Bench) -> None:
    """The same message sent again while it is being handled, or after, changes nothing."""
    platform = await bench.known(bench.platform())
    await send(platform)
    inbox = await bench.broker.mailboxes.open(BOB)
    (delivery,) = await inbox.fetch(1, timedelta())
    await bench.ports.receipts.save(
        StagedReceipt(
            message_id=M1,
            sender=ALICE,
            receiver=BOB,
            stage=ReceiptStage.OFFERED,
            times={ReceiptStage.OFFERED: NOON},
            attempt=1,
            origin=delivery.origin,
        ),
        revision=(await bench.ports.receipts.load(ALICE, M1, BOB) or (None, 0))[1],
    )
    await send(platform)
    one = await record(bench)
    assert (one.stage, set(one.times)) == ("offered", {"offered", "accepted"})
    await inbox.settle([(delivery, Ack())])
    await inbox.close()
    await send(platform)
    assert (await record(bench)).stage == "offered"


async def test_handled_must_be_on_record(bench: Bench) -> None:
    """The message is not settled before; when it comes again, it is not handled again."""
    boxed = Failing(bench.ports.receipts, load=[None, NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(receipts=boxed)))
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await send(platform)
    await bench.clock.idle()
    assert ((await record(bench)).stage, await bench.pending()) == ("offered", 1)
    await bench.clock.advance(2 * ACK_WAIT)
    assert (bob.ids, (await record(bench)).stage, await bench.pending()) == (["m-1"], "handled", 0)


async def test_a_handler_does_not_wait_for_a_record(bench: Bench) -> None:
    """That it was offered may be missing, if NATS is away in that moment."""
    boxed = Failing(bench.ports.receipts, load=[NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(receipts=boxed)))
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await send(platform)
    await bench.clock.idle()
    assert set((await record(bench)).times) == {"accepted", "handled"}
    assert bob.done == ["m-1"]


async def test_waiting_for_a_stage(bench: Bench) -> None:
    """Ends when all receivers are there, or can go no further."""
    platform = await bench.known(bench.platform())
    await send(platform, receiver=(BOB, CAROL))
    waiting = asyncio.ensure_future(_wait(platform, ReceiptStage.HANDLED, 60))
    bench.open(Recorder(bench.clock), platform=platform)
    await bench.clock.advance(5)
    assert not waiting.done(), "carol has not handled it"
    inbox = await bench.broker.mailboxes.open(CAROL)
    (delivery,) = await inbox.fetch(1, timedelta())
    await platform.burial.bury(
        delivery,
        CaxtonError("gone"),
        agent=CAROL,
        stage=Stage.DELIVER,
        envelope=sample(require_receipt=True),
    )
    await bench.clock.advance(2)
    assert [one.stage for one in await waiting] == ["handled", "failed"]


async def test_waiting_in_vain(bench: Bench) -> None:
    """Says who is behind, or that nothing is known of the message."""
    platform = await bench.known(bench.platform())
    waiting = asyncio.ensure_future(_wait(platform, ReceiptStage.HANDLED, 3))
    await bench.clock.advance(3)
    with pytest.raises(AgentNotResponding, match="nothing is on record"):
        await waiting
    await send(platform)
    assert [one.stage for one in await _wait(platform, ReceiptStage.ACCEPTED, 0)] == ["accepted"]
    with pytest.raises(AgentNotResponding, match="not handled in time: bob@here"):
        await _wait(platform, ReceiptStage.HANDLED, 0)


async def _wait(platform: Platform, stage: ReceiptStage, seconds: float) -> list[StagedReceipt]:
    wait = timedelta(seconds=seconds)
    return await wait_for(platform.door, platform.ports.clock, ALICE, M1, stage=stage, wait=wait)
