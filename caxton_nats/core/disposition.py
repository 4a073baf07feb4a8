"""retry: what happens to a delivery after its handler, as a pure function.

JetStream's words: a delivery is acked, naked with a delay, or terminated. We never send ``+TERM``:
on a work queue it deletes the message at once; `Term` means *write the dead letter, then ack*.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from caxton_nats.core.errors import AgentNotResponding, CaxtonError


class Ack(msgspec.Struct, frozen=True):
    """The message is done."""


class Nak(msgspec.Struct, frozen=True):
    """Deliver it again after the delay."""

    delay: timedelta


class Term(msgspec.Struct, frozen=True):
    """Never deliver it again: it becomes a dead letter for this error."""

    error: CaxtonError


Disposition = Ack | Nak | Term


class RetryPolicy(msgspec.Struct, frozen=True):
    """When and how often a failed delivery is tried again (the seed's retry knobs)."""

    max_retries: int = 3
    """Further attempts after the first, unless the message says otherwise."""
    delay: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    max_delay: timedelta = timedelta(seconds=60)
    jitter: float = 0.2
    """Share of a delay that chance may take away, so that retries do not come in step."""


class Retry(Exception):
    """Raise it in a handler: not now, try again ``after`` this long (or by the policy)."""

    def __init__(self, after: timedelta | None = None, reason: str = "not now") -> None:
        super().__init__(reason)
        self.after = after


class Reject(Exception):
    """Raise it in a handler: this message can never be handled; it becomes a dead letter."""


def settle(
    error: CaxtonError | None,
    *,
    attempt: int,
    policy: RetryPolicy,
    max_retries: int | None = None,
    chance: float = 0.0,
    after: timedelta | None = None,
) -> Disposition:
    """Decide what becomes of a delivery.

    Args:
        error: why the handler did not succeed; None if it did.
        attempt: 1 for the first delivery.
        policy: the receiver's policy.
        max_retries: the message's own number, if it has one.
        chance: a random number in 0..1 for the jitter.
        after: the delay that the handler asked for, instead of the policy's.
    """
    if error is None:
        return Ack()
    if not error.transient:
        return Term(error)
    allowed = policy.max_retries if max_retries is None else max_retries
    if attempt > allowed:
        return Term(error)
    if after is None and error.retry_after is not None:
        after = timedelta(seconds=error.retry_after)
    return Nak(after if after is not None else retry_delay(policy, attempt, chance))


def retry_delay(policy: RetryPolicy, attempt: int, chance: float) -> timedelta:
    """Return the delay after failed attempt number ``attempt``: exponential, capped, jittered."""
    # In seconds, with a bounded exponent: no attempt number can overflow a timedelta or a float.
    full = policy.delay.total_seconds() * policy.factor ** min(attempt - 1, 64)
    capped = min(full, policy.max_delay.total_seconds())
    return timedelta(seconds=capped * (1.0 - policy.jitter * chance))


def patience(policy: RetryPolicy, max_retries: int | None = None) -> timedelta:
    """Return how long all retries of a message take, without the time of its handlers."""
    allowed = policy.max_retries if max_retries is None else max_retries
    delays = (retry_delay(policy, attempt, 0.0) for attempt in range(1, allowed + 1))
    return sum(delays, timedelta())


def exhausted(attempt: int, policy: RetryPolicy, max_retries: int | None) -> CaxtonError | None:
    """Return an error for a delivery whose earlier attempts used up all retries unsettled.

    That happens when the process dies with the message in hand, again and again: no handler ever
    reported a failure, so only the number of deliveries tells.
    """
    allowed = policy.max_retries if max_retries is None else max_retries
    if attempt <= allowed + 1:
        return None
    return AgentNotResponding(
        "was delivered again and again and never settled",
        limit=allowed + 1,
        value=attempt - 1,
        hint="look for crashes of the agent's process while it handles this message",
    )
