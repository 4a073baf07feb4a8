"""Until when a handler may start."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caxton_nats.core.deadline import TIMEOUT_BOUNDS, check_deadline, deadline
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope
from tests.core.sample import NOON, attempt, sample

SECOND = timedelta(seconds=1)


def test_no_deadline() -> None:
    """Without reply_by and timeout a message never expires."""
    assert deadline(None, None, NOON) is None
    check_deadline(sample(), NOON)


def test_the_earlier_one_counts() -> None:
    """A timeout is so many seconds from the door; the earlier of it and reply_by is the deadline."""
    assert deadline(None, 5, NOON) == NOON + 5 * SECOND
    assert deadline(NOON + 9 * SECOND, 5, NOON) == NOON + 5 * SECOND
    assert deadline(NOON + 2 * SECOND, 5, NOON) == NOON + 2 * SECOND
    assert deadline(NOON + 2 * SECOND, None, NOON) == NOON + 2 * SECOND


@pytest.mark.parametrize("seconds", TIMEOUT_BOUNDS)
def test_the_bounds_are_accepted(seconds: float) -> None:
    """1 s and 300 s are timeouts (seed MessageTimeoutMs)."""
    assert deadline(None, seconds, NOON) == NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [0, 0.999, 300.001, -5, 1e300, float("nan"), float("inf")])
def test_beyond_the_bounds(seconds: float) -> None:
    """Anything else is refused, with field, limit and value."""
    error = attempt(lambda: deadline(None, seconds, NOON))
    assert isinstance(error, InvalidEnvelope)
    edge = "300" if seconds > 300 else "1"
    assert (error.field, error.limit, error.value) == ("timeout", edge, f"{seconds:g}")


def test_the_moment_itself_is_too_late() -> None:
    """A handler may start before the deadline, not at it."""
    late = sample(reply_by=NOON)
    check_deadline(late, NOON - timedelta(microseconds=1))
    error = attempt(lambda: check_deadline(late, NOON))
    assert isinstance(error, CaxtonError)
    assert (error.code, error.field, error.value) == ("Expired", "reply_by", NOON.isoformat())
