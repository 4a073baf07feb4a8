"""Clocks for tests."""

from __future__ import annotations

import asyncio
import heapq
import random
from datetime import UTC, datetime, timedelta
from itertools import count


class RealClock:
    """The time that a server in another process has, too."""

    def now(self) -> datetime:
        # The tests are their own composition root: they make the clock, nobody else reads one.
        return datetime.now(UTC)  # noqa: TID251

    def chance(self) -> float:
        return random.random()  # noqa: S311 - no secret

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(delay.total_seconds())


class ManualClock:
    """Time stands still until the test moves it; whoever sleeps wakes at exactly the right time.

    `advance` and `idle` return when nothing can happen without more time, so that a test can also
    say what has not happened. True of code that waits for this clock and for other tasks only.
    """

    def __init__(self, start: datetime = datetime(2026, 5, 1, 12, tzinfo=UTC)) -> None:
        self._start = self._now = start
        self._number = count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return (self._now - self._start).total_seconds()

    def now(self) -> datetime:
        return self._now

    def chance(self) -> float:
        return 0.0

    async def sleep(self, delay: timedelta) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + delay, next(self._number), woken))
        if delay <= timedelta():
            self._wake(self._now)
        await woken

    async def advance(self, seconds: float) -> None:
        """Let this much time pass, step by step from sleeper to sleeper."""
        end = self._now + timedelta(seconds=seconds)
        await self.idle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now = max(self._now, self._sleepers[0][0])
            self._wake(self._now)
            await self.idle()
        self._now = end

    async def idle(self) -> None:
        """Let everybody run until all wait."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        # There is no public way to ask, and nothing to wait for.
        while loop._ready:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _wake(self, until: datetime) -> None:
        while self._sleepers and self._sleepers[0][0] <= until:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
