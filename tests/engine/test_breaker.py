"""The circuit breaker of a mailbox: what it holds back, what it lets through, and when."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from caxton_nats.core.breaker import Breakers, CircuitBreakerState
from caxton_nats.core.disposition import Reject, Retry, RetryPolicy
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import NotConnected
from caxton_nats.engine.mailbox import Mailbox
from tests.core.sample import BOB
from tests.engine.bench import Bench, Failing, Recorder

TIMEOUT = 57.0
"""Not a multiple of anything that somebody looks at again and again."""


class Broken:
    """A handler that fails until it is mended."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error or ValueError("broken")
        self.mended = False

    async def __call__(self, _: Envelope, __: int) -> None:
        if not self.mended:
            raise self._error


def opened(bench: Bench, bob: Recorder, **options: Any) -> Mailbox:
    chosen: dict[str, Any] = {
        "breaker_threshold": 3,
        "breaker_timeout": timedelta(seconds=TIMEOUT),
        "concurrency": 1,
        **options,
    }
    return bench.open(bob, **chosen)


async def post(bench: Bench, number: int, prefix: str = "m") -> None:
    for at in range(number):
        await bench.post(f"{prefix}-{at}")


async def mirror(bench: Bench) -> Breakers:
    breakers = Breakers()
    await bench.ports.breakers.follow(breakers)
    return breakers


async def state(bench: Bench) -> CircuitBreakerState:
    """Return what everybody sees of bob's breaker."""
    found = (await mirror(bench)).find(BOB)
    return found.state_at(bench.clock.now()) if found else CircuitBreakerState.CLOSED


async def test_no_handler_starts_while_it_is_open(bench: Bench) -> None:
    """After three messages in a row the others wait, in hand and with all of their attempts."""
    broken = Broken()
    bob = Recorder(bench.clock, broken)
    await post(bench, 10)
    opened(bench, bob)
    await bench.clock.advance(TIMEOUT - 1)
    assert bob.ids == ["m-0", "m-1", "m-2"]
    assert await state(bench) == "Open"
    broken.mended = True
    await bench.clock.advance(TIMEOUT)
    assert bob.calls[3][2] == TIMEOUT
    assert sorted(bob.done) == sorted(f"m-{number}" for number in range(10))
    assert {attempt for name, attempt, _ in bob.calls if name >= "m-3"} == {1}
    assert (await bench.dead(), await state(bench)) == ([], "Closed")


async def test_a_single_trial(bench: Bench) -> None:
    """With a backlog, one message is tried after each time-out, whatever could run beside it."""
    bob = Recorder(bench.clock, Broken())
    await post(bench, 30)
    opened(bench, bob, concurrency=8)
    await bench.clock.idle()
    before = len(bob.calls)
    for trials in (1, 2, 3):
        await bench.clock.advance(TIMEOUT)
        assert len(bob.calls) == before + trials
    assert await state(bench) == "Open"


async def test_a_trial_that_takes_its_time_is_alone(bench: Bench) -> None:
    """While it runs nothing else starts, however long that is; its success lets all of them go."""
    broken = Broken()

    async def slow(envelope: Envelope, attempt: int) -> None:
        await broken(envelope, attempt)
        if len(bob.calls) == 4:
            await bench.clock.sleep(timedelta(seconds=500))

    bob = Recorder(bench.clock, slow)
    await post(bench, 10)
    opened(bench, bob, concurrency=8, breaker_threshold=8)
    await bench.clock.idle()
    assert len(bob.calls) == 8
    bob.calls = bob.calls[:3]
    broken.mended = True
    await bench.clock.advance(TIMEOUT + 499)
    assert (len(bob.calls), await state(bench)) == (4, "HalfOpen")
    await bench.clock.advance(1)
    assert (len(bob.done), await state(bench)) == (10, "Closed")


async def test_a_poisonous_message_alone_opens_nothing(bench: Bench) -> None:
    """It is one failure with all of its retries, and becomes a dead letter as ever."""

    async def picky(envelope: Envelope, _: int) -> None:
        if envelope.message_id == "poison":
            raise ValueError("no")

    bob = Recorder(bench.clock, picky)
    await bench.post("poison", max_retries=10)
    opened(bench, bob, breaker_threshold=2)
    await bench.clock.advance(2000)
    assert [letter.attempts for letter in await bench.dead()] == [11]
    assert await state(bench) == "Closed"


async def test_what_is_no_failure_of_the_agent(bench: Bench) -> None:
    """`Retry`, `Reject`, NATS being away and what cannot be read open nothing."""
    for error in (Retry(timedelta(seconds=1)), Reject("no"), NotConnected("away")):
        bob = Recorder(bench.clock, Broken(error))
        await post(bench, 5, prefix=type(error).__name__)
        await bench.put(b"no message", type(error).__name__)
        mailbox = opened(bench, bob, breaker_threshold=1)
        await bench.clock.advance(200)
        assert len(bob.calls) >= 5
        assert await state(bench) == "Closed", error
        await mailbox.drain()


