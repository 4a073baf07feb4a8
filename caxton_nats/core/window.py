"""deliver: how many deliveries a mailbox has in hand. Pure bookkeeping: the time is an argument.

Whoever handles thousands a second must not wait for the server between them; whoever takes a
second for one should not have more than it can begin soon, for others would wait behind it:
retries, what is more urgent, and a successor. So the window is what is settled in a tenth of a
second, and not less than a floor.
"""

from __future__ import annotations

from datetime import datetime, timedelta

LEAST = 64
"""Deliveries, however slow the handlers are."""
_AHEAD = 0.1
"""Seconds of work in hand."""
_PERIOD = timedelta(seconds=0.05)
MANY_BYTES = 16 * 1024 * 1024
"""What the window may have if it is larger than its floor."""


class Window:
    """The size of one mailbox's window."""

    def __init__(self, most: int) -> None:
        """Take how large it may become."""
        self._most = most
        self._rate = 0.0
        self._settled = 0
        self._since: datetime | None = None
        self._typical = MANY_BYTES // LEAST
        """Bytes of a large message among those that came of late."""

    @property
    def size(self) -> int:
        """Deliveries in hand at most."""
        by_pace = max(LEAST, int(self._rate * _AHEAD))
        return min(self._most, by_pace, max(LEAST, MANY_BYTES // self._typical))

    def came(self, largest: int) -> None:
        """Deliveries have come, the largest of so many bytes."""
        self._typical = max(largest, self._typical * 9 // 10, 1)

    def settled(self, number: int, now: datetime) -> None:
        """So many have been settled."""
        self._settled += number
        if self._since is None:
            self._since = now
        elif now - self._since >= _PERIOD:
            self._rate = self._settled / (now - self._since).total_seconds()
            self._settled, self._since = 0, now
