"""When an agent that fails again and again is left alone, and when it is tried again. Pure.

Closed, everything passes. After so many *different* messages in a row whose handling has failed it
opens: nothing new is let in, no handler starts. After a time it is half open: one message is the
trial. If that succeeds it is closed, if it fails it is open for the same time again (seed:
CircuitBreaker). One message that fails at each of its retries is one failure, not several.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from caxton_nats.core.errors import CaxtonError, CircuitBreakerOpen
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.listeners import Listeners


class CircuitBreakerState(StrEnum):
    """The seed's three states."""

    CLOSED = "Closed"
    OPEN = "Open"
    HALF_OPEN = "HalfOpen"


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is not closed, as it lies in the bucket caxton-breakers."""

    agent: AgentId
    state: CircuitBreakerState
    failures: int
    """In a row, failed trials included."""
    opened_at: datetime
    until: datetime
    """Until then nobody is let in; after that one message, as a trial."""
    timeout: float
    """Seconds between two trials."""
    last_error: dict[str, Any] = {}

    def state_at(self, now: datetime) -> CircuitBreakerState:
        """Return the state: an open one becomes half open by the time alone."""
        if self.state is CircuitBreakerState.OPEN and now < self.until:
            return CircuitBreakerState.OPEN
        return CircuitBreakerState.HALF_OPEN

    def tried(self, now: datetime) -> Breaker:
        """Return it with a trial under way: nobody else is let in until that has had its time."""
        return msgspec.structs.replace(
            self,
            state=CircuitBreakerState.HALF_OPEN,
            until=now + timedelta(seconds=self.timeout),
        )

    def refusal(self, now: datetime) -> CircuitBreakerOpen:
        """Return the error for a message that is not let in.

        How a trial under way ends is known long before the time for another one.
        """
        is_tried = self.state_at(now) is _HALF_OPEN
        trial = ", and is being tried" if is_tried else ""
        wait = max(0.0, (self.until - now) / timedelta(seconds=1))
        return CircuitBreakerOpen(
            f"{self.agent} has failed {self.failures} times in a row{trial}",
            field="receiver",
            value=self.agent,
            hint="send again after `retry_after` seconds; `caxton breakers` says what is wrong",
            # Not a moment too early.
            retry_after=(min(wait, self.timeout / 10) if is_tried else wait) + 0.001,
        )


_HALF_OPEN = CircuitBreakerState.HALF_OPEN


class CircuitBreaker:
    """One agent's breaker, in the hands of whoever sees how its messages end."""

    def __init__(self, agent: AgentId, *, threshold: int, timeout: timedelta) -> None:
        """Take the policy.

        Args:
            agent: whose breaker.
            threshold: messages in a row that fail until it opens; 0: it never does.
            timeout: how long it is open before a trial.
        """
        self._agent = agent
        self._threshold = threshold
        self._timeout = timeout
        self._failing: set[Hashable] = set()
        self.record: Breaker | None = None
        """What others should see; None while it is closed."""

    def get_state(self, now: datetime) -> CircuitBreakerState:
        """Return the state."""
        return CircuitBreakerState.CLOSED if self.record is None else self.record.state_at(now)

    def is_open(self, now: datetime) -> bool:
        """Return whether nothing may be tried now."""
        return self.get_state(now) is CircuitBreakerState.OPEN

    def resume(self, record: Breaker, now: datetime) -> None:
        """Go on with what an earlier process has left; its end is the best reason for a trial."""
        if self._threshold:
            self.record = msgspec.structs.replace(
                record, state=_HALF_OPEN, until=now, timeout=self._timeout.total_seconds()
            )

    def record_success(self, now: datetime) -> None:
        """Close it; what began before it opened, and ends well now, changes nothing."""
        self._failing.clear()
        if not self.is_open(now):
            self.record = None

    def record_failure(self, message: Hashable, error: CaxtonError, now: datetime) -> None:
        """Count a message whose handling failed; open it if that is one too many."""
        state = self.get_state(now)
        if state is CircuitBreakerState.OPEN or not self._threshold:
            return
        self._failing.add(message)
        if self.record is not None:
            self._open(self.record.failures + 1, error, self.record.opened_at, now)
        elif len(self._failing) >= self._threshold:
            self._open(len(self._failing), error, now, now)

    def try_one(self, now: datetime) -> None:
        """Take note that a trial begins."""
        if self.record is not None:
            self.record = self.record.tried(now)

    def close(self) -> None:
        """Close it, whatever has happened."""
        self._failing.clear()
        self.record = None

    def _open(self, failures: int, error: CaxtonError, opened_at: datetime, now: datetime) -> None:
        self._failing.clear()
        self.record = Breaker(
            agent=self._agent,
            state=CircuitBreakerState.OPEN,
            failures=failures,
            opened_at=opened_at,
            until=now + self._timeout,
            timeout=self._timeout.total_seconds(),
            last_error=error.to_dict(),
        )


class Breakers:
    """All breakers that are not closed: the mirror of the bucket caxton-breakers."""

    def __init__(self) -> None:
        self._by_agent: dict[AgentId, Breaker] = {}
        self.listeners: Listeners[Breaker] = Listeners()

    def __len__(self) -> int:
        """Return how many there are; nearly always none."""
        return len(self._by_agent)

    def __iter__(self) -> Iterator[Breaker]:
        """Iterate over them as they are now, by agent name."""
        return iter([self._by_agent[agent] for agent in sorted(self._by_agent)])

    def find(self, agent: AgentId) -> Breaker | None:
        """Return the agent's breaker, None if it is closed."""
        return self._by_agent.get(agent)

    def lets_in(self, agent: AgentId, now: datetime) -> bool:
        """Return whether a message may be let in, if only as a trial."""
        breaker = self._by_agent.get(agent)
        return breaker is None or now >= breaker.until

    def put(self, breaker: Breaker) -> None:
        """Add the breaker, or replace the one of the same agent."""
        self._by_agent[breaker.agent] = breaker
        self.listeners.tell(breaker.agent, breaker)

    def remove(self, agent: AgentId) -> None:
        """The agent's breaker is closed; nothing happens if it was."""
        if self._by_agent.pop(agent, None) is not None:
            self.listeners.tell(agent, None)

    def replace(self, breakers: Iterable[Breaker]) -> None:
        """Become exactly these breakers."""
        self._by_agent = {breaker.agent: breaker for breaker in breakers}
        for breaker in self:
            self.listeners.tell(breaker.agent, breaker)
        self.listeners.tell_missing(self._by_agent)
