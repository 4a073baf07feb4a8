"""retry: when there is room for the next attempts of what has failed, beside what is fresh.

JetStream hands out what went back before what is new. If most messages fail, retries alone would
keep all handlers at work, and fresh mail would wait for the last of them. So retries of one mailbox
get at most a share of its handlers' time: each books as much of it as its last attempt took, at the
first moment that is not booked out. Pure bookkeeping: the time is an argument.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SHARE = 0.5
"""Of the handlers' time that retries may have while fresh mail waits."""
_GRAIN = 0.25
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Pacing:
    """The calendar of one mailbox's retries, in slots of a quarter of a second."""

    def __init__(self, places: int) -> None:
        """Take the number of handlers that may be at work at the same time."""
        self._room = places * SHARE * _GRAIN
        self._booked: dict[int, float] = {}
        self._after: dict[int, int] = {}
        """For a slot that is booked out, a later one to look at."""
        self._pruned_at = 0

    def book(self, now: datetime, delay: timedelta, work: timedelta) -> timedelta:
        """Return the delay, or a longer one, after which there is room for the attempt.

        Args:
            now: the present moment.
            delay: what the policy, or the handler, wants at least.
            work: how long the attempt will take, as far as one knows.
        """
        self._forget_before(_slot(now))
        wanted = _slot(now + delay)
        slot = self._free(wanted)
        self._fill(slot, work.total_seconds())
        if slot == wanted:
            return delay
        return _EPOCH + timedelta(seconds=slot * _GRAIN) - now

    def _free(self, slot: int) -> int:
        """Return the first slot from this one on that has room."""
        passed = []
        while slot in self._after:
            passed.append(slot)
            slot = self._after[slot]
        for one in passed:
            self._after[one] = slot
        return slot

    def _fill(self, slot: int, work: float) -> None:
        # Longer than a slot has room for, it takes of the next ones, too.
        while work > 0:
            slot = self._free(slot)
            taken = min(work, self._room - self._booked.get(slot, 0.0))
            self._booked[slot] = self._booked.get(slot, 0.0) + taken
            work -= taken
            if self._booked[slot] >= self._room:
                self._after[slot] = slot + 1

    def _forget_before(self, slot: int) -> None:
        if slot == self._pruned_at:
            return
        self._pruned_at = slot
        for kept in (self._booked, self._after):
            for old in [one for one in kept if one < slot]:
                del kept[old]


def _slot(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds() / _GRAIN)
