"""What is told of a connection that is lost."""

from __future__ import annotations

from datetime import timedelta

from caxton_nats.core.connection_state import ConnectionState
from tests.core.sample import NOON


def test_trouble() -> None:
    """Since when in UTC, the attempt, and what went wrong last, if that is known."""
    lost = ConnectionState(connected=False, attempts=61, down_for=timedelta(seconds=90))
    assert lost.trouble(NOON) == f"not connected since {NOON:%Y-%m-%d}T11:58:30Z, attempt 61"
    refused = ConnectionState(connected=False, attempts=1, reason="refused")
    assert refused.trouble(NOON).endswith(f"{NOON:%H:%M:%S}Z, attempt 1: refused")


def test_no_trouble() -> None:
    """However often it was lost before."""
    assert ConnectionState(connected=True, losses=7).trouble(NOON) == ""
