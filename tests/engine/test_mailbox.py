"""deliver and settle: what becomes of a delivery, and when."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from caxton_nats.core.disposition import Reject, Retry
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import NotConnected, PublishUnconfirmed
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, NOON
from tests.engine.bench import ACK_WAIT, After, Bench, Failing, Recorder

LOST = PublishUnconfirmed("lost on purpose")


class Raising:
    """A handler that raises, the first so many times."""

    def __init__(self, error: BaseException, times: int = 1000) -> None:
        self._error = error
        self._left = times

    async def __call__(self, _: Envelope, __: int) -> None:
        if self._left:
            self._left -= 1
            raise self._error


async def test_retries_grow_and_are_numbered(bench: Bench) -> None:
    """A handler that raises is called after 1, 2, 4 s more; then the message is a dead letter."""
    bob = Recorder(bench.clock, Raising(ValueError("no")))
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.advance(100)
    assert bob.calls == [("m-1", 1, 0), ("m-1", 2, 1), ("m-1", 3, 3), ("m-1", 4, 7)]
    (letter,) = await bench.dead()
    assert (letter.attempts, letter.reason) == (4, "AgentNotResponding")
    assert letter.last_error == {"code": "HandlerFailed", "reason": "ValueError: no"}
    assert await bench.pending() == 0
    assert bench.told(Action.RETRIED) == ["m-1"] * 3


async def test_success_is_settled_at_once(bench: Bench) -> None:
    """A handler that returns has its message settled; it is not delivered again."""
    bob = Recorder(bench.clock)
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.idle()
    assert await bench.pending() == 0
    await bench.clock.advance(10 * ACK_WAIT)
    assert bob.calls == [("m-1", 1, 0)]


async def test_retries_of_the_message_itself(bench: Bench) -> None:
    """`max_retries` of a message goes before the mailbox's policy."""
    bob = Recorder(bench.clock, Raising(ValueError("no")))
    await bench.post("m-1", max_retries=1)
    bench.open(bob)
    await bench.clock.advance(100)
    assert [attempt for _, attempt, _ in bob.calls] == [1, 2]
    assert [letter.attempts for letter in await bench.dead()] == [2]


async def test_retry_says_when(bench: Bench) -> None:
    """`Retry(after)` is the delay, whatever the policy's; without it the policy's counts."""
    errors = iter([Retry(timedelta(seconds=20)), Retry(), None])

    async def wait_a_little(_: Envelope, __: int) -> None:
        if (error := next(errors)) is not None:
            raise error

    bob = Recorder(bench.clock, wait_a_little)
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.advance(100)
    assert bob.calls == [("m-1", 1, 0), ("m-1", 2, 20), ("m-1", 3, 22)]
    assert await bench.dead() == []


async def test_reject_is_final(bench: Bench) -> None:
    """`Reject` makes a dead letter at once, by the receiver's fault."""
    bob = Recorder(bench.clock, Raising(Reject("never")))
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.advance(100)
    assert bob.ids == ["m-1"]
    (letter,) = await bench.dead()
    assert (letter.reason, letter.attempts) == ("InvalidMessage", 1)
    assert letter.last_error == {"code": "HandlerRejected", "reason": "never"}


async def test_expired_while_it_waited(bench: Bench) -> None:
    """A message whose reply_by has passed reaches no handler; its sender is told."""
    platform = await bench.known(bench.platform())
    bob = Recorder(bench.clock)
    await bench.post("m-1", reply_by=NOON + timedelta(seconds=5))
    await bench.clock.advance(5)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    (letter,) = await bench.dead()
    assert (bob.calls, letter.reason, await bench.pending()) == ([], "Timeout", 0)
    assert (await bench.broker.mailboxes.status(ALICE)).pending == 1


