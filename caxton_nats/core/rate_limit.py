"""How many messages a sender may send per second, exactly and in constant memory per sender. Pure.

The generic cell rate algorithm: of each sender one moment is remembered, at which all it has sent
would have been sent at the rate allowed. It may be ahead of that by one second's worth.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from caxton_nats.core.errors import ResourceExhausted
from caxton_nats.core.identifiers import AgentId

LONGEST = 300.0
"""Seconds that a message is told to wait at most before it asks again."""
_CLOSE = 1e-6
"""Seconds; a sender who waits exactly as long as it was told must not be a rounding too early."""
_FEW = 1_000
"""Senders that are remembered without looking who of them is worth it."""


class _Sender(msgspec.Struct):
    due: float = 0.0
    """When what was sent until now would have been sent at the rate allowed."""
    promised: float = 0.0
    """The last turn that was given to a message that waits."""
    again: float = 0.0
    """The last one that was given to a message which came too early for its first."""


class RateLimit:
    """What each sender may send through this router."""

    def __init__(self, limit: int, began: datetime) -> None:
        """Take the limit in messages per second (0: none), and the moment that times count from."""
        self.limit = limit
        self._began = began
        self._senders: dict[AgentId, _Sender] = {}
        self._look_at = _FEW
        self.share(1)

    def __len__(self) -> int:
        """Return how many senders are remembered."""
        return len(self._senders)

    def share(self, routers: int) -> None:
        """Allow this router its part: so many get the same messages, at random, to route."""
        rate = max(self.limit, 1) / routers
        self.burst = int(max(rate, 1))
        """Messages that a sender may send at once."""
        self._interval = 1.0 / rate
        self._ahead = (self.burst - 1) * self._interval

    def take(self, sender: AgentId, now: datetime) -> None:
        """Count one message.

        Raises:
            ResourceExhausted: it is one too many; says when there is room for it.
        """
        if not self.limit:
            return
        at = (now - self._began).total_seconds()
        wait = self._take(self._find(sender, at), at)
        if wait:
            raise self._refusal(sender, wait)

    def take_in_turn(self, sender: AgentId, now: datetime, *, waited: bool) -> None:
        """Count one message of those that wait where they lie until it is their turn.

        Each that is one too many gets a turn of its own, in the order in which they ask, and what
        comes meanwhile goes behind them.

        Args:
            sender: who has sent it.
            now: the time.
            waited: it has had a turn before.

        Raises:
            ResourceExhausted: it is not its turn; says when that is.
        """
        if not self.limit:
            return
        at = (now - self._began).total_seconds()
        found = self._find(sender, at)
        wait = self._take(found, at) if waited or found.promised <= at else _CLOSE
        if not wait:
            return
        earliest, latest = at + wait, at + LONGEST
        if waited:
            # Not to the end once more: what waits behind it would pass.
            turn = found.again = min(max(found.again + self._interval, earliest), latest)
        else:
            turn = found.promised = min(max(found.promised + self._interval, earliest), latest)
        raise self._refusal(sender, turn - at)

    def _take(self, found: _Sender, at: float) -> float:
        """Count it, and return 0; or return how long until there is room."""
        # If the clock was set back, nobody has to wait until it is where it was.
        due = min(found.due, at + self._ahead + self._interval)
        wait = due - self._ahead - at
        if wait > _CLOSE:
            found.due = due
            return wait
        found.due = max(due, at) + self._interval
        return 0.0

    def _find(self, sender: AgentId, at: float) -> _Sender:
        found = self._senders.get(sender)
        if found is None:
            if len(self._senders) >= self._look_at:
                self._forget(at)
            found = self._senders[sender] = _Sender()
        return found

    def _forget(self, at: float) -> None:
        """Forget who might send as much as somebody new."""
        self._senders = {
            sender: found
            for sender, found in self._senders.items()
            if found.due > at or found.promised > at
        }
        self._look_at = max(_FEW, 2 * len(self._senders))

    def _refusal(self, sender: AgentId, wait: float) -> ResourceExhausted:
        return ResourceExhausted(
            f"{sender} sends more messages than a sender may per second",
            field="sender",
            limit=self.limit,
            value=sender,
            hint="send again after `retry_after` seconds; the setting is rate_limit",
            retry_after=wait,
        )
