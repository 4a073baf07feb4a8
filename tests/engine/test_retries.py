"""retry: what failed comes again, and fresh mail does not wait for all of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, CircuitBreakerOpen, NotConnected, QueueFull
from caxton_nats.core.failure import FailureReason
from tests.engine.bench import Bench, Recorder

POISON, FRESH = 60, 30
OFTEN = RetryPolicy(max_retries=10, delay=timedelta(seconds=1))


async def test_a_storm_of_retries_leaves_room(bench: Bench) -> None:
    """While most mail fails again and again, fresh mail gets half of the handlers at the least."""

    async def handle(envelope: Envelope, _: int) -> None:
        await bench.clock.sleep(timedelta(seconds=1))
        if envelope.message_id.startswith("poison"):
            raise ValueError("as always")

    bob = Recorder(bench.clock, handle)
    for number in range(POISON):
        await bench.post(f"poison-{number}")
    for number in range(FRESH):
        await bench.post(f"fresh-{number}")
    bench.open(bob, concurrency=2, policy=OFTEN, breaker_threshold=0)
    await bench.clock.advance(POISON + FRESH + 10)
    assert len([one for one in bob.done if one.startswith("fresh")]) == FRESH
    first = [seconds for _, attempt, seconds in bob.calls if attempt == 1]
    again = [seconds for _, attempt, seconds in bob.calls if attempt > 1 and seconds <= first[-1]]
    assert 0 < len(again) <= len(first) + 2
    await bench.clock.advance(3600)
    assert len(await bench.dead()) == POISON
    assert await bench.pending() == 0


async def test_without_others_nothing_is_spread(bench: Bench) -> None:
    """What fails while nothing waits comes again when its policy says."""

    async def handle(_: Envelope, attempt: int) -> None:
        await bench.clock.sleep(timedelta(seconds=10))
        if attempt < 3:
            raise ValueError("not yet")

    bob = Recorder(bench.clock, handle)
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.advance(60)
    assert bob.calls == [("m-1", 1, 0), ("m-1", 2, 11), ("m-1", 3, 23)]


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (NotConnected("the server is away"), FailureReason.NETWORK_ERROR),
        (QueueFull("carol's mailbox is full"), FailureReason.AGENT_NOT_RESPONDING),
        (ValueError("a mistake"), FailureReason.AGENT_NOT_RESPONDING),
    ],
)
async def test_whose_fault_it_was(bench: Bench, raised: Exception, reason: FailureReason) -> None:
    """A handler that failed because NATS was away has the infrastructure to blame for it."""

    async def handle(_: Envelope, __: int) -> None:
        raise raised

    await bench.post("m-1")
    bench.open(Recorder(bench.clock, handle))
    await bench.clock.advance(60)
    (letter,) = await bench.dead()
    assert (letter.reason, letter.attempts) == (reason, 4)
    assert str(raised.args[0]) in CaxtonError.from_dict(letter.last_error).reason


async def test_an_error_that_says_when(bench: Bench) -> None:
    """A handler that was refused until a moment comes again then, not before."""

    async def handle(_: Envelope, attempt: int) -> None:
        if attempt == 1:
            raise CircuitBreakerOpen("carol fails", retry_after=42.0)

    bob = Recorder(bench.clock, handle)
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.advance(60)
    assert bob.calls == [("m-1", 1, 0), ("m-1", 2, 42)]
