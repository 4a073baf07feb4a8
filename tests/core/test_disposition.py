"""What becomes of a delivery: done, again after a delay, or dead."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.disposition import (
    Ack,
    Nak,
    Reject,
    Retry,
    RetryPolicy,
    Term,
    exhausted,
    patience,
    retry_delay,
    settle,
)
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    CircuitBreakerOpen,
    Expired,
    HandlerFailed,
    HandlerRejected,
    InvalidEnvelope,
    QueueFull,
    TransportError,
)

EXACT = RetryPolicy(jitter=0.0)
FAILED = HandlerFailed("it raised")


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_success_is_acked() -> None:
    """A delivery without an error is done, on any attempt."""
    assert settle(None, attempt=1, policy=EXACT) == Ack()
    assert settle(None, attempt=99, policy=EXACT) == Ack()


@pytest.mark.parametrize(
    "error",
    [InvalidEnvelope("x"), Expired("x"), HandlerRejected("x"), AgentNotFound("x")],
    ids=lambda error: error.code,
)
def test_permanent_errors_die_at_once(error: CaxtonError) -> None:
    """What would be refused again in the same way is not tried again."""
    assert settle(error, attempt=1, policy=EXACT, max_retries=10, after=seconds(1)) == Term(error)


@pytest.mark.parametrize(
    "error",
    [FAILED, QueueFull("x"), CircuitBreakerOpen("x"), TransportError("x")],
    ids=lambda error: error.code,
)
def test_other_errors_are_retried(error: CaxtonError) -> None:
    """What may go better next time is tried again."""
    assert settle(error, attempt=1, policy=EXACT) == Nak(seconds(1))


def test_an_error_that_knows_when_is_believed() -> None:
    """The delay is the one that the error names; what the handler asks for goes before it."""
    error = CircuitBreakerOpen("x", retry_after=7.5)
    assert settle(error, attempt=1, policy=EXACT) == Nak(seconds(7.5))
    assert settle(error, attempt=1, policy=EXACT, after=seconds(2)) == Nak(seconds(2))
    assert settle(error, attempt=4, policy=EXACT) == Term(error)


@pytest.mark.parametrize("retries", [0, 1, 3, 10])
def test_policy_bounds_the_attempts(retries: int) -> None:
    """After the first attempt there are as many as the policy says, and then a dead letter."""
    policy = RetryPolicy(max_retries=retries)
    for attempt in range(1, retries + 1):
        assert isinstance(settle(FAILED, attempt=attempt, policy=policy), Nak)
    assert settle(FAILED, attempt=retries + 1, policy=policy) == Term(FAILED)
    assert settle(FAILED, attempt=retries + 2, policy=policy) == Term(FAILED)


@pytest.mark.parametrize("own", [0, 1, 5])
def test_own_number_of_retries(own: int) -> None:
    """A message's own number counts instead of the policy's, smaller or larger."""
    assert settle(FAILED, attempt=own + 1, policy=EXACT, max_retries=own) == Term(FAILED)
    if own:
        assert isinstance(settle(FAILED, attempt=own, policy=EXACT, max_retries=own), Nak)


def test_delay_that_the_handler_asked_for() -> None:
    """A handler's own delay counts instead of the policy's, zero included."""
    assert settle(FAILED, attempt=1, policy=EXACT, after=seconds(7)) == Nak(seconds(7))
    assert settle(FAILED, attempt=1, policy=EXACT, after=seconds(0)) == Nak(seconds(0))


def test_asking_for_a_delay_is_no_extra_attempt() -> None:
    """A handler that asks again and again ends as a dead letter, too."""
    assert settle(FAILED, attempt=4, policy=EXACT, after=seconds(7)) == Term(FAILED)


def test_delays_double() -> None:
    """Delays grow exponentially and are capped."""
    delays = [retry_delay(EXACT, attempt, 0.5).total_seconds() for attempt in range(1, 9)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 10), (0.5, 9), (1.0, 8)])
def test_jitter(chance: float, delay: float) -> None:
    """Chance takes away up to the jitter's share, and adds nothing."""
    policy = RetryPolicy(delay=seconds(10), jitter=0.2)
    assert retry_delay(policy, 1, chance) == seconds(delay)
    assert settle(FAILED, attempt=1, policy=policy, chance=chance) == Nak(seconds(delay))


@given(
    attempt=st.integers(1, 10**9),
    chance=st.floats(0, 1),
    first=st.floats(0, 3600),
    factor=st.floats(1, 10),
    most=st.floats(0, 86400),
    jitter=st.floats(0, 1),
)
def test_any_delay_is_within_bounds(
    attempt: int, chance: float, first: float, factor: float, most: float, jitter: float
) -> None:
    """No attempt number, policy or chance gives a delay below zero or above the cap."""
    policy = RetryPolicy(
        delay=seconds(first), factor=factor, max_delay=seconds(most), jitter=jitter
    )
    assert timedelta(0) <= retry_delay(policy, attempt, chance) <= policy.max_delay


@pytest.mark.parametrize(("own", "allowed"), [(None, 4), (1, 2), (10, 11)])
def test_exhausted(own: int | None, allowed: int) -> None:
    """A delivery beyond all attempts was taken again and again without a word: its reader dies."""
    assert exhausted(1, EXACT, own) is None
    assert exhausted(allowed, EXACT, own) is None
    error = exhausted(allowed + 1, EXACT, own)
    assert error is not None
    assert (error.code, error.limit, error.value) == ("AgentNotResponding", allowed, allowed)
    assert exhausted(allowed + 3, EXACT, own) is not None


def test_signals_of_a_handler() -> None:
    """What a handler raises on purpose carries what it asks for, and is no error of the bus."""
    assert (Retry().after, str(Retry())) == (None, "not now")
    assert (Retry(seconds(3), "busy").after, str(Retry(seconds(3), "busy"))) == (seconds(3), "busy")
    assert str(Reject("never")) == "never"
    assert not issubclass(Retry, CaxtonError)
    assert not issubclass(Reject, CaxtonError)


@pytest.mark.parametrize(("retries", "seconds"), [(None, 7), (0, 0), (1, 1), (5, 31)])
def test_patience(retries: int | None, seconds: float) -> None:
    """All retries of a message take the sum of their delays; its own number goes first."""
    policy = RetryPolicy(max_retries=3, delay=timedelta(seconds=1), factor=2.0)
    assert patience(policy, retries) == timedelta(seconds=seconds)
