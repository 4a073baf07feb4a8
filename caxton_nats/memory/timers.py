"""`Timers` in memory: a heap of moments, and an inbox that waits for the first of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Disposition, Nak
from caxton_nats.memory.mail import turn
from caxton_nats.ports import Clock, Delivery, Due, Timer

STREAM = "CAXTON_TIMERS"


class _Entry(msgspec.Struct):
    timer: Timer
    due: datetime
    set_at: datetime
    sequence: int
    came_due: datetime
    attempt: int = 0
    fired: bool = False


class MemoryTimers:
    """See `ports.Timers`; what is taken and not settled comes again after ``ack_wait``."""

    def __init__(self, clock: Clock, *, ack_wait: timedelta) -> None:
        self._clock = clock
        self._ack_wait = ack_wait
        self._entries: list[_Entry] = []
        self._last = 0
        self._changed = asyncio.Event()

    async def set(self, timer: Timer, at: datetime) -> None:
        """Have the timer come due."""
        await self.cancel(timer.kind, timer.key)
        self._last += 1
        now = self._clock.now()
        self._entries.append(_Entry(timer, at, now, self._last, came_due=max(at, now)))
        self._changed.set()

    async def cancel(self, kind: str, key: str) -> None:
        """Forget the timer, if it has not come due."""
        await turn()
        now = self._clock.now()
        self._entries = [
            one
            for one in self._entries
            if (one.timer.kind, one.timer.key) != (kind, key) or one.fired or one.due <= now
        ]

    async def inbox(self) -> TimerInbox:
        """Return what is due."""
        await turn()
        return TimerInbox(self, self._clock)

    async def due(self) -> Due:
        """Return how many have come due and are not settled."""
        await turn()
        came = [one.came_due for one in self._entries if one.came_due <= self._clock.now()]
        return Due(len(came), min(came, default=None))

    def take(self, limit: int) -> list[Delivery]:
        """Hand out what is due, the earliest first."""
        now = self._clock.now()
        due = sorted(
            (one for one in self._entries if one.due <= now),
            key=lambda one: (one.due, one.sequence),
        )[:limit]
        for one in due:
            one.fired = True
            one.attempt += 1
            one.due = now + self._ack_wait
        return [_delivery(one) for one in due]

    def settle(self, sequence: int, disposition: Disposition) -> None:
        """Forget the timer, or have it come again after the delay."""
        for one in [entry for entry in self._entries if entry.sequence == sequence]:
            if isinstance(disposition, Nak):
                one.due = self._clock.now() + disposition.delay
                self._changed.set()
            else:
                self._entries.remove(one)

    def keep(self, sequence: int) -> None:
        """Start the ack wait of a taken timer afresh."""
        for one in self._entries:
            if one.sequence == sequence:
                one.due = self._clock.now() + self._ack_wait

    async def wait(self, end: datetime) -> None:
        """Return when something may be due, at the latest at ``end``."""
        self._changed.clear()
        until = min([one.due for one in self._entries] + [end])
        waits = [
            asyncio.ensure_future(self._clock.sleep(until - self._clock.now())),
            asyncio.ensure_future(self._changed.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()


class TimerInbox:
    """One reader of the due timers; all readers share them."""

    def __init__(self, timers: MemoryTimers, clock: Clock) -> None:
        self._timers = timers
        self._clock = clock
        self._closed = False

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        """Return what is due as soon as something is, or [] after ``wait``."""
        await turn()
        end = self._clock.now() + wait
        while not self._closed:
            taken = self._timers.take(limit)
            if taken or self._clock.now() >= end:
                return taken
            await self._timers.wait(end)
        return []

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        """Forget the timers, or have them come again."""
        await turn()
        for delivery, disposition in settled:
            self._timers.settle(delivery.origin.sequence, disposition)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Start the ack wait of these afresh."""
        await turn()
        for delivery in deliveries:
            self._timers.keep(delivery.origin.sequence)

    async def close(self) -> list[Delivery]:
        """Take no further deliveries; nothing came unfetched."""
        self._closed = True
        await turn()
        return []


def _delivery(entry: _Entry) -> Delivery:
    return Delivery(
        origin=Origin(STREAM, entry.sequence),
        subject=f"caxton.due.{entry.timer.kind}",
        body=msgspec.json.encode(entry.timer),
        headers={},
        attempt=entry.attempt,
        stored_at=entry.set_at,
    )