async def test_a_trial_that_says_nothing_is_followed_by_another(bench: Bench) -> None:
    """A message that no handler may see any more leaves the question open: the next one is tried."""
    broken = Broken()
    bob = Recorder(bench.clock, broken)
    await post(bench, 3)
    opened(bench, bob)
    await bench.clock.idle()
    await bench.put(b"no message", "unreadable")
    await bench.post("good")
    broken.mended = True
    await bench.clock.advance(TIMEOUT)
    assert "good" in bob.done
    assert await state(bench) == "Closed"


async def test_an_answer_that_is_waited_for_passes(bench: Bench) -> None:
    """A running request gets its answer while the breaker is open; that is no success, either."""
    bob = Recorder(bench.clock, Broken())
    await post(bench, 3)
    opened(bench, bob)
    await bench.clock.idle()
    bob.awaited.add("answer")
    await bench.post("answer")
    await bench.clock.idle()
    assert bob.ids[-1] == "answer"
    assert await state(bench) == "Open"


async def test_an_answer_is_no_success(bench: Bench) -> None:
    """An agent that gets answers and fails at everything else fails at all that is its own."""
    bob = Recorder(bench.clock)

    async def handle(envelope: Envelope, _: int) -> None:
        if envelope.message_id not in bob.awaited:
            raise ValueError("broken")

    bob = Recorder(bench.clock, handle)
    opened(bench, bob)
    for number in range(3):
        bob.awaited.add(f"answer-{number}")
        await bench.post(f"answer-{number}")
        await bench.post(f"m-{number}")
        await bench.clock.idle()
    assert await state(bench) == "Open"


async def test_what_began_before_it_opened_is_no_trial(bench: Bench) -> None:
    """It may end well while the trial runs: that closes nothing, and lets nothing else start."""
    gate = asyncio.Event()

    async def handle(envelope: Envelope, _: int) -> None:
        if envelope.message_id == "early":
            await gate.wait()
        elif bench.clock.seconds < TIMEOUT:
            raise ValueError("broken")
        else:
            await asyncio.Event().wait()

    bob = Recorder(bench.clock, handle)
    await bench.post("early")
    await post(bench, 6)
    opened(bench, bob, concurrency=2)
    await bench.clock.advance(TIMEOUT)
    calls = len(bob.calls)
    gate.set()
    await bench.clock.advance(10)
    assert (bob.done, len(bob.calls), await state(bench)) == (["early"], calls, "HalfOpen")


async def test_a_trial_from_outside_that_says_nothing_is_followed_by_another(bench: Bench) -> None:
    """With nothing else that waits, routers may let the next one in at once."""
    bob = Recorder(bench.clock, Broken())
    await post(bench, 3)
    opened(bench, bob, policy=RetryPolicy(max_retries=0))
    await bench.clock.advance(TIMEOUT)
    await bench.put(b"no message", "unreadable")
    await bench.clock.idle()
    assert await state(bench) == "HalfOpen"
    assert (await mirror(bench)).lets_in(BOB, bench.clock.now())


async def test_a_restart_tries_at_once(bench: Bench) -> None:
    """The next process of the agent does not wait for the time-out, and tries one message first."""
    broken = Broken()
    bob = Recorder(bench.clock, broken)
    await post(bench, 6)
    mailbox = opened(bench, bob)
    await bench.clock.idle()
    await mailbox.drain()
    platform = bench.platform(
        breaker_threshold=3, breaker_timeout=timedelta(seconds=TIMEOUT), concurrency=4
    )
    await bench.ports.breakers.follow(platform.health.breakers)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert len(bob.calls) == 4
    await mailbox.drain()
    assert await state(bench) == "Open"


async def test_an_operator_closes_it(bench: Bench) -> None:
    """Removing the record is enough: the mailbox goes on at once, with an empty count."""
    broken = Broken()
    bob = Recorder(bench.clock, broken)
    await post(bench, 6)
    platform = bench.platform(
        breaker_threshold=3, breaker_timeout=timedelta(seconds=TIMEOUT), concurrency=1
    )
    await bench.ports.breakers.follow(platform.health.breakers)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert len(bob.calls) == 3
    broken.mended = True
    await bench.ports.breakers.remove(BOB)
    await bench.clock.advance(5)
    assert (len(bob.done), await state(bench)) == (6, "Closed")


async def test_it_opens_without_nats_too(bench: Bench) -> None:
    """With the bucket away the agent is spared all the same, and the record comes later."""
    down = NotConnected("the server is away")
    breakers = Failing(bench.ports.breakers, load=[down] * 5)
    bob = Recorder(bench.clock, Broken())
    await post(bench, 6)
    opened(bench, bob, ports=bench.but(breakers=breakers))
    await bench.clock.idle()
    assert (len(bob.calls), await state(bench)) == (3, "Closed")
    await bench.clock.advance(TIMEOUT - 1)
    assert (len(bob.calls), await state(bench)) == (3, "Open")


async def test_switched_off(bench: Bench) -> None:
    """With a threshold of 0 every message gets its attempts."""
    bob = Recorder(bench.clock, Broken())
    await post(bench, 20)
    opened(bench, bob, breaker_threshold=0)
    await bench.clock.advance(200)
    assert (len(await bench.dead()), await state(bench)) == (20, "Closed")
