"""The circuit breaker: when it opens, what a trial decides, and what its record says."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from caxton_nats.core.breaker import Breaker, Breakers, CircuitBreaker, CircuitBreakerState
from caxton_nats.core.errors import HandlerFailed
from tests.core.sample import ALICE, BOB, NOON

CLOSED, OPEN = CircuitBreakerState.CLOSED, CircuitBreakerState.OPEN
HALF_OPEN = CircuitBreakerState.HALF_OPEN
FAILED = HandlerFailed("ValueError: no")
SECOND = timedelta(seconds=1)


def made(threshold: int = 3) -> CircuitBreaker:
    return CircuitBreaker(BOB, threshold=threshold, timeout=10 * SECOND)


def opened(threshold: int = 3) -> CircuitBreaker:
    breaker = made(threshold)
    for number in range(threshold):
        breaker.record_failure(number, FAILED, NOON)
    return breaker


def test_it_opens_at_the_threshold_and_not_before() -> None:
    """Three different messages in a row open one of threshold 3; two leave it closed."""
    breaker = made()
    for number in range(2):
        breaker.record_failure(number, FAILED, NOON)
    assert (breaker.get_state(NOON), breaker.record) == (CLOSED, None)
    breaker.record_failure(2, FAILED, NOON)
    assert (breaker.get_state(NOON), breaker.is_open(NOON)) == (OPEN, True)


def test_one_message_is_one_failure() -> None:
    """However often a poisonous message is tried again, it alone opens nothing."""
    breaker = made()
    for _ in range(50):
        breaker.record_failure("poison", FAILED, NOON)
    assert breaker.get_state(NOON) is CLOSED


def test_a_success_starts_the_count_again() -> None:
    """Failures count in a row."""
    breaker = made()
    for number in range(20):
        breaker.record_failure(f"a{number}", FAILED, NOON)
        breaker.record_failure(f"b{number}", FAILED, NOON)
        breaker.record_success(NOON)
    assert breaker.get_state(NOON) is CLOSED


def test_the_time_alone_makes_it_half_open() -> None:
    """Exactly after the timeout, with nobody doing anything."""
    breaker = opened()
    assert breaker.get_state(NOON + 9.999 * SECOND) is OPEN
    assert breaker.get_state(NOON + 10 * SECOND) is HALF_OPEN
    assert not breaker.is_open(NOON + 10 * SECOND)


def test_a_trial_that_succeeds_closes_it() -> None:
    """And the count begins at nothing."""
    breaker, later = opened(), NOON + 10 * SECOND
    breaker.try_one(later)
    breaker.record_success(later)
    assert (breaker.get_state(later), breaker.record) == (CLOSED, None)
    breaker.record_failure("x", FAILED, later)
    assert breaker.get_state(later) is CLOSED


def test_a_trial_that_fails_opens_it_for_as_long_again() -> None:
    """One failure is enough; since when it has been open stays on record."""
    breaker, later = opened(), NOON + 10 * SECOND
    breaker.try_one(later)
    breaker.record_failure("x", FAILED, later)
    assert breaker.is_open(later + 9.999 * SECOND)
    assert breaker.get_state(later + 10 * SECOND) is HALF_OPEN
    record = breaker.record
    assert record is not None
    assert (record.failures, record.opened_at) == (4, NOON)


def test_what_ends_while_it_is_open_changes_nothing() -> None:
    """Handlers that began before it opened say nothing of what follows."""
    breaker = opened()
    breaker.record_success(NOON)
    before = breaker.record
    breaker.record_failure("y", FAILED, NOON + SECOND)
    assert (breaker.record, breaker.is_open(NOON)) == (before, True)


def test_switched_off() -> None:
    """With a threshold of 0 it never opens, and does not go on with an older record."""
    breaker, record = made(0), opened().record
    assert record is not None
    for number in range(200):
        breaker.record_failure(number, FAILED, NOON)
    breaker.resume(record, NOON)
    assert breaker.get_state(NOON) is CLOSED


def test_a_fresh_start_is_half_open() -> None:
    """A process that takes up what an earlier one left tries at once."""
    breaker, record = made(), opened().record
    assert record is not None
    breaker.resume(record, NOON)
    assert breaker.get_state(NOON) is HALF_OPEN


def test_the_record_is_plain_json() -> None:
    """State, failures, times and the last error, as `nats kv get` shows them."""
    data = msgspec.json.decode(msgspec.json.encode(opened().record))
    assert data == {
        "agent": "bob@here",
        "state": "Open",
        "failures": 3,
        "opened_at": "2026-05-01T12:00:00Z",
        "until": "2026-05-01T12:00:10Z",
        "timeout": 10.0,
        "last_error": {"code": "HandlerFailed", "reason": "ValueError: no"},
    }
    assert msgspec.convert(data, Breaker) == opened().record


def test_a_refusal_says_when() -> None:
    """Never earlier than the trial is possible, never later than a moment after it."""
    record = opened().record
    assert record is not None
    refusal = record.refusal(NOON + 4 * SECOND)
    assert refusal.retry_after is not None
    assert 6 <= refusal.retry_after <= 6.01
    assert (refusal.code, refusal.field, refusal.value) == ("CircuitBreakerOpen", "receiver", BOB)
    tried = record.tried(NOON + 10 * SECOND)
    assert "is being tried" in str(tried.refusal(NOON + 11 * SECOND))


def test_the_mirror() -> None:
    """It has what is not closed, lets one in when the time has come, and tells who listens."""
    breakers, record = Breakers(), opened().record
    heard: list[Breaker | None] = []
    assert record is not None
    breakers.listeners.add(BOB, heard.append)
    breakers.put(record)
    assert (len(breakers), list(breakers), breakers.find(ALICE)) == (1, [record], None)
    assert not breakers.lets_in(BOB, NOON)
    assert breakers.lets_in(BOB, NOON + 10 * SECOND)
    assert breakers.lets_in(ALICE, NOON)
    breakers.remove(BOB)
    breakers.remove(BOB)
    breakers.replace([record])
    breakers.replace([])
    assert heard == [record, None, record, None]
    assert len(breakers) == 0
