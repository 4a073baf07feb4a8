"""What a handler has answered is sent once, and the handler is not run again for it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    CircuitBreakerOpen,
    InvalidEnvelope,
    PublishUnconfirmed,
    QueueFull,
    TransportError,
)
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.ledger import Entry
from caxton_nats.engine.outbox import Outbox
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.ports import Outcome, Receipt, Submission
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, sample
from tests.engine.bench import ACK_WAIT, After, Bench, Failing, Mortal, Process, Recorder

WINDOW = 120.0


def answers(*ids: str, to: AgentId = ALICE, **fields: Any) -> list[Envelope]:
    return [
        sample(
            message_id=MessageId(one), performative="inform", sender=BOB, receiver=(to,), **fields
        )
        for one in ids
    ]


def answering(bench: Bench, *ids: str, message_id: str = "m-1", **fields: Any) -> Recorder:
    bob = Recorder(bench.clock)
    bob.answers[message_id] = answers(*ids, **fields)
    return bob


async def hearing(bench: Bench) -> Recorder:
    """Return the recorder of alice, whose mailbox is open; all are registered."""
    alice, platform = Recorder(bench.clock), await bench.known(bench.platform())
    mailbox = platform.mailbox(ALICE, alice)
    mailbox.start()
    bench.at_the_end(mailbox.drain)
    return alice


CRASHES = [
    ("handler returned", "outboxes", "save", 1, "before", 2),
    ("committed", "outboxes", "save", 1, "after", 1),
    ("first answer sent", "publisher", "publish", 1, "after", 1),
    ("all answers sent", "publisher", "publish", 2, "after", 1),
    ("before the ledger", "ledgers", "save", 1, "before", 1),
    ("in the ledger", "ledgers", "save", 1, "after", 1),
    ("before the ack", "mailboxes", "settle", 1, "before", 1),
    ("acknowledged", "mailboxes", "settle", 1, "after", 1),
]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "behind the window"])
@pytest.mark.parametrize("crash", [one[1:] for one in CRASHES], ids=[one[0] for one in CRASHES])
async def test_crash(bench: Bench, crash: tuple[str, str, int, str, int], *, late: bool) -> None:
    """Wherever the process dies, the asker handles each answer once, in order.

    No handler runs after its commit; within the duplicate window each answer is stored once, too.
    """
    port, method, number, when, runs = crash
    alice = await hearing(bench)
    process = Process(bench.ports)
    mortal = Mortal(getattr(process.ports, port), process, method, number, when)
    killed = answering(bench, "a-1", "a-2", conversation_id="c")
    ports = msgspec.structs.replace(process.ports, **{port: mortal})
    await bench.post("m-1")
    bench.open(killed, platform=await bench.known(bench.platform(ports)), process=process)
    await bench.clock.advance(2 * WINDOW if late else ACK_WAIT)
    assert process.dead
    bob = answering(bench, "a-1", "a-2", conversation_id="c")
    bench.open(bob)
    await bench.clock.advance(ACK_WAIT)
    assert len(killed.done) + len(bob.done) == runs
    assert alice.ids == ["a-1", "a-2"]
    assert await bench.broker.mailboxes.pending() == {}
    if not late:
        assert await bench.broker.mailboxes.stored() == 3


async def test_asker_and_answerer_restart_behind_the_window(bench: Bench) -> None:
    """The asker's own ledger knows the answer that is stored again when nobody else does."""
    process = Process(bench.ports)
    mortal = Mortal(process.ports.publisher, process, "publish", 1, "after")
    ports = msgspec.structs.replace(process.ports, publisher=mortal)
    await bench.post("m-1")
    platform = await bench.known(bench.platform(ports))
    bench.open(answering(bench, "a-1"), platform=platform, process=process)
    await bench.clock.idle()
    starts = [Recorder(bench.clock), Recorder(bench.clock)]
    for alice in starts:
        mailbox = bench.platform().mailbox(ALICE, alice)
        mailbox.start()
        await bench.clock.advance(2 * WINDOW)
        await mailbox.drain()
        bench.open(answering(bench, "a-1"))
        await bench.clock.advance(ACK_WAIT)
    assert await bench.broker.mailboxes.stored() == 3, "the second copy was stored"
    assert [alice.ids for alice in starts] == [["a-1"], []]
    assert await bench.broker.mailboxes.pending() == {}


class Doorkeeper:
    """A door that refuses for a while."""

    def __init__(self, real: Any, *errors: CaxtonError | None) -> None:
        self._real = real
        self._errors = list(errors)
        self.tried: list[str] = []

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        assert batch[0].envelope is not None
        self.tried.append(batch[0].envelope.message_id)
        error = self._errors.pop(0) if self._errors else None
        return [error] if error is not None else await self._real.send(batch)


