"""What a process leaves behind when it ends, and how the next one goes on with it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.disposition import Reject, Retry
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import NotConnected
from tests.core.sample import ALICE, BOB
from tests.engine.bench import ACK_WAIT, Bench, Failing, Mortal, Process, Recorder
from tests.plugins.eventually import eventually


async def never(_: Envelope, __: int) -> None:
    await asyncio.Event().wait()


async def crashed(bench: Bench) -> Recorder:
    """Return what a process saw that has died with everything in hand."""
    process = Process(bench.ports)
    bob = Recorder(bench.clock, never)
    bench.open(bob, process=process)
    await bench.clock.idle()
    process.dead = True
    return bob


async def test_a_crash_keeps_the_order_and_costs_no_time(bench: Bench) -> None:
    """What was in hand comes at once, before newer messages of its conversation and all others."""
    for message_id in ("c1", "c2", "c3"):
        await bench.post(message_id, conversation_id="c")
    await bench.post("d1", conversation_id="d")
    assert (await crashed(bench)).ids == ["c1", "d1"]
    await bench.post("c4", conversation_id="c")
    bob = Recorder(bench.clock)
    bench.open(bob, concurrency=1)
    await bench.clock.idle()
    assert [one for one in bob.done if one != "d1"] == ["c1", "c2", "c3", "c4"]
    assert bench.clock.seconds == 0
    assert await bench.pending() == 0


async def test_a_retry_is_waited_for_across_a_restart(bench: Bench) -> None:
    """A conversation waits for its failed message in the next process, too; others go on."""

    async def later(envelope: Envelope, attempt: int) -> None:
        if (envelope.message_id, attempt) == ("c1", 1):
            raise Retry(timedelta(seconds=100))

    await bench.post("c1", conversation_id="c")
    first = Recorder(bench.clock, later)
    mailbox = bench.open(first)
    await bench.clock.idle()
    await mailbox.drain()
    await bench.post("c2", conversation_id="c")
    await bench.post("d1", conversation_id="d")
    second = Recorder(bench.clock, later)
    bench.open(second)
    await bench.clock.advance(99)
    assert second.done == ["d1"]
    await bench.clock.advance(1)
    assert second.done == ["d1", "c1", "c2"]


async def test_a_suspect_is_not_hurried(bench: Bench) -> None:
    """What may have crashed a process in its second attempt comes again after ack_wait."""
    await bench.post("m-1")
    await crashed(bench)
    process = Process(bench.ports)
    again = Recorder(bench.clock, never)
    bench.open(again, process=process)
    await bench.clock.idle()
    assert again.ids == ["m-1"]
    process.dead = True
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.advance(ACK_WAIT - 1)
    assert bob.calls == []
    await bench.clock.advance(1)
    assert bob.calls == [("m-1", 2, ACK_WAIT)]


async def test_what_is_settled_meanwhile_is_not_waited_for(bench: Bench) -> None:
    """An operator who removes what a conversation waits for lets it go on."""
    for attempt in range(2):
        if not attempt:
            await bench.post("c1", conversation_id="c")
        await crashed(bench)
    (left,) = await bench.broker.mailboxes.unsettled(BOB)
    await bench.post("c2", conversation_id="c")
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.idle()
    await bench.broker.mailboxes.discard(left.origin)
    await bench.clock.advance(3 * ACK_WAIT)
    assert bob.done == ["c2"]


@pytest.mark.parametrize("raised", [Reject("never"), ValueError("no")], ids=["at once", "at last"])
async def test_what_is_buried_is_not_handled(bench: Bench, raised: Exception) -> None:
    """A process that dies between the dead letter and its settling leaves a dead message."""

    async def handle(envelope: Envelope, __: int) -> None:
        raise raised

    process = Process(bench.ports)
    letters = Mortal(process.ports.dead_letters, process, "write", 1, "after")
    process.ports = msgspec.structs.replace(process.ports, dead_letters=letters)
    platform = await bench.known(bench.platform())
    await bench.post("m-1", max_retries=1)
    bench.open(Recorder(bench.clock, handle), process=process)
    await bench.clock.advance(ACK_WAIT / 2)
    assert (len(await bench.dead()), await bench.pending()) == (1, 1)
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.advance(2 * ACK_WAIT)
    assert (bob.calls, len(await bench.dead()), await bench.pending()) == ([], 1, 0)
    assert len(await bench.broker.mailboxes.list(ALICE, limit=9)) == 1, "the notice"


@pytest.mark.parametrize("port", ["unsettled", "recorded", "settle"])
async def test_a_take_over_that_fails_is_tried_again(bench: Bench, port: str) -> None:
    """No newer message is handled before it is known what was left."""
    for message_id in ("c1", "c2"):
        await bench.post(message_id, conversation_id="c")
    await crashed(bench)
    plan: list[Exception | None] = [NotConnected("away")]
    away = Failing(
        bench.broker.attempts if port == "recorded" else bench.broker.mailboxes, **{port: plan}
    )
    ports = bench.but(**{"attempts" if port == "recorded" else "mailboxes": away})
    await bench.post("c3", conversation_id="c")
    bob = Recorder(bench.clock)
    bench.open(bob, ports)
    await bench.clock.advance(ACK_WAIT / 3)
    await eventually(lambda: bob.done == ["c1", "c2", "c3"])
