"""The rate limit: a second's worth at once, then the rate, and exactly when there is room again."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from caxton_nats.core.errors import CaxtonError, ResourceExhausted
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.rate_limit import LONGEST, RateLimit
from tests.core.sample import ALICE, BOB, NOON, attempt


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def told(result: CaxtonError | None) -> float:
    """Return how long a sender has to wait; 0 if its message passes."""
    if result is None:
        return 0.0
    assert isinstance(result, ResourceExhausted)
    assert result.retry_after is not None
    return result.retry_after


def wait(limit: RateLimit, seconds: float = 0.0, sender: AgentId = ALICE) -> float:
    """Send one message; return how long it is told to wait, 0 if it passes."""
    return told(attempt(lambda: limit.take(sender, at(seconds))))


def burst(limit: RateLimit, seconds: float = 0.0, sender: AgentId = ALICE) -> int:
    """Return how many messages pass at one moment."""
    passed = 0
    while not wait(limit, seconds, sender):
        passed += 1
    return passed


@pytest.mark.parametrize("number", [1, 2, 7, 1000, 100_000])
def test_a_second_of_messages_passes_at_once(number: int) -> None:
    """Exactly as many as the limit says, for a sender who has been quiet."""
    assert burst(RateLimit(number, NOON), 5.0) == number


def test_recovers_exactly() -> None:
    """Who waits as long as it was told passes; a millisecond earlier it does not."""
    limit = RateLimit(10, NOON)
    assert burst(limit) == 10
    later = wait(limit)
    assert later == pytest.approx(0.1)
    assert wait(limit, later - 0.001) == pytest.approx(0.001)
    assert wait(limit, later) == 0
    assert wait(limit, later) == pytest.approx(0.1)
    assert burst(limit, later + 60) == 10


def test_the_refusal_says_all() -> None:
    """Code, field, limit, sender, what to do and when."""
    limit = RateLimit(1, NOON)
    limit.take(ALICE, NOON)
    refused = attempt(lambda: limit.take(ALICE, NOON))
    assert isinstance(refused, ResourceExhausted)
    assert refused.to_dict() == {
        "code": "ResourceExhausted",
        "field": "sender",
        "reason": "alice@here sends more messages than a sender may per second",
        "limit": 1,
        "value": ALICE,
        "hint": "send again after `retry_after` seconds; the setting is rate_limit",
        "retry_after": 1.0,
    }
    assert refused.transient


def test_the_rate_over_a_long_time() -> None:
    """Whoever tries all the time gets the burst and then the rate, no more and no less."""
    limit, chance = RateLimit(50, NOON), random.Random(7)  # noqa: S311 - no secret
    passed, now = 0, 0.0
    while now < 100:
        passed += not wait(limit, now)
        now += chance.expovariate(500)
    assert passed == pytest.approx(50 + 50 * 100, abs=2)


def test_senders_do_not_know_of_each_other() -> None:
    """One at its limit takes nothing from another."""
    limit = RateLimit(3, NOON)
    burst(limit)
    assert burst(limit, sender=BOB) == 3


def test_a_refusal_costs_nothing() -> None:
    """However often a sender tries in vain, there is room for it when it was told."""
    limit = RateLimit(10, NOON)
    burst(limit)
    waits = [wait(limit) for _ in range(1000)]
    assert set(waits) == {waits[0]}
    assert wait(limit, waits[0]) == 0


def test_no_limit() -> None:
    """0 means as many as it likes, and remembers nobody."""
    limit = RateLimit(0, NOON)
    assert [wait(limit) for _ in range(10_000)] == [0.0] * 10_000
    assert len(limit) == 0


@pytest.mark.parametrize(("number", "routers"), [(1000, 2), (1000, 3), (10, 4), (2, 5)])
def test_a_share(number: int, routers: int) -> None:
    """Several routers together allow the limit; one message each at the least."""
    shares = [RateLimit(number, NOON) for _ in range(routers)]
    for one in shares:
        one.share(routers)
    passed = sum(burst(one) for one in shares)
    assert number - routers < passed <= max(number, routers)
    later = sum(not wait(one, 10.0) for one in shares)
    assert later == routers


def test_memory_is_bounded() -> None:
    """A million senders of one message each: those of the last moments are remembered."""
    limit = RateLimit(1000, NOON)
    most = 0
    for number in range(100_000):
        limit.take(AgentId(f"a{number}@here"), at(number / 10_000))
        most = max(most, len(limit))
    assert most <= 1000
    busy = RateLimit(1, NOON)
    for number in range(20_000):
        busy.take(AgentId(f"a{number}@here"), at(number / 10_000))
    # Each may not send again for a second: twice the senders of a second, at most.
    assert len(busy) <= 20_001


def test_a_clock_that_is_set_back() -> None:
    """Nobody waits for longer than the burst, whatever the clock says."""
    limit = RateLimit(10, NOON)
    assert wait(limit, 3600) == 0
    assert wait(limit, 0) <= 0.1
    assert wait(limit, 0.2) == 0


def turn(
    limit: RateLimit, seconds: float = 0.0, *, waited: bool = False, sender: AgentId = ALICE
) -> float:
    """Submit one message; return in how many seconds it has its turn, 0 if that is now."""
    return told(attempt(lambda: limit.take_in_turn(sender, at(seconds), waited=waited)))


def test_turns_are_given_in_order() -> None:
    """A second's worth passes; each one after that gets the next turn, and then passes."""
    limit = RateLimit(10, NOON)
    turns = [turn(limit) for _ in range(40)]
    assert turns[:10] == [0.0] * 10
    assert turns[10:] == pytest.approx([0.1 * number for number in range(1, 31)])
    for when in turns[10:]:
        assert turn(limit, when, waited=True) == 0


def test_what_comes_later_goes_behind_those_that_wait() -> None:
    """A new message takes nobody's turn; at another sender it takes none at all."""
    limit = RateLimit(10, NOON)
    for _ in range(20):
        turn(limit)
    assert turn(limit, 0.55) == pytest.approx(0.55)
    assert turn(limit, 0.55, sender=BOB) == 0
    assert turn(limit, 5) == 0


def test_a_turn_has_an_end() -> None:
    """However many wait, none is told to wait for longer than five minutes at once."""
    limit = RateLimit(1, NOON)
    turns = [turn(limit) for _ in range(1000)]
    assert max(turns) == LONGEST
