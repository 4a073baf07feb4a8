"""What each stream has acknowledged to this process, and whether it still knows of it.

A stream only ever counts on. One that ends before a sequence it has acknowledged, or gives such a
sequence out again, has lost its end: its file was cut, or a power cut took what was not synced.
nats-server says nothing of it to its clients. Whoever holds an acknowledgement can tell.

What it cannot tell: what was acknowledged to other processes only, or before this one started, and
what is missing in the middle, which looks like mail that was settled. A server that was stopped
politely counts what was cut off meanwhile as such, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

log = logging.getLogger("caxton_nats.jetstream")


class Marks:
    """The highest sequence of each stream that was acknowledged to this process."""

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}
        self._at_loss: Mapping[str, int] = {}
        self._gone: dict[str, tuple[int, int]] = {}

    def reconnected(self) -> None:
        """Remember how far the streams were: only now may they have lost anything."""
        self._at_loss = self.taken()

    def taken(self) -> Mapping[str, int]:
        """Return the marks as they are now, before a stream is asked where it ends."""
        return dict(self._highest)

    def acknowledged(self, stream: str, sequence: int, *, duplicate: bool) -> None:
        """Take note of an acknowledgement; a duplicate has the sequence of the first copy."""
        mark = self._at_loss.get(stream, 0)
        if sequence <= mark and not duplicate:
            self._lost(stream, sequence, mark)
        self._highest[stream] = max(sequence, self._highest.get(stream, 0))

    def compare(self, stream: str, last: int, before: Mapping[str, int]) -> tuple[int, int] | None:
        """Return the first and last sequence that the stream has forgotten since this began.

        Args:
            stream: its name.
            last: the last sequence that it knows.
            before: the marks from before it was asked: what came since may be newer.
        """
        mark = before.get(stream, 0)
        if last < mark:
            self._lost(stream, last + 1, mark)
            # What is acknowledged from now on is counted from there.
            self._highest[stream] = last
        return self._gone.get(stream)

    def _lost(self, stream: str, first: int, last: int) -> None:
        known = self._gone.get(stream)
        gone = (min(first, known[0]), max(last, known[1])) if known else (first, last)
        if gone != known:
            self._gone[stream] = gone
            log.error("%s has lost its end, %d..%d, but for what was settled", stream, *gone)