async def test_expired_on_the_last_step(bench: Bench) -> None:
    """A deadline that passes while the offer is being put on record holds, too."""

    class Slow(Failing):
        async def save(self, *arguments: Any, **named: Any) -> Any:
            await bench.clock.sleep(timedelta(seconds=6))
            return await self._real.save(*arguments, **named)

    bob = Recorder(bench.clock)
    await bench.post("m-1", reply_by=NOON + timedelta(seconds=5), require_receipt=True)
    bench.open(bob, bench.but(receipts=Slow(bench.broker.receipts)))
    await bench.clock.advance(20)
    assert (bob.calls, [one.reason for one in await bench.dead()]) == ([], ["Timeout"])


async def test_expired_before_its_retry(bench: Bench) -> None:
    """A deadline that passes between two attempts ends the retries."""
    bob = Recorder(bench.clock, Raising(ValueError("no")))
    await bench.post("m-1", reply_by=NOON + timedelta(seconds=2))
    bench.open(bob)
    await bench.clock.advance(100)
    assert [attempt for _, attempt, _ in bob.calls] == [1, 2]
    assert [letter.reason for letter in await bench.dead()] == ["Timeout"]


async def test_bytes_that_are_no_message(bench: Bench) -> None:
    """What cannot be read is a dead letter with the very bytes; others are handled."""
    bob = Recorder(bench.clock)
    await bench.put(b'{"performative": "dance"', "odd")
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.idle()
    (letter,) = await bench.dead()
    assert (letter.original, letter.reason) == (b'{"performative": "dance"', "InvalidMessage")
    assert letter.last_error["code"] == "MalformedEnvelope"
    assert (bob.done, await bench.pending()) == (["m-1"], 0)


async def test_crash_between_record_and_settlement(bench: Bench) -> None:
    """The dead letter is there before its original goes; settled again, it is the same one."""
    bob = Recorder(bench.clock, Raising(Reject("never")))
    mailboxes = Failing(bench.broker.mailboxes, settle=[LOST])
    await bench.post("m-1")
    bench.open(bob, bench.but(mailboxes=mailboxes))
    await bench.clock.idle()
    assert (len(await bench.dead()), await bench.pending()) == (1, 1)
    await bench.clock.advance(ACK_WAIT)
    assert (len(await bench.dead()), await bench.pending()) == (1, 0)
    assert bob.ids == ["m-1"], "handled once"
    assert bench.told(Action.DEAD_LETTERED) == ["m-1"]


async def test_record_that_cannot_be_written(bench: Bench) -> None:
    """Without its dead letter a message is not settled; the letter comes to say what was wrong."""
    bob = Recorder(bench.clock, Raising(ValueError("no")))
    dead_letters = Failing(bench.broker.dead_letters, write=[LOST, LOST])
    await bench.post("m-1", max_retries=1)
    bench.open(bob, bench.but(dead_letters=dead_letters))
    await bench.clock.advance(1)
    assert (await bench.dead(), await bench.pending()) == ([], 1)
    await bench.clock.advance(2 * ACK_WAIT)
    (letter,) = await bench.dead()
    assert (letter.attempts, letter.last_error["code"]) == (2, "HandlerFailed")
    assert (bob.ids, await bench.pending()) == (["m-1", "m-1"], 0)


async def test_lost_ack(bench: Bench) -> None:
    """A message whose ack was lost comes again and is settled without being handled again."""
    bob = Recorder(bench.clock)
    mailboxes = Failing(bench.broker.mailboxes, settle=[LOST])
    await bench.post("m-1", conversation_id="c")
    await bench.post("m-2", conversation_id="c")
    bench.open(bob, bench.but(mailboxes=mailboxes))
    await bench.clock.idle()
    assert bob.done == ["m-1"], "its conversation waits until it is settled"
    await bench.clock.advance(ACK_WAIT)
    assert (bob.done, await bench.pending()) == (["m-1", "m-2"], 0)
    assert bench.told(Action.HANDLED) == ["m-1", "m-2"]
    assert bench.told(Action.DUPLICATE) == ["m-1"]


async def test_ack_whose_answer_was_lost(bench: Bench) -> None:
    """If only the server's answer was lost, the conversation goes on once that is noticed."""
    bob = Recorder(bench.clock)
    mailboxes = Failing(bench.broker.mailboxes, settle=[After(LOST)])
    await bench.post("m-1", conversation_id="c")
    await bench.post("m-2", conversation_id="c")
    bench.open(bob, bench.but(mailboxes=mailboxes))
    await bench.clock.idle()
    assert (bob.done, await bench.pending()) == (["m-1"], 1)
    await bench.clock.advance(3 * ACK_WAIT)
    assert (bob.done, await bench.pending()) == (["m-1", "m-2"], 0)


