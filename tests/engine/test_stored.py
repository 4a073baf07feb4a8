"""Reading what lies in a stream, whoever put it there."""

from __future__ import annotations

import pytest

from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.engine import stored

LARGE = b'{"performative":"inform","content":"' + b"x" * 2_000_000 + b'"}'


def test_what_is_stored_is_read_whatever_its_size() -> None:
    """The limits of the doors do not apply again behind them."""
    envelope = stored.decode(LARGE)
    assert envelope.performative == "inform"
    assert stored.readable(LARGE) == envelope


def test_what_is_no_envelope_says_why_or_is_nothing() -> None:
    """`decode` raises the reason; `readable` is for those who go on without."""
    with pytest.raises(MalformedEnvelope):
        stored.decode(b"{")
    assert stored.readable(b"{") is None