async def behind(bench: Bench, *errors: CaxtonError | None) -> tuple[Platform, Doorkeeper]:
    platform = await bench.known(bench.platform())
    door = Doorkeeper(platform.door, *errors)
    return dataclasses.replace(platform, door=door), door  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (QueueFull("full"), 1),
        (TransportError("away"), 1),
        (CircuitBreakerOpen("open", retry_after=7.0), 7),
    ],
)
async def test_answer_that_cannot_be_sent_now(
    bench: Bench, error: CaxtonError, delay: float
) -> None:
    """It is tried again when the policy, or the error, says.

    The handler is not run again, and what was sent before is not sent again.
    """
    alice = await hearing(bench)
    platform, door = await behind(bench, None, error)
    bob = answering(bench, "a-1", "a-2")
    await bench.post("m-1")
    bench.open(bob, platform=platform)
    await bench.clock.advance(delay - 0.1)
    assert (alice.ids, await bench.pending(), door.tried) == (["a-1"], 1, ["a-1", "a-2"])
    await bench.clock.advance(0.2)
    assert (alice.ids, await bench.pending()) == (["a-1", "a-2"], 0)
    assert (bob.ids, door.tried) == (["m-1"], ["a-1", "a-2", "a-2"])


async def test_a_redriven_message_is_handled_anew(bench: Bench) -> None:
    """Also if its commit was not confirmed at first: nothing of that try is kept."""
    platform = bench.platform(
        bench.but(outboxes=Failing(bench.broker.outboxes, save=[After(PublishUnconfirmed("lost"))]))
    )
    platform = await bench.known(platform)
    door = Doorkeeper(platform.door, AgentNotFound("nobody"))
    bob = answering(bench, "a-1")
    await bench.post("m-1")
    bench.open(bob, platform=dataclasses.replace(platform, door=door))  # type: ignore[arg-type]
    await bench.clock.advance(5)
    (letter,) = await bench.dead()
    await platform.redrive.redrive(letter.id)
    await bench.clock.advance(5)
    assert (bob.ids, await bench.pending()) == (["m-1", "m-1"], 0)


@pytest.mark.parametrize("error", [AgentNotFound("nobody"), InvalidEnvelope("bad")])
async def test_answer_that_can_never_be_sent(bench: Bench, error: CaxtonError) -> None:
    """The message is a dead letter for that at once; its slot is free for the next."""
    platform, _ = await behind(bench, error)
    bob = answering(bench, "a-1")
    bob.answers["m-2"] = answers("a-2")
    await bench.post("m-1")
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    (letter,) = await bench.dead()
    assert (letter.message_id, letter.last_error["code"]) == ("m-1", error.code)
    await bench.post("m-2")
    await bench.clock.idle()
    assert [(one.slot, one.entry.message_id) for one, _ in await commits(bench)] == [(0, "m-2")]
    assert await bench.pending() == 0


async def test_answer_that_is_refused_for_ever(bench: Bench) -> None:
    """When all retries are used up the message is a dead letter; the handler ran once."""
    platform, door = await behind(bench, *[QueueFull("full")] * 10)
    bob = answering(bench, "a-1")
    await bench.post("m-1", max_retries=2)
    bench.open(bob, platform=platform)
    await bench.clock.advance(60)
    (letter,) = await bench.dead()
    assert (letter.reason, letter.attempts) == ("QueueFull", 3)
    assert (bob.ids, len(door.tried), await bench.pending()) == (["m-1"], 3, 0)


async def test_one_receiver_has_no_room(bench: Bench) -> None:
    """An answer to two is sent again for the one who had no room.

    For one who is unknown it is not, for that would never help.
    """
    full = Outcome(receiver=ALICE, error=QueueFull("full"))
    unknown = Outcome(receiver=ALICE, error=AgentNotFound("nobody"))
    given = [full, unknown]

    class Half:
        tried = 0

        async def send(self, _: object) -> list[Receipt]:
            self.tried += 1
            return [Receipt(message_id="a-1", outcomes=(Outcome(receiver=BOB), given.pop(0)))]

    platform, door = await bench.known(bench.platform()), Half()
    await bench.post("m-1")
    platform = dataclasses.replace(platform, door=door)  # type: ignore[arg-type]
    bench.open(answering(bench, "a-1"), platform=platform)
    await bench.clock.advance(1)
    assert (door.tried, await bench.pending(), await bench.dead()) == (2, 0, [])