async def test_lost_nak(bench: Bench) -> None:
    """A message that could not be given back comes again after ack_wait, as its next attempt."""
    bob = Recorder(bench.clock, Raising(ValueError("no"), times=1))
    mailboxes = Failing(bench.broker.mailboxes, settle=[LOST])
    await bench.post("m-1")
    bench.open(bob, bench.but(mailboxes=mailboxes))
    await bench.clock.advance(2 * ACK_WAIT)
    assert bob.calls == [("m-1", 1, 0), ("m-1", 2, ACK_WAIT)]
    assert await bench.pending() == 0


async def test_attempts_that_cannot_be_counted(bench: Bench) -> None:
    """A message whose attempts are out of reach waits; it is not handled uncounted."""
    bob = Recorder(bench.clock, Raising(ValueError("no"), times=1))
    counts = Failing(bench.broker.attempts, recorded=[LOST])
    await bench.post("m-1")
    bench.open(bob, bench.but(attempts=counts))
    await bench.clock.advance(2)
    assert bob.calls == [("m-1", 1, 0), ("m-1", 2, 2)]


async def test_bug_does_not_stop_a_conversation(bench: Bench) -> None:
    """An exception that is not ours while settling is waited out like any other failure."""
    bob = Recorder(bench.clock)
    mailboxes = Failing(bench.broker.mailboxes, settle=[AttributeError("a bug")])
    await bench.post("m-1", conversation_id="c")
    await bench.post("m-2", conversation_id="c")
    bench.open(bob, bench.but(mailboxes=mailboxes))
    await bench.clock.advance(ACK_WAIT)
    assert (bob.done, await bench.pending()) == (["m-1", "m-2"], 0)


async def test_handler_cancelled_from_within(bench: Bench) -> None:
    """A handler that awaits something cancelled has failed, and is tried again."""
    bob = Recorder(bench.clock, Raising(asyncio.CancelledError(), times=1))
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.advance(1)
    assert (bob.calls, bob.done) == ([("m-1", 1, 0), ("m-1", 2, 1)], ["m-1"])


async def test_failure_to_fetch_is_waited_out(bench: Bench) -> None:
    """A server that is away is asked again after 0.1, 0.2, 0.4 s; a bug does not end it either."""
    bob = Recorder(bench.clock)
    away: list[Exception | None] = [NotConnected("away"), RuntimeError("a bug"), LOST]
    # Ordinary and urgent mail are fetched beside each other; both meet the same.
    both = [error for error in away for _ in range(2)]
    mailboxes = Failing(bench.broker.mailboxes, fetch=both)
    await bench.post("m-1")
    bench.open(bob, bench.but(mailboxes=mailboxes))
    await bench.clock.advance(0.69)
    assert bob.calls == []
    await bench.clock.advance(0.01)
    assert bob.calls == [("m-1", 1, 0.7)]


async def test_mailbox_that_cannot_be_opened_yet(bench: Bench) -> None:
    """Opening is tried until it succeeds; only then is the mailbox attended."""
    mailboxes = Failing(bench.broker.mailboxes, open=[NotConnected("away")] * 3)
    mailbox = bench.open(Recorder(bench.clock), bench.but(mailboxes=mailboxes))
    await bench.clock.idle()
    assert not mailbox.attended.is_set()
    await bench.clock.advance(0.7)
    assert mailbox.attended.is_set()


async def test_consumer_removed_under_our_feet(bench: Bench) -> None:
    """A mailbox whose consumer is gone is opened again; nothing in it is lost."""
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.idle()
    await bench.broker.mailboxes.remove(BOB)
    await bench.clock.idle()
    await bench.post("m-1")
    await bench.clock.advance(1)
    assert (bob.done, await bench.pending()) == (["m-1"], 0)
