"""What is urgent."""

from __future__ import annotations

from caxton_nats.core.envelope import Priority
from caxton_nats.core.urgency import is_urgent
from tests.core.sample import sample


def test_what_is_urgent() -> None:
    """High and Critical have a way of their own."""
    assert [is_urgent(sample(priority=one)) for one in Priority] == [False, False, True, True]
