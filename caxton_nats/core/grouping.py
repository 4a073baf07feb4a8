"""publish: whether messages are stored one by one or in groups. Pure: durations are arguments.

A server that syncs every write to its disk stores a few thousand messages a second, one by one, and
many more if one sync serves a group of them. One that does not is slower with groups. No client is
told which it is, so both are measured: groups are tried where single messages take long, kept while
they are faster, and the other way is tried again now and then, for servers change.
"""

from __future__ import annotations

from collections.abc import Iterable

LEAST = 32
"""Messages whose time says something."""
WORTH = 128
"""Messages of one stream that are worth a group: a commit costs as much as fifty to a hundred."""
SLOW = 100e-6
"""Seconds for a message from which on groups are tried: without syncs it does not take so long."""
_AGAIN = 100
"""Batches after which the slower way is tried once more."""
_WEIGHT = 0.3


class Grouping:
    """Which way is the faster one, as far as is known."""

    worth = WORTH

    def __init__(self) -> None:
        self._single: float | None = None
        self._grouped: float | None = None
        self._since = 0
        self._possible = True

    def groups(self, streams: Iterable[str]) -> list[list[int]]:
        """Return the places of what could be groups: of streams that get enough messages."""
        places: dict[str, list[int]] = {}
        for at, stream in enumerate(streams):
            places.setdefault(stream, []).append(at)
        return [group for group in places.values() if len(group) >= self.worth]

    def sample(self, number: int) -> int:
        """Return how many of so many are to be stored first, for nothing is known yet."""
        return 2 * LEAST if self._single is None and number > 4 * LEAST else 0

    def wanted(self, number: int) -> bool:
        """Return whether so many messages are to be stored in groups."""
        if number < LEAST or not self._possible or self._single is None:
            return False
        self._since += 1
        if self._single < SLOW:
            return False
        if self._grouped is None:
            return True
        faster = self._grouped < self._single
        if self._since >= _AGAIN:
            self._since = 0
            return not faster
        return faster

    def measured(self, number: int, seconds: float, *, grouped: bool) -> None:
        """So many messages were stored in this time."""
        if number < LEAST:
            return
        each = seconds / number
        if grouped:
            self._grouped = _smoothed(self._grouped, each)
        else:
            self._single = _smoothed(self._single, each)

    def impossible(self) -> None:
        """The server refuses groups."""
        self._possible = False


def _smoothed(before: float | None, now: float) -> float:
    return now if before is None else before + _WEIGHT * (now - before)
