"""Who a mailbox delivers to, and how it takes its mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import msgspec

from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.envelope import Envelope


class Receiver(Protocol):
    """Who the mail is for."""

    async def receive(self, envelope: Envelope, attempt: int) -> Sequence[Envelope]:
        """Handle the message (content fetched, attempt from 1); returning means done.

        What is returned are answers, which are sent now, together with the settling of the message:
        either both happen, once, or neither.
        """

    def expects(self, envelope: Envelope) -> bool:
        """Return whether something running waits for exactly this message."""

    def waits(self) -> bool:
        """Return whether something running waits for a message at all."""


class MailboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How one agent runs and takes its mail."""

    policy: RetryPolicy = RetryPolicy()
    concurrency: int = 16
    """Handlers at work at the same time."""
    window: int = 512
    """Ordinary deliveries in hand at most, waiting ones included; see `core.window.Window`."""
    urgent_window: int = 16
    """Urgent ones in hand at most, beside them."""
    wide_window: int = 1000
    """The same while a handler waits for an answer, which may lie behind many messages."""
    breaker_threshold: int = 10
    """Messages in a row whose handling fails until the circuit breaker opens; 0: it never does."""
    breaker_timeout: timedelta = timedelta(seconds=60)
    """How long it is open before a message is tried."""
    ack_wait: timedelta = timedelta(seconds=30)
    """As the consumer has it; what is in hand is kept three times as often."""
    drain: timedelta = timedelta(seconds=10)
    """How long running handlers may finish at the end."""
    lease: float = 15.0
    """Seconds without a sign of life after which the agent counts as silent."""
    reply_timeout: timedelta = timedelta(seconds=30)
    """How long a request waits for its answer, if it does not say."""
