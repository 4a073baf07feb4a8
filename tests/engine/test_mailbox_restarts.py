"""What a restart or a crash of an agent's process does to its mail."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Reject
from caxton_nats.core.envelope import NO_CONTENT, Envelope
from caxton_nats.core.errors import NotConnected, PublishUnconfirmed
from caxton_nats.engine.mailbox import Mailbox
from caxton_nats.telemetry import Action
from tests.core.sample import BOB
from tests.engine.bench import ACK_WAIT, Bench, Failing, Process, Recorder

RESTARTS = 40


async def for_ever(_: Envelope, __: int) -> None:
    await asyncio.get_running_loop().create_future()


class Poison:
    """A handler that ends its process over one message, and takes its time over the others."""

    def __init__(self, process: Process, *deadly: str) -> None:
        self._process = process
        self._deadly = deadly
        self.harmless = asyncio.Event()

    async def __call__(self, envelope: Envelope, _: int) -> None:
        if envelope.message_id in self._deadly:
            await self._process.die()
        await self.harmless.wait()


async def test_drain_gives_back_at_once(bench: Bench) -> None:
    """What was not handled comes to the next process in order, without waiting for ack_wait."""
    for message_id in ("c1", "c2", "c3"):
        await bench.post(message_id, conversation_id="c")
    stuck = Recorder(bench.clock, for_ever)
    mailbox = bench.open(stuck)
    await bench.clock.idle()
    await mailbox.drain()
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.idle()
    assert (stuck.ids, bob.done, await bench.pending()) == (["c1"], ["c1", "c2", "c3"], 0)


async def test_crash_between_dead_letter_and_settling(bench: Bench) -> None:
    """A message that a process gave up, and could not settle any more, is not handled after that."""

    async def reject(_: Envelope, __: int) -> None:
        raise Reject("never")

    process = Process(bench.ports)
    settling = Failing(process.ports.mailboxes, settle=[NotConnected("it ends here")])
    await bench.post("m-1")
    bench.open(
        Recorder(bench.clock, reject), msgspec.structs.replace(process.ports, mailboxes=settling)
    )
    await bench.clock.idle()
    process.bury()
    assert [one.message_id for one in await bench.dead()] == ["m-1"]
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.advance(ACK_WAIT + 1)
    (letter,) = await bench.dead()
    assert (bob.calls, await bench.pending()) == ([], 0)
    assert (letter.attempts, letter.last_error["code"]) == (1, "HandlerRejected")


async def test_restarts_are_no_attempts(bench: Bench) -> None:
    """However often its process is stopped while it is handled, a message keeps its retries."""
    for message_id in ("c1", "c2"):
        await bench.post(message_id, conversation_id="c", max_retries=1)
    for _ in range(RESTARTS):
        stuck = Recorder(bench.clock, for_ever)
        mailbox = bench.open(stuck)
        await bench.clock.idle()
        await mailbox.drain()
        assert stuck.calls == [("c1", 1, 0)]
    errors: list[Exception | None] = [ValueError("first try"), None, None]

    async def second_time(_: Envelope, __: int) -> None:
        if (error := errors.pop(0)) is not None:
            raise error

    bob = Recorder(bench.clock, second_time)
    bench.open(bob)
    await bench.clock.advance(1)
    assert bob.calls == [("c1", 1, 0), ("c1", 2, 1), ("c2", 1, 1)]
    assert await bench.dead() == []


async def test_restart_keeps_the_failures(bench: Bench) -> None:
    """Real failures count across restarts: they are not forgiven with the stops."""
    await bench.post("m-1", max_retries=2)

    async def no(_: Envelope, __: int) -> None:
        raise ValueError("no")

    attempts = []
    for _ in range(3):
        bob = Recorder(bench.clock, no)
        failing = bench.open(bob)
        await bench.clock.idle()
        await failing.drain()
        await bench.clock.advance(10)
        stuck = Recorder(bench.clock, for_ever)
        stopped = bench.open(stuck)
        await bench.clock.idle()
        await stopped.drain()
        attempts += [attempt for _, attempt, _ in (*bob.calls, *stuck.calls)]
    assert attempts == [1, 2, 2, 3, 3]
    assert [letter.attempts for letter in await bench.dead()] == [3]


async def test_stop_while_content_is_fetched(bench: Bench) -> None:
    """A stop before the handler runs is no attempt either."""

    class Slow:
        async def get(self, _: object) -> bytes:
            return bytes(await asyncio.get_running_loop().create_future())

    claim = await bench.broker.contents.put("large", b"1")
    await bench.post("m-1", content=NO_CONTENT, claim=claim)
    for _ in range(RESTARTS):
        mailbox = bench.open(Recorder(bench.clock), bench.but(contents=Slow()))
        await bench.clock.idle()
        await mailbox.drain()
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.idle()
    assert bob.calls == [("m-1", 1, 0)]


async def test_running_handlers_may_finish(bench: Bench) -> None:
    """While a mailbox drains, what runs is waited for, kept and settled; nothing new begins."""
    passes = asyncio.Event()

    async def wait(_: Envelope, __: int) -> None:
        await passes.wait()

    bob = Recorder(bench.clock, wait)
    await bench.post("c1", conversation_id="c")
    await bench.post("c2", conversation_id="c")
    mailbox = bench.open(bob, drain=timedelta(seconds=60))
    await bench.clock.idle()
    draining = asyncio.create_task(mailbox.drain())
    await bench.clock.advance(10 * ACK_WAIT)
    other = await bench.broker.mailboxes.open(BOB)
    assert await other.fetch(1, timedelta()) == []
    assert (bob.done, draining.done()) == ([], False)
    passes.set()
    await draining
    late = Recorder(bench.clock)
    bench.open(late)
    await bench.clock.idle()
    assert (bob.ids, bob.done, late.done) == (["c1"], ["c1"], ["c2"])
    assert await bench.pending() == 0


async def test_nothing_begins_after_drain(bench: Bench) -> None:
    """A message whose attempts were being counted when the drain began is given back unhandled."""

    class Slow:
        def __init__(self) -> None:
            self.asked = asyncio.Event()
            self.answer = asyncio.Event()
            self.begun = 0

        async def recorded(self, _: object) -> int:
            self.asked.set()
            await self.answer.wait()
            return 0

        async def record(self, _: object, __: int) -> None:
            self.begun += 1

    await bench.post("m-1")
    stopped = bench.open(Recorder(bench.clock, for_ever))
    await bench.clock.idle()
    await stopped.drain()
    slow, bob = Slow(), Recorder(bench.clock)
    mailbox = bench.open(bob, bench.but(attempts=slow), drain=timedelta(seconds=60))
    await slow.asked.wait()
    draining = asyncio.create_task(mailbox.drain())
    await bench.clock.idle()
    slow.answer.set()
    await draining
    assert (bob.calls, slow.begun, await bench.pending()) == ([], 0, 1)


async def test_handler_that_stops_its_own_mailbox(bench: Bench) -> None:
    """It is not waited for; its message is settled when it returns, the others are given back."""
    mailboxes: list[Mailbox] = []

    async def stop(_: Envelope, __: int) -> None:
        await mailboxes[0].drain()

    bob = Recorder(bench.clock, stop)
    await bench.post("m-1")
    await bench.post("m-2")
    mailboxes.append(bench.open(bob, concurrency=1, drain=timedelta(seconds=60)))
    await bench.clock.idle()
    assert (bob.done, await bench.pending()) == (["m-1"], 1)
    late = Recorder(bench.clock)
    bench.open(late)
    await bench.clock.idle()
    assert (late.ids, await bench.pending()) == (["m-2"], 0)


async def test_server_away_while_draining(bench: Bench) -> None:
    """A drain ends although nothing can be given back; the mail comes again after ack_wait."""
    away: list[Exception | None] = [PublishUnconfirmed("away")]
    mailboxes = Failing(bench.broker.mailboxes, settle=away, close=[*away])
    await bench.post("m-1")
    mailbox = bench.open(Recorder(bench.clock, for_ever), bench.but(mailboxes=mailboxes))
    await bench.clock.idle()
    await mailbox.drain()
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.advance(ACK_WAIT)
    assert (bob.ids, await bench.pending()) == (["m-1"], 0)


async def test_drain_before_anything(bench: Bench) -> None:
    """A mailbox that was never opened can be drained, and one twice."""
    mailbox = bench.platform().mailbox(BOB, Recorder(bench.clock))
    await mailbox.drain()
    mailbox.start()
    await bench.clock.idle()
    await mailbox.drain()
    await mailbox.drain()


async def test_poison_dies_alone(bench: Bench) -> None:
    """A message that crashes its process becomes a dead letter; what ran beside it is handled.

    Its neighbours were at work at each crash, as it was: nothing on record tells them apart.
    """
    neighbours = ["n1", "n2", "n3", "n4"]
    for message_id in (*neighbours[:2], "poison", *neighbours[2:]):
        await bench.post(message_id)
    deaths = 0
    while await bench.pending():
        process = Process(bench.ports)
        poison = Poison(process, "poison")
        bench.open(Recorder(bench.clock, poison), process=process)
        await bench.clock.idle()
        if not process.dead:
            poison.harmless.set()
        await bench.clock.advance(2 * ACK_WAIT)
        deaths += process.dead
        assert deaths < RESTARTS
    assert [letter.message_id for letter in await bench.dead()] == ["poison"]
    assert sorted(set(bench.told(Action.HANDLED))) == neighbours
    assert deaths == 5, "a first attempt that is on no record, and four that are"


async def test_suspects_do_not_hold_up_others(bench: Bench) -> None:
    """While messages that may be poison run one at a time, new ones are handled beside them."""
    stored = [await bench.post("s1"), await bench.post("s2")]
    stopped = bench.open(Recorder(bench.clock, for_ever))
    await bench.clock.idle()
    await stopped.drain()
    for one in stored:
        await bench.broker.attempts.record(Origin(one.stream, one.sequence), 1)
    bob = Recorder(bench.clock, for_ever)
    bench.open(bob)
    await bench.clock.idle()
    await bench.post("new")
    await bench.clock.idle()
    assert sorted(bob.ids) == ["new", "s1"]


@pytest.mark.parametrize("deadly", [1, 2])
async def test_crash_in_the_first_attempt(bench: Bench, deadly: int) -> None:
    """A message with one retry is tried at most three times by processes that die over it."""
    await bench.post("m-1", max_retries=deadly)
    tried = 0
    for _ in range(10):
        process = Process(bench.ports)
        bob = Recorder(bench.clock, Poison(process, "m-1"))
        bench.open(bob, process=process)
        await bench.clock.advance(ACK_WAIT)
        tried += len(bob.calls)
    assert tried == deadly + 2
    (letter,) = await bench.dead()
    assert letter.last_error["code"] == "AgentNotResponding"