async def test_deadline_after_the_commit(bench: Bench) -> None:
    """A deadline is for handlers to start; an answer that was committed is sent all the same."""
    alice = await hearing(bench)
    platform, _ = await behind(bench, QueueFull("full", retry_after=60.0))
    await bench.post("m-1", reply_by=bench.clock.now() + timedelta(seconds=5))
    bench.open(answering(bench, "a-1"), platform=platform)
    await bench.clock.advance(61)
    assert (alice.ids, await bench.dead(), await bench.pending()) == (["a-1"], [], 0)


async def test_deadline_of_an_answer(bench: Bench) -> None:
    """The time-out of an answer counts from its commit.

    If it cannot be sent before, it never is, and the message is a dead letter for that.
    """
    alice = await hearing(bench)
    platform, _ = await behind(bench, QueueFull("full", retry_after=60.0))
    await bench.post("m-1")
    bench.open(answering(bench, "a-1", timeout=30.0, created_at=None), platform=platform)
    await bench.clock.advance(61)
    assert ([one.last_error["code"] for one in await bench.dead()], "a-1" in alice.ids) == (
        ["Expired"],
        False,
    )


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_commit_that_is_not_confirmed(bench: Bench, lost: str) -> None:
    """It is looked whether it was made, and it is made again if not; the handler has done its part."""
    alice = await hearing(bench)
    error = PublishUnconfirmed("away")
    plan: list[Exception | None] = [After(error) if lost == "answer" else error]
    outboxes = Failing(
        bench.broker.outboxes, save=plan, commits=[None, PublishUnconfirmed("still")]
    )
    bob = answering(bench, "a-1")
    await bench.post("m-1")
    bench.open(bob, bench.but(outboxes=outboxes))
    await bench.clock.advance(10)
    assert (len(bob.done), alice.ids, await bench.pending()) == (1, ["a-1"], 0)


async def test_an_outbox_that_is_away_for_a_while(bench: Bench) -> None:
    """It costs the message no attempt, nor the deliveries that it may have, for an hour at least."""
    alice = await hearing(bench)
    bob = answering(bench, "a-1", message_id="m-1")
    away: list[Exception | None] = [PublishUnconfirmed("away")] * 1000
    outboxes = Failing(bench.broker.outboxes, save=away)
    await bench.post("m-1")
    bench.open(bob, bench.but(outboxes=outboxes), policy=RetryPolicy(max_retries=1))
    await bench.clock.advance(3600)
    assert (alice.ids, await bench.ports.dead_letters.list()) == ([], [])
    away.clear()
    await bench.clock.advance(65)
    assert (alice.ids, await bench.pending()) == (["a-1"], 0)
    assert {attempt for _, attempt, _ in bob.calls} == {1}


async def test_no_handler_before_the_outbox_is_read(bench: Bench) -> None:
    """While nobody knows what is owed nothing is handled."""
    outboxes = Failing(bench.broker.outboxes, commits=[PublishUnconfirmed("away")] * 20)
    bob = Recorder(bench.clock)
    await bench.post("m-1")
    mailbox = bench.open(bob, bench.but(outboxes=outboxes))
    await bench.clock.advance(5)
    assert (bob.ids, mailbox.attended.is_set()) == ([], False)
    await bench.clock.advance(60)
    assert bob.done == ["m-1"]


async def test_without_answers(bench: Bench) -> None:
    """A handler that answers nothing costs nothing here."""
    outboxes = Failing(bench.broker.outboxes)
    await bench.post("m-1")
    bench.open(Recorder(bench.clock), bench.but(outboxes=outboxes))
    await bench.clock.idle()
    assert (outboxes.calls, await bench.pending()) == (["commits"], 0)


async def test_slots_are_used_again(bench: Bench) -> None:
    """There are as many as messages in hand, and none is left when the mailbox is closed."""
    alice = await hearing(bench)
    bob = Recorder(bench.clock)
    for number in range(100):
        bob.answers[f"m-{number}"] = answers(f"a-{number}")
        await bench.post(f"m-{number}")
    mailbox = bench.open(bob, concurrency=4, window=8)
    await bench.clock.idle()
    assert len(alice.ids) == 100
    assert len(await commits(bench)) <= 8
    await mailbox.drain()
    assert await commits(bench) == []


async def test_debts_outlive_the_mailbox(bench: Bench) -> None:
    """What was committed and not sent is left for the next start, which sends it."""
    alice = await hearing(bench)
    platform, _ = await behind(bench, QueueFull("full"))
    await bench.post("m-1")
    mailbox = bench.open(answering(bench, "a-1"), platform=platform)
    await bench.clock.idle()
    await mailbox.drain()
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.advance(ACK_WAIT)
    assert (bob.ids, alice.ids, await bench.pending()) == ([], ["a-1"], 0)


