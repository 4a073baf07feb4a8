"""Whether the server that we are connected to still gets anything done.

A node that is cut off from its cluster answers its clients' pings all the same, and takes what they
publish, but it can store nothing: whoever stays with it waits until the wire is whole. The sign is
that nothing is confirmed any more. Then another server is worth a try. Where a stream is without a
leader for some seconds the sign is the same, and the move does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

PATIENCE = 3.0
"""Seconds for which nothing was confirmed, and something should have been, before a move."""
REST = 10.0
"""Seconds between two moves: a cluster that elects a leader needs as long, wherever we are."""


class Reach:
    """Counts the time since something was confirmed last; made by `Connection`."""

    def __init__(self, move: Callable[[], None], clock: Callable[[], float] = monotonic) -> None:
        """Take what to do about it, and a clock in seconds."""
        self._move = move
        self._clock = clock
        self._since: float | None = None
        self._moved = -REST

    def now(self) -> float:
        """Return the time at which something begins."""
        return self._clock()

    def confirmed(self) -> None:
        """A write or a request has come to its end."""
        self._since = None

    def unconfirmed(self, began: float) -> None:
        """One that began then has not, or there was nobody who could have confirmed it."""
        self._since = began if self._since is None else min(self._since, began)
        now = self._clock()
        if now - self._since >= PATIENCE and now - self._moved >= REST:
            self._since, self._moved = None, now
            self._move()
