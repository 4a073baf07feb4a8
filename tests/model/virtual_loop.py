"""An event loop whose time passes only when nobody has anything to do: no waiting, no chance."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Where the loop would wait for the world, the time is set to the next timer instead."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits for somebody else, and no timer is set")
        self.elapsed += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its timers come due in their order, at exactly their time, as fast as they can be run."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.elapsed


class LoopClock:
    """The `Clock` of whatever loop runs: the virtual one's begins on a day in May."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - no secret

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def chance(self) -> float:
        return self._random.random()

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(delay.total_seconds())