async def test_settled_by_somebody_else(bench: Bench) -> None:
    """If an operator takes messages away between two attempts, their slots are found again."""
    platform, _ = await behind(bench, *[QueueFull("full", retry_after=3600.0)] * 40)
    outbox = Outbox(BOB, bench.ports, platform.door, max_body=1000)
    await outbox.open(())
    for number in range(70):
        stored = await bench.post(f"m-{number}")
        delivery = await bench.broker.mailboxes.get(Origin(stored.stream, stored.sequence))
        assert delivery is not None
        await outbox.commit(Entry(ALICE, MessageId(f"m-{number}")), delivery, answers("a"))
        await bench.broker.mailboxes.discard(delivery.origin)
    assert len(await commits(bench)) < 40


async def test_commit_of_a_message_that_is_gone(bench: Bench) -> None:
    """What was settled while the agent was away is owed no more, though no ledger knows of it."""
    stored = await bench.post("m-1")
    delivery = await bench.broker.mailboxes.get(Origin(stored.stream, stored.sequence))
    assert delivery is not None
    entry, door = Entry(ALICE, MessageId("m-1")), bench.platform().door
    before = Outbox(BOB, bench.ports, door, max_body=1000)
    await before.open(())
    await before.commit(entry, delivery, answers("a-1"))
    for gone in (False, True):
        if gone:
            await bench.broker.mailboxes.discard(delivery.origin)
        outbox = Outbox(BOB, bench.ports, door, max_body=1000)
        await outbox.open(())
        assert (entry in outbox) is not gone
    await outbox.close()
    assert await commits(bench) == []


async def test_frozen_predecessor(bench: Bench) -> None:
    """Of two processes that use one slot at once, one commits; the other is told."""
    one, other = [Outbox(BOB, bench.ports, bench.platform().door, max_body=1000) for _ in "ab"]
    await one.open(())
    await other.open(())
    stored = await bench.post("m-1")
    delivery = await bench.broker.mailboxes.get(Origin(stored.stream, stored.sequence))
    assert delivery is not None
    await one.commit(Entry(ALICE, MessageId("m-1")), delivery, answers("a-1"))
    with pytest.raises(TransportError):
        await other.commit(Entry(ALICE, MessageId("m-1")), delivery, answers("a-1"))
    await other.make_sure(())
    assert Entry(ALICE, MessageId("m-1")) in other


@pytest.mark.parametrize("crash", [False, True])
async def test_large_answers(bench: Bench, *, crash: bool) -> None:
    """Answers that do not fit into one record are set aside, sent, and removed."""
    small = bench.platform(router=RouterOptions(platform="here", max_body=6000))
    alice = await hearing(bench)
    text = msgspec.Raw(msgspec.json.encode("x" * 5000))
    process = Process(bench.ports)
    killed = answering(bench, "a-1", "a-2", content=text)
    await bench.post("m-1")
    if crash:
        mortal = Mortal(process.ports.outboxes, process, "save", 1, "after")
        ports = msgspec.structs.replace(process.ports, outboxes=mortal)
        router = RouterOptions(platform="here", max_body=6000)
        bench.open(killed, platform=bench.platform(ports, router=router), process=process)
        await bench.clock.advance(ACK_WAIT)
        assert process.dead
    bob = Recorder(bench.clock) if crash else killed
    bench.open(bob, platform=small)
    await bench.clock.advance(ACK_WAIT)
    assert (alice.ids, alice.contents, len(killed.done)) == (["a-1", "a-2"], [bytes(text)] * 2, 1)
    ((commit, _),) = await commits(bench)
    assert commit.claim is not None
    with pytest.raises(InvalidEnvelope):
        await bench.broker.contents.get(commit.claim)


async def test_answers_to_one_conversation_stay_in_order(bench: Bench) -> None:
    """If the first answer cannot be sent, the second is not sent before it."""
    alice = await hearing(bench)
    platform, _ = await behind(bench, QueueFull("full"), QueueFull("full"))
    await bench.post("m-1")
    bench.open(answering(bench, "a-1", "a-2", conversation_id="c"), platform=platform)
    await bench.clock.advance(10)
    assert alice.ids == ["a-1", "a-2"]


async def test_told_once(bench: Bench) -> None:
    """A message whose answers were sent late is told of as handled, once."""
    platform, _ = await behind(bench, QueueFull("full"))
    await bench.post("m-1")
    bench.open(answering(bench, "a-1"), platform=platform)
    await bench.clock.advance(10)
    assert bench.told(Action.HANDLED).count("m-1") == 1


async def commits(bench: Bench) -> list[Any]:
    await asyncio.sleep(0)
    return await bench.broker.outboxes.commits(BOB)
